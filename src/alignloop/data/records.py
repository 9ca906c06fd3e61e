"""The records that stages exchange, one JSON object per line. Torch-free.

Every record can be traced: a prompt names its source and the group (user, organisation or title) that keeps it on one
side of the split; a completion names the model that wrote it; a ranking names who ranked and under which instructions.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, Self, cast

from pydantic import Field, model_validator

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


class Turn(Record):
    """One earlier turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    """Who said it; `system` is what the assistant was told before the conversation."""
    text: str = Field(min_length=1)
    """What was said, without any mark of a chat template."""


class Prompt(Record):
    """What somebody asked: one instruction, or the last message of a conversation.

    A bare string is read as a prompt of that text. `messages`, a list of {"role", "content"} that ends with the
    user's, stands for history and text; so does a bare list of them.
    """

    id: str
    """Unique within the project; made from the text, and the history if any, where it is not given."""
    text: str
    """The whole instruction, with any text that it refers to; in a conversation the user's last message."""
    history: tuple[Turn, ...] = ()
    """What was said before: user and assistant in turn, after a `system` turn if there is one."""
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
        elif isinstance(value, list):
            value = {"messages": cast(list[Any], value)}
        if not isinstance(value, dict):
            return value
        fields = cast(dict[str, Any], value)
        if "messages" in fields:
            fields = _without_messages(fields, ("text", "history"))
            *earlier, last = _turns(fields.pop("messages"))
            if last["role"] != "user":
                raise ValueError(
                    f"the messages of a prompt end with the user's, not {last['role']!r}"
                )
            fields |= {"text": last["text"], "history": earlier}
        text, history = fields.get("text"), fields.get("history", ())
        if "id" not in fields and isinstance(text, str):
            return {"id": _prompt_id(text, history), **fields}
        return fields

    @model_validator(mode="after")
    def _check(self) -> Self:
        roles = [turn.role for turn in self.history]
        spoken = roles[1:] if roles[:1] == ["system"] else roles
        if spoken != ["user", "assistant"] * (len(spoken) // 2):
            raise ValueError(
                "history goes system (or not), then user and assistant in turn, up to the assistant's turn before "
                f"'text'; here: {', '.join(roles)}"
            )
        return self

    @property
    def opening_id(self) -> str:
        """What prompts from one conversation share: the id that its opening, up to the first message, has alone."""
        if not self.history[1:]:
            return self.id
        return opening_id(self.text, [(turn.role, turn.text) for turn in self.history])

    @property
    def transcript(self) -> str:
        """The whole conversation as a person reads it: the text alone where nothing was said before."""
        if not self.history:
            return self.text
        said = [(turn.role, turn.text) for turn in self.history] + [("user", self.text)]
        return "\n\n".join(f"{role.capitalize()}: {text}" for role, text in said)


class Demonstration(Record):
    """A prompt and the response that a person wrote.

    `messages` that end with the assistant's stand for both; fields of the prompt may then stand beside them.
    """

    prompt: Prompt
    response: str
    """The response, without any end-of-text mark."""
    labeler: str = ""
    """Who wrote it."""
    instructions: str = ""
    """Version of the instructions they were given."""
    cohort: str = ""
    """`training` or `heldout`: which group of labelers they belong to."""

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, value: Any) -> Any:
        if not isinstance(value, dict) or "messages" not in value:
            return cast(Any, value)
        fields = _without_messages(cast(dict[str, Any], value), ("prompt", "response"))
        messages: Any = fields.pop("messages")
        last = _turns(messages)[-1]
        if last["role"] != "assistant" or len(messages) < 2:
            raise ValueError(
                "the messages of a demonstration end with the user's and the assistant's answer"
            )
        of_prompt = {name: fields.pop(name) for name in [*fields] if name in Prompt.model_fields}
        return {
            **fields,
            "prompt": {**of_prompt, "messages": messages[:-1]},
            "response": last["text"],
        }


def _without_messages(fields: dict[str, Any], stood_for: Sequence[str]) -> dict[str, Any]:
    """A copy to take `messages` out of, checked to hold nothing that they stand for."""
    if given := [name for name in stood_for if name in fields]:
        raise ValueError(f"'messages' stands for {' and '.join(stood_for)}; leave '{given[0]}' out")
    return dict(fields)


def _turns(messages: Any) -> list[dict[str, Any]]:
    """Messages as turns; their roles are checked where they become records."""
    if not isinstance(messages, list) or not messages:
        raise ValueError('\'messages\' is a list of {"role": ..., "content": ...}')
    turns: list[dict[str, Any]] = []
    for number, message in enumerate(cast(list[Any], messages), start=1):
        given = cast(dict[str, Any], message) if isinstance(message, dict) else {}
        if set(given) != {"role", "content"} or not isinstance(given["content"], str):
            raise ValueError(f"message {number} needs 'role' and 'content', a text, and no more")
        turns.append({"role": given["role"], "text": given["content"]})
    return turns


def opening_id(text: str, history: Sequence[tuple[str, str]]) -> str:
    """The id of a conversation's opening, up to the user's first message, from `text` and (role, text) before it."""
    told: list[dict[str, str]] = []
    for role, said in history:
        if role == "user":
            return _prompt_id(said, told)
        told.append({"role": role, "text": said})
    return _prompt_id(text, told)


def _prompt_id(text: str, history: Any) -> str:
    """An id made from what was said; what is no turn is refused afterwards, where its place is known."""
    turns = cast(Sequence[Any], history if isinstance(history, list | tuple) else ())
    told = [dict(cast(Mapping[str, Any], turn)) for turn in turns if isinstance(turn, Turn | dict)]
    said = json.dumps([told, text], sort_keys=True) if told else text
    return f"prompt-{hashlib.sha256(said.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"


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
    cohort: str = ""
    """`training` or `heldout`: which group of labelers they belong to; `users`: it was chosen on the chat page."""

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


class Rating(Record):
    """What one labeler said of one completion by itself, before ranking (Table 3 of the paper)."""

    prompt: Prompt
    completion: Completion
    likert: int = Field(ge=1, le=7)
    """Overall quality, 1 (worst) to 7 (best)."""
    flags: Mapping[str, bool]
    """Every question of the campaign's flag set, and its answer."""
    notes: str = ""
    """Free text."""
    labeler: str
    """Who rated."""
    instructions: str = ""
    """Version of the instructions they were given."""
    cohort: str = ""
    """`training` or `heldout`: which group of labelers they belong to."""
