"""Eq. 1 on hand-computed rankings, against explicit loops, and through the batches that the loop really uses."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor

from alignloop.data.batches import Ragged
from alignloop.data.formatter import Formatter
from alignloop.errors import DataError
from alignloop.models.loading import backbone_of
from alignloop.models.reward_model import ScalarModel
from alignloop.reward.batches import as_pairs, batches_of
from alignloop.reward.config import RewardConfig
from alignloop.reward.objective import pair_accuracy
from alignloop.reward.train import loss_of_batch
from alignloop.tensors import Summed, generator
from alignloop.training.rankings import (
    RankedBatch,
    RankedPrompt,
    Ties,
    encode_rankings,
    prompt_groups,
)
from tests.helpers import CONTEXT, ranking, tiny_tokenizer, write_model


def ranked(*ranks: int, ties: Ties = "drop") -> RankedPrompt:
    """A prompt of one token and a completion of one token per rank."""
    return RankedPrompt.of([1], [[2] for _ in ranks], ranks, ties)


def loss_of(
    scores: Tensor, prompts: list[RankedPrompt], divisor: str = "kept_pairs", **config: Any
) -> tuple[Tensor, int]:
    """The loss as the loop takes it, in the arithmetic of the scores."""
    batch = RankedBatch.of(prompts)
    config = {**config, "divisor": divisor}
    summed = loss_of_batch(scores, in_dtype(batch, scores.dtype), RewardConfig(**config))
    return summed.total, summed.count


def in_dtype(batch: RankedBatch, dtype: torch.dtype) -> RankedBatch:
    """The batch with its real numbers in another arithmetic."""
    names = ("gaps", "kept_pairs", "all_pairs")
    return replace(batch, **{name: getattr(batch, name).to(dtype) for name in names})


def random_scores(count: int, seed: int = 1) -> Tensor:
    return torch.randn(count, generator=generator(seed), dtype=torch.float64) * 2


rankings = st.lists(st.integers(1, 4), min_size=2, max_size=6)


# --- hand-computed ---


@pytest.mark.parametrize(
    ("divisor", "expected"), [("kept_pairs", 0.0835296), ("all_pairs", 0.0696080)]
)
def test_the_lecture_example(divisor: str, expected: float) -> None:
    """D 9.4 > C 8.2 > B = A 5.4: five pairs are kept, one tie is dropped."""
    scores = torch.tensor([9.4, 8.2, 5.4, 5.4], dtype=torch.float64)

    total, count = loss_of(scores, [ranked(1, 2, 3, 3)], divisor)

    assert (float(total), count) == (pytest.approx(expected, abs=5e-8), 1)


@pytest.mark.parametrize(
    ("completions", "pairs"), [(4, 6), (5, 10), (6, 15), (7, 21), (8, 28), (9, 36)]
)
def test_k_completions_make_k_choose_two_pairs(completions: int, pairs: int) -> None:
    prompt = ranked(*range(1, completions + 1))

    assert (len(prompt.pairs), prompt.all_pairs) == (pairs, pairs)
    assert 64 * 36 == 2304, "the paper's largest batch"


@pytest.mark.parametrize("completions", [2, 4, 9])
def test_equal_scores_cost_log_two_whatever_k_is(completions: int) -> None:
    total, _ = loss_of(torch.full((completions,), 3.3), [ranked(*range(1, completions + 1))])

    assert float(total) == pytest.approx(math.log(2))


def test_a_prompt_counts_alike_whether_it_has_four_completions_or_nine() -> None:
    """Both prompts are off by the same margin in all pairs, so each must bring half of the mean."""
    four, nine = ranked(1, 2, 2, 2), ranked(1, *[2] * 8)
    scores = torch.tensor([1.0, *[0.0] * 3, -1.0, *[0.0] * 8], dtype=torch.float64)

    total, count = loss_of(scores, [four, nine])

    expected = (math.log1p(math.exp(-1)) + math.log1p(math.exp(1))) / 2
    assert float(total / count) == pytest.approx(expected)


def test_a_prompt_of_ties_alone_weighs_nothing() -> None:
    tied, ordered = ranked(1, 1, 1), ranked(1, 2)
    scores = torch.tensor([9.0, -9.0, 4.0, 1.0, 0.0], dtype=torch.float64)

    total, count = loss_of(scores, [tied, ordered])

    assert (float(total), count) == (pytest.approx(math.log1p(math.exp(-1))), 1)


def test_swapping_the_preference_flips_the_sign_of_the_gradient() -> None:
    for ranks, sign in (((1, 2), -1), ((2, 1), 1)):
        scores = torch.zeros(2, dtype=torch.float64, requires_grad=True)
        total, _ = loss_of(scores, [ranked(*ranks)])
        total.backward()
        assert scores.grad is not None
        assert scores.grad.tolist() == [sign * 0.5, -sign * 0.5]


# --- ties as (0.5, 0.5), margins, the best of K ---


@pytest.mark.parametrize(("ties", "expected"), [("drop", 0.0835296), ("half", 0.1851325)])
def test_a_tie_as_half_a_preference_counts_in_the_divisor(ties: Ties, expected: float) -> None:
    """The lecture's example: with its tie, of equal scores, as a sixth pair that costs log 2."""
    scores = torch.tensor([9.4, 8.2, 5.4, 5.4], dtype=torch.float64)

    total, _ = loss_of(scores, [ranked(1, 2, 3, 3, ties=ties)])

    assert float(total) == pytest.approx(expected, abs=5e-8)
    assert ties == "drop" or expected == pytest.approx((5 * 0.0835296 + math.log(2)) / 6, abs=5e-8)


