"""Five folds over labelers: is a reward model as good on a labeler that it never learned from?

The simulated labelers can all rank every prompt, which people's time would not allow: so what a fold's own labelers and
the held-out one say is compared on the same answers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alignloop.data.jsonl import read_records, write_records
from alignloop.data.records import Ranking
from alignloop.evaluation.reward_metrics import judged_pairs
from alignloop.evaluation.reward_scores import score_rankings
from alignloop.judges.measure import bootstrap
from alignloop.pages import Table
from alignloop.runs.artifact import Artifact, open_artifact, write_artifact
from alignloop.workflow.studies.cells import Cell, Done, Row
from alignloop.workflow.studies.claims import Claim, Effect, judge
from alignloop.workflow.studies.examined import MINUTE_OF_REWARD, summed, train_reward
from alignloop.workflow.studies.foundation import BaseName
from alignloop.workflow.studies.reward_model import balanced
from alignloop.workflow.studies.study import Bench, Findings, Study
from alignloop.workflow.studies.wording import share

FOLDS = 5
GROUPS = ("own", "heldout")
BELOW = Claim(
    key="heldout-is-below",
    text="A reward model is less often right on labelers whose rankings it never saw.",
    source="section 4.1, E.2",
    effect="pairs right of own labelers less of held-out ones",
    expected="above",
    unit="share",
)
SLIGHTLY = Claim(
    key="only-slightly",
    text="It is so only slightly: by less than 6 points, about twice the paper's 2.8.",
    source="section 4.1, E.2",
    effect="pairs right of own labelers less of held-out ones",
    expected="below",
    margin=0.06,
    unit="share",
)
QUESTION = (
    "The training labelers in five groups and the prompts in five parts; a reward model per group, which learned "
    "from the other groups on the other parts, tested on its part. In the paper 72.4 +- 0.4 % of pairs are right "
    "on labelers that were learned from and 69.6 +- 0.9 % on those held out. Here both rank the same answers."
)


@dataclass(frozen=True, slots=True)
class Split:
    """One fold."""

    labelers: Sequence[str]
    """Held out."""
    train: Sequence[Ranking]
    own: Sequence[Ranking]
    heldout: Sequence[Ranking]


def split(used: Sequence[Ranking], by_all: Sequence[Ranking], fold: int) -> Split:
    """Fold `fold` of `FOLDS`, from 0: no labeler of the held-out group and no prompt of the part is learned from.

    Args:
        used: one ranking per prompt, to learn from.
        by_all: every labeler's ranking of the same prompts, to test on.
    """
    group = set(balanced(Counter(one.labeler for one in used), FOLDS)[fold])
    part = set(balanced(Counter(_unit(one) for one in used), FOLDS)[fold])
    tested = [one for one in by_all if _unit(one) in part]
    return Split(
        labelers=sorted(group),
        train=[one for one in used if one.labeler not in group and _unit(one) not in part],
        own=[one for one in tested if one.labeler not in group],
        heldout=[one for one in tested if one.labeler in group],
    )


def _cells(bench: Bench, base: BaseName, seed: int) -> list[Cell]:
    foundation = bench.foundation(base, seed)

    def work(fold: int, folder: Path) -> Sequence[Row]:
        source = open_artifact(foundation.path("rankings_by_all"), "rankings")
        used, by_all = (
            read_records(source.file(f"{file}.jsonl.gz"), Ranking) for file in ("train", "shared")
        )
        found = split(used, by_all, fold)
        rankings = _write(folder / "rankings", source, found)
        model = train_reward(foundation, folder, rankings.path)
        return [
            {
                "group": group,
                "labelers": sorted({one.labeler for one in tested}),
                **summed(judged_pairs(tested, score_rankings(model.path, tested))),
            }
            for group, tested in zip(GROUPS, (found.own, found.heldout), strict=True)
        ]

    return [
        Cell(
            f"fold_{fold + 1}",
            base,
            seed,
            {"fold": fold + 1, "folds": FOLDS},
            lambda folder, fold=fold: work(fold, folder),
            foundation.scaled(MINUTE_OF_REWARD * 0.65 + 25),
        )
        for fold in range(FOLDS)
    ]


def _write(folder: Path, source: Artifact, found: Split) -> Artifact:
    """The fold as an artefact; its own labelers' test rankings are what the training validates on."""

    def write(inside: Path) -> None:
        for name, rows in (("train", found.train), ("valid", found.own)):
            write_records(inside / f"{name}.jsonl.gz", rows)

    parents = [{"role": "rankings", "kind": source.kind, "sha256": source.sha256}]
    facts = {"heldout_labelers": list(found.labelers)}
    return write_artifact(folder, "rankings", write, parents=parents, facts=facts)


