"""Simulated labelers: code in the place of people, and called that wherever their judgments appear.

Each has a taste of its own (stakes on the criteria) and a noise of its own: one draw per text, so a labeler
who is asked twice answers the same, and is wrong about a text against every other text, as people are. Five
train; two are held out: they never produce training data, and each has a criterion that neither gold nor a
training labeler uses.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from types import MappingProxyType
from typing import Literal

from alignloop.data.records import Completions, Prompt, Ranking
from alignloop.judges.agreement import Agreement, compare_ranks
from alignloop.judges.criteria import CRITERIA
from alignloop.judges.gold import POPULATION_STAKES
from alignloop.judges.heldout import HELD_OUT_CRITERIA
from alignloop.judges.lexicon import Lexicon
from alignloop.judges.taste import Taste

INSTRUCTIONS = "simulated-1"
"""Version of the tastes below, stored with every ranking."""

TIE_MARGIN = 0.2
"""Opinions that differ by no more nats are a tie: about a fifth of a text's worth."""

TRAINING_TASTES: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        # Wants the task done as set, and done to the end; what the story is about matters less.
        "sim-teacher": {
            "follows_instruction": 0.90,
            "ends_properly": 0.90,
            "reads_fluently": 0.90,
            "stays_on_subject": 0.30,
            "keeps_characters": 0.20,
            "keeps_voice": 0.10,
            "does_not_repeat": 0.60,
            "has_substance": 0.60,
        },
        # Reads aloud at bedtime: gentle, easy on the ear, the same people; the task matters less.
        "sim-parent": {
            "is_gentle": 0.90,
            "reads_fluently": 0.985,
            "keeps_characters": 0.60,
            "follows_instruction": 0.35,
            "ends_properly": 0.50,
            "keeps_voice": 0.10,
            "does_not_copy": 0.60,
            "has_substance": 0.50,
        },
        # Reads for language: flow, no repetition, the right tense, whole sentences.
        "sim-editor": {
            "reads_fluently": 0.99,
            "does_not_repeat": 0.95,
            "keeps_voice": 0.60,
            "ends_properly": 0.85,
            "follows_instruction": 0.50,
            "stays_on_subject": 0.30,
            "keeps_characters": 0.20,
            "is_gentle": 0.20,
        },
        # Wants the same people in the same story, and something new to happen to them.
        "sim-storyteller": {
            "keeps_characters": 0.85,
            "stays_on_subject": 0.85,
            "has_substance": 0.90,
            "follows_instruction": 0.50,
            "reads_fluently": 0.90,
            "ends_properly": 0.40,
            "is_gentle": 0.10,
        },
        # Has read it all before: no copying, no emptiness, no change of tone.
        "sim-librarian": {
            "does_not_copy": 0.95,
            "has_substance": 0.95,
            "does_not_repeat": 0.90,
            "keeps_voice": 0.50,
            "reads_fluently": 0.93,
            "follows_instruction": 0.60,
            "keeps_characters": 0.30,
        },
    }
)
"""What each training labeler has at stake; where a criterion is not named, as much as the population."""

HELD_OUT_TASTES: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        # Wants to see, hear and smell it.
        "sim-painter": {
            "is_vivid": 0.50,
            "follows_instruction": 0.60,
            "keeps_voice": 0.20,
            "has_substance": 0.60,
        },
        # Wants something to be done.
        "sim-adventurer": {"is_eventful": 0.50, "keeps_characters": 0.60, "stays_on_subject": 0.40},
    }
)
"""The same for the held-out labelers."""


@dataclass(frozen=True, slots=True)
class SimulatedLabeler:
    """One simulated labeler; a `Judge` as well."""

    name: str
    taste: Taste
    lexicon: Lexicon
    noise: float
    """Standard deviation of the noise, in nats of worth."""
    tie_margin: float = TIE_MARGIN
    """Largest difference of opinion, in nats, that is still a tie."""
    group: Literal["train", "heldout"] = "train"
    """Whether the rankings may train a model, or are kept for evaluation."""

    def opinion(self, prompt: Prompt, text: str) -> float:
        """The logarithm of the text's worth in this labeler's eyes, noise included."""
        return self.conviction(prompt, text) + self.noise * self.slip(prompt, text)

    def conviction(self, prompt: Prompt, text: str) -> float:
        """The logarithm of the text's worth, without noise (0 is perfect)."""
        return math.log(self.taste.utility(prompt, text, self.lexicon))

    def slip(self, prompt: Prompt, text: str) -> float:
        """A standard normal number that depends on the labeler, the prompt and the text alone."""
        digest = hashlib.sha256("\x1f".join((self.name, prompt.id, text)).encode("utf-8")).digest()
        uniform = (int.from_bytes(digest[:6], "big") + 0.5) / 2**48
        return NormalDist().inv_cdf(uniform)

    def prefer(self, prompt: Prompt, a: str, b: str) -> float:
        """1 where `a` is better, 0 where `b` is, 1/2 for a tie."""
        margin = self.opinion(prompt, a) - self.opinion(prompt, b)
        return 0.5 if abs(margin) <= self.tie_margin else float(margin > 0)

    def ranks(self, prompt: Prompt, texts: Sequence[str]) -> tuple[int, ...]:
        """A dense ranking (1 is the best) of the texts, with ties."""
        return ranks_of([self.opinion(prompt, text) for text in texts], self.tie_margin)

    def rank(self, item: Completions) -> Ranking:
        """Rank the completions of one prompt."""
        return Ranking(
            prompt=item.prompt,
            completions=item.completions,
            ranks=self.ranks(item.prompt, [completion.text for completion in item.completions]),
            labeler=self.name,
            instructions=INSTRUCTIONS,
        )