def test_a_tie_as_half_a_preference_pulls_the_two_scores_together() -> None:
    scores = torch.tensor([1.0, 0.0], dtype=torch.float64, requires_grad=True)

    total, count = loss_of(scores, [ranked(1, 1, ties="half")])
    total.backward()

    # -(log sigmoid(1) + log sigmoid(-1)) / 2, and sigmoid(1) - 1/2 as its slope.
    assert (float(total.detach()), count) == (pytest.approx(0.8132617), 1)
    assert scores.grad is not None
    assert scores.grad.tolist() == pytest.approx([0.2310586, -0.2310586])


@pytest.mark.parametrize(
    ("margins", "expected"),
    [
        ({}, (0.1269280 + 0.0485874 + 0.3132617) / 3),
        ({"margin": 1.0}, (0.3132617 + 0.1269280 + 0.6931472) / 3),
        ({"margin_per_rank": 0.5}, (0.2014133 + 0.1269280 + 0.4740770) / 3),
        ({"margin": 0.5, "margin_per_rank": 0.5}, (0.3132617 + 0.2014133 + 0.6931472) / 3),
    ],
)
def test_margins_are_subtracted_from_the_difference_of_scores(
    margins: dict[str, float], expected: float
) -> None:
    """Scores 3, 1, 0 in this order: differences 2, 3 and 1, with 1, 2 and 1 ranks between."""
    scores = torch.tensor([3.0, 1.0, 0.0], dtype=torch.float64)

    total, _ = loss_of(scores, [ranked(1, 2, 3)], **margins)

    assert float(total) == pytest.approx(expected, abs=1e-6)


def test_a_tie_has_no_margin() -> None:
    scores = torch.tensor([0.0, 0.0], dtype=torch.float64)

    total, _ = loss_of(scores, [ranked(1, 1, ties="half")], ties="half", margin=5.0)

    assert float(total) == pytest.approx(math.log(2))


