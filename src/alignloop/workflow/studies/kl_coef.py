"""PPO without pretraining gradients at several KL coefficients: near its start, or far from it and over-optimised."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from alignloop.workflow.studies.cells import Cell, Done
from alignloop.workflow.studies.claims import Claim, judge
from alignloop.workflow.studies.effects import Floats, smallest_fall
from alignloop.workflow.studies.foundation import BaseName
from alignloop.workflow.studies.policies import REFERENCE, Policies, name_of
from alignloop.workflow.studies.seen import WHO_JUDGED, Seen
from alignloop.workflow.studies.study import Bench, Findings, Study

COEFS = (0.0, 0.03, 0.1, 0.3, 2.0)
"""0.03 is the demo recipe's; the paper's sweep ends at 2.0, a hundred times its own 0.02."""
USUAL, MOST = COEFS[1], COEFS[-1]

FALLS = Claim(
    "kl-falls",
    "The larger the KL coefficient, the nearer the policy stays to its start.",
    "section 3.5, E.6",
    "smallest fall of the KL from one coefficient to the next",
    "above",
    unit="nats",
)
SCORE_WITHOUT = Claim(
    "kl-0-score",
    "Without the KL penalty the reward-model score ends higher.",
    "section 3.5",
    f"score at 0 less score at {USUAL:g}",
    "above",
)
GOLD_WITHOUT = Claim(
    "kl-0-gold",
    "Without the KL penalty the policy over-optimises the reward model: gold likes it less.",
    "section 3.5, E.7, Figure 36",
    f"gold win rate at 0 less that at {USUAL:g}",
    "below",
    unit="share",
)
BARELY_MOVES = Claim(
    "kl-2-moves",
    "At a KL coefficient of 2 the policy barely moves.",
    "E.6, Figure 34",
    f"KL at {MOST:g} as a share of the KL at {USUAL:g}",
    "below",
    margin=0.2,
)
SCORE_AT_MOST = Claim(
    "kl-2-score",
    "A KL coefficient of 2 cuts the reward on validation prompts.",
    "E.6, Figure 34",
    f"score at {MOST:g} less score at {USUAL:g}",
    "below",
)


def cells(bench: Bench, base: BaseName, seed: int) -> list[Cell]:
    """The start, and a policy per coefficient."""
    policies = Policies(bench.foundation(base, seed))
    return [policies.start(), *map(policies.at, COEFS)]


def findings(done: Sequence[Done]) -> Findings:
    """Verdicts, a table by coefficient, and the curves over KL."""
    from alignloop.workflow.studies.shown import curve_over_kl

    seen = Seen.of(done)
    usual, most, none = name_of(USUAL), name_of(MOST), name_of(0.0)
    judged = [
        judge(FALLS, seen.effects([(name_of(coef), "kl") for coef in COEFS], smallest_fall)),
        judge(SCORE_WITHOUT, seen.less("score", none, usual)),
        judge(GOLD_WITHOUT, seen.less("win_rate", none, usual)),
        judge(BARELY_MOVES, seen.effects([(most, "kl"), (usual, "kl")], _share)),
        judge(SCORE_AT_MOST, seen.less("score", most, usual)),
    ]
    labels = {REFERENCE: "RL init", **{name_of(coef): f"{coef:g}" for coef in COEFS}}
    curves = {"ppo": [REFERENCE, *map(name_of, reversed(COEFS))]}
    figures = [
        curve_over_kl(
            "kl-coef", seen, curves, measure, "From the RL init over 2, 0.3, 0.1, 0.03 to 0."
        )
        for measure in ("score", "win_rate")
    ]
    return Findings(judged, [seen.table("By KL coefficient", labels)], figures, [WHO_JUDGED])


def _share(means: Floats) -> Floats:
    """The first mean as a share of the second, which counts as at least a thousandth of a nat."""
    return means[:, 0] / np.maximum(means[:, 1], 1e-3)


STUDY = Study(
    name="kl-coef",
    title="How strongly to hold the policy: the KL coefficient",
    question="PPO without pretraining gradients at KL coefficients from 0 to 2, from one RL initialisation. The "
    "paper: the penalty keeps the policy from over-optimising the reward model, 0 and 2 are both poor, and at 2 "
    "the reward on validation prompts falls.",
    bases=("medium",),
    quick_bases=("medium",),
    needs=("baseline", "rl_init", "ppo"),
    cells=cells,
    findings=findings,
)
