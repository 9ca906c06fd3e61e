"""All pairs of a prompt in one update, or every pair a row of its own, shuffled: which validates better?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from alignloop.workflow.studies.cells import Cell, Done, Row
from alignloop.workflow.studies.claims import Claim, judge
from alignloop.workflow.studies.examined import (
    MINUTE_OF_REWARD,
    arms_table,
    examined,
    loss_effect,
    train_reward,
    valid_rankings,
)
from alignloop.workflow.studies.foundation import BaseName
from alignloop.workflow.studies.study import Bench, Findings, Study, by_seed

ARMS = {"grouped": "ranking", "shuffled": "shuffled_pairs"}
GROUPED_IS_LOWER = Claim(
    key="grouped-is-lower",
    text="After one pass at K = 9, learning all pairs of a prompt together has the lower validation loss.",
    source="section 3.5 and its footnote 5",
    effect="validation loss with shuffled pairs less with grouped ones",
    expected="above",
    unit="nats",
)
QUESTION = (
    "Nine answers to every prompt, ranked, and one pass over the 36 pairs of each: all of a prompt's pairs in one "
    "update, or every pair a row of its own among others. Updates, prompts and learning rate are the same; "
    "shuffled, an answer is encoded eight times. The paper found that shuffling overfits within the pass."
)


def _cells(bench: Bench, base: BaseName, seed: int) -> list[Cell]:
    foundation = bench.foundation(base, seed)

    def work(loss: str, folder: Path) -> Sequence[Row]:
        rankings = foundation.path("rankings_k9")
        model = train_reward(foundation, folder, rankings, f"loss={loss}")
        return [examined(model.path, valid_rankings(rankings))]

    times = {"grouped": 1.4, "shuffled": 11.0}
    return [
        Cell(
            arm,
            base,
            seed,
            {"loss": loss},
            lambda folder, loss=loss: work(loss, folder),
            foundation.scaled(MINUTE_OF_REWARD * times[arm] + 12),
        )
        for arm, loss in ARMS.items()
    ]


def _findings(cells: Sequence[Done]) -> Findings:
    from alignloop.workflow.studies.figures import effects_plot

    judged = judge(
        GROUPED_IS_LOWER,
        [
            loss_effect(seed, one["shuffled"].rows[0], one["grouped"].rows[0])
            for seed, one in by_seed(cells).items()
        ],
    )
    return Findings([judged], [arms_table(cells)], [effects_plot("reward-pairs", judged)])


STUDY = Study(
    name="reward-pairs",
    title="Grouped or shuffled pairs",
    question=QUESTION,
    bases=("medium",),
    quick_bases=("small",),
    needs=("sft", "rankings_k9"),
    cells=_cells,
    findings=_findings,
)
