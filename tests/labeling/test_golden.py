"""Right answers and grades by file, and the measures that come of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from alignloop.errors import AlignloopError, DataError, JudgmentError
from alignloop.labeling import golden, screened
from alignloop.store import answer_keys, figures
from alignloop.store.campaigns import Campaign
from tests.labeling.research import SECRET_MODELS, Desk, desk, practice


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Desk]:
    with desk(tmp_path) as found:
        yield found


def sheet(lab: Desk, campaign: Campaign) -> list[dict[str, Any]]:
    with lab.site.store.read() as connection:
        return list(golden.gold_sheet(connection, campaign, 10))


def take(lab: Desk, campaign: Campaign, rows: list[Any], folder: Path) -> int:
    path = folder / "gold.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with lab.site.store.write() as connection:
        return golden.take_gold(connection, 0, "command", campaign, path)


def test_a_sheet_is_filled_in_and_taken(lab: Desk, tmp_path: Path) -> None:
    campaign = practice(lab, (4, 3))
    first, second = sheet(lab, campaign)
    assert (len(first["outputs"]), first["ranks"], first["flags"]) == (4, [None] * 4, {})
    for model in (*SECRET_MODELS, "secret-model"):
        assert model not in json.dumps([first, second])

    first |= {"ranks": [2, 1, None, 2], "flags": {"violent": [3], "sexual": []}}
    taken = take(lab, campaign, [first, second], tmp_path)

    assert taken == 1  # the other was left as it was
    assert [row["task"] for row in sheet(lab, campaign)] == [second["task"]]
    with lab.site.store.read() as connection:
        [gold] = [task for task in range(1, 9) if figures.gold_of(connection, task)[0]]
        relations, flags = figures.gold_of(connection, gold)
    assert relations == {(1, 2): -1, (1, 4): 0, (2, 4): 1}
    assert flags == {
        **{(item, "violent"): item == 3 for item in range(1, 5)},
        **{(item, "sexual"): False for item in range(1, 5)},
    }


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"ranks": [1, 2, "x", 3]}, "a rank is a number"),
        ({"ranks": [0, 1, 2, 3]}, "a rank is a number"),
        ({"ranks": [True, 1, 2, 3]}, "a rank is a number"),
        ({"ranks": {"1": 2}}, "'ranks' is a list"),
        ({"flags": ["violent"]}, "'flags' an object"),
        ({"flags": {"violent": [5]}}, "numbers of the outputs"),
        ({"flags": {"violent": "1"}}, "numbers of the outputs"),
        ({"flags": {"rude": [1]}}, "does not ask about rude"),
        ({"ranks": [1, 2, 3, 4, 5]}, "has 4 outputs"),
        ({"task": "nothing", "ranks": [1, 2, 3, 4]}, "has no task nothing"),
        ({"task": None, "ranks": [1, 2, 3, 4]}, "has no task None"),
    ],
    ids=str,
)
def test_a_sheet_with_a_mistake_is_taken_not_at_all(
    lab: Desk, tmp_path: Path, given: dict[str, Any], why: str
) -> None:
    campaign = practice(lab)
    first, second = sheet(lab, campaign)

    with pytest.raises(AlignloopError, match=why) as raised:
        take(lab, campaign, [{**first, "ranks": [1, 2, 3, 4]}, {**second, **given}], tmp_path)

    assert "gold.jsonl, line 2" in str(raised.value)
    with lab.site.store.read() as connection:
        assert answer_keys.count_gold(connection, campaign) == 0


def test_grades_by_file(lab: Desk, tmp_path: Path) -> None:
    ann = lab.site.labeler("Ann", standing="pending")
    campaign = lab.campaign([1, 1], form="demonstrate", purpose="screening", cohort="any")
    for text in ("First.", "Second."):
        lab.demonstrate(ann, campaign, text)
    with lab.site.store.read() as connection:
        rows = list(golden.grading_sheet(connection, lab.boss, labeler=ann))
    assert [(row["response"], row["score"]) for row in rows] == [
        ("First.", None),
        ("Second.", None),
    ]
    assert "Ann" not in json.dumps(rows)
    path = tmp_path / "grades.jsonl"

    def taken(scores: list[Any]) -> int:
        given = [{**row, "score": score} for row, score in zip(rows, scores, strict=True)]
        path.write_text("".join(json.dumps(row) + "\n" for row in given))
        with lab.site.store.write() as connection:
            return golden.take_grades(connection, 0, lab.boss, path)

    for scores, error, why in (
        ([7, 2.5], DataError, "line 2: 'score' is a whole number"),
        ([7, True], DataError, "line 2: 'score' is a whole number"),
        ([7, 8], JudgmentError, "line 2: a grade goes from 1 to 7"),
    ):
        with pytest.raises(error, match=why):
            taken(scores)
    assert taken([7, None]) == 1
    assert taken([None, 4]) == 1
    with pytest.raises(JudgmentError, match=r"line 1: .* has a grade of yours"):
        taken([7, None])
    with lab.site.store.read() as connection:
        result = screened.screened(connection, ann, resamples=50)
    assert result.demonstrations.measure.value == 5.5


def test_measures_against_what_the_researchers_said(lab: Desk, tmp_path: Path) -> None:
    ann, bob = (
        lab.site.labeler("Ann", standing="pending"),
        lab.site.labeler("Bob", standing="pending"),
    )
    campaign = practice(lab, (4,))
    [row] = sheet(lab, campaign)
    take(
        lab,
        campaign,
        [{**row, "ranks": [1, 2, 3, None], "flags": {"violent": [2], "moral": [1]}}],
        tmp_path,
    )
    lab.rank(ann, campaign, [1, 3, 2, 4], likert=[4] * 4, flags={"sexual": True})
    lab.rank(bob, campaign, [1, None, 1, 2], likert=[4] * 4)

    with lab.site.store.read() as connection:
        answers = screened.answers_of(connection)
        measures = screened.all_measures(connection)
        alone = screened.answers_of(connection, ann)

    # Pairs 12, 13 and 23 are known. Ann has 12 and 13; Bob saw 1 and 3 as equal, and 2 as not rankable.
    assert measures[ann.id][1] == pytest.approx(2 / 3)
    assert measures[bob.id][1] is None
    assert len(answers[bob.id].rankings) == 1
    # Only the violent text is sensitive. That Ann called all of them sexual was not asked about; that one is moral is
    # no question of what is sensitive.
    assert measures[ann.id][0] == pytest.approx(3 / 4)
    assert len(answers[ann.id].flags) == 4
    assert measures[ann.id][2] is None
    assert alone == {ann.id: answers[ann.id]}
    kept = screened.as_json(_screened(lab, ann))
    assert kept["suggestion"] == "incomplete"
    assert json.loads(json.dumps(kept)) == kept


def _screened(lab: Desk, user: Any) -> Any:
    with lab.site.store.read() as connection:
        return screened.screened(connection, user, resamples=20)
