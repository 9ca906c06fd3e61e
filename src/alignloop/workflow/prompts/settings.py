"""The settings of curation that an import is given, and those that the project has already (`store.curation`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alignloop.config import load_config
from alignloop.data.curation.config import CurationConfig
from alignloop.errors import ConfigError


def given(path: Path | None, overrides: Sequence[str]) -> CurationConfig:
    """The settings that the user gives; a tokenizer's path is made one that holds wherever the next import is started.

    Raises:
        ConfigError: they cannot be used.
    """
    config = load_config(CurationConfig, path, overrides)
    if config.tokenizer is None:
        return config
    return config.model_copy(update={"tokenizer": str(Path(config.tokenizer).resolve())})


def chosen(before: CurationConfig | None, given: CurationConfig) -> CurationConfig:
    """The settings to import with: the project's where it has any, else those given.

    Raises:
        ConfigError: something is given that is not what the project was begun with.
    """
    if before is None:
        return given
    changed = [
        f"{name} ({_shown(getattr(before, name))} there, {_shown(getattr(given, name))} here)"
        for name in CurationConfig.model_fields
        if name in given.model_fields_set and getattr(before, name) != getattr(given, name)
    ]
    if changed:
        raise ConfigError(
            f"the project's first import settled how its prompts are curated, and this would change "
            f"{', '.join(changed)}; leave that out, or import everything into another project (--project)"
        )
    return before


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    return ", ".join(map(str, value)) or "empty" if isinstance(value, tuple) else str(value)
