"""The reward model's loop: Eq. 1 over whole prompts, then the bias that puts demonstrations at 0."""

from __future__ import annotations

from collections.abc import Sequence, Set
from functools import partial
from pathlib import Path

import torch

from alignloop.data.batches import Ragged, epoch_order, micro_batches, shares_of_batch
from alignloop.data.formatter import Formatter, set_chat_template
from alignloop.data.jsonl import read_records
from alignloop.data.records import Demonstration, Ranking
from alignloop.distributed import World
from alignloop.errors import DataError
from alignloop.models.dropout import residual_dropout
from alignloop.models.loading import (
    attention_window,
    check_tokenizer,
    load_tokenizer,
    save_model,
    sharded,
)
from alignloop.models.reward_model import ScalarModel
from alignloop.progress import progress
from alignloop.reward.batches import RankedBatch, RankedPrompt, encode_rankings, prompt_groups
from alignloop.reward.config import RewardConfig
from alignloop.reward.objective import pair_accuracy, ranking_loss
from alignloop.runs.artifact import Artifact
from alignloop.runs.run import Run
from alignloop.seeds import derive_seed
from alignloop.tensors import Summed
from alignloop.training.optimizer import make_optimizer
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
    """Train a reward model from `model` on a `rankings` artefact; leaves a `reward-model` artefact."""
    start = run.input("model", model, "policy")
    ranked = run.input("rankings", rankings, "rankings")
    written = run.input("demonstrations", demonstrations, "demonstrations")
    tokenizer = load_tokenizer(start.path)
    formatter = Formatter.of(tokenizer)
    set_chat_template(tokenizer)
    scorer = ScalarModel.load(start.path)
    check_tokenizer(start.path, scorer.model, tokenizer)
    scorer.model.config.pad_token_id = tokenizer.pad_token_id
    # Answers side by side bring a mask of their own, which knows of no window: none may be longer.
    context = attention_window(scorer.model)
    rankings_read = read_records(ranked.file("train.jsonl.gz"), Ranking)
    prompts = encode_rankings(rankings_read, formatter, context)
    valid = encode_rankings(
        read_records(ranked.file("valid.jsonl.gz"), Ranking), formatter, context
    )

    scorer.new_head(derive_seed(config.seed, "head"))
    # The loss does not see the bias: pairs differ by it on both sides. It is set once, at the end.
    scorer.bias.requires_grad_(False)
    sharded(scorer.model, world)
    optimizer = make_optimizer(scorer, config.optimizer)
    batches = [
        order[at : at + config.batch_size]
        for epoch in range(config.epochs)
        for order in [epoch_order(len(prompts), config.seed, epoch)]
        for at in range(0, len(order), config.batch_size)
    ]
    step = 0
    if found := run.latest_checkpoint():
        step, folder = found
        load_state(folder, {"model": scorer}, {"model": optimizer}, world)

    with (
        residual_dropout(scorer.model, 0.0),
        progress(len(batches), "reward model", "update", step) as bar,
    ):
        while step < len(batches):
            scorer.train()
            chosen = [prompts[i] for i in batches[step]]
            comparisons = sum(len(p.pairs) for p in chosen)
            sums = {"loss": 0.0, "pair_accuracy": 0.0}
            for rows, weight in shares_of_batch(
                [p.size for p in chosen], config.micro_batch_tokens, world
            ):
                batch = RankedBatch.of([chosen[i] for i in rows], formatter.pad)
                with autocast(config.precision):
                    scores = scorer.scores_of_all(batch.completions)
                summed = _loss(scores, batch, config)
                sums["loss"] += backward(summed.total * weight / len(chosen), "ranking", step)
                right = pair_accuracy(scores.detach(), batch.preferred, batch.other)
                sums["pair_accuracy"] += weight * float(right.total) / comparisons
            logged = {**world.sums(sums), "comparisons": comparisons}
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
            if step % config.valid_every == 0 or step == len(batches):
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
    chosen = _bias_demonstrations(
        read_records(written.file("train.jsonl.gz"), Demonstration),
        {ranking.prompt.use_case for ranking in rankings_read},
        formatter,
        context,
        config,
    )
    last = run.metrics.read()[-1]  # of the last update, which always validates
    with world.gathered(scorer):
        mean = zero_mean_on(scorer, chosen, formatter, config.micro_batch_tokens)
        scorer.save_bias()
        return run.finish(
            "reward-model",
            lambda folder: save_model(scorer.model, tokenizer, folder),
            {
                "stage": "reward",
                "reward_bias": float(scorer.bias.detach()),
                "demonstration_mean_before_bias": mean,
                "bias_demonstrations": [d.prompt.id for d in chosen],
                "valid_loss": last["valid_loss"],
                "valid_pair_accuracy": last["valid_pair_accuracy"],
            },
        )


def _bias_demonstrations(
    demonstrations: Sequence[Demonstration],
    ranked: Set[str],
    formatter: Formatter,
    context: int,
    config: RewardConfig,
) -> list[Demonstration]:
    """Those that the bias is set on [RM-02]: of the use cases that were ranked, and no longer than the context."""
    alike = [d for d in demonstrations if d.prompt.use_case in ranked] or list(demonstrations)
    order = [alike[i] for i in epoch_order(len(alike), config.seed, 0)]
    chosen: list[Demonstration] = []
    for one in order:
        if len(chosen) == config.bias_demonstrations:
            break
        tokens = len(formatter.prompt(one.prompt.text)) + len(formatter.response(one.response))
        if tokens <= context:
            chosen.append(one)
    if not chosen:
        raise DataError(
            f"no demonstration fits the reward model's context of {context}; its bias cannot be set"
        )
    return chosen


@torch.no_grad()
def zero_mean_on(
    scorer: ScalarModel, demonstrations: Sequence[Demonstration], formatter: Formatter, budget: int
) -> float:
    """Set the bias so that these demonstrations score 0 on average [RM-02]; returns their mean before."""
    rows = [
        (formatter.prompt(d.prompt.text), formatter.response(d.response)) for d in demonstrations
    ]
    total = 0.0
    for group in micro_batches([len(p) + len(r) for p, r in rows], budget):
        batch = Ragged.of([rows[i][0] for i in group], [rows[i][1] for i in group], formatter.pad)
        total += float(scorer.scores(batch).double().sum())
    mean = total / len(rows)
    scorer.bias.sub_(mean)
    return mean


def _loss(scores: torch.Tensor, batch: RankedBatch, config: RewardConfig) -> Summed:
    divisors = batch.kept_pairs if config.divisor == "kept_pairs" else batch.all_pairs
    return ranking_loss(scores, batch.preferred, batch.other, batch.prompt_of_pair, divisors)


def _validate(
    scorer: ScalarModel,
    prompts: Sequence[RankedPrompt],
    config: RewardConfig,
    formatter: Formatter,
    world: World,
) -> tuple[float, float]:
    """(Eq. 1, pair accuracy) on validation rankings."""
    loss, count, right, pairs = 0.0, 0, 0.0, 0
    mine = world.shard(prompts)
    with world.gathered(scorer):
        for group in prompt_groups(mine, config.micro_batch_tokens * 2):
            batch = RankedBatch.of([mine[i] for i in group], formatter.pad)
            scores = scorer.scores_of_all(batch.completions)
            summed = _loss(scores, batch, config)
            accuracy = pair_accuracy(scores, batch.preferred, batch.other)
            loss, count = loss + float(summed.total), count + summed.count
            right, pairs = right + float(accuracy.total), pairs + accuracy.count
    return world.sum(loss) / world.sum(count), world.sum(right) / world.sum(pairs)
