"""The log of what was done: append-only, each entry hashed together with the one before it.

Whoever changes, removes or inserts an entry breaks every hash after it; whoever changes a label breaks the digest that
its entry holds. `alignloop label audit` checks both.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Table, bindparam, select, text

from alignloop.store.schema import ANSWER_TABLES, chain, events, submissions
from alignloop.store.words import clean, clean_all

Entry = tuple[int, str, str, str, str]
"""At, actor, verb, object, detail."""

# Every write adds an entry: put together once.
_IN_TURN = text("select pg_advisory_xact_lock(4207719)")
_HEAD = select(chain.c.seq, chain.c.sha256).where(chain.c.id == 1)
_ENTER = events.insert()
_MOVE_HEAD = (
    chain.update()
    .where(chain.c.id == 1)
    .values(seq=bindparam("new_seq"), sha256=bindparam("new_sha256"))
)
_SUBMISSION = select(submissions).where(submissions.c.id == bindparam("submission_id"))
_SAID = {
    table.name: select(table)
    .where(table.c.submission_id == bindparam("submission_id"))
    .order_by(*table.primary_key.columns)
    for table in ANSWER_TABLES
}


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that the audit found wrong."""

    seq: int | None
    """Number of the entry, where one is meant."""
    problem: str


@dataclass(frozen=True, slots=True)
class Audit:
    """What an audit looked at, and what it found."""

    entries: int
    head: str
    """SHA-256 of the last entry: noted elsewhere, it proves that nothing before it was changed."""
    submissions: int
    findings: tuple[Finding, ...]


def append(
    connection: Connection, now: int, actor: str, verb: str, target: str, **detail: Any
) -> None:
    """Add an entry, at the end of the transaction. `detail` is small, without text of prompts, answers or people."""
    # As the columns will hold them: an entry's hash is made of what is read back.
    told = canonical(clean_all(detail))
    connection.get_execution_options()["entries"].append(
        (now, clean(actor), verb, clean(target), told)
    )


def write_entries(connection: Connection, entries: Sequence[Entry]) -> None:
    """Chain a transaction's entries to the log.

    It is the last thing that a transaction does: all writers stand in line for the head of the chain, and one that
    has it keeps the others waiting.
    """
    if not entries:
        return
    if connection.dialect.name == "postgresql":
        connection.execute(
            _IN_TURN
        )  # a lock of a row would be given to any of those who wait, and not in turn
    head = connection.execute(_HEAD).one()
    seq, previous = head.seq, head.sha256
    rows: list[dict[str, Any]] = []
    for seq, (now, actor, verb, target, detail) in enumerate(entries, start=head.seq + 1):
        sha256 = hash_of((seq, now, actor, verb, target, detail), previous)
        rows.append(
            {
                "seq": seq,
                "at": now,
                "actor": actor,
                "verb": verb,
                "object": target,
                "detail": detail,
                "previous_sha256": previous,
                "sha256": sha256,
            }
        )
        previous = sha256
    connection.execute(_ENTER, rows)
    connection.execute(_MOVE_HEAD, {"new_seq": seq, "new_sha256": previous})


def audit(connection: Connection) -> Audit:
    """Check the chain from its start, and every submission against the digest that its entry holds."""
    findings: list[Finding] = []
    previous, expected = bytes(32), 0
    digests: dict[str, tuple[int, str]] = {}
    for row in connection.execute(select(events).order_by(events.c.seq)).yield_per(1000):
        expected += 1
        if row.seq != expected:
            findings.append(Finding(row.seq, f"entry {expected} is missing"))
            expected = row.seq
        if row.previous_sha256 != previous:
            findings.append(Finding(row.seq, "does not follow from the entry before it"))
        entry = (row.seq, row.at, row.actor, row.verb, row.object, row.detail)
        if hash_of(entry, row.previous_sha256) != row.sha256:
            findings.append(Finding(row.seq, "was changed after it was written"))
        previous = row.sha256
        if row.verb == "submit":
            digests[row.object] = (row.seq, json.loads(row.detail).get("sha256", ""))
        elif row.verb == "erase":  # what was said went with the prompt that it was about
            for public_id in json.loads(row.detail).get("submissions", []):
                digests.pop(public_id, None)
    head = connection.execute(select(chain)).one()
    if (head.seq, head.sha256) != (expected, previous):
        findings.append(Finding(None, f"the log ends at {expected}, and its head says {head.seq}"))
    checked = 0
    for public_id, found in _digests_of_submissions(connection):
        checked += 1
        seq, noted = digests.pop(public_id, (None, None))
        if noted is None:
            findings.append(Finding(None, f"submission {public_id} has no entry in the log"))
        elif noted != found:
            findings.append(Finding(seq, f"submission {public_id} is not what was submitted"))
    findings += [
        Finding(seq, f"submission {name} is gone") for name, (seq, _) in sorted(digests.items())
    ]
    return Audit(expected, previous.hex(), checked, tuple(findings))


def each_event(connection: Connection, *, newest_first: bool = True) -> Iterator[Any]:
    """The entries, to be shown."""
    order = events.c.seq.desc() if newest_first else events.c.seq
    return iter(connection.execute(select(events).order_by(order)).yield_per(500))


def canonical(value: Any) -> str:
    """JSON with one spelling: the same value is the same text everywhere."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def digest_of_submission(
    connection: Connection, submission_id: int, said_in: Sequence[Table] = ANSWER_TABLES
) -> str:
    """SHA-256 over everything that a submission says, in those of the answer tables that it has rows in."""
    row = connection.execute(_SUBMISSION, {"submission_id": submission_id}).one()
    tables = [table for table in ANSWER_TABLES if table in said_in]
    return _digest(row, [*_answers(connection, submission_id, tables)])


def _digests_of_submissions(connection: Connection) -> Iterator[tuple[str, str]]:
    """(public id, digest) of every submission that was finished, answers read table by table and merged."""
    rows = connection.execute(
        select(submissions).where(submissions.c.state != "building").order_by(submissions.c.id)
    ).all()
    said: dict[int, list[Any]] = {}
    for table in ANSWER_TABLES:
        found = connection.execute(select(table).order_by(*table.primary_key.columns))
        for answer in found.yield_per(1000):
            said.setdefault(answer.submission_id, []).append([table.name, *answer[1:]])
    for row in rows:
        yield row.public_id, _digest(row, said.get(row.id, []))


def _answers(
    connection: Connection, submission_id: int, tables: Sequence[Table]
) -> Iterator[list[Any]]:
    for table in tables:
        for answer in connection.execute(_SAID[table.name], {"submission_id": submission_id}):
            yield [table.name, *answer[1:]]


def _digest(row: Any, answers: list[Any]) -> str:
    # `state` is left out: it may become superseded. So are ids, which a copy keeps, but a merge would not.
    said = [row.public_id, row.revision, row.is_surplus, row.comment, row.submitted_at, answers]
    return hashlib.sha256(canonical(said).encode()).hexdigest()


def hash_of(entry: tuple[Any, ...], previous: bytes) -> bytes:
    """SHA-256 of an entry (seq, at, actor, verb, object, detail) together with that of the entry before it."""
    return hashlib.sha256(canonical([*entry, previous.hex()]).encode()).digest()
