"""The preference losses on a hand-computed case, and against a float64 loop over pairs, gradient included."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from alignloop.preference.objective import best_loss, pair_margins, preference_loss
from alignloop.tensors import generator
from alignloop.training.rankings import RankedBatch, RankedPrompt

KINDS: list[dict[str, Any]] = [
    {"loss": "sigmoid"},
    {"loss": "sigmoid", "label_smoothing": 0.2},
    {"loss": "ipo"},
]


def ranked(*ranks: int) -> RankedPrompt:
    """A prompt of one token and a completion of one token per rank; pairs as the real records give them."""
    return RankedPrompt.of([1], [[2] for _ in ranks], ranks, "drop")


def loss_of(log_ratios: Tensor, prompts: list[RankedPrompt], **options: Any) -> Tensor:
    batch = RankedBatch.of(prompts)
    margins = pair_margins(log_ratios, batch.preferred, batch.other)
    kept = batch.kept_pairs.to(log_ratios.dtype)
    summed = preference_loss(margins, batch.prompt_of_pair, kept, **options)
    assert summed.count == sum(bool(p.pairs) for p in prompts)
    return summed.total


def by_loop(
    log_ratios: list[float],
    groups: list[list[int]],
    beta: float,
    loss: str,
    label_smoothing: float = 0.0,
) -> tuple[float, list[float]]:
    """(sum over prompts of the mean over pairs, its gradient), in float64 and without any batch."""
    total, gradient, at = np.float64(0), np.zeros(len(log_ratios)), 0
    for ranks in groups:
        pairs = [
            (at + i, at + j)
            for i, a in enumerate(ranks)
            for j, b in enumerate(ranks)
            if a < b  # i is better
        ]
        for better, worse in pairs:
            h = np.float64(log_ratios[better]) - np.float64(log_ratios[worse])
            if loss == "ipo":
                value, slope = (h - 0.5 / beta) ** 2, 2 * (h - 0.5 / beta)
            else:
                right, wrong = 1 / (1 + np.exp(-beta * h)), 1 / (1 + np.exp(beta * h))
                value = -(1 - label_smoothing) * np.log(right) - label_smoothing * np.log(wrong)
                slope = -beta * ((1 - label_smoothing) * wrong - label_smoothing * right)
            total += value / len(pairs)
            gradient[better] += slope / len(pairs)
            gradient[worse] -= slope / len(pairs)
        at += len(ranks)
    return float(total), gradient.tolist()


def test_three_completions_by_hand() -> None:
    """Log-ratios 1, -1, 0 ranked in this order, beta 0.5: margins 2, 1, -1, so beta times them 1, 0.5, -0.5."""
    log_ratios = torch.tensor([1.0, -1.0, 0.0], dtype=torch.float64)

    dpo = loss_of(log_ratios, [ranked(1, 2, 3)], beta=0.5)
    ipo = loss_of(log_ratios, [ranked(1, 2, 3)], beta=0.5, loss="ipo")

    # -log sigmoid: of 1 0.3132617, of 0.5 0.4740770, of -0.5 0.9740770; distances from 1/(2 * 0.5): 1, 0, -2
    assert float(dpo) == pytest.approx((0.3132617 + 0.4740770 + 0.9740770) / 3, abs=1e-7)
    assert float(ipo) == pytest.approx((1 + 0 + 4) / 3)


@pytest.mark.parametrize("options", KINDS, ids=str)
@given(
    groups=st.lists(st.lists(st.integers(1, 4), min_size=2, max_size=5), min_size=1, max_size=3),
    beta=st.sampled_from([0.05, 0.3, 2.0]),
)
def test_loss_and_gradient_equal_a_loop_over_pairs(
    options: dict[str, Any], groups: list[list[int]], beta: float
) -> None:
    count = sum(map(len, groups))
    log_ratios = (
        torch.randn(count, generator=generator(5), dtype=torch.float64) * 3
    ).requires_grad_()

    total = loss_of(log_ratios, [ranked(*ranks) for ranks in groups], beta=beta, **options)
    total.backward()

    expected, gradient = by_loop(log_ratios.tolist(), groups, beta, **options)
    assert float(total.detach()) == pytest.approx(expected, rel=1e-10, abs=1e-12)
    assert log_ratios.grad is not None
    assert log_ratios.grad.tolist() == pytest.approx(gradient, rel=1e-10, abs=1e-12)


@pytest.mark.parametrize("completions", [2, 4, 9])
def test_where_policy_and_reference_agree_every_prompt_costs_log_two(completions: int) -> None:
    total = loss_of(torch.zeros(completions), [ranked(*range(1, completions + 1))], beta=0.1)

    assert float(total) == pytest.approx(math.log(2))


def test_a_prompt_counts_alike_whether_it_has_four_completions_or_nine() -> None:
    """One is off by h in all its pairs, the other by -h: each must bring half of the mean."""
    log_ratios = torch.tensor([1.0, *[0.0] * 3, -1.0, *[0.0] * 8], dtype=torch.float64)

    total = loss_of(log_ratios, [ranked(1, 2, 2, 2), ranked(1, *[2] * 8)], beta=1.0)

    assert float(total) == pytest.approx(math.log1p(math.exp(-1)) + math.log1p(math.exp(1)))


def test_smoothing_rests_where_the_policy_is_as_sure_as_the_labels() -> None:
    """With a share e of wrong labels the loss is least at sigmoid(beta h) = 1 - e, and IPO's at h = 1/(2 beta)."""
    sure = math.log(0.8 / 0.2) / 0.5
    for h, options in ((sure, {"label_smoothing": 0.2}), (1.0, {"loss": "ipo"})):
        log_ratios = torch.tensor([h, 0.0], dtype=torch.float64, requires_grad=True)
        loss_of(log_ratios, [ranked(1, 2)], beta=0.5, **options).backward()
        assert log_ratios.grad is not None
        assert log_ratios.grad.tolist() == pytest.approx([0, 0], abs=1e-12)


def test_the_best_completions_are_those_that_none_was_preferred_to() -> None:
    prompts = [ranked(2, 1, 3, 1), ranked(1, 2), ranked(2, 2, 1)]

    batch = RankedBatch.of(prompts)
    log_probs = torch.arange(-1.0, -10.0, -1.0)
    summed = best_loss(log_probs, torch.arange(1, 10), batch.is_best)

    assert batch.is_best.nonzero()[:, 0].tolist() == [1, 3, 4, 8]
    assert (float(summed.total), summed.count) == (2 + 4 + 5 + 9, 2 + 4 + 5 + 9)
