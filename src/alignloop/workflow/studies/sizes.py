"""Win rate by size and method: three sizes, five methods, all against the SFT model of the largest, as in Figure 1."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alignloop.evaluation.config import EvaluationConfig
from alignloop.evaluation.winrate.config import PrefixConfig
from alignloop.evaluation.winrate.select_prefix import TEMPLATE_FILE
from alignloop.files import write_bytes
from alignloop.runs.artifact import open_artifact
from alignloop.workflow.stages import run_stage
from alignloop.workflow.studies.cells import Cell, Done
from alignloop.workflow.studies.claims import Claim, judge
from alignloop.workflow.studies.foundation import BASES, BaseName
from alignloop.workflow.studies.policies import Policies
from alignloop.workflow.studies.seen import WHO_JUDGED, Seen
from alignloop.workflow.studies.study import Bench, Findings, Study

SIZES: tuple[BaseName, ...] = ("small", "medium", "demo")
LARGEST, SMALLEST = SIZES[-1], SIZES[0]
METHODS = {
    "base": "base",
    "prompted": "base, prompted",
    "sft": "SFT",
    "ppo": "PPO",
    "ppo_ptx": "PPO-ptx",
}
"""Method -> its name."""
PLAIN = "{prompt}\n\n"
"""How the base model is asked without any skill: with the prompt as it is."""
PREFIX_PROMPTS = 48
"""Validation prompts of the prefixes' contest, as in the demo's evaluation."""

_WINS = "gold win rate against SFT of the largest size"
FIGURE_1 = "section 4.1, Figure 1"
PTX_BEATS_SFT = {
    size: Claim(
        f"ptx-beats-sft-{size}",
        f"PPO-ptx wins more than SFT of the same size ({size}).",
        FIGURE_1,
        f"{_WINS}: {size} PPO-ptx less {size} SFT",
        "above",
        unit="share",
    )
    for size in SIZES
}
SFT_BEATS_PROMPTED = Claim(
    "sft-beats-prompted",
    "SFT wins more than the base model with the best prefix.",
    FIGURE_1,
    f"{_WINS}: SFT less base, prompted, mean of three sizes",
    "above",
    unit="share",
)
PROMPTED_BEATS_BASE = Claim(
    "prompted-beats-base",
    "The base model with the best prefix wins more than without.",
    FIGURE_1,
    f"{_WINS}: base, prompted, less base, mean of three sizes",
    "above",
    unit="share",
)
SMALL_BEATS_LARGE = Claim(
    "small-ptx-beats-large-base",
    "The smallest PPO-ptx wins more than the largest base model, prompted.",
    "section 1; section 4.1, Figure 1",
    f"{_WINS}: {SMALLEST} PPO-ptx less {LARGEST} base, prompted",
    "above",
    unit="share",
)
PTX_LIKE_PPO = Claim(
    "ptx-like-ppo",
    "PPO-ptx wins as much as PPO, within 5 points.",
    FIGURE_1,
    f"{_WINS}: PPO-ptx less PPO, mean of three sizes",
    "within",
    margin=0.05,
    unit="share",
)
LARGER_IS_BETTER = {
    method: Claim(
        f"larger-{method}",
        f"Larger is better: {label}.",
        FIGURE_1,
        f"{_WINS}: {label}, {LARGEST} less {SMALLEST}",
        "above",
        unit="share",
    )
    for method, label in METHODS.items()
}


def cells(bench: Bench, base: BaseName, seed: int) -> list[Cell]:
    """Every method at one size; rewards, and the rival, are of the largest size for all, as in the paper."""
    foundation, largest = bench.foundation(base, seed), bench.foundation(LARGEST, seed)
    policies = Policies(foundation, None if base == LARGEST else largest)

    def at(method: str, seconds: float) -> Cell:
        def work() -> list[dict[str, Any]]:
            path, template = _policy(policies, method)
            row = policies.measured(path, method, template)
            return [row | ({} if template is None else {"template": template})]

        return policies.cell(method, work, seconds, method=method)

    seconds = {"base": 20.0, "prompted": 20.0, "sft": 15.0, "ppo": 85.0, "ppo_ptx": 110.0}
    return [at(method, seconds[method]) for method in METHODS]


def _policy(policies: Policies, method: str) -> tuple[Path, str | None]:
    """A method's policy, and how it is asked if it knows no instructions."""
    match method:
        case "base":
            return policies.trained("base"), PLAIN
        case "prompted":
            return policies.trained("base"), best_prefix(policies)
        case "sft":
            return policies.baseline(), None
        case _:
            usual = policies.usual(method)
            return policies.ppo(usual.kl_coef, usual.ptx_coef), None


