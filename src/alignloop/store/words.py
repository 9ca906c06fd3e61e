"""Text as the store takes it: what no database keeps and no page shows is replaced on the way in, once, here.

HTML drops U+0000 and PostgreSQL refuses it; half of a surrogate pair is no character and cannot be encoded. Models
sample both, files hold both. Every text column and every JSON column of the schema has one of these types, so that what
is stored is what people are shown, and what is exported is what is stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import sqlalchemy as sa

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def clean(text: str) -> str:
    """The text with U+FFFD for each NUL and each half of a surrogate pair; two halves that fit become one character."""
    if "\0" in text:
        text = text.replace("\0", REPLACEMENT)
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def clean_all(value: Any) -> Any:
    """A JSON value with every text in it clean, keys too."""
    match value:
        case str():
            return clean(value)
        case Mapping():
            named = cast("Mapping[Any, Any]", value)
            return {clean_all(key): clean_all(one) for key, one in named.items()}
        case list() | tuple():
            return [clean_all(one) for one in cast("list[Any]", value)]
        case _:
            return value


class Text(sa.types.TypeDecorator[str]):
    """Clean text of any length."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Any) -> str | None:
        return clean(value) if isinstance(value, str) else value


class JSON(sa.types.TypeDecorator[Any]):
    """A JSON value whose texts are clean."""

    impl = sa.JSON
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Any) -> Any:
        return clean_all(value)
