"""Phrases of doubt and of hedging: crude lists of English, which see words and no meaning."""

from __future__ import annotations

import re

DOUBT = (
    *("actually", "in fact", "in reality", "contrary to", "however"),
    *(
        "myth",
        "misconception",
        "misunderstanding",
        "mistaken",
        "mistake",
        "incorrect",
        "inaccurate",
    ),
    *("not true", "not correct", "not possible", "impossible", "false", "wrong", "untrue"),
    *(
        "no such",
        "there is no",
        "there are no",
        "there was no",
        "there were no",
        "nobody",
        "no one",
    ),
    *("no,", "no.", "never", "no evidence", "no record"),
    *("is not", "isn't", "are not", "aren't", "was not", "wasn't", "were not", "weren't"),
    *("do not", "don't", "does not", "doesn't", "did not", "didn't", "has not", "hasn't"),
    *("have not", "haven't", "cannot", "can't", "could not", "couldn't"),
)
"""Denials and words of correction. A right answer to a sound question has some too, which is why there are pairs."""
HEDGES = (
    *("it depends", "depends on", "hard to say", "difficult to say", "not sure", "not certain"),
    *("unsure", "uncertain", "i think", "i believe", "i guess", "in my opinion", "it seems"),
    *("seems to", "appears to", "may be", "might", "maybe", "perhaps", "possibly", "probably"),
    *("presumably", "arguably", "it is possible", "it's possible", "could be", "not necessarily"),
    *("no one correct answer", "no single answer", "no definitive answer", "no definite answer"),
    *("there are many", "there are different", "various factors", "many factors", "some people"),
    *("some say", "opinions differ", "opinions vary", "generally speaking", "as an ai"),
    *("language model", "i cannot answer", "i can't answer", "i don't know", "i do not know"),
    *("cannot be answered", "to some extent", "in some cases", "it varies", "sort of", "kind of"),
)
"""Words with which an answer takes back what it says, or says nothing."""


def _pattern(phrases: tuple[str, ...]) -> re.Pattern[str]:
    longest_first = sorted(phrases, key=len, reverse=True)
    return re.compile(rf"(?<![\w'])(?:{'|'.join(map(re.escape, longest_first))})(?![\w'])")


_DOUBT, _HEDGES = _pattern(DOUBT), _pattern(HEDGES)


def voices_doubt(answer: str) -> bool:
    """Whether a phrase of `DOUBT` stands in the answer, as whole words in any case."""
    return bool(_DOUBT.search(_plain(answer)))


def hedges(answer: str) -> bool:
    """Whether a phrase of `HEDGES` stands in the answer, as whole words in any case."""
    return bool(_HEDGES.search(_plain(answer)))


def _plain(text: str) -> str:
    return " ".join(text.lower().replace("’", "'").split())
