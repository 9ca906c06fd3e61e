"""What may be shown of an answer while it is written: whole characters, and nothing that a stop may still swallow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models

from alignloop.data.formatter import Formatter
from alignloop.generation.continuous import Drawn
from alignloop.models.loading import load_tokenizer
from alignloop.resources import asset
from alignloop.serving.text import (
    AnswerText,
    StopFinder,
    Stripped,
    TokenNames,
    ToldToken,
    WholeCharacters,
)

BASE = load_tokenizer(Path(str(asset("base"))))
READER: Tokenizer = BASE.backend_tokenizer
EMOJI = "\U0001f98a"


def tokens_of(text: str) -> list[int]:
    return READER.encode(text, add_special_tokens=False).ids


def in_bytes(text: str) -> list[int]:
    """One token per byte, so that every character beyond ASCII is split."""
    alphabet = {byte: char for char, byte in TokenNames(READER)._byte_of.items()}
    found = [READER.token_to_id(alphabet[byte]) for byte in text.encode()]
    assert None not in found
    return found


def pieces_of(tokens: Sequence[int]) -> list[str]:
    characters = WholeCharacters(READER)
    return [*(characters.push(token) for token in tokens), characters.finish()]


@given(st.text())
@example(f"a{EMOJI}b")
@example("\u4e2d\u6587")
@example("e\u0301")
def test_characters_split_over_tokens_come_whole(text: str) -> None:
    for tokens in (tokens_of(text), in_bytes(text)):
        pieces = pieces_of(tokens)

        # A replacement character that somebody wrote cannot be told from bytes that are no character.
        assert "".join(pieces) == text.replace("\ufffd", "")


@pytest.mark.parametrize("kept", [1, 2, 3])
def test_half_a_character_at_the_end_is_left_out(kept: int) -> None:
    assert "".join(pieces_of(in_bytes(f"a{EMOJI}")[: 1 + kept])) == "a"


def test_bytes_that_are_no_character_are_left_out() -> None:
    broken = in_bytes("\xe9")[:1]

    pieces = pieces_of([*tokens_of("a"), *broken, *tokens_of("b")])

    assert pieces == ["a", "", "b", ""]


def test_the_pieces_are_the_formatters_text() -> None:
    formatter = Formatter.of(BASE)
    tokens = tokens_of(f"  Once there was a {EMOJI}.\n\n")
    answer = AnswerText(READER, (), strips=True)

    shown = "".join(answer.push(Drawn(token)).text for token in tokens) + answer.finish().text

    assert shown == formatter.text([*tokens, formatter.end]) == f"Once there was a {EMOJI}."


def test_a_tokenizer_that_falls_back_to_bytes_is_read_as_well() -> None:
    """As Llama 2's: words with a mark for the space before them, and a token per byte for what it has no word for."""
    words = ["\u2581a", "\u2581b", *(f"<0x{byte:02X}>" for byte in range(256))]
    tokenizer = Tokenizer(models.BPE({w: i for i, w in enumerate(words)}, [], byte_fallback=True))
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("\u2581", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    characters = WholeCharacters(tokenizer)
    tokens = [0, *(2 + byte for byte in EMOJI.encode()), *(2 + byte for byte in EMOJI.encode()), 1]

    pieces = [characters.push(token) for token in tokens]

    assert pieces == ["a", "", "", "", EMOJI, "", "", "", EMOJI, " b"]
    names = TokenNames(tokenizer)
    assert [names.bytes_of(token) for token in tokens[1:5]] == [bytes([b]) for b in EMOJI.encode()]


# --- stop sequences ---


@given(
    st.lists(st.text("ab", max_size=5), max_size=12),
    st.lists(st.text("ab", min_size=1, max_size=4), max_size=3),
)
def test_text_ends_before_the_first_stop_sequence_wherever_it_is_cut(
    parts: list[str], stops: list[str]
) -> None:
    finder, shown = StopFinder(stops), ""
    whole = "".join(parts)
    for number, part in enumerate(parts, start=1):
        shown += finder.push(part)
        seen = "".join(parts[:number])
        # Whatever comes now, what was shown stays in front of the first stop sequence.
        for rest in ("a" * 5, "b" * 5, *stops):
            ends = [at for s in stops if (at := (seen + rest).find(s)) >= 0]
            if not finder.is_found:
                assert len(shown) <= min(ends, default=len(seen))
    found = finder.is_found
    shown += finder.finish()

    first_done = min(
        ((whole.find(s) + len(s), whole.find(s)) for s in stops if s in whole), default=None
    )
    assert found == (first_done is not None)
    assert whole.startswith(shown)
    if first_done is None:
        assert shown == whole
    else:
        assert not any(stop in shown for stop in stops)


def test_a_stop_sequence_across_tokens_is_never_shown() -> None:
    answer = AnswerText(READER, ("END", "\nYou:"), strips=False)
    shown: list[str] = []
    for char in "one E two EN\nYou: more":
        if not answer.is_stopped:
            shown.append(answer.push(Drawn(in_bytes(char)[0])).text)

    assert "".join(shown) + answer.finish().text == "one E two EN"
    assert answer.is_stopped
    assert shown[4] == "" and shown[5] == "E ", "held back until it is known to be no stop"


def test_a_stop_sequence_at_the_beginning_leaves_nothing() -> None:
    answer = AnswerText(READER, ("a",), strips=False)

    piece = answer.push(Drawn(in_bytes("a")[0], -1.0))

    assert (piece.text, piece.tokens, answer.finish().tokens) == ("", (), ())


def test_what_was_held_back_comes_at_the_end() -> None:
    answer = AnswerText(READER, ("END",), strips=False)
    shown = "".join(answer.push(Drawn(token)).text for token in in_bytes("the EN"))

    assert (shown, answer.finish().text) == ("the ", "EN")


# --- white space ---


@given(st.lists(st.text(" \n\tab\u00a0", max_size=4)))
def test_stripped_pieces_are_the_stripped_text(parts: list[str]) -> None:
    strip = Stripped()

    shown = [strip.push(part) for part in parts]

    assert "".join(shown) == "".join(parts).strip()


# --- log-probabilities go with the text ---


def test_tokens_are_told_with_their_text_and_those_of_a_stop_not_at_all() -> None:
    answer = AnswerText(READER, ("END",), strips=False)
    told: list[list[int]] = []
    tokens = in_bytes("a EN E\xe9END")
    for token in tokens:
        if not answer.is_stopped:
            piece = answer.push(Drawn(token, -1.0, ((token, -1.0),)))
            told.append([one.offset for one in piece.tokens])

    assert told == [[0], [1], [], [], [2, 3, 4], [], [], [5, 6, 6], [], [], []]
    assert answer.finish().tokens == ()


def test_without_a_stop_every_token_is_told() -> None:
    answer, tokens = AnswerText(READER, ("END",), strips=True), tokens_of(" a fox \n EN")
    told: list[ToldToken] = []
    for token in tokens:
        told += answer.push(Drawn(token, -0.5)).tokens
    told += answer.finish().tokens

    assert [one.token for one in told] == tokens


# --- names of tokens ---


@settings(max_examples=40)
@given(st.text(min_size=1))
def test_the_bytes_of_tokens_are_the_bytes_of_the_text(text: str) -> None:
    names = TokenNames(READER)

    assert b"".join(names.bytes_of(token) for token in tokens_of(text)) == text.encode()
    assert b"".join(names.bytes_of(token) for token in in_bytes(text)) == text.encode()


def test_half_a_character_has_a_name_of_its_own() -> None:
    first, second = in_bytes("\xe9")
    names = TokenNames(READER)

    assert (names.text_of(first), names.text_of(second)) == ("bytes:\\xc3", "bytes:\\xa9")
    assert names.text_of(tokens_of("a")[0]) == "a"
    assert names.text_of(BASE.eos_token_id) == BASE.eos_token
