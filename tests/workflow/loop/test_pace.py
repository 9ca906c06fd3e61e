"""How long the rest takes: like the last of its kind, else in proportion to what was measured."""

from __future__ import annotations

import pytest

from alignloop.workflow.loop.pace import Pace, effort, told
from alignloop.workflow.loop.steps import Step


def test_nothing_is_known_before_something_long_was_measured() -> None:
    pace = Pace()
    assert pace.left([Step("sft", "sft")]) is None
    pace.note("open", 3.0)

    assert pace.left([Step("sft", "sft")]) is None


def test_steps_that_were_measured_are_expected_to_take_as_long_again() -> None:
    pace = Pace()
    pace.note("ppo", 500.0)
    pace.note("ppo", 70.0)

    assert pace.left([Step("ppo", "ppo_ptx-2", 2), Step("ppo", "control-ppo_ptx-2", 2)]) == 140.0


def test_others_are_taken_in_proportion() -> None:
    pace = Pace()
    pace.note("sft", 2 * effort("sft"))
    pace.note("sample", 2 * effort("sample"))

    left = pace.left([Step("ppo", "ppo_ptx-1", 1), Step("sample", "samples-2", 2)])

    assert left == pytest.approx(2 * effort("ppo") + 2 * effort("sample"))


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, ""),
        (2.0, "about 10 s left"),
        (62.0, "about 60 s left"),
        (725.0, "about 12 min left"),
        (9000.0, "about 2.5 h left"),
    ],
)
def test_it_is_said_as_people_say_it(seconds: float | None, words: str) -> None:
    assert told(seconds) == words
