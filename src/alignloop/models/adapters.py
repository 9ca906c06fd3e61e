"""The setting that asks for LoRA adapters; `models.backbone` has what they are."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from alignloop.config import Config


class AdaptersConfig(Config):
    """Train small adapters instead of all weights."""

    kind: Literal["lora"] = "lora"
    """Low-rank updates of the trunk's linear layers."""
    rank: int = Field(default=16, gt=0)
    """Rank of each update."""
    alpha: float = Field(default=32.0, gt=0)
    """An update counts alpha / rank times."""
