"""A conversation in the terminal: prompt and answer in turn, streamed as it is drawn."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

from alignloop.data.formatter import Formatter
from alignloop.data.records import Completion, Prompt, Turn
from alignloop.errors import DataError
from alignloop.generation.continuous import Drawn
from alignloop.generation.engine import SamplingConfig
from alignloop.generation.native import stream_tokens
from alignloop.models.loading import context_length, load_causal_lm, load_tokenizer
from alignloop.runs.artifact import open_artifact
from alignloop.serving.text import AnswerText

HELP = (
    r"One prompt a line (\n makes a line break); /new forgets what was said; "
    "an empty line or Ctrl-D ends."
)
_LEAST_ROOM = 8
"""Tokens that an answer needs at least."""


class Speaker:
    """A policy that answers in a conversation, and keeps none itself."""

    def __init__(self, model: Path, sampling: SamplingConfig) -> None:
        """Open a `policy` artefact, its run folder, or a Hugging Face causal LM folder."""
        artifact = open_artifact(model, "policy")
        self.name = model.resolve().name
        self._formatter = Formatter.of(load_tokenizer(artifact.path))
        self._policy = load_causal_lm(artifact.path)
        self._sampling = sampling

    def fitting(self, history: tuple[Turn, ...], prompt: str) -> tuple[Turn, ...]:
        """The turns that fit the context with the prompt and the longest answer; the oldest are forgotten first.

        Raises:
            DataError: the prompt alone leaves no room for an answer.
        """
        context = context_length(self._policy)
        tokens = self._tokens(history, prompt)
        room = max(self._sampling.max_new_tokens, _LEAST_ROOM)
        while history and len(tokens) + room > context:
            history = history[2:]
            tokens = self._tokens(history, prompt)
        if context - len(tokens) < _LEAST_ROOM:
            raise DataError(
                f"the prompt has {len(tokens)} tokens, the policy's context is {context}; "
                "ask something shorter"
            )
        return history

    def answer(
        self,
        history: tuple[Turn, ...],
        prompt: str,
        seed: int,
        keep: Callable[[Completion], object],
    ) -> Iterator[str]:
        """Pieces of the answer's text as they are drawn; together they are the answer.

        Args:
            history: turns that fit.
            keep: gets the whole answer at the end.
        """
        tokens = self._tokens(history, prompt)
        limit = min(self._sampling.max_new_tokens, context_length(self._policy) - len(tokens))
        sampling = self._sampling.model_copy(update={"max_new_tokens": limit})
        end = self._formatter.end
        text = AnswerText(self._formatter.tokenizer.backend_tokenizer, (), strips=True)
        drawn: list[int] = []
        shown = ""
        for token in stream_tokens(self._policy, tokens, sampling, end, seed):
            drawn.append(token)
            piece = "" if token == end else text.push(Drawn(token)).text
            if piece:
                shown += piece
                yield piece
        if rest := text.finish().text:
            shown += rest
            yield rest
        keep(
            Completion(
                text=shown,
                model=self.name,
                finished=drawn[-1:] == [end],
                tokens=len(drawn),
                token_ids=tuple(drawn),
            )
        )

    def _tokens(self, history: tuple[Turn, ...], prompt: str) -> list[int]:
        return self._formatter.prompt(Prompt(id="chat", text=prompt, history=history))


class Chat:
    """A conversation with a policy."""

    def __init__(
        self,
        model: Path,
        sampling: SamplingConfig,
        seed: int | None = None,
        *,
        remembers: bool = True,
    ) -> None:
        """A conversation in which nothing was said yet.

        Args:
            model: see `Speaker`.
            seed: repeats a conversation; without it every conversation is new.
            remembers: whether a prompt is read after the turns before it; else every prompt stands alone.
        """
        self.speaker = Speaker(model, sampling)
        self.seed = secrets.randbits(48) if seed is None else seed
        self._remembers = remembers
        self.turns = 0
        self.history: tuple[Turn, ...] = ()

    def answer(self, prompt: str) -> Iterator[str]:
        """Pieces of the answer's text as they are drawn; together they are the answer.

        Raises:
            DataError: the prompt alone leaves no room for an answer.
        """
        history = self.speaker.fitting(self.history, prompt)
        self.turns += 1
        said: list[Completion] = []
        yield from self.speaker.answer(history, prompt, self.seed + self.turns, said.append)
        self.remember(history, prompt, said[0].text)

    def remember(self, history: tuple[Turn, ...], prompt: str, answer: str) -> None:
        """A prompt and its answer, after the turns that were read with them."""
        if self._remembers and answer:
            said = Turn(role="user", text=prompt), Turn(role="assistant", text=answer)
            self.history = (*history, *said)

    def forget(self) -> None:
        """Start a new conversation."""
        self.history = ()


def converse(
    chat: Chat,
    ask: Callable[[], str],
    show: Callable[[str], None],
    compare: Callable[[str], object] | None = None,
) -> None:
    """Prompt, answer, prompt, answer, until the user ends it.

    Args:
        compare: what `/compare PROMPT` does, where there is another policy to compare with.
    """
    while prompt := ask().strip():
        if prompt == "/new":
            chat.forget()
            show("(a new conversation)\n")
            continue
        verb, _, rest = prompt.partition(" ")
        is_comparison = verb == "/compare"
        if is_comparison and (compare is None or not rest.strip()):
            told = (
                "start with --against PATH to compare"
                if compare is None
                else "write the prompt behind it: /compare PROMPT"
            )
            show(f"({told})\n")
            continue
        try:
            if is_comparison and compare is not None:
                compare(_with_breaks(rest.strip()))
                continue
            for piece in chat.answer(_with_breaks(prompt)):
                show(piece)
        except DataError as error:
            show(f"({error})")
        show("\n")


def _with_breaks(prompt: str) -> str:
    return prompt.replace("\\n", "\n")
