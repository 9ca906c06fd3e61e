"""Tiny models, tokenizers and artefacts of every kind, small enough that a whole stage runs in a second."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from alignloop.data.jsonl import write_records
from alignloop.data.records import Completion, Demonstration, Prompt, Ranking, Text
from alignloop.data.tokenizer import train_tokenizer
from alignloop.models.loading import save_model, wrap_tokenizer
from alignloop.runs.artifact import Artifact, Kind, write_artifact
from alignloop.runs.run import Run
from alignloop.workflow.stages import config_class, run_stage

CONTEXT = 96
ARCHITECTURES = ("llama", "gpt2", "qwen3")

SENTENCES = (
    "Once there was a fox who lived near the river.",
    "The old hen had three small eggs.",
    "Every morning the king walked to the mill.",
    "Nobody knew where the goat had gone.",
    "The girl found a silver key under the stone.",
    '"Come back before dark," said the mother.',
    "The wolf waited behind the barn until the moon rose.",
    "He gave the bread to the hungry bird.",
    "They danced until the candles went out.",
    "In the end the boy went home with the cow.",
    "The rain fell for seven days.",
    "A frog sat on the well and sang.",
)

# --- tokenizers and models ---


@cache
def _trained() -> str:
    """Our own tokenizer over the sentences, as JSON: fewer than 400 entries."""
    return train_tokenizer(SENTENCES * 3, 330).to_str()


def tiny_tokenizer(context: int = CONTEXT) -> PreTrainedTokenizerFast:
    """A byte-level BPE with our marks; a new object each time, since a chat template may be written into it."""
    return wrap_tokenizer(Tokenizer.from_str(_trained()), context)


def foreign_tokenizer(
    eos: str | None = "<|endoftext|>", pad: str | None = None
) -> PreTrainedTokenizerFast:
    """A byte-level BPE as other people's models have it: none of our marks, one special token, usually no pad."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=eos, pad_token=pad)


def tiny_model(
    architecture: str = "llama",
    *,
    vocabulary: int | None = None,
    context: int = CONTEXT,
    seed: int = 4,
    **settings: Any,
) -> PreTrainedModel:
    """A random model with two layers and strong weights, so that every token and position shows in the output.

    The end token's row is large, so that some of the drawn responses end within a dozen tokens and some do not.
    """
    tokenizer = tiny_tokenizer()
    common = {
        "vocab_size": vocabulary or len(tokenizer),
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        **settings,
    }
    llama_like = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "intermediate_size": 48,
        "max_position_embeddings": context,
        "tie_word_embeddings": True,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        match architecture:
            case "llama":
                model = LlamaForCausalLM(LlamaConfig(**{**llama_like, **common}))
            case "qwen3":
                model = Qwen3ForCausalLM(Qwen3Config(**llama_like, head_dim=16, **common))
            case "gpt2":
                sizes = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": context}
                model = GPT2LMHeadModel(GPT2Config(**sizes, **common))
            case _:
                raise AssertionError(architecture)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.ndim > 1:
                    parameter.normal_(0.0, 0.2)
                else:
                    parameter.add_(0.1 * torch.randn_like(parameter))
            model.get_input_embeddings().weight[tokenizer.eos_token_id] *= 2.5
    return model.eval()


def write_model(folder: Path, architecture: str = "llama", **settings: Any) -> Path:
    """A tiny model with its tokenizer in Hugging Face's layout, as anyone's model folder looks."""
    model = tiny_model(architecture, **settings)
    save_model(model, tiny_tokenizer(settings.get("context", CONTEXT)), folder)
    return folder


def write_classifier(folder: Path, architecture: str = "llama", labels: int = 1) -> PreTrainedModel:
    """A sequence-classification model as plain transformers saves one; its trunk is `tiny_model`'s."""
    trunk = tiny_model(architecture)
    trunk.config.num_labels = labels
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        model = AutoModelForSequenceClassification.from_config(trunk.config)
    model.base_model.load_state_dict(trunk.base_model.state_dict())
    model.save_pretrained(str(folder))
    tiny_tokenizer().save_pretrained(str(folder))
    return model.eval()


def write_encoder(folder: Path) -> PreTrainedModel:
    """A BERT-like classifier with one label: a reward model that sees the whole text at once."""
    tokenizer = tiny_tokenizer()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(6)
        model = BertForSequenceClassification(
            BertConfig(
                vocab_size=len(tokenizer),
                hidden_size=32,
                num_hidden_layers=2,
                num_attention_heads=2,
                intermediate_size=48,
                max_position_embeddings=CONTEXT,
                num_labels=1,
                initializer_range=0.2,
            )
        )
    model.save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))
    return model.eval()


