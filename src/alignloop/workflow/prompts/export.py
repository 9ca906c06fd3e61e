"""Prompts out of a project as the artefacts that trainers read, with a manifest of the rows that they came from."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TextIO

from alignloop import __version__
from alignloop.data.curation.config import CurationConfig
from alignloop.data.curation.lengths import counter
from alignloop.data.records import Ranking
from alignloop.errors import DataError
from alignloop.files import sha256_of, write_json
from alignloop.runs.artifact import Artifact
from alignloop.runs.run import Run
from alignloop.store import log
from alignloop.store.curation import settled
from alignloop.store.database import Store
from alignloop.store.project import open_project
from alignloop.workflow.prompts.config import PromptsExportConfig
from alignloop.workflow.prompts.records import FILES, Leaving

MANIFEST = "export.json"
_TRAINING = ("train", "rankings", "rl")


def export_prompts(config: PromptsExportConfig, run: Run, *, project: Path) -> Artifact:
    """Write an artefact of `config.kind`, and note in the store that it left.

    Raises:
        DataError: there is nothing for the training side, or nothing for the validation side.
        StoreError: there is no project.
    """
    store = open_project(project).open(create=False)
    try:
        out = _Out(config)
        artifact = run.finish(config.kind, lambda folder: out.write(store, folder), out.facts)
        with store.write() as connection:
            log.note_export(
                connection,
                int(time.time() * 1000),
                "command",
                name=run.folder.name,
                query=out.manifest["query"],
                counts=out.manifest["counts"],
                rows_sha256=out.manifest["rows_sha256"],
                files_sha256={"artifact.json": artifact.sha256},
                code_version=__version__,
            )
        return artifact
    finally:
        store.close()


class _Out:
    """The files of an export, written record by record: a million of them are never in memory at once."""

    def __init__(self, config: PromptsExportConfig) -> None:
        self._config = config
        self.manifest: dict[str, Any] = {}
        self.facts: dict[str, Any] = {}
        """Both filled by `write`."""

    def write(self, store: Store, folder: Path) -> None:
        """Into an empty folder.

        Raises:
            DataError: a side that is needed would be empty.
        """
        names = FILES[self._config.kind]
        counts: Counter[str] = Counter()
        pairs: Counter[str] = Counter()
        rows = hashlib.sha256()
        with ExitStack() as stack, store.read() as connection:
            curation = settled(connection) or CurationConfig()
            leaving = Leaving(connection, self._config, counter(curation.tokenizer))
            files = {name: _opened(stack, folder / f"{name}.jsonl.gz") for name in names}
            for name, row_id, record in leaving:
                line = record.model_dump(mode="json", exclude_defaults=True)
                files[name].write(json.dumps(line, ensure_ascii=False) + "\n")
                rows.update(f"{'' if not counts else ','}{row_id}".encode())
                counts[name] += 1
                if isinstance(record, Ranking):
                    every = len(record.ranks) * (len(record.ranks) - 1) // 2
                    pairs["comparisons"] += len(record.pairs())
                    pairs["ties"] += every - len(record.pairs())
        self._refuse_empty(counts)
        by_file = {name: counts[name] for name in names}
        self.facts |= {"rows": by_file, **pairs}
        if leaving.left_out:
            self.facts["left_out"] = dict(sorted(leaving.left_out.items()))
        self.manifest |= {
            "query": self._config.model_dump(mode="json"),
            "counts": by_file,
            "rows_sha256": rows.hexdigest(),
            "code_version": __version__,
        }
        hashes = {f"{name}.jsonl.gz": sha256_of(folder / f"{name}.jsonl.gz") for name in names}
        write_json(folder / MANIFEST, {**self.manifest, "files": hashes})

    def _refuse_empty(self, counts: Counter[str]) -> None:
        kind = self._config.kind
        if not any(counts[name] for name in _TRAINING):
            raise DataError(
                f"the project has no {kind} on the training side to export; import some with `alignloop prompts import`"
            )
        if not counts["valid"]:
            raise DataError(
                f"the project has no {kind} on the validation side, which every trainer needs; import prompts of more "
                "users, or begin a project with a larger share (`alignloop prompts import --set valid=...`)"
            )


def _opened(stack: ExitStack, path: Path) -> TextIO:
    """A gzipped text file without a time stamp or a name in it: the same lines give the same bytes."""
    below = stack.enter_context(path.open("wb"))
    packed = stack.enter_context(gzip.GzipFile("", "wb", 6, below, mtime=0))
    return stack.enter_context(io.TextIOWrapper(packed, encoding="utf-8", newline="\n"))
