"""Alpha on Likert scores, pair relations and flags."""

from __future__ import annotations

import numpy as np
import pytest

from alignloop.judges.agreement_alpha import flag_agreement, likert_alpha, pair_alpha
from alignloop.judges.judgment import Judgment
from alignloop.judges.kappa import NEVER
from alignloop.judges.krippendorff import NO_PAIR, NO_VARIANCE, alpha, long_form


def test_likert_scores_are_ordinal_units_of_task_and_item() -> None:
    rows = [
        Judgment("t", "ann", (1, 2, 3), likert=(7, 4, None)),
        Judgment("t", "bob", (1, 2, 3), likert=(6, 4, 1)),
        Judgment("u", "ann", (1, 2), likert=(2, 5)),
        Judgment("u", "cyd", (1, 2), likert=(2, 7)),
        Judgment("u", "dan", (1, 2)),
    ]
    table = ((7, 4, None, 2, 5), (6, 4, 1, 2, 7))

    found = likert_alpha(rows)

    assert found.value == alpha(*long_form(table), "ordinal").value
    assert (found.cases, found.clusters) == (8, 2)
    assert likert_alpha([Judgment("t", "ann", (1, 2))]).reason == NO_PAIR


def test_pairs_are_units_and_not_ranks() -> None:
    # Task t: pairs 01, 02, 12 are +, +, tie to ann and +, +, + to bob, whatever the numbers of the ranks.
    rows = [Judgment("t", "ann", (1, 5, 5)), Judgment("t", "bob", (1, 2, 3))]

    found = pair_alpha(rows, seed=0)

    assert found.cases == 6
    assert found.clusters == 1
    shifted = [Judgment("t", "ann", (11, 50, 50)), Judgment("t", "bob", (11, 12, 13))]
    assert pair_alpha(shifted, seed=0) == found


def test_the_order_of_items_does_not_leak_into_alpha() -> None:
    # The best model always stands first and everybody sees it: perfect agreement, with or without that habit.
    # Were pairs not turned, +1 would be the only value, and alpha undefined.
    rows = [Judgment(f"t{task}", who, (1, 2)) for task in range(20) for who in ("ann", "bob")]

    assert pair_alpha(rows).value == 1.0
    untold = alpha([row.task for row in rows], [1.0] * 40, "ordinal")
    assert untold.reason == NO_VARIANCE


def test_how_items_stand_makes_hardly_a_difference() -> None:
    generator = np.random.default_rng(2)
    rows: list[Judgment] = []
    turned: list[Judgment] = []
    for task in range(300):
        worth = np.array([1.0, 0.5, 0.0, -0.5])  # the first model is the best, as a rule
        for who in "abc":
            seen = worth + generator.normal(size=4)
            ranks = (np.argsort(np.argsort(-seen)) + 1).tolist()
            order = np.random.default_rng(task).permutation(4).tolist()
            rows.append(Judgment(f"t{task}", who, tuple(ranks)))
            turned.append(Judgment(f"t{task}", who, tuple(ranks[at] for at in order)))

    here, there = pair_alpha(rows, seed=1), pair_alpha(turned, seed=1)
    other = pair_alpha(rows, seed=2)

    assert here.value is not None and there.value is not None and other.value is not None
    assert 0.05 < here.value < 0.5
    assert here.value == pytest.approx(there.value, abs=0.01)
    assert here.value == pytest.approx(other.value, abs=0.01)
    assert pair_alpha(rows, seed=1) == here


def test_flags_have_prevalence_positive_agreement_and_alpha() -> None:
    yes, no = True, False
    rows = [
        Judgment("t", "ann", (1, 2), flags={"harmful": (yes, no), "opinion": (no, no)}),
        Judgment("t", "bob", (1, 2), flags={"harmful": (yes, yes), "opinion": (no, no)}),
        Judgment("u", "ann", (1, 2), flags={"harmful": (no, no), "opinion": (no, None)}),
        Judgment("u", "bob", (1, 2), flags={"harmful": (no, no), "opinion": (no, no)}),
    ]

    found = flag_agreement(rows)

    assert list(found) == ["harmful", "opinion"]
    harmful = found["harmful"]
    assert harmful.prevalence.value == pytest.approx(3 / 8)
    assert harmful.positive.value == pytest.approx(2 / 3)  # a = 1, b + c = 1
    # o_01 = o_10 = 1, n_0 = 5, n_1 = 3: 1 - (2 / 8) / (2 * 15 / 56)
    assert harmful.alpha.value == pytest.approx(1 - (2 / 8) / (30 / 56))
    opinion = found["opinion"]
    assert (opinion.prevalence.value, opinion.prevalence.cases) == (0.0, 7)
    assert opinion.positive.reason == NEVER
    assert opinion.alpha.reason == NO_VARIANCE


def test_positive_agreement_is_averaged_over_pairs_of_raters() -> None:
    # One text, yes yes no: pairs (yes, yes), (yes, no), (yes, no): 2 * 1 / (2 * 1 + 2)
    rows = [
        Judgment("t", who, (1, 2), flags={"harmful": (said, None)})
        for who, said in (("ann", True), ("bob", True), ("cyd", False))
    ]

    assert flag_agreement(rows)["harmful"].positive.value == pytest.approx(1 / 2)


def test_a_rare_flag_has_a_low_alpha_in_spite_of_agreement() -> None:
    # 98 texts that nobody flags, one that ann flags, one that bob flags: 98 % agree.
    rows = [
        Judgment(f"t{at}", who, (1, 2), flags={"sexual": (at == own, None)})
        for at in range(100)
        for who, own in (("ann", 0), ("bob", 1))
    ]

    found = flag_agreement(rows)["sexual"]

    assert found.prevalence.value == pytest.approx(0.01)
    assert found.positive.value == 0.0
    assert found.alpha.value is not None and -0.01 < found.alpha.value < 0.0
