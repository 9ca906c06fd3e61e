"""The report as a page: every table beside the paper's. What is in it stands in report.json."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from alignloop.data.curation.outcomes import REASONS
from alignloop.data.curation.spans import NOTICE
from alignloop.data.incoming import ANNOTATIONS, KINDS, USE_CASES
from alignloop.data.split import SIDES
from alignloop.pages import Table
from alignloop.workflow.prompts import paper
from alignloop.workflow.prompts.bars import Picture, length_bars
from alignloop.workflow.report.data import number, percent, spaced, whole
from alignloop.workflow.report.sheet import template

Results = Mapping[str, Any]

REASON_NAMES: Mapping[str, str] = {
    "consent": "No consent",
    "empty": "Empty",
    "too_long": "Too long",
    "language": "Other language",
    "exact_duplicate": "Exact duplicate",
    "common_prefix": "Long common prefix",
    "user_cap": "Cap per user",
    "pii": "Personal data",
}
KIND_NAMES: Mapping[str, str] = {
    "labeler_plain": "Labelers, plain",
    "labeler_fewshot": "Labelers, few-shot",
    "labeler_user_based": "Labelers, user-based",
    "customer": "Customers",
}
SOURCE_NAMES: Mapping[str, str] = {"labeler": "labelers", "customer": "customers"}
USE_CASE_NAMES: Mapping[str, str] = {
    "open_qa": "Open QA",
    "closed_qa": "Closed QA",
    "not_given": "Not given",
}
DATA_NAMES: Mapping[str, str] = {"iban": "IBAN", "ip": "IP address", "email": "E-mail address"}
DATA_SETS: Mapping[str, str] = {
    "sft_train": "paper, SFT train",
    "sft_valid": "paper, SFT valid",
    "rm_train": "paper, RM train",
    "rm_valid": "paper, RM valid",
    "ppo_train": "paper, PPO train",
    "ppo_valid": "paper, PPO valid",
    "test": "paper, test set",
}
_SUMMARY = ("count", "mean", "std", "min", "p25", "p50", "p75", "max")
_SUMMARY_NAMES = ("Count", "Mean", "Std", "Min", "25 %", "50 %", "75 %", "Max")
_MOST_LANGUAGES = 20


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page."""

    id: str
    title: str
    tables: Sequence[Table]
    texts: Sequence[str] = ()
    picture: Picture | None = None


def render(results: Results) -> str:
    """The report as HTML, with nothing outside the file."""
    beside = results["beside_imports"]["prompts"]
    own = f" Labelers wrote {whole(beside)} more here." if beside else ""
    return template("prompts.html.j2").render(
        headline=f"{whole(results['kept'])} prompts kept of {whole(results['read'])} read",
        lead=f"From {_count(len(results['imports']), 'import')}. {whole(results['rejected'])} rows could not be read, "
        f"{whole(sum(results['dropped'].values()))} prompts were dropped.{own}",
        sections=[
            _imports(results),
            _curation(results),
            _sizes(results),
            _use_cases(results),
            _annotations(results),
            _lengths(results),
            _languages(results),
            _answers(results),
            *_diversity(results),
            _settings(results),
        ],
    )


# --- sections ---------------------------------------------------------------------------------------------------


def _imports(results: Results) -> Section:
    rows = [
        [
            one["file"],
            one["shape"],
            *(whole(one[k]) for k in ("read", "kept", "rejected", "dropped")),
        ]
        for one in results["imports"]
    ]
    columns = ("File", "Shape", "Read", "Kept", "Rejected", "Dropped")
    return Section(
        "imports", "Imports", [Table("Files, in the order of their imports", columns, rows)]
    )


def _curation(results: Results) -> Section:
    read = results["read"]
    rows = [
        [
            "Rejected: could not be read",
            whole(results["rejected"]),
            _share(results["rejected"], read),
        ]
    ]
    rows += [
        [REASON_NAMES[reason], whole(count), _share(count, read)]
        for reason in REASONS
        for count in [results["dropped"][reason]]
    ]
    rows.append(["Kept", whole(results["kept"]), _share(results["kept"], read)])
    data = results["personal_data"]
    kinds = sorted({*data["dropped"], *data["kinds"]})
    personal = [
        [
            DATA_NAMES.get(kind) or spaced(kind),
            whole(data["dropped"].get(kind, 0)),
            whole(data["kinds"].get(kind, 0)),
        ]
        for kind in kinds
    ]
    tables = [
        Table("Rows that were read, by what became of them", ("", "Rows", "Share"), rows, "Kept")
    ]
    if personal:
        tables.append(
            Table("Prompts with personal data", ("Kind", "Dropped", "Kept and flagged"), personal)
        )
    flagged = data["flagged"]
    return Section(
        "curation",
        "What was kept",
        tables,
        [
            f"Prompts with personal data that were kept: {whole(data['scrubbed'])} scrubbed; flagged "
            + ", ".join(f"{whole(flagged[side])} in {side}" for side in SIDES)
            + f". Patterns cannot find everything: {NOTICE}."
        ],
    )


