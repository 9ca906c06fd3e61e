"""People's judgments as rankings: who ranked what, ties, turns, what is left out, and a split by who asked."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from alignloop.data.cutting import fit
from alignloop.data.formatter import Formatter
from alignloop.data.human_judgments import (
    JUDGMENTS,
    read_judgments,
    split_judgments,
)
from alignloop.data.records import Completion, Prompt, Ranking
from alignloop.errors import DataError
from alignloop.judges.agreement import Agreement, agreement_of
from alignloop.resources import asset
from tests.helpers import SENTENCES, tiny_tokenizer

BUNDLED = asset("human_judgments")


def write(folder: Path, name: str, *rows: dict[str, Any]) -> Path:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / f"{name}.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    return folder


# --- the files that are bundled ---


@pytest.mark.parametrize(
    ("name", "rankings", "prompts", "labelers", "left_out"),
    [
        ("hh_harmless", 1533, 1533, 1, 9),
        ("pandalm_3annotators", 1845, 109, 3, 105),
        ("oasst_rankings", 131, 131, 1, 0),
        ("stackexchange_rankings", 1257, 1257, 1, 29),
        ("squality_rankings_workers", 240, 80, 4, 0),
    ],
)
def test_a_bundled_file_is_read_whole(
    name: str, rankings: int, prompts: int, labelers: int, left_out: int
) -> None:
    found = read_judgments(name, BUNDLED)

    assert len(found.rankings) == rankings
    assert len({r.prompt.id for r in found.rankings}) == prompts
    assert len({r.labeler for r in found.rankings}) == labelers
    assert sum(found.left_out.values()) == left_out


@pytest.mark.parametrize("name", JUDGMENTS)
def test_no_side_shares_a_prompt_an_opening_or_a_group_with_another(name: str) -> None:
    rankings = read_judgments(name, BUNDLED).rankings
    sides = split_judgments(rankings)

    assert sum(map(len, sides.values())) == len(rankings)
    assert all(any(r.pairs() for r in side) for side in sides.values())
    tellings = [lambda r: r.prompt.id, lambda r: r.prompt.group]
    if name != "squality_rankings_workers":  # "What is the plot?" is asked of every story
        tellings.append(lambda r: (r.prompt.history[0] if r.prompt.history else r.prompt).text)
    for told in tellings:
        train, valid, test = ({told(r) for r in sides[side]} for side in ("train", "valid", "test"))
        assert not (train & valid or train & test or valid & test)


def test_oasst_has_up_to_nine_answers() -> None:
    counts = {len(r.ranks) for r in read_judgments("oasst_rankings", BUNDLED).rankings}

    assert counts == {2, 3, 4, 5, 6, 9}


def test_the_annotators_of_pandalm_agree_as_often_as_is_known() -> None:
    """Cohen's kappa of the whole file is 0.84 to 0.88; here 35 rows with an empty answer are left out."""
    found = agreement_of(read_judgments("pandalm_3annotators", BUNDLED).rankings)

    assert len(found) == 3
    assert 0.90 < sum(found.values(), Agreement()).three_way_share < 0.96


# --- one row of each ---


def test_hh_keeps_the_turns_and_does_not_always_put_the_chosen_answer_first(
    tmp_path: Path,
) -> None:
    turns = [("human", "Hello."), ("assistant", "Hi."), ("human", "Help me.")]
    rows = [
        {
            "id": f"hh-{i}",
            "prompt": [{"role": role, "text": text} for role, text in turns],
            "chosen": "Gladly.",
            "rejected": "No.",
            "well_formed": True,
        }
        for i in range(12)
    ]
    bad = rows[0] | {"id": "bad", "well_formed": False, "prompt": None}
    empty = rows[0] | {"id": "empty", "rejected": "  "}
    two = rows[0] | {"id": "two", "prompt": rows[0]["prompt"][1:]}

    found = read_judgments("hh_harmless", write(tmp_path, "hh_harmless", *rows, bad, empty, two))

    assert [t.role for t in found.rankings[0].prompt.history] == ["user", "assistant"]
    assert found.rankings[0].prompt.text == "Help me."
    assert len({r.prompt.group for r in found.rankings}) == 1
    assert {r.ranks for r in found.rankings} == {(1, 2), (2, 1)}
    for ranking in found.rankings:
        ((best, _),) = ranking.pairs()
        assert ranking.completions[best].text == "Gladly."
    assert found.left_out == {
        "an answer is empty": 1,
        "malformed at the source": 1,
        "speakers do not take turns": 1,
    }


def test_pandalm_gives_a_ranking_per_annotator_with_ties(tmp_path: Path) -> None:
    row = {
        "prompt_id": "p",
        "instruction": "Say it.",
        "input": "Now.",
        "app": "Mail",
        "model_a": "x",
        "model_b": "y",
        "response_a": "One.",
        "response_b": "Two.",
        "labels": {"annotator1": 1, "annotator2": 2, "annotator3": 0},
    }

    found = read_judgments(
        "pandalm_3annotators", write(tmp_path, "pandalm_3annotators", row)
    ).rankings

    assert [r.ranks for r in found] == [(1, 2), (2, 1), (1, 1)]
    assert [r.labeler for r in found] == [f"pandalm/annotator{i}" for i in (1, 2, 3)]
    assert found[0].prompt.text == "Say it.\n\nNow."
    assert [c.model for c in found[0].completions] == ["x", "y"]


