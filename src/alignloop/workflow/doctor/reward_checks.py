"""Checks of the reward model: that it reads the end of an answer, tells answers apart, and has its zero in place."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from alignloop.data.batches import Ragged
from alignloop.data.jsonl import read_records
from alignloop.data.records import Demonstration
from alignloop.models.backbone import AdaptedModel
from alignloop.models.reward_model import ScalarModel, reward_scores
from alignloop.ppo.checks import rewards_never_stopping
from alignloop.runs.artifact import open_artifact
from alignloop.workflow.doctor.findings import Finding, finding
from alignloop.workflow.doctor.patient import Patient
from alignloop.workflow.doctor.policy_checks import TOLERANCE

DEMONSTRATIONS = 64
"""How many demonstrations are scored."""
NEAR_ZERO = 0.1
"""Their mean may be this far from 0, beside three standard errors."""
SAME = 1e-5
"""Scores that differ by less are one score."""


@torch.no_grad()
def end_is_scored(patient: Patient) -> Finding:
    """The score is read at the last real token, EOS included: as transformers reads it, and otherwise without EOS."""
    check, batch = "the score is read at EOS", patient.batch
    ended = [row for row, response in enumerate(patient.responses) if response.finished]
    if not ended:
        return Finding(
            check, "look", "no answer ended, so this was not seen; more prompts may help"
        )
    end, last = patient.learner.formatter.end, batch.lengths[ended] - 1
    if not bool((batch.tokens[ended, last] == end).all()):
        return Finding(check, "BAD", "a finished answer does not end in EOS: please report it")
    part = batch.rows(ended)
    # Shorter by one token, but by no whole answer: a score before the answer would be the prompt's.
    cut = Ragged(part.tokens, part.lengths - 1, part.prompt_lengths)
    for scorer in patient.scorers:
        scores = scorer.scores(part)
        if float((scores - scorer.scores(cut)).abs().max()) < SAME:
            return Finding(
                check,
                "BAD",
                "EOS changes no score, so finished answers and cut ones look alike: "
                "train the reward model with EOS at the end of answers (alignloop reward does)",
            )
        theirs = _as_transformers_scores(scorer, part)
        if theirs is not None and float((scores - theirs).abs().max()) > TOLERANCE * max(
            1.0, float(scores.abs().max())
        ):
            return Finding(
                check,
                "BAD",
                "transformers scores the same answers otherwise: is pad_token_id in the reward model's config.json "
                "the EOS token? Give it a pad token of its own",
            )
    return Finding(check, "ok", f"{len(ended)} finished answers, each scored at its EOS")


def _as_transformers_scores(scorer: ScalarModel, part: Ragged) -> Tensor | None:
    """[B]: transformers' own scores of the rows one by one, without padding; None for a role on a shared trunk."""
    if isinstance(scorer.model, AdaptedModel):
        return None
    logits = [
        scorer.model(input_ids=tokens[None, : int(length)], use_cache=False).logits[0, 0]
        for tokens, length in zip(part.tokens, part.lengths, strict=True)
    ]
    return torch.stack(logits) + scorer.bias


def scores_differ(patient: Patient) -> Finding:
    """A reward that gives every answer the same teaches nothing."""
    scores = patient.episodes.scores
    texts = len(set(patient.rollout.answered.texts))
    measured = (
        f"{float(scores.min()):.2f} to {float(scores.max()):.2f} over {texts} different answers"
    )
    return finding(
        "scores differ from answer to answer",
        texts < 2 or float(scores.max() - scores.min()) > SAME,
        measured,
        "the reward teaches nothing: was the reward model's head trained and saved with it?",
    )


@torch.no_grad()
def missing_end_is_not_rewarded(patient: Patient) -> Finding:
    """A fixed score for answers that do not end must not lie above what ended answers get."""
    check, fixed = "never stopping is not rewarded", patient.config.missing_eos_score
    if fixed is None:
        penalty = patient.config.missing_eos_penalty
        return Finding(check, "ok", f"a missing EOS costs {penalty:g}")
    problem = rewards_never_stopping(patient.episodes.scores, patient.episodes.finished, fixed)
    return finding(check, problem is None, f"missing_eos_score {fixed:g}", problem or "")


def demonstrations_score_zero(patient: Patient, demonstrations: Path) -> list[Finding]:
    """The paper's zero: labelers' demonstrations score 0 on average."""
    file = open_artifact(demonstrations, "demonstrations").file("train.jsonl.gz")
    formatter = patient.learner.formatter
    rows = read_records(file, Demonstration)[:DEMONSTRATIONS]
    pairs = [
        (prompt, formatter.response(row.response), row.prompt)
        for row, prompt in zip(rows, formatter.prompts([r.prompt for r in rows]), strict=True)
    ]
    room = patient.learner.context
    fitting = [(r, record) for p, r, record in pairs if len(p) + len(r) <= room]
    if not fitting:
        return [Finding("demonstrations score 0", "look", "none of them fits the context")]
    return [_mean_near_zero(patient, scorer, fitting) for scorer in patient.scorers]


def _mean_near_zero(patient: Patient, scorer: ScalarModel, fitting: list) -> Finding:
    responses, prompts = zip(*fitting, strict=True)
    scores = torch.tensor(reward_scores(scorer, patient.learner.formatter, prompts, responses))
    mean, error = float(scores.mean()), float(scores.std(correction=0)) / len(scores) ** 0.5
    bias = float(scorer.bias.detach()) - mean
    return finding(
        "demonstrations score 0 on average",
        abs(mean) <= NEAR_ZERO + 3 * error,
        f"mean {mean:+.2f} of {len(scores)}",
        f"set reward_bias to {bias:.3f} in the reward model's config.json, or train it with normalise = 'bias'",
    )