def training_labelers(
    lexicon: Lexicon, noise: float, tie_margin: float = TIE_MARGIN
) -> tuple[SimulatedLabeler, ...]:
    """The five labelers whose rankings train the reward model."""
    return tuple(
        SimulatedLabeler(
            name, Taste(CRITERIA, {**POPULATION_STAKES, **own}), lexicon, noise, tie_margin, "train"
        )
        for name, own in TRAINING_TASTES.items()
    )


def heldout_labelers(
    lexicon: Lexicon, noise: float, tie_margin: float = TIE_MARGIN
) -> tuple[SimulatedLabeler, ...]:
    """The two labelers who only evaluate."""
    criteria = {**CRITERIA, **HELD_OUT_CRITERIA}
    return tuple(
        SimulatedLabeler(
            name,
            Taste(criteria, {**POPULATION_STAKES, **own}),
            lexicon,
            noise,
            tie_margin,
            "heldout",
        )
        for name, own in HELD_OUT_TASTES.items()
    )


def ranks_of(opinions: Sequence[float], tie_margin: float) -> tuple[int, ...]:
    """Dense ranks with ties: from the best down, a text ties with its group's best or opens a group.

    Ties do not chain: the best and the worst of a group are never further apart than the margin.
    """
    order = sorted(range(len(opinions)), key=lambda index: (-opinions[index], index))
    ranks = [0] * len(opinions)
    rank, leader = 0, math.inf
    for index in order:
        if leader - opinions[index] > tie_margin:
            rank, leader = rank + 1, opinions[index]
        ranks[index] = rank
    return tuple(ranks)


def assign(
    prompts: Iterable[Prompt], labelers: Sequence[str], *, shared_share: float, seed: int
) -> dict[str, tuple[str, ...]]:
    """Who ranks what: each prompt goes to one labeler, a share of them to all; by hash, and evenly.

    Args:
        prompts: what is to be ranked; their order does not matter.
        labelers: names.
        shared_share: share of the prompts that all labelers rank, so that agreement can be
            measured.
        seed: another seed gives another assignment.

    Returns:
        prompt id -> names of its labelers, in the order of `labelers`.
    """
    if not labelers or not 0.0 <= shared_share <= 1.0:
        raise ValueError("assign needs at least one labeler and a share between 0 and 1")
    ids = sorted(
        {prompt.id for prompt in prompts},
        key=lambda id_: hashlib.sha256(f"{seed}/{id_}".encode()).digest(),
    )
    shared = round(shared_share * len(ids))
    everybody = tuple(labelers)
    return {
        id_: everybody if at < shared else (everybody[at % len(everybody)],)
        for at, id_ in enumerate(ids)
    }


def calibrate_noise(
    labelers: Sequence[SimulatedLabeler],
    groups: Sequence[tuple[Prompt, Sequence[str]]],
    target: float = 0.73,
) -> float:
    """The noise at which two labelers agree on `target` of the pairs that both ordered, found by bisection.

    Args:
        labelers: at least two; their own noise is not used.
        groups: prompts, each with the texts to rank: ordinary samples of the model whose samples
            will be ranked.
        target: agreement wanted, above 1/2 and below 1.

    Raises:
        ValueError: no noise gives that agreement (their tastes are too far apart, or never differ).
    """
    convictions = [
        [[who.conviction(p, text) for text in texts] for who in labelers] for p, texts in groups
    ]
    slips = [[[who.slip(p, text) for text in texts] for who in labelers] for p, texts in groups]

    def agreement(noise: float) -> float:
        total = Agreement()
        for clean, drawn in zip(convictions, slips, strict=True):
            ranks = [
                ranks_of(
                    [c + noise * s for c, s in zip(of_texts, draws, strict=True)], who.tie_margin
                )
                for who, of_texts, draws in zip(labelers, clean, drawn, strict=True)
            ]
            for at, own in enumerate(ranks):
                for other in ranks[at + 1 :]:
                    total += compare_ranks(own, other)
        return total.ordered_share

    low, high = 0.0, 16.0
    if not agreement(high) < target < agreement(low):
        raise ValueError(
            f"agreement lies between {agreement(high):.3f} and {agreement(low):.3f}, so it cannot be {target}"
        )
    for _ in range(24):
        middle = (low + high) / 2.0
        low, high = (middle, high) if agreement(middle) > target else (low, middle)
    return round((low + high) / 2.0, 4)
