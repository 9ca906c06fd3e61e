"""How a judge reads a text: words, stems, names, pronouns, tense. Each reading is made once and kept."""

from __future__ import annotations

import re
from functools import lru_cache

from alignloop.data import text as prose
from alignloop.data.records import Prompt
from alignloop.judges.lexicon import WORD, Lexicon, stem_of

COPIED_RUN = 4
"""This many words in a row that stand in the prompt as well are copied."""

_KEPT = 16384
_PRONOUNS = {
    **dict.fromkeys(("he", "him", "his", "himself"), "he"),
    **dict.fromkeys(("she", "her", "hers", "herself"), "she"),
    **dict.fromkeys(("they", "them", "their", "theirs", "themselves"), "they"),
    **dict.fromkeys(
        ("i", "me", "my", "mine", "myself", "we", "us", "our", "ours", "ourselves"), "i"
    ),
}
_PAST = frozenset(
    "was were had did could would said went came saw took got made knew thought told found gave "
    "ran looked asked cried began felt stood heard sat left let fell brought answered replied".split()
)
_PRESENT = frozenset(
    "am is are has have do does can will shall may says goes comes sees takes gets makes knows "
    "thinks tells finds gives runs looks asks cries begins feels stands hears sits".split()
)
_NOT_PAST = frozenset(
    "indeed need seed weed feed reed speed breed bleed hundred naked wicked sacred".split()
)


def subject_of(prompt: Prompt) -> str:
    """What an answer should be about: the context, else a quoted title, else the whole instruction."""
    if prompt.context:
        return prompt.context
    title = re.search(r'["\u201c](.+?)["\u201d]', prompt.text)
    return title.group(1) if title else prompt.text


@lru_cache(maxsize=_KEPT)
def words(text: str) -> tuple[str, ...]:
    """Lower-case words, in order."""
    return tuple(prose.words(text))


@lru_cache(maxsize=_KEPT)
def sentences(text: str) -> tuple[tuple[str, ...], ...]:
    """The words of each sentence that has any."""
    return tuple(
        found for sentence in prose.sentences(text) if (found := tuple(prose.words(sentence)))
    )


@lru_cache(maxsize=_KEPT)
def plain_words(text: str) -> frozenset[str]:
    """The different words, without the possessive ending."""
    return frozenset(word.removesuffix("'s") for word in words(text))


@lru_cache(maxsize=_KEPT)
def stems(text: str) -> frozenset[str]:
    """The different stems."""
    return frozenset(stem_of(word) for word in words(text))


@lru_cache(maxsize=_KEPT)
def copied(source: str, text: str) -> tuple[bool, ...]:
    """For each word of `text`, whether it is part of a run of four words or more that stands in `source`."""
    there, here = words(source), words(text)
    runs = {there[at : at + COPIED_RUN] for at in range(len(there) - COPIED_RUN + 1)}
    is_copy = [False] * len(here)
    for at in range(len(here) - COPIED_RUN + 1):
        if here[at : at + COPIED_RUN] in runs:
            is_copy[at : at + COPIED_RUN] = [True] * COPIED_RUN
    return tuple(is_copy)


@lru_cache(maxsize=_KEPT)
def own_stems(prompt_text: str, text: str) -> frozenset[str]:
    """The different stems of the words that are not copied from the prompt."""
    here = zip(words(text), copied(prompt_text, text), strict=True)
    return frozenset(stem_of(word) for word, is_copy in here if not is_copy)


@lru_cache(maxsize=_KEPT)
def names(text: str, lexicon: Lexicon) -> frozenset[str]:
    """Names in lower case: words with a capital inside a sentence, elsewhere those never written small.

    In a title nearly all words have a capital, so there the second rule alone counts.
    """
    long_words = [word.removesuffix("'s") for word in WORD.findall(text) if len(word) > 2]
    capitalised = [word for word in long_words if word[0].isupper()]
    found = {word.lower() for word in capitalised if not lexicon.is_ordinary(word)}
    if len(capitalised) <= 0.6 * len(long_words):
        found.update(name.lower() for name in prose.names(text))
    return frozenset(found)


@lru_cache(maxsize=_KEPT)
def made_up(text: str, lexicon: Lexicon) -> int:
    """Number of words written small that are in no training title (hyphenated words part by part)."""
    return sum(
        part[0].islower() and not lexicon.knows(part)
        for word in WORD.findall(text)
        for part in word.split("-")
    )


@lru_cache(maxsize=_KEPT)
def fluency(text: str, lexicon: Lexicon) -> float:
    """`WordOrder.fluency` of its sentences."""
    return lexicon.word_order.fluency(sentences(text))


@lru_cache(maxsize=_KEPT)
def pronouns(text: str) -> frozenset[str]:
    """Which of he, she, they and I (with we) the text uses, in any form."""
    return frozenset(_PRONOUNS[word] for word in words(text) if word in _PRONOUNS)


@lru_cache(maxsize=_KEPT)
def narration(text: str) -> tuple[str, ...]:
    """Lower-case words outside double quotation marks."""
    return tuple(prose.words(" ".join(re.split(r'["\u201c\u201d]', text)[::2])))


def speaks_in_first_person(narrated: tuple[str, ...]) -> bool:
    """Whether the narrator says I or we."""
    return any(_PRONOUNS.get(word) == "i" for word in narrated)


def pastness(narrated: tuple[str, ...]) -> float:
    """From -1 (told in the present tense) to 1 (in the past), by counting verbs; 0 without any."""
    past = sum(word in _PAST or _is_regular_past(word) for word in narrated)
    present = sum(word in _PRESENT for word in narrated)
    return (past - present) / (past + present + 1)


def _is_regular_past(word: str) -> bool:
    return len(word) > 4 and word.endswith("ed") and word not in _NOT_PAST
