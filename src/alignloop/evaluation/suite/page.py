"""The report as a page: one table per task, the signed differences in another. Nothing outside the file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignloop.pages import templates

Report = Mapping[str, Any]
_HERE = Path(__file__).parent
_ENDS = {"first newline": "cut at the first newline", "nowhere": "not cut at a newline"}


@dataclass(frozen=True, slots=True)
class Shown:
    """A figure in a table."""

    text: str
    detail: str
    mark: str = ""
    """`chance`, `better`, `worse`, `none` where there is no figure, or nothing."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table of figures; every row has a heading of two parts and a figure per column."""

    columns: Sequence[str]
    rows: Sequence[tuple[str, str, Sequence[Shown]]]


@dataclass(frozen=True, slots=True)
class Section:
    """A task on the page."""

    name: str
    described: Mapping[str, Any]
    about: str
    table: Table
    split: Table | None


def page(report: Report) -> str:
    """The page as HTML; the same report gives the same page."""
    policies = list(report["policies"])
    return (
        templates(_HERE)
        .get_template("page.html.j2")
        .render(
            report=report,
            policies=policies,
            tax=_tax(report, policies) if report["before"] else None,
            differences=sum("value" in one for one in report["tax"]),
            sections=[_section(report, name, policies) for name in report["tasks"]],
        )
    )


def _section(report: Report, name: str, policies: Sequence[str]) -> Section:
    described = report["tasks"][name]
    mine = [cell for cell in report["cells"] if cell["task"] == name]
    whole = [cell for cell in mine if "kind" not in cell]
    parts = [cell for cell in mine if "kind" in cell]
    return Section(
        name,
        described,
        _about(report, name, described),
        _table(whole, policies, lambda cell: (cell["setting"], cell["metric"])),
        _table(parts, policies, lambda cell: (f"{cell['setting']}, {cell['metric']}", cell["kind"]))
        if parts
        else None,
    )


def _about(report: Report, name: str, described: Mapping[str, Any]) -> str:
    """Size, sampling and judge in a sentence or two."""
    sampling = described["sampling"]
    how = (
        f"greedy answers of up to {sampling['max_new_tokens']} tokens, {_ENDS[sampling['cut']]}"
        if "max_new_tokens" in sampling
        else f"{sampling['scored']}, at temperature 1"
    )
    asked = [one for one in report["asked"] if one["task"] == name]
    short = [one for one in asked if one["cut"]]
    text = (
        f"{described['asked']} of {described['in_file']} items of {described['file']}; {how}; judged by: "
        f"{described['judge']}."
    )
    if short:
        most = max(short, key=lambda one: one["cut"])
        text += (
            f" Prompts that did not fit the model's context lost their beginning: up to {most['cut']} of {most['n']} "
            f"({most['policy']}, {most['setting']})."
        )
    bare = [one for one in report["without_examples"] if one["task"] == name]
    if bare:
        settings = ", ".join(sorted({one["setting"] for one in bare}))
        whose = ", ".join(dict.fromkeys(one["policy"] for one in bare))
        text += (
            f" No example fitted the context in {settings} ({whose}), which is therefore left out."
        )
    fewer = [
        one
        for one in asked
        if one["setting"].endswith("-shot") and one["mean_shots"] < _wanted(one["setting"]) - 1e-9
    ]
    if fewer:
        least = min(fewer, key=lambda one: one["mean_shots"] / _wanted(one["setting"]))
        text += (
            f" Examples that did not fit were left out: {least['policy']} had {least['mean_shots']:.1f} on average in "
            f"{least['setting']}."
        )
    return text


def _wanted(setting: str) -> int:
    return int(setting.rpartition(" ")[2].removesuffix("-shot"))


def _table(found: Sequence[Mapping[str, Any]], policies: Sequence[str], key: Any) -> Table:
    rows: dict[tuple[str, str], dict[str, Mapping[str, Any]]] = {}
    for cell in found:
        rows.setdefault(key(cell), {})[cell["policy"]] = cell
    return Table(
        policies,
        [
            (*head, [_shown(by_policy.get(name)) for name in policies])
            for head, by_policy in rows.items()
            if any(
                cell["n"] for cell in by_policy.values()
            )  # what no item counts for is in report.json
        ],
    )


def _shown(cell: Mapping[str, Any] | None) -> Shown:
    if cell is None:
        return Shown("", "")
    if "value" not in cell:
        return Shown("-", f"{cell['reason']}; n {cell['n']}", "none")
    chance = "chance" if cell.get("at_chance") else ""
    return Shown(
        number(cell["value"]),
        f"{number(cell['low'])} to {number(cell['high'])}, n {cell['n']}{_clusters(cell)}",
        chance,
    )


def _clusters(cell: Mapping[str, Any]) -> str:
    return f" in {cell['clusters']}" if cell["clusters"] != cell["n"] else ""


def _tax(report: Report, policies: Sequence[str]) -> Table:
    others = [name for name in policies if name != report["before"]]
    rows: dict[tuple[str, str], dict[str, Shown]] = {}
    for one in report["tax"]:
        if not one["n"]:
            continue
        title = report["tasks"][one["task"]]["title"]
        asked = f"{title}, {one['setting']}"
        head = (f"{asked}, {one['kind']}" if "kind" in one else asked, one["metric"])
        rows.setdefault(head, {})[one["policy"]] = _signed(one)
    return Table(
        others,
        [(*head, [by.get(name, Shown("", "")) for name in others]) for head, by in rows.items()],
    )


def _signed(one: Mapping[str, Any]) -> Shown:
    if "value" not in one:
        return Shown("-", f"{one['reason']}; n {one['n']}", "none")
    sign = 1 if one["better"] == "higher" else -1
    low, high = sorted((sign * one["low"], sign * one["high"]))
    mark = "better" if low > 0 else "worse" if high < 0 else ""
    detail = (
        f"{number(one['low'], signed=True)} to {number(one['high'], signed=True)}, n {one['n']}"
    )
    return Shown(number(one["value"], signed=True), detail, mark)


def number(value: float, *, signed: bool = False) -> str:
    """Three digits for rates, one for BLEU's hundreds."""
    digits = 1 if abs(value) >= 10 else 3
    text = f"{value:+.{digits}f}" if signed and round(value, digits) else f"{abs(value):.{digits}f}"
    if not signed and round(value, digits) < 0:
        text = f"-{text}"
    return text.replace("-", "\u2212")
