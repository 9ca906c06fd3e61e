"""Files of prompts into a project: read, curated, stored one transaction per file, and told of.

Whether a process is killed at any moment, a file is in whole or not at all; the same files in the same order leave the
same project, in one command or in several.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from alignloop.data.curation.config import CurationConfig
from alignloop.data.curation.lengths import CountTokens, counter
from alignloop.data.incoming import Kind
from alignloop.progress import say
from alignloop.store import bulk, curation, given, prompts
from alignloop.store.database import Store
from alignloop.store.project import Project
from alignloop.store.prompts import NewPrompt
from alignloop.workflow.prompts import folder, settings
from alignloop.workflow.prompts.asking import given_of
from alignloop.workflow.prompts.reading import Found, Reading, SoFar
from alignloop.workflow.prompts.report import PAGE, write_report
from alignloop.workflow.prompts.sources import Source, sources
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
    """As the store keeps them with the import; after a dry run without `joined`, which only the store can tell."""
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
    asked_for = settings.given(wanted.config, wanted.overrides)
    found = _opened(wanted)
    with ExitStack() as stack:
        stack.enter_context(folder.alone(project.prompts))
        store = project.open()
        stack.callback(store.close)
        with store.read() as connection:
            config = settings.chosen(curation.settled(connection), asked_for)

        def finish() -> None:
            folder.finish_earlier(project.prompts, lambda sha256: bool(_earlier(store, sha256)))

        finish()
        stack.callback(finish)  # whatever stops this one, short of a kill
        into = _Into(store, project.prompts, config, counter(config.tokenizer), wanted.workers)
        done = [into.take(source, now) for source in found]
        return done, write_report(store, project.prompts / PAGE)


def try_prompts(project: Project, wanted: Wanted) -> list[Imported]:
    """What `import_prompts` would do, without writing anything of it."""
    asked_for = settings.given(wanted.config, wanted.overrides)
    found = _opened(wanted)
    with ExitStack() as stack:
        store = project.open(create=False) if project.is_begun else None
        before: CurationConfig | None = None
        if store is not None:
            stack.callback(store.close)
            with store.read() as connection:
                before = curation.settled(connection)
        config = settings.chosen(before, asked_for)
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="alignloop-")))
        count = counter(config.tokenizer)
        so_far = SoFar(store)
        done: dict[bytes, str] = {}
        results: list[Imported] = []
        for number, source in enumerate(found):
            sha256 = source.sha256()
            name = done.get(sha256) or (_earlier(store, sha256) if store else None)
            if name is not None:
                results.append(Imported(source.name, source.opened.shape, {}, name))
                continue
            reading = Reading(source, config, count, wanted.workers)
            would_be = reading.run(so_far.known(), scratch / f"{number}", None)
            so_far.add(would_be)
            done[sha256] = source.name
            results.append(Imported(source.name, source.opened.shape, would_be.counts))
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
        so_far = SoFar(self._store)
        with folder.Staging(self._folder, sha256) as staging:
            reading = Reading(source, self._config, self._count_tokens, self._workers)
            found = reading.run(so_far.known(), staging.scratch, staging)
            staging.seal()
            with bulk.large_write(self._store) as connection:
                curation.settle(connection, self._config)
                later = prompts.digests_after(connection, so_far.last)
                prompts.add_import(
                    connection,
                    now,
                    ACTOR,
                    file=source.name,
                    sha256=sha256,
                    shape=source.opened.shape,
                    new=_unless_overtaken(found.prompts(), later),
                    counts=found.counts,
                    then=lambda: self._join(connection, found),
                )
            bulk.shrink_log(self._store)
            staging.publish()
        return Imported(source.name, source.opened.shape, found.counts)

    def _join(self, connection: Connection, found: Found) -> None:
        """Put the answers of rows that asked the same to the prompts that stand, and count those that are new."""
        tally = Tally(self._count_tokens)
        for row, answers in given.join(connection, found.answers):
            tally.add_answers(row, given_of(answers))
        if joined := tally.sums():
            found.counts["joined"] = joined


class _Overtaken(Exception):
    """A labeler wrote the same prompt since the file was compared with the store."""


def _unless_overtaken(new: Iterator[NewPrompt], later: set[bytes]) -> Iterator[NewPrompt]:
    for prompt in new:
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
