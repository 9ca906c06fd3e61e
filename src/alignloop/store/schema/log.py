"""Exports, the hash-chained log of events, and what the project agreed on."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, Integer, LargeBinary, Table

from alignloop.store.schema.columns import Key, at, id_column, metadata, public_id_column, ref
from alignloop.store.words import JSON, Text

exports = Table(
    "exports",
    metadata,
    id_column(),
    public_id_column(),
    Column("name", Text, nullable=False),
    Column("query", JSON, nullable=False),
    Column("counts", JSON, nullable=False),
    Column("rows_sha256", Text, nullable=False),  # of the row ids, in order
    Column("files_sha256", JSON, nullable=False),
    Column("code_version", Text, nullable=False),
    ref("by_id", "users.id", nullable=True),
    at("created_at"),
)

events = Table(
    "events",
    metadata,
    Column("seq", Key, primary_key=True, autoincrement=False),
    at("at"),
    Column("actor", Text, nullable=False),  # a user's public id, or the command
    Column("verb", Text, nullable=False),
    Column("object", Text, nullable=False),
    Column("detail", Text, nullable=False),  # canonical JSON; never a prompt's or an answer's text
    Column("previous_sha256", LargeBinary(32), nullable=False),
    Column("sha256", LargeBinary(32), nullable=False),
)

# The head of the chain: one row. Writers of events have it in turn (events.write_entries).
chain = Table(
    "chain",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("seq", Key, nullable=False),
    Column("sha256", LargeBinary(32), nullable=False),
    CheckConstraint("id = 1", name="one_row"),
)

settings = Table(
    "settings",
    metadata,
    Column("key", Text, primary_key=True),
    Column("value", JSON, nullable=False),
)
