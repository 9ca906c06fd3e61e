"""Gold: one fixed utility with the population's stakes, which were committed before any reinforcement learning.

It is what a win rate "by gold" means. No reward model sees it; the simulated labelers see the same criteria
with stakes of their own, and noise. `docs/judges.md` tells what it measures and what it cannot see. A change
of a criterion, a constant or a stake is a new GOLD_VERSION; figures of two versions are not compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from alignloop.data.records import Prompt
from alignloop.judges.criteria import CRITERIA
from alignloop.judges.lexicon import Lexicon
from alignloop.judges.taste import Taste

GOLD_VERSION = "gold-2"

POPULATION_STAKES: Mapping[str, float] = MappingProxyType(
    {
        "follows_instruction": 0.70,
        "reads_fluently": 0.97,
        "stays_on_subject": 0.60,
        "keeps_characters": 0.50,
        "keeps_voice": 0.30,
        "does_not_copy": 0.85,
        "does_not_repeat": 0.80,
        "is_gentle": 0.50,
        "ends_properly": 0.70,
        "has_substance": 0.85,
    }
)
"""Share of a text's worth that is lost where a criterion is 0."""

SAME = 1e-9
"""Two utilities that differ by no more are equal."""


@dataclass(frozen=True, slots=True)
class Gold:
    """The gold judge: no noise, no ties but true ones."""

    lexicon: Lexicon
    name: str = "gold"

    def utility(self, prompt: Prompt, text: str) -> float:
        """How good a text is, from nearly 0 to 1; an empty text has less than 0.0001."""
        return _TASTE.utility(prompt, text, self.lexicon)

    def prefer(self, prompt: Prompt, a: str, b: str) -> float:
        """1 where `a` is better, 0 where `b` is, 1/2 where they are equal."""
        margin = self.utility(prompt, a) - self.utility(prompt, b)
        return 0.5 if abs(margin) <= SAME else float(margin > 0)


_TASTE = Taste(CRITERIA, POPULATION_STAKES)
