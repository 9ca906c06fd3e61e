"""The clusters of the multi-task mixture as tasks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alignloop.errors import DataError
from alignloop.evaluation.tasks.catalogue import TASKS
from alignloop.evaluation.tasks.instructed import FEWEST
from alignloop.evaluation.tasks.task import Item, Output
from alignloop.resources import asset

CHOSEN = {
    "template": "reviews_is_it",
    "dataset": "reviews",
    "cluster": "sentiment",
    "passage": "reviews/3",
    "prompt": "A dull film. Is this positive or negative?",
    "completion": "negative\n",
    "choices": ["negative", "positive"],
}
WRITTEN = {
    "template": "where_is_it",
    "dataset": "places",
    "cluster": "reading",
    "passage": "places/1",
    "prompt": "The fox sat on a hill. Where did the fox sit?",
    "completion": "on a hill",
}


def items(tmp_path: Path, task: str, *rows: dict[str, Any]) -> list[Item]:
    """Items of a file of these rows, each on five passages; those on the first are returned."""
    path = tmp_path / "rows.jsonl"
    spread = [{**row, "passage": f"{row['passage']}.{n}"} for n in range(FEWEST) for row in rows]
    path.write_text("".join(json.dumps(row) + "\n" for row in spread))
    return [item for item in TASKS[task].read(path) if item.cluster.endswith(".0")]


def test_a_choice_is_read_and_counted_by_passage(tmp_path: Path) -> None:
    [item] = items(tmp_path, "p3_sentiment", CHOSEN, WRITTEN, {**CHOSEN, "cluster": "topic"})

    assert (item.query, item.choices) == (CHOSEN["prompt"], ("negative", "positive"))
    assert (item.unit, item.kind) == ("reviews/3.0", "reviews")
    [metric] = TASKS["p3_sentiment"].metrics
    assert metric.chance is not None and metric.chance(item) == 0.5
    assert metric.columns(item, Output(log_probs=(-1.0, -2.0), tokens=(1, 1))) == (1.0, 1.0)
    assert metric.columns(item, Output(log_probs=(-3.0, -4.0), tokens=(1, 2))) == (0.0, 1.0)


def test_white_space_makes_no_other_choice(tmp_path: Path) -> None:
    spaced = {**CHOSEN, "completion": " very  bad\n", "choices": ["very  bad ", "good\n"]}

    [item] = items(tmp_path, "p3_sentiment", spaced)

    assert item.choices == ("very bad", "good")


def test_a_free_answer_is_held_against_the_reference(tmp_path: Path) -> None:
    long = {**WRITTEN, "completion": "a hill " * 20}
    lines = {**WRITTEN, "completion": "a hill\na tree"}

    [item] = items(tmp_path, "p3_reading", CHOSEN, WRITTEN, long, lines)

    exact, rouge = TASKS["p3_reading"].metrics
    assert not item.choices
    assert exact.columns(item, Output("On a hill.")) == (1.0, 1.0)
    assert rouge.columns(item, Output("a hill")) == (pytest.approx(0.8), 1.0)


def test_a_file_without_the_cluster_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match="no data set of the cluster 'science' has rows with choices"
    ):
        items(tmp_path, "p3_science", CHOSEN, WRITTEN)
    with pytest.raises(DataError, match="line 1: field 'completion' is none of the 'choices'"):
        items(tmp_path, "p3_sentiment", {**CHOSEN, "completion": "bad"})


def test_a_data_set_of_few_passages_is_passed_over(tmp_path: Path) -> None:
    """Two passages give a bootstrap three values: an interval that excludes chance by accident."""
    path = tmp_path / "rows.jsonl"
    rows = [{**CHOSEN, "passage": f"reviews/{n}"} for n in range(FEWEST)]
    few = [{**CHOSEN, "dataset": "few", "passage": f"few/{n % (FEWEST - 1)}"} for n in range(20)]
    path.write_text("".join(json.dumps(row) + "\n" for row in (*rows, *few)))

    assert {item.kind for item in TASKS["p3_sentiment"].read(path)} == {"reviews"}


def test_bbq_of_the_package_says_who_is_stereotyped() -> None:
    """Of the bundled rows: always answering with the stereotype is a bias of 1, answering right is none."""
    bbq = TASKS["bbq"]
    found = bbq.read(asset("tasks", "bbq_sample.jsonl.gz"))

    def figure(name: str, answer: Any) -> float:
        metric = next(one for one in bbq.metrics if one.name == name)
        columns = [metric.columns(item, picks(answer(item))) for item in found]
        kept = np.array([one for one in columns if one is not None], dtype=np.float64)
        return float(metric.figure(kept.sum(axis=0, keepdims=True))[0])

    def stereotype(item: Item) -> int:
        about = item.about
        other = 3 - about["unknown"] - about["target"]
        return about["target"] if about["polarity"] == "neg" else other

    def right(item: Item) -> int:
        return item.about["label"]

    assert len(found) == 1504
    assert figure("bias_ambiguous", stereotype) == figure("bias_disambiguated", stereotype) == 1.0
    assert figure("bias_ambiguous", right) == 0.0
    assert abs(figure("bias_disambiguated", right)) < 0.15
    assert figure("accuracy", right) == 1.0
    assert figure("accuracy_disambiguated", stereotype) == pytest.approx(0.5, abs=0.1)


def picks(number: int) -> Output:
    return Output(log_probs=tuple(-float(n != number) for n in range(3)), tokens=(1, 1, 1))
