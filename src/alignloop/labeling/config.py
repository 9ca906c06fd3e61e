"""Settings of the simulated labelers' work, and of what is exported."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from alignloop.config import Config
from alignloop.judges.labelers import TIE_MARGIN


class LexiconConfig(Config):
    """Word statistics that judges read with."""

    max_texts: int | None = Field(default=None, gt=0)
    """Count no more than about so many of the train side's texts, spread over all of them; all where absent."""


class SimulationConfig(Config):
    """Rankings by simulated labelers; their tastes are code (`alignloop.judges.labelers`), not settings."""

    seed: int = 1
    """Assigns prompts to labelers."""
    noise: float = Field(default=0.66, ge=0)
    """Standard deviation of a labeler's noise per text, in nats of worth; set so that two agree on about 73 %."""
    tie_margin: float = Field(default=TIE_MARGIN, ge=0)
    """Largest difference of opinion, in nats of worth, that is still a tie."""
    shared_share: float = Field(default=0.15, ge=0, le=1)
    """Share of the training prompts that all five rank, so that agreement can be measured."""


LabelKind = Literal["demonstrations", "rankings", "ratings"]


class ExportConfig(Config):
    """Which labels leave the store."""

    kind: LabelKind
    """`demonstrations`, `rankings` (by prompt, with ties) or `ratings` (Likert and flags of every output)."""
    campaigns: tuple[str, ...] = ()
    """Names of the campaigns; every training campaign of that form where none is named."""
    per_task: Literal["all", "one"] = "all"
    """Where several labelers did a task: all of their labels, or one of them, drawn by `seed`."""
    seed: int = 1
    """Draws that one."""
    surplus: bool = True
    """Whether work that came after its slot was taken over counts too."""
