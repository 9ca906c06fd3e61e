"""The metrics once more for TensorBoard, beside metrics.jsonl, where its package is installed. Torch-free."""

# pyright: basic, reportAttributeAccessIssue=false
from __future__ import annotations

import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any


class EventLog:
    """Writes scalars to `tensorboard/` of one run; the file holds clock times, so nothing hashes or reads it back."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer: Any = None

    @classmethod
    def beside(cls, folder: Path) -> EventLog | None:
        """A log for the run in `folder`, or None where TensorBoard is not installed."""
        return cls(folder / "tensorboard") if find_spec("tensorboard") else None

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Add one step's scalars."""
        from tensorboard.compat.proto import event_pb2, summary_pb2
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        if self._writer is None:
            self._writer = EventFileWriter(str(self._folder))
        scalars = [
            summary_pb2.Summary.Value(tag=name, simple_value=value)
            for name, value in values.items()
        ]
        self._writer.add_event(
            event_pb2.Event(
                wall_time=time.time(), step=step, summary=summary_pb2.Summary(value=scalars)
            )
        )
        self._writer.flush()

    def close(self) -> None:
        """End the writer's thread."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
