"""Win rates in `evaluation-report` artefacts, whichever command wrote them. What has no interval is left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from alignloop.workflow.overview.runs import SeenRun, json_at

_HEADS = ("win_rate", "win_rates")
_SAYS = {"simulated", "judges"}
"""Keys under which a report says itself whether its judges are code."""


@dataclass(frozen=True, slots=True)
class Rate:
    """A win rate with its 95 % interval."""

    run: str
    path: tuple[str, ...]
    """The keys that lead to it: the policy, then the judge, in the demo's report."""
    mean: float
    low: float
    high: float
    n: int
    against: str
    is_simulated: bool | None
    """None: the report does not say."""

    @property
    def model(self) -> str:
        """The policy that the rate is of."""
        return self.path[0]

    @property
    def judge(self) -> str:
        """Who judged, as the report calls it."""
        return " ".join(self.path[1:])


def win_rates(runs: Sequence[SeenRun]) -> list[Rate]:
    """Every win rate of the finished evaluations, by run and in the order of the reports."""
    found: list[Rate] = []
    by_code = {run.sha256 for run in runs if run.sha256 and run.facts.get("simulated") is True}
    for run in runs:
        if run.kind != "evaluation-report":
            continue
        report = json_at(run.folder / "artifact" / "report.json")
        if not _SAYS & report.keys() and by_code & {one.sha256 for one in run.inputs}:
            report["simulated"] = True  # its judges are made as the labelers of its rankings were
        found += rates_in(report, run.name)
    return found


def rates_in(report: Mapping[str, Any], run: str = "") -> list[Rate]:
    """The win rates of one report: every mean with an interval and a number below its `win_rate` or `win_rates`."""
    against = report.get("against", report.get("baseline", "sft"))
    return [
        Rate(
            run,
            path,
            *estimate,
            against if isinstance(against, str) else "",
            _is_simulated(report, path),
        )
        for head in _HEADS
        for path, estimate in _estimates(report.get(head), ())
        if path
    ]


def _is_simulated(report: Mapping[str, Any], path: Sequence[str]) -> bool | None:
    """What the report says of this judge, or of all of them together."""
    judges = report.get("judges")
    for name in path[1:]:
        of_judge = judges.get(name) if isinstance(judges, dict) else None
        if isinstance(of_judge, dict) and isinstance(of_judge.get("simulated"), bool):
            return of_judge["simulated"]
    said = report.get("simulated")
    return said if isinstance(said, bool) else None


def _estimates(
    value: Any, path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], tuple[float, float, float, int]]]:
    if isinstance(value, list):
        named = {
            str(row.get("name", row.get("policy", at))): row
            for at, row in enumerate(value)
            if isinstance(row, dict)
        }
        yield from _estimates(named, path)
        return
    if not isinstance(value, dict):
        return
    mean = value.get("mean", value.get("value"))
    count = value.get("n", value.get("clusters", value.get("prompts")))
    numbers = (mean, value.get("low"), value.get("high"), count)
    if all(isinstance(one, int | float) and not isinstance(one, bool) for one in numbers):
        yield path, (float(mean), float(value["low"]), float(value["high"]), int(count))  # type: ignore[arg-type]
        return
    for key, inner in value.items():
        yield from _estimates(inner, (*path, str(key)))
