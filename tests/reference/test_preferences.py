"""What is learned from rankings, in float32 through the stages' own losses, against the formulas in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from alignloop.preference import train as preference
from alignloop.preference.config import DPOConfig
from alignloop.pretrain.objective import next_token_loss
from alignloop.reward import train as reward
from alignloop.reward.batches import as_pairs
from alignloop.reward.config import RewardConfig
from alignloop.training.rankings import RankedBatch, RankedPrompt, Ties
from tests.reference import formulas
from tests.reference.formulas import Array, gradient
from tests.reference.test_formulas import assert_close, seeds


def drawn(
    seed: int, ties: Ties = "drop"
) -> tuple[np.random.Generator, list[RankedPrompt], list[list[int]]]:
    """Five rankings of K = 2 to 9, some ties among them, with completions of 1 to 6 tokens."""
    random = np.random.default_rng(seed)
    ranks = [random.integers(1, 5, size=random.integers(2, 10)).tolist() for _ in range(4)]
    ranks = [[1, 2, 2], *([1, *one[1:-1], 2] for one in ranks)]
    prompts = [
        RankedPrompt.of([1], [[2] * int(random.integers(1, 7)) for _ in one], one, ties)
        for one in ranks
    ]
    return random, prompts, ranks


def by_prompt(flat: Array, ranks: list[list[int]]) -> list[list[float]]:
    parts = np.split(flat, np.cumsum([len(r) for r in ranks])[:-1])
    return [part.tolist() for part in parts]


def assert_same(
    at: Array, ours: Callable[[Tensor], Tensor], reference: Callable[[Array], float]
) -> None:
    """The loss, and its gradient with respect to each number."""
    given = torch.from_numpy(at).float().requires_grad_()
    loss = ours(given)
    loss.backward()
    assert given.grad is not None
    assert_close(float(loss.detach()), reference(at))
    slopes = gradient(reference, at)
    assert np.abs(slopes).max() > 1e-4
    assert_close(given.grad, slopes)


def assert_same_reward_loss(
    random: np.random.Generator,
    prompts: list[RankedPrompt],
    config: RewardConfig,
    reference: Callable[[Array], float],
) -> None:
    """Of random scores of all completions."""
    batch = RankedBatch.of(prompts)
    scores = random.normal(0, 2, sum(len(prompt.completions) for prompt in prompts))
    assert_same(scores, lambda s: reward.loss_of_batch(s, batch, config).mean(), reference)


@seeds
@pytest.mark.parametrize("divisor", ["kept_pairs", "all_pairs"])
@pytest.mark.parametrize("ties", ["drop", "half"])
@pytest.mark.parametrize("margins", [(0.0, 0.0), (0.3, 0.2)])
def test_rankings_with_ties_and_margins(
    seed: int, divisor: str, ties: Ties, margins: tuple[float, float]
) -> None:
    random, prompts, ranks = drawn(seed, ties)
    margin, per_rank = margins
    settings = {"divisor": divisor, "ties": ties, "margin": margin, "margin_per_rank": per_rank}
    config = RewardConfig.model_validate(settings)

    def reference(flat: Array) -> float:
        losses = [
            formulas.ranking_loss(
                scores,
                rank,
                divisor,
                halves_ties=ties == "half",
                margin=margin,
                margin_per_rank=per_rank,
            )
            for scores, rank in zip(by_prompt(flat, ranks), ranks, strict=True)
        ]
        return sum(losses) / len(losses)

    assert_same_reward_loss(random, prompts, config, reference)


@seeds
def test_the_best_of_k(seed: int) -> None:
    random, prompts, ranks = drawn(seed)
    config = RewardConfig.model_validate({"loss": "best_of_k"})

    def reference(flat: Array) -> float:
        each = zip(by_prompt(flat, ranks), ranks, strict=True)
        return sum(formulas.best_of_k_loss(s, r) for s, r in each) / len(ranks)

    assert_same_reward_loss(random, prompts, config, reference)


@seeds
def test_shuffled_pairs(seed: int) -> None:
    """Each pair is a prompt of two: Eq. 1 of it alone, and the mean over pairs."""
    random, prompts, _ = drawn(seed)
    config = RewardConfig.model_validate({"loss": "shuffled_pairs"})

    def reference(flat: Array) -> float:
        pairs = flat.reshape(-1, 2).tolist()
        return sum(formulas.ranking_loss(pair, (1, 2), "kept_pairs") for pair in pairs) / len(pairs)

    assert_same_reward_loss(random, as_pairs(prompts), config, reference)


@seeds
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"beta": 0.5, "label_smoothing": 0.1},
        {"beta": 0.5, "length_normalised": True},
        {"beta": 0.2, "loss": "ipo"},
        {"loss": "ipo", "length_normalised": True},
        {"sft_coef": 0.5},
        {"beta": 0.3, "sft_coef": 2.0, "length_normalised": True, "label_smoothing": 0.2},
    ],
    ids=lambda settings: "-".join(settings) or "published",
)
def test_dpo(seed: int, settings: dict[str, Any]) -> None:
    """Of two micro-batches together, the term of the best completions among it."""
    random, prompts, ranks = drawn(seed)
    config = DPOConfig.model_validate(settings)
    lengths = [[len(one) for one in prompt.completions] for prompt in prompts]
    size = sum(map(len, ranks))
    known = random.normal(-9, 2, size)
    best_tokens = sum(
        n
        for p, sizes in zip(prompts, lengths, strict=True)
        for n, b in zip(sizes, p.is_best, strict=True)
        if b
    )

    def ours(log_probs: Tensor) -> Tensor:
        parts = log_probs.split([len(r) for r in ranks])
        references = torch.from_numpy(known).float().split([len(r) for r in ranks])
        loss = torch.zeros(())
        for rows in ([0, 3], [1, 2, 4]):
            own = torch.cat([parts[i] for i in rows])
            changes = preference.changes_of(own, [references[i] for i in rows])
            batch = RankedBatch.of([prompts[i] for i in rows])
            loss = loss + preference.loss_of_batch(own, changes, batch, config, 5, best_tokens)
        return loss

    def reference(flat: Array) -> float:
        losses = [
            formulas.preference_loss(
                ratios,
                sizes,
                rank,
                beta=config.beta,
                loss=config.loss,
                label_smoothing=config.label_smoothing,
                length_normalised=config.length_normalised,
            )
            for ratios, sizes, rank in zip(
                by_prompt(flat - known, ranks), lengths, ranks, strict=True
            )
        ]
        best = [
            log_prob
            for log_probs, rank in zip(by_prompt(flat, ranks), ranks, strict=True)
            for log_prob, one in zip(log_probs, rank, strict=True)
            if one == min(rank)
        ]
        return sum(losses) / len(losses) - config.sft_coef * sum(best) / best_tokens

    assert_same(known + random.normal(0, 2, size), ours, reference)


@seeds
def test_pretraining(seed: int) -> None:
    random = np.random.default_rng(seed)
    hidden, weight = random.normal(0, 1, (2, 4, 8)), random.normal(0, 1.5, (50, 8))
    targets = random.integers(0, 50, (2, 4))

    def reference(states: Array) -> float:
        log_probs = formulas.log_softmax(states @ weight.T)
        rows = [log_probs[b, np.arange(4), targets[b]] for b in range(2)]
        return formulas.mean_nll(rows)

    assert_same(
        hidden,
        lambda states: next_token_loss(
            states, torch.from_numpy(weight).float(), torch.from_numpy(targets)
        ).mean(),
        reference,
    )
