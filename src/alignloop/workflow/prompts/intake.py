"""Files of prompts into a project: read, curated, stored one transaction per file, and told of.

Whether a process is killed at any moment, a file is in whole or not at all; the same files in the same order leave the
same project, in one command or in several.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from tqdm import tqdm

from alignloop.data.curation.config import CurationConfig
from alignloop.data.curation.curate import curate
from alignloop.data.curation.lengths import CountTokens, counter
from alignloop.data.curation.outcomes import REASONS, Dropped, Kept, Known
from alignloop.data.incoming import Candidate, Kind, Rejected
from alignloop.data.split import SIDES
from alignloop.errors import DataError
from alignloop.progress import progress, say
from alignloop.store import bulk, prompts
from alignloop.store.database import Store
from alignloop.store.project import Project
from alignloop.store.prompts import NewPrompt
from alignloop.workflow.prompts import folder, settings
from alignloop.workflow.prompts.asking import Given
from alignloop.workflow.prompts.report import PAGE, write_report
from alignloop.workflow.prompts.rows import dropped_line, rejected_line, stored
from alignloop.workflow.prompts.sources import Source, sources
from alignloop.workflow.prompts.spool import Spool
from alignloop.workflow.prompts.tally import Tally

ACTOR = "command"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an import is asked to do."""

    files: Sequence[str]
    shape: str | None = None
    kind: Kind = "customer"
    config: Path | None = None
    overrides: Sequence[str] = ()
    workers: int | None = None
    """Processes; as many as there are cores without it."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of one file."""

    file: str
    shape: str
    counts: dict[str, Any]
    """As the store keeps them with the import."""
    earlier: str | None = None
    """The name under which the same bytes were imported before: then nothing was changed."""


def import_prompts(
    project: Project, wanted: Wanted, now: int
) -> tuple[list[Imported], dict[str, Any]]:
    """Import files one after the other, then write the report; files that are in already change nothing.

    Returns:
        What became of each file, and what `report.json` holds.

    Raises:
        DataError: a file cannot be read, or nothing in it; or another import is under way.
        ConfigError: other settings of curation than the project's.
    """
    given = settings.given(wanted.config, wanted.overrides)
    found = _opened(wanted)
    with ExitStack() as stack:
        stack.enter_context(folder.alone(project.prompts))
        store = project.open()
        stack.callback(store.close)
        with store.read() as connection:
            config = settings.chosen(settings.settled(connection), given)

        def finish() -> None:
            folder.finish_earlier(project.prompts, lambda sha256: bool(_earlier(store, sha256)))

        finish()
        stack.callback(finish)  # whatever stops this one, short of a kill
        into = _Into(store, project.prompts, config, counter(config.tokenizer), wanted.workers)
        done = [into.take(source, now) for source in found]
        return done, write_report(store, project.prompts / PAGE)


def try_prompts(project: Project, wanted: Wanted) -> list[Imported]:
    """What `import_prompts` would do, without writing anything of it."""
    given = settings.given(wanted.config, wanted.overrides)
    found = _opened(wanted)
    with ExitStack() as stack:
        store = project.open(create=False) if project.is_begun else None
        before: CurationConfig | None = None
        if store is not None:
            stack.callback(store.close)
            with store.read() as connection:
                before = settings.settled(connection)
        config = settings.chosen(before, given)
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="alignloop-")))
        count = counter(config.tokenizer)
        so_far = _SoFar(store)
        done: dict[bytes, str] = {}
        results: list[Imported] = []
        for number, source in enumerate(found):
            sha256 = source.sha256()
            name = done.get(sha256) or (_earlier(store, sha256) if store else None)
            if name is not None:
                results.append(Imported(source.name, source.opened.shape, {}, name))
                continue
            reading = _Reading(source, config, count, wanted.workers)
            spool = reading.run(so_far.known(), scratch / f"{number}", None)
            so_far.add(spool, reading.counted_for)
            done[sha256] = source.name
            results.append(Imported(source.name, source.opened.shape, reading.counts))
        return results


class _Into:
    """The project that files go into."""

    def __init__(
        self,
        store: Store,
        folder: Path,
        config: CurationConfig,
        count_tokens: CountTokens,
        workers: int | None,
    ) -> None:
        self._store = store
        self._folder = folder
        self._config = config
        self._count_tokens = count_tokens
        self._workers = workers

    def take(self, source: Source, now: int) -> Imported:
        """One file."""
        sha256 = source.sha256()
        earlier = _earlier(self._store, sha256)
        if earlier is not None:
            return Imported(source.name, source.opened.shape, {}, earlier)
        while True:
            try:
                return self._take(source, sha256, now)
            except _Overtaken:
                say(f"{source.name}: a labeler wrote one of its prompts meanwhile; once more")

    def _take(self, source: Source, sha256: bytes, now: int) -> Imported:
        so_far = _SoFar(self._store)
        with folder.Staging(self._folder, sha256) as staging:
            reading = _Reading(source, self._config, self._count_tokens, self._workers)
            spool = reading.run(so_far.known(), staging.scratch, staging)
            staging.seal()
            with bulk.large_write(self._store) as connection:
                settings.settle(connection, self._config)
                prompts.add_import(
                    connection,
                    now,
                    ACTOR,
                    file=source.name,
                    sha256=sha256,
                    shape=source.opened.shape,
                    new=_unless_overtaken(spool, prompts.digests_after(connection, so_far.last)),
                    counts=reading.counts,
                )
            bulk.shrink_log(self._store)
            staging.publish()
        return Imported(source.name, source.opened.shape, reading.counts)


