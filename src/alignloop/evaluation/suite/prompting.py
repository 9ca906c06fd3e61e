"""From an item to tokens: in plain text or in the chat format, made to fit the model's context."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from alignloop.data.formatter import Formatter, encode_plain
from alignloop.data.records import Prompt
from alignloop.errors import DataError
from alignloop.evaluation.suite.config import Format
from alignloop.evaluation.tasks.task import Item, Setting, gap, prompt_text


@dataclass(frozen=True, slots=True)
class Asked:
    """A prompt as it goes to the model."""

    text: str
    tokens: list[int]
    shots: int
    """Examples in it, those of a fixed primer included."""
    is_cut: bool
    """Whether the query itself lost its beginning."""


class Prompter:
    """Makes the prompts of one policy."""

    def __init__(self, formatter: Formatter, form: Format, context: int) -> None:
        """Prompts for a model.

        Args:
            context: longest sequence that the model reads, prompt and answer together.
        """
        self._formatter, self._form, self._context = formatter, form, context
        begin = formatter.tokenizer.bos_token_id
        # What stands before a plain text.
        self.start = formatter.end if begin is None else int(begin)

    def prompt(
        self,
        setting: Setting,
        examples: Sequence[Item],
        item: Item,
        separator: str,
        longest_answer: int,
    ) -> Asked:
        """An item's prompt, with room for the answer.

        Where it does not fit, examples are left out, the first one first; where it does not fit without any, the query
        loses its beginning: in a question about a passage the question stands last [TASK-04].

        Raises:
            DataError: not even that helps.
        """
        room = self._context - longest_answer
        shown = [
            *setting.primer,
            *(f"{one.query}{gap(one.query)}{one.answer}" for one in _last(examples, setting.shots)),
        ]
        bare = Setting(setting.name, setting.instruction)
        for dropped in range(len(shown) + 1):
            primer = tuple(shown[dropped:])
            with_examples = Setting(setting.name, setting.instruction, primer)
            text = prompt_text(with_examples, (), item.query, separator)
            tokens = self._encoded(text)
            if len(tokens) <= room:
                return Asked(text, tokens, len(primer), is_cut=False)
        query = item.query
        while query:
            over = len(self._encoded(prompt_text(bare, (), query, separator))) - room
            if over <= 0:
                break
            kept = encode_plain(self._formatter.tokenizer, query)[over:]
            # a character that the cut went through is gone
            shorter = self._formatter.tokenizer.decode(kept).lstrip("\ufffd")
            query = shorter if len(shorter) < len(query) else query[1:]
        text = prompt_text(bare, (), query, separator)
        tokens = self._encoded(text)
        if len(tokens) > room or not query:
            raise DataError(
                f"item '{item.id}': the instruction and an answer of {longest_answer} tokens do not fit the model's "
                f"context of {self._context}"
            )
        return Asked(text, tokens, 0, is_cut=True)

    def choices(self, asked: Asked, item: Item) -> list[list[int]]:
        """Tokens of each choice as it would follow the prompt; no end token [TASK-02].

        Raises:
            DataError: one has no tokens.
        """
        before = gap(asked.text) if self._form == "plain" else ""
        found = [encode_plain(self._formatter.tokenizer, before + one) for one in item.choices]
        if not all(found):
            raise DataError(f"item '{item.id}': a choice has no tokens")
        return found

    def longest_choice(self, item: Item) -> int:
        """Tokens to leave room for."""
        return max(len(encode_plain(self._formatter.tokenizer, " " + one)) for one in item.choices)

    def _encoded(self, text: str) -> list[int]:
        if self._form == "chat":
            return self._formatter.prompt(Prompt(id="query", text=text))
        return [self.start, *encode_plain(self._formatter.tokenizer, text)]


def _last(examples: Sequence[Item], count: int) -> Sequence[Item]:
    return examples[len(examples) - count :]
