"""The records that stages exchange, one JSON object per line. Torch-free.

Every record can be traced: a prompt names its source and the group (user, organisation or title) that keeps it on one
side of the split; a completion names the model that wrote it; a ranking names who ranked and under which instructions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any, Self, cast

from pydantic import model_validator

from alignloop.config import Config
from alignloop.data.constraints import Constraint


class Record(Config):
    """Base of every record: frozen and closed, like a config."""


class Text(Record):
    """One document of a pretraining corpus."""

    id: str
    """Unique within the file."""
    text: str
    """The document."""
    group: str = ""
    """The unit that the split keeps whole: here the title's group."""
    source: str = ""
    """Where the text comes from, for reports per source."""
    title: str = ""
    """Name of the work."""
    starts: bool = True
    """Whether it starts where its work starts: a later stretch, or one whose opening was cut, does not."""


def texts_sha256(texts: Iterable[Text]) -> str:
    """SHA-256 over the documents' text alone: the same however they are packed, and whatever is noted beside them."""
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.text.encode())
        digest.update(b"\0")
    return digest.hexdigest()


class Prompt(Record):
    """What somebody asked. A bare string is read as a prompt of that text."""

    id: str
    """Unique within the project; made from the text where it is not given."""
    text: str
    """The whole instruction, with any text that it refers to."""
    group: str = ""
    """The unit that the split keeps whole: a user, an organisation, or a title."""
    source: str = ""
    """Who wrote it: `labeler_plain`, `labeler_fewshot`, `labeler_user_based`, `customer`, or the name of a data set."""
    use_case: str = ""
    """The kind of task, as in the paper's Table 1, or the name of a template."""
    context: str = ""
    """The part of the text that the instruction refers to (the opening of a story, say)."""
    constraints: tuple[Constraint, ...] = ()
    """What a program can check about a response."""

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = {"text": value}
        if not isinstance(value, dict):
            return value
        fields = cast(dict[str, Any], value)
        text = fields.get("text")
        if "id" not in fields and isinstance(text, str):
            digest = hashlib.sha256(text.encode()).hexdigest()
            return {"id": f"prompt-{digest[:16]}", **fields}
        return fields


class Demonstration(Record):
    """A prompt and the response that a person wrote."""

    prompt: Prompt
    response: str
    """The response, without any end-of-text mark."""
    labeler: str = ""
    """Who wrote it."""
    instructions: str = ""
    """Version of the instructions they were given."""


class Completion(Record):
    """One response that a model wrote."""

    text: str
    """The response, without any end-of-text mark."""
    model: str
    """Name of the model that wrote it."""
    finished: bool
    """Whether it ended by itself (EOS) rather than at the length limit."""
    tokens: int
    """Length in tokens, the EOS included."""
    token_ids: tuple[int, ...] = ()
    """The tokens as they were drawn, the EOS included; empty where that is not known. The same text can be spelled in
    other tokens, and a reward model is to learn from what the policy writes."""


class Completions(Record):
    """The completions of one prompt, to be ranked or compared."""

    prompt: Prompt
    completions: tuple[Completion, ...]


class Ranking(Record):
    """One labeler's ranking of the K completions of one prompt; equal ranks are ties."""

    prompt: Prompt
    completions: tuple[Completion, ...]
    ranks: tuple[int, ...]
    """One per completion: 1 is the best, equal numbers are ties."""
    labeler: str
    """Who ranked."""
    instructions: str = ""
    """Version of the instructions they were given."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(self.ranks) != len(self.completions):
            raise ValueError(f"{len(self.completions)} completions but {len(self.ranks)} ranks")
        if len(self.completions) < 2:
            raise ValueError("a ranking needs at least two completions")
        if any(rank < 1 for rank in self.ranks):
            raise ValueError("ranks start at 1 (the best)")
        return self

    def pairs(self) -> list[tuple[int, int]]:
        """Indices (preferred, other) of every pair that is not a tie, in a fixed order."""
        count = len(self.ranks)
        return [
            (i, j) if self.ranks[i] < self.ranks[j] else (j, i)
            for i in range(count)
            for j in range(i + 1, count)
            if self.ranks[i] != self.ranks[j]
        ]
