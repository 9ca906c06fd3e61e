"""Judges of the machine's side: simulated labelers, reward models, a model behind an endpoint; each gives verdicts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from alignloop.data.records import Prompt
from alignloop.evaluation.winrate.config import WinRateConfig
from alignloop.evaluation.winrate.contestants import Answered, scores_of
from alignloop.evaluation.winrate.endpoint import Endpoint, Judged, Question
from alignloop.judges.gold import SAME, Gold
from alignloop.judges.labelers import SimulatedLabeler
from alignloop.judges.length_controlled import length_correlation
from alignloop.judges.measure import Measure, ratio
from alignloop.judges.verdicts import Verdict
from alignloop.models.reward_scorer import RewardScorer
from alignloop.progress import each


@dataclass(frozen=True, slots=True)
class Bench:
    """One judge of a report with all that it said."""

    name: str
    told: str
    """Who or what judged, in a sentence."""
    verdicts: Sequence[Verdict]
    is_simulated: bool = False
    checks: Mapping[str, Measure] = field(default_factory=dict[str, Measure])
    """Figures about the judge itself."""
    counts: Mapping[str, int] = field(default_factory=dict[str, int])
    more: Mapping[int, Mapping[str, Any]] = field(default_factory=dict[int, Mapping[str, Any]])
    """Place in `verdicts` -> what is written beside it."""
    unread: Sequence[Mapping[str, Any]] = ()
    """Replies without a verdict, as they came."""


@dataclass(frozen=True, slots=True)
class Matches:
    """Who is compared with whom, on what."""

    prompts: Sequence[Prompt]
    answered: Mapping[str, Answered]
    """In the order of the report."""
    pairs: Sequence[tuple[str, str]]
    """(policy, rival): the baseline is always the rival."""

    def each(self) -> Iterator[tuple[Prompt, str, str, str, str]]:
        """(prompt, a, b, text of a, text of b) for every pair and every prompt that both answered."""
        for a, b in self.pairs:
            of_a, of_b = self.answered[a].answers, self.answered[b].answers
            for prompt in self.prompts:
                if prompt.id in of_a and prompt.id in of_b:
                    yield prompt, a, b, of_a[prompt.id].text, of_b[prompt.id].text


def pairs_of(names: Sequence[str], baseline: str, which: str) -> list[tuple[str, str]]:
    """Pairs to compare: every policy with the baseline, then, if all are wanted, every two of the others."""
    others = [name for name in names if name != baseline]
    found = [(name, baseline) for name in others]
    return found + list(combinations(others, 2)) if which == "all" else found


def length_of(text: str) -> int:
    """In characters, which mean the same to every tokenizer."""
    return len(text)


def by_simulated(
    name: str, told: str, labelers: Sequence[SimulatedLabeler], matches: Matches, cohort: str
) -> Bench:
    """Verdicts of simulated labelers: each forms an opinion of an answer once, and prefers by it."""
    verdicts: list[Verdict] = []
    for labeler in each(labelers, told, "labeler"):
        opinions = {
            (prompt.id, text): labeler.opinion(prompt, text)
            for prompt, text in {
                (prompt.id, text): (prompt, text)
                for prompt, _, _, *texts in matches.each()
                for text in texts
            }.values()
        }
        for prompt, a, b, text_a, text_b in matches.each():
            ahead = opinions[prompt.id, text_a] - opinions[prompt.id, text_b]
            outcome = 0.5 if abs(ahead) <= labeler.tie_margin else float(ahead > 0)
            verdicts.append(_verdict(prompt, a, b, text_a, text_b, outcome, labeler.name, cohort))
    return Bench(name, told, verdicts, is_simulated=True)


def by_gold(gold: Gold, matches: Matches, config: WinRateConfig) -> Bench:
    """Verdicts of gold, which has no noise; with the mean worth of every policy's answers."""
    worth: dict[tuple[str, str], float] = {}
    means: dict[str, Measure] = {}
    for policy, one in matches.answered.items():
        asked = [prompt for prompt in matches.prompts if prompt.id in one.answers]
        of_policy = [gold.utility(prompt, one.answers[prompt.id].text) for prompt in asked]
        worth |= {
            (prompt.id, one.answers[prompt.id].text): value
            for prompt, value in zip(asked, of_policy, strict=True)
        }
        means[f"mean worth of {policy}"] = ratio(
            of_policy,
            [1.0] * len(asked),
            [prompt.id for prompt in asked],
            seed=config.seed,
            resamples=config.resamples,
            is_share=False,
        )
    verdicts: list[Verdict] = []
    for prompt, a, b, text_a, text_b in matches.each():
        ahead = worth[prompt.id, text_a] - worth[prompt.id, text_b]
        outcome = 0.5 if abs(ahead) <= SAME else float(ahead > 0)
        verdicts.append(_verdict(prompt, a, b, text_a, text_b, outcome, gold.name))
    told = (
        "gold, the fixed utility behind the simulated labelers, without their noise: code as well"
    )
    return Bench(gold.name, told, verdicts, is_simulated=True, checks=means)


