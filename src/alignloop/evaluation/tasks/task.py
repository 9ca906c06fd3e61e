"""What a task is: items read from a file, ways to ask them, and metrics of what was answered."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Figure = Callable[[Floats], Floats]
"""Columns added up over items, [resamples, columns], to figures [resamples]; NaN where one is undefined."""


@dataclass(frozen=True, slots=True)
class Item:
    """One thing to ask."""

    id: str
    """Unique within the file."""
    query: str
    """The text after which the answer follows; empty where whole sentences are scored."""
    answer: str = ""
    """A right answer, where the item may serve as an example of a few-shot prompt."""
    choices: tuple[str, ...] = ()
    """Texts to score; none where the model writes."""
    cluster: str = ""
    """The unit that items share which are not independent (a passage, a template); the id where it is empty."""
    kind: str = ""
    """What the report splits by: a category, a data set."""
    about: Mapping[str, Any] = field(default_factory=dict)
    """What the metrics need: references, the right choice."""

    @property
    def unit(self) -> str:
        """The cluster, or the item itself."""
        return self.cluster or self.id


@dataclass(frozen=True, slots=True)
class Output:
    """What a policy made of one item: a text, or a log-probability for each choice."""

    text: str = ""
    log_probs: tuple[float, ...] = ()
    """Total log-probability of each choice, in nats, at temperature 1."""
    tokens: tuple[int, ...] = ()
    """Tokens of each choice; one number, as one log-probability, of a document."""
    toxicity: float | None = None
    """Of the text, where something scored it."""

    def chosen(self) -> int:
        """The choice with the highest mean log-probability per token; the first of equals.

        The paper prints "lowest" (Appendix D); its scores make sense with the highest alone [TASK-01].
        """
        means = [total / n for total, n in zip(self.log_probs, self.tokens, strict=True)]
        return max(range(len(means)), key=means.__getitem__)


Value = Callable[[Item, Output], float | None]
"""One number per item; None where the metric says nothing of it."""
Columns = Callable[[Item, Output], Sequence[float] | None]


def quotient(sums: Floats) -> Floats:
    """First column over the second: a mean, where they are values and ones."""
    above, below = sums[:, 0], sums[:, 1]
    return np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0)


@dataclass(frozen=True, slots=True)
class Metric:
    """A figure over items that can be made from sums, so that a bootstrap can draw clusters and make it anew."""

    name: str
    meaning: str
    """For the report, in a line."""
    columns: Columns
    """What an item adds to the sums; None where it is not counted."""
    figure: Figure = quotient
    is_rate: bool = False
    """Whether each item says a number from 0 to 1, and the figure is their mean."""
    better: Literal["higher", "lower", "neither"] = "higher"
    chance: Callable[[Item], float] | None = None
    """What guessing would get of an item, where that is known; its mean is marked in the report."""


def mean_of(
    name: str,
    meaning: str,
    value: Value,
    *,
    better: Literal["higher", "lower", "neither"] = "higher",
    chance: Callable[[Item], float] | None = None,
) -> Metric:
    """A metric that is the mean of one number from 0 to 1 per item."""

    def columns(item: Item, output: Output) -> Sequence[float] | None:
        found = value(item, output)
        return None if found is None else (found, 1.0)

    return Metric(name, meaning, columns, is_rate=True, better=better, chance=chance)


@dataclass(frozen=True, slots=True)
class Setting:
    """One way to ask all items of a task."""

    name: str
    instruction: str = ""
    """Stands before all else."""
    primer: tuple[str, ...] = ()
    """Examples that are always shown, the same for every item."""
    shots: int = 0
    """Examples from the file, in the query's own format."""


PLAIN = (Setting(""),)


@dataclass(frozen=True, slots=True)
class Task:
    """A public task."""

    name: str
    title: str
    read: Callable[[Path], list[Item]]
    metrics: tuple[Metric, ...]
    conditions: tuple[Setting, ...] = PLAIN
    """Instructions to ask under."""
    shots: tuple[int, ...] = (0,)
    """Numbers of examples, as in the paper; (0,) where the task has none."""
    separator: str = "\n\n"
    """Between instruction, examples and query."""
    longest: int = 32
    """Tokens of the longest answer."""
    whole: bool = False
    """Whether answers are taken whole, of several lines, and not cut at the first newline as in the paper."""
    in_sets: bool = False
    """Whether items of a cluster are compared with one another, so that `limit` draws whole clusters."""
    bundled: str | None = None
    """Path of the file that ships with the package, below its assets."""
    is_text: bool = False
    """Whether every item is a document, read in plain text whatever the format: its `query`, from beginning to end."""
    split_by: str = ""
    """What `Item.kind` is, where the report splits by it."""
    has_stories: bool = False
    """Whether the clusters are stories by name, some of which a `pretraining-text` artefact may have held out."""
    needs_scorer: bool = False
    """Whether answers are scored by something that the user gives: their toxicity."""
    notes: tuple[str, ...] = ()
    """What a reader of the figures has to know."""

    def settings(self, shots: Sequence[int] | None = None) -> list[Setting]:
        """Every way to ask.

        Args:
            shots: numbers of examples instead of the paper's; of a task without examples they change nothing.
        """
        numbers = self.shots if shots is None or self.shots == (0,) else tuple(shots)
        found: list[Setting] = []
        for condition in self.conditions:
            for number in numbers:
                parts = [condition.name, f"{number}-shot" if self.shots != (0,) else ""]
                name = ", ".join(filter(None, parts)) or "0-shot"
                found.append(Setting(name, condition.instruction, condition.primer, number))
        return found


def prompt_text(setting: Setting, examples: Sequence[Item], query: str, separator: str) -> str:
    """Instruction, primer, examples and query; whichever is empty is left out.

    An example is its query with its answer behind it, so that it looks just as the query will.
    """
    shown = [f"{item.query}{gap(item.query)}{item.answer}" for item in examples]
    parts = [setting.instruction, *setting.primer, *shown, query]
    return separator.join(part for part in parts if part)


def gap(query: str) -> str:
    """What stands between a query and its answer: a space, unless the query ends in white space or is empty."""
    return " " if query and not query[-1].isspace() else ""