def test_the_best_of_four() -> None:
    """softmax(2, 1, 0, 0): the best has e^2 of e^2 + e + 2; two that tie for the best share the target."""
    scores = torch.tensor([2.0, 1.0, 0.0, 0.0], dtype=torch.float64)
    log_sum = math.log(math.exp(2) + math.e + 2)

    one, count = loss_of(scores, [ranked(1, 2, 3, 3)], loss="best_of_k")
    two, _ = loss_of(scores, [ranked(1, 1, 2, 3)], loss="best_of_k")

    assert (float(one), count) == (pytest.approx(log_sum - 2), 1)
    assert float(two) == pytest.approx(log_sum - 1.5)


def test_the_best_of_k_does_not_see_how_the_others_are_ordered() -> None:
    scores = random_scores(4)

    a, _ = loss_of(scores, [ranked(1, 2, 3, 4)], loss="best_of_k")
    b, _ = loss_of(scores, [ranked(1, 4, 2, 2)], loss="best_of_k")

    assert torch.equal(a, b)


def test_large_scores_do_not_overflow_the_softmax() -> None:
    scores = torch.tensor([900.0, -900.0, 5.0, 4.0], requires_grad=True)

    total, _ = loss_of(scores, [ranked(1, 2), ranked(2, 1)], loss="best_of_k")
    total.backward()

    assert float(total.detach()) == pytest.approx(math.log1p(math.e))
    assert scores.grad is not None and bool(scores.grad.isfinite().all())


@pytest.mark.parametrize(
    "config",
    [
        {"loss": "best_of_k", "margin": 0.1},
        {"loss": "best_of_k", "ties": "half"},
        {"loss": "shuffled_pairs", "divisor": "all_pairs"},
    ],
)
def test_settings_that_a_loss_would_ignore_are_refused(config: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="leave out"):
        RewardConfig.model_validate(config)


# --- float64 references ---


def reference(scores: np.ndarray, groups: list[list[int]], config: RewardConfig) -> float:
    """Every loss once more, by loops over the ranks themselves."""
    total, at, count = 0.0, 0, 0
    for ranks in groups:
        r = scores[at : at + len(ranks)]
        at += len(ranks)
        if config.loss == "best_of_k":
            best = [i for i, rank in enumerate(ranks) if rank == min(ranks)]
            total += np.log(np.exp(r).sum()) - np.mean([r[i] for i in best])
            count += 1
            continue
        steps = sorted(set(ranks))
        losses: list[float] = []
        for i, j in itertools.permutations(range(len(ranks)), 2):
            if ranks[i] < ranks[j]:
                gap = steps.index(ranks[j]) - steps.index(ranks[i])
                ahead = r[i] - r[j] - config.margin - gap * config.margin_per_rank
                losses.append(np.log1p(np.exp(-ahead)))
            elif ranks[i] == ranks[j] and i < j and config.ties == "half":
                ahead = r[i] - r[j]
                losses.append((np.log1p(np.exp(-ahead)) + np.log1p(np.exp(ahead))) / 2)
        all_pairs = len(ranks) * (len(ranks) - 1) / 2
        if losses:
            divisor = all_pairs if config.divisor == "all_pairs" else len(losses)
            total += sum(losses) / divisor
            count += 1
    return total / max(count, 1)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"divisor": "all_pairs"},
        {"ties": "half"},
        {"ties": "half", "margin": 0.7, "margin_per_rank": 0.2},
        {"margin_per_rank": 0.4, "divisor": "all_pairs"},
        {"loss": "best_of_k"},
    ],
)
@given(groups=st.lists(st.lists(st.integers(1, 5), min_size=2, max_size=9), min_size=1, max_size=4))
def test_every_loss_is_its_reference_with_k_mixed_and_in_any_order(
    settings: dict[str, Any], groups: list[list[int]]
) -> None:
    config = RewardConfig(**settings)
    scores = random_scores(sum(map(len, groups)))
    prompts = [ranked(*ranks, ties=config.ties) for ranks in groups]

    total, count = loss_of(scores, prompts, **settings)
    backwards, _ = loss_of(
        scores.flip(0),
        [ranked(*ranks[::-1], ties=config.ties) for ranks in groups[::-1]],
        **settings,
    )

    expected = reference(scores.numpy(), groups, config)
    assert float(total) / max(count, 1) == pytest.approx(expected, abs=1e-9)
    assert float(backwards) == pytest.approx(float(total), abs=1e-9)


