"""Known answers on people's judgments that are bundled: PandaLM's annotators and SQuALITY's workers.

PandaLM's authors print Cohen's kappas of 0.85, 0.88 and 0.86 over 999 rows, with three labels: the first answer, the
second, a tie. On all 999 rows the same computation gives 0.852, 0.879 and 0.862. The bundled file holds 650 of them.
SQuALITY's file of 100 questions gives 784 of 900 pairs, 0.871; the bundled 80 questions 622 of 720.
"""

from __future__ import annotations

from typing import Any

import pytest

from alignloop.data.human_judgments import read_judgments
from alignloop.data.jsonl import read_objects
from alignloop.judges.agreement import Agreement, agreement_of
from alignloop.judges.agreement_alpha import pair_alpha
from alignloop.judges.agreement_tables import (
    by_distance,
    by_labeler,
    by_labelers,
    compare_all,
    overall,
)
from alignloop.judges.judgment import Judgment, judgments_of
from alignloop.judges.kappa import cohen_kappas
from alignloop.judges.krippendorff import alpha
from alignloop.resources import asset

ANNOTATORS = ("annotator1", "annotator2", "annotator3")


@pytest.fixture(scope="module")
def pandalm() -> list[dict[str, Any]]:
    path = asset("human_judgments", "pandalm_3annotators.jsonl.gz")
    return [row for _, row in read_objects(path)]


@pytest.fixture(scope="module")
def squality() -> list[Judgment]:
    return judgments_of(
        read_judgments("squality_rankings_workers", asset("human_judgments")).rankings
    )


def test_pandalms_kappas(pandalm: list[dict[str, Any]]) -> None:
    labels = {name: [row["labels"][name] for row in pandalm] for name in ANNOTATORS}

    found = cohen_kappas(labels, clusters=[row["prompt_id"] for row in pandalm])

    assert [round(measure.value or 0, 3) for measure in found.values()] == [0.841, 0.881, 0.852]
    for measure, published in zip(found.values(), (0.85, 0.88, 0.86), strict=True):
        assert (measure.cases, measure.clusters) == (650, 113)
        assert measure.low is not None and measure.high is not None
        assert measure.low < published < measure.high


def test_pandalms_alpha_lies_among_its_kappas(pandalm: list[dict[str, Any]]) -> None:
    rows = [(at, row["labels"][name]) for name in ANNOTATORS for at, row in enumerate(pandalm)]

    found = alpha([at for at, _ in rows], [label for _, label in rows], "nominal")

    assert round(found.value or 0, 3) == 0.858
    assert found.cases == 1950


def test_squalitys_agreement(squality: list[Judgment]) -> None:
    found = overall(compare_all(squality))

    assert found.counts == Agreement(ordered=720, same_order=622, one_tie=0, both_ties=0)
    assert round(found.strict.value or 0, 3) == 0.864
    assert found.tie_aware.value == found.strict.value  # its ranks have no ties
    assert found.strict.clusters == 80


def test_squalitys_workers(squality: list[Judgment]) -> None:
    comparisons = compare_all(squality)

    two = {pair: round(one.strict.value or 0, 3) for pair, one in by_labelers(comparisons).items()}
    rest = {name: round(one.strict.value or 0, 3) for name, one in by_labeler(comparisons).items()}

    names = [f"squality/worker {number}" for number in (2, 3, 6, 8)]
    assert list(two.values()) == [0.829, 0.867, 0.838, 0.874, 0.908, 0.859]
    assert next(iter(two)) == (names[0], names[1])
    assert rest == dict(zip(names, [0.845, 0.872, 0.867, 0.869], strict=True))
    assert round(pair_alpha(squality).value or 0, 2) == 0.73


def test_workers_agree_more_on_what_is_further_apart(squality: list[Judgment]) -> None:
    found = by_distance(compare_all(squality))

    assert [round(found[distance].strict.value or 0, 3) for distance in (1, 2)] == [0.808, 0.975]


def test_the_tables_hold_the_counts_of_two_at_a_time() -> None:
    # Where one labeler met a task twice the two disagree on which ranking counts; SQuALITY has no such case.
    rankings = read_judgments("squality_rankings_workers", asset("human_judgments")).rankings

    found = by_labelers(compare_all(judgments_of(rankings)))

    assert {pair: one.counts for pair, one in found.items()} == agreement_of(rankings)