def _sizes(results: Results) -> Section:
    rows: list[list[str]] = []
    for side in SIDES:
        for source in SOURCE_NAMES:
            theirs = paper.SIZES.get(side, {}).get(source, {})
            cells = [_or_empty(theirs.get(name), whole) for name in ("sft", "rm", "ppo")]
            rows.append(
                [f"{side}, {SOURCE_NAMES[source]}", whole(results["sizes"][side][source]), *cells]
            )
    columns = ("Side and source", "Prompts", "paper, SFT", "paper, RM", "paper, PPO")
    sizes = Table("Sizes (Table 6)", columns, rows)
    kinds = [
        [KIND_NAMES[kind], *(whole(results["sources"][side][kind]) for side in SIDES)]
        for kind in KINDS
    ]
    customers = [
        [
            side,
            *_customer_cells(results["per_customer"].get(side)),
            *(
                _or_empty(paper.PER_CUSTOMER[side].get(name), lambda x: number(x, 2))
                for name in ("sft", "rm", "ppo", "test")
            ),
        ]
        for side in SIDES
    ]
    return Section(
        "sizes",
        "Sizes and sources",
        [
            sizes,
            Table("Who wrote them", ("Source", *(spaced(side) for side in SIDES)), kinds),
            Table(
                "Prompts per customer (Table 8)",
                (
                    *("Side", "Prompts", "Customers", "Per customer"),
                    *("paper, SFT", "paper, RM", "paper, PPO", "paper, test set"),
                ),
                customers,
            ),
        ],
        [
            f"The paper's test set has {whole(paper.TEST_SET)} prompts (Table 9). A customer is whoever a row names, "
            "as the cap counts them; prompts without a name are left out of Table 8."
        ],
    )


def _use_cases(results: Results) -> Section:
    counts = results["use_cases"]
    known = sum(counts[name] for name in USE_CASES)
    rows = [
        [
            _use_case(n),
            whole(counts[n]),
            _share(counts[n], known),
            f"{number(paper.USE_CASES[n], 1)} %",
        ]
        for n in USE_CASES
    ]
    rows.append([_use_case("not_given"), whole(counts["not_given"]), "", ""])
    table = Table("Use cases (Table 1)", ("Use case", "Prompts", "Share", "paper"), rows)
    texts = [
        "Shares are of the prompts whose use case is given; the paper's are of its reward model's data."
    ]
    return Section("use-cases", "Use cases", [table], texts)


def _annotations(results: Results) -> Section:
    rows = [
        [
            spaced(name),
            *(
                _share(results["annotations"][side][name], sum(results["sizes"][side].values()))
                for side in SIDES
            ),
            *(_or_empty(share, lambda x: f"{number(x, 1)} %") for share in paper.ANNOTATIONS[name]),
        ]
        for name in ANNOTATIONS
    ]
    columns = (
        *("Annotation", "Train", "Valid", "Test"),
        *(f"paper, {_data_set(name)}" for name in paper.ANNOTATION_SETS),
    )
    texts = [
        "Shares of all prompts of a side: one that was not annotated counts as one without. Nor did the paper annotate "
        "every prompt for every field."
    ]
    return Section(
        "annotations", "Annotations", [Table("Annotations (Table 7)", columns, rows)], texts
    )


def _lengths(results: Results) -> Section:
    lengths = results["lengths"]
    by_split = [[side, *_cells(lengths["split"][side])] for side in SIDES]
    by_split += [[name, *_cells(paper.LENGTHS[key])] for key, name in DATA_SETS.items()]
    by_use_case: list[list[str]] = []
    for name in (*USE_CASES, "not_given"):
        by_use_case.append([_use_case(name), *_cells(lengths["use_case"][name])])
        if name in paper.LENGTHS_BY_USE_CASE:
            theirs = paper.LENGTHS_BY_USE_CASE[name]
            by_use_case.append([f"paper, {_use_case(name)}", *_cells(theirs)])
    by_source: list[list[str]] = []
    for what in ("prompt", "demonstration"):
        for source, shown in SOURCE_NAMES.items():
            label = f"{what}s of {shown}" if what == "prompt" else f"{what}s for prompts of {shown}"
            by_source.append([spaced(label), *_cells(lengths[what][source])])
            by_source.append([f"paper, {label}", *_cells(paper.LENGTHS_BY_SOURCE[what][source])])
    return Section(
        "lengths",
        "Lengths",
        [
            Table("By side (Table 9)", ("Prompts", *_SUMMARY_NAMES), by_split),
            Table("By use case (Table 10)", ("Use case", *_SUMMARY_NAMES), by_use_case),
            Table(
                "By who wrote the prompt (Table 11)",
                ("Prompts and demonstrations", *_SUMMARY_NAMES),
                by_source,
            ),
        ],
        [
            f"In tokens, counted by {results['tokens_by']}; the paper's are GPT-3's. Too long prompts were dropped "
            "before, while the paper's table still shows some."
        ],
        length_bars(results["length_bins"]),
    )


