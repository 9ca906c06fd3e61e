"""A reward model that is served: answers to a prompt in, their scores out."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from alignloop.data.records import Completion, Prompt
from alignloop.errors import DataError, ModelError
from alignloop.models.reward_scorer import RewardScorer
from alignloop.runs.artifact import open_artifact
from alignloop.serving.metrics import ModelMetrics
from alignloop.serving.problems import ApiProblem
from alignloop.serving.worker import Job, Worker

_AT_ONCE = 64
"""Answers that are scored together; who comes meanwhile waits for these."""


@dataclass(frozen=True, slots=True)
class ServedReward:
    """A reward model that is served."""

    name: str
    sha256: str
    scorer: RewardScorer

    @classmethod
    def load(cls, name: str, path: Path) -> ServedReward:
        """Open a `reward-model` artefact, its run folder, or a folder with a sequence-classification model.

        Raises:
            ArtifactError: there is none.
            ModelError: it is no reward model, or its tokenizer cannot be used.
        """
        artifact = open_artifact(path, "reward-model")
        return cls(name, artifact.sha256, RewardScorer(artifact.path))


@dataclass(eq=False, slots=True)
class ScoreJob(Job):
    """A prompt and the answers to it that are to be scored."""

    prompt: Prompt
    responses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Scored:
    """The scores of one job, in the order of its answers, and how many tokens of prompts and answers were read."""

    scores: list[float]
    prompt_tokens: int
    response_tokens: int


class RewardWorker(Worker):
    """Scores answers, those of several requests together."""

    def __init__(
        self,
        reward: ServedReward,
        *,
        queue: int,
        clock: Callable[[], float],
        metrics: ModelMetrics,
    ) -> None:
        """A worker for a reward model."""
        super().__init__(reward.name, queue, clock)
        self.reward = reward
        self._metrics = metrics
        self._taken: list[ScoreJob] = []

    @property
    def free(self) -> int:
        """Answers that are scored at once, if nothing is being scored."""
        return _AT_ONCE

    @property
    def is_busy(self) -> bool:
        """Never between two rounds."""
        return False

    @property
    def rows(self) -> int:
        """Answers that are being scored."""
        return sum(job.size for job in self._taken)

    def work(self) -> None:
        """Score the answers of as many jobs as go together."""
        rows = 0

        def fits(job: Job) -> bool:
            nonlocal rows
            rows += job.size
            return rows == job.size or rows <= _AT_ONCE

        self._taken = [job for job in self.take(fits) if isinstance(job, ScoreJob)]
        self._metrics.load(rows=self.rows, waiting=self.waiting)
        for job in self._taken:
            self.tell(job, self._scored(job))
        self._taken = []
        self._metrics.load(rows=0, waiting=self.waiting)

    def give_up(self) -> list[Job]:
        """What was being scored."""
        jobs, self._taken = list[Job](self._taken), []
        return jobs

    @torch.no_grad()
    def _scored(self, job: ScoreJob) -> Scored | ApiProblem:
        # As `alignloop reward score` takes them: every answer has ended by itself.
        answers = [Completion(text=t, model="", finished=True, tokens=0) for t in job.responses]
        try:
            scores = self.reward.scorer.scores([job.prompt] * len(answers), answers)
            prompt_tokens, response_tokens = self.reward.scorer.sizes(job.prompt, answers)
        except (DataError, ModelError) as error:
            return ApiProblem(400, str(error))
        if not all(map(math.isfinite, scores)):
            return ApiProblem(500, "the reward model gave a score that is not a finite number")
        self._metrics.read(prompt_tokens + response_tokens)
        return Scored(scores, prompt_tokens, response_tokens)
