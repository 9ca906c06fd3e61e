"""The detector that needs nothing but the standard library: patterns, checksums, and what stands beside a match.

A text is first reduced to its digits, @ and colons, which takes about a microsecond; most have too few for anything,
and are done with. Precision comes from checksums and context: a version is no address, a sum no card.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Sequence

from alignloop.data.curation.checksums import iban_length, is_iban
from alignloop.data.curation.credentials import credentials
from alignloop.data.curation.numbers import numbers
from alignloop.data.curation.spans import KINDS, Span, without_overlaps

_ALL_BUT_MARKS = bytes(set(range(256)) - set(b"0123456789@:."))
_FULL_WIDTH = re.compile("[\uff10-\uff19\uff20-\uff3a\uff41-\uff5a]")
_NARROW = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3000: 0x20}
"""Digits and marks of Chinese keyboards -> those of ASCII, one for one, so that places stay."""

_DOMAIN = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9\-]{0,61}[A-Za-z0-9])?\.){1,8}[A-Za-z]{2,24}(?![A-Za-z0-9(])"
)
_LOCAL = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._%+-'")
_FILES = frozenset("png jpg jpeg gif svg webp ico pdf js ts py css".split())
_SPELLED = re.compile(
    r"(?<![A-Za-z0-9])[A-Za-z0-9][A-Za-z0-9._%+\-]{0,63} ?[\[(] ?at ?[\])] ?[A-Za-z0-9\-]{1,63}"
    r"(?: ?[\[(] ?dot ?[\])] ?[A-Za-z0-9\-]{2,63}|\.[A-Za-z0-9\-]{2,63}){1,3}"
    r"|(?<![A-Za-z0-9])[A-Za-z0-9][A-Za-z0-9._%+\-]{1,63} at [A-Za-z0-9\-]{2,63} dot "
    r"(?:com|net|org|edu|de|uk|cn|fr|in)\b",
    re.IGNORECASE,
)
# Patterns that begin with a digit are quick to search for; what stands before it is looked at afterwards.
_IBAN = re.compile(
    r"\d(?<=[A-Za-z][A-Za-z]\d)(?<![A-Za-z0-9][A-Za-z][A-Za-z]\d)\d(?=[ \-]?[A-Za-z0-9]{4})",
    re.ASCII,
)
_OCTET = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_IPV4 = re.compile(
    rf"(?<![0-9A-Za-z_.\-])(?:{_OCTET}\.){{3}}{_OCTET}(?![0-9A-Za-z_\-]|\.\d)", re.ASCII
)
_FOUR_PARTS = re.compile(rb"\d\.\d{1,3}\.\d{1,3}\.\d")
_IPV6 = re.compile(
    r"[23](?<![0-9A-Za-z:.][23])[0-9A-Fa-f]{3}:[0-9A-Fa-f:]{2,34}(?![0-9A-Za-z:])", re.ASCII
)
_VERSION = re.compile(
    r"(?:\bv|\bver\.?|\bversions?|\brelease|\bbuild|\bfirmware|\bdriver|\bupdate|\bsection|\bchapter|\bfigure|§|版本|第"
    r"|[A-Za-z]/|[=<>~^]=?|@)[ :]{0,2}$",
    re.IGNORECASE,
)
_ADDRESS_WORD = re.compile(
    r"(?:\bips?\b|\baddress|\bhosts?\b|\bserver|\bping|\bssh|地址)[^\n]{0,16}$", re.IGNORECASE
)


class Patterns:
    """A `Detector` of some kinds of personal data."""

    def __init__(self, kinds: Sequence[str] = KINDS) -> None:
        self._kinds = frozenset(kinds)

    def __call__(self, text: str) -> list[Span]:
        """Personal data in the text, in order and without overlaps."""
        marks = text.encode("utf-8", "surrogatepass").translate(None, _ALL_BUT_MARKS)
        if not text.isascii() and _FULL_WIDTH.search(text):
            text = text.translate(_NARROW)
            marks = text.encode("utf-8", "surrogatepass").translate(None, _ALL_BUT_MARKS)
        found = (span for span in _each(text, marks) if span.kind in self._kinds)
        return without_overlaps(found)


def _each(text: str, marks: bytes) -> Iterator[Span]:
    """All there is, the surest kinds first: of two at one place the first counts."""
    lowered = text.lower()
    yield from credentials(text, lowered)
    at = marks.count(b"@")
    if at:
        yield from _emails(text)
    if "(at" in lowered or "[at" in lowered or "[ at" in lowered or " dot " in lowered:
        for match in _SPELLED.finditer(text):
            yield Span("email", *match.span())
    colons, dots = marks.count(b":"), marks.count(b".")
    digits = len(marks) - at - colons - dots
    if digits >= 4 and dots >= 3 and _FOUR_PARTS.search(marks):
        yield from _ipv4(text)
    if digits and colons >= 2:
        yield from _ipv6(text)
    if digits >= 7:
        if digits >= 10:
            yield from _ibans(text)
        yield from numbers(text)


def _emails(text: str) -> Iterator[Span]:
    """From every @ outwards, which is linear whatever the text is."""
    at = text.find("@")
    while at >= 0:
        domain = _DOMAIN.match(text, at + 1)
        if domain and domain.group().rsplit(".", 1)[1].lower() not in _FILES:
            start = at
            while start > 0 and at - start < 64 and text[start - 1] in _LOCAL:
                start -= 1
            while start < at and text[start] in ".'-%+":
                start += 1
            is_remote = text[start:at] == "git" and text[domain.end() : domain.end() + 1] in (
                ":",
                "/",
            )
            if start < at and text[at - 1] not in ".'" and not is_remote:
                yield Span("email", start, domain.end())
        at = text.find("@", at + 1)


def _ipv4(text: str) -> Iterator[Span]:
    """Addresses of the public network: 127.0.0.1 and 192.168.0.1 name nobody, and 1.2.3.4 is a chapter."""
    for match in _IPV4.finditer(text):
        start = match.start()
        before = text[max(0, start - 24) : start]
        if _VERSION.search(before) and not before.endswith("://"):
            continue
        octets = [int(octet) for octet in match.group().split(".")]
        is_small = max(octets) < 20
        if ipaddress.IPv4Address(match.group()).is_global and (
            not is_small or _ADDRESS_WORD.search(before)
        ):
            yield Span("ip", *match.span())


def _ipv6(text: str) -> Iterator[Span]:
    for match in _IPV6.finditer(text):
        found = match.group().rstrip(":") if not match.group().endswith("::") else match.group()
        try:
            address = ipaddress.IPv6Address(found)
        except ValueError:
            continue
        if address.is_global and found.count(":") >= 2:
            yield Span("ip", match.start(), match.start() + len(found))


def _ibans(text: str) -> Iterator[Span]:
    """As many letters and digits as the country's numbers have, spaces and hyphens between groups left out."""
    for match in _IBAN.finditer(text):
        start = match.start() - 2
        length = iban_length(text[start : start + 2].upper())
        if length is None:
            continue
        taken: list[str] = []
        at = start
        while len(taken) < length and at < len(text):
            sign = text[at]
            if sign.isascii() and sign.isalnum():
                taken.append(sign)
            elif sign not in " -" or text[at - 1] in " -":
                break
            at += 1
        follows = text[at : at + 1]
        if not (follows.isascii() and follows.isalnum()) and is_iban("".join(taken).upper()):
            yield Span("iban", start, at)
