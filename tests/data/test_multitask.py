"""The multi-task mixture: clusters are held out whole, passages stay on one side, data sets are mixed up to a cap."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignloop.data.jsonl import read_objects, read_records, write_records
from alignloop.data.multitask import (
    BUNDLED,
    TEST,
    VALID,
    InstructedRow,
    MultitaskConfig,
    demonstrations,
    mix,
    one_answer,
    publish_multitask,
    question_rows,
)
from alignloop.data.records import Demonstration, Text
from alignloop.data.shingles import shingles
from alignloop.data.split import side_of
from alignloop.data.tasks import Question, title_of_question
from alignloop.errors import ConfigError, DataError
from alignloop.resources import asset
from alignloop.runs.artifact import Artifact, write_artifact
from alignloop.runs.run import Run


@cache
def bundled() -> tuple[list[InstructedRow], list[InstructedRow]]:
    learn, ask = (read_records(asset("tasks", name), InstructedRow) for name in BUNDLED)
    return learn, ask


def row(number: int, dataset: str = "birds", **fields: Any) -> InstructedRow:
    given = {
        "template": f"{dataset}_plain",
        "dataset": dataset,
        "cluster": "animals",
        "passage": f"{dataset}/{number}",
        "prompt": f"What does bird {number} say?",
        "completion": f"It says {number}.",
    }
    return InstructedRow.model_validate(given | fields)


def made(
    tmp_path: Path, rows: Sequence[Path] = (), text: Path | None = None, **config: Any
) -> Artifact:
    settings = MultitaskConfig.model_validate(config)
    with Run.open(tmp_path / "run", "multitask", settings, resume=False) as run:
        return publish_multitask(settings, run, text=text, rows=rows)


def sides(artifact: Artifact) -> dict[str, list[Demonstration]]:
    return {
        side: read_records(artifact.file(f"{side}.jsonl.gz"), Demonstration)
        for side in ("train", "valid", "test")
    }


# --- the bundled rows ---


def test_the_bundled_files_are_the_two_sides_of_the_split() -> None:
    learn, ask = bundled()

    assert {side_of(one.passage, VALID, TEST) for one in ask} == {"test"}
    assert "test" not in {side_of(one.passage, VALID, TEST) for one in learn}
    assert all(one.license for one in (*learn, *ask))


def test_no_text_is_on_both_sides() -> None:
    """Of a template's own words apart, no asked row has about 110 characters in a row of one that is learned from.

    Independent of how passages were found: a window of 60 characters is a template's where two in five of its rows
    have it. Where a template borders on an example, a few windows are shared by chance.
    """
    learn, ask = bundled()
    windows = {id(one): shingles(f"{one.prompt} | {one.completion}") for one in (*learn, *ask)}
    by_template: dict[str, list[InstructedRow]] = {}
    for one in (*learn, *ask):
        by_template.setdefault(one.template, []).append(one)
    wording: set[int] = set()
    for rows in by_template.values():
        if len(rows) >= 30:  # smaller ones are all of one passage
            counts = Counter(window for one in rows for window in set(windows[id(one)].tolist()))
            wording.update(window for window, n in counts.items() if n >= 0.4 * len(rows))
    learned = {window for one in learn for window in windows[id(one)].tolist()} - wording

    shared = {id(one): len(learned.intersection(windows[id(one)].tolist())) for one in ask}

    assert max(shared.values()) < 50, [one.prompt for one in ask if shared[id(one)] >= 50][:3]
    assert sum(len(windows[id(one)]) > 0 for one in ask) > 1000


def test_answers_of_a_label_set_are_about_balanced() -> None:
    """Else a model that always says the same would look as if it knew something."""
    by_template: dict[tuple[str, tuple[str, ...]], Counter[str]] = {}
    for one in (*bundled()[0], *bundled()[1]):
        if one.choices:
            counts = by_template.setdefault((one.template, one.choices), Counter())
            counts[one.completion.strip()] += 1
    label_sets = {key: counts for key, counts in by_template.items() if counts.total() >= 30}

    assert len(label_sets) >= 20
    for key, counts in label_sets.items():
        assert max(counts.values()) <= 0.65 * counts.total(), key


# --- the mixture ---


def test_a_cluster_is_held_out_whole(tmp_path: Path) -> None:
    artifact = made(tmp_path, hold_out=["sentiment", "paraphrase"], cap=60)

    learn, ask = bundled()
    found = sides(artifact)
    clusters = {one.prompt.use_case for rows in found.values() for one in rows}
    assert clusters == {"closed_book", "commonsense", "reading", "science", "structure_to_text"}
    held_out = read_records(artifact.file("held_out.jsonl.gz"), InstructedRow)
    wanted = [one for one in (*learn, *ask) if one.cluster in ("sentiment", "paraphrase")]
    assert Counter(one.prompt for one in held_out) == Counter(one.prompt for one in wanted)
    groups = [{one.prompt.group for one in rows} for rows in found.values()]
    assert sum(map(len, groups)) == len(set().union(*groups))
    assert max(Counter(one.prompt.source for one in found["train"]).values()) == 60
    assert len({one.prompt.id for one in found["train"]}) == len(found["train"])
    assert artifact.facts["held_out"] == dict(
        sorted(Counter(one.cluster for one in wanted).items())
    )


def test_a_data_set_of_one_answer_is_left_out_and_named(tmp_path: Path) -> None:
    artifact = made(tmp_path)

    assert artifact.facts["left_out_for_one_answer"] == ["dbpedia_14"]
    assert not artifact.file("held_out.jsonl.gz").exists()
    for rows in sides(artifact).values():
        assert "dbpedia_14" not in {one.prompt.source for one in rows}


def test_long_answers_are_left_out_and_counted(tmp_path: Path) -> None:
    artifact = made(tmp_path, max_answer=20, hold_out=["commonsense"])

    found = sides(artifact)
    assert max(len(one.response) for rows in found.values() for one in rows) <= 20
    learn, ask = bundled()
    too_long = [one for one in (*learn, *ask) if len(one.completion) > 20]
    assert artifact.facts["left_out_for_length"] == sum(
        one.cluster != "commonsense" for one in too_long
    ), "what is held out is not left out for its length"
    assert any(one.cluster == "commonsense" for one in too_long)


def test_your_own_rows_join(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    mine = [row(number).model_dump(exclude_defaults=True) for number in range(200)]
    path.write_text("".join(json.dumps(one) + "\n" for one in mine))

    artifact = made(tmp_path, [path])

    found = sides(artifact)
    got = {side: sum(d.prompt.source == "birds" for d in rows) for side, rows in found.items()}
    assert sum(got.values()) == 200
    assert 0 < got["valid"] < got["test"] < got["train"]


def test_a_passage_of_a_held_out_cluster_is_not_learned_from_under_another(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    learned = [row(number) for number in range(40)]
    same = [row(number, cluster="songs", template="birds_songs") for number in range(20)]
    rows = [one.model_dump(exclude_defaults=True) for one in (*learned, *same)]
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))

    found = sides(made(tmp_path, [path], hold_out=["songs"]))

    groups = {one.prompt.group for rows in found.values() for one in rows}
    assert {one for one in groups if one.startswith("birds/")} == {
        f"birds/{number}" for number in range(20, 40)
    }


def test_an_unknown_cluster_is_refused_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match="no cluster 'sentiments'; the clusters are closed_book, "
    ):
        made(tmp_path, hold_out=["sentiments"])


def test_holding_out_everything_is_refused(tmp_path: Path) -> None:
    everything = sorted({one.cluster for one in bundled()[0]})

    with pytest.raises(DataError, match=r"nothing is left for 'train' .*hold out less"):
        made(tmp_path, hold_out=everything)


@pytest.mark.parametrize(
    "choices", [("It says 2.",), ("It says 1.", "It says 1."), ("It says 1.", "It says  1.")]
)
def test_the_right_answer_is_one_of_different_choices(choices: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="choices are different texts"):
        row(1, choices=choices)


def test_one_answer_under_each_template_teaches_a_constant() -> None:
    rows = [
        row(1, "cats", completion="Yes"),
        row(2, "cats", completion="Yes"),
        row(3, "cats", template="cats_other", completion="Right"),
        row(1, "dogs", completion="Yes"),
        row(2, "dogs", completion="No"),
    ]

    assert one_answer(rows) == {"cats"}


@given(
    sizes=st.dictionaries(st.sampled_from("abcde"), st.integers(1, 30), min_size=1),
    cap=st.integers(1, 20),
    seed=st.integers(0, 3),
)
def test_data_sets_are_mixed_by_their_size_up_to_the_cap(
    sizes: dict[str, int], cap: int, seed: int
) -> None:
    rows = [row(number, name) for name, size in sizes.items() for number in range(size)]

    mixed = mix(rows, cap, seed, "train")

    assert Counter(one.dataset for one in mixed) == {
        name: min(size, cap) for name, size in sizes.items()
    }
    assert len({id(one) for one in mixed}) == len(mixed)
    assert mixed == mix(rows, cap, seed, "train")


# --- FairytaleQA ---


def test_a_question_is_asked_under_some_template_or_turned_around() -> None:
    questions = [
        Question(f"q{n}", "fox", "A fox sat on a hill.", f"Where did fox {n} sit?", f"on hill {n}")
        for n in range(200)
    ]

    rows = question_rows(questions, seed=1)

    assert rows == question_rows(questions, seed=1)
    assert len({one.template for one in rows}) == 8
    for question, one in zip(questions, rows, strict=True):
        assert "A fox sat on a hill." in one.prompt
        if one.completion == question.question:
            assert question.answer in one.prompt and question.question not in one.prompt
        else:
            assert one.completion == question.answer
            assert question.question in one.prompt and question.answer not in one.prompt
    turned = sum(one.completion == q.question for one, q in zip(rows, questions, strict=True))
    assert 20 < turned < 90
    assert {d.prompt.group for d in demonstrations(rows)} == {"fairytale_qa/fox"}


def test_questions_about_a_story_go_to_its_side(tmp_path: Path) -> None:
    told = [row["story"] for _, row in read_objects(asset("stories", "fairytale_qa_val.jsonl.gz"))]
    names = list(dict.fromkeys(told))[:3]
    texts = {
        side: [
            Text(
                id=name,
                text=f"This is the story of {name}.",
                group=name,
                source="fairytale",
                title=title_of_question(name),
            )
        ]
        for side, name in zip(("train", "valid", "test"), names, strict=True)
    }

    def write(folder: Path) -> None:
        for side, found in texts.items():
            write_records(folder / f"{side}.jsonl.gz", found)

    write_artifact(tmp_path / "text", "pretraining-text", write, parents=[], facts={})

    found = sides(made(tmp_path, text=tmp_path / "text"))

    for (side, rows), name in zip(found.items(), names, strict=True):
        asked = [one for one in rows if one.prompt.source == "fairytale_qa"]
        assert {one.prompt.group for one in asked} == {f"fairytale_qa/{name}"}, side
        assert len(asked) == told.count(name)
