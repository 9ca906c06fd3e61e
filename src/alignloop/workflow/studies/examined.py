"""What the reward-model studies share: a model trained in a cell, examined by prompt, and compared with another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alignloop.data.jsonl import read_records
from alignloop.data.records import Ranking
from alignloop.errors import DataError
from alignloop.evaluation.reward_metrics import JudgedPair, judged_pairs
from alignloop.evaluation.reward_scores import score_rankings
from alignloop.judges.intervals import paired_bootstrap, pooled
from alignloop.judges.measure import Measure, ratio
from alignloop.pages import Table
from alignloop.runs.artifact import Artifact, open_artifact
from alignloop.workflow.studies.cells import Done, Row
from alignloop.workflow.studies.claims import Effect
from alignloop.workflow.studies.foundation import Foundation
from alignloop.workflow.studies.wording import interval, share

MINUTE_OF_REWARD = 65.0
"""Seconds of one epoch over the demo's rankings with its base, on two quiet cores: for the time left."""


def train_reward(foundation: Foundation, folder: Path, rankings: Path, *overrides: str) -> Artifact:
    """A reward model from the foundation's SFT model, by the demo's recipe but for the overrides."""
    return foundation.run(
        folder / "reward",
        "reward",
        "reward",
        *overrides,
        model=foundation.path("sft"),
        rankings=rankings,
        demonstrations=foundation.path("demonstrations"),
    )


def valid_rankings(rankings: Path) -> list[Ranking]:
    """The validation side of a `rankings` artefact."""
    return read_records(open_artifact(rankings, "rankings").file("valid.jsonl.gz"), Ranking)


def examined(model: Path, rankings: Sequence[Ranking]) -> dict[str, Any]:
    """Per prompt of the rankings: `pairs` that are no ties, how many of them `right`, and the sum of their `loss`."""
    return summed(judged_pairs(rankings, score_rankings(model, rankings)))


def summed(pairs: Sequence[JudgedPair]) -> dict[str, Any]:
    """Pairs added up by prompt, in the order of their first appearance.

    Raises:
        DataError: there are none.
    """
    by_prompt: dict[str, list[JudgedPair]] = {}
    for pair in pairs:
        by_prompt.setdefault(pair.ranking.prompt.id, []).append(pair)
    if not by_prompt:
        raise DataError("every pair of the test rankings is a tie; rank more prompts")
    return {
        "prompts": list(by_prompt),
        "pairs": [len(found) for found in by_prompt.values()],
        "right": [math.fsum(pair.right for pair in found) for found in by_prompt.values()],
        "loss": [math.fsum(pair.loss for pair in found) for found in by_prompt.values()],
    }


def loss_effect(seed: int, more: Row, less: Row) -> Effect:
    """Validation loss as Eq. 1 has it (the mean over prompts of their pairs' mean) of one model less another's."""
    return Effect.of(seed, paired_bootstrap(_means(more), _means(less), _prompts(more, less)))


def accuracy_effect(seed: int, more: Row, less: Row) -> Effect:
    """Share of all pairs in the right order, of one model less another's."""
    prompts = _prompts(more, less)
    differences = [a - b for a, b in zip(more["right"], less["right"], strict=True)]
    found = ratio(differences, more["pairs"], prompts, seed=0, is_share=False)
    return effect_of(seed, found)


def effect_of(seed: int, found: Measure) -> Effect:
    """A measure as an effect.

    Raises:
        DataError: it has no interval.
    """
    if found.value is None or found.low is None or found.high is None:
        raise DataError(f"seed {seed}: no interval ({found.reason}); give more prompts")
    return Effect(seed, found.value, found.low, found.high, found.clusters)


def arms_table(cells: Sequence[Done]) -> Table:
    """Loss and accuracy of every model with their intervals over prompts."""
    rows: list[list[str]] = []
    for cell in cells:
        row = cell.rows[0]
        loss = pooled(_means(row), row["prompts"])
        right = ratio(row["right"], row["pairs"], row["prompts"], seed=0)
        assert right.value is not None and right.low is not None and right.high is not None
        rows.append(
            [
                cell.name.replace("_", " "),
                str(cell.seed),
                interval(loss.mean, loss.low, loss.high, "nats", signed=False),
                share(right.value, right.low, right.high),
                f"{loss.n}",
                f"{sum(row['pairs'])}",
            ]
        )
    columns = ["Model", "Seed", "Validation loss", "Pairs right", "Prompts", "Pairs"]
    return Table("Every model on validation rankings", columns, rows)


def mean_loss(row: Row) -> float:
    """Validation loss as Eq. 1 has it."""
    means = _means(row)
    return math.fsum(means) / len(means)


def _means(row: Row) -> list[float]:
    return [loss / pairs for loss, pairs in zip(row["loss"], row["pairs"], strict=True)]


def _prompts(more: Row, less: Row) -> list[str]:
    """The prompts, which both were examined on."""
    if more["prompts"] != less["prompts"] or more["pairs"] != less["pairs"]:
        raise DataError(
            "two reward models were examined on different rankings; delete the study's cells"
        )
    return more["prompts"]
