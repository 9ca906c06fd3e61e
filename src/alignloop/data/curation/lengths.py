"""How long a text is in tokens: counted by a tokenizer, or estimated from its bytes."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from alignloop.errors import DataError, MissingExtraError

BYTES_PER_TOKEN = 4
"""What the estimate takes a token to be."""

CountTokens = Callable[[Sequence[str]], list[int]]
"""Texts in, their lengths in tokens out."""


def estimate(texts: Sequence[str]) -> list[int]:
    """UTF-8 bytes over `BYTES_PER_TOKEN`, rounded up."""
    return [-(-len(text.encode("utf-8", "surrogatepass")) // BYTES_PER_TOKEN) for text in texts]


def counter(tokenizer: str | None) -> CountTokens:
    """The way to count: by the `tokenizer.json` of that path, without special tokens, or the estimate.

    Raises:
        DataError: the file is not there, or is no tokenizer.
        MissingExtraError: `tokenizers` is not installed.
    """
    if tokenizer is None:
        return estimate
    try:
        library: Any = importlib.import_module("tokenizers")
    except ModuleNotFoundError:
        raise MissingExtraError(
            "counting tokens needs the package 'tokenizers', which is not installed; "
            "install the extra: pip install 'alignloop[train]', or leave `tokenizer` out for an estimate"
        ) from None
    path = Path(tokenizer)
    if not path.is_file():
        raise DataError(f"{path}: no such tokenizer; give the path of a tokenizer.json")
    try:
        loaded: Any = library.Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises plain Exception
        raise DataError(f"{path}: not a tokenizer.json ({error})") from None
    loaded.no_truncation()
    loaded.no_padding()

    def count(texts: Sequence[str]) -> list[int]:
        whole = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
        return [
            len(coded.ids) for coded in loaded.encode_batch_fast(whole, add_special_tokens=False)
        ]

    return count
