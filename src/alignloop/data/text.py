"""Small, deterministic readings of English prose: sentences, words, names. The demo's tasks and judges share them."""

from __future__ import annotations

import re
import unicodedata

_ABBREVIATIONS = frozenset(
    {"mr", "mrs", "ms", "dr", "st", "messrs", "esq", "vol", "no", "jr", "sr"}
)
# An end mark with any closing quotes or brackets, followed by space and something that can open a sentence.
_SENTENCE_END = re.compile(r"""([.!?]+["'”’)\]]*)(\s+)(?=["'“‘(\[]*[A-Z0-9])""")
_WORD = re.compile(r"[A-Za-z]+(?:['’-][A-Za-z]+)*")
_CLOSERS = "\"'”’)] "
_QUOTES = '"“”'
# Single quotation marks: before a word that is no clipped one ('tis), and after a mark that ends or parts speech.
_OPENS = re.compile(
    r"""(?:^|[\s(\["“—-])['‘](?!(?:t(?:is|was|were|will|would)|em|cause|bout|round|neath|d)\b)(?=[A-Za-z])""",
    re.IGNORECASE,
)
_CLOSES = re.compile(r"""[,.!?;:-]['’](?=[\s")\]”—-]|$)""")


def normalize(text: str) -> str:
    """Unicode NFC with every run of white space made one space."""
    return re.sub(r"\s+", " ", unicodedata.normalize("NFC", text)).strip()


def sentences(text: str) -> list[str]:
    """Split prose into sentences; `Mr.` and its kin do not end one, nor does a mark followed by a small letter."""
    text = normalize(text)
    found: list[str] = []
    start = 0
    for match in _SENTENCE_END.finditer(text):
        before = text[start : match.start()].rsplit(" ", 1)[-1].lstrip("\"'“‘(").lower()
        is_abbreviation = match.group(1) == "." and (before in _ABBREVIATIONS or len(before) == 1)
        if is_abbreviation and before != "i":
            continue
        found.append(text[start : match.end(1)])
        start = match.end()
    if text[start:]:
        found.append(text[start:])
    return found


def words(text: str) -> list[str]:
    """Lower-cased words; an apostrophe or hyphen inside a word belongs to it."""
    return [word.lower().replace("’", "'") for word in _WORD.findall(text)]


def last_word(text: str) -> str:
    """The last word in lower case, or '' where there is none."""
    found = words(text)
    return found[-1] if found else ""


def ends_properly(text: str) -> bool:
    """Whether the text ends in a full stop, exclamation or question mark (closing quotes allowed after it)."""
    return text.rstrip().rstrip(_CLOSERS).endswith((".", "!", "?"))


def has_speech(text: str) -> bool:
    """Whether somebody speaks: any double quotation mark, or a single one that opens or closes and is no apostrophe."""
    return any(mark in text for mark in _QUOTES) or bool(
        _OPENS.search(text) or _CLOSES.search(text)
    )


def speech_is_whole(text: str) -> bool:
    """Whether every quotation that opens in the text closes in it, as far as the marks tell."""
    return sum(text.count(mark) for mark in _QUOTES) % 2 == 0 and len(_OPENS.findall(text)) == len(
        _CLOSES.findall(text)
    )


def names(text: str) -> list[str]:
    """Capitalised words that open no sentence or quotation, in order of first use: a guess at the names."""
    seen: dict[str, None] = {}
    for sentence in sentences(text):
        for match in _WORD.finditer(sentence):
            word = match.group()
            opens = not _WORD.search(sentence[: match.start()])
            after_quote = sentence[: match.start()].rstrip()[-1:] in "\"'“‘.!?-:"
            if word[0].isupper() and word[1:].islower() and not opens and not after_quote:
                seen.setdefault(word.removesuffix("'s").removesuffix("’s"), None)
    return [name for name in seen if len(name) > 2 and "'" not in name and name not in _NOT_NAMES]


_NOT_NAMES = frozenset(
    "The And But For She They You Yes Not Now Then There This That What When Where Why How Who Mrs Miss Lord Lady Sir "
    "God Heaven Christmas Thanksgiving Monday Tuesday Wednesday Thursday Friday Saturday Sunday January February March "
    "April May June July August September October November December English French German Chapter Mother Father".split()
)
