"""Columns and constraints that the tables share."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Integer,
    MetaData,
)

from alignloop.store.words import Text

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# An integer key that SQLite makes its rowid and PostgreSQL a 64-bit identity.
Key = BigInteger().with_variant(Integer, "sqlite")


def id_column() -> Column[int]:
    return Column("id", Key, primary_key=True)


def public_id_column() -> Column[str]:
    return Column("public_id", Text, nullable=False, unique=True)


def ref(name: str, target: str, *, nullable: bool = False, primary: bool = False) -> Column[int]:
    return Column(
        name,
        Key,
        ForeignKey(target, ondelete="RESTRICT"),
        nullable=nullable,
        primary_key=primary,
        autoincrement=False,
    )


def at(name: str, *, nullable: bool = False) -> Column[int]:
    """Milliseconds since 1970, UTC."""
    return Column(name, BigInteger, nullable=nullable)


def one_of(column: str, *values: str) -> CheckConstraint:
    return CheckConstraint(
        f"{column} in ({', '.join(repr(value) for value in values)})", name=column
    )


def between(column: str, low: int, high: int) -> CheckConstraint:
    return CheckConstraint(f"{column} between {low} and {high}", name=column)
