"""What a form sends: read within limits, and as text that every database takes."""

from __future__ import annotations

from urllib.parse import parse_qsl

from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request

from alignloop.store import words

LARGEST_FORM = 1_000_000
"""Bytes; drafts and answers are text."""
MOST_FIELDS = 600
"""Nine outputs with their flags, notes and ranks are about 200."""
_URLENCODED = "application/x-www-form-urlencoded"


async def read_form(request: Request) -> FormData:
    """The fields of a urlencoded form; nothing of ours sends files, so no other kind is read.

    Raises:
        HTTPException: 413, there are too many bytes or fields; 415, it is another kind of body.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in ("", _URLENCODED):
        raise HTTPException(415)
    declared = request.headers.get("content-length", "0")
    if len(declared) > 12 or (declared.isdecimal() and int(declared) > LARGEST_FORM):
        raise HTTPException(413)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST_FORM:
            raise HTTPException(413)
    if not kind:
        return FormData()
    try:
        fields = parse_qsl(
            body.decode("utf-8", "replace"),
            keep_blank_values=True,
            errors="replace",
            max_num_fields=MOST_FIELDS,
        )
    except ValueError:  # too many of them
        raise HTTPException(413) from None
    return FormData([(clean(name), clean(value)) for name, value in fields])


def clean(text: str) -> str:
    """As it was typed: line ends of one kind, not a browser's two, and nothing that the store would replace."""
    return words.clean(text.replace("\r\n", "\n"))
