"""Studies of the reward model: cross-validation over groups of labelers, and a sweep of learning rate and seed.

Both take up what an earlier call in the same folder finished.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignloop.data.jsonl import read_records, write_records
from alignloop.data.records import Ranking
from alignloop.errors import ConfigError, DataError
from alignloop.evaluation.reward_metrics import judged_pairs, mean_scores, summary
from alignloop.evaluation.reward_scores import score_rankings
from alignloop.files import write_json
from alignloop.reward.config import RewardConfig
from alignloop.runs.artifact import open_artifact, write_artifact
from alignloop.seeds import derive_seed
from alignloop.workflow.stages import run_stage

PAPER = {
    "own_labelers": {"mean": 0.724, "standard_error": 0.004},
    "heldout_labelers": {"mean": 0.696, "standard_error": 0.009},
}
"""Section 4.1: five groups of labelers, three seeds."""
LEARNING_RATE_FACTORS = (0.5, 1.0, 1.5)
"""C.2: changes of up to 50 % do not matter."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Inputs:
    """What every reward model of a study is trained from."""

    model: Path
    rankings: Path
    demonstrations: Path

    def train(self, folder: Path, config: RewardConfig, rankings: Path | None = None) -> Any:
        """Train one, or go on with it; its artefact."""
        return run_stage(
            "reward",
            folder,
            config,
            resume=True,
            model=self.model,
            rankings=rankings or self.rankings,
            demonstrations=self.demonstrations,
        )


@dataclass(frozen=True, slots=True)
class Fold:
    """One division of the rankings: no labeler of `heldout` and no prompt of either test is trained on."""

    labelers: list[str]
    """The group that is held out."""
    train: list[Ranking]
    own: list[Ranking]
    """Held-out prompts, ranked by labelers that are trained on."""
    heldout: list[Ranking]
    """Held-out prompts, ranked by the group that is held out."""


# --- cross-validation ---


def cross_validate(
    config: RewardConfig, inputs: Inputs, out: Path, say: Say, *, folds: int = 5, seeds: int = 3
) -> dict[str, Any]:
    """Accuracy on labelers that the reward model learned from and on a group that it did not, on held-out prompts.

    Returns:
        What `out/cross_validation.json` holds: a row per fold and seed, and means with standard errors.

    Raises:
        ConfigError: fewer than two folds, or fewer labelers than folds.
        DataError: a fold has nothing to learn from or to be tested on.
    """
    source = open_artifact(inputs.rankings, "rankings")
    rankings = [
        ranking
        for side in ("train", "valid")
        for ranking in read_records(source.file(f"{side}.jsonl.gz"), Ranking)
    ]
    divided = divide(rankings, folds)
    rows: list[dict[str, Any]] = []
    for number, fold in enumerate(divided, start=1):
        folder = out / f"fold_{number}"

        def write(inside: Path, fold: Fold = fold) -> None:
            for name, part in (
                ("train", fold.train),
                ("valid", fold.own),
                ("heldout", fold.heldout),
            ):
                write_records(inside / f"{name}.jsonl.gz", part)

        write_artifact(
            folder / "rankings",
            "rankings",
            write,
            parents=[{"role": "rankings", "kind": source.kind, "sha256": source.sha256}],
            facts={"fold": number, "folds": folds, "heldout_labelers": fold.labelers},
        )
        rows.append({"fold": number, "labelers": fold.labelers, "train_rankings": len(fold.train)})
        tests = {"own_labelers": fold.own, "heldout_labelers": fold.heldout}
        members: dict[str, list[list[list[float]]]] = {name: [] for name in tests}
        for seed in range(config.seed, config.seed + seeds):
            seeded = config.model_copy(update={"seed": seed})
            model = inputs.train(folder / f"seed_{seed}", seeded, folder / "rankings")
            for name, test in tests.items():
                members[name].append(score_rankings(model.path, test))
            say(
                f"fold {number}, seed {seed}: {_line(tests, {n: m[-1] for n, m in members.items()})}"
            )
        for name, test in tests.items():
            rows[-1][name] = [summary(judged_pairs(test, scores)) for scores in members[name]]
            ensemble = judged_pairs(test, mean_scores(members[name]))
            rows[-1][f"{name}_ensemble"] = summary(ensemble)
    results = {"schema": 1, "seeds": seeds, "folds": rows, **over_folds(rows), "paper": PAPER}
    write_json(out / "cross_validation.json", results)
    return results


