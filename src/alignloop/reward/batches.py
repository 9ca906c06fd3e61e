"""The reward model's batches: whole prompts, or every pair as a row of its own."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from alignloop.data.batches import epoch_order
from alignloop.data.pairs import Pair
from alignloop.reward.config import RewardConfig
from alignloop.training.rankings import RankedPrompt


def as_pairs(prompts: Sequence[RankedPrompt]) -> list[RankedPrompt]:
    """Every pair as a prompt of its own with two completions: the data set that footnote 5 warns against."""
    return [
        RankedPrompt(
            prompt.prompt,
            [prompt.completions[pair.preferred], prompt.completions[pair.other]],
            [Pair(0, 1, pair.gap)],
            [True, not pair.is_ordered],
        )
        for prompt in prompts
        for pair in prompt.pairs
    ]


def batches_of(prompts: Sequence[RankedPrompt], config: RewardConfig) -> list[list[RankedPrompt]]:
    """The batches of all epochs in their order.

    With `shuffled_pairs` an epoch has as many updates as with `ranking`, so a batch holds about as many pairs as
    `batch_size` prompts bring [RM-07].
    """
    updates = -(-len(prompts) // config.batch_size)
    rows = as_pairs(prompts) if config.loss == "shuffled_pairs" else list(prompts)
    batches: list[list[RankedPrompt]] = []
    for epoch in range(config.epochs):
        order = [rows[i] for i in epoch_order(len(rows), config.seed, epoch)]
        if config.loss == "shuffled_pairs":
            cuts = [len(rows) * number // updates for number in range(updates + 1)]
        else:
            cuts = [*range(0, len(rows), config.batch_size), len(rows)]
        batches += [order[at:end] for at, end in pairwise(cuts)]
    return batches
