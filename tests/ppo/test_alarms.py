"""Each alarm sounds where it should, and nowhere else."""

from __future__ import annotations

import pytest

from alignloop.ppo import alarms

NOISE = [0.01, -0.02, 0.03, -0.01, 0.0, 0.02, -0.03, 0.01, -0.01, 0.0] * 2
RISING = [0.1 * i + n for i, n in enumerate(NOISE)]
FALLING = [-0.1 * i - n for i, n in enumerate(NOISE)]


def test_it_sounds_where_the_reward_rises_and_the_heldout_judge_falls() -> None:
    said = alarms.overoptimised(RISING, FALLING)

    assert said is not None
    assert "rose by 1.000" in said
    assert "fell by 1.000" in said


@pytest.mark.parametrize(
    ("scores", "heldout"),
    [
        (RISING, RISING),
        (FALLING, FALLING),
        (FALLING, RISING),
        (NOISE, FALLING),
        (RISING, NOISE),
        (RISING[1:], FALLING[1:]),
    ],
    ids=["both rise", "both fall", "the other way", "noise", "noise held out", "too early"],
)
def test_it_is_silent_elsewhere(scores: list[float], heldout: list[float]) -> None:
    assert alarms.overoptimised(scores, heldout) is None


def test_the_last_iterations_count() -> None:
    """A fall that ended twenty iterations ago is history."""
    assert alarms.overoptimised(FALLING + RISING, FALLING + RISING) is None
    assert alarms.overoptimised(FALLING + RISING, RISING + FALLING) is not None


def test_a_pretraining_gradient_of_ten_times_ppos_is_the_limit() -> None:
    assert alarms.ptx_dominates(1.0, 10.0) is None
    said = alarms.ptx_dominates(0.5, 6.0)
    assert said is not None
    assert "12 times" in said
    assert alarms.ptx_dominates(0.0, 1.0) is not None


def test_an_average_that_still_holds_the_start_names_a_decay_that_would_not() -> None:
    """The paper's 0.992 over its 4,000 updates holds nothing; over 100 it holds 45 %."""
    assert alarms.start_in_average(0.992, 4000) is None
    said = alarms.start_in_average(0.992, 100)
    assert said is not None
    assert "45 %" in said
    assert "ema_decay = 0.97" in said
    assert alarms.start_in_average(0.97, 100) is None


def test_far_from_the_reference() -> None:
    assert alarms.far_from_reference(49.9) is None
    assert alarms.far_from_reference(71.0) is not None
