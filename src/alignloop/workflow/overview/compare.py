"""Runs side by side: what differs in their configs and inputs, and what their metrics came to. Torch-free."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from alignloop.errors import RunError
from alignloop.runs.metrics import METRICS
from alignloop.workflow.overview.runs import SeenRun, json_at, rows_of, run_at, seconds_of

ABSENT = "-"
LOWER_IS_BETTER = frozenset(
    ("loss", "valid_loss", "valid_bits_per_byte", "valid_pretraining_loss", "pretraining_loss")
)
HIGHER_IS_BETTER = frozenset(
    (
        *("pair_accuracy", "valid_pair_accuracy", "reward_margin", "score_mean", "heldout_score"),
        *("gold_score", "reward_mean", "objective", "value_explained"),
    )
)
"""Metrics of which a best is told; of the others nobody can say which way is up."""
_TOKENS = ("tokens", "response_tokens")


@dataclass(frozen=True, slots=True)
class Series:
    """One metric of one run."""

    steps: tuple[float, ...]
    values: tuple[float, ...]

    @property
    def last(self) -> float:
        """The final value."""
        return self.values[-1]

    def best(self, metric: str) -> tuple[float, float] | None:
        """(value, step) of the best, the earlier of equals; None where the metric has no better side."""
        if metric in LOWER_IS_BETTER:
            at = min(range(len(self.values)), key=lambda i: self.values[i])
        elif metric in HIGHER_IS_BETTER:
            at = max(range(len(self.values)), key=lambda i: self.values[i])
        else:
            return None
        return self.values[at], self.steps[at]


@dataclass(frozen=True, slots=True)
class Compared:
    """One of the runs."""

    run: SeenRun
    name: str
    config: Mapping[str, Any]
    """Dotted key -> value."""
    series: Mapping[str, Series]
    seconds: float | None
    tokens: float | None
    missing: tuple[str, ...]
    """Files that are not there, or hold nothing."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """All of them, in the given order."""

    runs: tuple[Compared, ...]

    def config_rows(self, *, all_keys: bool = False) -> list[tuple[str, list[Any]]]:
        """(key, value per run), of keys that differ or of all; `-` where a run has no such key.

        A setting that another stage does not have is no difference.
        """
        return list(_rows(self.runs, all_keys))

    def input_rows(self, *, all_inputs: bool = False) -> list[tuple[str, list[str]]]:
        """(role, "path hash" per run), of inputs whose hashes differ or of all."""
        by_role = [{i.role: i for i in one.run.inputs} for one in self.runs]
        roles = list(dict.fromkeys(role for roles in by_role for role in roles))
        rows: list[tuple[str, list[str]]] = []
        for role in roles:
            hashes = {of[role].sha256 if role in of else "" for of in by_role}
            if all_inputs or len(hashes) > 1:
                shown = [
                    f"{of[role].path.removesuffix('/artifact')} {of[role].sha256[:10]}"
                    if role in of
                    else ABSENT
                    for of in by_role
                ]
                rows.append((role, shown))
        return rows

    def metrics(self) -> list[str]:
        """Every metric that one of the runs logged, in the order of the glossary."""
        there = {name for one in self.runs for name in one.series}
        return [name for name in METRICS if name in there] + sorted(there - METRICS.keys())

    def as_json(self, *, all_keys: bool = False) -> dict[str, Any]:
        """The same for machines."""
        return {
            "schema": 1,
            "runs": [
                {
                    "name": one.name,
                    "stage": one.run.stage,
                    "state": one.run.state,
                    "seconds": one.seconds,
                    "tokens": one.tokens,
                    "missing": list(one.missing),
                    "inputs": [asdict(given) for given in one.run.inputs],
                    "metrics": {
                        metric: {"last": series.last, "best": series.best(metric)}
                        for metric, series in one.series.items()
                    },
                }
                for one in self.runs
            ],
            "config": {key: values for key, values in self.config_rows(all_keys=all_keys)},
        }


def compare_runs(folders: Sequence[Path]) -> Comparison:
    """Read two runs or more; what is missing in one is told and left out.

    Raises:
        RunError: fewer than two, or a folder that holds no run at all.
    """
    if len(folders) < 2:
        raise RunError("give two run folders or more to compare")
    for folder in folders:
        if not (folder / "manifest.json").is_file():
            raise RunError(f"{folder}: no run here (manifest.json is missing); give a run folder")
    return Comparison(
        tuple(_read(folder, name) for folder, name in zip(folders, _names(folders), strict=True))
    )


def flattened(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Tables as dotted keys."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= flattened(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def sparkline(values: Sequence[float], width: int) -> str:
    """Values as a row of at most `width` characters from low to high: `_.-~^` in plain ASCII; means where they are
    more than fit."""
    marks = "_.-~^"
    if not values:
        return ""
    count = min(width, len(values))
    bounds = [round(at * len(values) / count) for at in range(count + 1)]
    means = [math.fsum(values[a:b]) / (b - a) for a, b in pairwise(bounds)]
    low, high = min(means), max(means)
    if low == high:
        return marks[len(marks) // 2] * count
    return "".join(
        marks[min(int((mean - low) / (high - low) * len(marks)), len(marks) - 1)] for mean in means
    )


# --- inside -----------------------------------------------------------------------------------------------------


def _names(folders: Sequence[Path]) -> list[str]:
    """The shortest ends of the paths that tell them apart; twice the same folder gets a number."""
    resolved = [folder.resolve() for folder in folders]
    names = [one.name for one in resolved]
    for depth in range(1, max(len(one.parts) for one in resolved) + 1):
        names = ["/".join(one.parts[-depth:]) for one in resolved]
        if len(set(names)) == len(set(resolved)):
            break
    return [
        f"{name} ({names[:at].count(name) + 1})" if names.count(name) > 1 else name
        for at, name in enumerate(names)
    ]


def _read(folder: Path, name: str) -> Compared:
    run = run_at(folder)
    config = flattened(json_at(folder / "config.json"))
    rows = rows_of(folder / "metrics.jsonl")
    series = _series(rows)
    missing = tuple(
        file
        for file, there in (
            ("config.json", config),
            ("metrics.jsonl", rows),
            ("timings.jsonl", rows_of(folder / "timings.jsonl")),
        )
        if not there
    )
    return Compared(run, name, config, series, seconds_of(run), _tokens(run, series), missing)


def _series(rows: Sequence[Mapping[str, Any]]) -> dict[str, Series]:
    points: dict[str, list[tuple[float, float]]] = {}
    for at, row in enumerate(rows, start=1):
        step = row.get("step", at)
        for key, value in row.items():
            if key != "step" and _is_number(value) and _is_number(step):
                points.setdefault(key, []).append((float(step), float(value)))
    return {
        key: Series(tuple(step for step, _ in found), tuple(value for _, value in found))
        for key, found in points.items()
    }


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _tokens(run: SeenRun, series: Mapping[str, Series]) -> float | None:
    """Tokens trained on: the last count that was logged, or what the artefact says."""
    if "tokens" in series:
        return series["tokens"].last
    found = next((run.facts[key] for key in _TOKENS if _is_number(run.facts.get(key))), None)
    return None if found is None else float(found)


def _rows(runs: Sequence[Compared], all_keys: bool) -> Iterator[tuple[str, list[Any]]]:
    keys = list(dict.fromkeys(key for one in runs for key in one.config))
    for key in keys:
        if all_keys or _differs(runs, key):
            yield key, [one.config.get(key, ABSENT) for one in runs]


def _differs(runs: Sequence[Compared], key: str) -> bool:
    """Whether two runs that have the key say different things, or one lacks what others of its stage have."""
    having = [one for one in runs if key in one.config]
    stages = {one.run.stage for one in having}
    lacking = any(one.run.stage in stages for one in runs if key not in one.config)
    return lacking or any(one.config[key] != having[0].config[key] for one in having[1:])