# --- closed forms and properties ---


@given(st.lists(rankings, min_size=1, max_size=3))
def test_eq_1_is_an_explicit_loop_over_pairs(groups: list[list[int]]) -> None:
    prompts = [ranked(*ranks) for ranks in groups]
    scores = random_scores(sum(map(len, groups)))

    total, count = loss_of(scores, prompts)

    expected, at, ordered = 0.0, 0, 0
    for ranks in groups:
        losses = [
            -math.log(1 / (1 + math.exp(-abs_margin)))
            for i, j in itertools.combinations(range(len(ranks)), 2)
            if ranks[i] != ranks[j]
            for abs_margin in [
                float(scores[at + i] - scores[at + j]) * (1 if ranks[i] < ranks[j] else -1)
            ]
        ]
        expected += sum(losses) / max(len(losses), 1)
        ordered += bool(losses)
        at += len(ranks)
    assert (float(total), count) == (pytest.approx(expected, abs=1e-9), ordered)


@given(rankings.filter(lambda ranks: len(set(ranks)) > 1))
def test_eq_1_is_the_mean_cross_entropy_of_the_margins_gradient_included(ranks: list[int]) -> None:
    prompt = ranked(*ranks)
    ours = random_scores(len(ranks)).requires_grad_()
    theirs = ours.detach().clone().requires_grad_()

    total, _ = loss_of(ours, [prompt])
    better = torch.tensor([pair.preferred for pair in prompt.pairs])
    worse = torch.tensor([pair.other for pair in prompt.pairs])
    margins = theirs[better] - theirs[worse]
    expected = F.binary_cross_entropy_with_logits(margins, torch.ones_like(margins))
    total.backward()
    expected.backward()

    torch.testing.assert_close(total, expected)
    torch.testing.assert_close(ours.grad, theirs.grad)
    assert ours.grad is not None
    assert float(ours.grad.sum()) == pytest.approx(0, abs=1e-12), "a shift of all scores is free"


@given(rankings.filter(lambda ranks: len(set(ranks)) > 1), st.randoms(use_true_random=False))
def test_the_order_of_the_completions_does_not_matter(ranks: list[int], random: object) -> None:
    order = list(range(len(ranks)))
    random.shuffle(order)  # type: ignore[attr-defined]
    scores = random_scores(len(ranks))

    total, _ = loss_of(scores, [ranked(*ranks)])
    shuffled, _ = loss_of(scores[order], [ranked(*[ranks[i] for i in order])])

    torch.testing.assert_close(shuffled, total)


def test_pair_accuracy_counts_equal_scores_as_half() -> None:
    batch = RankedBatch.of([ranked(1, 2, 3)])

    right = pair_accuracy(
        torch.tensor([1.0, 1.0, 2.0]), batch.preferred, batch.other, batch.is_ordered
    )

    assert right == Summed(right.total, 3)
    assert float(right.total) == 0.5


# --- the batches ---


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> ScalarModel:
    model = ScalarModel.load(write_model(tmp_path_factory.mktemp("model")))
    model.new_head(7)
    return model


@pytest.fixture(scope="module")
def prompts() -> list[RankedPrompt]:
    formatter = Formatter.of(tiny_tokenizer())
    rows = [ranking(0, (1, 2, 3, 4)), ranking(1, (2, 1, 1)), ranking(2, (1, 2, 2, 3, 4))]
    return encode_rankings(rows, formatter, CONTEXT)


