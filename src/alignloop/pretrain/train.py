"""The pretraining loop: next-token prediction on packed blocks of text."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path

import torch

from alignloop.data.batches import PackedText, shares_of_batch
from alignloop.data.formatter import encode_texts
from alignloop.data.jsonl import read_records
from alignloop.data.records import Text, texts_sha256
from alignloop.data.tokenizer import train_tokenizer
from alignloop.distributed import World
from alignloop.errors import ConfigError
from alignloop.files import sync_folder
from alignloop.models.compilation import ONE_PROCESS, compile_layers, eagerly
from alignloop.models.dropout import residual_dropout
from alignloop.models.loading import (
    backbone_of,
    load_tokenizer,
    new_llama,
    output_weight,
    save_model,
    sharded,
    token_id,
    wrap_tokenizer,
)
from alignloop.models.scoring import document_nll
from alignloop.pretrain.config import PretrainConfig
from alignloop.pretrain.objective import next_token_loss
from alignloop.progress import progress
from alignloop.runs.artifact import Artifact
from alignloop.runs.run import Run
from alignloop.seeds import derive_seed
from alignloop.training.optimizer import make_optimizer
from alignloop.training.state import load_state, save_state
from alignloop.training.step import autocast, backward, update


def train(config: PretrainConfig, run: Run, world: World, *, text: Path) -> Artifact:
    """Train tokenizer and model on the train side of a `pretraining-text` artefact; leaves a `policy` artefact.

    Raises:
        ConfigError: `compile` is set and there are several ranks.
    """
    if config.compile and world.size > 1:
        raise ConfigError(ONE_PROCESS)
    source = run.input("text", text, "pretraining-text")
    train_texts = read_records(source.file("train.jsonl.gz"), Text)
    valid_texts = read_records(source.file("valid.jsonl.gz"), Text)

    tokenizer_folder = run.folder / "tokenizer"
    if world.is_main and not tokenizer_folder.exists():
        trained = train_tokenizer((t.text for t in train_texts), config.vocab_size)
        aside = run.folder / ".tokenizer.tmp"  # several files: there whole or not at all
        wrap_tokenizer(trained, config.model.context).save_pretrained(str(aside))
        sync_folder(aside)
        aside.rename(tokenizer_folder)
    world.barrier()
    tokenizer = load_tokenizer(tokenizer_folder)
    end = token_id(tokenizer.eos_token_id)
    packed = PackedText(
        encode_texts(tokenizer, [t.text for t in train_texts]),
        end,
        config.model.context,
        config.seed,
    )
    valid_texts = valid_texts[:: max(len(valid_texts) // config.valid_documents, 1)]
    valid_tokens = encode_texts(tokenizer, [t.text for t in valid_texts])
    valid_bytes = sum(len(t.text.encode()) for t in valid_texts)

    model = new_llama(config.model, tokenizer, derive_seed(config.seed, "weights"))
    if config.compile:
        compile_layers(model)
    sharded(model, world)
    optimizer = make_optimizer(model, config.optimizer)
    step = 0
    if found := run.latest_checkpoint():
        step, folder = found
        load_state(folder, {"model": model}, {"model": optimizer}, world)

    with (
        residual_dropout(model, config.residual_dropout),
        progress(config.updates, "pretrain", "update", step) as bar,
    ):
        while step < config.updates:
            model.train()
            torch.manual_seed(derive_seed(config.seed, "dropout", step) + world.rank)
            blocks = packed.batch(step * config.batch_size, config.batch_size)
            count = blocks[:, 1:].numel()
            loss = 0.0
            for rows, weight in shares_of_batch([1] * len(blocks), config.micro_batch_size, world):
                piece = blocks[rows]
                with autocast(config.precision):
                    hidden = backbone_of(model)(
                        input_ids=piece[:, :-1], use_cache=False
                    ).last_hidden_state
                    summed = next_token_loss(hidden, output_weight(model), piece[:, 1:])
                loss += backward(summed.total * weight / count, "pretraining", step)
            loss = world.sum(loss)
            norm, rate = update(
                model,
                optimizer,
                config.optimizer,
                step=step,
                total=config.updates,
                world=world,
                term="pretraining",
            )
            step += 1
            values = {
                "loss": loss,
                "gradient_norm": norm,
                "learning_rate": rate,
                "tokens": step * count,
                "epoch": step * config.batch_size / packed.blocks_per_epoch,
            }
            if step % config.valid_every == 0 or step == config.updates:
                model.eval()
                with eagerly(config.compile), world.gathered(model):
                    nats = math.fsum(document_nll(model, world.shard(valid_tokens), start=end))
                nats = world.sum(nats)
                values["valid_bits_per_byte"] = nats / math.log(2) / valid_bytes
            run.log(step, values)
            bar.set_postfix_str(f"loss {loss:.3f}")
            bar.update()
            is_last = step == config.updates  # lest a full disk at the export cost anything
            if is_last or step % config.checkpoint_every == 0 or run.stop_requested():
                run.save_checkpoint(
                    step,
                    partial(
                        save_state,
                        models={"model": model},
                        optimizers={"model": optimizer},
                        world=world,
                    ),
                )
            if run.stop_requested():
                raise run.interrupt()

    dtype = torch.bfloat16 if config.export_dtype == "bfloat16" else torch.float32
    with world.gathered(model):
        return run.finish(
            "policy",
            lambda folder: save_model(model.eval(), tokenizer, folder, dtype),
            {
                "stage": "pretrain",
                "tokens": config.updates * config.batch_size * config.model.context,
                "train_text_sha256": texts_sha256(train_texts),
            },
        )
