"""The routes for the app's description of itself (OpenAPI), which tests read: what goes where."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

_OF_ALL = {
    "200": "The page",
    "303": "On to another page, the sign-in page for one",
    "403": "Not theirs, or not from a page of ours",
    "404": "Not there, or not theirs to know of",
    "429": "Too often",
    "503": "The database is busy",
}
_OF_FORMS = {
    "409": "Another tab has saved another version",
    "413": "Too large",
    "415": "No urlencoded form",
    "422": "The page again, with what is wrong",
}
_PARAMETER = re.compile(r"\{(\w+)(?::\w+)?\}")


def described(path: str, fields: Sequence[str] | None) -> dict[str, Any]:
    """An address with its parameters and answers; `fields` are those of its form, None where it takes none."""
    found: dict[str, Any] = {
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in _PARAMETER.findall(path)
        ],
        "responses": {
            status: {"description": words}
            for status, words in (_OF_ALL if fields is None else _OF_ALL | _OF_FORMS).items()
        },
    }
    if fields is not None:
        properties = {name: {"type": "string"} for name in (*fields, "csrf_token")}
        found["requestBody"] = {
            "content": {
                "application/x-www-form-urlencoded": {
                    "schema": {"type": "object", "properties": properties}
                }
            }
        }
    return found
