"""Prompts, the answers that came with them, policies and their completions."""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    Table,
    UniqueConstraint,
)

from alignloop.store.schema.columns import (
    Key,
    at,
    id_column,
    metadata,
    one_of,
    public_id_column,
    ref,
)
from alignloop.store.words import JSON, Text

imports = Table(
    "imports",
    metadata,
    id_column(),
    Column("file", Text, nullable=False),  # its name
    Column("sha256", LargeBinary(32), nullable=False, unique=True),
    Column("shape", Text, nullable=False),
    Column("counts", JSON, nullable=False),
    at("created_at"),
)

authors = Table(
    "authors",
    metadata,
    id_column(),
    Column("key", Text, nullable=False, unique=True),  # the unit that the split keeps whole
    Column("split", Text, nullable=False),
    UniqueConstraint("id", "split"),
    one_of("split", "train", "valid", "test"),
)

prompts = Table(
    "prompts",
    metadata,
    id_column(),
    public_id_column(),
    ref("author_id", "authors.id"),
    Column("split", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("history", JSON, nullable=False),  # [[role, text], ...]
    Column("examples", JSON, nullable=False),  # few-shot: [[query, response], ...]
    Column("use_case", Text, nullable=False),
    Column("language", Text, nullable=False),
    Column("annotations", JSON, nullable=False),
    Column("details", JSON, nullable=False),  # what an export has to bring back: group, constraints
    Column("tokens", Integer, nullable=False),
    Column("consent", Boolean),
    Column("counted_for", Text, nullable=False),  # whom the cap counts it for; empty: nobody
    Column("pii", JSON, nullable=False),  # kinds found and left: in valid and test alone
    Column("text_digest", LargeBinary(16), nullable=False, unique=True),
    Column("prefix_digest", LargeBinary(16)),
    ref("import_id", "imports.id", nullable=True),
    at("created_at"),
    # One split per author: a prompt can be on no other side than its author's.
    ForeignKeyConstraint(
        ["author_id", "split"], ["authors.id", "authors.split"], name="fk_prompts_author_split"
    ),
    UniqueConstraint("id", "split"),
    one_of("kind", "labeler_plain", "labeler_fewshot", "labeler_user_based", "customer"),
    CheckConstraint("length(text) > 0", name="text_is_not_empty"),
    Index("ix_prompts_author_id", "author_id"),
    Index("ix_prompts_split_kind", "split", "kind"),
)

given_answers = Table(
    "given_answers",
    metadata,
    ref("prompt_id", "prompts.id", primary=True),
    Column("answer_no", Integer, primary_key=True, autoincrement=False),
    Column("text", Text, nullable=False),
    Column("rank", Integer),  # none: a demonstration; equal ones are ties
    Column("model", Text, nullable=False),
    Column("labeler", Text, nullable=False),
    CheckConstraint("rank >= 1", name="rank"),
)

policies = Table(
    "policies",
    metadata,
    id_column(),
    public_id_column(),
    Column("name", Text, nullable=False),
    Column("sha256", Text, nullable=False),  # of the artefact
    Column("sampling", Text, nullable=False),  # canonical JSON
    at("created_at"),
    UniqueConstraint("sha256", "sampling", "name"),
)

# Prompts that whoever wrote them has erased: rows for the time of one transaction, in which the guards let them go.
erasing = Table(
    "erasing",
    metadata,
    Column("prompt_id", Key, primary_key=True, autoincrement=False),
)

completions = Table(
    "completions",
    metadata,
    id_column(),
    ref("prompt_id", "prompts.id"),
    ref("policy_id", "policies.id"),
    Column("draw", Integer, nullable=False),  # which of the policy's answers to this prompt
    Column("text", Text, nullable=False),
    Column("finished", Boolean, nullable=False),
    Column("tokens", Integer, nullable=False),
    Column("token_ids", JSON, nullable=False),
    UniqueConstraint("prompt_id", "policy_id", "draw"),
    UniqueConstraint("id", "prompt_id"),
)