def divide(rankings: Sequence[Ranking], folds: int) -> list[Fold]:
    """As many folds as groups of labelers, and as many parts of the prompts; fold n holds group n and part n out.

    Both are balanced by their number of rankings. The prompts of one group (a user, a title) stay in one part.
    """
    by_labeler = Counter(ranking.labeler for ranking in rankings)
    if folds < 2:
        raise ConfigError("cross-validation needs at least two folds")
    if len(by_labeler) < folds:
        raise ConfigError(
            f"{folds} folds need as many labelers; these rankings have {len(by_labeler)} "
            f"({', '.join(sorted(by_labeler))}): give a smaller --folds"
        )
    groups = balanced(by_labeler, folds)
    parts = balanced(Counter(_unit(ranking) for ranking in rankings), folds)
    divided: list[Fold] = []
    for number, (group, part) in enumerate(zip(groups, parts, strict=True), start=1):
        units = set(part)
        tested = [ranking for ranking in rankings if _unit(ranking) in units]
        fold = Fold(
            labelers=group,
            train=[r for r in rankings if r.labeler not in group and _unit(r) not in units],
            own=[r for r in tested if r.labeler not in group],
            heldout=[r for r in tested if r.labeler in group],
        )
        for name, found in (("train", fold.train), ("own", fold.own), ("heldout", fold.heldout)):
            if not any(ranking.pairs() for ranking in found):
                raise DataError(
                    f"fold {number} has no pair for its '{name}' rankings ({len(rankings)} rankings by "
                    f"{len(by_labeler)} labelers in all): give more rankings, or a smaller --folds"
                )
        divided.append(fold)
    return divided


def balanced(counts: Mapping[str, int], parts: int) -> list[list[str]]:
    """The names in so many parts of similar total count: the largest first, each to the part that has least."""
    found: list[list[str]] = [[] for _ in range(parts)]
    totals = [0] * parts
    # Names of one count in an order that means nothing: neighbours in a file are often alike.
    for name in sorted(counts, key=lambda n: (-counts[n], derive_seed(0, "balanced", n))):
        least = totals.index(min(totals))
        found[least].append(name)
        totals[least] += counts[name]
    return [sorted(part) for part in found]


def over_folds(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Means over folds of means over seeds, with the standard error over folds: a fold's seeds share their test."""
    accuracies = {
        name: [statistics.fmean(one["accuracy"] for one in row[name]) for row in rows]
        for name in PAPER
    }
    accuracies["difference"] = [
        own - other for own, other in zip(*(accuracies[name] for name in PAPER), strict=True)
    ]
    for name in PAPER:
        accuracies[f"{name}_ensemble"] = [row[f"{name}_ensemble"]["accuracy"] for row in rows]
    return {
        name: {
            "mean": statistics.fmean(values),
            "standard_error": statistics.stdev(values) / math.sqrt(len(values)),
        }
        for name, values in accuracies.items()
    }


def _unit(ranking: Ranking) -> str:
    """What the split keeps whole."""
    return ranking.prompt.group or ranking.prompt.id


def _line(tests: Mapping[str, Sequence[Ranking]], scores: Mapping[str, list[list[float]]]) -> str:
    shown = {name: summary(judged_pairs(test, scores[name])) for name, test in tests.items()}
    return ", ".join(
        f"{name.replace('_', ' ')} {row['accuracy']:.1%} of {row['pairs']} pairs"
        for name, row in shown.items()
    )


# --- learning rate and seed ---


def sweep(
    config: RewardConfig,
    inputs: Inputs,
    out: Path,
    say: Say,
    *,
    factors: Sequence[float] = LEARNING_RATE_FACTORS,
    seeds: int = 1,
) -> dict[str, Any]:
    """Reward models at multiples of the learning rate, from the same seed or seeds.

    Returns:
        What `out/sweep.json` holds: a row per run, with its validation loss and accuracy.
    """
    rows: list[dict[str, Any]] = []
    for factor in factors:
        rate = config.optimizer.learning_rate * factor
        for seed in range(config.seed, config.seed + seeds):
            optimizer = config.optimizer.model_copy(update={"learning_rate": rate})
            varied = config.model_copy(update={"seed": seed, "optimizer": optimizer})
            folder = out / f"lr_x{factor:g}_seed_{seed}"
            facts = inputs.train(folder, varied).facts
            rows.append(
                {
                    "run": folder.name,
                    "factor": factor,
                    "learning_rate": rate,
                    "seed": seed,
                    "valid_loss": facts["valid_loss"],
                    "valid_pair_accuracy": facts["valid_pair_accuracy"],
                }
            )
            say(
                f"learning rate {rate:.3g} (x {factor:g}), seed {seed}: validation loss "
                f"{facts['valid_loss']:.4f}, {facts['valid_pair_accuracy']:.1%} of pairs right"
            )
    results = {"schema": 1, "rows": rows}
    write_json(out / "sweep.json", results)
    return results
