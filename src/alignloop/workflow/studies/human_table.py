"""The figures of the study of human judgments as a table on the terminal and as a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from alignloop.pages import Table
from alignloop.workflow.report import plots
from alignloop.workflow.report.data import DASH, MINUS, NO_BREAK, between, number, percent, whole
from alignloop.workflow.report.sheet import Sheet
from alignloop.workflow.report.svg import PTX

Row = Mapping[str, Any]

_COLUMNS = (
    "Data set",
    "Test pairs",
    "Prompts",
    "Reward model",
    "Longer wins",
    "Bigrams",
    "Longer, whole text",
    "Bigrams, whole text",
    "All together",
    "People agree",
    "Verdict",
)
_RIVALS = {
    "longer_wins": "Longer wins",
    "bigrams": "Bigrams",
    "longer_wins_whole": "Longer, whole text",
    "bigrams_whole": "Bigrams, whole text",
}


def table_of(results: Mapping[str, Any]) -> str:
    """The main table in plain characters, columns aligned."""
    rows = [list(_COLUMNS), *(_cells(row) for row in results["sets"])]
    rows = [[_plain(cell) for cell in row] for row in rows]
    widths = [max(len(row[at]) for row in rows) for at in range(len(_COLUMNS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def sheet_of(results: Mapping[str, Any]) -> Sheet:
    """The page: a plot per data set, and the tables."""
    rows: Sequence[Row] = results["sets"]
    return Sheet(
        title="Reward models on people's judgments",
        lede=f"Pairs of held-out prompts in the order that people gave them, with 95 % bootstrap intervals over "
        f"prompts; reward models are the mean of {len(results['seeds'])} seeds. 'Longer wins' and a bag of words and "
        "bigrams are given the same cut texts as the model, and the whole ones beside it.",
        figures=[_figure(row) for row in rows],
        tables=[
            Table("Pairs in the right order", _COLUMNS, [_cells(row) for row in rows]),
            Table(
                "Reward model less rival, on the same pairs",
                ("Data set", *_RIVALS.values()),
                [
                    [row["set"], *(_difference(row["ahead_of"][name]) for name in _RIVALS)]
                    for row in rows
                ],
            ),
            Table(
                "What was learned from, and what was cut",
                (
                    "Data set",
                    "Train rankings",
                    "Train pairs",
                    "Validation pairs",
                    "Ties left out",
                    "Rankings left out",
                    "Prompts cut",
                    "Answers cut",
                    "Epochs",
                    "Each seed, test",
                ),
                [_about(row) for row in rows],
            ),
        ],
    )


def verdict(row: Row) -> str:
    """In words, what the paired intervals against the rivals on whole texts allow to say."""
    compared = {name: row["ahead_of"][f"{name}_whole"] for name in ("longer_wins", "bigrams")}
    if row["reward_model"]["low"] <= 0.5:
        return "weak: no better than chance"
    if any(found["high"] < 0 for found in compared.values()):
        return "weak: worse than a rival"
    if all(found["low"] > 0 for found in compared.values()):
        return "better than both rivals"
    return "weak: no clear lead over the rivals"


def _cells(row: Row) -> list[str]:
    agreement = row["agreement"]
    return [
        row["set"],
        whole(row["pairs"]),
        whole(row["reward_model"]["n"]),
        _share(row["reward_model"]),
        *(_share(row[name]) for name in _RIVALS),
        _share(row.get("together")),
        percent(agreement["share"]) if agreement else DASH,
        verdict(row),
    ]


def _about(row: Row) -> list[str]:
    counts, cut = row["counts"], row["cut"]
    return [
        row["set"],
        whole(counts["train"]["rankings"]),
        whole(counts["train"]["pairs"]),
        whole(counts["valid"]["pairs"]),
        whole(sum(side["ties"] for side in counts.values())),
        whole(sum(row["left_out"].values())),
        percent(cut["prompts"] / cut["of_prompts"], 0),
        percent(cut["answers"] / cut["of_answers"], 0),
        str(row["training"][0]["epochs"]),
        ", ".join(percent(seed) for seed in row["reward_model_seeds"]),
    ]


def _figure(row: Row) -> plots.Captioned:
    drawn = [plots.Row("Reward model", row["reward_model"], plots.Look(PTX, "-", "s"))]
    drawn += [plots.Row(label, row[name]) for name, label in _RIVALS.items()]
    if "together" in row:
        drawn.append(plots.Row("Trained on all sets", row["together"]))
    name = row["set"].replace("_", "-")
    svg = plots.interval_plot(
        f"judgments-{name}", drawn, f"Interval plot, {row['set']}.", span=(0.3, 1.0)
    )
    text = f"{whole(row['pairs'])} test pairs of {whole(row['reward_model']['n'])} prompts: {verdict(row)}."
    return plots.Captioned(row["set"], text, svg)


def _share(estimate: Mapping[str, float] | None) -> str:
    return DASH if estimate is None else f"{percent(estimate['mean'])} ({between(estimate)})"


def _difference(estimate: Mapping[str, float]) -> str:
    mean, low, high = (
        number(100 * estimate[key], 1, signed=True) for key in ("mean", "low", "high")
    )
    return f"{mean} ({low} to {high})"


def _plain(text: str) -> str:
    return text.replace(NO_BREAK, " ").replace(MINUS, "-").replace(DASH, "-")
