"""The blind protocol, and the intervals of what it finds."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignloop.data.records import Demonstration, Prompt
from alignloop.errors import DataError
from alignloop.judges.gold import Gold
from alignloop.judges.intervals import (
    length_matched,
    paired_bootstrap,
    pooled,
    win_rate,
)
from alignloop.judges.labelers import heldout_labelers
from alignloop.judges.lexicon import Lexicon
from alignloop.judges.pairwise import (
    Judge,
    ScoreJudge,
    compare,
    compare_by_criterion,
    shows_a_first,
)


@dataclass
class LikesThePlace:
    """A judge with nothing but a position bias."""

    name: str = "first place"
    seen: list[tuple[str, str]] = field(default_factory=list)

    def prefer(self, prompt: Prompt, a: str, b: str) -> float:
        self.seen.append((a, b))
        return 1.0


def prompts(count: int) -> list[Prompt]:
    return [Prompt(id=f"p{number}", text="") for number in range(count)]


def test_a_judge_with_a_position_bias_favours_neither_side() -> None:
    asked = prompts(2000)

    outcomes = compare(LikesThePlace(), asked, ["ours"] * 2000, ["theirs"] * 2000, seed=1)

    assert 0.47 < outcomes.mean() < 0.53


def test_the_order_is_drawn_by_prompt_and_seed_and_is_the_same_again() -> None:
    asked = prompts(64)
    first, again = LikesThePlace(), LikesThePlace()

    compare(first, asked, ["a"] * 64, ["b"] * 64, seed=1)
    compare(again, asked[::-1], ["a"] * 64, ["b"] * 64, seed=1)

    assert first.seen == again.seen[::-1]
    assert [shows_a_first(p.id, 1) for p in asked] != [shows_a_first(p.id, 2) for p in asked]


def test_outcomes_are_seen_from_the_first_side() -> None:
    asked = prompts(40)
    judge = ScoreJudge(
        "scores", {(p.id, text): len(text) for p in asked for text in ("long", "s", "t")}
    )

    assert compare(judge, asked, ["long"] * 40, ["s"] * 40, seed=3).tolist() == [1.0] * 40
    assert compare(judge, asked, ["s"] * 40, ["long"] * 40, seed=3).tolist() == [0.0] * 40
    assert compare(judge, asked, ["s"] * 40, ["t"] * 40, seed=3).tolist() == [0.5] * 40


def test_a_text_without_a_score_is_named() -> None:
    with pytest.raises(DataError, match=r"judge 'lm'.*p0"):
        ScoreJudge("lm", {}).prefer(prompts(1)[0], "x", "y")


def test_one_text_of_each_side_per_prompt_is_needed() -> None:
    with pytest.raises(ValueError, match="2 prompts"):
        compare(LikesThePlace(), prompts(2), ["a"], ["b", "c"], seed=0)


def test_gold_and_held_out_labelers_are_judges(
    lexicon: Lexicon, tasks: list[Demonstration]
) -> None:
    judges: list[Judge] = [Gold(lexicon), *heldout_labelers(lexicon, noise=0.5)]
    asked, human = [t.prompt for t in tasks], [t.response for t in tasks]

    rates = {
        judge.name: compare(judge, asked, human, ["bone dog"] * len(asked), seed=0).mean()
        for judge in judges
    }

    assert set(rates) == {"gold", "sim-painter", "sim-adventurer"}
    assert min(rates.values()) > 0.9


def test_each_criterion_has_its_own_win_rate(lexicon: Lexicon, tasks: list[Demonstration]) -> None:
    asked, human = [t.prompt for t in tasks], [t.response for t in tasks]

    rates = compare_by_criterion(lexicon, asked, human, [f"{text} {text}" for text in human])

    assert rates["does_not_repeat"].mean > 0.95
    assert rates["is_gentle"].mean == pytest.approx(0.5, abs=0.03)


def test_a_win_rate_is_the_mean_with_ties_as_halves() -> None:
    found = win_rate([1, 1, 0, 0.5], seed=0)

    assert found.mean == 0.625
    assert found.n == 4
    assert 0 <= found.low <= 0.625 <= found.high <= 1


def test_the_interval_has_the_textbook_width() -> None:
    # 95 % of a mean of 400 fair coins: +- 1.96 * 0.5 / 20 = 0.049.
    found = win_rate([0.0, 1.0] * 200, seed=4)

    assert found.low == pytest.approx(0.451, abs=0.006)
    assert found.high == pytest.approx(0.549, abs=0.006)


def test_the_same_seed_gives_the_same_interval() -> None:
    outcomes = np.random.default_rng(0).choice([0.0, 0.5, 1.0], size=157)

    assert win_rate(outcomes, seed=1) == win_rate(outcomes, seed=1)
    assert win_rate(outcomes, seed=1) != win_rate(outcomes, seed=2)


def test_all_wins_leave_no_doubt() -> None:
    found = win_rate([1.0] * 5)

    assert (found.low, found.mean, found.high) == (1.0, 1.0, 1.0)


@given(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=1, max_size=50))
def test_a_win_rate_and_its_mirror_add_up_to_one(outcomes: list[float]) -> None:
    mirrored = [1 - outcome for outcome in outcomes]

    found, other = win_rate(outcomes, resamples=500), win_rate(mirrored, resamples=500)

    assert found.mean + other.mean == pytest.approx(1)
    assert found.low == pytest.approx(1 - other.high)


@pytest.mark.parametrize("outcomes", [[], [2.0], [-1.0]])
def test_no_outcomes_or_impossible_ones_are_refused(outcomes: list[float]) -> None:
    with pytest.raises(ValueError, match=r"outcome|nothing"):
        win_rate(outcomes)


def test_matched_pairs_are_those_within_a_tenth() -> None:
    outcomes = [1, 1, 1, 0]
    ours, theirs = [100, 110, 100, 100], [100, 100, 110, 50]

    found = length_matched(outcomes, ours, theirs, at_least=3)

    assert found.band == 1.1
    assert found.share == 0.75
    assert (found.estimate.mean, found.estimate.n) == (1.0, 3)


def test_the_band_widens_in_stated_steps_where_pairs_are_few() -> None:
    outcomes, ours, theirs = [1, 0, 1, 0], [100, 120, 140, 190], [100] * 4

    bands = [length_matched(outcomes, ours, theirs, at_least=n).band for n in (1, 2, 3, 4, 99)]

    assert bands == [1.1, 1.25, 1.5, 2.0, 2.0]


def test_lengths_go_with_outcomes() -> None:
    with pytest.raises(ValueError, match="two lengths per pair"):
        length_matched([1], [3, 4], [3])


def test_a_difference_counts_each_title_once() -> None:
    # Title A: (1 + 3) / 2 - (1 + 1) / 2 = 1; title B: 5 - 2 = 3.
    found = paired_bootstrap([1, 3, 5], [1, 1, 2], ["A", "A", "B"])

    assert found.mean == 2.0
    assert found.n == 2
    assert (found.low, found.high) == (1.0, 3.0)


def test_pairing_removes_what_titles_have_in_common() -> None:
    generator = np.random.default_rng(1)
    title = np.repeat(generator.normal(0, 10, size=60), 4)
    noise = generator.normal(0, 0.1, size=(2, 240))
    groups = [number // 4 for number in range(240)]

    found = paired_bootstrap(title + 0.1 + noise[0], title + noise[1], groups)

    assert found.low > 0
    assert found.mean == pytest.approx(0.1, abs=0.03)
    assert found.n == 60


def test_a_difference_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to average"):
        paired_bootstrap([], [], [])
    with pytest.raises(ValueError, match="one group per item"):
        paired_bootstrap([1, 2], [1, 2], ["A"])


# --- pooled ---


def test_a_pooled_mean_counts_every_item_and_draws_whole_groups() -> None:
    estimate = pooled([1.0, 1.0, 1.0, 0.0], ["a", "a", "a", "b"])

    # Two groups: a resample is a and a (1), a and b (3/4), or b and b (0).
    assert (estimate.mean, estimate.low, estimate.high, estimate.n) == (0.75, 0.0, 1.0, 2)
    assert pooled([0.5, 0.5], ["a", "b"]).low == 0.5


def test_a_pooled_interval_of_single_items_is_that_of_their_win_rate() -> None:
    outcomes = [1.0, 0.0, 0.5, 1.0, 1.0, 0.0, 1.0]

    assert pooled(outcomes, range(7), seed=3) == win_rate(outcomes, seed=3)


def test_a_pooled_mean_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to average"):
        pooled([], [])
    with pytest.raises(ValueError, match="one group per item"):
        pooled([1.0], [])
