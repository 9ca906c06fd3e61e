"""Policies that answer: each asked in its own way, by its own tokenizer; what was drawn before is not drawn again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from transformers import AutoConfig

from alignloop.data.batches import epoch_order
from alignloop.data.formatter import Formatter, encode_plain
from alignloop.data.jsonl import read_records
from alignloop.data.records import Completion, Prompt
from alignloop.evaluation.cache import AnswerCache, AnswerKey
from alignloop.evaluation.winrate.asking import Asking
from alignloop.generation.answers import answer
from alignloop.generation.engine import SamplingConfig
from alignloop.models.loading import context_of, load_causal_lm, load_tokenizer
from alignloop.models.reward_scorer import RewardScorer
from alignloop.runs.artifact import Artifact
from alignloop.seeds import derive_seed

_BLOCK = 4
"""Answers are kept after so many batches: that much is lost if the process is killed."""


@dataclass(frozen=True, slots=True)
class Contestant:
    """A policy that takes part, and how it is asked."""

    name: str
    path: Path
    sha256: str
    asking: Asking


@dataclass(frozen=True, slots=True)
class Answered:
    """One contestant's answers, and where they came from."""

    name: str
    sha256: str
    answers: Mapping[str, Completion]
    """Prompt id -> answer."""
    how: Mapping[str, Any]
    """How it was asked, and with which settings its answers were drawn."""
    cut_prompts: int = 0
    """Prompts whose beginning did not fit the context. Plain texts are cut so; a chat that does not fit is refused."""


def read_prompts(source: Artifact, side: str, limit: int | None, seed: int) -> list[Prompt]:
    """The prompts of one side of a `prompts` artefact, or so many of them drawn at random, in the file's order."""
    found = read_records(source.file(f"{side}.jsonl.gz"), Prompt)
    if limit is None:
        return found
    return [found[at] for at in sorted(epoch_order(len(found), seed, 0)[:limit])]


def draw(
    contestant: Contestant,
    prompts: Sequence[Prompt],
    sampling: SamplingConfig,
    seed: int,
    store: AnswerCache,
    *,
    copies: int | None = None,
    draw_as: str | None = None,
) -> tuple[list[list[Completion]], int]:
    """Answers to each prompt, stop texts cut off; and to how many prompts the context was too short.

    Args:
        copies: answers per prompt; as many as a choice is made from without it.
        draw_as: the name that seeds the draws; the contestant's own without it.

    Raises:
        DataError: a prompt of a chat and the longest answer do not fit the context.
    """
    asking, name = contestant.asking, draw_as or contestant.name
    count = asking.best_of if copies is None else copies
    asked = [asking.prompt(prompt) for prompt in prompts]
    formatter = Formatter.of(load_tokenizer(contestant.path))
    encoded, cut = _encoded(contestant, formatter, asked, sampling)
    settings = sampling.model_dump(mode="json", exclude={"batch_rows"}) | {"stop": asking.stops}
    keys = [
        [
            AnswerKey(contestant.sha256, tokens, settings, _row_seed(seed, name, prompt, copy))
            for copy in range(count)
        ]
        for prompt, tokens in zip(asked, encoded, strict=True)
    ]
    found = [[_kept(store, key) for key in of_prompt] for of_prompt in keys]
    missing = [at for at, group in enumerate(found) if None in group]
    if missing:
        model = load_causal_lm(contestant.path)
        block = max(_BLOCK * sampling.batch_rows // count, 1)
        for start in range(0, len(missing), block):
            places = missing[start : start + block]
            groups = answer(
                model,
                formatter,
                [asked[at] for at in places],
                sampling,
                seed,
                name,
                copies=count,
                template=asking.as_format(),
            )
            for at, group in zip(places, groups, strict=True):
                drawn = [_ended(asking, formatter, one.completion) for one in group]
                found[at] = [*drawn]
                for key, one in zip(keys[at], drawn, strict=True):
                    store.put(key, one.model_dump(mode="json", exclude_defaults=True))
    groups_found = [
        [one.model_copy(update={"model": contestant.name}) for one in group if one is not None]
        for group in found
    ]
    return groups_found, cut


def answers_of(
    contestant: Contestant,
    prompts: Sequence[Prompt],
    sampling: SamplingConfig,
    seed: int,
    store: AnswerCache,
    chooser: RewardScorer | None,
) -> Answered:
    """One answer to each prompt: the only one, or the one of several that the chooser scores highest.

    Raises:
        DataError: as `draw`; or an answer does not fit the chooser's context.
    """
    groups, cut = draw(contestant, prompts, sampling, seed, store)
    if contestant.asking.best_of > 1:
        assert chooser is not None, "best of n needs a reward model"
        flat = [one for group in groups for one in group]
        asked = [prompt for prompt, group in zip(prompts, groups, strict=True) for _ in group]
        scores = iter(scores_of(chooser, asked, flat))
        groups = [[_best(group, [next(scores) for _ in group])] for group in groups]
    return Answered(
        name=contestant.name,
        sha256=contestant.sha256,
        answers={prompt.id: group[0] for prompt, group in zip(prompts, groups, strict=True)},
        how={
            "asked": contestant.asking.as_json(),
            "sampling": sampling.model_dump(mode="json", exclude={"batch_rows"}),
            "seed": seed,
        },
        cut_prompts=cut,
    )


def scores_of(
    scorer: RewardScorer, prompts: Sequence[Prompt], answers: Sequence[Completion]
) -> list[float]:
    """A score per answer; an empty one, which no reward model has seen, is below all others.

    Raises:
        DataError: an answer does not fit the scorer's context.
    """
    said = [at for at, one in enumerate(answers) if one.text]
    found = [float("-inf")] * len(answers)
    if said:
        scores = scorer.scores([prompts[at] for at in said], [answers[at] for at in said])
        for at, score in zip(said, scores, strict=True):
            found[at] = score
    return found


def _best(group: Sequence[Completion], scores: Sequence[float]) -> Completion:
    """The one with the highest score; the first of several."""
    return group[max(range(len(group)), key=lambda at: scores[at])]


def _ended(asking: Asking, formatter: Formatter, completion: Completion) -> Completion:
    at = asking.end_of(completion.text)
    if at is None:
        return completion
    tokens = encode_plain(formatter.tokenizer, completion.text[:at].rstrip())
    return asking.ended(completion, len(tokens) + 1)


def _encoded(
    contestant: Contestant,
    formatter: Formatter,
    asked: Sequence[Prompt],
    sampling: SamplingConfig,
) -> tuple[list[list[int]], int]:
    """Prompts as the model gets them, and how many plain texts lost their beginning, since the context is short.

    Raises:
        DataError: a prompt of a chat and the longest answer do not fit the context.
    """
    context = context_of(AutoConfig.from_pretrained(str(contestant.path), local_files_only=True))
    if contestant.asking.template is None:
        return formatter.prompts_with_room(asked, sampling.max_new_tokens, context), 0
    texts = [encode_plain(formatter.tokenizer, contestant.asking.text(one)) for one in asked]
    room = context - sampling.max_new_tokens
    return [tokens[-room:] for tokens in texts], sum(len(tokens) > room for tokens in texts)


def _row_seed(seed: int, name: str, prompt: Prompt, copy: int) -> int:
    """The seed that `answer` draws a row with."""
    return derive_seed(seed, "answer", name, prompt.id, copy)


def _kept(store: AnswerCache, key: AnswerKey) -> Completion | None:
    kept = store.get(key)
    try:
        return None if kept is None else Completion.model_validate(kept)
    except ValidationError:  # another version's, or damaged: drawn again
        return None
