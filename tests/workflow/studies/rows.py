"""Rows as the cells of the studies of step 3 leave them, made up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alignloop.sampling.objective import best_of_k_kl
from alignloop.workflow.studies.cells import Done

PROMPTS = 6
SPREAD = (-0.02, -0.01, 0.0, 0.0, 0.01, 0.02)
"""Around every mean, by prompt; the same for all policies, so that differences have no width."""


def row(policy: str, **means: float) -> dict[str, Any]:
    """One policy's measures by prompt, with these means."""
    given = {"kl": 1.0, "score": 0.0, "gold": 0.1, "win_rate": 0.5, "length": 30.0} | means
    return {"policy": policy} | {key: [mean + d for d in SPREAD] for key, mean in given.items()}


def best_of_row(n: int, **means: float) -> dict[str, Any]:
    """Best of n; its KL follows from n."""
    return row(f"best_of_{n}", **means) | {"kl": [best_of_k_kl(n)] * PROMPTS}


def cell(
    policy: str,
    *,
    seed: int = 1,
    base: str = "medium",
    setting: Mapping[str, Any] | None = None,
    **means: float,
) -> Done:
    """A finished cell of one policy."""
    return Done(policy, base, seed, setting or {}, [row(policy, **means)])  # type: ignore[arg-type]