# --- records ---


def prompt(number: int, **fields: Any) -> Prompt:
    """Prompt number `number`: an instruction over one sentence."""
    text = f"Go on.\n\n{SENTENCES[number % len(SENTENCES)]}"
    return Prompt(id=f"prompt-{number}", group=f"title-{number}", **{"text": text, **fields})


def demonstration(number: int, **fields: Any) -> Demonstration:
    """A demonstration of prompt `number`: the sentence after next."""
    response = SENTENCES[(number + 2) % len(SENTENCES)]
    return Demonstration(
        prompt=prompt(number), **{"response": response, "labeler": "ann", **fields}
    )


def ranking(number: int, ranks: Sequence[int] = (1, 2, 2, 3)) -> Ranking:
    """A ranking of as many completions as there are ranks; every third one was cut off."""
    completions = tuple(
        Completion(
            text=SENTENCES[(number + i) % len(SENTENCES)][: 18 + 3 * i],
            model="sft",
            finished=i % 3 != 2,
            tokens=10,
        )
        for i in range(len(ranks))
    )
    return Ranking(
        prompt=prompt(number), completions=completions, ranks=tuple(ranks), labeler="ann"
    )


# --- artefacts ---


def _write(folder: Path, kind: Kind, files: dict[str, list[Any]]) -> Artifact:
    def write(inside: Path) -> None:
        for name, records in files.items():
            write_records(inside / f"{name}.jsonl.gz", records)

    return write_artifact(folder, kind, write, parents=[], facts={})


def write_text(folder: Path) -> Path:
    """A `pretraining-text` artefact of a dozen short documents."""
    documents = [
        Text(
            id=f"text-{i}",
            text=" ".join(SENTENCES[(i + j) % len(SENTENCES)] for j in range(4)),
            group=f"title-{i}",
            source="book",
            title=f"Tale {i}",
        )
        for i in range(12)
    ]
    _write(
        folder,
        "pretraining-text",
        {"train": documents, "valid": documents[:2], "test": documents[2:4]},
    )
    return folder


def write_demonstrations(folder: Path) -> Path:
    """A `demonstrations` artefact: 10 rows to learn, 3 to validate on."""
    rows = [demonstration(i) for i in range(13)]
    _write(folder, "demonstrations", {"train": rows[:10], "valid": rows[10:], "test": rows[10:]})
    return folder


def write_prompts(folder: Path, count: int = 6) -> Path:
    """A `prompts` artefact: so many prompts for RL, at most 4 for each other purpose."""
    rows = [prompt(i) for i in range(count)]
    _write(
        folder, "prompts", {"rl": rows, "rankings": rows[:4], "valid": rows[:4], "test": rows[:4]}
    )
    return folder


def write_rankings(folder: Path) -> Path:
    """A `rankings` artefact with 3 to 5 completions per prompt, ties among them."""
    rows = [ranking(i, [(1, 2, 2, 3), (2, 1, 3), (1, 1, 2, 3, 4)][i % 3]) for i in range(10)]
    _write(folder, "rankings", {"train": rows[:8], "valid": rows[8:]})
    return folder


def write_inputs(folder: Path, trained: Path, prompts: int = 6) -> dict[str, dict[str, Path]]:
    """What every training stage takes; PPO takes the policy and reward model that runs in `trained` will leave."""
    model, text = write_model(folder / "model"), write_text(folder / "text")
    demonstrations, rankings = (
        write_demonstrations(folder / "demos"),
        write_rankings(folder / "rankings"),
    )
    learns = {"model": model, "demonstrations": demonstrations}
    return {
        "pretrain": {"text": text},
        "sft": learns | {"text": text},
        "reward": learns | {"rankings": rankings},
        "dpo": {"model": model, "rankings": rankings},
        "ppo": {
            "policy": trained / "sft",
            "reward_model": trained / "reward",
            "prompts": write_prompts(folder / "prompts", prompts),
            "text": text,
        },
    }


def write_ppo_inputs(folder: Path) -> dict[str, Path]:
    """What `alignloop ppo` takes, the reward model trained from the policy itself."""
    given = write_inputs(folder, folder)
    run("reward", folder / "reward", REWARD, **given["reward"])
    return given["ppo"] | {"policy": folder / "model"}


# --- stages ---

