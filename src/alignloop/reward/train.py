"""The reward model's loop: Eq. 1 over whole prompts, then the bias that puts demonstrations at 0."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from alignloop.data.batches import shares_of_batch
from alignloop.data.formatter import Formatter, set_chat_template
from alignloop.data.jsonl import read_records
from alignloop.data.records import Demonstration, Ranking
from alignloop.distributed import World
from alignloop.errors import ConfigError
from alignloop.models.backbone import adapted, whole_model
from alignloop.models.compilation import compile_to_width, eagerly
from alignloop.models.dropout import residual_dropout
from alignloop.models.loading import (
    attention_window,
    check_tokenizer,
    load_scalar_model,
    load_tokenizer,
    save_model,
    sharded,
)
from alignloop.models.packing import packed_groups, packs
from alignloop.models.reward_model import ScalarModel
from alignloop.progress import progress
from alignloop.reward.batches import batches_of
from alignloop.reward.config import Head, RewardConfig
from alignloop.reward.normalise import chosen_demonstrations, normalise
from alignloop.reward.objective import best_of_k_loss, pair_accuracy, ranking_loss
from alignloop.runs.artifact import Artifact, Kind, model_kind
from alignloop.runs.run import Run
from alignloop.seeds import derive_seed
from alignloop.tensors import Summed
from alignloop.training.optimizer import make_optimizer
from alignloop.training.rankings import RankedBatch, RankedPrompt, encode_rankings, prompt_groups
from alignloop.training.state import load_state, save_state
from alignloop.training.step import autocast, backward, update


def train(
    config: RewardConfig,
    run: Run,
    world: World,
    *,
    model: Path,
    rankings: Path,
    demonstrations: Path,
) -> Artifact:
    """Train a reward model from `model` on a `rankings` artefact; leaves a `reward-model` artefact.

    Args:
        model: a `policy`, whose trunk gets a new head, or a `reward-model` to go on from.
    """
    start = run.input("model", model, model_kind(model))
    head = config.head or ("kept" if start.kind == "reward-model" else "new")
    if head == "kept" and start.kind != "reward-model":
        raise ConfigError(f"head = 'kept', but {model} is no reward model and has no scalar head")
    ranked = run.input("rankings", rankings, "rankings")
    written = run.input("demonstrations", demonstrations, "demonstrations")
    tokenizer = load_tokenizer(start.path)
    formatter = Formatter.of(tokenizer)
    set_chat_template(tokenizer)
    model_read = load_scalar_model(start.path)
    if config.adapters is not None:
        seed = derive_seed(config.seed, "adapter")
        model_read = adapted(model_read, start.path, config.adapters, "reward", seed)
    if config.compile:
        compile_to_width([model_read], config.micro_batch_tokens, world, config.adapters)
    scorer = ScalarModel(model_read)
    check_tokenizer(start.path, scorer.model, tokenizer)
    scorer.model.config.pad_token_id = tokenizer.pad_token_id
    packs(scorer.model)
    # Attention to a shared prompt knows of no window: no answer may reach beyond it.
    context = attention_window(scorer.model)
    rankings_read = read_records(ranked.file("train.jsonl.gz"), Ranking)
    prompts = encode_rankings(rankings_read, formatter, context, config.ties)
    valid = encode_rankings(
        read_records(ranked.file("valid.jsonl.gz"), Ranking), formatter, context
    )

    if head == "new":
        scorer.new_head(derive_seed(config.seed, "head"))
    # The loss does not see the bias: pairs differ by it on both sides. It is set once, at the end.
    scorer.bias.requires_grad_(False)
    sharded(scorer.model, world)
    optimizer = make_optimizer(scorer, config.optimizer)
    batches = batches_of(prompts, config)
    per_epoch = len(batches) // config.epochs
    step = 0
    if found := run.latest_checkpoint():
        step, folder = found
        load_state(folder, {"model": scorer}, {"model": optimizer}, world)

    with (
        residual_dropout(whole_model(scorer.model), 0.0),
        progress(len(batches), "reward model", "update", step) as bar,
    ):
        while step < len(batches):
            scorer.train()
            chosen = batches[step]
            ordered = sum(prompt.ordered_pairs for prompt in chosen)
            sums = {"loss": 0.0, "pair_accuracy": 0.0}
            for rows, weight in shares_of_batch(
                [p.size for p in chosen], config.micro_batch_tokens, world, packed_groups
            ):
                batch = RankedBatch.of([chosen[i] for i in rows])
                with autocast(config.precision):
                    scores = scorer.scores_of_all(batch.completions)
                summed = loss_of_batch(scores, batch, config)
                sums["loss"] += backward(summed.total * weight / len(chosen), "ranking", step)
                right = _accuracy(scores.detach(), batch)
                # A batch of ties alone has no order to be right about.
                sums["pair_accuracy"] += weight * float(right.total) / max(ordered, 1)
            logged = {**world.sums(sums), "comparisons": ordered}
            norm, rate = update(
                scorer,
                optimizer,
                config.optimizer,
                step=step,
                total=len(batches),
                world=world,
                term="ranking",
            )
            step += 1
            logged |= {"gradient_norm": norm, "learning_rate": rate}
            logged["epoch"] = step * config.epochs / len(batches)
            ends_epoch = step % per_epoch == 0
            if step % config.valid_every == 0 or ends_epoch:
                logged["valid_loss"], logged["valid_pair_accuracy"] = _validate(
                    scorer.eval(), valid, config, formatter, world
                )
            run.log(step, logged)
            bar.set_postfix_str(f"accuracy {logged['pair_accuracy']:.2f}")
            bar.update()
            if step % config.checkpoint_every == 0 or step == len(batches) or run.stop_requested():
                run.save_checkpoint(
                    step,
                    partial(
                        save_state,
                        models={"model": scorer},
                        optimizers={"model": optimizer},
                        world=world,
                    ),
                )
            if run.stop_requested():
                raise run.interrupt()

    scorer.eval()
    chosen = chosen_demonstrations(
        read_records(written.file("train.jsonl.gz"), Demonstration),
        {ranking.prompt.use_case for ranking in rankings_read},
        formatter,
        context,
        config,
    )
    curve = [
        {key: row[key] for key in ("valid_loss", "valid_pair_accuracy")}
        for row in run.metrics.read()
        if row["step"] % per_epoch == 0
    ]
    with eagerly(config.compile), world.gathered(scorer):
        mean, deviation = normalise(
            scorer, chosen, formatter, config.micro_batch_tokens, config.normalise
        )
        scorer.save_bias()
        return run.finish(
            "reward-model",
            lambda folder: save_model(scorer.model, tokenizer, folder),
            {
                "stage": "reward",
                "reward_bias": float(scorer.bias.detach()),
                "demonstration_mean_before_bias": mean,
                "bias_demonstrations": [d.prompt.id for d in chosen],
                **curve[-1],
                **_beyond_the_defaults(config, run, start.kind, head, deviation, curve),
            },
        )


def _beyond_the_defaults(
    config: RewardConfig,
    run: Run,
    kind: Kind,
    head: Head,
    deviation: float,
    curve: list[dict[str, float]],
) -> dict[str, Any]:
    """Facts of a run that does other than the paper."""
    facts: dict[str, Any] = {}
    if kind == "reward-model":
        facts |= {"init_from": kind, "head": head}
    if config.loss != "ranking":
        facts["loss"] = config.loss
    if config.normalise != "bias":
        facts["normalise"] = config.normalise
    if config.normalise == "gain_and_bias":
        facts["reward_gain"] = 1.0 / deviation
    if config.epochs > 1:
        facts["epochs"] = curve
        if worse := overfits_from([row["valid_loss"] for row in curve]):
            facts["overfits_from_epoch"] = worse
            before, after = (row["valid_loss"] for row in curve[worse - 2 : worse])
            run.warn(
                f"the validation loss rose in epoch {worse} (from {before:.4f} to {after:.4f}): the reward model "
                "overfits; the paper trains for one epoch"
            )
    return facts


def overfits_from(losses: Sequence[float]) -> int | None:
    """The first epoch (from 1) whose validation loss is above that of the epoch before."""
    for epoch, (before, after) in enumerate(pairwise(losses), start=2):
        if after > before:
            return epoch
    return None


def loss_of_batch(scores: torch.Tensor, batch: RankedBatch, config: RewardConfig) -> Summed:
    """What is minimised: the sum over the batch's prompts, or over its pairs where each is a row of its own."""
    if config.loss == "best_of_k":
        return best_of_k_loss(scores, batch.prompt_of_completion, batch.is_best)
    margins = torch.where(
        batch.is_ordered,
        config.margin + config.margin_per_rank * batch.gaps,
        torch.zeros_like(batch.gaps),
    )
    return _eq_1(scores, batch, config, torch.where(batch.is_ordered, 1.0, 0.5), margins)


