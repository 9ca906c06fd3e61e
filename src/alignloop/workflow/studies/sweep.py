"""What studies that vary one setting share: which values, and that nobody else sets it."""

from __future__ import annotations

from collections.abc import Sequence

from alignloop.errors import ConfigError


def refuse_varied(key: str, overrides: Sequence[str]) -> None:
    """The varied setting is not the user's to override.

    Raises:
        ConfigError: one of the overrides sets it.
    """
    if any(override.partition("=")[0].strip() == key for override in overrides):
        raise ConfigError(f"{key} is what the study varies; leave it out of --set")


def geometric(middle: float, factor: float, count: int) -> list[float]:
    """`count` values, each `factor` times the one before, around `middle`; to three digits."""
    return [
        float(f"{middle * factor ** (number - (count - 1) / 2):.3g}") for number in range(count)
    ]
