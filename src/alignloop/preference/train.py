"""The DPO loop: reference log-probabilities once, then pairs of completions of whole prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedModel

from alignloop.data.batches import epoch_order, shares_of_batch
from alignloop.data.formatter import Formatter, set_chat_template
from alignloop.data.jsonl import read_records
from alignloop.data.records import Ranking
from alignloop.distributed import World
from alignloop.models.dropout import residual_dropout
from alignloop.models.loading import (
    attention_window,
    check_tokenizer,
    load_causal_lm,
    load_tokenizer,
    save_model,
    sharded,
)
from alignloop.models.packing import packed_groups, packs
from alignloop.models.policy import forest_log_probs
from alignloop.preference.config import DPOConfig
from alignloop.preference.objective import best_loss, pair_margins, preference_loss
from alignloop.progress import progress
from alignloop.runs.artifact import Artifact
from alignloop.runs.run import Run
from alignloop.tensors import wins
from alignloop.training.optimizer import make_optimizer
from alignloop.training.rankings import RankedBatch, RankedPrompt, encode_rankings, prompt_groups
from alignloop.training.state import load_state, save_state
from alignloop.training.step import autocast, backward, update


def train(config: DPOConfig, run: Run, world: World, *, model: Path, rankings: Path) -> Artifact:
    """Train a policy from `model`, which is the reference too, on a `rankings` artefact; leaves a `policy` artefact."""
    start = run.input("model", model, "policy")
    ranked = run.input("rankings", rankings, "rankings")
    tokenizer = load_tokenizer(start.path)
    formatter = Formatter.of(tokenizer)
    set_chat_template(tokenizer)
    policy = load_causal_lm(start.path)
    check_tokenizer(start.path, policy, tokenizer)
    packs(policy)
    sharded(policy, world)
    # Attention to a shared prompt knows of no window: no answer may reach beyond it.
    context = attention_window(policy)
    prompts, valid = (
        encode_rankings(read_records(ranked.file(f"{side}.jsonl.gz"), Ranking), formatter, context)
        for side in ("train", "valid")
    )
    batches = [
        order[at : at + config.batch_size]
        for epoch in range(config.epochs)
        for order in [epoch_order(len(prompts), config.seed, epoch)]
        for at in range(0, len(order), config.batch_size)
    ]
    plan = [_passes(prompts, batch, config, world) for batch in batches]
    valid = world.shard(valid)
    valid_groups = prompt_groups(valid, config.micro_batch_tokens)

    # The reference is read in the groups of the first epoch. So at the start it is the policy to the last bit.
    per_epoch = len(batches) // config.epochs
    first_epoch = [group for passes in plan[:per_epoch] for group, weight in passes if weight]
    with world.gathered(policy):
        mine = reference_log_probs(policy, prompts, first_epoch, config)
        known_valid = reference_log_probs(policy, valid, valid_groups, config)
    known = {n: found for share in world.gather([mine]) for n, found in share.items()}

    optimizer = make_optimizer(policy, config.optimizer)
    step = 0
    if found := run.latest_checkpoint():
        step, folder = found
        load_state(folder, {"model": policy}, {"model": optimizer}, world)

    # Dropout is off, as in RL [PPO-06]: with it the log-ratios would not start at 0.
    with residual_dropout(policy, 0.0), progress(len(batches), "dpo", "update", step) as bar:
        while step < len(batches):
            policy.train()
            chosen = [prompts[i] for i in batches[step]]
            best_tokens = sum(
                len(tokens)
                for p in chosen
                for tokens, is_best in zip(p.completions, p.is_best, strict=True)
                if is_best
            )
            found_here = _Tally()
            loss = 0.0
            for group, weight in plan[step]:
                batch = RankedBatch.of([prompts[i] for i in group])
                with autocast(config.precision):
                    log_probs = forest_log_probs(policy, batch.completions)
                changes = changes_of(log_probs, [known[i] for i in group])
                if weight:
                    found_here.add(changes.detach(), batch, config)
                objective = loss_of_batch(
                    log_probs, changes, batch, config, len(chosen), best_tokens
                )
                loss += backward(objective * weight, "preference", step)
            norm, rate = update(
                policy,
                optimizer,
                config.optimizer,
                step=step,
                total=len(batches),
                world=world,
                term="preference",
            )
            step += 1
            logged = {"loss": world.sum(loss), **found_here.means(config.beta, world)}
            logged |= {"gradient_norm": norm, "learning_rate": rate}
            logged["epoch"] = step / per_epoch
            if step % config.valid_every == 0 or step == len(batches):
                logged["valid_loss"], logged["valid_pair_accuracy"] = _validate(
                    policy.eval(), valid, valid_groups, known_valid, config, world
                )
            run.log(step, logged)
            bar.set_postfix_str(f"accuracy {logged['pair_accuracy']:.2f}")
            bar.update()
            if step % config.checkpoint_every == 0 or step == len(batches) or run.stop_requested():
                run.save_checkpoint(
                    step,
                    partial(
                        save_state,
                        models={"model": policy},
                        optimizers={"model": optimizer},
                        world=world,
                    ),
                )
            if run.stop_requested():
                raise run.interrupt()

    last = run.metrics.read()[-1]  # of the last update, which always validates
    with world.gathered(policy):
        return run.finish(
            "policy",
            lambda folder: save_model(policy.eval(), tokenizer, folder),
            {
                "stage": "dpo",
                "loss": config.loss,
                "beta": config.beta,
                "rankings": len(prompts),
                "updates": len(batches),
                "valid_loss": last["valid_loss"],
                "valid_pair_accuracy": last["valid_pair_accuracy"],
            },
        )


@torch.no_grad()
def reference_log_probs(
    model: PreTrainedModel,
    prompts: Sequence[RankedPrompt],
    groups: Sequence[Sequence[int]],
    config: DPOConfig,
) -> dict[int, Tensor]:
    """[K] for each prompt of the groups: log-probabilities of its completions under the model as it is now."""
    found: dict[int, Tensor] = {}
    with progress(sum(map(len, groups)), "reference", "prompt") as bar:
        for group in groups:
            batch = RankedBatch.of([prompts[i] for i in group])
            with autocast(config.precision):
                log_probs = forest_log_probs(model, batch.completions)
            parts = log_probs.cpu().split([len(prompts[i].completions) for i in group])
            found |= zip(group, parts, strict=True)
            bar.update(len(group))
    return found


class _Tally:
    """Sums over the micro-batches of one update."""

    def __init__(self) -> None:
        self.right, self.margin, self.preferred, self.other, self.drift = 0.0, 0.0, 0.0, 0.0, 0.0
        self.pairs, self.completions = 0, 0

    def add(self, changes: Tensor, batch: RankedBatch, config: DPOConfig) -> None:
        """Take in the changes [C] of one micro-batch."""
        margins = _margins(changes, batch, config)
        self.right += float(wins(margins).total)
        self.margin += float(margins.sum())
        self.preferred += float(changes[batch.preferred].sum())
        self.other += float(changes[batch.other].sum())
        self.drift -= float(changes.sum())
        self.pairs += len(margins)
        self.completions += len(changes)

    def means(self, beta: float, world: World) -> dict[str, float]:
        """What an update logs of all ranks' pairs and completions."""
        total = world.sums(vars(self))
        pairs = total["pairs"]
        return {
            "pair_accuracy": total["right"] / pairs,
            "comparisons": int(pairs),
            "reward_margin": beta * total["margin"] / pairs,
            "preferred_change": total["preferred"] / pairs,
            "other_change": total["other"] / pairs,
            "kl_from_reference": total["drift"] / total["completions"],
        }


