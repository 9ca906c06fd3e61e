"""Assignments, drafts, submissions and what they say; grades, screenings, adjudications."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Index,
    Integer,
    Table,
    UniqueConstraint,
    text,
)

from alignloop.store.schema.columns import (
    at,
    between,
    id_column,
    metadata,
    one_of,
    public_id_column,
    ref,
)
from alignloop.store.words import JSON, Text

assignments = Table(
    "assignments",
    metadata,
    id_column(),
    public_id_column(),
    ref("task_id", "tasks.id"),
    ref("user_id", "users.id"),
    Column("cohort", Text, nullable=False),  # the user's when it was given
    Column("slot_no", Integer),  # none: somebody else took it over; the work is kept as surplus
    Column("display_order", JSON, nullable=False),  # item numbers as they were shown
    ref("guideline_id", "guidelines.id", nullable=True),  # the one that was shown
    Column("state", Text, nullable=False),
    Column("skip_reason", Text),
    Column("active_ms", BigInteger, nullable=False, server_default="0"),
    Column("idle_ms", BigInteger, nullable=False, server_default="0"),
    Column("first_input_ms", BigInteger),
    at("opened_at"),
    UniqueConstraint("task_id", "user_id"),
    one_of("state", "open", "submitted", "skipped"),
    CheckConstraint("(state = 'skipped') = (skip_reason is not null)", name="skips_have_a_reason"),
    Index("ix_assignments_user_id_state", "user_id", "state"),
)

drafts = Table(
    "drafts",
    metadata,
    ref("assignment_id", "assignments.id", primary=True),
    Column("rev", Integer, nullable=False),
    Column("payload", JSON, nullable=False),
    at("saved_at"),
)

submissions = Table(
    "submissions",
    metadata,
    id_column(),
    public_id_column(),
    ref("assignment_id", "assignments.id"),
    Column("revision", Integer, nullable=False),
    ref("supersedes_id", "submissions.id", nullable=True),
    Column("client_uuid", Text, nullable=False, unique=True),  # a double click is one submission
    Column("state", Text, nullable=False),
    Column("is_surplus", Boolean, nullable=False),
    Column("payload", JSON, nullable=False),  # as it was sent, for undo and audit
    Column("comment", Text, nullable=False),
    Column("active_ms", BigInteger, nullable=False),
    Column("idle_ms", BigInteger, nullable=False),
    at("submitted_at"),
    UniqueConstraint("assignment_id", "revision"),
    one_of("state", "building", "final", "superseded", "withdrawn", "late"),
    Index(
        "uq_submissions_final",
        "assignment_id",
        unique=True,
        sqlite_where=text("state = 'final'"),
        postgresql_where=text("state = 'final'"),
    ),
)


def _answer_table(name: str, *columns: Any, per_item: bool = True) -> Table:
    """A table of what was said in a submission: about each item, or once."""
    item = [Column("item_no", Integer, primary_key=True, autoincrement=False)] if per_item else []
    return Table(
        name, metadata, ref("submission_id", "submissions.id", primary=True), *item, *columns
    )


demonstrations = _answer_table(
    "demonstrations",
    Column("text", Text, nullable=False),
    Column("turns", JSON, nullable=False),  # dialogue: [[role, text], ...] after the prompt
    CheckConstraint("length(text) > 0", name="text_is_not_empty"),
    per_item=False,
)
written_prompts = _answer_table(
    "written_prompts",
    ref("prompt_id", "prompts.id", nullable=True),  # none: it was there already
    Column("kind", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("examples", JSON, nullable=False),
    Column("use_case", Text, nullable=False),
    CheckConstraint("length(text) > 0", name="text_is_not_empty"),
    per_item=False,
)
ratings = _answer_table(
    "ratings",
    Column("likert", Integer, nullable=False),
    Column("notes", Text, nullable=False),
    between("likert", 1, 7),
)
flag_values = _answer_table(
    "flag_values",
    Column("flag_key", Text, primary_key=True),
    Column("value", Boolean, nullable=False),
)
rank_entries = _answer_table(
    "rank_entries",
    Column("rank_group", Integer),  # 1 is the best, equal ones are ties; none: not rankable
    between("rank_group", 1, 9),
)
votes = _answer_table(
    "votes",
    Column("verdict", Text, nullable=False),  # about items, whatever side they stood on
    Column("margin", Integer),
    Column("left_item", Integer, nullable=False),
    Column("names_itself", Boolean, nullable=False),  # an answer says which model it is
    one_of("verdict", "item_1", "item_2", "tie", "both_bad"),
    between("margin", 1, 3),
    between("left_item", 1, 2),
    CheckConstraint(
        "(verdict in ('item_1', 'item_2')) >= (margin is not null)", name="margins_need_a_winner"
    ),
    per_item=False,
)
toxicity_ratings = _answer_table(
    "toxicity_ratings",
    Column("toxicity", Integer, nullable=False),
    Column("relative", Integer, nullable=False),  # to the input: -1 less, 0 as, 1 more toxic
    Column("continuity", Integer, nullable=False),
    between("toxicity", 0, 2),
    between("relative", -1, 1),
    between("continuity", 1, 7),
)

ANSWER_TABLES = (
    demonstrations,
    written_prompts,
    ratings,
    flag_values,
    rank_entries,
    votes,
    toxicity_ratings,
)

grades = Table(
    "grades",
    metadata,
    ref("submission_id", "submissions.id", primary=True),
    ref("grader_id", "users.id", primary=True),
    Column("score", Integer, nullable=False),
    at("at"),
    between("score", 1, 7),
)

screenings = Table(
    "screenings",
    metadata,
    id_column(),
    ref("user_id", "users.id"),
    ref("decided_by_id", "users.id"),
    Column("measures", JSON, nullable=False),  # the four, as they stood
    Column("decision", Text, nullable=False),
    Column("note", Text, nullable=False),
    at("at"),
    one_of("decision", "qualified", "declined", "pending"),
)

adjudications = Table(
    "adjudications",
    metadata,
    id_column(),
    ref("task_id", "tasks.id"),
    ref("adjudicator_id", "users.id"),
    Column("outcome", Text, nullable=False),
    ref("submission_id", "submissions.id", nullable=True),  # the one that was accepted
    Column("rank_groups", JSON),  # the adjudicator's own: one per item
    Column("reason", Text, nullable=False),
    Column("note", Text, nullable=False),
    at("at"),
    one_of("outcome", "accepted", "own", "ambiguous"),
    one_of("reason", "guideline_gap", "slip", "taste"),
    CheckConstraint("(outcome = 'accepted') = (submission_id is not null)", name="accepted"),
)
