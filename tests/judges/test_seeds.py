"""Student's interval over seeds, by hand."""

from __future__ import annotations

import pytest

from alignloop.errors import ConfigError
from alignloop.judges.measure import NOTHING
from alignloop.judges.seeds import MOST_SEEDS, ONE_SEED, QUANTILES, over_seeds, t_interval


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


@pytest.mark.parametrize("freedom", range(1, MOST_SEEDS))
def test_the_quantiles_are_those_of_students_t(freedom: int) -> None:
    from scipy.stats import t

    assert QUANTILES[freedom - 1] == pytest.approx(t.ppf(0.975, freedom), abs=5e-5)


def test_one_seed_has_no_interval_and_none_has_no_value() -> None:
    assert over_seeds([0.7]).reason == ONE_SEED
    assert over_seeds([]).reason == NOTHING
    with pytest.raises(ValueError, match="no spread"):
        t_interval([1.0])
    with pytest.raises(ConfigError, match="smaller --seeds"):
        over_seeds([0.0] * (MOST_SEEDS + 1))
