"""Agreement from counts: by hand, and against the same figures from the judgments themselves."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignloop.judges.agreement_alpha import flag_agreement
from alignloop.judges.flag_counts import counted_agreement
from alignloop.judges.judgment import Judgment


def test_by_hand() -> None:
    # two texts, two answers each: yes yes, yes no
    found = counted_agreement({(2, 2): 1, (2, 1): 1})

    assert (found.answers, found.prevalence) == (4, 0.75)
    assert found.positive == pytest.approx(2 / 3)  # a = 1, b + c = 1
    # D_o = 2 / 4 over the values, D_e = 2 * 3 * 1 / (4 * 3): 1 - (1/2) / (1/2)
    assert found.alpha == pytest.approx(0.0)


def test_nothing_is_measured_where_there_is_nothing_to_measure() -> None:
    nobody, all_no, alone = (
        counted_agreement({}),
        counted_agreement({(3, 0): 5}),
        counted_agreement({(1, 1): 2}),
    )

    assert (nobody.prevalence, nobody.positive, nobody.alpha) == (None, None, None)
    assert (all_no.prevalence, all_no.positive, all_no.alpha) == (0.0, None, None)
    assert (alone.prevalence, alone.positive, alone.alpha) == (1.0, None, None)


@pytest.mark.parametrize("counts", [{(1, 2): 1}, {(2, -1): 1}, {(2, 1): -1}])
def test_counts_that_cannot_be_are_refused(counts: dict[tuple[int, int], int]) -> None:
    with pytest.raises(ValueError, match="no more can say yes"):
        counted_agreement(counts)


@given(st.lists(st.lists(st.booleans(), min_size=1, max_size=5), min_size=1, max_size=12))
def test_the_same_as_from_the_judgments(texts: list[list[bool]]) -> None:
    judgments = [
        Judgment(f"t{task}", f"l{who}", (1, 2), flags={"f": (answer, None)})
        for task, answers in enumerate(texts)
        for who, answer in enumerate(answers)
    ]
    expected = flag_agreement(judgments, resamples=1)["f"]

    found = counted_agreement(Counter((len(answers), sum(answers)) for answers in texts))

    assert found.prevalence == pytest.approx(expected.prevalence.value)
    assert found.positive == pytest.approx(expected.positive.value)
    assert found.alpha == pytest.approx(expected.alpha.value)
