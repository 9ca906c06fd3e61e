"""The epochs of an SFT run: validation loss and reward-model score of each, both curves drawn, and one of them chosen.

The paper chooses by reward-model score (C.1): loss is lowest after one epoch, and people like later ones better. But a
reward model starts from an SFT policy, so at first there is none: then the last epoch serves, or the lowest loss.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from alignloop.data.jsonl import read_objects, read_records
from alignloop.data.records import Prompt
from alignloop.errors import ArtifactError, ConfigError
from alignloop.evaluation.config import EpochsConfig
from alignloop.evaluation.select import copy_model, score_policy
from alignloop.files import write_json
from alignloop.models.reward_scorer import RewardScorer
from alignloop.pages import Table
from alignloop.runs.artifact import Artifact, open_artifact
from alignloop.runs.run import Run
from alignloop.workflow.report.data import number
from alignloop.workflow.report.plots import LOOKS, Captioned, Series, line_plot
from alignloop.workflow.report.sheet import Sheet, write_sheet

Row = Mapping[str, Any]
"""`epoch`, `valid_loss` and, where a reward model scored it, `score`, `tokens`, `finished`; else null."""


@dataclass(frozen=True, slots=True)
class Epoch:
    """The policy after one epoch of an SFT run, and its loss on validation demonstrations."""

    number: int
    path: Path
    valid_loss: float


def select_epoch(
    config: EpochsConfig,
    run: Run,
    *,
    sft: Path,
    reward_model: Path | None = None,
    prompts: Path | None = None,
) -> Artifact:
    """Leave one epoch of a finished SFT run as a `policy` artefact, and both curves beside it.

    `RUN/epochs.json` and `RUN/epochs.html` hold the curves; with a reward model every epoch is scored, whatever the
    choice goes by.

    Raises:
        ConfigError: `select_by = "reward"` without a reward model, or a reward model without prompts, or prompts
            without a reward model.
    """
    if (reward_model is None) != (prompts is None):
        raise ConfigError(
            "--reward-model and --prompts go together: the one scores answers to the other"
        )
    if config.select_by == "reward" and reward_model is None:
        raise ConfigError(
            "select_by = 'reward' needs --reward-model and --prompts; before there is a reward model: "
            "--set select_by=last, or loss"
        )
    epochs = sft_epochs(sft)
    opened = [run.input(f"epoch-{epoch.number}", epoch.path, "policy") for epoch in epochs]
    rows: list[dict[str, Any]] = [
        {
            "epoch": e.number,
            "valid_loss": e.valid_loss,
            "score": None,
            "tokens": None,
            "finished": None,
        }
        for e in epochs
    ]
    if reward_model is not None and prompts is not None:
        judge = run.input("reward_model", reward_model, "reward-model")
        asked = run.input("prompts", prompts, "prompts")
        scorer = RewardScorer(judge.path)
        valid = read_records(asked.file("valid.jsonl.gz"), Prompt)
        for row, artifact in zip(rows, opened, strict=True):
            scored = score_policy(config, artifact.path, scorer, valid, row["epoch"])
            row |= {"score": scored.score, "tokens": scored.tokens, "finished": scored.finished}
    chosen = choose(rows, config.select_by)
    facts = {"stage": run.stage, "select_by": config.select_by, "chosen": chosen, "epochs": rows}
    write_json(
        run.folder / "epochs.json", {key: facts[key] for key in ("select_by", "chosen", "epochs")}
    )
    write_sheet(run.folder / "epochs.html", _sheet(rows, config.select_by, chosen))
    return run.finish("policy", partial(copy_model, opened[chosen - 1].path), facts)


def choose(rows: Sequence[Row], by: str) -> int:
    """The number of the epoch that is best by reward-model score or by loss, the earlier of equals; or the last."""
    match by:
        case "reward":
            best = max(rows, key=lambda row: (row["score"], -row["epoch"]))
        case "loss":
            best = min(rows, key=lambda row: (row["valid_loss"], row["epoch"]))
        case _:
            best = rows[-1]
    return best["epoch"]


def validations(folder: Path) -> list[Row]:
    """What an SFT run logged at the end of every epoch."""
    rows = (row for _, row in read_objects(folder / "metrics.jsonl"))
    return [row for row in rows if "valid_loss" in row]


def sft_epochs(folder: Path) -> list[Epoch]:
    """Every epoch of a finished SFT run, the last one included.

    Raises:
        ArtifactError: the folder holds no finished run of `alignloop sft`.
    """
    manifest = folder / "manifest.json"
    if not manifest.is_file() or json.loads(manifest.read_text("utf-8")).get("stage") != "sft":
        raise ArtifactError(
            f"{folder}: no run of `alignloop sft`; --sft takes its whole run folder"
        )
    last = open_artifact(folder, "policy")
    losses = [float(row["valid_loss"]) for row in validations(folder)]
    places = [folder / "epochs" / f"epoch_{number:02d}" for number in range(1, len(losses))]
    return [
        Epoch(number, path, loss)
        for number, (path, loss) in enumerate(
            zip([*places, last.path], losses, strict=True), start=1
        )
    ]


def _sheet(rows: Sequence[Row], by: str, chosen: int) -> Sheet:
    reasons = {
        "reward": "the highest mean reward-model score on validation prompts",
        "loss": "the lowest loss on validation demonstrations",
        "last": "the last one",
    }
    return Sheet(
        title="SFT epochs",
        lede=f"Epoch {chosen} of {len(rows)} was chosen: {reasons[by]}.",
        figures=curves([row["epoch"] for row in rows], rows, "epoch"),
        tables=[
            Table(
                "Every epoch",
                ["Epoch", "Validation loss", "Reward-model score", "Tokens per answer", ""],
                [
                    [
                        str(row["epoch"]),
                        number(row["valid_loss"], 4),
                        number(row["score"], 3, signed=True),
                        number(row["tokens"], 1),
                        "chosen" if row["epoch"] == chosen else "",
                    ]
                    for row in rows
                ],
                str(chosen),
            )
        ],
    )


def curves(
    xs: Sequence[float], rows: Sequence[Row], x_label: str, *, is_geometric: bool = False
) -> list[Captioned]:
    """Validation loss and, where every row has one, reward-model score over `xs`."""
    drawn = [
        (
            "loss",
            "valid_loss",
            "Validation loss",
            "Per response token, on validation demonstrations.",
        ),
        ("score", "score", "Reward-model score", "Mean over answers to validation prompts."),
    ]
    return [
        Captioned(
            title,
            text,
            line_plot(
                name,
                [Series(title, xs, [row[key] for row in rows], LOOKS["sft"], is_smoothed=False)],
                x_label,
                f"{title} by {x_label}.",
                is_geometric=is_geometric,
            ),
        )
        for name, key, title, text in drawn
        if all(row[key] is not None for row in rows)
    ]
