"""The SFT loop: learn the demonstrations' responses, keep every epoch's policy."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from alignloop.data.batches import PackedText, epoch_order, shares_of_blocks
from alignloop.data.formatter import Formatter, set_chat_template
from alignloop.data.jsonl import read_records
from alignloop.data.records import Demonstration
from alignloop.distributed import World
from alignloop.errors import DataError
from alignloop.models.backbone import adapted, whole_model
from alignloop.models.compilation import compile_to_width, eagerly
from alignloop.models.dropout import residual_dropout
from alignloop.models.loading import (
    check_tokenizer,
    context_length,
    load_causal_lm,
    load_tokenizer,
    save_model,
    sharded,
)
from alignloop.models.packing import check_packing, packs
from alignloop.models.policy import block_log_probs, log_probs_at
from alignloop.progress import progress
from alignloop.runs.artifact import Artifact, write_artifact
from alignloop.runs.run import Run
from alignloop.seeds import derive_seed
from alignloop.sft.batches import Example, MicroBatch, encode_demonstrations, lay_out
from alignloop.sft.config import SFTConfig
from alignloop.sft.objective import response_loss
from alignloop.tensors import Summed
from alignloop.training.optimizer import make_optimizer
from alignloop.training.pretraining_text import open_pretraining_text
from alignloop.training.state import load_state, save_state
from alignloop.training.step import autocast, backward, update

VALID_BLOCKS = 64
"""Most blocks of held-out pretraining text on which a pretraining mix is validated."""


def train(
    config: SFTConfig,
    run: Run,
    world: World,
    *,
    model: Path,
    demonstrations: Path,
    text: Path | None = None,
) -> Artifact:
    """Fine-tune a policy on the train file of a `demonstrations` artefact; leaves a `policy` artefact."""
    start = run.input("model", model, "policy")
    source = run.input("demonstrations", demonstrations, "demonstrations")
    tokenizer = load_tokenizer(start.path)
    formatter = Formatter.of(tokenizer)
    set_chat_template(tokenizer)
    policy = load_causal_lm(start.path)
    if config.adapters is not None:
        seed = derive_seed(config.seed, "adapter")
        policy = adapted(policy, start.path, config.adapters, "policy", seed)
    check_tokenizer(start.path, policy, tokenizer)
    context = context_length(policy)
    if config.compile:
        compile_to_width([policy], config.micro_batch_tokens, world, config.adapters)
        packs(policy)
    elif config.packing == "packed":
        check_packing(policy)
    policy = sharded(policy, world)
    (examples, dropped), (valid, _) = (
        encode_demonstrations(
            read_records(source.file(f"{side}.jsonl.gz"), Demonstration),
            formatter,
            context,
            config.max_prompt_tokens,
            config.learn_turns,
        )
        for side in ("train", "valid")
    )
    packed, mixed, held_out = _pretraining_text(config, run, text, tokenizer, context)

    optimizer = make_optimizer(policy, config.optimizer)
    batches = _plan(config, examples)
    step, tokens = 0, 0
    if found := run.latest_checkpoint():
        step, folder = found
        _, values = load_state(folder, {"model": policy}, {"model": optimizer}, world)
        tokens = values["tokens"]

    per_epoch = -(-len(examples) // config.batch_size)
    with (
        residual_dropout(whole_model(policy), config.residual_dropout),
        progress(len(batches), run.stage, "update", step) as bar,
    ):
        while step < len(batches):
            policy.train()
            torch.manual_seed(derive_seed(config.seed, "dropout", step) + world.rank)
            chosen = [examples[i] for i in batches[step]]
            count = sum(example.count(on_prompt=config.loss_on_prompt) for example in chosen)
            demo_share = 1.0 - config.pretraining_mix
            logged = {"loss": 0.0}
            for batch in lay_out(
                chosen,
                config.layout,
                config.micro_batch_tokens,
                formatter.pad,
                on_prompt=config.loss_on_prompt,
                world=world,
            ):
                with autocast(config.precision):
                    summed = _loss(policy, batch)
                share = batch.weight * demo_share / count
                logged["loss"] += backward(summed.total * share, "demonstration", step) / demo_share
            if packed is not None:
                blocks = packed.batch(step * mixed, mixed)
                logged["pretraining_loss"] = 0.0
                for piece, weight in shares_of_blocks(blocks, config.micro_batch_tokens, world):
                    with autocast(config.precision):
                        log_probs = block_log_probs(policy, piece)
                    share = weight * config.pretraining_mix / blocks[:, 1:].numel()
                    logged["pretraining_loss"] += (
                        backward(-log_probs.sum() * share, "pretraining", step)
                        / config.pretraining_mix
                    )
            logged = world.sums(logged)
            norm, rate = update(
                policy,
                optimizer,
                config.optimizer,
                step=step,
                total=len(batches),
                world=world,
                term="SFT",
            )
            step += 1
            tokens += sum(example.count() for example in chosen)
            logged |= {
                "gradient_norm": norm,
                "learning_rate": rate,
                "tokens": tokens,
                "epoch": step / per_epoch,
            }
            ends_epoch = step % per_epoch == 0 or step == len(batches)
            if ends_epoch:
                logged["valid_loss"] = _validate(policy.eval(), valid, config, formatter.pad, world)
                if held_out is not None:
                    found = _validate_text(policy, held_out, config, world)
                    logged["valid_pretraining_loss"] = found
            run.log(step, logged)
            bar.set_postfix_str(f"loss {logged['loss']:.3f}")
            bar.update()
            if ends_epoch and step < len(batches):
                with world.gathered(policy):
                    if world.is_main:
                        _keep_epoch(run, policy, tokenizer, -(-step // per_epoch))
            if step % config.checkpoint_every == 0 or ends_epoch or run.stop_requested():
                run.save_checkpoint(
                    step,
                    partial(
                        save_state,
                        models={"model": policy},
                        optimizers={"model": optimizer},
                        values={"tokens": tokens},
                        world=world,
                    ),
                )
            if run.stop_requested():
                raise run.interrupt()

    with world.gathered(policy):
        return run.finish(
            "policy",
            lambda folder: save_model(policy.eval(), tokenizer, folder),
            {
                "stage": run.stage,
                "response_tokens": tokens,
                "demonstrations": len(examples),
                "dropped_long_prompts": dropped,
            },
        )


def _plan(config: SFTConfig, examples: Sequence[Example]) -> list[list[int]]:
    """The rows of every batch of the run: whole epochs, or as many batches as the token budget allows."""
    batches: list[list[int]] = []
    tokens, epoch = 0, 0
    while config.response_tokens is not None or epoch < config.epochs:
        order = epoch_order(len(examples), config.seed, epoch)
        for at in range(0, len(order), config.batch_size):
            if config.response_tokens is not None and tokens >= config.response_tokens:
                return batches
            batches.append(order[at : at + config.batch_size])
            tokens += sum(examples[i].count() for i in batches[-1])
        epoch += 1
    return batches


def _pretraining_text(
    config: SFTConfig,
    run: Run,
    text: Path | None,
    tokenizer: PreTrainedTokenizerFast,
    context: int,
) -> tuple[PackedText | None, int, Tensor | None]:
    """The packed text of the pretraining mix, how many blocks of it go with each batch, and some to validate on."""
    if config.pretraining_mix == 0.0:
        return None, 0, None
    read = open_pretraining_text(
        run,
        text,
        tokenizer,
        needed_by="pretraining_mix",
        width_field="pretraining_tokens",
        width=config.pretraining_tokens,
        context=context,
        seed=config.seed,
    )
    share = config.pretraining_mix / (1 - config.pretraining_mix)
    held_out = None
    with suppress(DataError):  # a validation side may be shorter than one block
        valid = read("valid")
        held_out = valid.batch(0, min(valid.blocks_per_epoch, VALID_BLOCKS))
    return read("train"), max(round(config.batch_size * share), 1), held_out


def _loss(policy: PreTrainedModel, batch: MicroBatch) -> Summed:
    return response_loss(log_probs_at(policy, batch.rows, batch.is_learned), batch.is_learned)


@torch.no_grad()
def _validate(
    policy: PreTrainedModel, examples: Sequence[Example], config: SFTConfig, pad: int, world: World
) -> float:
    """Mean loss per response token on the validation demonstrations."""
    total, count = 0.0, 0
    budget = config.micro_batch_tokens
    with eagerly(config.compile), world.gathered(policy):
        for batch in lay_out(world.shard(examples), config.layout, budget, pad, on_prompt=False):
            summed = _loss(policy, batch)
            total, count = total + float(summed.total), count + summed.count
    return world.sum(total) / world.sum(count)


@torch.no_grad()
def _validate_text(
    policy: PreTrainedModel, blocks: Tensor, config: SFTConfig, world: World
) -> float:
    """Mean next-token loss on blocks of held-out pretraining text."""
    total = 0.0
    with eagerly(config.compile), world.gathered(policy):
        for piece, weight in shares_of_blocks(blocks, config.micro_batch_tokens, world):
            total -= weight * float(block_log_probs(policy, piece).sum())
    return world.sum(total) / blocks[:, 1:].numel()


def _keep_epoch(
    run: Run, policy: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, epoch: int
) -> None:
    """Write the policy as it is after `epoch`; the last epoch is the run's artefact itself."""
    write_artifact(
        run.folder / "epochs" / f"epoch_{epoch:02d}",
        "policy",
        lambda folder: save_model(policy, tokenizer, folder),
        parents=run.parents(),
        facts={"stage": run.stage, "epoch": epoch},
    )
