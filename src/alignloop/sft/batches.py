"""Demonstrations as token ids, checked against the context."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from alignloop.data.formatter import Formatter
from alignloop.data.records import Demonstration
from alignloop.errors import DataError


@dataclass(frozen=True, slots=True)
class Example:
    """One demonstration as tokens."""

    prompt: list[int]
    response: list[int]


def encode_demonstrations(
    demonstrations: Sequence[Demonstration],
    formatter: Formatter,
    context: int,
    max_prompt_tokens: int | None,
) -> tuple[list[Example], int]:
    """Tokens of every demonstration, and how many were left out for a prompt beyond `max_prompt_tokens`.

    Raises:
        DataError: one does not fit the context, or has an empty response (its id is named); or none is left.
    """
    examples: list[Example] = []
    dropped = 0
    prompts = formatter.prompts([demonstration.prompt for demonstration in demonstrations])
    for demonstration, prompt in zip(demonstrations, prompts, strict=True):
        if max_prompt_tokens is not None and len(prompt) > max_prompt_tokens:
            dropped += 1
            continue
        try:
            response = formatter.response(demonstration.response)
        except DataError as error:
            raise DataError(f"demonstration '{demonstration.prompt.id}': {error}") from None
        if len(prompt) + len(response) > context:
            raise DataError(
                f"demonstration '{demonstration.prompt.id}' has {len(prompt)} + {len(response)} tokens, the context "
                f"is {context}; shorten it, or set max_prompt_tokens to leave such rows out"
            )
        examples.append(Example(prompt, response))
    if not examples:
        raise DataError("no demonstration is left to train on; look at max_prompt_tokens")
    return examples, dropped
