"""The page of `alignloop reward report`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alignloop.pages import Table
from alignloop.workflow.report import panels, plots
from alignloop.workflow.report.data import number, percent, whole
from alignloop.workflow.report.sheet import template
from alignloop.workflow.report.svg import PTX, SFT

_PARTS = {
    "by_k": ("By number of answers", "Answers"),
    "by_rank_gap": ("By how many ranks they are apart", "Ranks"),
    "by_length_difference": ("By difference in length, as a share of the longer one", "Difference"),
    "by_labeler": ("By labeler", "Labeler"),
}
_COLUMNS = ("Pairs", "Right", "Log loss", "The longer one is better")


def render_reward(results: Mapping[str, Any]) -> str:
    """The report as HTML, with nothing outside the file."""
    everything, violated = results["all"], results["violated"]
    members = results["models"]
    error = percent(everything["standard_error"])
    return template("reward.html.j2").render(
        headline=f"{percent(everything['accuracy'])} of {whole(everything['pairs'])} pairs in the right order",
        lead=f"{_models(len(members))} on {whole(results['rankings'])} rankings ({results['side']}), standard error "
        f"{error} over rankings. {whole(results['left_out'])} rankings of prompts that were learned from are left out.",
        warnings=[
            f"the validation loss of model {n} rose in epoch {model['overfits_from_epoch']}: it overfits."
            for n, model in enumerate(members, start=1)
            if "overfits_from_epoch" in model
        ],
        plots=[drawn] if (drawn := panels.calibration(everything["calibration"])) else [],
        overall=_overall(results),
        tables=[
            Table(title, (head, *_COLUMNS), [[str(k), *_cells(row)] for k, row in rows.items()])
            for part, (title, head) in _PARTS.items()
            if (rows := everything[part])
        ],
        epochs=[
            drawn
            for n, model in enumerate(members, start=1)
            if len(curve := model.get("epochs", [])) > 1
            for drawn in _epochs(n, curve)
        ],
        violated=results["violated_pairs"],
        violated_text=f"{whole(violated['pairs'])} pairs ({percent(violated['share'])}) are in the wrong order. "
        "Here are those that are furthest from the labeler's order, one per ranking, the worst first.",
    )


def _models(count: int) -> str:
    return "One reward model" if count == 1 else f"The mean of {count} reward models"


def _overall(results: Mapping[str, Any]) -> Table:
    names = {
        "all": "All labelers",
        "own_labelers": "Labelers that it learned from",
        "heldout_labelers": "Other labelers",
    }
    rows = [[label, *_cells(results[key])] for key, label in names.items() if key in results]
    if len(results["models"]) > 1:
        rows += [[f"Model {n} alone", *_cells(m)] for n, m in enumerate(results["models"], start=1)]
        split = results["disagreement"]["split_pairs"]
        rows.append(["Pairs on which the models differ", "", percent(split), "", ""])
    if results.get("bag_of_words") is not None:
        rows.append(["Rival: a bag of words", "", percent(results["bag_of_words"]), "", ""])
    return Table("All pairs", ("Against", *_COLUMNS), rows, names["all"])


def _cells(row: Mapping[str, Any]) -> list[str]:
    return [
        whole(row["pairs"]),
        percent(row["accuracy"]),
        number(row["log_loss"], 3),
        percent(row["longer_wins"]),
    ]


def _epochs(model: int, curve: list[dict[str, float]]) -> list[plots.Captioned]:
    """Validation loss and accuracy at the end of each epoch."""
    drawn: list[plots.Captioned] = []
    for key, title, colour in (
        ("valid_loss", "Validation loss", PTX),
        ("valid_pair_accuracy", "Validation pairs in the right order", SFT),
    ):
        line = plots.Series(
            title,
            [float(n) for n in range(1, len(curve) + 1)],
            [row[key] for row in curve],
            plots.Look(colour, "-", "o"),
            is_smoothed=False,
        )
        svg = plots.line_plot(
            f"model-{model}-{key}",
            [line],
            "epochs",
            f"Line plot, {title} of model {model}.",
            in_percent=key == "valid_pair_accuracy",
        )
        text = f"Model {model}, at the end of each epoch, on the rankings it was validated on."
        drawn.append(plots.Captioned(title, text, svg))
    return drawn
