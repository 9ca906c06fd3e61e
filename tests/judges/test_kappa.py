"""Cohen's kappa and positive agreement, by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignloop.judges.kappa import NEVER, cohen_kappa, cohen_kappas, positive_agreement
from alignloop.judges.krippendorff import NO_VARIANCE
from alignloop.judges.measure import NOTHING, ONE_CLUSTER

labels = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=1, max_size=30
)


def test_kappa_by_hand() -> None:
    # 20 yes-yes, 5 yes-no, 10 no-yes, 15 no-no: p_o = 0.7, p_e = 0.5 * 0.6 + 0.5 * 0.4 = 0.5
    pairs = [("yes", "yes")] * 20 + [("yes", "no")] * 5 + [("no", "yes")] * 10 + [("no", "no")] * 15
    first, second = [a for a, _ in pairs], [b for _, b in pairs]

    found = cohen_kappa(first, second)

    assert found.value == pytest.approx(0.4)
    assert (found.cases, found.clusters) == (50, 50)
    assert found.low is not None and found.high is not None
    # standard error by the usual formula: sqrt(0.7 * 0.3 / (50 * 0.5^2)) = 0.13
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * 0.13, abs=0.03)


def test_what_one_of_them_left_out_is_left_out() -> None:
    found = cohen_kappa(["a", None, "b", "b"], ["a", "b", None, "b"])

    assert (found.value, found.cases) == (1.0, 2)


def test_kappa_is_undefined_where_both_always_say_the_same() -> None:
    assert cohen_kappa(["no"] * 9, ["no"] * 9).reason == NO_VARIANCE
    assert cohen_kappa([None], ["no"]).reason == NOTHING
    # One who never varies is no better than chance, which is a figure.
    assert cohen_kappa(["no", "no"], ["no", "yes"]).value == 0.0


def test_the_interval_of_kappa_is_drawn_over_clusters() -> None:
    first, second = ["a", "b", "b", "a"], ["a", "b", "a", "b"]

    assert cohen_kappa(first, second, clusters=[0, 0, 0, 0]).reason == ONE_CLUSTER
    # Of two clusters, one agrees (kappa 1) and one contradicts (kappa -1).
    two = cohen_kappa(first, second, clusters=[0, 0, 1, 1])
    assert (two.low, two.high) == (-1.0, 1.0)


@given(labels)
def test_kappa_is_symmetric_and_ignores_names(pairs: list[tuple[str, str]]) -> None:
    first, second = [a for a, _ in pairs], [b for _, b in pairs]
    names = {"a": 9, "b": 3, "c": 5}

    found = cohen_kappa(first, second, resamples=2).value
    turned = cohen_kappa(second, first, resamples=2).value
    renamed = cohen_kappa([names[a] for a in first], [names[b] for b in second], resamples=2).value

    assert found == pytest.approx(turned)
    assert found == pytest.approx(renamed)
    assert found is None or found <= 1.0


def test_each_two_raters_have_a_kappa() -> None:
    found = cohen_kappas({"bob": ["a", "b"], "ann": ["a", "b"], "cyd": ["b", "a"]})

    assert {pair: measure.value for pair, measure in found.items()} == {
        ("ann", "bob"): 1.0,
        ("ann", "cyd"): -1.0,
        ("bob", "cyd"): -1.0,
    }


def test_labels_must_go_together() -> None:
    with pytest.raises(ValueError, match="per item"):
        cohen_kappa(["a"], ["a", "b"])


def test_positive_agreement_by_hand() -> None:
    # two texts that both call sensitive, three that one does: 4 / 7
    found = positive_agreement([1, 1, 0, 0, 0, 0], [0, 0, 1, 1, 1, 0], list(range(6)))

    assert found.value == pytest.approx(4 / 7)
    assert positive_agreement([0, 0], [0, 0], [0, 1]).reason == NEVER
