"""Exports that the app makes: files in a folder of their own below the project's, written once and noted in the store.

What leaves, and what never does, is decided in `export`; here it is written as JSON Lines, Parquet or a folder for
Hugging Face datasets. An evaluation leaves once it is closed, with the names of its models.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib
import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, Literal, cast

from sqlalchemy import Connection

from alignloop import __version__
from alignloop.data.records import Record
from alignloop.errors import AlignloopError, DataError, MissingExtraError
from alignloop.files import sha256_of, sync_folder
from alignloop.labeling.config import ExportConfig
from alignloop.labeling.export import MANIFEST, each_export
from alignloop.labeling.trl import dataset_card, dataset_rows
from alignloop.runs.artifact import SCHEMA
from alignloop.runs.card import model_card
from alignloop.store import campaigns, log, oversight, people, prompts, quality
from alignloop.store.campaigns import Campaign
from alignloop.store.database import Store
from alignloop.store.people import User
from alignloop.store.quality import Scope

ExportKind = Literal["demonstrations", "rankings", "pairs", "evaluation", "prompts"]
ExportFormat = Literal["jsonl", "parquet", "datasets"]
Split = Literal["train", "valid", "test", "all"]

FOLDER = "exports"
"""Below the project's folder."""
_ABANDONED_S = 24 * 3600
_PARQUET_ROWS = 5000


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to leave."""

    kind: ExportKind
    format: ExportFormat = "jsonl"
    campaign: str = ""
    """Name of a campaign; empty for all of them."""
    split: Split = "all"
    ties: bool = True
    """Of pairs and votes: those that are ties too. A ranking always says which of its outputs are tied."""
    surplus: bool = True
    seed: int = 1


def make_export(store: Store, folder: Path, wish: Wish, by: User, public_id: str, now: int) -> str:
    """Write an export and note it; returns what went wrong, or nothing.

    Args:
        folder: the project's.
        public_id: names the export and its folder, which is there whole or not at all.
        now: for the note, in milliseconds since 1970.
    """
    root = folder / FOLDER
    aside = root / f".{public_id}"
    try:
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        _clear_abandoned(root)
        aside.mkdir(mode=0o700)
        with store.read() as connection:
            written = _write(connection, wish, aside)
        sync_folder(aside)
        aside.rename(root / public_id)
        with store.write() as connection:
            log.note_export(
                connection,
                now,
                by.public_id,
                name=wish.campaign or wish.kind,
                query=asdict(wish),
                counts=written.counts,
                rows_sha256=written.rows_sha256,
                files_sha256={
                    path.name: sha256_of(path) for path in sorted((root / public_id).iterdir())
                },
                code_version=__version__,
                by=by,
                public_id=public_id,
            )
    except AlignloopError as error:
        shutil.rmtree(aside, ignore_errors=True)
        return str(error)
    except OSError as error:
        shutil.rmtree(aside, ignore_errors=True)
        return f"{root}: cannot be written ({error.strerror or error}); free some space, or look at its owner"
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    return ""


def file_of(folder: Path, export: Any, name: str) -> Path | None:
    """A file of a noted export, by a name that its note lists; None where there is none.

    Args:
        folder: the project's.
        export: the export's row.
    """
    if name not in export.files_sha256:
        return None
    root = (folder / FOLDER).resolve()
    path = (root / export.public_id / name).resolve()
    return path if path.is_relative_to(root) and path.is_file() else None


# --- inside -----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Written:
    """What was written so far."""

    counts: dict[str, int] = field(default_factory=dict[str, int])
    ids: dict[int, None] = field(default_factory=dict[int, None])
    """Of the rows that it came from, in order."""

    @property
    def rows_sha256(self) -> str:
        return hashlib.sha256(",".join(map(str, self.ids)).encode()).hexdigest()


_Row = tuple[str, int, Record | dict[str, Any]]
"""Side of the split, id of the row that it came from, and the record or the columns."""


def _write(connection: Connection, wish: Wish, folder: Path) -> _Written:
    written = _Written()
    rows = _chosen(wish, _rows(connection, wish))
    writers = {"jsonl": _write_jsonl, "datasets": _write_dataset, "parquet": _write_parquet}
    writers[wish.format](folder, wish, rows, written)
    if not written.ids:
        where = f"'{wish.campaign}'" if wish.campaign else "any campaign"
        side = "" if wish.split == "all" else f" on the {wish.split} side"
        raise DataError(f"there are no {wish.kind} in {where}{side} yet: nothing to export")
    manifest = {
        "query": asdict(wish),
        "counts": written.counts,
        "rows": list(written.ids),
        "rows_sha256": written.rows_sha256,
        "code_version": __version__,
        "files": {path.name: sha256_of(path) for path in sorted(folder.iterdir())},
    }
    with _new(folder / MANIFEST) as file:
        file.write(_json(manifest, indent=2))
    _make_artifact(folder, wish, written)
    return written


def _rows(connection: Connection, wish: Wish) -> Iterator[_Row]:
    match wish.kind:
        case "prompts":
            for row in prompts.each_prompt(connection):
                if not prompts.is_withheld(row):
                    yield row.split, row.id, prompts.prompt_record(row)
        case "evaluation":
            yield from _votes(connection, wish)
        case _:
            config = ExportConfig(
                kind="demonstrations" if wish.kind == "demonstrations" else "rankings",
                campaigns=(wish.campaign,) if wish.campaign else (),
                seed=wish.seed,
                surplus=wish.surplus,
            )
            for one in each_export(connection, config):
                yield one.split, one.submission_id, one.record


def _votes(connection: Connection, wish: Wish) -> Iterator[_Row]:
    """Votes of closed evaluations, with who wrote what."""
    for campaign in _closed_evaluations(connection, wish):
        names = dict(oversight.policies_of(connection, campaign))
        wrote = oversight.authors_of_items(connection, campaign)
        people_by_id = {user.id: user for user in people.all_users(connection, "labeler")}
        texts: dict[int, Mapping[int, str]] = {}
        scope = Scope(purposes=("evaluation",), campaign_id=campaign.id)
        asked = {row.id: row for row in prompts.each_prompt(connection, splits=["test"])}
        for vote in quality.each_vote(connection, scope):
            if vote.verdict in ("tie", "both_bad") and not wish.ties:
                continue
            if vote.task_id not in texts:
                texts[vote.task_id] = campaigns.items_of(connection, vote.task_id)
            prompt = prompts.prompt_record(asked[vote.prompt_id])
            yield (
                "test",
                vote.submission_id,
                {
                    "campaign": campaign.name,
                    "prompt": prompt.model_dump(mode="json", exclude_defaults=True),
                    "answers": [texts[vote.task_id][item] for item in (1, 2)],
                    "models": [names[wrote[vote.task_id, item]] for item in (1, 2)],
                    "verdict": vote.verdict,
                    "margin": vote.margin,
                    "left": vote.left_item,
                    "names_itself": vote.names_itself,
                    "labeler": people_by_id[vote.user_id].name,
                    "cohort": vote.cohort,
                    "seconds": vote.active_ms / 1000,
                },
            )


def _closed_evaluations(connection: Connection, wish: Wish) -> list[Campaign]:
    if wish.campaign:
        campaign = campaigns.get_campaign(connection, name=wish.campaign)
        if campaign.is_blind:
            raise DataError(
                f"'{campaign.name}' is not closed: which model wrote what leaves when it is"
            )
        found = [campaign]
    else:
        found = campaigns.all_campaigns(connection, state="closed")[::-1]
    return [
        one
        for one in found
        if one.purpose == "evaluation" and one.form == "compare" and not one.is_blind
    ]


def _chosen(wish: Wish, rows: Iterable[_Row]) -> Iterator[_Row]:
    return (row for row in rows if wish.split in ("all", row[0]))


def _columns(
    wish: Wish, rows: Iterable[_Row], written: _Written
) -> Iterator[tuple[str, dict[str, Any]]]:
    """(side, columns), counted on the way."""
    for side, source, record in rows:
        found: Iterable[dict[str, Any]] = (
            [record]
            if isinstance(record, dict)
            else dataset_rows([record], ties=wish.ties and wish.kind == "pairs")
        )
        for columns in found:
            if "ranking" in columns:
                columns["ranking"] = source  # pairs of one ranking are kept together by it
            written.ids.setdefault(source)
            written.counts[side] = written.counts.get(side, 0) + 1
            yield side, columns


def _write_jsonl(folder: Path, wish: Wish, rows: Iterable[_Row], written: _Written) -> None:
    """`train.jsonl.gz` and so on: records as trainers read them; pairs and votes in columns."""
    with ExitStack() as stack:
        files: dict[str, IO[str]] = {}

        def put(side: str, text: str) -> None:
            if side not in files:
                files[side] = stack.enter_context(_new(folder / f"{side}.jsonl.gz"))
            files[side].write(text)

        if wish.kind in ("pairs", "evaluation"):
            for side, columns in _columns(wish, rows, written):
                put(side, _json(columns))
            return
        for side, source, record in rows:
            written.ids.setdefault(source)
            written.counts[side] = written.counts.get(side, 0) + 1
            put(side, _json(cast(Record, record).model_dump(mode="json", exclude_defaults=True)))


def _write_dataset(folder: Path, wish: Wish, rows: Iterable[_Row], written: _Written) -> None:
    """A folder that `datasets.load_dataset` opens."""
    names: dict[str, str] = {}
    with ExitStack() as stack:
        files: dict[str, IO[str]] = {}
        for side, columns in _columns(wish, rows, written):
            name = "validation" if side == "valid" else side
            if name not in files:
                names[name] = f"{name}.jsonl"
                files[name] = stack.enter_context(_new(folder / names[name]))
            files[name].write(_json(columns))
    with _new(folder / "README.md") as file:
        file.write(
            dataset_card(
                wish.kind,
                names,
                f"Exported by alignloop. `{MANIFEST}` names the query and the rows that it came from.",
            )
        )


def _write_parquet(folder: Path, wish: Wish, rows: Iterable[_Row], written: _Written) -> None:
    """One table per side, with one type per column: a prompt of a vote is JSON, and a margin of 0 was not given."""
    try:
        # It has no types that a checker could use, and is imported where it is needed.
        arrow, parquet = (importlib.import_module(f"pyarrow{part}") for part in ("", ".parquet"))
    except ModuleNotFoundError:
        raise MissingExtraError(
            "Parquet needs pyarrow: pip install 'alignloop[parquet]', or choose JSON Lines"
        ) from None
    with ExitStack() as stack:
        writers: dict[str, Any] = {}
        waiting: dict[str, list[dict[str, Any]]] = {}

        def flush(side: str) -> None:
            schema = writers[side].schema if side in writers else None
            table = arrow.Table.from_pylist(waiting.pop(side), schema=schema)
            if side not in writers:
                file = stack.enter_context(os.fdopen(_descriptor(folder / f"{side}.parquet"), "wb"))
                writers[side] = stack.enter_context(parquet.ParquetWriter(file, table.schema))
            writers[side].write_table(table)

        for side, columns in _columns(wish, rows, written):
            if wish.kind == "evaluation":
                prompt, margin = _json(columns["prompt"]).strip(), columns["margin"] or 0
                columns = {**columns, "prompt": prompt, "margin": margin}
            waiting.setdefault(side, []).append(columns)
            if len(waiting[side]) >= _PARQUET_ROWS:
                flush(side)
        for side in list(waiting):
            flush(side)


def _make_artifact(folder: Path, wish: Wish, written: _Written) -> None:
    """Where trainers can read the folder as it is, say so: `alignloop reward --rankings PROJECT/exports/ID`."""
    if wish.format != "jsonl" or wish.kind not in ("demonstrations", "rankings"):
        return
    if not {"train", "valid"} <= set(written.counts):
        return
    facts = {"rows": written.counts}
    with _new(folder / "README.md") as file:
        file.write(model_card(wish.kind, [], facts))
    files = {path.name: sha256_of(path) for path in sorted(folder.iterdir())}
    described: dict[str, Any] = {
        "kind": wish.kind,
        "schema": SCHEMA,
        "files": files,
        "parents": [],
        "facts": facts,
    }
    with _new(folder / "artifact.json") as file:
        file.write(_json(described, indent=2))


def _descriptor(path: Path) -> int:
    """A file that was not there before, for its owner alone."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)


def _new(path: Path) -> IO[str]:
    """The same for text; gzipped without a time stamp where its name ends in .gz."""
    raw = os.fdopen(_descriptor(path), "wb")
    if path.suffix != ".gz":
        return cast(IO[str], _Text(raw, raw))
    packed = gzip.GzipFile(filename="", mode="wb", fileobj=raw, compresslevel=6, mtime=0)
    return cast(IO[str], _Text(packed, raw))


class _Text:
    """Writes text as UTF-8, and closes what it writes through."""

    def __init__(self, inner: Any, raw: Any) -> None:
        self._inner, self._raw = inner, raw

    def write(self, text: str) -> None:
        """Append text."""
        self._inner.write(text.encode("utf-8"))

    def __enter__(self) -> _Text:
        return self

    def __exit__(self, *error: object) -> None:
        self._inner.close()
        self._raw.close()


def _json(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent) + "\n"


def _clear_abandoned(root: Path) -> None:
    """What a server that was killed left half-written a day ago or earlier."""
    for path in root.glob(".*"):
        if path.is_dir() and time.time() - path.stat().st_mtime > _ABANDONED_S:
            shutil.rmtree(path, ignore_errors=True)
