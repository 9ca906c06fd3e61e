"""One pass over a file: what is kept goes into a spool, what is not into lines for people, and all of it is counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from tqdm import tqdm

from alignloop.data.curation.config import CurationConfig
from alignloop.data.curation.curate import curate
from alignloop.data.curation.lengths import CountTokens
from alignloop.data.curation.outcomes import REASONS, Dropped, Kept, Known
from alignloop.data.incoming import Candidate, Rejected
from alignloop.data.split import SIDES
from alignloop.errors import DataError
from alignloop.progress import progress
from alignloop.store import prompts
from alignloop.store.curation import answers_of, stored
from alignloop.store.database import Store
from alignloop.store.prompts import NewPrompt
from alignloop.workflow.prompts import folder
from alignloop.workflow.prompts.asking import given_of
from alignloop.workflow.prompts.rows import (
    as_plain,
    dropped_line,
    rejected_line,
)
from alignloop.workflow.prompts.sources import Source
from alignloop.workflow.prompts.spool import Spool
from alignloop.workflow.prompts.tally import Tally

_TEXT_DIGEST, _PREFIX_DIGEST = 4, 5
"""Where `as_plain` has them."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a pass kept."""

    kept: Spool
    """Prompts, as `as_plain` writes them."""
    answers: Spool
    """(digest of a prompt's text, its answers): of rows that ask what another row has asked."""
    counts: dict[str, Any]
    """What the store notes with the import."""
    counted_for: Counter[str]
    """For whom the prompts count; empty where they are on their way into the store, which knows then."""

    def prompts(self) -> Iterator[NewPrompt]:
        """Those that were kept."""
        return (NewPrompt(*values) for values in self.kept)

    def text_digests(self) -> Iterator[bytes]:
        """What makes each of them the same as another."""
        return (values[_TEXT_DIGEST] for values in self.kept)

    def prefix_digests(self) -> Iterator[bytes]:
        """Of those that are long enough to have one."""
        digests = (values[_PREFIX_DIGEST] for values in self.kept)
        return (digest for digest in digests if digest is not None)


class Reading:
    """A pass, made once."""

    def __init__(
        self, source: Source, config: CurationConfig, count_tokens: CountTokens, workers: int | None
    ) -> None:
        self._source = source
        self._config = config
        self._workers = workers
        self._tally = Tally(count_tokens)
        self._rejected = 0
        self._first: Rejected | None = None
        self._dropped: Counter[str] = Counter()
        self._dropped_data: Counter[str] = Counter()
        self._sides: Counter[str] = Counter()
        self._scrubbed = 0
        self._counted_for: Counter[str] = Counter()

    def run(self, known: Known, scratch: Path, staging: folder.Staging | None) -> Found:
        """Look at every row.

        Args:
            known: what the project has.
            scratch: a folder, made if need be.
            staging: where the lines for people go; None where nothing is to be written.

        Raises:
            DataError: no row of the file can be read, or somebody writes to it.
        """
        before = self._source.state()
        scratch.mkdir(exist_ok=True)
        with ExitStack() as stack:
            kept = stack.enter_context(Spool(scratch / "kept"))
            answers = stack.enter_context(Spool(scratch / "answers"))
            bar = stack.enter_context(progress(self._source.rows(), self._source.name, "rows"))
            for outcome in curate(
                self._candidates(bar, staging),
                self._config,
                known,
                scratch=scratch,
                workers=self._workers,
            ):
                if isinstance(outcome, Dropped):
                    self._drop(outcome, answers, staging)
                else:
                    prompt = self._keep(outcome)
                    kept.add(as_plain(prompt))
                    if staging is None and prompt.counted_for:
                        self._counted_for[prompt.counted_for] += 1
        if self._source.state() != before:
            raise DataError(f"{self._source.name} was changed while it was read; import it again")
        return Found(kept, answers, self._counts(), self._counted_for)

    def _candidates(self, bar: tqdm[Any], staging: folder.Staging | None) -> Iterator[Candidate]:
        for one in self._source.opened:
            bar.update()
            if isinstance(one, Candidate):
                yield one
                continue
            self._rejected += 1
            self._first = self._first or one
            if staging is not None:
                line = rejected_line(one, self._source.shown(one.place.file))
                staging.write(folder.REJECTED, line)

    def _keep(self, kept: Kept) -> NewPrompt:
        prompt = stored(kept)
        self._sides[kept.split] += 1
        self._scrubbed += kept.scrubbed
        self._tally.add(prompt, [given_of(prompt.answers)] if prompt.answers else [])
        return prompt

    def _drop(self, dropped: Dropped, answers: Spool, staging: folder.Staging | None) -> None:
        self._dropped[dropped.reason] += 1
        if dropped.reason == "pii":
            self._dropped_data.update(dropped.detail.split(", "))
        # Scrubbing is done to what is kept: personal data in other answers was not looked for, so they stay out.
        is_clean = self._config.pii_action != "scrub"
        if dropped.reason == "exact_duplicate" and dropped.candidate.answers and is_clean:
            answers.add((dropped.digest, answers_of(dropped.candidate)))
        if staging is not None:
            line = dropped_line(dropped, self._source.shown(dropped.candidate.place.file))
            staging.write(f"{folder.DROPPED}/{dropped.reason}.jsonl", line)

    def _counts(self) -> dict[str, Any]:
        kept, dropped = self._sides.total(), self._dropped.total()
        if self._first is not None and not kept and not dropped:
            place, reason = self._first.place, self._first.reason
            raise DataError(
                f"{self._source.name}: none of its {self._rejected} rows can be read as "
                f"'{self._source.opened.shape}' (number {place.line}: {reason}); try another --shape"
            )
        return {
            "read": kept + dropped + self._rejected,
            "kept": kept,
            "rejected": self._rejected,
            "dropped": {reason: self._dropped[reason] for reason in REASONS},
            "splits": {side: self._sides[side] for side in SIDES},
            "scrubbed": self._scrubbed,
            "dropped_personal_data": dict(sorted(self._dropped_data.items())),
            **self._tally.sums(),
        }


@dataclass(slots=True)
class SoFar:
    """What is in the project, and, where nothing is written, what would be: for the next file to compare with."""

    store: Store | None
    last: int = 0
    """Id of the newest prompt when this was made."""
    found: list[Found] = field(default_factory=list[Found])
    counted_for: Counter[str] = field(default_factory=Counter[str])

    def __post_init__(self) -> None:
        if self.store is None:
            return
        with self.store.read() as connection:
            self.last = prompts.last_id(connection)
            self.counted_for.update(prompts.prompts_counted_for(connection, up_to=self.last))

    def add(self, found: Found) -> None:
        """What one more file would bring."""
        self.found.append(found)
        self.counted_for.update(found.counted_for)

    def known(self) -> Known:
        """For the curation; its digests are read when they are asked for."""
        return Known(
            chain(self._each(prompts.text_digests), *(one.text_digests() for one in self.found)),
            chain(
                self._each(prompts.prefix_digests), *(one.prefix_digests() for one in self.found)
            ),
            self.counted_for,
        )

    def _each(self, query: Callable[..., Iterator[bytes]]) -> Iterator[bytes]:
        if self.store is not None:
            with self.store.read() as connection:
                yield from query(connection, up_to=self.last)