def _passes(
    prompts: Sequence[RankedPrompt], chosen: Sequence[int], config: DPOConfig, world: World
) -> list[tuple[list[int], float]]:
    """This rank's micro-batches of the chosen prompts, as their indices, and what each weighs."""
    sizes = [prompts[i].size for i in chosen]
    shares = shares_of_batch(sizes, config.micro_batch_tokens, world, packed_groups)
    return [([chosen[at] for at in group], weight) for group, weight in shares]


def changes_of(log_probs: Tensor, known: Sequence[Tensor]) -> Tensor:
    """[C]: log-ratios to the reference, whose log-probabilities are known by prompt."""
    return log_probs - torch.cat(list(known)).to(log_probs.device)


def _margins(changes: Tensor, batch: RankedBatch, config: DPOConfig) -> Tensor:
    ratios = changes / batch.completions.lengths() if config.length_normalised else changes
    return pair_margins(ratios, batch.preferred, batch.other)


def loss_of_batch(
    log_probs: Tensor,
    changes: Tensor,
    batch: RankedBatch,
    config: DPOConfig,
    prompts: int,
    best_tokens: int,
) -> Tensor:
    """What a micro-batch adds to an update's loss, the term of the best completions with it.

    Args:
        log_probs, changes: [C] of its completions, and their log-ratios to the reference.
        prompts, best_tokens: of the whole update: its prompts, and the tokens of their best completions.
    """
    loss = _loss(changes, batch, config) / prompts
    if config.sft_coef:
        best = best_loss(log_probs, batch.completions.lengths(), batch.is_best)
        loss = loss + config.sft_coef * best.total / best_tokens
    return loss


def _loss(changes: Tensor, batch: RankedBatch, config: DPOConfig) -> Tensor:
    """Sum over the batch's prompts, each of which has a pair."""
    return preference_loss(
        _margins(changes, batch, config),
        batch.prompt_of_pair,
        batch.kept_pairs,
        beta=config.beta,
        loss=config.loss,
        label_smoothing=config.label_smoothing,
    ).total


@torch.no_grad()
def _validate(
    policy: PreTrainedModel,
    prompts: Sequence[RankedPrompt],
    groups: Sequence[Sequence[int]],
    known: Mapping[int, Tensor],
    config: DPOConfig,
    world: World,
) -> tuple[float, float]:
    """(preference loss, pair accuracy) on validation rankings, of which this rank has its share."""
    tally, loss = _Tally(), 0.0
    with world.gathered(policy):
        for group in groups:
            batch = RankedBatch.of([prompts[i] for i in group])
            with autocast(config.precision):
                log_probs = forest_log_probs(policy, batch.completions)
            changes = changes_of(log_probs, [known[i] for i in group])
            tally.add(changes, batch, config)
            loss += float(_loss(changes, batch, config))
    accuracy = tally.means(config.beta, world)["pair_accuracy"]
    return world.sum(loss) / world.sum(len(prompts)), accuracy
