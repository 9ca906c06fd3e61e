"""From answers to figures with intervals, and to signed differences from a policy before: pure arithmetic."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alignloop.evaluation.tasks.task import Item, Metric, Output
from alignloop.judges.measure import (
    NOTHING,
    ONE_CLUSTER,
    Measure,
    bootstrap,
    numbered,
    summed,
    undefined,
)
from alignloop.judges.proportions import wilson

Floats = NDArray[np.float64]
NO_SPREAD = "every item says the same, which gives no interval"


@dataclass(frozen=True, slots=True)
class Scored:
    """One answered item and what it adds to each metric's sums."""

    item: Item
    output: Output
    columns: Mapping[str, Sequence[float] | None]


@dataclass(frozen=True, slots=True)
class Cell:
    """A metric of one policy on one task under one setting."""

    policy: str
    task: str
    setting: str
    metric: str
    kind: str
    """Empty for all items; else the kind of those counted."""
    measure: Measure
    chance: float | None
    """What guessing would get of the same items, where that is known."""

    @property
    def is_at_chance(self) -> bool:
        """Whether chance lies within the interval."""
        low, high = self.measure.low, self.measure.high
        return (
            self.chance is not None
            and low is not None
            and high is not None
            and low <= self.chance <= high
        )

    def as_json(self) -> dict[str, Any]:
        """For report.json."""
        found = {
            "policy": self.policy,
            "task": self.task,
            "setting": self.setting,
            "metric": self.metric,
            **({"kind": self.kind} if self.kind else {}),
            **measured(self.measure),
        }
        if self.chance is not None:
            found |= {"chance": self.chance, "at_chance": self.is_at_chance}
        return found


def measured(measure: Measure) -> dict[str, Any]:
    """A measure for report.json; a value without an interval is not told."""
    if measure.low is None or measure.high is None:
        return {"n": int(measure.cases), "clusters": measure.clusters, "reason": measure.reason}
    fields = asdict(measure)
    found = {key: fields[key] for key in ("value", "low", "high")}
    return {**found, "n": int(measure.cases), "clusters": measure.clusters}


def scored(
    items: Sequence[Item], outputs: Sequence[Output], metrics: Sequence[Metric]
) -> list[Scored]:
    """Every item with what it adds to every metric."""
    return [
        Scored(item, output, {metric.name: metric.columns(item, output) for metric in metrics})
        for item, output in zip(items, outputs, strict=True)
    ]


def figure(metric: Metric, rows: Sequence[Scored], *, seed: int, resamples: int) -> Measure:
    """A metric over items, with a 95 % bootstrap over their clusters.

    Where every item of a rate says 0, or every one 1, the bootstrap knows nothing of what it has not seen: the interval
    is then Wilson's, of as many independent cases as there are clusters.
    """
    counted = [row for row in rows if row.columns[metric.name] is not None]
    if not counted:
        return undefined(NOTHING)
    table, clusters = _table(metric, counted, [row.item.unit for row in counted])
    values, lows, highs = bootstrap(
        table, lambda sums: metric.figure(sums)[:, None], seed=seed, resamples=resamples
    )
    value, low, high = float(values[0]), float(lows[0]), float(highs[0])
    if math.isnan(value):
        return undefined(NOTHING, len(counted), clusters)
    if metric.is_rate and value in (0.0, 1.0):
        low, high = wilson(round(value) * clusters, clusters)
    elif clusters < 2:
        return Measure(value, None, None, len(counted), clusters, ONE_CLUSTER)
    elif low == high:
        return Measure(value, None, None, len(counted), clusters, NO_SPREAD)
    return Measure(value, low, high, len(counted), clusters)


def cells(
    policy: str,
    task: str,
    setting: str,
    metrics: Sequence[Metric],
    rows: Sequence[Scored],
    *,
    seed: int,
    resamples: int,
    by_kind: bool,
) -> list[Cell]:
    """Every metric over all items, and over those of each kind where the task is split so."""
    kinds = sorted({row.item.kind for row in rows}) if by_kind else []
    found: list[Cell] = []
    for metric in metrics:
        for kind in ["", *kinds]:
            some = [row for row in rows if not kind or row.item.kind == kind]
            counted = [row.item for row in some if row.columns[metric.name] is not None]
            if not counted and kind:
                continue
            chance = None
            if metric.chance is not None and counted:
                chance = math.fsum(map(metric.chance, counted)) / len(counted)
            measure = figure(metric, some, seed=seed, resamples=resamples)
            found.append(Cell(policy, task, setting, metric.name, kind, measure, chance))
    return found


def difference(
    metric: Metric,
    before: Sequence[Scored],
    after: Sequence[Scored],
    *,
    seed: int,
    resamples: int,
) -> Measure:
    """A metric after less the same before, with a 95 % bootstrap over the clusters of the items that both answered.

    A resample draws the same clusters on both sides, so what makes an item hard for both does not widen the interval.
    Where all items say the same on both sides, it is as wide as Wilson's interval of no change.

    Raises:
        ValueError: the two did not answer the same items.
    """
    if [row.item.id for row in before] != [row.item.id for row in after]:
        raise ValueError("a difference needs the same items on both sides")
    pairs = [
        pair
        for pair in zip(before, after, strict=True)
        if any(row.columns[metric.name] is not None for row in pair)
    ]
    if not pairs:
        return undefined(NOTHING)
    before, after = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    units = [row.item.unit for row in before]
    width = max(len(c) for row in (*before, *after) if (c := row.columns[metric.name]))
    first, clusters = _table(metric, before, units, width)
    second, _ = _table(metric, after, units, width)

    def statistic(sums: Floats) -> Floats:
        return (metric.figure(sums[:, width:]) - metric.figure(sums[:, :width]))[:, None]

    values, lows, highs = bootstrap(
        np.concatenate([first, second], axis=1), statistic, seed=seed, resamples=resamples
    )
    value, low, high = float(values[0]), float(lows[0]), float(highs[0])
    if math.isnan(value):
        return undefined(NOTHING, len(before), clusters)
    if clusters < 2:
        return Measure(value, None, None, len(before), clusters, ONE_CLUSTER)
    if low == high:
        if not metric.is_rate or value != 0:
            return Measure(value, None, None, len(before), clusters, NO_SPREAD)
        high = wilson(0, clusters)[1]
        low = -high
    return Measure(value, low, high, len(before), clusters)


def _table(
    metric: Metric, rows: Sequence[Scored], units: Sequence[str], width: int = 0
) -> tuple[Floats, int]:
    """[clusters, columns] of sums; an item that does not count adds nothing."""
    index, keys = numbered(units)
    columns = [row.columns[metric.name] for row in rows]
    width = width or max(len(one) for one in columns if one is not None)
    values = np.array([one or (0.0,) * width for one in columns], dtype=np.float64)
    shape = (len(keys), 1)
    zeros = np.zeros_like(index)
    table = [summed(index, zeros, values[:, number], shape) for number in range(width)]
    return np.concatenate(table, axis=1), len(keys)