def test_each_completion_is_forwarded_once(
    scorer: ScalarModel, prompts: list[RankedPrompt]
) -> None:
    """4 + 3 + 5 completions for 6 + 2 + 9 pairs; and each prompt once."""
    batch = RankedBatch.of(prompts)
    scorer.scores_of_all(batch.completions)  # once per model it is tried whether rows can be packed
    read: list[int] = []
    hook = backbone_of(scorer.model).register_forward_pre_hook(
        lambda _module, _args, kwargs: read.append(int((kwargs["input_ids"] != 0).sum())),
        with_kwargs=True,
    )

    scores = scorer.scores_of_all(batch.completions)
    hook.remove()

    tokens = sum(len(p.prompt) + sum(map(len, p.completions)) for p in prompts)
    assert (read, len(scores), len(batch.preferred)) == ([tokens], 12, 17)
    assert batch.kept_pairs.tolist() == [6, 2, 9]
    assert batch.all_pairs.tolist() == [6, 3, 10]


def test_a_finished_completion_ends_with_eos_and_a_cut_one_does_not(
    prompts: list[RankedPrompt],
) -> None:
    end = Formatter.of(tiny_tokenizer()).end
    by_record = [c.finished for c in ranking(0, (1, 2, 3, 4)).completions]

    assert [completion[-1] == end for completion in prompts[0].completions] == by_record
    assert by_record == [True, True, False, True]
    assert all(end not in completion[:-1] for p in prompts for completion in p.completions)


def test_rankings_of_ties_alone_are_left_out_and_nothing_else_is() -> None:
    formatter = Formatter.of(tiny_tokenizer())
    rows = [ranking(0, (1, 1)), ranking(1, (1, 2))]

    assert len(encode_rankings(rows, formatter, CONTEXT)) == 1
    with pytest.raises(DataError, match="ties"):
        encode_rankings(rows[:1], formatter, CONTEXT)


def test_micro_batches_by_prompt_give_the_gradient_of_the_full_batch(
    scorer: ScalarModel, prompts: list[RankedPrompt]
) -> None:
    def gradients(budget: int) -> list[Tensor]:
        scorer.zero_grad()
        groups = prompt_groups(prompts, budget)
        for group in groups:
            batch = RankedBatch.of([prompts[i] for i in group])
            scores = scorer.scores_of_all(batch.completions)
            summed = loss_of_batch(scores, batch, RewardConfig())
            (summed.total / len(prompts)).backward()
        assert len(groups) == (1 if budget > 1000 else 3)
        return [p.grad.clone() for p in scorer.model.parameters() if p.grad is not None]

    whole, parts = gradients(1_000_000), gradients(1)

    assert max(float(g.abs().max()) for g in whole) > 1e-3
    for a, b in zip(whole, parts, strict=True):
        torch.testing.assert_close(a, b, atol=2e-6, rtol=1e-4)


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 30)), min_size=1, max_size=12))
def test_prompt_groups_are_a_partition_within_the_budget(shapes: list[tuple[int, int]]) -> None:
    budget = 60
    prompts = [
        RankedPrompt.of([1] * width, [[2]] * k, range(1, k + 1), "drop") for k, width in shapes
    ]

    groups = prompt_groups(prompts, budget)

    assert sorted(i for group in groups for i in group) == list(range(len(prompts)))
    for group in groups:
        assert len(group) == 1 or sum(prompts[i].size for i in group) <= budget


