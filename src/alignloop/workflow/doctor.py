"""Cheap checks of the user's own models before a long RL run: each is a bug that has spoilt somebody's training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import PreTrainedModel

from alignloop.data.batches import Ragged
from alignloop.data.formatter import Formatter
from alignloop.data.jsonl import read_records
from alignloop.data.records import Prompt
from alignloop.errors import AlignloopError
from alignloop.generation.engine import Response, SamplingConfig
from alignloop.generation.native import NativeEngine
from alignloop.models.loading import (
    check_same_tokens,
    check_tokenizer,
    context_length,
    load_causal_lm,
    load_tokenizer,
)
from alignloop.models.policy import response_log_probs
from alignloop.models.reward_model import ScalarModel
from alignloop.ppo.checks import rewards_never_stopping
from alignloop.runs.artifact import open_artifact
from alignloop.seeds import derive_seed

PROMPTS = 16
"""How many prompts the checks answer."""
TOLERANCE = 1e-4
"""Largest difference in a float32 log-probability that rounding explains."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One check's outcome."""

    check: str
    is_well: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Patient:
    """What the checks look at: a policy, some of its own answers, and the reward model if there is one."""

    policy: PreTrainedModel
    formatter: Formatter
    prompts: list[list[int]]
    responses: list[Response]
    sampling: SamplingConfig
    scorer: ScalarModel | None
    missing_eos_score: float | None

    @property
    def batch(self) -> Ragged:
        """Prompts and answers, right-padded."""
        return Ragged.of(self.prompts, [r.tokens for r in self.responses], self.formatter.pad)


def examine(
    policy: Path,
    prompts: Path,
    *,
    reward_model: Path | None = None,
    sampling: SamplingConfig | None = None,
    missing_eos_score: float | None = None,
) -> list[Finding]:
    """Run all checks on a policy, with some prompts of a `prompts` artefact.

    Raises:
        AlignloopError: an input cannot be opened.
    """
    sampling = sampling or SamplingConfig()
    opened = open_artifact(policy, "policy")
    formatter = Formatter.of(load_tokenizer(opened.path))
    model = load_causal_lm(opened.path)
    check_tokenizer(opened.path, model, formatter.tokenizer)
    room = context_length(model) - sampling.max_new_tokens
    source = open_artifact(prompts, "prompts")
    records = read_records(source.file("rl.jsonl.gz"), Prompt)
    encoded = formatter.prompts(records[: 8 * PROMPTS])
    fitting = [tokens for tokens in encoded if len(tokens) <= room][:PROMPTS]
    findings = [
        Finding(
            "prompts and answers fit the context",
            len(fitting) > 0,
            f"{sum(len(t) <= room for t in encoded)} of {len(encoded)} prompts leave room for "
            f"{sampling.max_new_tokens} tokens",
        )
    ]
    if not fitting:
        return findings
    seeds = [derive_seed(1, "doctor", row) for row in range(len(fitting))]
    responses = NativeEngine(model, formatter.end).generate(fitting, seeds, sampling)
    scorer = None
    if reward_model is not None:
        judge = open_artifact(reward_model, "reward-model").path
        check_same_tokens(opened.path, judge)
        scorer = ScalarModel.load(judge).eval()
    patient = Patient(model, formatter, fitting, responses, sampling, scorer, missing_eos_score)
    return findings + [_guarded(check, patient) for check in CHECKS]


@torch.no_grad()
def sampler_agrees_with_trainer(patient: Patient) -> Finding:
    """Log-probabilities of drawn tokens, in the sampler and teacher-forced: their ratio must be 1 before any update."""
    batch = patient.batch
    drawn = torch.tensor([p for response in patient.responses for p in response.log_probs])
    forced = response_log_probs(patient.policy, batch, patient.sampling.temperature)
    worst = float((forced[batch.is_response()] - drawn).abs().max())
    return Finding(
        "the sampler's log-probabilities are the trainer's",
        worst < TOLERANCE,
        f"largest difference {worst:.1e}",
    )


@torch.no_grad()
def padding_changes_nothing(patient: Patient) -> Finding:
    """Rows alone and rows in a padded batch."""
    together = response_log_probs(patient.policy, patient.batch)
    worst = 0.0
    for row, (prompt, response) in enumerate(zip(patient.prompts, patient.responses, strict=True)):
        alone = Ragged.of([prompt], [response.tokens], patient.formatter.pad)
        own = response_log_probs(patient.policy, alone)[0]
        worst = max(worst, float((together[row, : len(own)] - own).abs().max()))
    return Finding("padding changes nothing", worst < TOLERANCE, f"largest difference {worst:.1e}")


def micro_batches_change_nothing(patient: Patient) -> Finding:
    """The gradient of a batch, whole and in two parts."""
    check = "micro-batches change nothing"
    if len(patient.prompts) == 1:
        return Finding(check, True, "a single prompt has no parts")

    def gradient(parts: list[slice]) -> torch.Tensor:
        patient.policy.zero_grad()
        batch = patient.batch
        for part in parts:
            piece = Ragged(batch.tokens[part], batch.lengths[part], batch.prompt_lengths[part])
            response_log_probs(patient.policy, piece).sum().backward()
        found = [
            p.grad.flatten().clone() for p in patient.policy.parameters() if p.grad is not None
        ]
        patient.policy.zero_grad()
        return torch.cat(found)

    half = len(patient.prompts) // 2
    whole, parts = gradient([slice(None)]), gradient([slice(0, half), slice(half, None)])
    worst = float((whole - parts).norm() / whole.norm().clamp(min=1e-12))
    return Finding(check, worst < 1e-3, f"relative difference {worst:.1e}")


def answers_can_end(patient: Patient) -> Finding:
    """EOS is reachable: some answer ended by itself."""
    ended = sum(response.finished for response in patient.responses)
    return Finding(
        "answers can end", ended > 0, f"{ended} of {len(patient.responses)} ended by themselves"
    )


@torch.no_grad()
def missing_end_is_not_rewarded(patient: Patient) -> Finding:
    """A fixed score for answers that do not end must not lie above what ended answers get."""
    check = "never stopping is not rewarded"
    if patient.missing_eos_score is None:
        return Finding(check, True, "a penalty is subtracted")
    if patient.scorer is None:
        return Finding(
            check,
            False,
            "missing_eos_score is set, and no reward model was given to compare it with",
        )
    scores = patient.scorer.scores(patient.batch)
    finished = torch.tensor([response.finished for response in patient.responses])
    problem = rewards_never_stopping(scores, finished, patient.missing_eos_score)
    return Finding(
        check, problem is None, problem or f"{patient.missing_eos_score} lies below the scores"
    )


CHECKS: tuple[Callable[[Patient], Finding], ...] = (
    sampler_agrees_with_trainer,
    padding_changes_nothing,
    micro_batches_change_nothing,
    answers_can_end,
    missing_end_is_not_rewarded,
)
"""All checks, in the order in which they are printed."""


def _guarded(check: Callable[[Patient], Finding], patient: Patient) -> Finding:
    """A check that cannot be made has failed, and says why."""
    try:
        return check(patient)
    except AlignloopError as error:
        return Finding(check.__name__.replace("_", " "), False, str(error))
