"""Rankings of any length made to fit a small model's context, and how much that took away. Torch-free."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from alignloop.data.formatter import Formatter, encode_texts
from alignloop.data.records import Completion, Prompt, Ranking


@dataclass(frozen=True, slots=True)
class Fitted:
    """A ranking with the lengths of a tokenizer: whole, and as a model can read it."""

    whole: Ranking
    cut: Ranking

    @property
    def is_prompt_cut(self) -> bool:
        """Whether earlier turns or the end of the message are missing."""
        return self.cut.prompt != self.whole.prompt

    @property
    def cut_answers(self) -> int:
        """How many answers lost their end."""
        return sum(not completion.finished for completion in self.cut.completions)


def fit(
    rankings: Sequence[Ranking], formatter: Formatter, context: int, longest_answer: int
) -> list[Fitted]:
    """Cut what does not fit.

    An answer keeps its first `longest_answer` tokens, as if the model had been stopped there: a cut one has no end
    token. A prompt gets what the longest answer of its ranking leaves. It loses its earliest turns, a question with its
    answer at a time, and then the end of its last message.

    Args:
        context: tokens of prompt and answer together.
    """
    fitted: list[Fitted] = []
    for ranking in rankings:
        encoded = encode_texts(formatter.tokenizer, [c.text for c in ranking.completions])
        whole = [
            completion.model_copy(update={"tokens": len(tokens) + 1})
            for completion, tokens in zip(ranking.completions, encoded, strict=True)
        ]
        cut = [
            completion
            if completion.tokens <= longest_answer
            else _stopped(completion, tokens[:longest_answer], formatter)
            for completion, tokens in zip(whole, encoded, strict=True)
        ]
        room = context - max(completion.tokens for completion in cut)
        shortened = {
            "prompt": _shortened(ranking.prompt, formatter, room),
            "completions": tuple(cut),
        }
        fitted.append(
            Fitted(
                ranking.model_copy(update={"completions": tuple(whole)}),
                ranking.model_copy(update=shortened),
            )
        )
    return fitted


def _stopped(completion: Completion, tokens: list[int], formatter: Formatter) -> Completion:
    return completion.model_copy(
        update={
            "text": formatter.text(tokens),
            "finished": False,
            "tokens": len(tokens),
            "token_ids": tuple(tokens),
        }
    )


def _shortened(prompt: Prompt, formatter: Formatter, room: int) -> Prompt:
    over = len(formatter.prompt(prompt)) - room
    while over > 0 and prompt.history:
        prompt = prompt.model_copy(update={"history": prompt.history[2:]})
        over = len(formatter.prompt(prompt)) - room
    keep = len(encode_texts(formatter.tokenizer, [prompt.text])[0])
    while over > 0 and keep > 0:
        # What is left may be spelled in other tokens than it was, so it is measured again.
        keep -= over
        tokens = encode_texts(formatter.tokenizer, [prompt.text])[0][: max(keep, 0)]
        prompt = prompt.model_copy(update={"text": formatter.text(tokens)})
        over = len(formatter.prompt(prompt)) - room
    return prompt
