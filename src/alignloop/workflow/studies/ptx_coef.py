"""PPO-ptx at several coefficients: which one keeps what pretraining taught, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from alignloop.data.jsonl import read_records
from alignloop.data.records import Text
from alignloop.evaluation.config import EvaluationConfig
from alignloop.evaluation.language_model import loss_by_title
from alignloop.models.loading import load_causal_lm, load_tokenizer
from alignloop.runs.artifact import open_artifact
from alignloop.workflow.studies.cells import Cell, Done
from alignloop.workflow.studies.claims import Claim, judge
from alignloop.workflow.studies.effects import Floats
from alignloop.workflow.studies.foundation import BaseName, Foundation
from alignloop.workflow.studies.policies import REFERENCE, Policies
from alignloop.workflow.studies.seen import WHO_JUDGED, Seen
from alignloop.workflow.studies.study import Bench, Findings, Study

PTX_COEFS = (0.0, 0.3, 1.0, 3.0, 10.0, 27.8)
"""Beside 0 the values that the demo's rule chooses from; 27.8 is the paper's."""
NONE, PAPER = PTX_COEFS[0], PTX_COEFS[-1]
ALLOWED_LOSS = 1.03
"""How many times the RL initialisation's pretraining loss a policy's may be."""

RISES = Claim(
    "ptx-0-loss",
    "Without pretraining gradients the pretraining loss rises.",
    "section 4.2, Table 14",
    "loss at 0 less that of the RL init, per token",
    "above",
    unit="nats",
)
STAYS = Claim(
    "ptx-27.8-loss",
    "At the paper's coefficient the pretraining loss stays within 3 % of the start's, or below it.",
    "section 4.2, E.6, Figure 33",
    "loss at 27.8 less that of the RL init, as a share of it",
    "below",
    margin=ALLOWED_LOSS - 1,
    unit="share",
)
COSTS = Claim(
    "ptx-27.8-score",
    "A large coefficient lowers the reward on validation prompts.",
    "E.6, Figure 33",
    "score at 27.8 less score at 0",
    "below",
)


def name_of(coef: float) -> str:
    """The policy of a coefficient."""
    return f"ptx_{coef:g}"


def cells(bench: Bench, base: BaseName, seed: int) -> list[Cell]:
    """The start, and a policy per coefficient; each measured on prompts and on held-out titles."""
    foundation = bench.foundation(base, seed)
    policies = Policies(foundation)

    def start() -> list[dict[str, Any]]:
        path = policies.trained(REFERENCE)
        return [policies.measured(path, REFERENCE) | title_losses(foundation, path)]

    def at(coef: float) -> Cell:
        def work() -> list[dict[str, Any]]:
            path = policies.ppo(policies.usual("ppo_ptx").kl_coef, coef)
            return [policies.measured(path, name_of(coef)) | title_losses(foundation, path)]

        return policies.cell(name_of(coef), work, 110.0, ptx_coef=coef)

    return [policies.cell(REFERENCE, start, 20.0), *map(at, PTX_COEFS)]


def title_losses(foundation: Foundation, policy: Path) -> dict[str, list[float]]:
    """The pretraining loss on each validation title, in nats per token and in the titles' order."""
    config = foundation.config("evaluate", "evaluate")
    assert isinstance(config, EvaluationConfig)
    stories = open_artifact(foundation.path("stories"), "pretraining-text")
    texts = read_records(stories.file("valid.jsonl.gz"), Text)
    model, tokenizer = load_causal_lm(policy), load_tokenizer(policy)
    losses = loss_by_title(model, tokenizer, texts, config.title_characters)
    return {"pretrain_loss": [losses[title][0] / losses[title][1] for title in sorted(losses)]}


def findings(done: Sequence[Done]) -> Findings:
    """Verdicts, a table by coefficient, and what the demo's rule chooses in each seed."""
    from alignloop.workflow.studies.shown import by_coefficient

    seen = Seen.of(done)
    loss = "pretrain_loss"
    none, paper = name_of(NONE), name_of(PAPER)
    judged = [
        judge(RISES, seen.less(loss, none, REFERENCE, "titles")),
        judge(STAYS, seen.effects([(paper, loss), (REFERENCE, loss)], _rise, "titles")),
        judge(COSTS, seen.less("score", paper, none)),
    ]
    labels = {REFERENCE: "RL init", **{name_of(coef): f"{coef:g}" for coef in PTX_COEFS}}
    tables = [
        seen.table("Pretraining loss by ptx_coef", labels, (loss,)),
        seen.table("Answers by ptx_coef", labels),
    ]
    grid = {coef: name_of(coef) for coef in PTX_COEFS if coef > 0}
    figures = [by_coefficient("ptx-coef", seen, grid, one, "ptx_coef") for one in (loss, "score")]
    return Findings(judged, tables, figures, [WHO_JUDGED, *(chosen(seen, s) for s in seen.seeds)])


def chosen(seen: Seen, seed: int) -> str:
    """What the demo's rule says of a seed, as a sentence."""
    start = seen.mean(seed, REFERENCE, "pretrain_loss")
    rows = [
        {"ptx_coef": coef, "ratio": seen.mean(seed, name_of(coef), "pretrain_loss") / start}
        for coef in PTX_COEFS
    ]
    found = smallest_allowed(rows)
    if found is None:
        return f"Seed {seed}: no coefficient keeps the loss within 3 %."
    return f"Seed {seed}: {found:g} is the smallest coefficient above 0 that keeps the loss within 3 %."


def smallest_allowed(rows: Sequence[Mapping[str, Any]]) -> float | None:
    """The demo's rule: the smallest coefficient above 0 that keeps the pretraining loss within 3 % of RL init's."""
    allowed = [row["ptx_coef"] for row in rows if row["ptx_coef"] and row["ratio"] <= ALLOWED_LOSS]
    return min(allowed, default=None)


def _rise(means: Floats) -> Floats:
    return means[:, 0] / means[:, 1] - 1


STUDY = Study(
    name="ptx-coef",
    title="The alignment tax: the ptx coefficient",
    question="PPO with pretraining gradients at coefficients from 0 to the paper's 27.8, from one RL "
    "initialisation. The paper: without them public tasks get worse, from 20 on they recover, and the larger the "
    "coefficient the lower the reward. Here the loss on held-out titles stands in for the public tasks.",
    bases=("medium",),
    quick_bases=("medium",),
    needs=("baseline", "rl_init", "ppo", "ppo_ptx"),
    cells=cells,
    findings=findings,
)
