"""Reward models of two rounds, and of the control, on comparisons that none of them learned from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignloop.data.jsonl import read_records
from alignloop.data.records import Completions, Ranking
from alignloop.errors import DataError
from alignloop.files import write_json
from alignloop.judges.intervals import pooled
from alignloop.runs.artifact import Artifact
from alignloop.runs.run import Run
from alignloop.workflow.loop.config import JudgingConfig

if TYPE_CHECKING:
    from alignloop.models.reward_scorer import RewardScorer

GAINS = {
    "new over old": ("new", "old"),
    "control over old": ("control", "old"),
    "new over control": ("new", "control"),
}
"""Difference -> whose accuracy less whose."""


def check_reward_models(
    config: JudgingConfig,
    run: Run,
    *,
    old: Path,
    new: Path,
    rankings: Path,
    control: Path | None = None,
    lexicon: Path | None = None,
) -> Artifact:
    """How often reward models agree with the newer rankings, and the differences; leaves an `evaluation-report`.

    The validation side alone: the newer models learned from the other. Intervals are over prompts, and a difference is
    that of two models on the same pairs.

    Args:
        old, new: of the round before, and of this one.
        control: one that learned from as many rankings of the SFT model's answers instead.
        lexicon: lets gold order the same answers, where labelers are simulated.

    Raises:
        DataError: no pair of that side is ordered.
    """
    from alignloop.evaluation.reward_accuracy import gold_ranking
    from alignloop.evaluation.reward_metrics import judged_pairs
    from alignloop.judges.gold import Gold
    from alignloop.judges.lexicon import Lexicon
    from alignloop.models.reward_scorer import RewardScorer

    given = {"old": old, "new": new, **({} if control is None else {"control": control})}
    models = {name: run.input(name, path, "reward-model").path for name, path in given.items()}
    source = run.input("rankings", rankings, "rankings")
    rows = {"labelers": read_records(source.file("valid.jsonl.gz"), Ranking)}
    if not any(row.pairs() for row in rows["labelers"]):
        raise DataError(f"{rankings}: the labelers ordered no pair of the validation side")
    if lexicon is not None:
        gold = Gold(Lexicon.load(run.input("lexicon", lexicon, "lexicon").file("lexicon.json.gz")))
        asked = {row.prompt.id: row for row in rows["labelers"]}
        rows["gold"] = [
            gold_ranking(gold, Completions(prompt=row.prompt, completions=row.completions))
            for row in asked.values()
        ]
    report: dict[str, Any] = {
        "kind": "reward_check",
        "schema": 1,
        "seed": config.seed,
        "resamples": config.resamples,
        "simulated": lexicon is not None,
        "prompts": len({row.prompt.id for row in rows["labelers"]}),
        "pairs": {},
        "accuracy": {},
        "gain": {},
    }
    scores = {name: _scores(RewardScorer(path), rows["labelers"]) for name, path in models.items()}
    for judge, ranked in rows.items():
        if not any(row.pairs() for row in ranked):
            continue
        right: dict[str, list[float]] = {}
        for name, known in scores.items():
            own = [[known[row.prompt.id, one.text] for one in row.completions] for row in ranked]
            right[name] = [pair.right for pair in judged_pairs(ranked, own)]
        prompts = [row.prompt.id for row in ranked for _ in row.pairs()]
        report["pairs"][judge] = len(prompts)
        report["accuracy"][judge], report["gain"][judge] = _figures(right, prompts, config)
    labelers = report["accuracy"]["labelers"]
    return run.finish(
        "evaluation-report",
        lambda folder: write_json(folder / "report.json", report),
        {
            "pairs": report["pairs"]["labelers"],
            **{f"{name}_accuracy": labelers[name] for name in models},
            "gain": report["gain"]["labelers"]["new over old"],
        },
    )


def _scores(scorer: RewardScorer, rankings: Sequence[Ranking]) -> dict[tuple[str, str], float]:
    """(prompt id, text) -> score; an answer that several people ranked is scored once."""
    asked = {
        (row.prompt.id, one.text): (row.prompt, one) for row in rankings for one in row.completions
    }
    found = scorer.scores(
        [prompt for prompt, _ in asked.values()], [one for _, one in asked.values()]
    )
    return dict(zip(asked, found, strict=True))


def _figures(
    right: Mapping[str, Sequence[float]], prompts: Sequence[str], config: JudgingConfig
) -> tuple[dict[str, Any], dict[str, Any]]:
    def estimate(values: Sequence[float]) -> dict[str, float]:
        return asdict(pooled(values, prompts, seed=config.seed, resamples=config.resamples))

    gains = {
        name: estimate([x - y for x, y in zip(right[a], right[b], strict=True)])
        for name, (a, b) in GAINS.items()
        if a in right and b in right
    }
    return {name: estimate(values) for name, values in right.items()}, gains
