"""What a study is: cells to work off, and what follows from their rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from alignloop.errors import ConfigError
from alignloop.pages import Table
from alignloop.workflow.studies.cells import Cell, Done
from alignloop.workflow.studies.claims import Judged
from alignloop.workflow.studies.foundation import BaseName, Foundation, Ground

if TYPE_CHECKING:
    from alignloop.workflow.report.plots import Captioned


@dataclass(frozen=True, slots=True)
class Bench:
    """What a study is planned with."""

    ground: Ground
    seeds: Sequence[int]
    quick: bool
    base: BaseName | None
    """The base that was asked for; None leaves it to the study."""

    @property
    def smoke(self) -> bool:
        """Whether everything has tiny counts, to show that it runs."""
        return self.ground.smoke

    def foundation(self, base: BaseName, seed: int) -> Foundation:
        """The foundation of one base and seed."""
        return self.ground.foundation(base, seed)


@dataclass(frozen=True, slots=True)
class Findings:
    """What the cells of a study say."""

    judged: Sequence[Judged]
    tables: Sequence[Table]
    """Every rate and mean in them with its interval and n."""
    figures: Sequence[Captioned]
    notes: Sequence[str] = field(default_factory=tuple)
    """Sentences for the page: who judged, what is not in the intervals."""


@dataclass(frozen=True, slots=True)
class Study:
    """One study. Everything that could be chosen after its result is fixed here: bases, grids, claims, margins."""

    name: str
    title: str
    question: str
    """A few sentences for the page: what is done, and what the paper says."""
    bases: Sequence[BaseName]
    """Of every seed. One of them: `--base` may put another in its place."""
    quick_bases: Sequence[BaseName]
    """With `--quick`."""
    needs: Sequence[str]
    """Stages of the foundation that every cell's base and seed need: made before the cells, their time told apart."""
    cells: Callable[[Bench, BaseName, int], Sequence[Cell]] = field(repr=False)
    """The cells of one base and one seed."""
    findings: Callable[[Sequence[Done]], Findings] = field(repr=False)
    """From all cells; pure, so that the page can be written again."""

    def bases_of(self, bench: Bench) -> Sequence[BaseName]:
        """The bases that this study runs on.

        Raises:
            ConfigError: one was asked for, and the study compares several.
        """
        usual = self.quick_bases if bench.quick else self.bases
        if bench.base is None:
            return usual
        if len(self.bases) > 1:
            raise ConfigError(
                f"'{self.name}' compares the bases {', '.join(self.bases)}; leave --base out"
            )
        return (bench.base,)

    def plan(self, bench: Bench) -> list[Cell]:
        """Every cell, seed after seed: what is there when it is stopped is whole seeds, as far as it came."""
        return [
            cell
            for seed in bench.seeds
            for base in self.bases_of(bench)
            for cell in self.cells(bench, base, seed)
        ]


def by_seed(cells: Sequence[Done]) -> dict[int, dict[str, Done]]:
    """Seed -> cell name -> cell, for studies of one base."""
    found: dict[int, dict[str, Done]] = {}
    for cell in cells:
        found.setdefault(cell.seed, {})[cell.name] = cell
    return found
