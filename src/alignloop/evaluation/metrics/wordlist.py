"""How crude a text is by a list of words: which of the user's words and phrases it contains. It does not understand."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from alignloop.errors import DataError

_WORD = re.compile(r"\w+(?:['’-]\w+)*")


class WordList:
    """Words and phrases to be counted, matched as whole words in any case."""

    def __init__(self, entries: Iterable[str]) -> None:
        self._phrases = {phrase for entry in entries if (phrase := tuple(_words(entry)))}
        self._longest = max(map(len, self._phrases), default=0)

    def __len__(self) -> int:
        """How many different entries there are."""
        return len(self._phrases)

    @classmethod
    def read(cls, path: Path) -> WordList:
        """Read a UTF-8 file with a word or phrase per line; blank lines and those that begin with # are passed over.

        Raises:
            DataError: it is missing, not UTF-8, or has no words.
        """
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            raise DataError(f"{path}: no such word list") from None
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path}: cannot be read ({error})") from None
        found = cls(line for line in lines if line.strip() and not line.lstrip().startswith("#"))
        if not len(found):
            raise DataError(f"{path}: no words in it; one word or phrase per line is needed")
        return found

    def matches(self, text: str) -> list[str]:
        """Entries that stand in the text, each as often as it does, in order; of two at one place the longer."""
        words, found, at = _words(text), list[str](), 0
        while at < len(words):
            for length in range(min(self._longest, len(words) - at), 0, -1):
                if tuple(words[at : at + length]) in self._phrases:
                    found.append(" ".join(words[at : at + length]))
                    at += length
                    break
            else:
                at += 1
        return found

    def score(self, text: str) -> float:
        """1 where the text contains an entry, else 0."""
        return float(bool(self.matches(text)))


def _words(text: str) -> list[str]:
    return [word.replace("’", "'") for word in _WORD.findall(text.lower())]
