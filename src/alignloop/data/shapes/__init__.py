"""Readers that turn files people have into candidates and rejected rows: `read`. Torch-free.

A container (JSON Lines, CSV, Parquet, a folder) gives rows; a shape (plain, messages, a preference) reads a row.
"""

from __future__ import annotations

from alignloop.data.shapes.reading import SHAPES, Opened, detect, read

__all__ = ["SHAPES", "Opened", "detect", "read"]
