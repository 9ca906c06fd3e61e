"""DPO, PPO, PPO-ptx and best of n from one reference, at matched KL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from alignloop.pages import Table
from alignloop.workflow.studies.best_of_n import best_of_cell, policy_of
from alignloop.workflow.studies.cells import Cell, Done
from alignloop.workflow.studies.claims import Claim, judge
from alignloop.workflow.studies.effects import Floats
from alignloop.workflow.studies.foundation import BaseName
from alignloop.workflow.studies.matched import KL_GRID, ahead, from_zero, values_at
from alignloop.workflow.studies.policies import REFERENCE, Policies, name_of
from alignloop.workflow.studies.seen import WHO_JUDGED, Seen, over_seeds, written
from alignloop.workflow.studies.study import Bench, Findings, Study

BETAS = (0.03, 0.1, 0.3, 1.0)
KL_COEFS = (0.03, 0.1, 0.3)
"""Of PPO and of PPO-ptx."""
BEST_OF = 16
"""Answers per prompt of best of n, which is here for its curve alone."""

DPO_AHEAD = Claim(
    "dpo-ahead",
    "At the same KL DPO wins more than PPO.",
    "Rafailov et al. 2023, 6.1, Figure 2",
    "gold win rate of DPO less PPO's, over the upper half of the way both go",
    "above",
    unit="share",
)
DPO_LEARNS = Claim(
    "dpo-learns",
    "DPO wins more than its reference.",
    "Rafailov et al. 2023",
    f"gold win rate at beta {BETAS[0]:g} less the reference's",
    "above",
    unit="share",
)
PTX_AS_GOOD = Claim(
    "ptx-at-matched-kl",
    "At the same KL PPO-ptx wins as much as PPO, within 5 points.",
    "section 4.1, Figure 1; E.6",
    "gold win rate of PPO-ptx less PPO's, over the upper half of the way both go",
    "within",
    margin=0.05,
    unit="share",
)


def cells(bench: Bench, base: BaseName, seed: int) -> list[Cell]:
    """The reference, every DPO, PPO and PPO-ptx policy, and best of n."""
    policies = Policies(bench.foundation(base, seed))
    ptx = policies.usual("ppo_ptx").ptx_coef

    def dpo(beta: float) -> Cell:
        name = f"dpo_{beta:g}"

        def work() -> list[dict[str, Any]]:
            return [policies.measured(policies.dpo(beta), name)]

        return policies.cell(name, work, 170.0, beta=beta)

    return [
        policies.start(),
        *map(dpo, BETAS),
        *(policies.at(coef) for coef in KL_COEFS),
        *(policies.at(coef, ptx) for coef in KL_COEFS),
        best_of_cell(policies, BEST_OF),
    ]


def findings(done: Sequence[Done]) -> Findings:
    """Verdicts, win rates at matched KL, every policy, and the curves."""
    from alignloop.workflow.studies.shown import curve_over_kl

    seen = Seen.of(done)
    curve = _curves(done)
    judged = [
        judge(DPO_AHEAD, seen.effects(*_ahead(curve["dpo"], curve["ppo"]))),
        judge(PTX_AS_GOOD, seen.effects(*_ahead(curve["ppo_ptx"], curve["ppo"]))),
        judge(DPO_LEARNS, seen.less("win_rate", f"dpo_{BETAS[0]:g}", REFERENCE)),
    ]
    return Findings(
        judged,
        [_at_matched_kl(seen, curve), seen.table("Every policy", _labels(curve))],
        [
            curve_over_kl("dpo-vs-ppo", seen, curve, measure, "Each line starts at the reference.")
            for measure in ("win_rate", "score")
        ],
        [
            "Between two policies of a method its value is linear in the square root of the KL. DPO's policies at the "
            "largest betas may be further from the reference than PPO's nearest; there its line only joins them.",
            WHO_JUDGED,
        ],
    )


def _curves(done: Sequence[Done]) -> dict[str, list[str]]:
    """Method -> its policies, each from the reference on."""
    ns = next(cast(Sequence[int], cell.setting["ns"]) for cell in done if "ns" in cell.setting)
    ptx = [
        name_of(cell.setting["kl_coef"], cell.setting["ptx_coef"])
        for cell in done
        if cell.seed == done[0].seed and cell.setting.get("ptx_coef", 0.0) > 0
    ]
    return {
        "dpo": [REFERENCE, *(f"dpo_{beta:g}" for beta in BETAS)],
        "ppo": [REFERENCE, *(name_of(coef) for coef in KL_COEFS)],
        "ppo_ptx": [REFERENCE, *ptx],
        "best_of_n": [policy_of(n) for n in ns],
    }


def _labels(curves: dict[str, list[str]]) -> dict[str, str]:
    from alignloop.workflow.studies.shown import LABELS

    found = {REFERENCE: "Reference"}
    for method, policies in curves.items():
        for policy in policies[1:]:
            setting = policy.rpartition("_")[2]
            what = {"dpo": "beta", "best_of_n": "n"}.get(method, "KL coefficient")
            found[policy] = f"{LABELS[method]}, {what} {setting}"
    return found


Columns = list[tuple[str, str]]


def _columns(policies: Sequence[str]) -> Columns:
    """KLs, then win rates."""
    return [(policy, measure) for measure in ("kl", "win_rate") for policy in policies]


def _ahead(method: Sequence[str], other: Sequence[str]) -> tuple[Columns, Any]:
    """Columns and statistic of how far one method is ahead of the other."""
    size, width = len(method), 2 * len(method)

    def statistic(means: Floats) -> Floats:
        ours, theirs = means[:, :width], means[:, width:]
        cut = len(other)
        return ahead(
            from_zero(ours[:, :size]),
            ours[:, size:],
            from_zero(theirs[:, :cut]),
            theirs[:, cut:],
        )

    return [*_columns(method), *_columns(other)], statistic


def _at_matched_kl(seen: Seen, curves: dict[str, list[str]]) -> Table:
    """Win rates at the KLs of the grid, each where every seed reaches it."""
    from alignloop.workflow.studies.shown import LABELS

    furthest = {
        method: min(
            max(seen.mean(seed, policy, "kl") for policy in policies[1:]) for seed in seen.seeds
        )
        for method, policies in curves.items()
    }
    rows: list[list[str]] = []
    for kl in KL_GRID:
        cells = [
            _read_off(seen, policies, kl) if kl <= furthest[method] else "-"
            for method, policies in curves.items()
        ]
        if set(cells) != {"-"}:
            rows.append([f"{kl:g}", *cells, seen.count(REFERENCE, ("win_rate",))])
    columns = ["KL, nats per answer", *(LABELS[method] for method in curves), "n"]
    return Table("Gold win rate against SFT at matched KL", columns, rows)


def _read_off(seen: Seen, policies: Sequence[str], kl: float) -> str:
    size = len(policies)

    def statistic(means: Floats) -> Floats:
        return values_at(from_zero(means[:, :size]), means[:, size:], kl)

    return written(over_seeds(seen.effects(_columns(policies), statistic)), "win_rate")


STUDY = Study(
    name="dpo-vs-ppo",
    title="PPO against DPO at matched KL",
    question="DPO at four betas, PPO and PPO-ptx at three KL coefficients and best of n, all from one RL "
    "initialisation, which is the reference of all, and on the same rankings. DPO came a year after the paper; "
    "Rafailov et al. find that it wins more than PPO at every KL.",
    bases=("medium",),
    quick_bases=("medium",),
    needs=("baseline", "rl_init", "ppo", "ppo_ptx"),
    cells=cells,
    findings=findings,
)
