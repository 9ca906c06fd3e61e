"""Eq. 1 on hand-computed rankings, against explicit loops, and through the batches that the loop really uses."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from alignloop.data.formatter import Formatter
from alignloop.errors import DataError
from alignloop.models.loading import backbone_of
from alignloop.models.reward_model import ScalarModel
from alignloop.reward.objective import pair_accuracy, ranking_loss
from alignloop.tensors import Summed, generator
from alignloop.training.rankings import RankedBatch, RankedPrompt, encode_rankings, prompt_groups
from tests.helpers import CONTEXT, ranking, tiny_tokenizer, write_model


def ranked(*ranks: int) -> RankedPrompt:
    """A prompt of one token and a completion of one token per rank; pairs as the real records give them."""
    return RankedPrompt([1], [[2] for _ in ranks], ranking(0, ranks).pairs())


def loss_of(
    scores: Tensor, prompts: list[RankedPrompt], divisor: str = "kept_pairs"
) -> tuple[Tensor, int]:
    batch = RankedBatch.of(prompts, pad=0)
    divisors = getattr(batch, divisor).to(scores.dtype)
    summed = ranking_loss(scores, batch.preferred, batch.other, batch.prompt_of_pair, divisors)
    return summed.total, summed.count


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
    better, worse = (torch.tensor(side) for side in zip(*prompt.pairs, strict=True))
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
    batch = RankedBatch.of([ranked(1, 2, 3)], pad=0)

    right = pair_accuracy(torch.tensor([1.0, 1.0, 2.0]), batch.preferred, batch.other)

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
    read: list[int] = []
    hook = backbone_of(scorer.model).register_forward_pre_hook(
        lambda _module, _args, kwargs: read.append(int((kwargs["input_ids"] != 0).sum())),
        with_kwargs=True,
    )

    batch = RankedBatch.of(prompts, pad=0)
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
            batch = RankedBatch.of([prompts[i] for i in group], pad=0)
            scores = scorer.scores_of_all(batch.completions)
            summed = ranking_loss(
                scores, batch.preferred, batch.other, batch.prompt_of_pair, batch.kept_pairs
            )
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
    prompts = [RankedPrompt([1] * width, [[2]] * k, [(0, 0)]) for k, width in shapes]

    groups = prompt_groups(prompts, budget)

    assert sorted(i for group in groups for i in group) == list(range(len(prompts)))
    for group in groups:
        assert len(group) == 1 or len(group) * max(prompts[i].size for i in group) <= budget


def test_training_widens_the_gap_between_preferred_and_other(
    tmp_path_factory: pytest.TempPathFactory, prompts: list[RankedPrompt]
) -> None:
    scorer = ScalarModel.load(write_model(tmp_path_factory.mktemp("fresh")))
    scorer.new_head(7)
    batch = RankedBatch.of(prompts, pad=0)
    optimizer = torch.optim.SGD(scorer.parameters(), lr=0.05)

    @torch.no_grad()
    def gap() -> float:
        scores = scorer.scores_of_all(batch.completions)
        return float((scores[batch.preferred] - scores[batch.other]).mean())

    before = gap()
    for _ in range(5):
        optimizer.zero_grad()
        summed = ranking_loss(
            scorer.scores_of_all(batch.completions),
            batch.preferred,
            batch.other,
            batch.prompt_of_pair,
            batch.kept_pairs,
        )
        summed.mean().backward()
        optimizer.step()

    assert gap() > before + 0.1
