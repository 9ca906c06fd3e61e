"""Where the finished reward model's scale starts: demonstrations score 0 on average, and if asked vary by 1."""

from __future__ import annotations

import math
from collections.abc import Sequence, Set

import torch
from torch import Tensor

from alignloop.data.batches import Ragged, epoch_order, micro_batches
from alignloop.data.formatter import Formatter
from alignloop.data.records import Demonstration
from alignloop.errors import DataError
from alignloop.models.loading import scalar_head
from alignloop.models.reward_model import ScalarModel
from alignloop.reward.config import Normalise, RewardConfig


def chosen_demonstrations(
    demonstrations: Sequence[Demonstration],
    ranked: Set[str],
    formatter: Formatter,
    context: int,
    config: RewardConfig,
) -> list[Demonstration]:
    """Those that the scale is set on [RM-02]: of the use cases that were ranked, and no longer than the context."""
    alike = [d for d in demonstrations if d.prompt.use_case in ranked] or list(demonstrations)
    order = [alike[i] for i in epoch_order(len(alike), config.seed, 0)]
    chosen: list[Demonstration] = []
    for one in order:
        if len(chosen) == config.bias_demonstrations:
            break
        tokens = len(formatter.prompt(one.prompt)) + len(formatter.response(one.response))
        if tokens <= context:
            chosen.append(one)
    if not chosen:
        raise DataError(
            f"no demonstration fits the reward model's context of {context}; its bias cannot be set"
        )
    return chosen


@torch.no_grad()
def normalise(
    scorer: ScalarModel,
    demonstrations: Sequence[Demonstration],
    formatter: Formatter,
    budget: int,
    how: Normalise = "bias",
) -> tuple[float, float]:
    """Shift the scores so that these demonstrations' mean is 0 [RM-02], and scale them to a deviation of 1 [RM-08].

    The gain goes into the head's weights, so that a plain transformers model says the scaled score too. It changes no
    order, but a difference of scores is the log-odds of preference no more.

    Returns:
        Mean and standard deviation (the population's) before.

    Raises:
        DataError: a gain is asked for, and all demonstrations have one score.
    """
    rows = [(formatter.prompt(d.prompt), formatter.response(d.response)) for d in demonstrations]
    parts: list[Tensor] = []
    for group in micro_batches([len(p) + len(r) for p, r in rows], budget):
        batch = Ragged.of([rows[i][0] for i in group], [rows[i][1] for i in group], formatter.pad)
        parts.append(scorer.scores(batch).double())
    mean = sum(float(part.sum()) for part in parts) / len(rows)
    deviation = math.sqrt(sum(float(((p - mean) ** 2).sum()) for p in parts) / len(rows))
    if how != "none":
        scorer.bias.sub_(mean)
    if how == "gain_and_bias":
        if deviation == 0.0:
            raise DataError(
                f"{len(rows)} demonstrations with one and the same score set no gain; "
                "give more of them, or use normalise = 'bias'"
            )
        head = scalar_head(scorer.model)
        for scaled in (head.weight, head.bias, scorer.bias):
            if scaled is not None:
                scaled.div_(deviation)
    return mean, deviation
