"""Sums with counts, masks, whitening and log-probabilities, against hand-computed numbers and float64."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import TypeCheckError
from torch import Tensor

from alignloop import tensors
from alignloop.tensors import (
    Summed,
    counts_up_to,
    generator,
    masked_mean,
    masked_sum,
    row_sums,
    token_log_probs,
    whiten,
)

NAN, INF = float("nan"), float("inf")


def rows_of(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    """[B, T] float64 values and a mask with at least two places that count."""
    height, width = draw(st.integers(1, 4)), draw(st.integers(2, 6))
    seed = draw(st.integers(0, 10_000))
    random = generator(seed)
    values = torch.randn(height, width, generator=random, dtype=torch.float64)
    counts = torch.rand(height, width, generator=random) < draw(st.sampled_from([0.3, 0.7, 1.0]))
    counts[0, :2] = True
    return values, counts


ragged = st.composite(rows_of)()


def test_a_sum_is_divided_by_its_count_once() -> None:
    assert float(Summed(torch.tensor(6.0), 4).mean()) == 1.5
    assert float(Summed(torch.tensor(0.0), 0).mean()) == 0.0


def test_masks_come_from_lengths() -> None:
    expected = [[True, True, True], [True, False, False], [False, False, False]]

    assert counts_up_to(torch.tensor([3, 1, 0]), 3).tolist() == expected


@pytest.mark.parametrize("junk", [NAN, INF, -INF, 1e30])
def test_what_does_not_count_changes_neither_sum_nor_gradient(junk: float) -> None:
    values = torch.tensor([[1.0, junk, 2.0], [junk, 4.0, junk]], requires_grad=True)
    counts = torch.tensor([[True, False, True], [False, True, False]])

    summed = masked_sum(values, counts)
    summed.total.backward()

    assert (float(summed.total.detach()), summed.count) == (7.0, 3)
    assert values.grad is not None
    assert values.grad.tolist() == [[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]]
    assert float(masked_mean(values.detach(), counts)) == pytest.approx(7 / 3)
    assert row_sums(values.detach(), counts).tolist() == [3.0, 4.0]


@given(ragged, st.data())
def test_any_split_of_the_rows_sums_alike(
    drawn: tuple[Tensor, Tensor], data: st.DataObject
) -> None:
    values, counts = drawn
    cut = data.draw(st.integers(0, len(values)))

    whole = masked_sum(values, counts)
    parts = [masked_sum(values[s], counts[s]) for s in (slice(0, cut), slice(cut, None))]

    assert sum(part.count for part in parts) == whole.count
    assert float(sum(part.total for part in parts)) == pytest.approx(float(whole.total), abs=1e-12)


# --- whitening ---


def test_whitening_without_shift_matches_the_published_matrix() -> None:
    """The N Implementation Details of RLHF, its example for Ziegler et al.'s `whiten`."""
    values = torch.tensor([[1.2, 1.3, 1.4], [1.5, 1.6, 1.7], [1.8, 1.9, 2.0]], dtype=torch.float64)
    expected = [[0.0508, 0.4381, 0.8254], [1.2127, 1.6000, 1.9873], [2.3746, 2.7619, 3.1492]]

    whitened = whiten(values, torch.ones_like(values, dtype=torch.bool), shift_mean=False)

    torch.testing.assert_close(
        whitened, torch.tensor(expected, dtype=torch.float64), atol=5e-5, rtol=0
    )
    unbiased = (values - values.mean()) / values.std(correction=1) + values.mean()
    assert float(unbiased[0, 0]) == pytest.approx(0.1394, abs=5e-5)
    assert abs(float(whitened[0, 0]) - 0.1394) > 0.05


def test_whitening_three_advantages() -> None:
    values = torch.tensor([0.43675, 0.565, 0.7], dtype=torch.float64)

    whitened = whiten(values, torch.ones(3, dtype=torch.bool))

    expected = torch.tensor([-1.2141434, -0.0209335, 1.2350769], dtype=torch.float64)
    torch.testing.assert_close(whitened, expected, atol=1e-6, rtol=0)


@given(ragged, st.integers(0, 3), st.integers(0, 2), st.sampled_from([NAN, INF, 1e9, -7.0]))
def test_padding_cannot_change_whitening(
    drawn: tuple[Tensor, Tensor], more_columns: int, more_rows: int, junk: float
) -> None:
    values, counts = drawn
    height, width = values.shape
    padded = torch.full((height + more_rows, width + more_columns), junk, dtype=torch.float64)
    padded[:height, :width] = torch.where(counts, values, torch.full_like(values, junk))
    is_real = torch.zeros(padded.shape, dtype=torch.bool)
    is_real[:height, :width] = counts

    whitened = whiten(padded, is_real)

    torch.testing.assert_close(whitened[is_real], whiten(values, counts)[counts])
    assert not whitened[~is_real].any(), "zero where nothing counts"
    chosen = values[counts]
    by_hand = (chosen - chosen.mean()) / torch.sqrt(chosen.var(correction=0) + 1e-8)
    torch.testing.assert_close(whitened[is_real], by_hand)


