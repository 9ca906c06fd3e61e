"""A conversation in the terminal: prompt and answer in turn, streamed as it is drawn."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

from alignloop.data.formatter import Formatter
from alignloop.data.records import Prompt, Turn
from alignloop.errors import DataError
from alignloop.generation.engine import SamplingConfig
from alignloop.generation.native import stream_tokens
from alignloop.models.loading import context_length, load_causal_lm, load_tokenizer
from alignloop.runs.artifact import open_artifact

HELP = (
    r"One prompt a line (\n makes a line break); /new forgets what was said; "
    "an empty line or Ctrl-D ends."
)
_LEAST_ROOM = 8
"""Tokens that an answer needs at least."""


class Chat:
    """A policy that answers prompts, and knows what was said before."""

    def __init__(
        self,
        model: Path,
        sampling: SamplingConfig,
        seed: int | None = None,
        *,
        remembers: bool = True,
    ) -> None:
        """Open a `policy` artefact, its run folder, or a Hugging Face causal LM folder.

        Args:
            seed: repeats a conversation; without it every conversation is new.
            remembers: whether a prompt is read after the turns before it; else every prompt stands alone.
        """
        artifact = open_artifact(model, "policy")
        self._formatter = Formatter.of(load_tokenizer(artifact.path))
        self._policy = load_causal_lm(artifact.path)
        self._sampling = sampling
        self._seed = secrets.randbits(48) if seed is None else seed
        self._remembers = remembers
        self._turns = 0
        self.history: tuple[Turn, ...] = ()

    def answer(self, prompt: str) -> Iterator[str]:
        """Pieces of the answer's text as they are drawn; together they are the answer.

        The oldest turns are forgotten where they and the longest answer do not fit the context together.

        Raises:
            DataError: the prompt alone leaves no room for an answer.
        """
        context = context_length(self._policy)
        history, tokens = self.history, self._after(self.history, prompt)
        while history and len(tokens) + self._sampling.max_new_tokens > context:
            history = history[2:]
            tokens = self._after(history, prompt)
        room = context - len(tokens)
        if room < _LEAST_ROOM:
            raise DataError(
                f"the prompt has {len(tokens)} tokens, the policy's context is {context}; "
                "ask something shorter"
            )
        limit = min(self._sampling.max_new_tokens, room)
        sampling = self._sampling.model_copy(update={"max_new_tokens": limit})
        self._turns += 1
        drawn: list[int] = []
        shown = ""
        for token in stream_tokens(
            self._policy, tokens, sampling, self._formatter.end, self._seed + self._turns
        ):
            drawn.append(token)
            text = self._formatter.text(drawn)
            # A character of several bytes may be half drawn: wait for the rest of it.
            if text.startswith(shown) and not text.endswith("\ufffd"):
                yield text[len(shown) :]
                shown = text
        if self._remembers and shown:
            said = Turn(role="user", text=prompt), Turn(role="assistant", text=shown)
            self.history = (*history, *said)

    def _after(self, history: tuple[Turn, ...], prompt: str) -> list[int]:
        return self._formatter.prompt(Prompt(id="chat", text=prompt, history=history))

    def forget(self) -> None:
        """Start a new conversation."""
        self.history = ()


def converse(chat: Chat, ask: Callable[[], str], show: Callable[[str], None]) -> None:
    """Prompt, answer, prompt, answer, until the user ends it."""
    while prompt := ask().strip():
        if prompt == "/new":
            chat.forget()
            show("(a new conversation)\n")
            continue
        try:
            for piece in chat.answer(prompt.replace("\\n", "\n")):
                show(piece)
        except DataError as error:
            show(f"({error})")
        show("\n")
