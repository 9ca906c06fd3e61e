"""A file or folder in any of the known shapes, as a stream of candidates and rejected rows. Torch-free."""

from __future__ import annotations

import difflib
import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from alignloop.data.incoming import KINDS, Candidate, Kind, Rejected
from alignloop.data.shapes.api_log import API_LOG
from alignloop.data.shapes.chats import MESSAGES, SHAREGPT
from alignloop.data.shapes.containers import Container, open_file
from alignloop.data.shapes.folders import open_folder
from alignloop.data.shapes.lists import RANKED
from alignloop.data.shapes.oasst import OASST_TREE
from alignloop.data.shapes.own import RECORDS
from alignloop.data.shapes.pairs import HH, TRL_COMPLETION, TRL_PREFERENCE
from alignloop.data.shapes.plain import PLAIN
from alignloop.data.shapes.rows import Row, Rows, Shape, Unreadable, flaw, rejected
from alignloop.data.shapes.summaries import SUMMARIZE_FEEDBACK
from alignloop.errors import DataError

SHAPES: dict[str, Shape] = {
    shape.name: shape
    for shape in (
        *(SUMMARIZE_FEEDBACK, OASST_TREE, RECORDS, HH, TRL_PREFERENCE, RANKED, API_LOG),
        *(TRL_COMPLETION, SHAREGPT, MESSAGES, PLAIN),
    )
}
"""Name -> shape, in the order in which a row is tried: the more a shape asks for, the earlier it comes."""
SAMPLE = 50
"""Rows that are looked at to tell the shape."""
_FILES_LOOKED_AT = 8


@dataclass(frozen=True, slots=True)
class Opened:
    """A file whose shape is known. Each iteration reads it from the start.

    What goes wrong in a row comes as `Rejected`; a DataError comes while iterating only from a gzipped JSON array that
    turns out too large, where the shape was named and so nothing was looked at.
    """

    shape: str
    """Name in `SHAPES`."""
    why: str
    """What was seen that tells the shape, in one line."""
    container: str
    """What kind of file or folder it is, in a few words."""
    files: tuple[str, ...]
    """Names of the files that are read, in order."""
    kind: Kind
    """Of prompts that do not say their own."""
    _containers: tuple[Container, ...]

    def __iter__(self) -> Iterator[Candidate | Rejected]:
        shape = SHAPES[self.shape]
        rows: Rows = itertools.chain.from_iterable(one.rows() for one in self._containers)
        if shape.gather is not None:
            rows = shape.gather(rows)
        for row in rows:
            if isinstance(row, Rejected):
                yield row
                continue
            try:
                found = shape.read(row.value, row.place, self.kind)
            except Unreadable as error:
                yield rejected(row, str(error))
                continue
            for one in found:
                problem = flaw(one) if isinstance(one, Candidate) else ""
                yield rejected(row, problem) if problem else one


def read(
    path: Path, *, shape: str | None = None, kind: Kind = "customer", split: str | None = None
) -> Opened:
    """Open a file or folder of prompts.

    Args:
        path: JSON Lines, a JSON array, CSV, TSV (each gzipped or not), Parquet, Arrow, a text of one prompt per line,
            or a folder: saved by `datasets`, or with files of these kinds in it.
        shape: Name of the shape; without it the first rows tell.
        kind: What a prompt is where its row does not say.
        split: Of a folder, this split alone.

    Raises:
        DataError: the file cannot be read at all, or its shape is unknown.
        ModuleNotFoundError: it needs pyarrow, which is not installed.
    """
    if kind not in KINDS:
        raise DataError(f"no kind '{kind}' of prompts; there are {', '.join(KINDS)}")
    if shape is not None and shape not in SHAPES:
        near = difflib.get_close_matches(shape, SHAPES, n=1, cutoff=0.4)
        advice = f"did you mean '{near[0]}'? There are " if near else "there are "
        raise DataError(f"no shape '{shape}'; {advice}{', '.join(SHAPES)}")
    if path.is_dir():
        label, containers = open_folder(path, split)
    elif split is not None:
        raise DataError(f"{path}: is one file; only a folder has splits")
    elif not path.exists():
        raise DataError(f"{path}: no such file or folder")
    else:
        containers = [open_file(path, str(path))]
        label = containers[0].name
    why = "named"
    if shape is None:
        shape, why = _shape_of(containers)
    return Opened(shape, why, label, tuple(one.file for one in containers), kind, tuple(containers))


def detect(values: Sequence[Any]) -> tuple[str, str]:
    """(name of the shape that most rows have, why); ('', '') where no row has any.

    A row counts for the first shape of `SHAPES` that it fits.
    """
    votes = Counter[str]()
    seen: dict[str, Counter[str]] = {}
    for value in values:
        for name, shape in SHAPES.items():
            if keys := shape.fits(value):
                votes[name] += 1
                seen.setdefault(name, Counter())[keys] += 1
                break
    if not votes:
        return "", ""
    best = max(SHAPES, key=lambda name: votes[name])
    keys = seen[best].most_common(1)[0][0]
    return best, f"{votes[best]} of the first {len(values)} rows have {keys}"


def _shape_of(containers: Sequence[Container]) -> tuple[str, str]:
    """The one shape of all files that are looked at: the first of each folder and split, as far as names tell."""
    folders: dict[str, Container] = {}
    for one in containers:
        folders.setdefault(str(Path(one.file).parent), one)
    looked_at = [*folders.values(), *(one for one in containers if one not in folders.values())]
    found: dict[str, tuple[str, str]] = {}
    reasons: list[str] = []
    for one in looked_at[:_FILES_LOOKED_AT]:
        rows = list(itertools.islice(one.rows(), SAMPLE))
        values = [row.value for row in rows if isinstance(row, Row)]
        name, why = detect(values)
        if name:
            found.setdefault(name, (one.file, why))
        else:
            reasons.append(f"{one.file}: {_why_not(rows, values)}")
    if len(found) > 1:
        files = "; ".join(f"{file} is {name}" for name, (file, _) in found.items())
        raise DataError(
            f"files of more than one shape: {files}; read them one by one, or name one shape"
        )
    if not found:
        raise DataError(f"{reasons[0]}; shapes are {', '.join(SHAPES)}")
    return next((name, why) for name, (_, why) in found.items())


def _why_not(rows: Sequence[Row | Rejected], values: Sequence[Any]) -> str:
    """Why the first rows tell no shape."""
    if not rows:
        return "there is nothing in it"
    if not values:
        first = cast(Rejected, rows[0])
        return f"none of the first {len(rows)} rows can be read (number {first.place.line}: {first.reason})"
    keys = Counter(
        str(key)[:40] for v in values if isinstance(v, dict) for key in cast(dict[Any, Any], v)
    )
    if not keys:
        return "its rows are neither objects nor texts"
    return f"no shape fits its rows; their keys are {', '.join(key for key, _ in keys.most_common(12))}"
