"""The best of four as a softmax, or the whole ranking: which reward model is better at equal prompts?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from alignloop.data.jsonl import read_records, write_records
from alignloop.data.records import Ranking
from alignloop.runs.artifact import open_artifact, write_artifact
from alignloop.workflow.studies.cells import Cell, Done, Row
from alignloop.workflow.studies.claims import Claim, judge
from alignloop.workflow.studies.examined import (
    MINUTE_OF_REWARD,
    accuracy_effect,
    arms_table,
    examined,
    loss_effect,
    train_reward,
    valid_rankings,
)
from alignloop.workflow.studies.foundation import BaseName
from alignloop.workflow.studies.study import Bench, Findings, Study, by_seed

K = 4
ARMS = {"whole_ranking": "ranking", "best_of_4": "best_of_k"}
MORE_RIGHT = Claim(
    key="ranking-is-more-often-right",
    text="Whole rankings of four teach more than which of the four is the best: more pairs are in the right order.",
    source="section 3.5; Ziegler et al. 2019",
    effect="pairs right, learned from rankings less from the best of 4",
    expected="above",
    unit="share",
)
LOWER_LOSS = Claim(
    key="ranking-has-lower-loss",
    text="Whole rankings of four leave a lower validation loss than the best of the four.",
    source="section 3.5; Ziegler et al. 2019",
    effect="validation loss, learned from the best of 4 less from rankings",
    expected="above",
    unit="nats",
)
QUESTION = (
    "The same prompts and the same four answers to each: one reward model learns every pair of the ranking, the "
    "other, by a softmax over the four scores, which is the best. Both are tested on all pairs of validation "
    "rankings of nine. The paper left the best of four for rankings, since it overfitted."
)


def cut(ranking: Ranking, k: int) -> Ranking:
    """A ranking of its first k completions alone, with ranks without gaps."""
    kept = ranking.ranks[:k]
    order = sorted(set(kept))
    ranks = tuple(order.index(rank) + 1 for rank in kept)
    return ranking.model_copy(update={"completions": ranking.completions[:k], "ranks": ranks})


def _cut_rankings(source: Path, folder: Path) -> Path:
    """An artefact whose train side has K answers per prompt; the validation side stays as it is."""
    opened = open_artifact(source, "rankings")

    def write(inside: Path) -> None:
        for side in ("train", "valid"):
            rows = read_records(opened.file(f"{side}.jsonl.gz"), Ranking)
            kept = [cut(row, K) for row in rows] if side == "train" else rows
            write_records(inside / f"{side}.jsonl.gz", kept)

    parents = [{"role": "rankings", "kind": opened.kind, "sha256": opened.sha256}]
    return write_artifact(folder, "rankings", write, parents=parents, facts={"k": K}).path


def _cells(bench: Bench, base: BaseName, seed: int) -> list[Cell]:
    foundation = bench.foundation(base, seed)

    def work(loss: str, folder: Path) -> Sequence[Row]:
        source = foundation.path("rankings_k9")
        rankings = _cut_rankings(source, folder / "rankings")
        model = train_reward(foundation, folder, rankings, f"loss={loss}")
        return [examined(model.path, valid_rankings(source))]

    return [
        Cell(
            arm,
            base,
            seed,
            {"loss": loss, "k": K},
            lambda folder, loss=loss: work(loss, folder),
            foundation.scaled(MINUTE_OF_REWARD * 0.7 + 12),
        )
        for arm, loss in ARMS.items()
    ]


def _findings(cells: Sequence[Done]) -> Findings:
    from alignloop.workflow.studies.figures import effects_plot

    seeds = by_seed(cells)
    right = [
        accuracy_effect(seed, one["whole_ranking"].rows[0], one["best_of_4"].rows[0])
        for seed, one in seeds.items()
    ]
    loss = [
        loss_effect(seed, one["best_of_4"].rows[0], one["whole_ranking"].rows[0])
        for seed, one in seeds.items()
    ]
    judged = [judge(MORE_RIGHT, right), judge(LOWER_LOSS, loss)]
    figures = [effects_plot(f"reward-best-of-{at}", one) for at, one in enumerate(judged)]
    return Findings(judged, [arms_table(cells)], figures)


STUDY = Study(
    name="reward-best-of-4",
    title="Whole rankings or the best of four",
    question=QUESTION,
    bases=("medium",),
    quick_bases=("small",),
    needs=("sft", "rankings_k9"),
    cells=_cells,
    findings=_findings,
)
