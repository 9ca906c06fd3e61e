"""Simulated labelers: deterministic noise, ties that do not chain, fair assignment, calibrated agreement."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignloop.data import text as prose
from alignloop.data.records import Completion, Completions, Demonstration, Prompt
from alignloop.judges.agreement import Agreement, compare_ranks
from alignloop.judges.gold import POPULATION_STAKES
from alignloop.judges.heldout import HELD_OUT_CRITERIA
from alignloop.judges.labelers import (
    HELD_OUT_TASTES,
    TRAINING_TASTES,
    assign,
    calibrate_noise,
    heldout_labelers,
    ranks_of,
    training_labelers,
)
from alignloop.judges.lexicon import Lexicon

Groups = list[tuple[Prompt, list[str]]]


@pytest.fixture(scope="session")
def groups(tasks: list[Demonstration], other_story: list[str]) -> Groups:
    """Stand-ins for samples: human text, cut, garbled, repeated, and of other stories."""
    generator = np.random.default_rng(5)
    found: Groups = []
    for number, (task, other) in enumerate(zip(tasks, other_story, strict=True)):
        words = task.response.split()
        at = int(generator.integers(len(words)))
        garbled = [*words[:at], *generator.permutation(words[at : at + 5]), *words[at + 5 :]]
        texts = [
            task.response,
            other,
            other_story[number - 1],
            " ".join(words[: max(3, int(len(words) * generator.uniform(0.4, 0.9)))]),
            " ".join(garbled),
            " ".join([*prose.sentences(task.response), prose.sentences(task.response)[-1]]),
        ]
        found.append((task.prompt, texts))
    return found


def test_a_labeler_who_is_asked_twice_answers_the_same(lexicon: Lexicon, prompt: Prompt) -> None:
    first, again = training_labelers(lexicon, 0.5)[0], training_labelers(lexicon, 0.5)[0]

    assert first.opinion(prompt, "The dog ran.") == again.opinion(prompt, "The dog ran.")


def test_noise_depends_on_the_labeler_the_prompt_and_the_text(
    lexicon: Lexicon, prompt: Prompt
) -> None:
    one, other = training_labelers(lexicon, 1.0)[:2]
    elsewhere = prompt.model_copy(update={"id": "q"})

    slips = [
        one.slip(prompt, "a"),
        one.slip(prompt, "b"),
        one.slip(elsewhere, "a"),
        other.slip(prompt, "a"),
    ]

    assert len(set(slips)) == 4


def test_noise_is_fixed_for_all_time(lexicon: Lexicon) -> None:
    labeler = training_labelers(lexicon, 1.0)[0]

    # sha256("sim-teacher\x1fp\x1fA dog."), its first 48 bits through the inverse of the normal distribution.
    assert labeler.slip(Prompt(id="p", text=""), "A dog.") == pytest.approx(
        -0.521405902884592, abs=1e-12
    )


def test_noise_is_standard_normal(lexicon: Lexicon, prompt: Prompt) -> None:
    labeler = training_labelers(lexicon, 1.0)[0]

    drawn = np.array([labeler.slip(prompt, str(number)) for number in range(20_000)])

    assert abs(drawn.mean()) < 0.03
    assert abs(drawn.std() - 1) < 0.02
    assert abs((np.abs(drawn) < 1).mean() - 0.6827) < 0.012


def test_opinion_is_the_logarithm_of_worth_plus_scaled_noise(
    lexicon: Lexicon, prompt: Prompt
) -> None:
    labeler = training_labelers(lexicon, 0.7)[0]
    text = "The dog ran along the river until he came to a bridge."

    worth = labeler.taste.utility(prompt, text, lexicon)

    assert labeler.opinion(prompt, text) == math.log(worth) + 0.7 * labeler.slip(prompt, text)


def test_ranks_are_dense_with_ties_inside_the_margin() -> None:
    assert ranks_of([0.0, -1.0, -0.05, -3.0], 0.1) == (1, 2, 1, 3)
    assert ranks_of([5.0], 0.1) == (1,)
    assert ranks_of([1.0, 1.0, 1.0], 0.0) == (1, 1, 1)


def test_ties_do_not_chain() -> None:
    assert ranks_of([0.0, -0.08, -0.16, -0.24], 0.1) == (1, 1, 2, 2)


@given(st.lists(st.floats(-9, 0), min_size=1, max_size=9), st.floats(0, 1))
def test_ranks_are_dense_ordered_and_tie_only_within_the_margin(
    opinions: list[float], margin: float
) -> None:
    ranks = ranks_of(opinions, margin)

    assert sorted(set(ranks)) == list(range(1, max(ranks) + 1))
    for (a, rank_a), (b, rank_b) in itertools.combinations(zip(opinions, ranks, strict=True), 2):
        if rank_a < rank_b:
            assert a > b
        if rank_a == rank_b:
            assert abs(a - b) <= margin


def test_a_preference_is_a_tie_within_the_margin(lexicon: Lexicon, prompt: Prompt) -> None:
    labeler = training_labelers(lexicon, 0.0)[0]
    good = "The wolf growled, but the dog wagged his tail and offered him a bone."

    assert labeler.prefer(prompt, good, good) == 0.5
    assert labeler.prefer(prompt, good, "bone dog") == 1
    assert labeler.prefer(prompt, "bone dog", good) == 0


def test_a_ranking_names_its_simulated_labeler(lexicon: Lexicon, prompt: Prompt) -> None:
    texts = ["The wolf growled, but the dog only wagged his tail.", "bone dog", ""]
    item = Completions(
        prompt=prompt,
        completions=tuple(Completion(text=t, model="m", finished=True, tokens=9) for t in texts),
    )

    ranking = training_labelers(lexicon, 0.0)[0].rank(item)

    assert ranking.ranks == (1, 2, 3)
    assert ranking.labeler == "sim-teacher"
    assert ranking.instructions


def test_there_are_five_training_and_two_held_out_labelers(lexicon: Lexicon) -> None:
    training, heldout = training_labelers(lexicon, 0.5), heldout_labelers(lexicon, 0.5)

    assert [labeler.group for labeler in (*training, *heldout)] == ["train"] * 5 + ["heldout"] * 2
    names = [labeler.name for labeler in (*training, *heldout)]
    assert len(set(names)) == 7
    assert all(name.startswith("sim-") for name in names)


def test_a_held_out_labeler_has_a_criterion_that_nobody_else_uses() -> None:
    used = Counter(
        name for own in (*TRAINING_TASTES.values(), *HELD_OUT_TASTES.values()) for name in own
    )

    for own in HELD_OUT_TASTES.values():
        (special,) = set(own) & set(HELD_OUT_CRITERIA)
        assert used[special] == 1
        assert special not in POPULATION_STAKES


def test_prompts_are_shared_out_evenly_and_some_to_all() -> None:
    prompts = [Prompt(id=f"p{number}", text="") for number in range(200)]
    names = ["a", "b", "c", "d", "e"]

    found = assign(prompts, names, shared_share=0.15, seed=7)

    alone = Counter(who[0] for who in found.values() if len(who) == 1)
    assert len(found) == 200
    assert sum(who == tuple(names) for who in found.values()) == 30
    assert set(alone.values()) == {34}
    assert found == assign(prompts[::-1], names, shared_share=0.15, seed=7)
    assert found != assign(prompts, names, shared_share=0.15, seed=8)


def test_an_assignment_to_nobody_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one labeler"):
        assign([], [], shared_share=0.1, seed=0)


def agreement_of_all(labelers: tuple, groups: Groups) -> Agreement:
    total = Agreement()
    for prompt, texts in groups:
        for a, b in itertools.combinations([who.ranks(prompt, texts) for who in labelers], 2):
            total += compare_ranks(a, b)
    return total


def test_calibrated_labelers_agree_as_often_as_wanted_on_prompts_not_used(
    lexicon: Lexicon, groups: Groups
) -> None:
    labelers = training_labelers(lexicon, 0.0)

    noise = calibrate_noise(labelers, groups[::2])

    found = agreement_of_all(training_labelers(lexicon, noise), groups[1::2])
    assert 0.71 <= found.ordered_share <= 0.75
    assert 0.05 <= 1 - found.ordered / found.pairs <= 0.3
    assert noise == calibrate_noise(labelers, groups[::2])


def test_without_noise_tastes_differ_but_not_much(lexicon: Lexicon, groups: Groups) -> None:
    found = agreement_of_all(training_labelers(lexicon, 0.0), groups)

    assert 0.85 < found.ordered_share < 0.97


def test_more_noise_means_less_agreement(lexicon: Lexicon, groups: Groups) -> None:
    shares = [
        agreement_of_all(training_labelers(lexicon, noise), groups[:60]).ordered_share
        for noise in (0.0, 0.5, 1.0, 4.0)
    ]

    assert shares == sorted(shares, reverse=True)
    assert shares[-1] < 0.62


def test_an_agreement_that_no_noise_gives_is_refused(lexicon: Lexicon, groups: Groups) -> None:
    with pytest.raises(ValueError, match=r"cannot be 0\.999"):
        calibrate_noise(training_labelers(lexicon, 0.0), groups[:40], target=0.999)
