"""Campaigns, tasks with their outputs, gold answers, and slots."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Index,
    Integer,
    Table,
    UniqueConstraint,
    text,
)

from alignloop.store.schema.columns import (
    Key,
    at,
    between,
    id_column,
    metadata,
    one_of,
    public_id_column,
    ref,
)
from alignloop.store.words import Text

flag_sets = Table(
    "flag_sets",
    metadata,
    id_column(),
    Column("name", Text, nullable=False, unique=True),
)

flags = Table(
    "flags",
    metadata,
    ref("flag_set_id", "flag_sets.id", primary=True),
    Column("key", Text, primary_key=True),
    Column("position", Integer, nullable=False),
    UniqueConstraint("flag_set_id", "position"),
)

campaigns = Table(
    "campaigns",
    metadata,
    id_column(),
    public_id_column(),
    Column("name", Text, nullable=False, unique=True),
    Column("form", Text, nullable=False),  # the page that labelers see
    Column("purpose", Text, nullable=False),
    Column("cohort", Text, nullable=False),  # whose work it is
    Column("state", Text, nullable=False),
    Column("k_min", Integer, nullable=False),
    Column("k_max", Integer, nullable=False),
    Column("overlap", Integer, nullable=False),  # labels wanted per task
    Column("lease_ms", BigInteger, nullable=False),
    Column("gold_every", Integer),  # one task in so many is a gold one
    Column("asks_ratings", Boolean, nullable=False),  # screen (a) before the ranking
    ref("flag_set_id", "flag_sets.id", nullable=True),
    Column("guideline_version", Integer, nullable=False),
    Column("price_per_hour", Integer),  # in hundredths of `currency`
    Column("currency", Text, nullable=False),
    Column("dialogue", Boolean, nullable=False),  # both sides of a conversation are written
    Column("planned", Integer),  # evaluation: tasks planned, fixed before the first vote
    Column("seed", BigInteger, nullable=False),
    at("created_at"),
    at("frozen_at", nullable=True),  # no task joins after it
    at("closed_at", nullable=True),
    UniqueConstraint("id", "form"),
    one_of("form", "demonstrate", "write", "rank", "compare", "toxicity"),
    one_of("purpose", "training", "evaluation", "screening", "practice"),
    one_of("cohort", "training", "heldout", "users", "any"),
    one_of("state", "draft", "open", "closed"),
    CheckConstraint("k_min >= 1 and k_min <= k_max and k_max <= 9", name="k"),
    CheckConstraint("form <> 'rank' or k_min >= 2", name="k_of_rankings"),
    CheckConstraint("form <> 'compare' or (k_min = 2 and k_max = 2)", name="k_of_comparisons"),
    CheckConstraint("overlap >= 1", name="overlap"),
    CheckConstraint("lease_ms > 0", name="lease_ms"),
    CheckConstraint("gold_every >= 2", name="gold_every"),
    CheckConstraint(
        "purpose <> 'training' or cohort in ('training', 'users')",
        name="training_is_by_training_labelers",
    ),
    CheckConstraint(
        "(form in ('compare', 'toxicity')) <= (purpose <> 'training')", name="votes_train_nothing"
    ),
)

tasks = Table(
    "tasks",
    metadata,
    id_column(),
    public_id_column(),
    ref("campaign_id", "campaigns.id"),
    ref("prompt_id", "prompts.id", nullable=True),  # none where a prompt is to be written
    Column("description", Text),  # then: what a user wanted, for whoever writes a user-based prompt
    Column("place", Integer, nullable=False),  # the order in which they are handed out
    Column("is_gold", Boolean, nullable=False),
    Column("state", Text, nullable=False),
    UniqueConstraint("campaign_id", "place"),
    UniqueConstraint("id", "prompt_id"),
    UniqueConstraint("id", "campaign_id"),
    one_of("state", "draft", "open", "stopped"),
    CheckConstraint("description is null or prompt_id is null", name="description"),
    Index("ix_tasks_prompt_id", "prompt_id"),
)

task_items = Table(
    "task_items",
    metadata,
    Column("task_id", Key, primary_key=True, autoincrement=False),
    Column("item_no", Integer, primary_key=True, autoincrement=False),
    Column("prompt_id", Key, nullable=False),
    Column("completion_id", Key, nullable=False),
    UniqueConstraint("task_id", "completion_id"),
    # An answer under another prompt than its own cannot be shown.
    ForeignKeyConstraint(
        ["task_id", "prompt_id"], ["tasks.id", "tasks.prompt_id"], name="fk_task_items_task"
    ),
    ForeignKeyConstraint(
        ["completion_id", "prompt_id"],
        ["completions.id", "completions.prompt_id"],
        name="fk_task_items_completion",
    ),
)

gold_pairs = Table(
    "gold_pairs",
    metadata,
    ref("task_id", "tasks.id", primary=True),
    Column("item_a", Integer, primary_key=True, autoincrement=False),
    Column("item_b", Integer, primary_key=True, autoincrement=False),
    Column("relation", Integer, nullable=False),  # 1: a is better, -1: b is, 0: a tie
    CheckConstraint("item_a < item_b", name="order"),
    between("relation", -1, 1),
)

gold_flags = Table(
    "gold_flags",
    metadata,
    ref("task_id", "tasks.id", primary=True),
    Column("item_no", Integer, primary_key=True, autoincrement=False),
    Column("flag_key", Text, primary_key=True),
    Column("value", Boolean, nullable=False),
)

slots = Table(
    "slots",
    metadata,
    Column("task_id", Key, primary_key=True, autoincrement=False),
    Column("slot_no", Integer, primary_key=True, autoincrement=False),
    Column("campaign_id", Key, nullable=False),
    Column("place", Integer, nullable=False),
    ref("assignee_id", "users.id", nullable=True),
    at("lease_until", nullable=True),
    Column("state", Text, nullable=False),
    ForeignKeyConstraint(
        ["task_id", "campaign_id"], ["tasks.id", "tasks.campaign_id"], name="fk_slots_task"
    ),
    one_of("state", "open", "leased", "done"),
    CheckConstraint("(state = 'open') = (assignee_id is null)", name="assignee"),
    CheckConstraint("(state = 'leased') = (lease_until is not null)", name="lease"),
    # Nobody holds two slots of a task.
    Index(
        "uq_slots_task_assignee",
        "task_id",
        "assignee_id",
        unique=True,
        sqlite_where=text("assignee_id is not null"),
        postgresql_where=text("assignee_id is not null"),
    ),
    Index("ix_slots_queue", "campaign_id", "state", "slot_no", "place"),
)
