"""CSV and TSV with a header, plain or gzipped. Cells may hold line ends; a row that is broken costs itself alone."""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from alignloop.data.incoming import Place, Rejected
from alignloop.data.shapes.lines import DAMAGED, ends_early, open_bytes, physical_lines
from alignloop.data.shapes.rows import MAX_ROW, Row, Rows, cut
from alignloop.errors import DataError

_OPEN = "a quotation mark opens a cell that is not closed"


class _Source:
    """Lines for `csv.reader`, with the ones of the row that it is reading kept, so that they can be gone back to."""

    def __init__(self, lines: Iterator[tuple[int, bytes, bool]]) -> None:
        self._lines = lines
        self._waiting: deque[tuple[int, bytes, bool]] = deque()
        self.taken: list[tuple[int, bytes, bool]] = []
        self.is_at_end = False
        self.damage: BaseException | None = None

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self._waiting:
            item = self._waiting.popleft()
        else:
            try:
                item = next(self._lines)
            except StopIteration:
                self.is_at_end = True
                raise
            except DAMAGED as error:
                self.damage = error
                self.is_at_end = True
                raise StopIteration from None
        self.taken.append(item)
        # What is not UTF-8 is found again in the row that holds it.
        return item[1].decode("utf-8", "surrogateescape")

    def go_back(self, keep: int) -> None:
        """Give back all lines of the row but the first `keep`."""
        self._waiting.extendleft(reversed(self.taken[keep:]))
        del self.taken[keep:]
        self.is_at_end = False


def table_rows(path: Path, file: str, delimiter: str) -> Rows:
    """Each row as an object of the header's names, in small letters with `_` for spaces.

    Raises:
        DataError: there is no header that can be read.
    """
    # Process-wide, and only ever raised: the module has no other way to allow a long cell.
    csv.field_size_limit(max(csv.field_size_limit(), MAX_ROW))
    with open_bytes(path) as stream:
        source = _Source(physical_lines(stream))
        header, delimiter = _header(source, file, delimiter)
        last = source.taken[-1][0] if header else 0
        reader = csv.reader(source, delimiter=delimiter)
        while header:
            source.taken = []
            is_broken, problem, cells = False, "", list[str]()
            try:
                cells = next(reader)
            except StopIteration:
                break
            except csv.Error as error:
                is_broken, problem = True, f"not a row of a table ({error})"
            if any(not is_whole for _, _, is_whole in source.taken):
                is_broken, problem = True, f"longer than {MAX_ROW:,} bytes"
            elif source.is_at_end:  # a whole row ends without asking for another line
                is_broken, problem = True, _OPEN
            elif cells and len(cells) != len(header):
                problem = f"{len(cells)} cells where the header has {len(header)}"
                if _is_row(source.taken[1:2], delimiter, len(header)):
                    is_broken, problem = True, _OPEN
            if is_broken and len(source.taken) > 1:
                # A quotation mark that stands alone swallows the rows after it: they are read by themselves.
                source.go_back(1)
                reader = csv.reader(source, delimiter=delimiter)
            first, last = source.taken[0][0], source.taken[-1][0]
            raw = b"".join(line for _, line, _ in source.taken)
            if problem:
                where = f" (lines {first} to {last})" if last > first else ""
                yield Rejected(Place(file, first), problem + where, cut(raw))
            elif cells:
                yield Row(Place(file, first), dict(zip(header, cells, strict=True)), raw)
        if source.damage is not None:
            yield ends_early(file, last, source.damage)


def _is_row(lines: list[tuple[int, bytes, bool]], delimiter: str, columns: int) -> bool:
    """Whether a line that a cell seems to go on in is a row of its own: then a quotation mark has swallowed it."""
    texts = [line.decode("utf-8", "surrogateescape") for _, line, _ in lines]
    try:
        return [len(cells) for cells in csv.reader(texts, delimiter=delimiter)] == [columns]
    except csv.Error:
        return False


def _header(source: _Source, file: str, delimiter: str) -> tuple[list[str], str]:
    """The names of the columns and what parts them; no names where the file is empty."""
    line = next(source, None)
    if line is None:
        if source.damage is not None:
            raise DataError(f"{file}: cannot be read ({source.damage})")
        return [], delimiter
    if delimiter == "," and "," not in line and ";" in line:
        delimiter = ";"  # what spreadsheets write where the comma is the decimal mark
    source.go_back(0)
    try:
        cells = next(csv.reader(source, delimiter=delimiter), list[str]())
    except csv.Error as error:
        raise DataError(f"{file}: the first line is no header of a table ({error})") from None
    if source.is_at_end:
        raise DataError(f"{file}: {_OPEN}, in the header")
    names = ["_".join(cell.lower().split()) for cell in cells]
    if not any(names) or len(set(names)) < len(names):
        raise DataError(
            f"{file}: the first line names the columns, each differently; here it is {line.strip()[:80]!r}"
        )
    return names, delimiter
