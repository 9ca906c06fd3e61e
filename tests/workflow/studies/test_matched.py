"""Matched KL on curves worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from alignloop.workflow.studies.matched import ahead, from_zero, reach, values_at

KLS = np.array([[4.0, -0.01, 9.0]])
WINS = np.array([[0.7, 0.5, 0.6]])


@pytest.mark.parametrize(
    ("kl", "value"),
    [(0.0, 0.5), (1.0, 0.6), (4.0, 0.7), (6.25, 0.65), (9.0, 0.6), (20.0, 0.6)],
)
def test_between_points_it_is_linear_in_the_root_of_the_kl(kl: float, value: float) -> None:
    """The points are sorted; noise below 0 counts as 0; beyond the last its value stays."""
    assert values_at(KLS, WINS, kl).tolist() == pytest.approx([value])


def test_every_curve_is_read_at_its_own_kl() -> None:
    kls, wins = np.repeat(KLS, 2, axis=0), np.array([[0.7, 0.5, 0.6], [0.9, 0.5, 0.9]])

    assert values_at(kls, wins, np.array([1.0, 2.25])).tolist() == pytest.approx([0.6, 0.8])
    assert reach(kls).tolist() == [9.0, 9.0]


def test_ahead_is_the_mean_difference_over_the_upper_half_of_the_common_way() -> None:
    """One rises by 0.1 per root of a nat and ends at 2, the other by 0.05 and ends at 3: at roots 1 to 2 by 0.075."""
    near, far = np.array([[0.0, 4.0]]), np.array([[0.0, 9.0]])
    steep, flat = np.array([[0.5, 0.7]]), np.array([[0.5, 0.65]])

    assert ahead(near, steep, far, flat).tolist() == pytest.approx([0.075])
    assert ahead(far, flat, near, steep).tolist() == pytest.approx([-0.075])


def test_the_reference_is_at_kl_zero_whatever_was_measured() -> None:
    assert from_zero(np.array([[0.3, 4.0], [-0.2, 5.0]])).tolist() == [[0.0, 4.0], [0.0, 5.0]]
