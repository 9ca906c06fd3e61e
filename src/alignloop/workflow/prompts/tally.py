"""Counts of prompts by all that the report shows, made while they stream by; counts of two imports add up to both's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, cast

from alignloop.data.curation.demonstrations import check_demonstrations
from alignloop.data.curation.lengths import CountTokens
from alignloop.workflow.prompts.asking import (
    Given,
    Sets,
    Shown,
    Stored,
    asked_with_examples,
    comparison,
    demonstration,
    demonstrations,
    transcript,
)

Sums = Mapping[str, Any]
"""Numbers in tables within tables; lengths are keys of their own, as text."""

_AT_ONCE = 1024
_ALONE = Sets()


class Counted(Stored, Protocol):
    """What is counted of a prompt."""

    @property
    def split(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def use_case(self) -> str: ...
    @property
    def language(self) -> str: ...
    @property
    def annotations(self) -> Sequence[str]: ...
    @property
    def pii(self) -> Sequence[str]: ...
    @property
    def tokens(self) -> int: ...


def source_of(kind: str) -> str:
    """`labeler` or `customer`: the paper's two sources, of a kind."""
    return "customer" if kind == "customer" else "labeler"


class Tally:
    """Counts of prompts that were kept, with their answers."""

    def __init__(self, count_tokens: CountTokens) -> None:
        self._count_tokens = count_tokens
        self._counts: dict[str, Counter[tuple[str, ...]]] = {}
        self._lengths: Counter[tuple[str, str, int]] = Counter()
        self._waiting: list[tuple[Counted, Shown]] = []

    def add(
        self,
        prompt: Counted,
        answers: Sequence[Sequence[Given]] = (),
        tokens: int | None = None,
    ) -> None:
        """One more prompt, `tokens` long; as long as it says itself where that is not given.

        Args:
            answers: by the rows that they came with.
        """
        tokens = prompt.tokens if tokens is None else tokens
        source = source_of(prompt.kind)
        self._one("kinds", prompt.split, prompt.kind)
        self._one("use_cases", prompt.use_case or "not_given")
        self._one("languages", prompt.language or "und")
        self._lengths["split", prompt.split, tokens] += 1
        self._lengths["source", source, tokens] += 1
        self._lengths["use_case", prompt.use_case or "not_given", tokens] += 1
        for name in prompt.annotations:
            self._one("annotations", prompt.split, name)
        if prompt.pii:
            self._one("flagged", prompt.split)
            for kind in prompt.pii:
                self._one("personal_data", kind)
        if prompt.examples:
            self._one("few_shot", "prompts")
            self._counts["few_shot"]["examples",] += len(prompt.examples)
        if answers or prompt.examples:
            self._wait(prompt, demonstrations(prompt, answers, _ALONE))
        for one in answers:
            self._compare(prompt, one)

    def add_answers(self, prompt: Counted, answers: Sequence[Given]) -> None:
        """What one more row brought to a prompt that was counted before."""
        given = demonstration(answers)
        if given is not None:
            shown = Shown(asked_with_examples(prompt), given.text, given.labeler, given.model)
            self._wait(prompt, [shown])
        self._compare(prompt, answers)

    def add_length(self, group: str, name: str, tokens: int) -> None:
        """A length alone, of what is counted elsewhere."""
        self._lengths[group, name, tokens] += 1

    def sums(self) -> dict[str, Any]:
        """What was counted, as plain tables."""
        self._check_waiting()
        found: dict[str, Any] = {}
        for name, counter in sorted(self._counts.items()):
            for path, number in sorted(counter.items()):
                _put(found, (name, *path), number)
        for (group, name, tokens), number in sorted(self._lengths.items()):
            _put(found, ("lengths", group, name, str(tokens)), number)
        return found

    def _one(self, name: str, *path: str) -> None:
        counter = self._counts.get(name)
        if counter is None:
            counter = self._counts[name] = Counter()
        counter[path] += 1

    def _wait(self, prompt: Counted, shown: Iterable[Shown]) -> None:
        self._waiting += [(prompt, one) for one in shown]
        if len(self._waiting) >= _AT_ONCE:
            self._check_waiting()

    def _compare(self, prompt: Counted, answers: Sequence[Given]) -> None:
        if ranked := comparison(answers):
            ranks = Counter(rank for _, rank in ranked)
            pairs = len(ranked) * (len(ranked) - 1) // 2
            ties = sum(n * (n - 1) // 2 for n in ranks.values())
            self._one("comparisons", "rankings")
            self._one("answers", "rankings", prompt.split)
            self._one("comparisons", "by_k", str(len(ranked)))
            self._counts["comparisons"]["pairs",] += pairs - ties
            self._counts["comparisons"]["ties",] += ties
        elif len(answers) > 1:
            self._one("comparisons", "unranked")

    def _check_waiting(self) -> None:
        if not self._waiting:
            return
        # A demonstration can be the same as another of its own prompt alone, and those of a prompt wait together, or
        # came with rows of which the store keeps what is new: so looking at some at a time finds what there is.
        pairs = [
            (transcript(prompt.history, one.text), one.response) for prompt, one in self._waiting
        ]
        checks = check_demonstrations(pairs, count_tokens=self._count_tokens)
        lengths = self._count_tokens([response for _, response in pairs])
        for (prompt, shown), fault, tokens in zip(
            self._waiting, checks.faults, lengths, strict=True
        ):
            self._one("demonstrations", "checked")
            self._one("demonstrations", fault or "fit")
            if fault is None:
                self._one("answers", "demonstrations", prompt.split)
            if shown.model:
                self._one("demonstrations", "by_models")
            self._lengths["demonstration", source_of(prompt.kind), tokens] += 1
        self._waiting.clear()


def added(first: Sums, second: Sums) -> dict[str, Any]:
    """The sums of both."""
    both = dict(first)
    for name, value in second.items():
        if isinstance(value, Mapping):
            both[name] = added(both.get(name, {}), cast(Sums, value))
        else:
            both[name] = both.get(name, 0) + value
    return both


def _put(table: dict[str, Any], path: Sequence[str], number: int) -> None:
    for name in path[:-1]:
        table = table.setdefault(name, {})
    table[path[-1]] = number
