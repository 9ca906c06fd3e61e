"""The pretraining text that a later stage mixes in: by SFT for the RL initialisation, by PPO-ptx into every update."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alignloop.data.batches import PackedText
from alignloop.errors import ConfigError
from alignloop.runs.run import Run


def read_pretraining_text(
    run: Run,
    text: Path | None,
    tokenizer: Any,
    *,
    needed_by: str,
    width_field: str,
    width: int,
    context: int,
    seed: int,
    side: str = "train",
) -> PackedText:
    """One side of a `pretraining-text` artefact, as blocks of `width` predicted tokens; an input of the run.

    Args:
        needed_by: the setting that, above 0, asks for the text.
        width_field: the setting that holds `width`.

    Raises:
        ConfigError: no text was given, or the blocks do not fit the context.
        DataError: the side is shorter than one block.
    """
    if text is None:
        raise ConfigError(
            f"{needed_by} > 0 needs a 'pretraining-text' artefact: give it with --text"
        )
    if width > context:
        raise ConfigError(f"{width_field} {width} is beyond the model's context of {context}")
    source = run.input("text", text, "pretraining-text").file(f"{side}.jsonl.gz")
    return PackedText.read(source, tokenizer, width, seed)
