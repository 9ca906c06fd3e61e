"""Screening: four measures, soft cut-offs, a suggestion."""

from __future__ import annotations

import pytest

from alignloop.judges.screening import (
    Cutoffs,
    FlagAnswer,
    GradedDemonstration,
    RankingAnswer,
    ScreeningAnswers,
    screen,
)


def flags(right: int, wrong: int) -> list[FlagAnswer]:
    """Half of the right ones are sensitive; the wrong ones miss what is."""
    return [
        *(FlagAnswer(f"right {at}", at % 2 == 0, at % 2 == 0) for at in range(right)),
        *(FlagAnswer(f"wrong {at}", False, True) for at in range(wrong)),
    ]


def rankings(right: int, wrong: int) -> list[RankingAnswer]:
    return [
        *(RankingAnswer(f"right {at}", (1, 2), ((1, 2),)) for at in range(right)),
        *(RankingAnswer(f"wrong {at}", (2, 1), ((1, 2),)) for at in range(wrong)),
    ]


def demonstrations(*scores: float) -> list[GradedDemonstration]:
    return [GradedDemonstration(f"p{at}", score) for at, score in enumerate(scores)]


def test_the_papers_cut_offs() -> None:
    assert (Cutoffs().flags, Cutoffs().rankings, Cutoffs().demonstrations) == (0.75, 0.75, 6.0)


def test_the_four_measures_by_hand() -> None:
    answers = ScreeningAnswers(
        flags=flags(8, 2),
        # against two researchers: 3 of 3 and 2 of 3; then 1 pair tied by the candidate
        rankings=[
            RankingAnswer("t", (1, 2, 3), ((1, 2, 3), (1, 3, 2))),
            RankingAnswer("u", (1, 1), ((1, 2), (2, 1))),
        ],
        demonstrations=[
            GradedDemonstration("p", 7),
            GradedDemonstration("p", 6),
            GradedDemonstration("q", 5),
        ],
        topics=("politics", "religion"),
    )

    found = screen(answers)

    assert found.flags.measure.value == pytest.approx(0.8)
    assert (found.flags.measure.cases, found.flags.cutoff) == (10, 0.75)
    assert found.flags_positive.value == pytest.approx(2 * 4 / (2 * 4 + 2))
    assert found.rankings.measure.value == pytest.approx(5 / 6)
    assert found.rankings_tie_aware.value == pytest.approx(6 / 8)
    assert found.demonstrations.measure.value == pytest.approx(6.0)
    assert (found.demonstrations.measure.cases, found.demonstrations.measure.clusters) == (3, 2)
    assert found.topics == ("politics", "religion")
    assert [one.verdict for one in (found.flags, found.rankings, found.demonstrations)] == [
        "passes"
    ] * 3
    assert found.suggestion == "accept"


def test_a_cut_off_that_is_reached_is_passed() -> None:
    found = screen(ScreeningAnswers(flags(75, 25), rankings(3, 1), demonstrations(6, 6)))

    assert found.flags.verdict == found.rankings.verdict == found.demonstrations.verdict == "passes"
    assert not found.flags.is_clear


def test_clearly_below_is_declined_and_nearly_there_is_looked_at() -> None:
    good = ScreeningAnswers(flags(40, 2), rankings(40, 2), demonstrations(7, 7, 6, 7))
    poor = ScreeningAnswers(flags(20, 20), good.rankings, good.demonstrations)
    close = ScreeningAnswers(flags(14, 6), good.rankings, good.demonstrations)

    accepted, declined, looked_at = screen(good), screen(poor), screen(close)

    assert (accepted.suggestion, accepted.flags.is_clear) == ("accept", True)
    assert declined.suggestion == "decline"
    assert declined.why == "clearly below the cut-off: flags"
    assert (looked_at.suggestion, looked_at.flags.verdict) == ("look closer", "below")
    assert looked_at.why == "below the cut-off, but the interval holds it: flags"


def test_a_few_right_answers_are_not_certain() -> None:
    found = screen(ScreeningAnswers(flags(4, 0), rankings(4, 0), demonstrations(7, 7)))

    assert found.flags.verdict == "passes"
    assert not found.flags.is_clear  # 4 of 4 may be 51 % in truth
    assert found.flags.measure.low == pytest.approx(4 / (4 + 3.8415), abs=1e-3)


def test_without_answers_nothing_is_suggested() -> None:
    found = screen(ScreeningAnswers(flags=flags(9, 1)))

    assert found.suggestion == "incomplete"
    assert found.why == "nothing to measure: rankings, demonstrations"
    assert found.rankings.verdict == "no answers"
    assert found.rankings.measure.value is None


def test_who_never_flags_agrees_often_and_has_no_positive_agreement() -> None:
    answers = [FlagAnswer(f"{at}", False, at < 2) for at in range(20)]

    found = screen(ScreeningAnswers(answers))

    assert found.flags.measure.value == pytest.approx(0.9)
    assert found.flags_positive.value == 0.0


def test_own_cut_offs() -> None:
    answers = ScreeningAnswers(flags(8, 2), rankings(8, 2), demonstrations(5, 5, 5))

    assert screen(answers).demonstrations.verdict == "below"
    assert screen(answers, Cutoffs(demonstrations=5)).suggestion == "accept"


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="from 1 to 7"):
        GradedDemonstration("p", 8)
    with pytest.raises(ValueError, match="texts"):
        screen(ScreeningAnswers(rankings=[RankingAnswer("t", (1, 2), ((1, 2, 3),))]))