def _languages(results: Results) -> Section:
    counts: Mapping[str, int] = results["languages"]
    total = sum(counts.values())
    shown = [
        [code, whole(count), _share(count, total), f"{paper.ENGLISH} %" if code == "en" else ""]
        for code, count in list(counts.items())[:_MOST_LANGUAGES]
    ]
    if rest := list(counts.values())[_MOST_LANGUAGES:]:
        shown.append([f"{len(rest)} others", whole(sum(rest)), _share(sum(rest), total), ""])
    texts = [
        "Codes of ISO 639-1, as a row says or as detected; und: too short or too mixed to tell."
    ]
    table = Table("Languages (appendix A.4)", ("Language", "Prompts", "Share", "paper"), shown)
    return Section("languages", "Languages", [table], texts)


def _answers(results: Results) -> Section:
    checks, compared = results["demonstrations"], results["comparisons"]
    by_side = [
        [spaced(what), *(whole(results["answers"][what][side]) for side in SIDES)]
        for what in ("demonstrations", "rankings")
    ]
    names = {
        "checked": "That came with prompts, few-shot examples too",
        "fit": "Fit to learn from",
        "empty": "Empty",
        "duplicate": "The same as another",
        "too_long": "Too long",
        "by_models": "Written by models, as their rows say",
    }
    rows = [[shown, whole(checks[key])] for key, shown in names.items()]
    rows.append(["Written here by labelers", whole(results["beside_imports"]["demonstrations"])])
    few = results["few_shot"]
    rows.append(["Few-shot prompts", whole(few["prompts"])])
    rows.append(["Examples in them", whole(few["examples"])])
    by_k = sorted(compared["by_k"].items(), key=lambda item: int(item[0]))
    ranked = [[f"Rankings of {k}", whole(count)] for k, count in by_k]
    ranked += [
        ["Rankings", whole(compared["rankings"])],
        ["Pairs in an order", whole(compared["pairs"])],
        ["Ties", whole(compared["ties"])],
        ["Prompts with several answers and no ranks", whole(compared["unranked"])],
    ]
    return Section(
        "answers",
        "Answers that came along",
        [
            Table("Demonstrations", ("", "Count"), rows),
            Table("Comparisons", ("", "Count"), ranked),
            Table("Fit to learn from, by side", ("", "Train", "Valid", "Test"), by_side),
        ],
    )


def _diversity(results: Results) -> list[Section]:
    found = results["diversity"]
    if found is None:
        return []
    rows = [["Prompts looked at", whole(found["prompts"])], ["Words", whole(found["words"])]]
    rows += [
        [f"Different first {k} words" if k != "1" else "Different first words", percent(share)]
        for k, share in found["distinct_openings"].items()
    ]
    rows += [
        ["Different words, of all words", percent(found["type_token"])],
        ["Different pairs of words, of all pairs", percent(found["distinct_2"])],
        ["Different runs of three words, of all", percent(found["distinct_3"])],
        ["Entropy of use cases, in bits (3.32: all ten alike)", number(found["use_case_bits"], 2)],
        ["Near-duplicates", percent(found["near_duplicates"])],
    ]
    openings = [
        [f"{k}: {text}", percent(share)]
        for k, common in found["common_openings"].items()
        for text, share in common
    ]
    return [
        Section(
            "diversity",
            "Diversity of labelers' plain prompts",
            [
                Table("Measures", ("", ""), rows),
                Table("Most frequent first words", ("Words", "Share"), openings),
            ],
            [
                "The paper asks for diverse plain prompts (section 3.2) and names no measure; read these beside "
                "another set of about the same size."
            ],
        )
    ]


def _settings(results: Results) -> Section:
    rows = [[key, _plain(value)] for key, value in results["curation"].items()]
    return Section("settings", "Settings of curation", [Table("Settings", ("Key", "Value"), rows)])


# --- cells ------------------------------------------------------------------------------------------------------


def _cells(figures: Mapping[str, Any]) -> list[str]:
    if not figures["count"]:
        return ["0", *[""] * (len(_SUMMARY) - 1)]
    return [
        whole(figures[key])
        if key in ("count", "min", "max")
        else _or_empty(figures[key], lambda x: number(x, 0))
        for key in _SUMMARY
    ]


def _customer_cells(found: Mapping[str, Any] | None) -> list[str]:
    if found is None:
        return ["0", "0", ""]
    return [whole(found["prompts"]), whole(found["customers"]), number(found["mean"], 2)]


def _or_empty(value: Any, shown: Any) -> str:
    return "" if value is None else str(shown(value))


def _share(part: int, total: int) -> str:
    return percent(part / total) if total else ""


def _use_case(name: str) -> str:
    return USE_CASE_NAMES.get(name) or spaced(name)


def _data_set(name: str) -> str:
    model, _, side = name.partition("_")
    return f"{model.upper()} {side}"


def _plain(value: Any) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case list():
            items: Iterable[Any] = value
            return ", ".join(map(str, items)) or "all"
        case _:
            return str(value)


def _count(number_of: int, what: str) -> str:
    return f"{whole(number_of)} {what}{'' if number_of == 1 else 's'}"