def test_k_from_two_to_nine_in_one_batch_is_the_loop_over_pairs_in_loss_and_gradients(
    scorer: ScalarModel,
) -> None:
    """Shared prefixes, one forward per completion, against a forward of its own for each side of every pair."""
    formatter = Formatter.of(tiny_tokenizer())
    rows = [
        ranking(n, ranks)
        for n, ranks in enumerate(
            [
                *((2, 1), (1, 2, 2), (4, 3, 2, 1), (1, 2, 3, 4, 4), (2, 1, 2, 1, 3, 3)),
                *((7, 6, 5, 4, 3, 2, 1), (1, 1, 2, 2, 3, 3, 4, 4), (9, 1, 8, 2, 7, 3, 6, 4, 5)),
            ]
        )
    ]
    prompts = encode_rankings(rows, formatter, CONTEXT)
    assert [len(p.completions) for p in prompts] == list(range(2, 10))

    scorer.zero_grad()
    batch = RankedBatch.of(prompts)
    ours = loss_of_batch(scorer.scores_of_all(batch.completions), batch, RewardConfig()).mean()
    ours.backward()
    together = [p.grad.clone() for p in scorer.model.parameters() if p.grad is not None]

    scorer.zero_grad()
    theirs = 0.0
    for row in rows:
        prompt = formatter.prompt(row.prompt)
        pairs = row.pairs()
        for better, worse in pairs:
            sides = [formatter.completion(row.completions[i]) for i in (better, worse)]
            r_w, r_l = scorer.scores(Ragged.of([prompt, prompt], sides, pad=0))
            loss = -F.logsigmoid(r_w - r_l) / len(pairs) / len(rows)
            loss.backward()
            theirs += float(loss.detach())
    apart = [p.grad.clone() for p in scorer.model.parameters() if p.grad is not None]
    scorer.zero_grad()

    assert float(ours.detach()) == pytest.approx(theirs, abs=1e-5)
    assert len(together) == len(list(scorer.model.parameters()))
    for mine, other in zip(together, apart, strict=True):
        torch.testing.assert_close(mine, other, atol=2e-5, rtol=1e-3)


# --- shuffled pairs ---


def test_shuffled_pairs_are_every_pair_once_per_epoch_in_as_many_updates_as_rankings(
    prompts: list[RankedPrompt],
) -> None:
    """6 + 2 + 9 pairs of 3 prompts, two prompts to a batch: two updates an epoch."""
    config = RewardConfig(loss="shuffled_pairs", batch_size=2, epochs=2)

    batches = batches_of(prompts, config)

    expected = sorted(
        (row.prompt, *(row.completions[i] for i in (pair.preferred, pair.other)))
        for row in prompts
        for pair in row.pairs
    )
    assert [len(batch) for batch in batches] == [8, 9, 8, 9]
    assert len(batches) == len(batches_of(prompts, RewardConfig(batch_size=2, epochs=2)))
    for epoch in (batches[:2], batches[2:]):
        found = [(p.prompt, *p.completions) for batch in epoch for p in batch]
        assert sorted(found) == expected
        assert found != expected
    assert batches[0] != batches[2], "each epoch in an order of its own"


def test_the_loss_of_shuffled_pairs_is_their_plain_mean(prompts: list[RankedPrompt]) -> None:
    rows = as_pairs(prompts)
    scores = random_scores(2 * len(rows))

    total, count = loss_of(scores, rows, loss="shuffled_pairs")

    margins = scores[::2] - scores[1::2]
    assert count == 17
    assert float(total / count) == pytest.approx(float(-F.logsigmoid(margins).mean()))


def test_training_widens_the_gap_between_preferred_and_other(
    tmp_path_factory: pytest.TempPathFactory, prompts: list[RankedPrompt]
) -> None:
    scorer = ScalarModel.load(write_model(tmp_path_factory.mktemp("fresh")))
    scorer.new_head(7)
    batch = RankedBatch.of(prompts)
    optimizer = torch.optim.SGD(scorer.parameters(), lr=0.05)

    @torch.no_grad()
    def gap() -> float:
        scores = scorer.scores_of_all(batch.completions)
        return float((scores[batch.preferred] - scores[batch.other]).mean())

    before = gap()
    for _ in range(5):
        optimizer.zero_grad()
        summed = loss_of_batch(scorer.scores_of_all(batch.completions), batch, RewardConfig())
        summed.mean().backward()
        optimizer.step()

    assert gap() > before + 0.1
