"""Numbers that name a person: phones, cards, national ids; and telling them from dates, sums, versions and ISBNs.

A phone number is believed for its form (an international prefix, brackets, a leading zero with gaps, a Chinese mobile's
digits), or for the word before it ("call me at", and its Chinese like). Digits beside an arithmetic sign are a sum.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import pairwise

from alignloop.data.curation.checksums import is_card, is_resident_id
from alignloop.data.curation.spans import Span

# Chinese is written without spaces, so "no letter before it" means no letter of ASCII.
_START = r"(?<![0-9A-Za-z_])"
_END = r"(?![0-9A-Za-z_])"

_AREA = re.compile(r"\d[\d \t.()/\-\u2013]{5,}[\dXx]", re.ASCII)
"""Where a number of seven signs or more may stand: only there the patterns are tried."""
_NO_DIGITS = str.maketrans("", "", " \t.()/-\u2013+xX")

_RESIDENT = re.compile(_START + r"[1-9]\d{5}(?:18|19|20)\d{9}[\dXx]" + _END, re.ASCII)
_SSN = re.compile(
    _START + r"(?<!\d-)(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}" + _END + r"(?!-\d)", re.ASCII
)
_CARD = re.compile(
    _START
    + r"(?<!\d[.-])(?:\d{13,19}|\d{4}([ -])\d{4}\1\d{4}\1\d{1,4}(?:\1\d{1,3})?|3\d{3}([ -])\d{6}\2\d{4,5})"
    + _END
    + r"(?!\.\d)",
    re.ASCII,
)
_INTERNATIONAL = re.compile(
    r"(?<![0-9A-Za-z_+])\+\(?[1-9]\d{0,2}\)?(?:[ .\-()/]{0,2}\d){6,13}" + _END + r"(?!\.\d)",
    re.ASCII,
)
_ABROAD = re.compile(
    _START + r"(?<![.\-])00[1-9]\d{0,2}(?:[ \-/]\(?\d{1,5}\)?){2,6}" + _END, re.ASCII
)
_AMERICAN = re.compile(
    r"(?<![0-9A-Za-z_.+\-])(?:1[ .-]?)?"
    r"(?:\([2-9]\d{2}\)[ .-]?\d{3}[ .-]\d{4}|[2-9]\d{2}(?:([ .-])\d{3}\1|/\d{3}-)\d{4})"
    r"(?![0-9A-Za-z_]|[.\-]\d)",
    re.ASCII,
)
_NATIONAL = re.compile(
    r"(?<![0-9A-Za-z_.+\-])(?:\(0[1-9]\d{0,4}\)[ ]?|0[1-9]\d{0,4}[ .\-/])\d{2,8}(?:[ .\-/]\d{2,8}){0,4}"
    r"(?![0-9A-Za-z_]|[.\-/]\d)",
    re.ASCII,
)
_BRITISH_MOBILE = re.compile(_START + r"(?<![.+\-])07[1-9]\d{8}" + _END + r"(?!\.\d)", re.ASCII)
_CHINESE_MOBILE = re.compile(
    r"(?<![0-9A-Za-z_.+\-])(?:86[ -]?)?1(?:3\d|4[5-9]|5[0-35-9]|6[2567]|7[0-8]|8\d|9[0-35-9])([ -]?)\d{4}\1\d{4}"
    r"(?![0-9A-Za-z_]|[.\-]\d)",
    re.ASCII,
)
_WORD_BEFORE = re.compile(
    r"\b(?:phone|tel|cell|mobile|call|text|dial|reach|number|contact|fax|whatsapp)[^\n\d]{0,24}$",
    re.IGNORECASE,
)
_CALLED = re.compile(
    r"(?:(?:\b(?:tele)?phone|\bph|\btel|\bmobile|\bcell(?:phone)?|\bfax|\bwhatsapp|\bcontact no"
    r"|\b(?:call|reach|dial|ring|phone|text|contact)(?=\W+(?:me|us|him|her|them|my|at|on)\b))"
    r"(?:[\W_]+(?:number|no|nr|num|is|was|are|at|on|me|us|my|him|her|them)\b){0,4}[^\w\n+(]{0,4}"
    r"|(?:手机|电话|座机|联系方式|致电|拨打|打给|传真|热线)(?:号码|号|是|为|[:：\s]){0,4})[+(]{0,2}$",
    re.IGNORECASE,
)
_BARE = re.compile(r"[+(]{0,2}\d(?:[ .\-()/]{0,2}\d){6,14}" + _END, re.ASCII)
_SOCIAL_SECURITY = re.compile(
    r"(?:\bssn\b|\bsocial security\b(?: (?:number|no))?)[^\w\n]{0,3}(?:is\W{1,2})?$", re.IGNORECASE
)
_SSN_ANY_FORM = re.compile(r"(?!000|666|9)\d{3}[ -]?(?!00)\d{2}[ -]?(?!0000)\d{4}" + _END, re.ASCII)

_DATE = re.compile(
    r"\d{1,2}([./\-])\d{1,2}\1(?:\d{4}|\d{2})(?: \d{1,2})?|(?:19|20)\d{2}([./\- ])\d{1,2}\2\d{1,2}.*",
    re.ASCII,
)
# A slash or an equals sign before may be a path, a list or "phone="; after, a slash may be "fax/phone".
_SIGNS_BEFORE = tuple("*+×÷^<$€£¥￥")
_SIGNS_AFTER = tuple("=*+×÷^%>")
_BOOK = re.compile(r"(?:isbn|issn|doi|arxiv)[\w:\-. ]{0,12}$", re.IGNORECASE)
_COUNTRY_CODES = frozenset(
    (
        "1 7 20 27 30 31 32 33 34 36 39 40 41 43 44 45 46 47 48 49 51 52 53 54 55 56 57 58 60 61 62 63 64 65 66 "
        "81 82 84 86 90 91 92 93 94 95 98 211 212 213 216 218 220 221 222 223 224 225 226 227 228 229 230 231 232 "
        "233 234 235 236 237 238 239 240 241 242 243 244 245 246 248 249 250 251 252 253 254 255 256 257 258 260 "
        "261 262 263 264 265 266 267 268 269 290 291 297 298 299 350 351 352 353 354 355 356 357 358 359 370 371 "
        "372 373 374 375 376 377 378 380 381 382 383 385 386 387 389 420 421 423 500 501 502 503 504 505 506 507 "
        "508 509 590 591 592 593 594 595 596 597 598 599 670 672 673 674 675 676 677 678 679 680 681 682 683 685 "
        "686 687 688 689 690 691 692 850 852 853 855 856 880 886 960 961 962 963 964 965 966 967 968 970 971 972 "
        "973 974 975 976 977 992 993 994 995 996 998"
    ).split()
)


def numbers(text: str) -> Iterator[Span]:
    """Cards, national ids, then phones: the surest first, so that what is found twice goes by its surest kind."""
    for area in _AREA.finditer(text):
        count = len(_digits(area.group()))
        if count < 7:
            continue
        # A plus or brackets may lead; what follows decides too. Lookbehinds see what is before `start`.
        start, end = max(0, area.start() - 2), area.end() + 4
        if count >= 17:
            for match in _RESIDENT.finditer(text, start, end):
                if is_resident_id(match.group()):
                    yield Span("national_id", *match.span())
        if count >= 13:
            for match in _CARD.finditer(text, start, end):
                if is_card(_digits(match.group())) and not _in_a_sum(text, *match.span()):
                    yield Span("card", *match.span())
        before = text[max(0, area.start() - 48) : area.start()]
        if count >= 9:
            for match in _SSN.finditer(text, start, end):
                if not _in_a_sum(text, *match.span()):
                    yield Span("national_id", *match.span())
            if (match := _SSN_ANY_FORM.match(text, area.start())) and _SOCIAL_SECURITY.search(
                before
            ):
                yield Span("national_id", *match.span())
        yield from _phones(text, area, count, before)


def _phones(text: str, area: re.Match[str], count: int, before: str) -> Iterator[Span]:
    """Phones in one area, by their form or by the word before it."""
    start, end = max(0, area.start() - 2), area.end() + 4
    if "+" in text[start : area.end()]:
        for match in _INTERNATIONAL.finditer(text, start, end):
            if _is_international(_digits(match.group())) and not _in_a_sum(text, *match.span()):
                yield Span("phone", *match.span())
    for pattern, accepts in _FORMS if count >= 9 else ():
        for match in pattern.finditer(text, start, end):
            found, (first, last) = match.group(), match.span()
            if (
                accepts(found, text[max(0, first - 40) : first])
                and not _in_a_sum(text, first, last)
                and not _BOOK.search(before)
            ):
                yield Span("phone", first, last)
    if _CALLED.search(before):
        lead = len(before) - len(before.rstrip("+("))
        match = _BARE.match(text, area.start() - lead)
        if match and not _DATE.fullmatch(match.group()) and not _in_a_sum(text, *match.span()):
            yield Span("phone", *match.span())


def _digits(text: str) -> str:
    return text.translate(_NO_DIGITS)


def _in_a_sum(text: str, start: int, end: int) -> bool:
    """Whether an arithmetic sign stands on either side, or a currency before: 15000000000 / 3, $13,800,138,000."""
    after = text[end : end + 3].lstrip()
    is_divided = after[:2] == "/ " and after[2:].isdecimal()
    before = text[max(0, start - 3) : start].rstrip()
    return is_divided or after.startswith(_SIGNS_AFTER) or before.endswith(_SIGNS_BEFORE)


def _is_international(digits: str) -> bool:
    """Whether digits after a plus begin with a country's code and have its length, as far as that is known."""
    if not 8 <= len(digits) <= 15:
        return False
    if digits[0] == "1":
        return len(digits) == 11 and digits[1] >= "2"
    if digits.startswith("86"):
        return 11 <= len(digits) <= 13
    return any(digits[:length] in _COUNTRY_CODES for length in (1, 2, 3))


