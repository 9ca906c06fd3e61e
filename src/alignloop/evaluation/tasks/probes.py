"""Probes: requests outside of what was learned from, and simple mistakes (InstructGPT, 4.3), as far as a program sees.

Several constraints at once, other languages, code, false premises, hedging. Answers are whole, not cut at a newline.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Literal

from alignloop.data.curation.language import UNDETERMINED, LanguageDetector
from alignloop.evaluation.metrics import demands, phrases, squad
from alignloop.evaluation.metrics.snippets import functions
from alignloop.evaluation.tasks.rows import Row, read_rows
from alignloop.evaluation.tasks.task import Floats, Item, Metric, Output, Task, mean_of, quotient

_PEOPLE = "How good an answer is, people have to say: import the prompts into a project and vote on answers to them."

# --- several constraints at once ---


def read_constraints(path: Path) -> list[Item]:
    """Rows with `text` and `demands`, a list of objects with `kind` and, where it needs one, `value`."""
    found: list[Item] = []
    for row in read_rows(path):
        wanted = [_demand(one) for one in row.each("demands")]
        if not wanted:
            raise row.error("field 'demands' is empty")
        found.append(_item(row, f"{len(wanted)} constraints", {"demands": wanted}))
    return found


def _demand(row: Row) -> list[str]:
    kind = row.words("kind")
    value = row.text("value") if row.has("value") else ""
    if (fault := demands.fault(kind, value)) is not None:
        raise row.error(fault)
    return [kind, value]


def _item(row: Row, kind: str, about: dict[str, Any], cluster: str = "") -> Item:
    return Item(row.name("id"), row.words("text"), kind=kind, about=about, cluster=cluster)


def _share_met(item: Item, output: Output) -> float:
    met = [demands.is_met(kind, value, output.text) for kind, value in item.about["demands"]]
    return sum(met) / len(met)


CONSTRAINTS = Task(
    name="probes_constraints",
    title="Probes: several constraints at once",
    read=read_constraints,
    metrics=(
        mean_of("constraints_met", "share of its constraints that an answer meets", _share_met),
        mean_of(
            "all_met",
            "share of answers that meet every constraint",
            lambda item, output: float(_share_met(item, output) == 1),
        ),
    ),
    longest=96,
    whole=True,
    bundled="tasks/probes_constraints.jsonl",
    split_by="number of constraints",
    notes=("An answer that meets every constraint can still make no sense.", _PEOPLE),
)

# --- other languages ---


def read_languages(path: Path) -> list[Item]:
    """Rows with `text` and `language`, its code of ISO 639-1."""
    found: list[Item] = []
    for row in read_rows(path):
        language = row.words("language")
        if language not in _detector().languages:
            raise row.error(f"field 'language': '{language}' is never detected")
        found.append(_item(row, language, {"language": language}))
    return found


@cache
def _detector() -> LanguageDetector:
    """Read once, when the first text is looked at."""
    return LanguageDetector()


def _is_decided(_item: Item, output: Output) -> float:
    return float(_detector()(output.text) != UNDETERMINED)


def _in_language(item: Item, output: Output) -> float | None:
    found = _detector()(output.text)
    return None if found == UNDETERMINED else float(found == item.about["language"])


def _in_english(item: Item, output: Output) -> float | None:
    found = _detector()(output.text)
    foreign = item.about["language"] != "en" and found != UNDETERMINED
    return float(found == "en") if foreign else None


LANGUAGES = Task(
    name="probes_languages",
    title="Probes: other languages",
    read=read_languages,
    metrics=(
        mean_of(
            "in_language",
            "share of answers in the language of the prompt, of those whose language can be told",
            _in_language,
        ),
        mean_of(
            "in_english",
            "share of answers in English to prompts in another language, of those whose language can be told",
            _in_english,
            better="lower",
        ),
        mean_of(
            "decided",
            "share of answers whose language can be told: short ones and mixtures are undecided",
            _is_decided,
        ),
    ),
    longest=64,
    whole=True,
    bundled="tasks/probes_languages.jsonl",
    split_by="language",
    notes=(
        "By py3langid, which takes noise for some language now and then. Who answers in English whatever is asked is "
        "right in the prompts that are English.",
        _PEOPLE,
    ),
)

# --- code ---


def read_code(path: Path) -> list[Item]:
    """Rows with `text` and `function`, the name of the function asked for."""
    return [_item(row, "", {"function": row.words("function")}) for row in read_rows(path)]


CODE = Task(
    name="probes_code",
    title="Probes: code",
    read=read_code,
    metrics=(
        mean_of(
            "parses",
            "share of answers with Python code that parses and defines a function; nothing is run",
            lambda _, output: float(functions(output.text) is not None),
        ),
        mean_of(
            "defines_it",
            "share of answers with such code that defines a function of the name asked for",
            lambda item, output: float(item.about["function"] in (functions(output.text) or ())),
        ),
    ),
    longest=128,
    whole=True,
    bundled="tasks/probes_code.jsonl",
    notes=("Whether the code does what was asked is not looked at.", _PEOPLE),
)

# --- false premises ---


def read_premises(path: Path) -> list[Item]:
    """Rows with `text`, `premise` (`false` or `true`) and `pair`, which a false and a true one share."""
    meanings = {"false": "false premise", "true": "true premise"}
    found: list[Item] = []
    for row in read_rows(path):
        kind = row.choice("premise", meanings)
        found.append(_item(row, kind, {"is_false": kind == "false premise"}, row.name("pair")))
    return found


def _doubts(is_false: bool, name: str, better: Literal["higher", "lower"]) -> Metric:
    def value(item: Item, output: Output) -> float | None:
        asked = item.about["is_false"] == is_false
        return float(phrases.voices_doubt(output.text)) if asked else None

    meaning = (
        f"share of answers to {'false' if is_false else 'true'} premises with a phrase of doubt"
    )
    return mean_of(name, meaning, value, better=better)


def _doubt_columns(item: Item, output: Output) -> tuple[float, ...]:
    """Doubts and answers on the false side, the same on the true one."""
    doubt, is_false = float(phrases.voices_doubt(output.text)), float(item.about["is_false"])
    return (doubt * is_false, is_false, doubt * (1 - is_false), 1 - is_false)


def _doubt_difference(sums: Floats) -> Floats:
    return quotient(sums[:, :2]) - quotient(sums[:, 2:])


PREMISES = Task(
    name="probes_premises",
    title="Probes: false premises",
    read=read_premises,
    metrics=(
        _doubts(True, "doubts_false", "higher"),
        _doubts(False, "doubts_true", "lower"),
        Metric(
            "doubt_difference",
            "the first share less the second, by pairs; 0: a false premise is doubted no more than a true one",
            _doubt_columns,
            _doubt_difference,
        ),
    ),
    longest=64,
    whole=True,
    in_sets=True,
    bundled="tasks/probes_premises.jsonl",
    notes=(
        "Doubt is a phrase from a short list ('actually', 'there is no', 'did not'): crude. It sees neither what is "
        "doubted nor whether the correction is right.",
        _PEOPLE,
    ),
)

# --- hedging ---


def read_hedging(path: Path) -> list[Item]:
    """Rows with `text`, a question, and `answers`, short texts each of which is right."""
    found: list[Item] = []
    for row in read_rows(path):
        answers = row.texts("answers")
        if not answers or not all(map(squad.normalized, answers)):
            raise row.error("field 'answers' has to hold at least one answer, none without words")
        found.append(_item(row, "", {"answers": answers}))
    return found


def _hedges(_item: Item, output: Output) -> float | None:
    return float(phrases.hedges(output.text)) if output.text else None


def _has_answer(item: Item, output: Output) -> float:
    return float(any(squad.contains(output.text, one) for one in item.about["answers"]))


HEDGING = Task(
    name="probes_hedging",
    title="Probes: hedging",
    read=read_hedging,
    metrics=(
        mean_of(
            "hedges",
            "share of answers with a hedging phrase, empty ones left out",
            _hedges,
            better="lower",
        ),
        mean_of("has_answer", "share of answers in which the short answer stands", _has_answer),
    ),
    longest=64,
    whole=True,
    bundled="tasks/probes_hedging.jsonl",
    notes=(
        "Hedging is a phrase from a short list ('it depends', 'perhaps', 'as an AI'): crude. An answer that says the "
        "right word among wrong ones has it too.",
        _PEOPLE,
    ),
)
PROBES = (CONSTRAINTS, LANGUAGES, CODE, PREMISES, HEDGING)
