"""The paper's curation of prompts (sections 3.2 and A.2), as one pass over a stream.

The steps, and what each drops, stand in `outcomes.REASONS`; a candidate meets them in that order. Whether one is kept
depends on those before it alone, so importing A and then B is the same as importing both together. What has to be
known of earlier imports is what they kept: digests of texts and prefixes, and prompts per author.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path

from alignloop.data.curation.config import CurationConfig
from alignloop.data.curation.digest_table import DigestTable
from alignloop.data.curation.examine import Look, Row, Setup, row_of, scrubbed
from alignloop.data.curation.keys import author
from alignloop.data.curation.outcomes import Dropped, Found, Kept, Known, Outcome
from alignloop.data.curation.spans import Detector, Span
from alignloop.data.curation.workers import examined
from alignloop.data.incoming import Candidate, Place
from alignloop.errors import DataError
from alignloop.machine import cores

_CHUNK_ROWS = 512
_CHUNK_CHARACTERS = 1_000_000
_LINE_BITS = 40
_EARLIER = 0
"""The number beside a digest that another import kept."""


def curate(
    candidates: Iterable[Candidate],
    config: CurationConfig,
    known: Known | None = None,
    *,
    scratch: Path,
    workers: int | None = None,
    detector: Detector | None = None,
    progress: Callable[[int], object] | None = None,
) -> Iterator[Outcome]:
    """One outcome per candidate, in their order, as they are read.

    Args:
        known: what earlier imports kept; nothing without it.
        scratch: a folder for temporary files of about 50 bytes a prompt; they are deleted at the end.
        workers: processes for the work on single prompts, as many as there are cores without it; 1 does it all here.
            The outcomes are the same.
        detector: of personal data, instead of the config's.
        progress: called with the number of candidates that were looked at since it was called last.

    Raises:
        ConfigError, DataError, MissingExtraError: see `Examiner`; a process or the scratch folder failed.
    """
    try:
        scratch.mkdir(parents=True, exist_ok=True)
        folder = tempfile.TemporaryDirectory(prefix="curation-", dir=scratch)
    except OSError as error:
        raise DataError(
            f"{scratch}: cannot be written ({error.strerror}); give another folder"
        ) from None
    with folder as name:
        memory = _Memory(config, known or Known(), Path(name))
        setup = Setup(config, detector)
        chunks = _chunks(candidates, with_answers=config.pii_action == "scrub")
        with closing(memory), closing(examined(chunks, setup, workers or cores())) as looked_at:
            for chunk, looks in looked_at:
                if progress is not None:
                    progress(len(chunk))
                yield from memory.decide(chunk, looks)


def _chunks(
    candidates: Iterable[Candidate], *, with_answers: bool
) -> Iterator[tuple[list[Candidate], list[Row]]]:
    chunk: list[Candidate] = []
    rows: list[Row] = []
    characters = 0
    for candidate in candidates:
        row = row_of(candidate, with_answers=with_answers)
        chunk.append(candidate)
        rows.append(row)
        characters += len(row.text) + sum(map(len, row.answers))
        characters += sum(len(a) + len(b) for a, b in (*row.history, *row.examples))
        if len(chunk) >= _CHUNK_ROWS or characters >= _CHUNK_CHARACTERS:
            yield chunk, rows
            chunk, rows, characters = [], [], 0
    if chunk:
        yield chunk, rows


class _Memory:
    """What was kept so far, in this import and before."""

    def __init__(self, config: CurationConfig, known: Known, folder: Path) -> None:
        self._config = config
        self._counts = dict(known.counts)
        self._files: dict[str, int] = {}
        self._texts = DigestTable(folder / "texts")
        self._texts.add_known(known.text_digests, _EARLIER)
        self._prefixes = DigestTable(folder / "prefixes")
        if config.prefix_characters is not None:
            self._prefixes.add_known(known.prefix_digests, _EARLIER)

    def decide(self, chunk: list[Candidate], looks: list[Look]) -> list[Outcome]:
        """The outcome of each, one after the other; what is kept is known to those after it."""
        open_looks = [look for look in looks if look.reason is None]
        texts = _Batch(self._texts, [look.text_digest for look in open_looks])
        prefixes = _Batch(self._prefixes, [p for look in open_looks if (p := look.prefix_digest)])
        outcomes = [
            self._decide(candidate, look, texts, prefixes)
            for candidate, look in zip(chunk, looks, strict=True)
        ]
        texts.store()
        prefixes.store()
        return outcomes

    def close(self) -> None:
        """Let go of the scratch files, so that they can be deleted."""
        self._texts.close()
        self._prefixes.close()

    def _decide(self, candidate: Candidate, look: Look, texts: _Batch, prefixes: _Batch) -> Outcome:
        config = self._config
        if look.reason is not None:
            return Dropped(candidate, look.reason, look.detail)
        digest, prefix = look.text_digest, look.prefix_digest
        if (place := texts.value(digest)) is not None:
            return Dropped(candidate, "exact_duplicate", f"of {self._name(place)}", digest)
        if prefix is not None and (place := prefixes.value(prefix)) is not None:
            return Dropped(candidate, "common_prefix", f"with {self._name(place)}", prefix)
        counted_for = author(candidate.user, candidate.organization, config.cap_by)
        count = self._counts.get(counted_for, 0)
        if counted_for and config.cap is not None and count >= config.cap:
            return Dropped(candidate, "user_cap", f"{counted_for} has {count}")
        found = tuple(Found(part, Span(kind, start, end)) for part, kind, start, end in look.pii)
        is_scrubbed = False
        if found and look.side == "train":
            if config.pii_action == "drop":
                kinds = dict.fromkeys(one.span.kind for one in found)
                return Dropped(candidate, "pii", ", ".join(kinds))
            candidate, is_scrubbed = scrubbed(candidate, found), True
        place = self._number(candidate.place)
        texts.keep(digest, place)
        if prefix is not None:
            prefixes.keep(prefix, place)
        if counted_for:
            self._counts[counted_for] = count + 1
        return Kept(
            candidate,
            look.side,
            look.group,
            counted_for,
            look.language,
            look.tokens,
            digest,
            prefix,
            found,
            is_scrubbed,
        )

    def _number(self, place: Place) -> int:
        file = self._files.setdefault(place.file, len(self._files) + 1)
        return file << _LINE_BITS | place.line

    def _name(self, number: int) -> str:
        if number == _EARLIER:
            return "a prompt of an earlier import"
        file = list(self._files)[(number >> _LINE_BITS) - 1]
        return f"{file}, line {number & ((1 << _LINE_BITS) - 1)}"


class _Batch:
    """A table, and what one chunk adds to it: looked up at once before, stored at once after."""

    def __init__(self, table: DigestTable, digests: list[bytes]) -> None:
        self._table = table
        self._before = {
            digest: value
            for digest, value in zip(digests, table.find(digests), strict=True)
            if value is not None
        }
        self._new: dict[bytes, int] = {}

    def value(self, digest: bytes) -> int | None:
        value = self._before.get(digest)
        return self._new.get(digest) if value is None else value

    def keep(self, digest: bytes, value: int) -> None:
        self._new[digest] = value

    def store(self) -> None:
        self._table.add([*self._new], [*self._new.values()])
