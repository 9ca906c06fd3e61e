"""Settings of the simulated labelers' work."""

from __future__ import annotations

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
