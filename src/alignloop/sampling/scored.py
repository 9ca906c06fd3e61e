"""n answers per prompt with their reward-model scores: what best of n and rejection sampling choose from."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedModel

from alignloop.data.batches import epoch_order
from alignloop.data.formatter import Formatter
from alignloop.data.jsonl import read_records
from alignloop.data.records import Completion, Demonstration, Prompt
from alignloop.errors import ArtifactError
from alignloop.generation.answers import answer
from alignloop.models.loading import (
    check_same_tokens,
    context_length,
    load_causal_lm,
    load_tokenizer,
)
from alignloop.models.reward_model import ScalarModel, reward_scores
from alignloop.runs.artifact import Artifact, Kind, kind_of
from alignloop.runs.run import Run
from alignloop.sampling.config import BestOfNConfig


@dataclass(frozen=True, slots=True)
class Scored:
    """A prompt's answers and their scores."""

    prompt: Prompt
    completions: list[Completion]
    scores: list[float]

    def best(self) -> int:
        """Index of the highest score."""
        return max(range(len(self.scores)), key=lambda i: self.scores[i])


@dataclass(frozen=True, slots=True)
class ScoringSampler:
    """A policy that answers and a reward model that scores."""

    policy: PreTrainedModel
    scorer: ScalarModel
    formatter: Formatter
    name: str
    """What the completions call the policy."""

    @classmethod
    def open(cls, run: Run, model: Path, reward_model: Path, name: str) -> ScoringSampler:
        """Read both models and record them as inputs of the run.

        Raises:
            ModelError: they mean different things by their tokens.
        """
        policy = run.input("model", model, "policy")
        judge = run.input("reward_model", reward_model, "reward-model")
        check_same_tokens(policy.path, judge.path)
        formatter = Formatter.of(load_tokenizer(policy.path))
        scorer = ScalarModel.load(judge.path).eval()
        return cls(load_causal_lm(policy.path), scorer, formatter, name)

    def scored(self, prompts: Sequence[Prompt], config: BestOfNConfig) -> list[Scored]:
        """`n` answers to each prompt, with their scores.

        Raises:
            DataError: a prompt and the longest answer do not fit the context.
        """
        context = min(context_length(self.policy), context_length(self.scorer.model))
        self.formatter.prompts_with_room(prompts, config.sampling.max_new_tokens, context)
        groups = answer(
            self.policy,
            self.formatter,
            prompts,
            config.sampling,
            config.seed,
            self.name,
            copies=config.n,
        )
        repeated = [prompt for prompt in prompts for _ in range(config.n)]
        tokens = [one.tokens for group in groups for one in group]
        scores = reward_scores(self.scorer, self.formatter, repeated, tokens)
        return [
            Scored(
                prompt,
                [one.completion for one in group],
                scores[number * config.n : (number + 1) * config.n],
            )
            for number, (prompt, group) in enumerate(zip(prompts, groups, strict=True))
        ]


def open_prompts(run: Run, path: Path) -> Artifact:
    """A `prompts` artefact; or `demonstrations`, whose prompts may be ranked as well.

    Raises:
        ArtifactError: it is neither.
    """
    kind: Kind = "prompts"
    with contextlib.suppress(ArtifactError):  # what is wrong there, `input` says in full
        kind = "demonstrations" if kind_of(path) == "demonstrations" else "prompts"
    return run.input("prompts", path, kind)


def read_prompts(source: Artifact, file: str, limit: int | None, seed: int) -> list[Prompt]:
    """The prompts of one file of an artefact, or so many of them drawn at random, in the file's order.

    Of demonstrations the train side is what `rankings` names, and each prompt comes once.
    """
    if source.kind == "demonstrations":
        side = source.file(f"{'train' if file == 'rankings' else file}.jsonl.gz")
        written = read_records(side, Demonstration)
        prompts = list({one.prompt.id: one.prompt for one in written}.values())
    else:
        prompts = read_records(source.file(f"{file}.jsonl.gz"), Prompt)
    if limit is None:
        return prompts
    return [prompts[i] for i in sorted(epoch_order(len(prompts), seed, 0)[:limit])]