class _Reading:
    """One pass over a file: what is kept goes into a spool, what is not into lines for people; all of it is counted."""

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
        self.counted_for: Counter[str] = Counter()
        """Where nothing is written, for the next file to compare with."""
        self.counts: dict[str, Any] = {}
        """Filled at the end."""

    def run(self, known: Known, scratch: Path, staging: folder.Staging | None) -> Spool:
        """Look at every row.

        Raises:
            DataError: no row of the file can be read, or somebody writes to it.
        """
        before = self._source.state()
        scratch.mkdir(exist_ok=True)
        with (
            Spool(scratch / "kept") as spool,
            progress(self._source.rows(), self._source.name, "rows") as bar,
        ):
            for outcome in curate(
                self._candidates(bar, staging),
                self._config,
                known,
                scratch=scratch,
                workers=self._workers,
            ):
                if isinstance(outcome, Dropped):
                    self._drop(outcome, staging)
                else:
                    prompt = self._keep(outcome)
                    spool.add(prompt)
                    if staging is None and prompt.counted_for:
                        self.counted_for[prompt.counted_for] += 1
        if self._source.state() != before:
            raise DataError(f"{self._source.name} was changed while it was read; import it again")
        self._finish()
        return spool

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
        self._tally.add(prompt, [Given(*answer) for answer in prompt.answers])
        return prompt

    def _drop(self, dropped: Dropped, staging: folder.Staging | None) -> None:
        self._dropped[dropped.reason] += 1
        if dropped.reason == "pii":
            self._dropped_data.update(dropped.detail.split(", "))
        if staging is not None:
            line = dropped_line(dropped, self._source.shown(dropped.candidate.place.file))
            staging.write(f"{folder.DROPPED}/{dropped.reason}.jsonl", line)

    def _finish(self) -> None:
        kept, dropped = self._sides.total(), self._dropped.total()
        if self._first is not None and not kept and not dropped:
            place, reason = self._first.place, self._first.reason
            raise DataError(
                f"{self._source.name}: none of its {self._rejected} rows can be read as "
                f"'{self._source.opened.shape}' (number {place.line}: {reason}); try another --shape"
            )
        self.counts |= {
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
class _SoFar:
    """What is in the project, and, where nothing is written, what would be: for the next file to compare with."""

    store: Store | None
    last: int = 0
    """Id of the newest prompt when this was made."""
    spools: list[Spool] = field(default_factory=list[Spool])
    counted_for: Counter[str] = field(default_factory=Counter[str])

    def __post_init__(self) -> None:
        if self.store is None:
            return
        with self.store.read() as connection:
            self.last = prompts.last_id(connection)
            self.counted_for.update(prompts.prompts_counted_for(connection, up_to=self.last))

    def add(self, spool: Spool, counted_for: Counter[str]) -> None:
        """What one more file would bring."""
        self.spools.append(spool)
        self.counted_for.update(counted_for)

    def known(self) -> Known:
        """For the curation; its digests are read when they are asked for."""
        return Known(
            chain(self._each(prompts.text_digests), *(one.text_digests() for one in self.spools)),
            chain(
                self._each(prompts.prefix_digests), *(one.prefix_digests() for one in self.spools)
            ),
            self.counted_for,
        )

    def _each(self, query: Callable[..., Iterator[bytes]]) -> Iterator[bytes]:
        if self.store is not None:
            with self.store.read() as connection:
                yield from query(connection, up_to=self.last)


class _Overtaken(Exception):
    """A labeler wrote the same prompt since the file was compared with the store."""


def _unless_overtaken(spool: Spool, later: set[bytes]) -> Iterator[NewPrompt]:
    for prompt in spool:
        if prompt.text_digest in later or prompt.prefix_digest in later:
            raise _Overtaken
        yield prompt


def _earlier(store: Store, sha256: bytes) -> str | None:
    """The name under which these bytes were imported."""
    with store.read() as connection:
        found = prompts.find_import(connection, sha256)
    return None if found is None else str(found.file)


def _opened(wanted: Wanted) -> list[Source]:
    """The files, and a line about each: what it is taken for, and what to do where that is wrong."""
    found = sources(wanted.files, shape=wanted.shape, kind=wanted.kind)
    for source in found:
        say(_told(source, wanted.shape))
    return found


def _told(source: Source, named: str | None) -> str:
    opened = source.opened
    if named is not None:
        return f"{source.name}: {opened.container}, read as '{opened.shape}', as you say"
    return (
        f"{source.name}: {opened.container}, read as '{opened.shape}' ({opened.why}); "
        "where that is wrong, name the shape: --shape NAME"
    )
