"""What the reward-model and SFT studies measure, by cases worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest

from alignloop.errors import DataError
from alignloop.evaluation.reward_metrics import judged_pairs
from alignloop.workflow.studies.cells import Done
from alignloop.workflow.studies.examined import accuracy_effect, loss_effect, mean_loss, summed
from alignloop.workflow.studies.reward_best_of import cut
from alignloop.workflow.studies.reward_folds import FOLDS, gap, split
from alignloop.workflow.studies.sft_epochs import loss_effect as sft_loss_effect
from tests.helpers import ranking
from tests.workflow.studies.laid import LABELERS, by


def row(right: list[float], pairs: list[int], loss: list[float], **more: Any) -> dict[str, Any]:
    prompts = [f"p{number}" for number in range(len(pairs))]
    return {"prompts": prompts, "pairs": pairs, "right": right, "loss": loss, **more}


def test_pairs_are_summed_by_prompt() -> None:
    rankings = [ranking(0, (1, 2, 2)), ranking(1, (2, 1))]

    found = summed(judged_pairs(rankings, [[1.0, 0.0, 3.0], [0.0, 0.0]]))

    # Prompt 0: first over second by 1, first over third by -2, a tie. Prompt 1: equal scores, one half.
    log_loss = math.log1p(math.exp(-1.0)) + math.log1p(math.exp(2.0))
    assert found["prompts"] == ["prompt-0", "prompt-1"]
    assert found["pairs"] == [2, 1]
    assert found["right"] == [1.0, 0.5]
    assert found["loss"] == pytest.approx([log_loss, math.log(2.0)])
    assert mean_loss(found) == pytest.approx((log_loss / 2 + math.log(2.0)) / 2)


def test_rankings_of_ties_alone_are_refused() -> None:
    with pytest.raises(DataError, match="every pair"):
        summed(judged_pairs([ranking(0, (1, 1))], [[0.0, 1.0]]))


def test_a_loss_is_a_mean_over_prompts_and_accuracy_one_over_pairs() -> None:
    more = row([3.0, 1.0], [4, 1], [4.0, 1.0])
    less = row([2.0, 1.0], [4, 1], [2.0, 0.9])

    loss, right = loss_effect(5, more, less), accuracy_effect(5, more, less)

    assert loss.value == pytest.approx(((1.0 - 0.5) + (1.0 - 0.9)) / 2)
    assert right.value == pytest.approx(1 / 5)
    # Of two prompts every resample is one of three pairs: the ends are the prompts themselves.
    assert (loss.low, loss.high) == pytest.approx((0.1, 0.5))
    assert (right.low, right.high) == pytest.approx((0.0, 0.25))
    assert (loss.seed, loss.n, right.n) == (5, 2, 2)


def test_models_that_were_examined_on_other_rankings_are_not_compared() -> None:
    with pytest.raises(DataError, match="different rankings"):
        loss_effect(1, row([1.0], [1], [0.5]), row([1.0], [2], [0.5]))


def test_the_first_four_of_nine() -> None:
    nine = ranking(0, (5, 1, 3, 3, 2, 4, 6, 7, 8))

    four = cut(nine, 4)

    assert four.ranks == (3, 1, 2, 2)
    assert four.completions == nine.completions[:4]
    assert (four.prompt, four.labeler) == (nine.prompt, nine.labeler)


@pytest.mark.parametrize("fold", range(FOLDS))
def test_a_fold_learns_from_no_tested_prompt_and_no_held_out_labeler(fold: int) -> None:
    used = [by(LABELERS[n % 5], n) for n in range(20)]
    by_all = [by(labeler, n) for n in range(20) for labeler in LABELERS]

    found = split(used, by_all, fold)

    assert len(found.labelers) == 1
    assert not {one.labeler for one in found.train} & set(found.labelers)
    assert {one.labeler for one in found.heldout} == set(found.labelers)
    tested = {one.prompt.id for one in found.heldout}
    assert tested == {one.prompt.id for one in found.own}, "both on the same answers"
    assert len(tested) == 4
    assert not tested & {one.prompt.id for one in found.train}
    assert len(found.own) == 4 * len(found.heldout)


def fold(number: int, prompts: list[str], own: list[float], heldout: list[float]) -> Done:
    def of(group: str, right: list[float], pairs: int) -> dict[str, Any]:
        counts = [pairs] * len(prompts)
        return {"group": group, "prompts": prompts, "right": right, "pairs": counts, "loss": []}

    rows = [of("own", own, 4), of("heldout", heldout, 2)]
    return Done(f"fold_{number}", "small", 3, {}, rows)


def test_the_gap_is_a_mean_over_folds_with_an_interval_over_prompts() -> None:
    cells = [
        fold(1, ["a", "b"], [3.0, 4.0], [1.0, 1.0]),  # 7/8 - 2/4
        fold(2, ["c", "d"], [2.0, 2.0], [1.0, 2.0]),  # 4/8 - 3/4
    ]

    effect, shares = gap(3, cells)

    assert effect.value == pytest.approx((0.375 - 0.25) / 2)
    assert (effect.seed, effect.n) == (3, 4)
    assert effect.low < effect.value < effect.high
    assert shares["own"][0] == pytest.approx((7 / 8 + 1 / 2) / 2)
    assert shares["heldout"][0] == pytest.approx((1 / 2 + 3 / 4) / 2)


def test_the_same_answers_give_no_gap() -> None:
    cells = [fold(n, [f"{n}a", f"{n}b"], [4.0, 0.0], [2.0, 0.0]) for n in range(5)]

    effect, _ = gap(1, cells)

    assert (effect.value, effect.low, effect.high) == (0.0, 0.0, 0.0)


def test_the_loss_of_sft_is_per_token() -> None:
    first = {"demonstrations": ["a", "b"], "nats": [10.0, 20.0], "tokens": [10, 5]}
    last = {"demonstrations": ["a", "b"], "nats": [12.0, 18.0], "tokens": [10, 5]}

    effect = sft_loss_effect(1, last, first)

    assert effect.value == 0.0
    assert (effect.low, effect.high) == pytest.approx((-0.4, 0.2)), "of each prompt alone"
