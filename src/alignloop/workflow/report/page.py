"""The page: gathers plots and tables, fills the template, writes one file that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from alignloop.files import write_bytes
from alignloop.workflow.report import curves, panels, views
from alignloop.workflow.report.data import ReportData, duration, number, without_nulls
from alignloop.workflow.report.sheet import template

SECTIONS: Mapping[str, str] = {
    "steps": "The three steps",
    "targets": "Targets",
    "wins": "Who wins?",
    "samples": "Before and after",
    "curves": "Learning curves",
    "path": "Gold against KL",
    "tax": "The alignment tax",
    "reward": "The reward model",
    "labelers": "The simulated labelers",
    "models": "Every model in numbers",
    "base": "The base model",
    "timings": "Where the time went",
    "words": "Words",
    "next": "What to do next",
}
"""Id -> title, in the order of the page. Those without content are left out."""


def write_report(path: Path, data: ReportData) -> None:
    """Write the report as one HTML file. The same data give the same bytes.

    Raises:
        OSError: the file cannot be written; an older one stays as it was.
    """
    write_bytes(path, render(data).encode("utf-8"))


def render(data: ReportData) -> str:
    """The report as HTML."""
    results = without_nulls(data.results)
    content = _content(replace(data, results=results))
    always = ("steps", "words", "next")
    sections = {key: title for key, title in SECTIONS.items() if key in always or content[key]}
    return template("template.html.j2").render(
        content,
        sections=sections,
        results=results,
        counts=results.get("counts", {}),
        headline=views.headline(results),
        chat_command=data.chat_command,
    )


def _content(data: ReportData) -> dict[str, Any]:
    """What each section shows; nothing where the report says nothing of it."""
    results = data.results
    return {
        "targets": results.get("targets", []),
        "wins": _wins(results),
        "samples": views.sample_cards(data.samples),
        "curves": _curves(data),
        "path": curves.gold_against_kl(results.get("gold_against_kl", {})),
        "tax": _tax(results),
        "reward": _reward(results),
        "labelers": results.get("labelers"),
        "models": views.models_table(results),
        "base": views.bytes_table(results),
        "timings": views.timing_rows(data.timings, data.budget),
        "has_budget": bool(data.budget),
        "timings_total": duration(sum(data.timings.values())),
    }


def _wins(results: Mapping[str, Any]) -> dict[str, Any] | None:
    tables = views.win_tables(results)
    criteria = results.get("criteria", {})
    if not tables and not criteria:
        return None
    by_criterion = "Win rate against SFT, by criterion"
    return {
        "bars": panels.win_bars(results.get("win_rate", {})),
        "fair": panels.fair_wins(results),
        "band": views.length_band(results),
        "criteria": panels.by_criterion(criteria),
        "tables": tables
        + ([views.interval_table(by_criterion, "Criterion", criteria)] if criteria else []),
    }


def _curves(data: ReportData) -> dict[str, Any] | None:
    found = {
        "supervised": curves.figures(curves.SUPERVISED, data.metrics),
        "epochs": views.epochs_table(data.results),
        "reinforced": curves.figures(curves.REINFORCED, data.metrics),
        "inside": curves.figures(curves.INSIDE, data.metrics),
    }
    return found if any(found.values()) else None


def _tax(results: Mapping[str, Any]) -> dict[str, Any] | None:
    bars = panels.tax_bars(results.get("alignment_tax", {}))
    table = views.pretraining_table(results)
    start = results.get("pretrain_loss", {}).get("rl_init")
    allowed = number(views.MOST_TAX * start, 3) if start else ""
    return {"bars": bars, "table": table, "allowed": allowed} if bars or table else None


def _reward(results: Mapping[str, Any]) -> dict[str, Any] | None:
    reward = results.get("rm", {})
    table = views.reward_table(results)
    calibration = panels.calibration(reward.get("calibration", []))
    bias = number(reward["bias"], 3, signed=True) if reward.get("bias") is not None else ""
    return (
        {"table": table, "calibration": calibration, "bias": bias} if table or calibration else None
    )
