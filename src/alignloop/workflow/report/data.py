"""What the report shows, what its models and judges are called, and how a number is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Interval = Mapping[str, float]
"""`mean`, `low`, `high` (95 %) and `n`."""

MODELS: Mapping[str, str] = {
    "base": "Base model",
    "sft": "SFT",
    "rl_init": "RL init",
    "sft_more": "SFT, trained longer",
    "best_of_n": "SFT, best of n",
    "ppo": "PPO",
    "ppo_ptx": "PPO-ptx",
}
"""Name in report.json -> name on the page, in the order of the page."""

JUDGES: Mapping[str, str] = {
    "heldout_labelers": "Held-out simulated labelers",
    "gold": "Gold utility",
    "outside_judge": "Outside judge",
}
"""The same for judges."""

NO_BREAK = "\u00a0"
MINUS = "\u2212"
DASH = "\u2013"
"""What stands where a figure is missing."""


@dataclass(frozen=True, slots=True)
class ReportData:
    """Everything that the report shows."""

    results: dict[str, Any]
    """The content of `report.json`. A key that is missing or null drops what would show it."""
    metrics: dict[str, list[dict[str, Any]]]
    """Run (`sft`, `rl_init`, `sft_more`, `reward`, `ppo`, `ppo_ptx`) -> the rows of its `metrics.jsonl`."""
    samples: list[dict[str, Any]]
    """Test prompts taken by a fixed rule, none of them by hand; the page shows the first few.

    Each has `prompt`, `constraints` (as the instruction puts them), `human`, `responses` (model -> `text`, `finished`,
    `gold` and, if known, `satisfied`: one truth value per constraint) and `gold_winner` (a model).
    """
    timings: dict[str, float]
    """Stage -> seconds; these stand on the page, not in `report.json`."""
    budget: dict[str, float] = field(default_factory=dict[str, float])
    """Stage -> seconds it may take on two cores; empty where nothing was promised."""
    chat_command: str = "alignloop chat demo/ppo_ptx --single-turn"
    """What the page says to type next."""


def without_nulls(value: Any) -> Any:
    """The same JSON value less every key whose value is null."""
    if isinstance(value, dict):
        return {key: without_nulls(inner) for key, inner in value.items() if inner is not None}
    return [without_nulls(inner) for inner in value] if isinstance(value, list) else value


def model_name(key: str) -> str:
    """A model's name on the page."""
    return MODELS.get(key, spaced(key))


def in_order(keys: Mapping[str, Any], order: Mapping[str, str] = MODELS) -> list[str]:
    """The keys that the page knows, in its order, then the others in theirs."""
    return [key for key in order if key in keys] + [key for key in keys if key not in order]


def spaced(key: str) -> str:
    """A key as words, the first with a capital: `follows_instruction` -> `Follows instruction`."""
    words = key.replace("_", " ").replace("-", " ").strip()
    return words[:1].upper() + words[1:]


def whole(value: float | None) -> str:
    """A count: `11,870`."""
    return DASH if value is None else f"{value:,.0f}".replace("-", MINUS)


def number(value: float | None, digits: int = 2, *, signed: bool = False) -> str:
    """A measured figure with a fixed number of digits; a rounded zero has no sign."""
    if value is None:
        return DASH
    text = f"{value:+.{digits}f}" if signed else f"{value:.{digits}f}"
    if float(text) == 0.0:
        text = text.lstrip("+-")
    return text.replace("-", MINUS)


def percent(share: float | None, digits: int = 1) -> str:
    """A share in [0, 1] as per cent: `71.3 %`."""
    return DASH if share is None else f"{number(100.0 * share, digits)}{NO_BREAK}%"


def between(interval: Interval, digits: int = 1) -> str:
    """The ends of a share's interval, in per cent and without the sign: `66.2 to 76.1`."""
    return (
        f"{number(100.0 * interval['low'], digits)} to {number(100.0 * interval['high'], digits)}"
    )


def unbroken(text: str) -> str:
    """The text with each per cent sign kept on the line of its number."""
    return text.replace(" %", f"{NO_BREAK}%")


def duration(seconds: float) -> str:
    """Seconds as one reads a clock: `4.2 s`, `3 min 25 s`, `1 h 02 min`."""
    if seconds < 9.95:
        return f"{seconds:.1f}{NO_BREAK}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes_left = divmod(minutes, 60)
    if hours:
        return f"{hours}{NO_BREAK}h {minutes_left:02d}{NO_BREAK}min"
    return f"{minutes}{NO_BREAK}min {rest:02d}{NO_BREAK}s" if minutes else f"{rest}{NO_BREAK}s"