def best_prefix(policies: Policies) -> str:
    """The prefix whose answers the reward model likes best (footnote 6), of those that the demo's evaluation tries."""
    foundation = policies.foundation
    settings = foundation.config("evaluate", "evaluate")
    assert isinstance(settings, EvaluationConfig)
    folder = policies.folder / "prefix"
    candidates: list[Path] = []
    for number, template in enumerate(t for t in settings.base_templates if t != PLAIN):
        candidates.append(folder / "candidates" / f"{number}.txt")
        candidates[-1].parent.mkdir(parents=True, exist_ok=True)
        write_bytes(candidates[-1], template.encode())
    config = PrefixConfig(
        seed=foundation.seed,
        prompts=settings.prefix_prompts if foundation.demo.smoke else PREFIX_PROMPTS,
        sampling=settings.sampling,
    )
    report = run_stage(
        "select_prefix",
        folder / "contest",
        config,
        resume=True,
        waits=True,
        model=policies.trained("base"),
        reward_model=policies.rewards.path("reward"),
        prompts=foundation.path("prompts"),
        candidates=candidates,
    )
    return open_artifact(report.path, report.kind).file(TEMPLATE_FILE).read_text(encoding="utf-8")


def name_of(size: str, method: str) -> str:
    """What a method at a size is called."""
    return f"{size} {method}"


def findings(done: Sequence[Done]) -> Findings:
    """Verdicts, a table, and the win rates by size and method."""
    from alignloop.workflow.studies.shown import wins_by_size

    seen = Seen.of(done, lambda cell, row: name_of(cell.base, row["policy"]))

    def less(more: Sequence[str], other: Sequence[str]) -> Any:
        names = [*more, *other]
        weights = [1 / len(more)] * len(more) + [-1 / len(other)] * len(other)
        return seen.weighted([(name, "win_rate") for name in names], weights)

    def of(method: str) -> list[str]:
        return [name_of(size, method) for size in SIZES]

    judged = [
        *(
            judge(claim, less([name_of(size, "ppo_ptx")], [name_of(size, "sft")]))
            for size, claim in PTX_BEATS_SFT.items()
        ),
        judge(SFT_BEATS_PROMPTED, less(of("sft"), of("prompted"))),
        judge(PROMPTED_BEATS_BASE, less(of("prompted"), of("base"))),
        judge(
            SMALL_BEATS_LARGE,
            less([name_of(SMALLEST, "ppo_ptx")], [name_of(LARGEST, "prompted")]),
        ),
        judge(PTX_LIKE_PPO, less(of("ppo_ptx"), of("ppo"))),
        *(
            judge(claim, less([name_of(LARGEST, method)], [name_of(SMALLEST, method)]))
            for method, claim in LARGER_IS_BETTER.items()
        ),
    ]
    labels = {
        name_of(size, method): f"{size}: {label}"
        for size in SIZES
        for method, label in METHODS.items()
    }
    notes = [
        "Reward model, value function and rival are of the largest size for all, as in the paper. The prefixes' "
        f"contest was on {PREFIX_PROMPTS} of the validation prompts, which are measured on too.",
        WHO_JUDGED,
    ]
    figure = wins_by_size(seen, SIZES, METHODS, name_of)
    return Findings(judged, [seen.table("By size and method", labels)], [figure], notes)


STUDY = Study(
    name="sizes",
    title="Win rate by size and method",
    question="Base models of 0.4, 1.0 and 5.9 million parameters, each as it is, with the best prefix, after "
    "SFT, PPO and PPO-ptx; who wins against SFT of the largest? The paper's Figure 1: every step wins more than "
    "the one before at each size, and the smallest PPO-ptx model more than the largest base model.",
    bases=(LARGEST, "medium", SMALLEST),
    quick_bases=(LARGEST, "medium", SMALLEST),
    needs=("sft", "rl_init"),
    cells=cells,
    findings=findings,
)
assert set(STUDY.bases) == set(SIZES) <= set(BASES)
