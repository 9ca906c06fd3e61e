"""One to four epochs of the reward model: does its validation loss rise?

Each number of epochs is a run with a schedule of its own.
"""

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
    mean_loss,
    train_reward,
    valid_rankings,
)
from alignloop.workflow.studies.foundation import BaseName
from alignloop.workflow.studies.study import Bench, Findings, Study, by_seed

EPOCHS = (1, 2, 3, 4)
RISES = Claim(
    key="loss-rises",
    text="Four epochs leave the reward model with a higher validation loss than one.",
    source="C.2",
    effect="validation loss after 4 epochs less after 1",
    expected="above",
    unit="nats",
)
QUESTION = (
    "Reward models of one, two, three and four passes over the same rankings, each with its own cosine schedule, "
    "on validation rankings. The paper trains for one, since more made the validation loss worse."
)


def _cells(bench: Bench, base: BaseName, seed: int) -> list[Cell]:
    foundation = bench.foundation(base, seed)

    def work(epochs: int, folder: Path) -> Sequence[Row]:
        rankings = foundation.path("rankings")
        if epochs == 1:
            model = foundation.path("reward")
        else:
            model = train_reward(foundation, folder, rankings, f"epochs={epochs}").path
        return [examined(model, valid_rankings(rankings))]

    return [
        Cell(
            f"epochs_{epochs}",
            base,
            seed,
            {"epochs": epochs},
            lambda folder, epochs=epochs: work(epochs, folder),
            foundation.scaled(MINUTE_OF_REWARD * (epochs if epochs > 1 else 0) + 10),
        )
        for epochs in EPOCHS
    ]


def _findings(cells: Sequence[Done]) -> Findings:
    from alignloop.workflow.studies.figures import curves_by_seed, effects_plot

    seeds = by_seed(cells)
    first, last = f"epochs_{EPOCHS[0]}", f"epochs_{EPOCHS[-1]}"
    judged = judge(
        RISES,
        [loss_effect(seed, one[last].rows[0], one[first].rows[0]) for seed, one in seeds.items()],
    )
    losses = {
        seed: [mean_loss(one[f"epochs_{epochs}"].rows[0]) for epochs in EPOCHS]
        for seed, one in seeds.items()
    }
    curve = curves_by_seed(
        "reward-epochs-loss",
        "Validation loss",
        "Eq. 1 on validation rankings; a run per point.",
        EPOCHS,
        losses,
        "epochs",
    )
    return Findings([judged], [arms_table(cells)], [curve, effects_plot("reward-epochs", judged)])


STUDY = Study(
    name="reward-epochs",
    title="Epochs of the reward model",
    question=QUESTION,
    bases=("medium",),
    quick_bases=("small",),
    needs=("sft", "rankings", "reward"),
    cells=_cells,
    findings=_findings,
)
