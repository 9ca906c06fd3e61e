"""Model selection as the paper does it: not by validation loss, by reward-model score on validation prompts."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from alignloop.data.formatter import Formatter
from alignloop.data.jsonl import read_records
from alignloop.data.records import Prompt
from alignloop.evaluation.config import SelectionConfig
from alignloop.generation.answers import answer
from alignloop.models.loading import load_causal_lm, load_tokenizer
from alignloop.models.reward_scorer import RewardScorer
from alignloop.runs.artifact import Artifact
from alignloop.runs.run import Run


@dataclass(frozen=True, slots=True)
class Scored:
    """Means over one policy's answers: reward-model score, length in tokens, share that ended by themselves."""

    score: float
    tokens: float
    finished: float


def select(
    config: SelectionConfig,
    run: Run,
    *,
    candidates: Sequence[Path],
    reward_model: Path,
    prompts: Path,
) -> Artifact:
    """Leave the candidate with the highest mean score on validation prompts, as a `policy` artefact of its own."""
    judge = run.input("reward_model", reward_model, "reward-model")
    asked = run.input("prompts", prompts, "prompts")
    scorer = RewardScorer(judge.path)
    valid = read_records(asked.file("valid.jsonl.gz"), Prompt)
    opened = [
        run.input(f"candidates-{number}", path, "policy")
        for number, path in enumerate(candidates, start=1)
    ]
    means = [
        score_policy(config, artifact.path, scorer, valid, number).score
        for number, artifact in enumerate(opened, start=1)
    ]
    chosen = max(range(len(means)), key=lambda i: means[i])
    return run.finish(
        "policy",
        partial(copy_model, opened[chosen].path),
        {"stage": "select", "mean_scores": means, "chosen": chosen + 1},
    )


def score_policy(
    config: SelectionConfig,
    policy: Path,
    scorer: RewardScorer,
    prompts: Sequence[Prompt],
    number: int,
) -> Scored:
    """Let a policy answer the prompts and score the answers.

    Args:
        number: of the candidate, from 1; its answers are drawn with seeds of its own.
    """
    formatter = Formatter.of(load_tokenizer(policy))
    model, name = load_causal_lm(policy), f"candidate-{number}"
    groups = answer(
        model, formatter, prompts, config.sampling, config.seed, name, copies=config.copies
    )
    answers = [one for group in groups for one in group]
    repeated = [prompt for prompt in prompts for _ in range(config.copies)]
    completions = [one.completion for one in answers]
    scores = scorer.scores_of_drawn(repeated, completions, formatter.tokenizer)
    return Scored(
        score=sum(scores) / len(scores),
        tokens=sum(len(one.tokens) for one in answers) / len(answers),
        finished=sum(one.completion.finished for one in answers) / len(answers),
    )


def copy_model(source: Path, folder: Path) -> None:
    """Write a policy artefact's files, less its description, which the new artefact has of its own."""
    shutil.copytree(
        source, folder, ignore=shutil.ignore_patterns("artifact.json"), dirs_exist_ok=True
    )
