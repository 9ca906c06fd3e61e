"""What an import says when it is done: what became of the rows, and what to type next."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

from alignloop.data.curation.outcomes import REASONS
from alignloop.data.curation.spans import NOTICE
from alignloop.data.split import SIDES
from alignloop.workflow.prompts.folder import DROPPED, REJECTED
from alignloop.workflow.prompts.intake import Imported
from alignloop.workflow.prompts.page import REASON_NAMES
from alignloop.workflow.prompts.report import PAGE
from alignloop.workflow.prompts.tally import added

_COLUMNS = ("read", "kept", "rejected", "dropped")


def summary(
    done: Sequence[Imported], project: Path, results: Mapping[str, Any] | None
) -> list[str]:
    """Lines for the terminal.

    Args:
        results: the project's report after the import; None where nothing was written.
    """
    new = [one for one in done if one.earlier is None]
    lines = [
        f"{one.file}: already imported{_as(one)}, nothing was changed"
        for one in done
        if one.earlier is not None
    ]
    if new:
        rows = [(one.file, _four(one.counts)) for one in new]
        if results is not None and (len(results["imports"]) > 1 or len(new) > 1):
            rows.append(("the whole project", _four(results)))
        lines += ["", *_table(rows), *_details(new)]
    if results is None:
        return [*lines, "", "A dry run: nothing was written."]
    return [*lines, "", *_files(project, results), *_next(project, results)]


def _as(one: Imported) -> str:
    return "" if one.earlier == one.file else f" as {one.earlier}"


def _four(counts: Mapping[str, Any]) -> tuple[int, int, int, int]:
    dropped = sum(counts["dropped"].values())
    return counts["read"], counts["kept"], counts["rejected"], dropped


def _table(rows: Sequence[tuple[str, tuple[int, ...]]]) -> list[str]:
    width = max(len(name) for name, _ in rows)
    lines = [" " * width + "".join(f"{name:>12}" for name in _COLUMNS)]
    return lines + [
        f"{name:<{width}}" + "".join(f"{number:>12,}" for number in numbers)
        for name, numbers in rows
    ]


def _details(new: Sequence[Imported]) -> list[str]:
    total: Mapping[str, Any] = reduce(added, (one.counts for one in new), {})
    dropped = [
        f"{REASON_NAMES[reason].lower()} {total['dropped'][reason]:,}"
        for reason in REASONS
        if total["dropped"][reason]
    ]
    languages = sorted(total.get("languages", {}).items(), key=lambda item: (-item[1], item[0]))
    shown = [f"{code} {count / total['kept']:.1%}" for code, count in languages[:5]]
    lines = [
        _line("kept", [f"{side} {total['splits'][side]:,}" for side in SIDES]),
        _line("dropped", dropped),
        _line("languages", shown),
    ]
    demonstrations, compared = total.get("demonstrations", {}), total.get("comparisons", {})
    answers = [
        f"{count:,} {what}"
        for count, what in (
            (demonstrations.get("fit", 0), "demonstrations fit to learn from"),
            (
                demonstrations.get("checked", 0) - demonstrations.get("fit", 0),
                "demonstrations with a fault",
            ),
            (compared.get("rankings", 0), "rankings"),
        )
        if count
    ]
    joined = total.get("joined", {})
    more = joined.get("demonstrations", {}).get("checked", 0)
    more += joined.get("comparisons", {}).get("rankings", 0)
    if more:
        answers.append(f"{more:,} more to prompts that were there")
    lines.append(_line("answers", answers))
    flagged = sum(total.get("flagged", {}).values())
    if flagged or total["scrubbed"] or total["dropped"]["pii"]:
        found = f"{total['scrubbed']:,} scrubbed, {flagged:,} flagged in valid and test"
        lines.append(_line("personal data", [found, NOTICE]))
    return ["", *(line for line in lines if line)]


def _line(head: str, parts: Sequence[str]) -> str:
    return f"{head + ':':<15}{', '.join(parts)}" if parts else ""


def _files(project: Path, results: Mapping[str, Any]) -> list[str]:
    folder = project / "prompts"
    lines = [f"Report: {folder / PAGE}"]
    places = [
        str(folder / name)
        for name, count in (
            (REJECTED, results["rejected"]),
            (DROPPED, sum(results["dropped"].values())),
        )
        if count
    ]
    if places:
        lines.append(f"Rows that did not come in, and why: {', '.join(places)}")
    return lines


def _next(project: Path, results: Mapping[str, Any]) -> list[str]:
    """The command for whatever there is of most use, and with a validation side, without which nothing trains."""
    offered = {**results["answers"], "prompts": results["splits"]}
    for kind, sides in offered.items():
        if sides["train"] and sides["valid"]:
            where = shlex.quote(str(project))
            return [
                f"Next: alignloop prompts export --project {where} --kind {kind} --run runs/{kind}"
            ]
    return [
        "Next: import prompts of more users: an export needs some on the training and on the validation side"
    ]
