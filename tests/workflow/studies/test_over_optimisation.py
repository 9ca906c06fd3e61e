"""Peaks along a run, on answers worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from alignloop.workflow.studies.cells import Done
from alignloop.workflow.studies.over_optimisation import (
    STUDY,
    change,
    findings,
    means_along,
    peak_of,
    stretch_of,
)
from tests.workflow.studies.rows import best_of_row


def run_of(gold: Sequence[float], score: Sequence[float] | None = None) -> dict[str, list[float]]:
    """Two answers per iteration, 0.01 below and above the mean."""
    means = {"gold": gold, "score": score or gold}
    return {
        "iteration": [float(at) for at in range(1, len(gold) + 1) for _ in range(2)],
        "kl": [float(at) for at in range(len(gold)) for _ in range(2)],
        **{key: [v + d for v in values for d in (-0.01, 0.01)] for key, values in means.items()},
    }


def test_stretches_have_as_many_iterations() -> None:
    run = run_of([0.0] * 8)

    assert stretch_of(run, 4).tolist() == [s for s in range(4) for _ in range(4)]
    assert stretch_of(run_of([0.0] * 5), 10).tolist() == [0.0] * 6 + [1.0] * 4
    with pytest.raises(ValueError, match="3 iterations are too few"):
        stretch_of(run_of([0.0] * 3))


def test_the_peak_is_named_by_even_iterations_and_measured_on_odd_ones() -> None:
    """Iterations 1 to 8 in four stretches; 5 is the highest, by luck; the even ones say the second stretch."""
    run = run_of([0.1, 0.1, 0.2, 0.5, 0.9, 0.3, 0.1, 0.2], score=[1, 2, 3, 4, 5, 6, 7, 8])

    assert peak_of(run) == 1
    rise = change(run, "gold", 0, 1, seed=1)
    fall = change(run, "gold", 1, 3, seed=1)
    assert (rise.mean, rise.n) == (pytest.approx(0.1), 4)
    assert fall.mean == pytest.approx(-0.1)
    assert fall.low <= fall.mean <= fall.high
    assert change(run, "score", 1, 3, seed=1).mean == pytest.approx(4.0)
    assert means_along(run, "gold") == pytest.approx([0.1, 0.35, 0.6, 0.15])


def test_no_change_within_a_stretch() -> None:
    found = change(run_of([0.1, 0.2, 0.3, 0.4]), "gold", 1, 1, seed=1)

    assert (found.mean, found.low, found.high, found.n) == (0.0, 0.0, 0.0, 2)


def found_on(*golds: Sequence[float], score: Sequence[float]) -> dict[str, str]:
    cells = [
        done
        for seed, gold in enumerate(golds, start=1)
        for done in (
            Done("long_ppo", "small", seed, {}, [{"policy": "long_ppo", **run_of(gold, score)}]),
            Done("best_of_2", "small", seed, {"ns": [1, 2]}, [best_of_row(1), best_of_row(2)]),
        )
    ]
    found = findings(cells)
    assert len(found.figures) == 2
    assert [table.title for table in found.tables] == [
        "Along PPO without a KL penalty",
        "Best of n",
    ]
    return {judged.claim.key: judged.verdict for judged in found.judged}


def test_verdicts_of_a_run_that_over_optimises_and_of_one_that_does_not() -> None:
    peaks = [0.1, 0.1, 0.2, 0.2, 0.5, 0.5, 0.4, 0.4, 0.2, 0.2]
    rises = sorted(peaks)
    score = [float(at) for at in range(10)]

    assert found_on(peaks, score=score) == dict.fromkeys(
        ("long-gold-rises", "long-gold-falls", "long-score-goes-on"), "held"
    )
    more = [value + 0.01 * at for at, value in enumerate(peaks)]
    assert set(found_on(peaks, more, score=score).values()) <= {"held", "undecided"}
    assert found_on(rises, rises, score=score) == {
        "long-gold-rises": "held",
        "long-gold-falls": "not held",
        "long-score-goes-on": "not held",
    }


def test_the_study_asks_for_one_base() -> None:
    assert (STUDY.name, STUDY.bases) == ("over-optimisation", ("medium",))
