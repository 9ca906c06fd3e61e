"""Student's interval over seeds, by hand."""

from __future__ import annotations

import pytest

from alignloop.judges.measure import NOTHING
from alignloop.judges.seeds import MOST_SEEDS, ONE_SEED, over_seeds


def test_two_seeds_by_hand() -> None:
    """Mean 0.5, standard deviation 0.1 * sqrt(2), so the half width is 12.7062 * 0.1."""
    found = over_seeds([0.4, 0.6])

    assert found.value == pytest.approx(0.5)
    assert (found.low, found.high) == (pytest.approx(0.5 - 1.27062), pytest.approx(0.5 + 1.27062))
    assert found.clusters == 2


def test_three_seeds_by_hand() -> None:
    """1, 2, 3: deviation 1, half width 4.3027 / sqrt(3) = 2.48416."""
    found = over_seeds([1.0, 2.0, 3.0])

    assert found.value == 2.0
    assert found.high == pytest.approx(4.48416, abs=1e-5)
    assert found.low == pytest.approx(-0.48416, abs=1e-5)


def test_the_quantiles_are_those_of_students_t() -> None:
    from scipy.stats import t

    for count in range(2, MOST_SEEDS + 1):
        values = [0.0] * (count - 1) + [1.0]
        found = over_seeds(values)
        deviation = (1 / count) ** 0.5
        expected = t.ppf(0.975, count - 1) * deviation / count**0.5
        assert found.high is not None and found.value is not None
        assert found.high - found.value == pytest.approx(expected, rel=1e-4)


def test_one_seed_has_no_interval_and_none_has_no_value() -> None:
    assert over_seeds([0.7]).reason == ONE_SEED
    assert over_seeds([]).reason == NOTHING
    with pytest.raises(ValueError, match="11 seeds"):
        over_seeds([0.0] * 11)
