"""Progress bars with the time left, on the terminal only: never in logs, metrics or artefacts."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from tqdm import tqdm

T = TypeVar("T")


def progress(total: int | None, label: str, unit: str, done: int = 0) -> tqdm[Any]:
    """A bar for one long step, silent where standard error is no terminal (logs stay readable) and on ranks but 0."""
    return tqdm(
        total=total,
        initial=done,
        desc=label,
        unit=unit,
        dynamic_ncols=True,
        leave=False,
        smoothing=0.05,
        disable=not sys.stderr.isatty() or os.environ.get("RANK", "0") != "0",
    )


def say(message: str) -> None:
    """A line on standard error that leaves a bar there whole."""
    tqdm.write(message, file=sys.stderr)


def each(items: Sequence[T], label: str, unit: str) -> Iterator[T]:
    """The items one by one, with a bar that moves when the next is asked for."""
    with progress(len(items), label, unit) as bar:
        for item in items:
            yield item
            bar.update()
