"""The one place that turns a prompt and a response into tokens: SFT, reward model, sampling and RL all call it.

Prompt and response are tokenised apart, so no token ever straddles the two, and user text cannot forge a special token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from alignloop.data.records import Completion
from alignloop.data.tokenizer import END, PROMPT, RESPONSE
from alignloop.errors import DataError, ModelError

_SENTINEL = "\u241fprompt\u241f"
_PLAIN = ("Instruction:\n", "\n\nResponse:\n")


@dataclass(frozen=True, slots=True)
class Formatter:
    """`before` + prompt + `after`, then the response and the end token."""

    tokenizer: Any
    before: tuple[int, ...]
    after: tuple[int, ...]
    end: int
    pad: int

    @classmethod
    def of(cls, tokenizer: Any) -> Formatter:
        """The format of a tokenizer: its chat template if it has one, our marks if it knows them, plain words if not.

        Raises:
            ModelError: the chat template does not keep the user's text as it is.
        """
        if getattr(tokenizer, "chat_template", None):
            turn = [{"role": "user", "content": _SENTINEL}]
            text = tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
            if text.count(_SENTINEL) != 1:
                raise ModelError(
                    "the tokenizer's chat template changes the user's text; it cannot be used"
                )
            before, after = text.split(_SENTINEL)
        elif PROMPT in tokenizer.get_vocab():
            before, after = PROMPT, RESPONSE
        else:
            before, after = _PLAIN

        def encode(text: str) -> tuple[int, ...]:
            return tuple(tokenizer(text, add_special_tokens=False)["input_ids"])

        pad = tokenizer.pad_token_id
        return cls(tokenizer, encode(before), encode(after), int(tokenizer.eos_token_id), pad or 0)

    def prompt(self, text: str) -> list[int]:
        """Tokens of a whole prompt, ready for a response."""
        return [*self.before, *self._plain(text), *self.after]

    def prompts(self, texts: Sequence[str]) -> list[list[int]]:
        """`prompt` for many texts at once, on all cores."""
        return [[*self.before, *ids, *self.after] for ids in encode_texts(self.tokenizer, texts)]

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
    if getattr(tokenizer, "chat_template", None):
        return
    marks = PROMPT in tokenizer.get_vocab()
    before, after = (PROMPT, RESPONSE) if marks else _PLAIN
    end = END if marks else tokenizer.eos_token
    tokenizer.chat_template = (
        "{% for message in messages %}{% if message['role'] == 'user' %}"
        f"{{{{ {before!r} + message['content'] + {after!r} }}}}"
        "{% else %}"
        f"{{{{ message['content'] + {end!r} }}}}"
        "{% endif %}{% endfor %}"
    )
