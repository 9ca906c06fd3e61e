"""Probes: the bundled prompts are sound, and hand-made answers score as they should."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alignloop.data import text as prose
from alignloop.data.curation.language import LanguageDetector
from alignloop.data.formatter import Formatter
from alignloop.errors import DataError
from alignloop.evaluation.metrics import demands, phrases, squad
from alignloop.evaluation.suite.prompting import Prompter
from alignloop.evaluation.suite.scoring import cells, scored
from alignloop.evaluation.tasks import probes
from alignloop.evaluation.tasks.task import Item, Output, Setting, Task
from alignloop.models.loading import load_tokenizer
from alignloop.resources import asset


def bundled(task: Task) -> list[Item]:
    return task.read(asset(*str(task.bundled).split("/")))


def figures(task: Task, items: list[Item], answers: list[str]) -> dict[str, float]:
    """Every metric over all items; those that count none are left out."""
    outputs = [Output(text=answer) for answer in answers]
    found: dict[str, float] = {}
    for metric in task.metrics:
        columns = [metric.columns(*pair) for pair in zip(items, outputs, strict=True)]
        counted = [one for one in columns if one is not None]
        if counted:
            sums = np.array(counted, dtype=np.float64).sum(axis=0, keepdims=True)
            found[metric.name] = float(metric.figure(sums)[0])
    return found


def item(query: str = "?", **about: Any) -> Item:
    return Item("a", query, about=about)


# --- the prompts ---


@pytest.mark.parametrize("task", probes.PROBES, ids=lambda task: task.name)
def test_prompts_are_as_many_as_they_should_be_and_all_different(task: Task) -> None:
    items = bundled(task)

    assert 36 <= len(items) <= 42
    assert len({one.id for one in items}) == len({one.query for one in items}) == len(items)
    assert all(one.query == one.query.strip() for one in items)


@pytest.mark.parametrize("task", probes.PROBES, ids=lambda task: task.name)
def test_prompt_and_answer_fit_the_smallest_model(task: Task) -> None:
    prompter = Prompter(
        Formatter.of(load_tokenizer(asset("base"), may_pad_with_end=True)), "chat", 256
    )

    for one in bundled(task):
        assert not prompter.prompt(Setting(""), (), one, "\n\n", task.longest).is_cut


def test_every_demand_is_checkable_said_in_the_prompt_and_asked_once() -> None:
    items = bundled(probes.CONSTRAINTS)
    counts = Counter(len(one.about["demands"]) for one in items)

    assert set(counts) == {2, 3, 4}
    assert min(counts.values()) >= 6
    numbers = {"1": "one", "2": "two", "3": "three", "4": "four", "5": "five"}
    marks = {",": "commas", "!": "exclamation mark"}
    for one in items:
        wanted = one.about["demands"]
        assert len({tuple(demand) for demand in wanted}) == len(wanted)
        words = one.query.lower()
        for kind, value in wanted:
            assert demands.fault(kind, value) is None
            said = marks.get(value, value)
            assert said in words or numbers.get(said, said) in words, (one.id, kind, value)
    assert {kind for one in items for kind, _ in one.about["demands"]} == set(demands.KINDS)


def test_prompts_are_in_the_languages_that_they_say() -> None:
    items = bundled(probes.LANGUAGES)
    detector = LanguageDetector()

    assert set(Counter(one.kind for one in items).values()) == {6}
    assert {one.kind for one in items} == {"en", "zh", "fr", "es", "de", "ar", "ja"}
    assert [one.id for one in items if detector(one.query) != one.about["language"]] == []


def test_every_function_asked_for_is_named_in_its_prompt() -> None:
    items = bundled(probes.CODE)

    assert len({one.about["function"] for one in items}) == len(items)
    for one in items:
        assert f"`{one.about['function']}" in one.query
        assert one.about["function"].isidentifier()


def test_every_false_premise_has_a_true_one_that_asks_alike() -> None:
    pairs: dict[str, dict[bool, str]] = {}
    for one in bundled(probes.PREMISES):
        pairs.setdefault(one.cluster, {})[one.about["is_false"]] = one.query

    assert len(pairs) == 20
    for pair in pairs.values():
        assert set(pair) == {True, False}
        false, true = (set(prose.words(pair[side])) for side in (True, False))
        assert len(false & true) >= 3
        assert not any(map(phrases.voices_doubt, pair.values()))


def test_no_question_says_its_own_answer_or_hedges() -> None:
    for one in bundled(probes.HEDGING):
        assert not any(squad.contains(one.query, answer) for answer in one.about["answers"])
        assert not phrases.hedges(one.query)


# --- the answers ---


def test_several_constraints() -> None:
    both = item(demands=[["sentences", "1"], ["last_word", "home"]])
    four = item(
        demands=[["lines", "1"], ["mentions", "fox"], ["digits", ""], ["words_at_most", "2"]]
    )

    assert figures(probes.CONSTRAINTS, [both], ["He went home."]) == {
        "constraints_met": 1.0,
        "all_met": 1.0,
    }
    assert figures(probes.CONSTRAINTS, [both, four], ["He went. Home.", "The fox ran."]) == {
        "constraints_met": pytest.approx((1 / 2 + 2 / 4) / 2),
        "all_met": 0.0,
    }
    assert figures(probes.CONSTRAINTS, [both], [""])["constraints_met"] == 0.0


def test_constraints_are_split_by_their_number() -> None:
    items = bundled(probes.CONSTRAINTS)
    rows = scored(items, [Output(text="no")] * len(items), probes.CONSTRAINTS.metrics)

    found = cells(
        "p", "t", "s", probes.CONSTRAINTS.metrics, rows, seed=1, resamples=100, by_kind=True
    )

    whole = [cell for cell in found if cell.metric == "all_met"]
    assert [cell.kind for cell in whole] == ["", "2 constraints", "3 constraints", "4 constraints"]
    assert sum(cell.measure.cases for cell in whole[1:]) == whole[0].measure.cases == len(items)
    assert all(cell.measure.low is not None for cell in whole)


def test_languages() -> None:
    french, english = item(language="fr"), item(language="en")
    in_french = "Il était une fois un meunier qui avait perdu son chapeau dans la rivière."
    in_english = "Once upon a time there was a miller who had lost his hat in the river."

    assert figures(
        probes.LANGUAGES,
        [french, french, french, english],
        [in_french, in_english, "Oui.", in_english],
    ) == {"in_language": pytest.approx(2 / 3), "in_english": 0.5, "decided": 0.75}
    assert figures(probes.LANGUAGES, [french], [""]) == {"decided": 0.0}
    chinese = item(language="zh")
    assert figures(probes.LANGUAGES, [chinese], ["从前有一只小鸟。"])["in_language"] == 1.0


def test_code() -> None:
    asked = item(function="double")
    right, other = (
        "def double(x):\n    return 2 * x",
        "```python\ndef twice(x):\n    return 2 * x\n```",
    )

    assert figures(probes.CODE, [asked] * 4, [right, other, "double", ""]) == {
        "parses": 0.5,
        "defines_it": 0.25,
    }


def test_premises_are_compared_in_pairs() -> None:
    items = bundled(probes.PREMISES)[:4]
    assert [one.about["is_false"] for one in items] == [True, False, True, False]

    answers = ["Actually, they do not.", "To breathe.", "In 1815.", "There was no such battle."]
    assert figures(probes.PREMISES, items, answers) == {
        "doubts_false": 0.5,
        "doubts_true": 0.5,
        "doubt_difference": 0.0,
    }
    answers[3] = "In 1815."
    assert figures(probes.PREMISES, items, answers)["doubt_difference"] == 0.5


def test_the_interval_of_the_difference_draws_pairs() -> None:
    """Ten pairs of which both sides doubt and ten of which neither does: no difference in any resample of pairs."""
    items = bundled(probes.PREMISES)
    answers = ["never" if number % 4 < 2 else "yes" for number in range(len(items))]
    answers[0] = "yes"  # one pair alone differs: its true side doubts
    rows = scored(items, [Output(text=one) for one in answers], probes.PREMISES.metrics)

    found = cells(
        "p", "t", "s", probes.PREMISES.metrics, rows, seed=1, resamples=1000, by_kind=False
    )

    by_name = {cell.metric: cell.measure for cell in found}
    difference, false = by_name["doubt_difference"], by_name["doubts_false"]
    assert difference.value == pytest.approx(-1 / 20)
    assert difference.clusters == 20
    assert difference.high == 0
    assert difference.low is not None and difference.low >= -4 / 20
    assert false.high is not None and false.low is not None
    assert false.high - false.low > 2 * (difference.high - difference.low)


def test_hedging() -> None:
    rome = item(answers=["Rome"])
    three = item(answers=["three", "3"])

    assert figures(
        probes.HEDGING, [rome, rome, three, three],
        ["It is Rome.", "I think it might be Milan, Rome or Turin.", "3", ""],
    ) == {"hedges": pytest.approx(1 / 3), "has_answer": 0.75}  # fmt: skip


# --- files of one's own ---


@pytest.mark.parametrize(
    ("read", "row", "words"),
    [
        (probes.read_constraints, {"demands": []}, "field 'demands' is empty"),
        (
            probes.read_constraints,
            {"demands": [{"kind": "rhymes"}]},
            r"demands\[0\]: 'rhymes' is no kind",
        ),
        (probes.read_constraints, {"demands": [{"kind": "lines", "value": "x"}]}, "number above 0"),
        (probes.read_languages, {"language": "english"}, "'english' is never detected"),
        (probes.read_code, {}, "no field 'function'"),
        (
            probes.read_premises,
            {"premise": "maybe", "pair": "p"},
            "'maybe', but one of false, true",
        ),
        (probes.read_hedging, {"answers": ["the"]}, "none without words"),
    ],
)
def test_a_row_that_cannot_be_asked_is_told(
    tmp_path: Path, read: Callable[[Path], list[Item]], row: dict[str, Any], words: str
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"id": "a", "text": "Why?", **row}) + "\n", encoding="utf-8")

    with pytest.raises(DataError, match=f"rows.jsonl, line 1.*{words}"):
        read(path)
