"""Everything one evaluation knows about one model: its answers, and what every judge made of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from alignloop.data import text as prose
from alignloop.data.records import Completion
from alignloop.generation.answers import Answer


@dataclass(slots=True)
class Answers:
    """One model's answers to the test prompts, in the prompts' order."""

    name: str
    answers: list[Answer]
    template: str | None = None
    """How the model was asked, where it knows no instructions."""
    kl: dict[str, float] = field(default_factory=dict)
    """Mean over answers of the summed log-ratio to `reference` and `sft`, in nats."""

    @property
    def completions(self) -> list[Completion]:
        """The answers as records."""
        return [answer.completion for answer in self.answers]

    @property
    def tokens(self) -> list[list[int]]:
        """The answers as they were drawn."""
        return [answer.tokens for answer in self.answers]

    @property
    def texts(self) -> list[str]:
        """The answers' texts."""
        return [completion.text for completion in self.completions]

    def eos_rate(self) -> float:
        """Share of the answers that ended by themselves."""
        return sum(c.finished for c in self.completions) / len(self.completions)

    def mean_length(self) -> float:
        """Tokens per answer, EOS included."""
        return sum(c.tokens for c in self.completions) / len(self.completions)

    def distinct(self, order: int) -> float:
        """Different word n-grams as a share of all, over all answers together: low where answers are alike."""
        grams: Counter[tuple[str, ...]] = Counter()
        for text in self.texts:
            words = prose.words(text)
            grams.update(tuple(words[i : i + order]) for i in range(len(words) - order + 1))
        return len(grams) / max(sum(grams.values()), 1)