def by_reward_model(
    name: str, told: str, scorer: RewardScorer, matches: Matches, config: WinRateConfig
) -> Bench:
    """Verdicts by the higher score; with how far scores go with length.

    Raises:
        DataError: an answer does not fit the model's context.
    """
    scores: dict[tuple[str, str], float] = {}
    means: dict[str, Measure] = {}
    lengths: list[tuple[float, int, str]] = []
    for policy, one in matches.answered.items():
        asked = [prompt for prompt in matches.prompts if prompt.id in one.answers]
        answers = [one.answers[prompt.id] for prompt in asked]
        found = scores_of(scorer, asked, answers)
        scores |= {
            (prompt.id, answer.text): score
            for prompt, answer, score in zip(asked, answers, found, strict=True)
        }
        scored = [
            (score, length_of(answer.text), prompt.id)
            for prompt, answer, score in zip(asked, answers, found, strict=True)
            if math.isfinite(score)
        ]
        lengths += scored
        means[f"mean score of {policy}"] = ratio(
            [score for score, _, _ in scored],
            [1.0] * len(scored),
            [prompt for _, _, prompt in scored],
            seed=config.seed,
            resamples=config.resamples,
            is_share=False,
        )
    verdicts = [
        _verdict(
            *(prompt, a, b, text_a, text_b),
            _by_score(scores[prompt.id, text_a], scores[prompt.id, text_b]),
            name,
        )
        for prompt, a, b, text_a, text_b in matches.each()
    ]
    correlation = length_correlation(
        [score for score, _, _ in lengths],
        [length for _, length, _ in lengths],
        [prompt for _, _, prompt in lengths],
        seed=config.seed,
        resamples=config.resamples,
    )
    empty = sum(not math.isfinite(score) for score in scores.values())
    return Bench(
        name,
        told,
        verdicts,
        checks={"correlation of score and length": correlation, **means},
        counts={"empty answers, which lose": empty} if empty else {},
    )


def by_endpoint(
    name: str, told: str, endpoint: Endpoint, matches: Matches, config: WinRateConfig
) -> Bench:
    """Verdicts of a judge model, both orders of every pair; with its inconsistency and its preference for a place.

    Raises:
        DataError: the endpoint refuses, or does not answer.
    """
    questions = [
        Question(prompt, a, b, text_a, text_b) for prompt, a, b, text_a, text_b in matches.each()
    ]
    answers = endpoint.judged(questions)
    verdicts: list[Verdict] = []
    more: dict[int, Mapping[str, Any]] = {}
    unread: list[Mapping[str, Any]] = []
    for one, found in zip(questions, answers, strict=True):
        outcome = found.outcome
        replies = {"replies": [found.first, found.second]} if found.was_asked else {}
        if outcome is None:
            unread.append({"prompt": one.prompt.id, "a": one.a, "b": one.b, **replies})
            continue
        more[len(verdicts)] = replies
        verdicts.append(
            _verdict(one.prompt, one.a, one.b, one.text_a, one.text_b, outcome, endpoint.model)
        )
    asked = [(q, a) for q, a in zip(questions, answers, strict=True) if a.was_asked]
    return Bench(
        name,
        told,
        verdicts,
        checks=_order_checks(asked, config),
        counts={
            "pairs asked about, in both orders": len(asked),
            "pairs of equal texts, ties unasked": len(questions) - len(asked),
            "pairs left out, a reply could not be read": len(unread),
        },
        more=more,
        unread=unread,
    )


def _order_checks(
    asked: Sequence[tuple[Question, Judged]], config: WinRateConfig
) -> dict[str, Measure]:
    """Shares: of pairs whose verdict changes with the order, and of decided replies for the answer shown first."""
    read = [(q.prompt.id, found) for q, judged in asked if (found := judged.outcomes) is not None]
    decided = [
        (prompt, float(is_for_first))
        for prompt, (first, second) in read
        for seen, is_for_first in ((first, first == 1.0), (second, second == 0.0))
        if seen != 0.5
    ]

    def share(yes: Sequence[float], prompts: Sequence[str]) -> Measure:
        return ratio(yes, [1.0] * len(yes), prompts, seed=config.seed, resamples=config.resamples)

    return {
        "inconsistent": share(
            [float(first != second) for _, (first, second) in read], [prompt for prompt, _ in read]
        ),
        "first preferred": share(
            [is_first for _, is_first in decided], [prompt for prompt, _ in decided]
        ),
    }


def _by_score(ours: float, theirs: float) -> float:
    return 0.5 if ours == theirs else float(ours > theirs)  # compared, as both may be -infinity


def _verdict(
    prompt: Prompt,
    a: str,
    b: str,
    text_a: str,
    text_b: str,
    outcome: float,
    by: str,
    cohort: str = "",
) -> Verdict:
    return Verdict(prompt.id, a, b, outcome, by, cohort, length_of(text_a), length_of(text_b))
