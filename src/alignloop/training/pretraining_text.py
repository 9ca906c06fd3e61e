"""The pretraining text that a later stage mixes in: by SFT for the RL initialisation, by PPO-ptx into every update."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from alignloop.data.batches import PackedText
from alignloop.errors import ConfigError
from alignloop.runs.run import Run


def open_pretraining_text(
    run: Run,
    text: Path | None,
    tokenizer: Any,
    *,
    needed_by: str,
    width_field: str,
    width: int,
    context: int,
    seed: int,
) -> Callable[[str], PackedText]:
    """Open a `pretraining-text` artefact, an input of the run.

    Args:
        needed_by: the setting that, above 0, asks for the text.
        width_field: the setting that holds `width`.

    Returns:
        What reads a side, `train` for instance, as blocks of `width` predicted tokens; it raises a `DataError` where
        that is shorter than one block.

    Raises:
        ConfigError: no text was given, or the blocks do not fit the context.
    """
    if text is None:
        raise ConfigError(
            f"{needed_by} > 0 needs a 'pretraining-text' artefact: give it with --text"
        )
    if width > context:
        raise ConfigError(f"{width_field} {width} is beyond the model's context of {context}")
    source = run.input("text", text, "pretraining-text")
    return lambda side: PackedText.read(source.file(f"{side}.jsonl.gz"), tokenizer, width, seed)
