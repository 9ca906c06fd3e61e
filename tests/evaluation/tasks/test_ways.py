"""One item in three forms, accuracy by form, and paired differences between forms."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from alignloop.errors import DataError
from alignloop.evaluation.suite.choosing import choose
from alignloop.evaluation.suite.scoring import cells, scored
from alignloop.evaluation.tasks.task import Item, Output
from alignloop.evaluation.tasks.ways import WAYS, WAYS_OF_ASKING, read
from alignloop.resources import asset

BUNDLED = asset(*str(WAYS_OF_ASKING.bundled).split("/"))
ROW = {
    "id": "n",
    "sort": "sentiment",
    "text": "She has worn the necklace every day.",
    "cloze": "It was a ____ present for her.",
    "prompt": "The present was",
    "question": "How was the present?",
    "options": ["good", "bad"],
    "label": 0,
}


def written(path: Path, **changed: Any) -> Path:
    path.write_text(json.dumps(ROW | changed) + "\n", encoding="utf-8")
    return path


def test_one_item_in_three_forms(tmp_path: Path) -> None:
    cloze, prompt, instruction = read(written(tmp_path / "a.jsonl"))

    assert cloze.query == "She has worn the necklace every day. It was a"
    assert cloze.choices == ("good present for her.", "bad present for her.")
    assert prompt.query == "She has worn the necklace every day. The present was"
    assert prompt.choices == instruction.choices == ("good", "bad")
    assert instruction.query == (
        "Read the text and answer the question with one of the options.\n\n"
        "Text: She has worn the necklace every day.\nQuestion: How was the present?\n"
        "Options:\n- good\n- bad\nAnswer:"
    )
    assert {one.cluster for one in (cloze, prompt, instruction)} == {"n"}
    assert [one.id for one in (cloze, prompt, instruction)] == [f"n, {way}" for way in WAYS]


def test_the_bundled_items_are_balanced() -> None:
    rows = [json.loads(line) for line in BUNDLED.read_text(encoding="utf-8").splitlines()]

    assert len(rows) == len({row["id"] for row in rows}) == len({row["text"] for row in rows}) == 40
    assert Counter((row["sort"], row["label"]) for row in rows) == {
        (sort, label): 10 for sort in ("sentiment", "sense") for label in (0, 1)
    }
    for row in rows:
        first, second = row["options"]
        assert first != second
        for field in ("text", "cloze", "prompt", "question"):
            shown = row[field].split()
            assert not {first, second} & set(shown), row["id"]
        assert row["prompt"][-1].isalpha(), row["id"]
        assert row["question"].endswith("?"), row["id"]
    assert len(read(BUNDLED)) == 120


def answered(items: list[Item], right: dict[str, int]) -> dict[str, Any]:
    """Measures where each way is right on the first so many items."""
    outputs: list[Output] = []
    for number, one in enumerate(items):
        is_right = number // 3 < right[one.about["way"]]
        label = one.about["label"]
        chosen = label if is_right else 1 - label
        outputs.append(
            Output(log_probs=tuple(-1.0 - (i != chosen) for i in range(2)), tokens=(1, 1))
        )
    metrics = WAYS_OF_ASKING.metrics
    found = cells(
        "p",
        "ways",
        "",
        metrics,
        scored(items, outputs, metrics),
        seed=1,
        resamples=500,
        by_kind=False,
    )
    return {cell.metric: cell for cell in found}


def test_accuracy_by_way_and_paired_differences() -> None:
    found = answered(read(BUNDLED), {"cloze": 20, "prompt": 30, "instruction": 36})

    values = {name: cell.measure.value for name, cell in found.items()}
    assert values == {
        "cloze": 0.5,
        "prompt": 0.75,
        "instruction": 0.9,
        "prompt_less_cloze": 0.25,
        "instruction_less_cloze": pytest.approx(0.4),
        "instruction_less_prompt": pytest.approx(0.15),
    }
    assert found["cloze"].is_at_chance
    assert found["cloze"].chance == 0.5
    assert not found["instruction"].is_at_chance
    difference = found["instruction_less_prompt"].measure
    assert difference.clusters == 40
    # 6 of 40 items gained and none lost: paired, a standard error of sqrt(.15 * .85 / 40) = .056; apart it were .084
    assert difference.low == pytest.approx(0.15 - 1.96 * 0.056, abs=0.03)
    assert difference.high == pytest.approx(0.15 + 1.96 * 0.056, abs=0.03)


def test_a_limit_leaves_no_item_in_one_form_alone() -> None:
    for seed in range(5):
        chosen = choose(WAYS_OF_ASKING, BUNDLED, seed, 10, None)
        ways = Counter(one.cluster for one in chosen.items)

        assert len(ways) == 4  # three items each: the fourth reaches ten
        assert set(ways.values()) == {3}
        assert [one.id for one in chosen.items] == [
            one.id for one in read(BUNDLED) if one.cluster in ways
        ]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"cloze": "It was good."}, "field 'cloze' has to hold ____ once"),
        ({"cloze": "It was ____"}, "words before and behind"),
        ({"cloze": "A ____ and a ____ thing"}, "once"),
        ({"options": ["good"]}, "at least two"),
        ({"options": ["good", " "]}, "none of them empty"),
        ({"label": 2}, "field 'label' is 2"),
    ],
)
def test_a_row_that_cannot_be_asked_is_told(
    tmp_path: Path, changed: dict[str, Any], words: str
) -> None:
    with pytest.raises(DataError, match=f"a.jsonl, line 1.*{words}"):
        read(written(tmp_path / "a.jsonl", **changed))
