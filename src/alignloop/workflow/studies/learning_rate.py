"""SFT at several learning rates, a factor apart, as the paper chose its own (C.1: seven of them, five at 175B)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from alignloop.errors import NumericsError
from alignloop.evaluation.config import EpochsConfig
from alignloop.files import write_json
from alignloop.pages import Table
from alignloop.sft.config import SFTConfig
from alignloop.workflow.epochs import curves, validations
from alignloop.workflow.report.data import DASH, number
from alignloop.workflow.report.sheet import Sheet, write_sheet
from alignloop.workflow.stages import run_stage
from alignloop.workflow.studies.sweep import geometric

Row = Mapping[str, Any]


def learning_rate_sweep(
    folder: Path,
    say: Callable[[str], None],
    config: SFTConfig,
    selection: EpochsConfig,
    *,
    inputs: Mapping[str, Any],
    judge: Mapping[str, Any],
    factor: float,
    count: int,
) -> dict[str, Any]:
    """SFT at `count` rates around the config's own; of each the best epoch, and of those the best rate.

    By reward-model score on validation prompts where `judge` has `reward_model` and `prompts`, else by loss on
    validation demonstrations. The same call goes on where an interrupted one stopped. A rate whose loss is no longer a
    number is noted and not chosen.

    Args:
        inputs: `model`, `demonstrations`, and `text` for a pretraining mix.

    Returns:
        {"by", "rows": one per rate, "chosen": rate, "at_edge": whether it is the smallest or largest}; also written to
        `folder/learning_rate.json`, with plots to `learning_rate.html`.

    Raises:
        NumericsError: no rate was small enough.
    """
    by = "reward" if judge else "loss"
    rows: list[dict[str, Any]] = []
    rates = geometric(config.optimizer.learning_rate, factor, count)
    for rate in rates:
        place = folder / f"rate_{rate:g}"
        optimizer = config.optimizer.model_copy(update={"learning_rate": rate})
        trained = config.model_copy(update={"optimizer": optimizer})
        try:
            run_stage("sft", place / "sft", trained, resume=True, **inputs)
        except NumericsError as error:
            say(f"{rate:<10g} {error}")
            rows.append(_row(rate, None, {}))
            continue
        chosen = run_stage(
            "epochs",
            place / "chosen",
            selection.model_copy(update={"select_by": by}),
            resume=True,
            sft=place / "sft",
            **judge,
        )
        epoch = chosen.facts["chosen"]
        text = validations(place / "sft")[epoch - 1].get("valid_pretraining_loss")
        best = {**chosen.facts["epochs"][epoch - 1], "valid_pretraining_loss": text}
        rows.append(_row(rate, f"{place.name}/chosen", best))
        say(_line(rows[-1]))
    chosen_rate = best_rate(rows, by)
    result = {
        "by": by,
        "rows": rows,
        "chosen": chosen_rate,
        "at_edge": chosen_rate in (rates[0], rates[-1]),
    }
    write_json(folder / "learning_rate.json", result)
    write_sheet(folder / "learning_rate.html", _sheet(result))
    return result


def best_rate(rows: Sequence[Row], by: str) -> float:
    """The rate whose best epoch has the highest score, or the lowest loss; the smaller of equals.

    Raises:
        NumericsError: no row has a loss.
    """
    found = [row for row in rows if row["valid_loss"] is not None]
    if not found:
        raise NumericsError("every learning rate ended in numbers that are none; try smaller ones")
    worth = (lambda row: -row["score"]) if by == "reward" else (lambda row: row["valid_loss"])
    return min(found, key=lambda row: (worth(row), row["learning_rate"]))["learning_rate"]


def _row(rate: float, place: str | None, best: Row) -> dict[str, Any]:
    keys = ("epoch", "valid_loss", "valid_pretraining_loss", "score", "tokens", "finished")
    return {"learning_rate": rate, "run": place, **{key: best.get(key) for key in keys}}


def _line(row: Row) -> str:
    score = "" if row["score"] is None else f"   score {row['score']:+.3f}"
    loss = row["valid_pretraining_loss"]
    text = "" if loss is None else f", of the text {loss:.4f}"
    return (
        f"{row['learning_rate']:<10g} epoch {row['epoch']}   "
        f"validation loss {row['valid_loss']:.4f}{text}{score}"
    )


def _sheet(result: Mapping[str, Any]) -> Sheet:
    rows: Sequence[Row] = result["rows"]
    whole = [row for row in rows if row["valid_loss"] is not None]
    by = "reward-model score" if result["by"] == "reward" else "validation loss"
    edge = (
        " It is at the end of the grid: a better one may lie beyond." if result["at_edge"] else ""
    )
    return Sheet(
        title="SFT learning rates",
        lede=f"Of every rate its best epoch, by {by}. Chosen: {result['chosen']:g}.{edge}",
        figures=curves(
            [row["learning_rate"] for row in whole], whole, "learning rate", is_geometric=True
        ),
        tables=[
            Table(
                "Every rate",
                [
                    "Rate",
                    "Epoch",
                    "Validation loss",
                    "Of the pretraining text",
                    "Reward-model score",
                    "Tokens per answer",
                    "",
                ],
                [
                    [
                        f"{row['learning_rate']:g}",
                        DASH if row["epoch"] is None else str(row["epoch"]),
                        number(row["valid_loss"], 4),
                        number(row.get("valid_pretraining_loss"), 4),
                        number(row["score"], 3, signed=True),
                        number(row["tokens"], 1),
                        "chosen" if row["learning_rate"] == result["chosen"] else "",
                    ]
                    for row in rows
                ],
                f"{result['chosen']:g}",
            )
        ],
    )
