"""Accounts, invitations, sessions, guidelines, messages; users of the chat page."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, Index, Integer, LargeBinary, Table, UniqueConstraint

from alignloop.store.schema.columns import at, id_column, metadata, one_of, public_id_column, ref
from alignloop.store.words import JSON, Text

users = Table(
    "users",
    metadata,
    id_column(),
    public_id_column(),
    Column("email", Text, nullable=False, unique=True),  # lower case
    Column("name", Text, nullable=False),
    Column("password_hash", Text),  # argon2id; none until an invitation was accepted
    Column("role", Text, nullable=False),
    Column("cohort", Text, nullable=False),  # of a labeler; a researcher's is 'none'
    Column("state", Text, nullable=False),
    Column("standing", Text, nullable=False),  # what screening came to
    Column("locale", Text, nullable=False, server_default="en"),
    Column("topics", JSON, nullable=False),  # self-declared: where they can tell sensitive speech
    at("created_at"),
    one_of("role", "labeler", "researcher", "visitor"),
    one_of("cohort", "training", "heldout", "users", "none"),
    one_of("state", "invited", "active", "suspended"),
    one_of("standing", "pending", "qualified", "declined"),
    CheckConstraint("(role = 'researcher') = (cohort = 'none')", name="labelers_have_a_cohort"),
    CheckConstraint("(role = 'visitor') = (cohort = 'users')", name="users_are_a_cohort"),
    CheckConstraint("email = lower(email)", name="email_is_lower"),
)

invitations = Table(
    "invitations",
    metadata,
    Column("token_sha256", LargeBinary(32), primary_key=True),
    ref("user_id", "users.id"),
    at("created_at"),
    at("expires_at"),
    at("used_at", nullable=True),
)

sessions = Table(
    "sessions",
    metadata,
    Column("token_sha256", LargeBinary(32), primary_key=True),
    ref("user_id", "users.id"),
    Column("csrf_token", Text, nullable=False),
    at("created_at"),
    at("seen_at"),
    at("expires_at"),
    Index("ix_sessions_user_id", "user_id"),
)

login_attempts = Table(
    "login_attempts",
    metadata,
    id_column(),
    Column("who", Text, nullable=False),  # hash of the account or the address
    at("at"),
    Index("ix_login_attempts_who_at", "who", "at"),
)

# Of a user of the chat page, who has an account without a way to sign in: `users.public_id` is also the key of their
# prompts' author.
visitors = Table(
    "visitors",
    metadata,
    ref("user_id", "users.id", primary=True),
    Column("token_sha256", LargeBinary(32), nullable=False, unique=True),  # of their cookie
    Column("notice", Integer),  # version of the notice that they agree to; none: not any more
    at("agreed_at", nullable=True),
    CheckConstraint("(notice is null) = (agreed_at is null)", name="agreed"),
)

guidelines = Table(
    "guidelines",
    metadata,
    id_column(),
    Column("purpose", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("locale", Text, nullable=False),
    Column("body", Text, nullable=False),
    at("created_at"),
    UniqueConstraint("purpose", "version", "locale"),
    one_of("purpose", "training", "evaluation"),
)

acknowledgements = Table(
    "acknowledgements",
    metadata,
    ref("user_id", "users.id", primary=True),
    ref("guideline_id", "guidelines.id", primary=True),
    at("at"),
)

messages = Table(
    "messages",
    metadata,
    id_column(),
    public_id_column(),
    ref("labeler_id", "users.id"),  # whose thread it is
    ref("author_id", "users.id"),
    Column("body", Text, nullable=False),
    at("created_at"),
    at("read_at", nullable=True),
    Index("ix_messages_labeler_id_created_at", "labeler_id", "created_at"),
)