def _eq_1(
    scores: torch.Tensor,
    batch: RankedBatch,
    config: RewardConfig,
    targets: torch.Tensor,
    margins: torch.Tensor,
) -> Summed:
    divisors = batch.kept_pairs if config.divisor == "kept_pairs" else batch.all_pairs
    pairs = (batch.preferred, batch.other, batch.prompt_of_pair)
    return ranking_loss(scores, *pairs, targets, margins, divisors)


def _accuracy(scores: torch.Tensor, batch: RankedBatch) -> Summed:
    return pair_accuracy(scores, batch.preferred, batch.other, batch.is_ordered)


def _validate(
    scorer: ScalarModel,
    prompts: Sequence[RankedPrompt],
    config: RewardConfig,
    formatter: Formatter,
    world: World,
) -> tuple[float, float]:
    """(Eq. 1, pair accuracy) on validation rankings, without ties or margins whatever is minimised: runs compare."""
    loss, count, right, pairs = 0.0, 0, 0.0, 0
    mine = world.shard(prompts)
    with eagerly(config.compile), world.gathered(scorer):
        for group in prompt_groups(mine, config.micro_batch_tokens):
            batch = RankedBatch.of([mine[i] for i in group])
            scores = scorer.scores_of_all(batch.completions)
            even = torch.zeros_like(batch.gaps)
            summed = _eq_1(scores, batch, config, even + 1.0, even)
            accuracy = _accuracy(scores, batch)
            loss, count = loss + float(summed.total), count + summed.count
            right, pairs = right + float(accuracy.total), pairs + accuracy.count
    return world.sum(loss) / world.sum(count), world.sum(right) / world.sum(pairs)
