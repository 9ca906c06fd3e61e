"""From tokens to text that may be shown: whole characters, and nothing that a stop sequence may still swallow."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tokenizers import Tokenizer

from alignloop.generation.continuous import Drawn

_BROKEN = "\ufffd"
"""What a decoder writes for bytes that are no character, or are not one yet."""


class WholeCharacters:
    """The text of tokens as they come. A character whose bytes are spread over tokens waits for its last.

    Bytes that are no character, which a policy may draw, are left out.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._tokens: list[int] = []
        """From a place where a character began: those that were shown last, which the next may depend on, and newer."""
        self._shown = 0
        """How many of these were shown."""

    def push(self, token: int) -> str:
        """What this token adds to what can be shown."""
        self._tokens.append(token)
        new = self._new()
        if not new or new.endswith(_BROKEN):
            return ""
        self._tokens = self._tokens[self._shown :]
        self._shown = len(self._tokens)
        return new.replace(_BROKEN, "")

    def finish(self) -> str:
        """What is left at the end."""
        return self._new().replace(_BROKEN, "")

    def _new(self) -> str:
        whole = self._tokenizer.decode(self._tokens, skip_special_tokens=False)
        old = self._tokenizer.decode(self._tokens[: self._shown], skip_special_tokens=False)
        return whole[len(old) :]


class StopFinder:
    """Text up to the first of some sequences; the beginning of one is held back until it is known to be none."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""
        self.is_found = False

    def push(self, text: str) -> str:
        """What may be shown after this much more; nothing more once a sequence is found."""
        if self.is_found:
            return ""
        self._held += text
        found = [at for stop in self._stops if (at := self._held.find(stop)) >= 0]
        if found:
            self.is_found = True
            shown, self._held = self._held[: min(found)], ""
            return shown
        kept = self._beginning()
        shown = self._held[: len(self._held) - kept]
        self._held = self._held[len(shown) :]
        return shown

    def finish(self) -> str:
        """What was held back, where no sequence came of it."""
        shown, self._held = self._held, ""
        return shown

    def _beginning(self) -> int:
        """Length of the longest end of the held text that a stop sequence begins with."""
        longest = max((len(stop) for stop in self._stops), default=1) - 1
        for length in range(min(longest, len(self._held)), 0, -1):
            if any(stop.startswith(self._held[-length:]) for stop in self._stops):
                return length
        return 0


class Stripped:
    """Text without the white space at its two ends, as `Formatter.text` gives it."""

    def __init__(self) -> None:
        self._space = ""
        self._has_begun = False

    def push(self, text: str) -> str:
        """What may be shown: white space waits for what follows it."""
        text = self._space + text
        if not self._has_begun:
            text = text.lstrip()
        shown = text.rstrip()
        self._has_begun = self._has_begun or bool(shown)
        self._space = text[len(shown) :]
        return shown


@dataclass(frozen=True, slots=True)
class ToldToken:
    """A token of an answer, for those who asked for log-probabilities."""

    token: int
    log_prob: float | None
    """None of a prompt's first token, which has nothing before it."""
    top: tuple[tuple[int, float], ...]
    offset: int
    """Characters of the text before it."""


@dataclass(frozen=True, slots=True)
class Piece:
    """What may be shown of an answer from here on."""

    text: str
    tokens: tuple[ToldToken, ...] = ()


class AnswerText:
    """One answer's text, piece by piece; together the pieces are the answer."""

    def __init__(self, tokenizer: Tokenizer, stops: Sequence[str], *, strips: bool) -> None:
        self._characters, self._stops = WholeCharacters(tokenizer), StopFinder(stops)
        self._strip = Stripped() if strips else None
        self._read, self._shown = 0, 0
        """Characters, before white space is left out at the ends."""
        self._told: list[ToldToken] = []

    @property
    def is_stopped(self) -> bool:
        """Whether a stop sequence was found."""
        return self._stops.is_found

    def push(self, drawn: Drawn) -> Piece:
        """One more token, not the end token."""
        if drawn.log_prob is not None:
            self._told.append(ToldToken(drawn.token, drawn.log_prob, drawn.top, self._read))
        text = self._characters.push(drawn.token)
        self._read += len(text)
        return self._piece(self._stops.push(text))

    def finish(self) -> Piece:
        """What is left, at the end."""
        text = self._stops.push(self._characters.finish())
        if self.is_stopped:
            return self._piece(text)
        piece = self._piece(text + self._stops.finish())
        rest, self._told = tuple(self._told), []
        return Piece(piece.text, piece.tokens + rest)

    def _piece(self, text: str) -> Piece:
        self._shown += len(text)
        shown = sum(told.offset < self._shown for told in self._told)
        tokens, self._told = tuple(self._told[:shown]), self._told[shown:]
        return Piece(text if self._strip is None else self._strip.push(text), tokens)


class TokenNames:
    """A token's bytes, and a text for it: of half a character `bytes:\\xe2`, since it has no other."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        decoder: Any = json.loads(tokenizer.to_str()).get("decoder") or {}
        kinds = {decoder.get("type"), *(one["type"] for one in decoder.get("decoders", []))}
        self._byte_of = _byte_alphabet() if "ByteLevel" in kinds else {}
        self._added = {token for token in tokenizer.get_added_tokens_decoder()}

    def bytes_of(self, token: int) -> bytes:
        """The bytes that the token adds to a text."""
        name = self._tokenizer.id_to_token(token) or ""
        if token not in self._added:
            if self._byte_of and all(char in self._byte_of for char in name):
                return bytes(self._byte_of[char] for char in name)
            if len(name) == 6 and name.startswith("<0x") and name.endswith(">"):
                return bytes.fromhex(name[3:5])
        return self._tokenizer.decode([token], skip_special_tokens=False).encode()

    def text_of(self, token: int) -> str:
        """The token as text."""
        found = self.bytes_of(token)
        try:
            return found.decode()
        except UnicodeDecodeError:
            return "bytes:" + "".join(f"\\x{byte:02x}" for byte in found)


def _byte_alphabet() -> dict[str, int]:
    """The characters that byte-level BPE writes bytes as: printable ones as they are, the others from 256 on."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(b): b for b in plain} | {chr(256 + at): byte for at, byte in enumerate(others)}
