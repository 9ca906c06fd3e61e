"""What a stored prompt becomes where somebody is to answer it, and which of the answers that came along are whose.

A few-shot prompt is one row in the store, an instruction with K pairs of query and response. As a demonstration it is
K, each with the other pairs before it; as a prompt to be answered it is one: the last query, after all other pairs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from alignloop.data.curation.few_shot import FewShot, expand, sample_sets
from alignloop.data.records import Prompt


class Stored(Protocol):
    """What is needed of a prompt, on its way into the store or as a row of it."""

    @property
    def text(self) -> str: ...
    @property
    def history(self) -> Sequence[Sequence[str]]: ...
    @property
    def examples(self) -> Sequence[Sequence[str]]: ...


class Given(NamedTuple):
    """An answer that came with a prompt."""

    text: str
    rank: int | None
    model: str
    labeler: str


@dataclass(frozen=True, slots=True)
class Shown:
    """A prompt's text with its answer."""

    text: str
    """Without what was said before: that is the prompt's history."""
    response: str
    labeler: str = ""
    model: str = ""
    number: int = 0
    """Which demonstration of a few-shot prompt it is, from 1; 0 for the answer that came with the prompt itself."""


@dataclass(frozen=True, slots=True)
class Sets:
    """Further demonstrations of a few-shot prompt, with other sets of its pairs before the query (appendix A.3)."""

    count: int = 0
    size: int = 2
    """Pairs before the query, or as many as there are."""
    seed: int = 1


def demonstration(answers: Sequence[Given]) -> Given | None:
    """The one answer without a rank. Several without ranks are there to be ranked, and teach nothing yet."""
    return answers[0] if len(answers) == 1 and answers[0].rank is None else None


def comparison(answers: Sequence[Given]) -> list[tuple[Given, int]]:
    """Two or more answers with their ranks; else nothing."""
    ranked = [(one, one.rank) for one in answers if one.rank is not None]
    return ranked if len(ranked) > 1 else []


def demonstrations(
    prompt: Stored, answers: Sequence[Sequence[Given]], sets: Sets
) -> Iterator[Shown]:
    """What there is to learn by imitation: answers that came along, then a few-shot prompt's pairs, then further sets.

    Args:
        answers: by the rows that they came with.
    """
    for given in filter(None, map(demonstration, answers)):
        yield Shown(asked_with_examples(prompt), given.text, given.labeler, given.model)
    pairs = _pairs(prompt)
    shown = expand(prompt.text, pairs)
    if sets.count and len(pairs) > 1:
        size = min(sets.size, len(pairs) - 1)
        known = {(one.query, one.context) for one in shown}
        drawn = sample_sets(prompt.text, pairs, size=size, count=sets.count, seed=sets.seed)
        shown += [one for one in drawn if (one.query, one.context) not in known]
    for number, one in enumerate(shown, start=1):
        yield Shown(one.prompt(), one.response, number=number)


def asked_with_examples(prompt: Stored) -> str:
    """The text with its examples below it, where it has its own answer beside theirs."""
    if not prompt.examples:
        return prompt.text
    pairs = _pairs(prompt)
    # The words around each pair are FewShot's; an empty query at the end is cut off again.
    shown = FewShot(prompt.text, tuple(pairs), "", "").prompt()
    return shown.rpartition("\n\n")[0]


def to_answer(prompt: Stored, record: Prompt) -> Prompt:
    """The record of a prompt as it is put to a model or a labeler."""
    pairs = _pairs(prompt)
    if not pairs:
        return record
    last = expand(prompt.text, pairs)[-1]
    return record.model_copy(
        update={"id": few_shot_id(record.id, len(pairs)), "text": last.prompt()}
    )


def few_shot_id(prompt_id: str, number: int) -> str:
    """The id of what pair `number` of a few-shot prompt asks: the same wherever that is asked."""
    return f"{prompt_id}.{number}"


def transcript(history: Sequence[Sequence[str]], text: str) -> str:
    """A whole conversation as one text, to compare and to measure it."""
    return "\n\n".join([*(said for _, said in history), text])


def _pairs(prompt: Stored) -> list[tuple[str, str]]:
    return [(query, response) for query, response in prompt.examples]


def given_of(answers: Sequence[tuple[str, int | None, str, str]]) -> list[Given]:
    """A set of answers as the store has it, with names."""
    return [Given(*answer) for answer in answers]


def whole(prompt: Stored) -> str:
    """All that a model would read of a prompt, as curation measures it."""
    shown = [part for pair in prompt.examples for part in pair]
    return transcript(prompt.history, "\n\n".join([prompt.text, *shown]))