PRETRAIN = {
    "seed": 3,
    "model": {"hidden_size": 32, "layers": 2, "heads": 2, "intermediate_size": 48, "context": 32},
    "vocab_size": 320,
    "tokens": 32 * 4 * 6,
    "batch_size": 4,
    "micro_batch_size": 2,
    "valid_every": 3,
    "checkpoint_every": 2,
}
SFT = {
    "seed": 3,
    "epochs": 2,
    "batch_size": 3,
    "micro_batch_tokens": 128,
    "residual_dropout": 0.2,
    "pretraining_mix": 0.2,
    "pretraining_tokens": 95,
    "checkpoint_every": 2,
    "optimizer": {"learning_rate": 1e-3},
}
REWARD = {
    "seed": 3,
    "epochs": 2,
    "batch_size": 2,
    "micro_batch_tokens": 256,
    "valid_every": 3,
    "checkpoint_every": 2,
    "optimizer": {"learning_rate": 1e-3},
}
DPO = {
    "seed": 3,
    "epochs": 2,
    "batch_size": 2,
    "micro_batch_tokens": 256,
    "sft_coef": 0.1,
    "label_smoothing": 0.1,
    "valid_every": 3,
    "checkpoint_every": 2,
    "optimizer": {"learning_rate": 1e-3, "warmup_steps": 0},
}
PPO = {
    "seed": 3,
    "episodes": 24,
    "batch_size": 4,
    "minibatch_size": 2,
    "sampling": {"max_new_tokens": 10},
    "ptx_coef": 0.5,
    "ptx_ratio": 1,
    "ptx_tokens": 24,
    "micro_batch_tokens": 128,
    "warmup_iterations": 1,
    "ema_decay": 0.9,
    "checkpoint_every": 2,
    "samples_every": 3,
    "policy_optimizer": {"learning_rate": 1e-3, "schedule": "constant"},
    "value_optimizer": {"learning_rate": 1e-3, "schedule": "constant"},
}
"""Configs that make every stage short, with all its parts switched on."""


def run(
    stage: str, folder: Path, values: dict[str, Any], *, resume: bool = False, **inputs: Path
) -> Artifact:
    """Run a stage as the command line does."""
    config = config_class(stage).model_validate(values)
    return run_stage(stage, folder, config, resume=resume, **inputs)


def contents(folder: Path, only: Callable[[Path], bool] = lambda _: True) -> dict[str, bytes]:
    """Every file below a folder, byte for byte; hidden ones too, so that leftovers show."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and only(path)
    }


def results(run_folder: Path) -> dict[str, bytes]:
    """What a repeat must reproduce byte for byte: all of a run but what a clock or a machine decides."""
    by_clock = {"manifest.json", "timings.jsonl", "log.txt", "tensorboard"}
    return contents(run_folder, lambda path: path.relative_to(run_folder).parts[0] not in by_clock)


def metrics(run_folder: Path) -> list[dict[str, float]]:
    """The rows that a run logged."""
    return [json.loads(line) for line in (run_folder / "metrics.jsonl").read_text().splitlines()]


# --- compilation ---

_HEADER = Path(sysconfig.get_path("include"), "Python.h")
needs_compiler = pytest.mark.skipif(
    shutil.which("g++") is None or not _HEADER.exists(),
    reason="torch compiles with g++ and Python's headers, which are not installed",
)

# --- interruptions ---


def signal_at(step: int) -> Callable[..., None]:
    """A `Run.log` during which SIGTERM arrives at a given step."""
    log = Run.log

    def logging(self: Run, at: int, *arguments: Any, **timings: Any) -> None:
        log(self, at, *arguments, **timings)
        if at == step:
            os.kill(os.getpid(), signal.SIGTERM)

    return logging


@contextmanager
def full_disk(bytes_per_file: int = 2000) -> Iterator[None]:
    """Within the block no file can grow beyond so many bytes: writes fail as on a full disk, in any library."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_per_file, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def write_judged(folder: Path) -> dict[str, Path]:
    """A model, demonstrations, rankings, prompts, and the reward model of one epoch; returns what SFT takes."""
    write_model(folder / "model")
    write_demonstrations(folder / "demonstrations")
    write_rankings(folder / "rankings")
    write_prompts(folder / "prompts")
    given = {"model": folder / "model", "demonstrations": folder / "demonstrations"}
    run("reward", folder / "reward", REWARD | {"epochs": 1}, rankings=folder / "rankings", **given)
    return given
