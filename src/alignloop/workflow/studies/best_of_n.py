"""Best of n by the reward model: what more answers are worth to gold, and PPO at the same KL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from alignloop.sampling.objective import best_of_k_kl, doublings
from alignloop.workflow.studies.cells import Cell, Done
from alignloop.workflow.studies.claims import Claim, judge
from alignloop.workflow.studies.effects import Floats
from alignloop.workflow.studies.foundation import BaseName
from alignloop.workflow.studies.matched import from_zero, values_at
from alignloop.workflow.studies.policies import REFERENCE, Policies, name_of
from alignloop.workflow.studies.seen import WHO_JUDGED, Seen
from alignloop.workflow.studies.study import Bench, Findings, Study

MOST, QUICK_MOST, SMOKE_MOST = 64, 16, 16
"""Answers per prompt. The best of any fewer is worked out from all of them, over every choice of so many."""
KL_COEFS = (0.03, 0.1, 0.3)
"""Of the PPO policies that make PPO's curve."""
AT_KL = 1.5
"""Where PPO and best of n are compared: less than best of 16 has, 1.83 nats."""

RISES = Claim(
    "best-of-4-gold",
    "Gold likes the best of 4 by the reward model more than one answer.",
    "Nakano et al. 2021; Stiennon et al. 2020",
    "gold win rate of the best of 4 less that of one answer",
    "above",
    unit="share",
)
PER_NAT = Claim(
    "best-of-n-per-nat",
    "At the same KL best of n wins more than PPO.",
    "Gao et al. 2022",
    f"gold win rate of best of n less PPO's, both at {AT_KL:g} nats",
    "above",
    unit="share",
)


def policy_of(n: int) -> str:
    """What best of n is called."""
    return f"best_of_{n}"


def most_of(bench: Bench) -> int:
    """How many answers per prompt this study draws."""
    return SMOKE_MOST if bench.smoke else QUICK_MOST if bench.quick else MOST


def best_of_cell(policies: Policies, most: int) -> Cell:
    """The best of 1, 2, 4, ... `most` answers by the reward model, measured."""
    ns = doublings(most)

    def work() -> list[dict[str, Any]]:
        rows = policies.yardstick.best_of_by_prompt(ns, policy_of(most))
        # One figure for all prompts: the KL of best of n follows from n.
        return [
            {"policy": policy_of(n), **row, "kl": [best_of_k_kl(n)] * len(row["score"])}
            for n, row in zip(ns, rows, strict=True)
        ]

    return policies.cell(policy_of(most), work, 2.0 * most, ns=ns)


def cells(bench: Bench, base: BaseName, seed: int) -> list[Cell]:
    """The start, best of n, and the PPO policies that make PPO's curve."""
    policies = Policies(bench.foundation(base, seed))
    return [policies.start(), best_of_cell(policies, most_of(bench)), *map(policies.at, KL_COEFS)]


def findings(done: Sequence[Done]) -> Findings:
    """Verdicts, a table by n, and both curves over KL."""
    from alignloop.workflow.studies.shown import curve_over_kl

    seen = Seen.of(done)
    ns = next(cast(Sequence[int], cell.setting["ns"]) for cell in done if "ns" in cell.setting)
    best = [policy_of(n) for n in ns]
    ppo = [REFERENCE, *(name_of(coef) for coef in KL_COEFS)]
    columns = [(policy, measure) for policy in (*best, *ppo) for measure in ("kl", "win_rate")]

    def ahead(means: Floats) -> Floats:
        kls, wins = means[:, ::2], means[:, 1::2]
        cut = len(best)
        return values_at(kls[:, :cut], wins[:, :cut], AT_KL) - values_at(
            from_zero(kls[:, cut:]), wins[:, cut:], AT_KL
        )

    judged = [
        judge(RISES, seen.less("win_rate", policy_of(4), policy_of(1))),
        judge(PER_NAT, seen.effects(columns, ahead)),
    ]
    tables = [
        seen.table("Best of n", {policy_of(n): str(n) for n in ns}),
        seen.table(
            "PPO", {REFERENCE: "RL init", **{name_of(c): f"KL coefficient {c:g}" for c in KL_COEFS}}
        ),
    ]
    curves = {"best_of_n": best, "ppo": ppo}
    figures = [
        curve_over_kl("best-of-n", seen, curves, measure, "PPO at three KL coefficients.")
        for measure in ("win_rate", "score")
    ]
    notes = [
        "The KL of best of n is log n - (n-1)/n nats, an upper bound where answers score alike.",
        _how_matched(seen, ppo),
        WHO_JUDGED,
    ]
    return Findings(judged, tables, figures, notes)


def _how_matched(seen: Seen, ppo: Sequence[str]) -> str:
    """Whether PPO has policies on both sides of the KL that it is compared at, by seed."""
    words: list[str] = []
    for seed in seen.seeds:
        kls = [seen.mean(seed, policy, "kl") for policy in ppo[1:]]
        if max(kls) < AT_KL:
            words.append(
                f"in seed {seed} PPO's furthest policy is at {max(kls):.2f} nats, and its win rate stands for PPO's: "
                "the two are not at the same KL"
            )
        elif min(kls) > AT_KL:
            words.append(
                f"in seed {seed} PPO's nearest policy is at {min(kls):.2f} nats, and PPO is read off the line that "
                "joins it with the start"
            )
    where = "; ".join(words) or "PPO has policies on both sides of it in every seed"
    return f"At {AT_KL:g} nats a value is linear in the square root of the KL between neighbouring policies: {where}."


STUDY = Study(
    name="best-of-n",
    title="Best of n against PPO",
    question="Of n answers the reward model keeps one, for n from 1 to 64: what gold makes of it, and of PPO "
    "policies that are as far from the start. Nakano et al. and Stiennon et al. found best of n a strong rival; "
    "Gao et al. that it moves less far from the start for the same reward.",
    bases=("medium",),
    quick_bases=("medium",),
    needs=("baseline", "rl_init", "ppo"),
    cells=cells,
    findings=findings,
)
