"""The routes for the app's description of itself (OpenAPI), which tests read: what goes where."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

_PARAMETER = re.compile(r"\{(\w+)(?::\w+)?\}")


def described(path: str, fields: Sequence[str] | None) -> dict[str, Any]:
    """An address with its parameters; `fields` are those of its form, None where it takes none."""
    found: dict[str, Any] = {
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in _PARAMETER.findall(path)
        ]
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
