"""The one place that turns a prompt and a response into tokens: SFT, reward model, sampling and RL all call it.

Every turn of a conversation is tokenised apart from the marks around it, so no token ever straddles prompt and
response, and nobody's text can forge a special token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from jinja2 import TemplateError

from alignloop.data.records import Completion, Prompt
from alignloop.data.tokenizer import END, PROMPT, RESPONSE
from alignloop.errors import DataError, ModelError

_SENTINEL = "\u241fturn {}\u241f"
_PLAIN = ("Instruction:\n", "\n\nResponse:\n")


@dataclass(frozen=True, slots=True)
class Conversation:
    """A prompt as tokens, ready for a response.

    `answers`: (start, stop) of every earlier turn of the assistant, the end token included where the format writes one.
    """

    tokens: list[int]
    answers: list[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Formatter:
    """A chat template's marks around every turn, then the response and the end token."""

    tokenizer: Any
    end: int
    pad: int
    _template: str | None
    """Our own, for a tokenizer without."""
    _marks: dict[tuple[str, ...], list[list[int]]] = field(default_factory=dict)
    """Tokens around the turns, by who speaks in them."""

    @classmethod
    def of(cls, tokenizer: Any) -> Formatter:
        """The format of a tokenizer: its chat template if it has one, our marks if it knows them, plain words if not.

        Raises:
            ModelError: the chat template does not keep the user's text as it is.
        """
        own = None if getattr(tokenizer, "chat_template", None) else _own_template(tokenizer)
        formatter = cls(tokenizer, int(tokenizer.eos_token_id), tokenizer.pad_token_id or 0, own)
        formatter._marks_around(("user",))
        return formatter

    def prompt(self, prompt: Prompt) -> list[int]:
        """Tokens of a whole prompt, with all that was said before, ready for a response."""
        return self.prompts([prompt])[0]

    def prompts(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        """`prompt` for many at once, on all cores."""
        return [conversation.tokens for conversation in self.conversations(prompts)]

    def prompts_with_room(
        self, prompts: Sequence[Prompt], longest_response: int, context: int
    ) -> list[list[int]]:
        """`prompts`, each of which leaves room for the longest response, in tokens.

        Raises:
            DataError: one does not.
        """
        encoded = self.prompts(prompts)
        for prompt, tokens in zip(prompts, encoded, strict=True):
            if len(tokens) + longest_response > context:
                raise DataError(
                    f"prompt '{prompt.id}' has {len(tokens)} tokens; with a response of up to "
                    f"{longest_response} it does not fit the context of {context}: lower sampling.max_new_tokens, "
                    "or leave the prompt out"
                )
        return encoded

    def conversations(self, prompts: Sequence[Prompt]) -> list[Conversation]:
        """Many prompts as tokens, and where in them the assistant spoke.

        Raises:
            ModelError: the chat template refuses such a conversation, or changes what was said in it.
        """
        said = [[*(turn.text for turn in p.history), p.text] for p in prompts]
        encoded = iter(encode_texts(self.tokenizer, [text for texts in said for text in texts]))
        found: list[Conversation] = []
        for prompt in prompts:
            roles = (*(turn.role for turn in prompt.history), "user")
            first, *marks = self._marks_around(roles)
            conversation = Conversation([*first], [])
            for role, mark in zip(roles, marks, strict=True):
                start = len(conversation.tokens)
                conversation.tokens.extend(next(encoded))
                if role == "assistant":
                    closing = mark.index(self.end) + 1 if self.end in mark else 0
                    stop = len(conversation.tokens) + closing
                    conversation.answers.append((start, stop))
                conversation.tokens.extend(mark)
            found.append(conversation)
        return found

    def _marks_around(self, roles: tuple[str, ...]) -> list[list[int]]:
        """Tokens before the first turn, between any two, and after the last; a template may look at all the roles."""
        if roles not in self._marks:
            sentinels = [_SENTINEL.format(number) for number in range(len(roles))]
            turns = [{"role": r, "content": s} for r, s in zip(roles, sentinels, strict=True)]
            try:
                rest = self.tokenizer.apply_chat_template(
                    turns, chat_template=self._template, tokenize=False, add_generation_prompt=True
                )
            except TemplateError as error:
                raise ModelError(
                    f"the tokenizer's chat template refuses a conversation of {', '.join(roles)}: {error}"
                ) from None
            marks: list[str] = []
            for sentinel in sentinels:
                if rest.count(sentinel) != 1:
                    raise ModelError(
                        f"the tokenizer's chat template changes what was said ({', '.join(roles)}); "
                        "it cannot be used for this"
                    )
                mark, rest = rest.split(sentinel)
                marks.append(mark)
            self._marks[roles] = [self._with_special_tokens(mark) for mark in [*marks, rest]]
        return self._marks[roles]

    def _with_special_tokens(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    def response(self, text: str) -> list[int]:
        """Tokens of a response and the end token.

        Raises:
            DataError: the response has no tokens.
        """
        tokens = self._plain(text)
        if not tokens:
            raise DataError("a response has no tokens; every response needs some text")
        return [*tokens, self.end]

    def completion(self, completion: Completion) -> list[int]:
        """Tokens of what a model wrote: as drawn where this tokenizer reads them so, else its text tokenised.

        One that ended by itself has its end token; a truncated one does not, exactly as the policy left it.

        Raises:
            DataError: it has no tokens.
        """
        drawn = list(completion.token_ids)
        ends = drawn[-1:] == [self.end]
        if drawn and ends == completion.finished and self._reads(drawn) == completion.text:
            return drawn
        tokens = self.response(completion.text)
        return tokens if completion.finished else tokens[:-1]

    def _reads(self, tokens: list[int]) -> str | None:
        """The text of tokens that may belong to another tokenizer."""
        return self.text(tokens) if max(tokens) < len(self.tokenizer) else None

    def text(self, tokens: list[int]) -> str:
        """The text of a drawn response: everything before the end token."""
        body = tokens[:-1] if tokens and tokens[-1] == self.end else tokens
        return str(self.tokenizer.decode(body, skip_special_tokens=False)).strip()

    def _plain(self, text: str) -> list[int]:
        return encode_plain(self.tokenizer, text)


def encode_plain(tokenizer: Any, text: str) -> list[int]:
    """Tokens of text that nobody may hide a special token in: what looks like one is spelled out."""
    return tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]


def encode_texts(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """`encode_plain` for many texts at once, on all cores."""
    if not texts:
        return []
    return tokenizer(list(texts), add_special_tokens=False, split_special_tokens=True)["input_ids"]


def set_chat_template(tokenizer: Any) -> None:
    """Write this format into the tokenizer as a chat template, so that other tools format prompts the same way."""
    if not getattr(tokenizer, "chat_template", None):
        tokenizer.chat_template = _own_template(tokenizer)


def _own_template(tokenizer: Any) -> str:
    """Marks around each of the user's turns, and the end token after every other: a response's, or a system turn's."""
    marks = PROMPT in tokenizer.get_vocab()
    before, after = (PROMPT, RESPONSE) if marks else _PLAIN
    end = END if marks else tokenizer.eos_token
    return (
        "{% for message in messages %}{% if message['role'] == 'user' %}"
        f"{{{{ {before!r} + message['content'] + {after!r} }}}}"
        "{% else %}"
        f"{{{{ message['content'] + {end!r} }}}}"
        "{% endif %}{% endfor %}"
    )