def gap(seed: int, cells: Sequence[Done]) -> tuple[Effect, dict[str, tuple[float, float, float]]]:
    """The mean over folds of the accuracy on own labelers less that on held-out ones; and both accuracies.

    The interval is a bootstrap over prompts: each is tested in one fold, by all labelers.
    """
    prompts = {name: at for at, name in enumerate(_prompts(cells))}
    # Columns: fold, group, and of each how many pairs were right and how many there are.
    tables = np.zeros((len(prompts), len(cells), len(GROUPS), 2))
    for fold, cell in enumerate(cells):
        for row in cell.rows:
            rows = [prompts[name] for name in row["prompts"]]
            group = GROUPS.index(row["group"])
            tables[rows, fold, group] = np.array([row["right"], row["pairs"]]).T

    def statistic(sums: NDArray[np.float64]) -> NDArray[np.float64]:
        counts = sums.reshape(-1, len(cells), len(GROUPS), 2)
        right, pairs = counts[..., 0], counts[..., 1]
        shares = np.divide(right, pairs, out=np.full_like(right, np.nan), where=pairs > 0)
        own, heldout = shares.mean(axis=1).T
        return np.stack([own - heldout, own, heldout], axis=1)

    flat = tables.reshape(len(prompts), -1)
    values, lows, highs = bootstrap(flat, statistic, seed=0)
    rows = [(float(v), float(a), float(b)) for v, a, b in zip(values, lows, highs, strict=True)]
    return Effect(seed, *rows[0], n=len(prompts)), dict(zip(GROUPS, rows[1:], strict=True))


def _findings(cells: Sequence[Done]) -> Findings:
    from alignloop.workflow.studies.figures import effects_plot

    seeds = {
        seed: [one for one in cells if one.seed == seed] for seed in {c.seed: 0 for c in cells}
    }
    gaps = {seed: gap(seed, folds) for seed, folds in seeds.items()}
    effects = [effect for effect, _ in gaps.values()]
    judged = [judge(BELOW, effects), judge(SLIGHTLY, effects)]
    rows = [
        [str(seed), *(share(*shares[group]) for group in GROUPS), str(effect.n)]
        for seed, (effect, shares) in gaps.items()
    ]
    columns = ["Seed", "Own labelers", "Held-out labelers", "Prompts"]
    table = Table("Pairs right, mean over folds", columns, rows)
    return Findings(judged, [table], [effects_plot("reward-folds", judged[0])])


def _unit(ranking: Ranking) -> str:
    """What stays on one side: a title's prompts."""
    return ranking.prompt.group or ranking.prompt.id


def _prompts(cells: Sequence[Done]) -> list[str]:
    return list(
        dict.fromkeys(name for cell in cells for row in cell.rows for name in row["prompts"])
    )


STUDY = Study(
    name="reward-folds",
    title="Labelers that the reward model never met",
    question=QUESTION,
    bases=("medium",),
    quick_bases=("small",),
    needs=("sft", "rankings_by_all"),
    cells=_cells,
    findings=_findings,
)
