"""`report.json` of a win rate as a page: who judged, a chart, and every figure with its interval and n."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from alignloop.evaluation.page.chart import Row, win_rate_chart
from alignloop.evaluation.page.page import Page, Section, render
from alignloop.evaluation.page.words import DASH, amount, number, share, whole
from alignloop.pages import Table

Report = Mapping[str, Any]


def win_rate_page(report: Report) -> str:
    """The page as HTML; the same report gives the same bytes."""
    baseline, judges = report["baseline"], report["judges"]
    simulated = [name for name, one in judges.items() if one["simulated"]]
    has_rates = bool(report.get("win_rate"))
    title = f"Win rates against {baseline}" if has_rates else "Answers that wait for their judges"
    lede = (
        f"How often each policy's answer was preferred to that of {baseline} on {whole(report['prompts'])} prompts; "
        "ties count one half. Intervals are 95 %, by drawing prompts with replacement."
        if has_rates
        else f"Answers to {whole(report['prompts'])} prompts were drawn; nobody has judged them yet."
    )
    notice = ""
    if simulated:
        notice = f"Simulated: {_and(simulated)}. Code stood in for people; its verdicts do not say what people prefer."
    return render(
        Page(
            title=title,
            lede=lede,
            notice=notice,
            facts=_facts(report),
            chart=_chart(report) if has_rates else None,
            chart_title=f"Against {baseline}",
            chart_text="The dashed line is chance. A whisker that crosses it shows no difference. "
            "A hollow dot was judged by code.",
            sections=[
                _rates(report),
                _lengths(report),
                _pairs(report),
                _by_part(report),
                _ratings(report),
                _judges(report),
                _policies(report),
            ],
        )
    )


# --- head -------------------------------------------------------------------------------------------------------


def _facts(report: Report) -> list[tuple[str, str]]:
    groups, prompts = report["groups"], report["prompts"]
    of_groups = f", of {whole(groups)} users or titles" if groups < prompts else ""
    campaign = report["campaign"]
    source = f"campaign {campaign}" if campaign else f"{report['side']} side"
    facts = [
        ("Prompts", f"{whole(prompts)}{of_groups}, {source}"),
        ("Seed", f"{report['seed']}; {whole(report['resamples'])} resamples"),
        *(("Judge: " + name, one["who"]) for name, one in report["judges"].items()),
    ]
    return facts


def _chart(report: Report) -> Any:
    rows: list[Row] = []
    for policy, by_judge in report["win_rate"].items():
        rows.append(Row(policy))
        rows += [
            Row(judge, cell, is_simulated=report["judges"][judge]["simulated"])
            for judge, cell in by_judge.items()
        ]
    return win_rate_chart(rows, f"Win rates against {report['baseline']}, with 95 % intervals.")


# --- sections ---------------------------------------------------------------------------------------------------


def _rates(report: Report) -> Section:
    tables = [_by_judge(report, "win_rate", f"Against {report['baseline']}, drawn over prompts")]
    if "win_rate_over_groups" in report:
        tables.append(
            _by_judge(report, "win_rate_over_groups", "The same, drawn over users or titles")
        )
    return Section(
        "Win rates",
        "Where several prompts come from one user or title, they are alike, and the interval over users or titles is "
        "the one to believe."
        if "win_rate_over_groups" in report
        else "",
        [table for table in tables if table.rows],
    )


def _lengths(report: Report) -> Section:
    controlled = report.get("win_rate_length_controlled", {})
    matched = report.get("win_rate_length_matched", {})
    rows = [
        [
            f"{policy}, {judge}",
            share(report["win_rate"][policy][judge]),
            _band(matched[policy][judge]),
            share(cell),
            amount(cell["effect"], 2, signed=True),
            share(cell["longer"]),
        ]
        for policy, by_judge in controlled.items()
        for judge, cell in by_judge.items()
    ]
    columns = (
        *("Policy, judge", "All", "Like length", "Length-controlled", "Gain of length, log-odds"),
        "Longer than the baseline's",
    )
    table = Table("With the effect of length taken out", columns, rows)
    return Section(
        "Length",
        "Like length: only pairs of nearly the same length, with the widest ratio let in. Length-controlled: what a "
        "logistic regression of the verdict on the difference of lengths says of equal lengths. Where these differ "
        "from the plain rate, some of it was length. Lengths are in characters.",
        [table] if rows else [],
    )


def _band(cell: Mapping[str, Any]) -> str:
    if cell["mean"] is None:
        return f"{DASH} (no pair of like length)"
    return f"{share(cell)} of {whole(cell['of'])}, up to {cell['band']:g} times"


def _pairs(report: Report) -> Section:
    tables: list[Table] = []
    for judge, matrix in report.get("pairs", {}).items():
        names = list(matrix)
        if len(names) > 2:
            rows = [
                [row, *(DASH if row == name else share(matrix[row].get(name)) for name in names)]
                for row in names
            ]
            tables.append(
                Table(f"Row against column, by {judge}", ("", *names), rows, report["baseline"])
            )
    strengths = report.get("bradley_terry", {})
    judges = [judge for judge, found in strengths.items() if len(found) > 2]
    if judges:
        names = list(dict.fromkeys(name for judge in judges for name in strengths[judge]))
        rows = [
            [name, *(_strength(strengths[judge].get(name), name, report) for judge in judges)]
            for name in names
        ]
        tables.append(
            Table(
                f"Bradley-Terry strengths in log-odds, {report['baseline']} at 0",
                ("Policy", *judges),
                rows,
                report["baseline"],
            )
        )
    missing = report.get("bradley_terry_missing", {})
    text = "A strength is the log-odds of a win against the baseline that fits all comparisons at once."
    text += "".join(f" No strengths by {judge}: {why}." for judge, why in missing.items())
    return Section("Every pair", text, tables)


def _strength(cell: Mapping[str, Any] | None, name: str, report: Report) -> str:
    return "0, by definition" if name == report["baseline"] else amount(cell, 2, signed=True)


def _by_part(report: Report) -> Section:
    tables: list[Table] = []
    for key, first, title in (
        ("win_rate_by_use_case", "Use case", "by use case"),
        ("win_rate_by_cohort", "Cohort", "by cohort"),
    ):
        found = report.get(key, {})
        judges = list(dict.fromkeys(judge for of_policy in found.values() for judge in of_policy))
        for judge in judges:
            columns = [policy for policy in found if judge in found[policy]]
            parts = list(dict.fromkeys(p for policy in columns for p in found[policy][judge]))
            if len(parts) > 1:
                rows = [
                    [part, *(share(found[policy][judge].get(part)) for policy in columns)]
                    for part in parts
                ]
                tables.append(
                    Table(f"Against {report['baseline']} {title}, {judge}", (first, *columns), rows)
                )
    return Section("By use case and cohort", "", tables)


def _ratings(report: Report) -> Section:
    tables: list[Table] = []
    if "likert" in report:
        parts = _parts_of(report["likert"])
        rows = [
            [policy, *(amount(cells.get(part)) for part in parts)]
            for policy, cells in report["likert"].items()
        ]
        tables.append(Table("Overall quality, Likert 1 to 7", ("Policy", *parts), rows))
        for part in parts:
            policies = list(report["likert"])
            rows = [
                [flag, *(share(found[policy].get(part)) for policy in policies)]
                for flag, found in report["flags"].items()
            ]
            title = f"Flags: share of answers that have it, {part}"
            tables.append(Table(title, ("Flag", *policies), rows))
    return Section("Ratings by people", "Each prompt counts once.", tables)


def _parts_of(likert: Mapping[str, Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(part for cells in likert.values() for part in cells))


def _judges(report: Report) -> Section:
    tables: list[Table] = []
    for judge, one in report["judges"].items():
        rows = [[name, whole(count)] for name, count in one["counts"].items()]
        rows += [
            [name, share(cell) if name in _SHARES else amount(cell, 3)]
            for name, cell in one["checks"].items()
        ]
        if rows:
            tables.append(Table(f"What is known of {judge}", ("", ""), rows))
    agreement = report.get("agreement", {})
    if agreement:
        rows = [
            [f"{judge} and {other}", share(cell)]
            for judge, others in agreement.items()
            for other, cell in others.items()
        ]
        title = "Two judges who both prefer one of the answers prefer the same"
        tables.append(Table(title, ("Judges", "Of such pairs"), rows))
    for pair, found in report.get("people", {}).items():
        names = {"a": found["a"], "b": found["b"], "tie": "tie", "both_bad": "both bad"}
        counts = ", ".join(f"{names[choice]} {n}" for choice, n in found["counts"].items())
        rows = [
            ["Votes", f"{counts}, by {found['labelers']} labelers"],
            ["Win rate, drawn over labelers too", share(found["over_labelers"])],
            ["Of decided votes", share(found["decided"])],
            ["Ties", share(found["ties"])],
            ["Both bad", share(found["both_bad"])],
            [
                "Decided votes for the left answer",
                f"{share(found['left'])}{_p_value(found['left'])}",
            ],
            ["Decided votes for the longer answer", share(found["longer_wins"])],
        ]
        tables.append(Table(f"Votes of people: {pair}", ("", ""), rows))
    text = (
        "Inconsistent: the verdict changes when the two answers change places, and counts as a tie. First preferred: "
        "of the replies for one of the two, how many are for the answer shown first; every pair is asked about in both "
        "orders, so a fair judge gives 50 %."
    )
    has_order = any("inconsistent" in one["checks"] for one in report["judges"].values())
    return Section("The judges", text if has_order else "", tables)


_SHARES = frozenset({"inconsistent", "first preferred"})


def _p_value(left: Mapping[str, Any]) -> str:
    value = left.get("p_value")
    return "" if value is None else f", p {number(value, 3)} against a fair coin"


def _policies(report: Report) -> Section:
    rows = [
        [
            name,
            _asked(one),
            _sampling(one),
            amount(one["characters"], 0),
            share(one["finished"]),
            whole(one["empty"]),
        ]
        for name, one in report["policies"].items()
    ]
    columns = ("Policy", "Asked", "Sampling", "Characters", "Ended by itself", "Empty")
    return Section(
        "The policies", "", [Table("How they were asked, and how long they answer", columns, rows)]
    )


def _asked(one: Mapping[str, Any]) -> str:
    asked = one["asked"]
    if not isinstance(asked, Mapping) or "format" not in asked:
        return "as the project has it"
    told = "chat" if asked["format"] == "chat" else f"template {asked.get('template')!r}"
    if asked.get("demonstrations"):
        told += f", {asked['demonstrations']} demonstrations"
    if asked.get("best_of", 1) > 1:
        told += f", best of {asked['best_of']}"
    if one["prompts_cut"]:
        told += f", {one['prompts_cut']} prompts cut at their beginning"
    return told


def _sampling(one: Mapping[str, Any]) -> str:
    settings = ", ".join(
        f"{key.replace('_', ' ')} {value}"
        for key, value in one["sampling"].items()
        if key in ("temperature", "max_new_tokens")
    )
    return settings or DASH


def _by_judge(report: Report, key: str, title: str) -> Table:
    found = report.get(key, {})
    judges = list(dict.fromkeys(judge for by_judge in found.values() for judge in by_judge))
    rows = [[name, *(share(cells.get(judge)) for judge in judges)] for name, cells in found.items()]
    return Table(title, ("Policy", *judges), rows)


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
