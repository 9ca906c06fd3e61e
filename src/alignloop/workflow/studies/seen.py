"""What the cells of a study of policies measured, by seed and policy: effects of it, and the table and curves of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from alignloop.pages import Table
from alignloop.workflow.report.data import number
from alignloop.workflow.studies.cells import Done
from alignloop.workflow.studies.claims import Effect, mean_of
from alignloop.workflow.studies.effects import Statistic, effect_of, weighted_sum
from alignloop.workflow.studies.wording import of_seeds, share

WHO_JUDGED = (
    "Answers to validation prompts, all drawn at temperature 1; the mean over a prompt's answers is one figure. "
    "The win rate is gold's, a fixed formula in the place of people, against the SFT baseline, every answer "
    "against every answer to the same prompt; ties count one half. The rankings that rewards were learned from "
    "are by simulated labelers."
)
MEASURES = {
    "win_rate": "Gold win rate against SFT",
    "gold": "Gold utility",
    "score": "Reward-model score",
    "kl": "KL to the start, nats per answer",
    "length": "Tokens",
    "pretrain_loss": "Pretraining loss, nats per token",
}
"""Measure -> its column."""
_DIGITS = {"gold": 4, "score": 3, "kl": 2, "length": 1}


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its 95 % interval: over seeds, or over the prompts of the only seed."""

    mean: float
    low: float
    high: float

    def as_row(self) -> dict[str, float]:
        """As plots take it."""
        return {"mean": self.mean, "low": self.low, "high": self.high}


@dataclass(frozen=True, slots=True)
class Seen:
    """Rows by seed and policy; every seed has the same policies."""

    rows: Mapping[int, Mapping[str, Mapping[str, Any]]]

    @classmethod
    def of(
        cls, done: Sequence[Done], name: Callable[[Done, Mapping[str, Any]], str] | None = None
    ) -> Seen:
        """The rows of all cells, each by its `policy`, or by what `name` calls it."""
        found: dict[int, dict[str, Mapping[str, Any]]] = {}
        for cell in done:
            for row in cell.rows:
                called = row["policy"] if name is None else name(cell, row)
                found.setdefault(cell.seed, {})[called] = row
        return cls(found)

    @property
    def seeds(self) -> list[int]:
        """In the order of the cells."""
        return list(self.rows)

    def column(self, seed: int, policy: str, measure: str) -> Sequence[float]:
        """A number per prompt."""
        return self.rows[seed][policy][measure]

    def mean(self, seed: int, policy: str, measure: str) -> float:
        """Over the prompts."""
        values = self.column(seed, policy, measure)
        return sum(values) / len(values)

    def average(self, policy: str, measure: str) -> float:
        """The mean over seeds."""
        return sum(self.mean(seed, policy, measure) for seed in self.rows) / len(self.rows)

    def effects(
        self, columns: Sequence[tuple[str, str]], statistic: Statistic, units: str = "prompts"
    ) -> list[Effect]:
        """A statistic of the means of (policy, measure) columns, in every seed."""
        return [
            Effect.of(
                seed,
                effect_of([self.column(seed, *one) for one in columns], statistic, seed=seed),
                units,
            )
            for seed in self.rows
        ]

    def weighted(
        self, columns: Sequence[tuple[str, str]], weights: Sequence[float], units: str = "prompts"
    ) -> list[Effect]:
        """A weighted sum of the means of (policy, measure) columns, in every seed."""
        return self.effects(columns, weighted_sum(weights), units)

    def less(self, measure: str, policy: str, other: str, units: str = "prompts") -> list[Effect]:
        """One policy's measure less another's, in every seed."""
        return self.weighted([(policy, measure), (other, measure)], (1, -1), units)

    def interval(self, policy: str, measure: str) -> Interval:
        """The mean over seeds; with one seed, over its prompts."""
        return over_seeds(self.weighted([(policy, measure)], (1,)))

    def table(
        self,
        title: str,
        policies: Mapping[str, str],
        measures: Sequence[str] = ("win_rate", "score", "kl", "length"),
    ) -> Table:
        """Every measure of every policy with its interval.

        Args:
            policies: name -> what the row is called.
        """
        rows: list[list[str]] = []
        for policy, label in policies.items():
            first = self.rows[self.seeds[0]][policy]
            cells = [
                written(self.interval(policy, measure), measure) if measure in first else "-"
                for measure in measures
            ]
            rows.append([label, *cells, self.count(policy, measures)])
        columns = ["Policy", *(MEASURES[measure] for measure in measures), "n"]
        return Table(title, columns, rows)

    def count(self, policy: str, measures: Sequence[str]) -> str:
        """`3 seeds, 211 to 215 prompts each`."""
        measure = next(one for one in measures if one in self.rows[self.seeds[0]][policy])
        counts = [len(self.column(seed, policy, measure)) for seed in self.seeds]
        return of_seeds(counts, "prompts")


def over_seeds(effects: Sequence[Effect]) -> Interval:
    """Mean and t interval over seeds; of one seed its own interval over prompts."""
    return Interval(*mean_of(effects))


def written(interval: Interval, measure: str) -> str:
    """A figure as the tables have it."""
    ends = interval.mean, interval.low, interval.high
    if measure == "win_rate":
        return share(*ends)
    mean, low, high = (number(value, _DIGITS.get(measure, 3)) for value in ends)
    return f"{mean} ({low} to {high})"