def question(number: int, **fields: Any) -> dict[str, Any]:
    return {
        "id": f"beer:{number}",
        "site": "beer.stackexchange.com",
        "asker_id": "7",
        "prompt": "Why?",
        "candidates": ["a", "b", "c"],
        "scores": [-1, 4, 4],
        **fields,
    }


def test_votes_become_ranks_and_equal_votes_ties(tmp_path: Path) -> None:
    rows = [question(1), question(2), question(3, asker_id=None)]

    found = read_judgments(
        "stackexchange_rankings", write(tmp_path, "stackexchange_rankings", *rows)
    ).rankings

    assert found[0].ranks == (2, 1, 1)
    assert found[0].prompt.group == found[1].prompt.group != found[2].prompt.group


def test_of_two_snapshots_of_a_question_the_later_is_read(tmp_path: Path) -> None:
    rows = [
        question(1, id="m:3:2017", prompt="Old?"),
        question(1, id="m:3:2024", prompt="New?"),
    ]

    found = read_judgments(
        "stackexchange_rankings", write(tmp_path, "stackexchange_rankings", *rows)
    )

    assert [r.prompt.text for r in found.rankings] == ["New?"]
    assert found.left_out == {"an older copy of the question": 1}


def test_squality_gives_a_ranking_per_worker(tmp_path: Path) -> None:
    row = {
        "passage_id": "5",
        "question_index": 2,
        "question": "Who?",
        "systems": ["bart", "human"],
        "responses": ["A fox.", "A hen."],
        "workers": {"6": {"overall_rank": [2, 1]}, "3": {"overall_rank": [1, 2]}},
    }

    found = read_judgments(
        "squality_rankings_workers", write(tmp_path, "squality_rankings_workers", row)
    ).rankings

    assert [(r.labeler, r.ranks) for r in found] == [
        ("squality/worker 3", (1, 2)),
        ("squality/worker 6", (2, 1)),
    ]
    assert found[0].prompt.group == "squality/5"


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    write(tmp_path, "oasst_rankings", {"tree": "t"})

    with pytest.raises(DataError, match=r"oasst_rankings\.jsonl\.gz, line 1: not a row of"):
        read_judgments("oasst_rankings", tmp_path)
    with pytest.raises(DataError, match="no data set 'no_such'"):
        read_judgments("no_such", tmp_path)
    with pytest.raises(DataError, match="no such file"):
        read_judgments("hh_harmless", tmp_path)


# --- the split ---


def ranking(group: int) -> Ranking:
    answers = tuple(Completion(text=t, model="m", finished=True, tokens=2) for t in "ab")
    prompt = Prompt(id=f"p{group}", text=f"Why {group}?", group=f"g{group}")
    return Ranking(prompt=prompt, completions=answers, ranks=(1, 2), labeler="ann")


@pytest.mark.parametrize(
    ("groups", "sizes"), [(100, (60, 15, 25)), (16, (10, 2, 4)), (3, (1, 1, 1))]
)
def test_each_side_gets_its_share_of_the_groups(groups: int, sizes: tuple[int, ...]) -> None:
    rankings = [ranking(i) for i in range(groups)]

    sides = split_judgments(rankings)

    assert tuple(len(sides[side]) for side in ("train", "valid", "test")) == sizes
    assert split_judgments(rankings[::-1])["test"] == [
        r for r in rankings[::-1] if r in sides["test"]
    ]


def test_two_groups_are_too_few() -> None:
    with pytest.raises(DataError, match="2 groups"):
        split_judgments([ranking(0), ranking(1)])


# --- cutting ---


def long_ranking() -> Ranking:
    texts = [" ".join(SENTENCES[:6]), SENTENCES[0]]
    answers = tuple(Completion(text=t, model="m", finished=True, tokens=1) for t in texts)
    history = [
        {"role": role, "text": " ".join(SENTENCES[3:5])} for role in ("user", "assistant") * 2
    ]
    prompt = Prompt.model_validate({"text": " ".join(SENTENCES), "history": history})
    return Ranking(prompt=prompt, completions=answers, ranks=(1, 2), labeler="ann")


def test_a_long_answer_keeps_its_start_and_has_no_end_token() -> None:
    formatter = Formatter.of(tiny_tokenizer())

    (one,) = fit([long_ranking()], formatter, 90, 40)

    long, short = one.cut.completions
    tokens = formatter.completion(long)
    assert (len(tokens), long.tokens, long.finished, one.cut_answers) == (40, 40, False, 1)
    assert formatter.end not in tokens
    assert one.whole.completions[0].text.startswith(long.text)
    assert short == one.whole.completions[1]
    assert formatter.completion(short)[-1] == formatter.end


def test_a_long_prompt_loses_its_earliest_turns_and_then_its_end() -> None:
    formatter = Formatter.of(tiny_tokenizer())
    given = long_ranking()
    whole = len(formatter.prompt(given.prompt))

    (uncut,) = fit([given], formatter, whole + 40, 40)
    (a_turn_less,) = fit([given], formatter, whole + 39, 40)
    (least,) = fit([given], formatter, 90, 40)

    assert not uncut.is_prompt_cut
    assert a_turn_less.cut.prompt.history == given.prompt.history[2:]
    assert a_turn_less.cut.prompt.text == given.prompt.text
    assert least.cut.prompt.history == ()
    assert given.prompt.text.startswith(least.cut.prompt.text) and least.cut.prompt.text
    assert len(formatter.prompt(least.cut.prompt)) <= 50
    assert least.cut.prompt.id == given.prompt.id
