"""Keys, tokens and passwords: what must not be learned by heart."""

from __future__ import annotations

import re
from collections.abc import Iterator

from alignloop.data.curation.spans import Span


def _key(hint: str, start: str, rest: str) -> tuple[str, re.Pattern[str]]:
    """A form that begins with letters of its own; what stands before them is looked at afterwards, which is quicker."""
    pattern = rf"(?P<value>{start}(?<![A-Za-z0-9_\-]{start}){rest})(?![A-Za-z0-9_\-])"
    return hint, re.compile(pattern)


_FORMS: tuple[tuple[str, re.Pattern[str]], ...] = (
    _key(
        "sk-",
        "sk-",
        r"(?:(?:proj|ant|or|svcacct|live|test)-)?(?=[A-Za-z_\-]*\d)[A-Za-z0-9_\-]{20,200}",
    ),
    _key("k_", "[sr]k_(?:live|test)_", r"[A-Za-z0-9]{16,200}"),
    _key("AKIA", "AKIA", "[0-9A-Z]{16}"),
    _key("ASIA", "ASIA", "[0-9A-Z]{16}"),
    *(_key(f"gh{kind}_", f"gh{kind}_", "[A-Za-z0-9]{30,255}") for kind in "pousr"),
    _key("github_pat_", "github_pat_", "[A-Za-z0-9_]{22,255}"),
    _key("glpat-", "glpat-", r"[A-Za-z0-9_\-]{20,64}"),
    _key("hf_", "hf_", "[A-Za-z0-9]{30,64}"),
    _key("xox", "xox[abeoprs]-", r"[A-Za-z0-9\-]{10,250}"),
    _key("AIza", "AIza", r"[A-Za-z0-9_\-]{35}"),
    _key("npm_", "npm_", "[A-Za-z0-9]{36}"),
    _key("eyJ", "eyJ", r"[A-Za-z0-9_\-]{8,}\.eyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{8,}"),
    (
        "://",
        re.compile(r"://(?P<value>[^\s:/@<>{}$]{1,64}:[^\s:/@<>{}$*]{3,64})(?=@[A-Za-z0-9.\-])"),
    ),
    (
        "-----BEGIN",
        re.compile(
            r"(?P<value>-----BEGIN [A-Z ]{0,24}PRIVATE KEY(?: BLOCK)?-----"
            r"[\s\S]*?(?:-----END [A-Z ]{0,24}PRIVATE KEY(?: BLOCK)?-----|\Z))"
        ),
    ),
)
"""A text without the hint has no such key, and that is quick to see."""

_ASSIGNED = re.compile(
    r"(?:(?:passwor[dt]|passwd|passphrase|pwd|secret|token|(?:api|access)[_\- ]?key)(?:[_\- ]?key)?"
    r"|密码|口令|密钥)"
    r"[\"']?(?P<link>\s{0,3}(?:[:=：]|=>|是|为)\s{0,3}|\s(?:is|was)(?:\s?:)?\s{1,2})[\"'“‘`]?"
    r"(?P<value>[^\s\"'“”‘’`,;，。；、()\[\]{}<>]{6,200})"
)
"""What is called a password or key, in lower case, and what is said to be its value."""
_STANDS_FOR = re.compile(
    r"(?:your|my|the|change|example|placeholder|redacted|dummy|sample|test)[a-z_\-]*\d{0,3}"
    r"|x+|\*+|\.+|-+|_+|\$.*|%.*|.*\*{3,}.*|(?:[a-z_]+\.)+[a-z_]+|https?:.*",
    re.IGNORECASE,
)


def credentials(text: str, lowered: str) -> Iterator[Span]:
    """Keys by their form, then what is called a password, token or key and looks like one.

    Args:
        lowered: the text in lower case.
    """
    for hint, pattern in _FORMS:
        if hint in text:
            for match in pattern.finditer(text):
                yield Span("secret", *match.span("value"))
    if not _may_assign(text, lowered):
        return
    for match in _ASSIGNED.finditer(lowered if len(lowered) == len(text) else text):
        before = text[match.start() - 1 : match.start()]
        if before.isascii() and before.isalpha():
            continue  # the end of another word
        is_said = match["link"].strip().rstrip(" :") in ("is", "was")
        start, end = match.span("value")
        value = text[start:end].rstrip(".!?:" if is_said else ".?:")
        if _looks_secret(value, is_said=is_said):
            yield Span("secret", start, start + len(value))


def _may_assign(text: str, lowered: str) -> bool:
    return (
        "passw" in lowered
        or "secret" in lowered
        or "token" in lowered
        or "pwd" in lowered
        or "passphrase" in lowered
        or ("key" in lowered and ("api" in lowered or "access" in lowered))
        or (not text.isascii() and ("密" in text or "口令" in text))
    )


def _looks_secret(value: str, *, is_said: bool) -> bool:
    """Six signs or more that are no plain word, placeholder or expression; in a sentence they need a digit as well."""
    if len(value) < 6 or _STANDS_FOR.fullmatch(value) or not value.isascii():
        return False
    has_digit = any(sign.isdecimal() for sign in value)
    has_letter = any(sign.isalpha() for sign in value)
    has_mark = any(not sign.isalnum() and sign not in "_-." for sign in value)
    if is_said:
        return has_digit and (has_letter or has_mark)
    return has_digit or (has_letter and has_mark)