def _is_from_abroad(found: str, _before: str) -> bool:
    return _is_international(_digits(found)[2:])


def _is_chinese_mobile(found: str, _before: str) -> bool:
    digits = _digits(found)[-11:]
    return not digits.endswith("000000") and len(set(digits)) > 2


def _is_american(found: str, before: str) -> bool:
    """Gaps of spaces alone are too common in lists of numbers to go without a word; brackets and hyphens are not."""
    return any(mark in found for mark in "(-./") or bool(_WORD_BEFORE.search(before))


def _is_national(found: str, _before: str) -> bool:
    """A leading zero, gaps, and nine to twelve digits, which are no date and no row of equal steps."""
    groups = [int(group) for group in re.findall(r"\d+", found)]
    steps = {b - a for a, b in pairwise(groups)}
    is_row = len(groups) > 2 and len(steps) == 1
    is_pairs = len(groups) > 5  # five pairs are a French number, six are a draw of the lottery
    return 9 <= len(_digits(found)) <= 12 and not (_DATE.fullmatch(found) or is_row or is_pairs)


_FORMS: tuple[tuple[re.Pattern[str], Callable[[str, str], bool]], ...] = (
    (_CHINESE_MOBILE, _is_chinese_mobile),
    (_AMERICAN, _is_american),
    (_BRITISH_MOBILE, lambda _found, _before: True),
    (_NATIONAL, _is_national),
    (_ABROAD, _is_from_abroad),
)
"""Each with what decides, from the match and the 40 characters before it."""
