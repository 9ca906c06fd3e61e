"""Statistics over prompts on tables worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from alignloop.judges.intervals import paired_bootstrap
from alignloop.workflow.studies.effects import effect_of, smallest_fall, weighted

A = [1.0, 2.0, 3.0, 6.0]
B = [0.5, 2.5, 1.0, 2.0]


def test_a_difference_is_paired_by_prompt() -> None:
    """The very interval that the paired bootstrap gives from the same draws, up to who rounds."""
    found = weighted([A, B], (1, -1), seed=3)
    other = paired_bootstrap(A, B, range(4), seed=3)

    assert found.mean == pytest.approx(1.5)
    assert (found.low, found.high) == pytest.approx((other.low, other.high), abs=0.1)
    assert found.n == 4


def test_a_shift_that_all_prompts_share_has_no_width() -> None:
    shifted = weighted([[a + 0.25 for a in A], A], (1, -1), seed=1)

    assert [shifted.mean, shifted.low, shifted.high] == pytest.approx([0.25, 0.25, 0.25])


def test_a_statistic_is_made_anew_of_every_resamples_means() -> None:
    """The mean of two prompts is (0, 0), (1/2, 1/2) or (1, 1): its square is 0, 1/4 or 1, never 1/2."""
    seen: set[float] = set()

    def square(means: np.ndarray) -> np.ndarray:
        seen.update(np.round(means[:, 0] ** 2, 12).tolist())
        return means[:, 0] ** 2

    found = effect_of([[0.0, 1.0]], square, seed=1)

    assert found.mean == 0.25
    assert seen == {0.0, 0.25, 1.0}
    assert (found.low, found.high) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("means", "fall"),
    [([5.0, 3.0, 2.5], 0.5), ([5.0, 3.0, 3.5], -0.5), ([1.0, 2.0], -1.0)],
)
def test_the_smallest_fall_is_above_zero_where_every_step_falls(
    means: list[float], fall: float
) -> None:
    assert smallest_fall(np.array([means, means])).tolist() == [fall, fall]


@pytest.mark.parametrize("columns", [[], [[]], [A, A[:3]]], ids=["none", "empty", "uneven"])
def test_columns_are_of_the_same_prompts(columns: list[list[float]]) -> None:
    with pytest.raises(ValueError, match="columns of the same prompts"):
        weighted(columns, [1.0] * len(columns), seed=1)
