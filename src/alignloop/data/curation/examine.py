"""What can be said of a prompt without looking at any other: the work that several processes share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from alignloop.data.curation.config import CurationConfig
from alignloop.data.curation.keys import digests, group
from alignloop.data.curation.language import UNDETERMINED, LanguageDetector, given_language
from alignloop.data.curation.lengths import counter
from alignloop.data.curation.outcomes import Found, Reason
from alignloop.data.curation.patterns import Patterns
from alignloop.data.curation.presidio import PatternsAndPresidio
from alignloop.data.curation.spans import Detector, Span, scrub
from alignloop.data.incoming import Candidate
from alignloop.data.split import Side, side_of


class Row(NamedTuple):
    """What another process needs of a candidate: plain values, since a million of them are sent."""

    text: str
    history: tuple[tuple[str, str], ...]
    examples: tuple[tuple[str, str], ...]
    answers: tuple[str, ...]
    consent: bool | None
    language: str
    user: str
    organization: str


class Look(NamedTuple):
    """What was seen of one row: where `reason` is given, it is dropped whatever the others are."""

    reason: Reason | None
    detail: str = ""
    tokens: int = 0
    language: str = UNDETERMINED
    text_digest: bytes = b""
    prefix_digest: bytes | None = None
    group: str = ""
    side: Side = "train"
    pii: tuple[tuple[str, str, int, int], ...] = ()
    """(part, kind, start, end)."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What an examiner is made from, in whatever process."""

    config: CurationConfig
    detector: Detector | None = None
    """Instead of the config's."""


class Examiner:
    """Looks at rows, some at a time; the same in every process, so that their number changes nothing.

    Raises:
        ConfigError, DataError, MissingExtraError: a language that is never detected, a tokenizer or package that is
            not there.
    """

    def __init__(self, setup: Setup) -> None:
        self._config = setup.config
        self._count = counter(setup.config.tokenizer)
        self._language = LanguageDetector()
        self._language.check(setup.config.languages)
        self._detector = setup.detector if setup.config.pii else None
        if setup.config.pii and self._detector is None:
            detector = PatternsAndPresidio if setup.config.pii_detector == "presidio" else Patterns
            self._detector = detector(setup.config.pii)

    def __call__(self, rows: Sequence[Row]) -> list[Look]:
        """One look per row, in their order."""
        looks = [_at_once(row) for row in rows]
        open_rows = [number for number, look in enumerate(looks) if look.reason is None]
        lengths = self._count([_whole(rows[number]) for number in open_rows])
        for number, tokens in zip(open_rows, lengths, strict=True):
            looks[number] = self._look(rows[number], tokens)
        return looks

    def _look(self, row: Row, tokens: int) -> Look:
        config = self._config
        if tokens > config.max_tokens:
            return Look("too_long", f"{tokens} tokens", tokens)
        language = given_language(row.language) or self._language(_asked(row))
        if config.languages and language not in (*config.languages, UNDETERMINED):
            return Look("language", language, tokens, language)
        digest, prefix = digests(row.text, row.history, row.examples, config.prefix_characters)
        kept_with = group(row.user, row.organization, config.split_by, row.text, row.history)
        side = side_of(kept_with, config.valid, config.test)
        return Look(None, "", tokens, language, digest, prefix, kept_with, side, self._pii(row))

    def _pii(self, row: Row) -> tuple[tuple[str, str, int, int], ...]:
        if self._detector is None:
            return ()
        if not row.history and not row.examples and not row.answers:
            spans = self._detector(row.text)
            return tuple(("text", span.kind, span.start, span.end) for span in spans)
        return tuple(
            (name, span.kind, span.start, span.end)
            for name, text in _parts(row)
            for span in self._detector(text)
        )


def row_of(candidate: Candidate, *, with_answers: bool) -> Row:
    """What is looked at of a candidate; its answers only where they may have to be scrubbed too."""
    answers = tuple(answer.text for answer in candidate.answers) if with_answers else ()
    return Row(
        candidate.text,
        candidate.history,
        candidate.examples,
        answers,
        candidate.consent,
        candidate.language,
        candidate.user,
        candidate.organization,
    )


def scrubbed(candidate: Candidate, found: Sequence[Found]) -> Candidate:
    """The candidate with every span replaced by its kind."""
    by_part: dict[str, list[Span]] = {}
    for one in found:
        by_part.setdefault(one.part, []).append(one.span)

    def clean(part: str, text: str) -> str:
        return scrub(text, by_part[part]) if part in by_part else text

    return replace(
        candidate,
        text=clean("text", candidate.text),
        history=tuple(
            (role, clean(f"history.{i}", text)) for i, (role, text) in enumerate(candidate.history)
        ),
        examples=tuple(
            (clean(f"examples.{i}.query", query), clean(f"examples.{i}.response", response))
            for i, (query, response) in enumerate(candidate.examples)
        ),
        answers=tuple(
            replace(answer, text=clean(f"answers.{i}", answer.text))
            for i, answer in enumerate(candidate.answers)
        ),
    )


def _at_once(row: Row) -> Look:
    if row.consent is False:
        return Look("consent", "the user did not agree to training on it")
    if not row.text.strip() or not any(
        sign.isprintable() and not sign.isspace() for sign in row.text
    ):
        return Look("empty")
    return Look(None)


def _parts(row: Row) -> list[tuple[str, str]]:
    parts = [(f"history.{i}", text) for i, (_, text) in enumerate(row.history)]
    parts.append(("text", row.text))
    for i, (query, response) in enumerate(row.examples):
        parts += [(f"examples.{i}.query", query), (f"examples.{i}.response", response)]
    return parts + [(f"answers.{i}", text) for i, text in enumerate(row.answers)]


def _asked(row: Row) -> str:
    """What the user wrote, the last message first: a short one alone would not tell its language."""
    return " ".join([row.text, *(text for role, text in row.history if role == "user")])


def _whole(row: Row) -> str:
    """All that a model would read of a prompt, for its length."""
    if not row.history and not row.examples:
        return row.text
    shown = [part for pair in row.examples for part in pair]
    return "\n\n".join([text for _, text in row.history] + [row.text, *shown])