def test_whitening_equal_values_gives_zeros() -> None:
    values = torch.full((2, 2), 3.0)

    assert whiten(values, torch.ones(2, 2, dtype=torch.bool)).tolist() == [[0, 0], [0, 0]]


# --- log-probabilities ---


@pytest.mark.parametrize("chunk", [1, 3, 10, 4096])
@pytest.mark.parametrize("temperature", [1.0, 0.7, 2.5])
def test_log_probs_in_chunks_equal_a_float64_log_softmax(
    monkeypatch: pytest.MonkeyPatch, chunk: int, temperature: float
) -> None:
    monkeypatch.setattr(tensors, "CHUNK_POSITIONS", chunk)
    hidden = torch.randn(10, 6, generator=generator(1), requires_grad=True)
    weight = torch.randn(17, 6, generator=generator(2), requires_grad=True)
    targets = torch.randint(17, (10,), generator=generator(3))

    log_probs = token_log_probs(hidden, weight, targets, temperature)
    log_probs.sum().backward()

    exact_hidden = hidden.detach().double().requires_grad_()
    exact_weight = weight.detach().double().requires_grad_()
    logits = exact_hidden @ exact_weight.T
    exact = torch.log_softmax(logits / temperature, dim=-1)[range(10), targets]
    exact.sum().backward()
    torch.testing.assert_close(log_probs.double(), exact, atol=1e-5, rtol=0)
    for ours, theirs in ((hidden, exact_hidden), (weight, exact_weight)):
        assert ours.grad is not None
        assert theirs.grad is not None
        torch.testing.assert_close(ours.grad.double(), theirs.grad, atol=1e-4, rtol=0)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_of_a_large_vocabulary_nothing_of_its_width_is_kept_and_the_gradients_are_the_same(
    precision: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: dict[int, tuple[list[Tensor], int]] = {}
    for limit in (50, 49):
        monkeypatch.setattr(tensors, "KEPT_VOCABULARY", limit)
        generator = torch.Generator().manual_seed(1)
        hidden = torch.randn(30, 8, generator=generator, requires_grad=True)
        weight = torch.randn(50, 8, generator=generator, requires_grad=True)
        widest = [0]

        def note(tensor: Tensor, widest: list[int] = widest) -> Tensor:
            widest[0] = max(widest[0], tensor.numel())
            return tensor

        with (
            torch.autograd.graph.saved_tensors_hooks(note, lambda t: t),
            torch.autocast("cpu", precision, enabled=precision == torch.bfloat16),
        ):
            log_probs = token_log_probs(hidden, weight, torch.arange(30), 0.7)
        (log_probs * torch.linspace(-1, 1, 30)).sum().backward()
        assert hidden.grad is not None
        assert weight.grad is not None
        found[limit] = [log_probs.detach(), hidden.grad, weight.grad], widest[0]

    for kept, again in zip(found[50][0], found[49][0], strict=True):
        assert torch.equal(kept, again)
    assert (found[50][1], found[49][1]) == (30 * 50, 50 * 8)


def test_log_probs_of_bfloat16_weights_are_taken_in_float32() -> None:
    hidden = torch.randn(5, 8, generator=generator(1), dtype=torch.bfloat16)
    weight = torch.randn(300, 8, generator=generator(2), dtype=torch.bfloat16)
    targets = torch.arange(5)

    log_probs = token_log_probs(hidden, weight, targets)

    assert log_probs.dtype == torch.float32
    exact = torch.log_softmax(hidden.double() @ weight.double().T, dim=-1)[range(5), targets]
    torch.testing.assert_close(log_probs.double(), exact, atol=1e-5, rtol=0)


def test_no_positions_give_no_log_probs() -> None:
    empty = token_log_probs(torch.zeros(0, 4), torch.zeros(9, 4), torch.zeros(0, dtype=torch.long))

    assert (empty.shape, empty.dtype) == ((0,), torch.float32)


@given(st.lists(st.integers(1, 4), min_size=1, max_size=5))
def test_log_probs_do_not_depend_on_how_positions_are_grouped(sizes: list[int]) -> None:
    count = sum(sizes)
    hidden = torch.randn(count, 4, generator=generator(count))
    weight = torch.randn(11, 4, generator=generator(5))
    targets = torch.randint(11, (count,), generator=generator(6))

    parts = [
        token_log_probs(h, weight, t)
        for h, t in zip(hidden.split(sizes), targets.split(sizes), strict=True)
    ]

    torch.testing.assert_close(torch.cat(parts), token_log_probs(hidden, weight, targets))


def test_a_wrong_shape_is_refused_in_tests() -> None:
    with pytest.raises(TypeCheckError, match="weight"):
        token_log_probs(torch.zeros(3, 4), torch.zeros(9, 5), torch.zeros(3, dtype=torch.long))


def test_logits_are_float32_in_bfloat16_runs_too() -> None:
    """Logits of ten and more, rounded to bfloat16, would be off by hundredths: a ratio that is not 1."""
    hidden, weight = torch.randn(20, 32), torch.randn(64, 32) * 2
    targets = torch.arange(20)
    exact = token_log_probs(hidden, weight, targets)

    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = token_log_probs(hidden, weight, targets)

    assert torch.equal(found, exact)
