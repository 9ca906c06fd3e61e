"""A status as text: one screen, as wide as the terminal, in plain characters."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from alignloop.workflow.overview.lineage import Node, walk
from alignloop.workflow.overview.runs import SeenRun, resume_command
from alignloop.workflow.overview.status import CampaignLine, Status
from alignloop.workflow.overview.win_rates import Rate

Style = Callable[[str, str], str]
"""(text, what it is) -> the text with or without colour."""

_LEAST = 40
_FORMS = {
    "demonstrate": "demonstrations",
    "write": "prompts written",
    "rank": "rankings",
    "compare": "comparisons",
    "toxicity": "toxicity",
}
_BAR = 20
_COMMAND = " alignloop "
_NOT_DATA = ("policy", "reward-model", "evaluation-report")
_MOST_ROWS = 40


def plain(text: str, what: str) -> str:
    """No colour."""
    return text


def screen(status: Status, width: int, style: Style = plain) -> Iterator[str]:
    """The lines of a status, none longer than `width` (40 at least), colour codes and commands apart.

    A command stands whole on a line of its own where it does not fit: broken in two it could not be copied.
    """
    wide = max(width, _LEAST)
    yield _cut(f"project {status.folder}", wide)
    if status.simulated:
        yield style(_cut("LABELS BY SIMULATED LABELERS: code, not people", wide), "warning")
    sections: list[tuple[str, list[tuple[str, str]]]] = [
        ("data", [*_data(status)]),
        ("campaigns", [(line, "") for line in map(_campaign, status.campaigns)]),
        ("models", [*_models(status.trees)]),
        ("not finished", [*_unfinished(status.unfinished)]),
        ("win rates, 95 % intervals", [(rate_line(rate), "") for rate in _once(status.rates)]),
        ("next", [(line, "") for line in status.coming]),
    ]
    for title, lines in sections:
        if not lines:
            continue
        yield ""
        yield style(_cut(title.upper(), wide), "title")
        shown = lines if len(lines) <= _MOST_ROWS or title == "next" else lines[:_MOST_ROWS]
        for line, what in shown:
            if title in ("next", "not finished"):
                yield from (style(f"  {piece}", what) for piece in _pieces(line, wide - 2))
            else:
                yield style(_cut(f"  {line}", wide), what)
        if len(shown) < len(lines):
            yield _cut(f"  ... and {len(lines) - len(shown)} more (--json has them all)", wide)


def rate_line(rate: Rate) -> str:
    """A win rate with its interval and all that belongs to it, on one line."""
    against = f" against {rate.against}" if rate.against else ""
    who = " SIMULATED" if rate.is_simulated else ""
    return (
        f"{rate.model:<12} {rate.mean:>6.1%}  [{rate.low:.1%}, {rate.high:.1%}]  n {rate.n}{against}, "
        f"by {rate.judge or 'judges'}{who}  ({rate.run})"
    )


# --- inside -----------------------------------------------------------------------------------------------------


def _once(rates: Sequence[Rate]) -> Iterator[Rate]:
    """Rates that two runs agree in, as a round's and its control's do, are shown of the later one."""
    yield from {replace(rate, run=""): rate for rate in rates}.values()


def _data(status: Status) -> Iterator[tuple[str, str]]:
    for side, kinds in sorted(status.prompts.items(), key=lambda row: _side(row[0])):
        sources = ", ".join(f"{kind} {count:,}" for kind, count in kinds.items())
        yield f"prompts {side:<6} {sum(kinds.values()):>8,}   {sources}", ""
    for one in status.labels:
        name = _FORMS.get(one.form, one.form)
        said = f"{name:<15} {one.labels:>7,}   {one.purpose}, {one.cohort} labelers, {one.prompts:,} prompts"
        if one.form in ("rank", "compare"):
            said += f", {one.comparisons:,} comparisons"
        if one.simulated:
            said += f", {one.simulated:,} SIMULATED"
        yield said, ""
    data = [run for run in status.runs if run.state == "finished" and run.kind not in _NOT_DATA]
    longest = max((len(run.name) for run in data), default=0)
    for run in data:
        simulated = ", SIMULATED labelers" if run.facts.get("simulated") else ""
        yield f"{run.name:<{longest}}  {run.kind:<16} {_counts(run)}{simulated}", ""


def _side(name: str) -> int:
    return ("train", "valid", "test").index(name) if name in ("train", "valid", "test") else 3


def _counts(run: SeenRun) -> str:
    """What an artefact says of its own size."""
    facts = run.facts
    for key in ("rows", "completions", "titles"):
        found = facts.get(key)
        if isinstance(found, dict):
            return ", ".join(
                f"{name} {count:,}" for name, count in found.items() if isinstance(count, int)
            )
    for key in ("rankings", "passages"):
        if isinstance(facts.get(key), int):
            return f"{facts[key]:,} {key}"
    return ""


def _campaign(one: CampaignLine) -> str:
    share = min(one.done / one.wanted, 1.0) if one.wanted else 0.0
    bar = "#" * round(_BAR * share) + "." * (_BAR - round(_BAR * share))
    leased = f", {one.leased} in work" if one.leased else ""
    done = f"{one.done}/{one.wanted}"
    return f"{one.name[:28]:<28} {done:>9} {bar} {one.state:<6} {one.form}, {one.purpose}{leased}"


def _models(trees: Sequence[Node]) -> Iterator[tuple[str, str]]:
    for branch, node in walk(trees):
        if node.run is None:
            yield f"{branch}{node.label} (from outside)", ""
            continue
        run = node.run
        came = f" from {node.came_by.rpartition(', ')[2]}" if node.came_by else ""
        head = f"{branch}{node.label}"
        yield (
            f"{head:<34} {run.kind or run.stage:<12} {run.state}{came}{_told(run.facts)}",
            _tone(run),
        )


_TOLD = ("method", "chosen", "epochs", "episodes", "comparisons", "reward_bias", "bits_per_byte")


def _told(facts: Any) -> str:
    """A few of a model's facts."""
    words = [
        str(facts[key]) if key == "method" else f"{key.replace('_', ' ')} {_number(facts[key])}"
        for key in _TOLD
        if isinstance(facts.get(key), int | float | str)
    ]
    return f"; {', '.join(words)}" if words else ""


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _unfinished(runs: Sequence[SeenRun]) -> Iterator[tuple[str, str]]:
    for run in runs:
        if run.state == "running":
            yield f"{run.name}: running since {run.started}", ""
        elif run.state == "damaged":
            yield f"{run.name}: damaged; remove the folder, or put it back from a backup", "warning"
        else:
            yield f"{run.name}: {run.state}; go on with: {resume_command(run)}", "warning"


def _tone(run: SeenRun) -> str:
    return "" if run.state in ("finished", "running") else "warning"


def _cut(line: str, width: int) -> str:
    return line if len(line) <= width else f"{line[: width - 3]}..."


def _pieces(line: str, width: int) -> list[str]:
    """Words wrap, further lines indented; a command at the end of the line does not."""
    if len(line) <= width:
        return [line]
    words, colon, command = line.partition(f":{_COMMAND}")
    pieces = textwrap.wrap(words + colon[:1], width, subsequent_indent="    ")
    return [*pieces, *([f"   {_COMMAND}{command}"] if colon else [])]
