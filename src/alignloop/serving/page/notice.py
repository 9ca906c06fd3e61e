"""What the notice says of personal data, by the project's settings, and the version of it that people agree to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from alignloop.data.curation.config import CurationConfig
from alignloop.data.curation.spans import KINDS

WORDING = 2
"""Raised whenever the notice's words change, so that everybody is asked again."""
Action = Literal["drop", "scrub", "none"]


@dataclass(frozen=True, slots=True)
class Notice:
    """What is done with the personal data that is found in a message."""

    action: Action
    """`none`: nobody looks for any."""
    kinds: tuple[str, ...]
    """What is looked for, in the order of `KINDS`."""

    @classmethod
    def of(cls, config: CurationConfig) -> Notice:
        """What the notice has to say where prompts are curated so."""
        kinds = tuple(kind for kind in KINDS if kind in config.pii)
        return cls(config.pii_action if kinds else "none", kinds)

    @property
    def version(self) -> int:
        """Another one wherever the notice says something else."""
        bits = sum(1 << KINDS.index(kind) for kind in self.kinds)
        return (2 * WORDING + (self.action == "scrub")) << len(KINDS) | bits


UNSETTLED = Notice.of(CurationConfig())
"""Of a project that has no prompts yet."""
