"""What is learned of a demonstration, token by token, and that its layout changes neither loss nor gradient."""

from __future__ import annotations

from typing import Any, Literal

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from alignloop.data.batches import Ragged
from alignloop.data.formatter import Formatter
from alignloop.data.records import Demonstration, Prompt, Turn
from alignloop.models.packing import PackedRow
from alignloop.models.policy import log_probs_at
from alignloop.sft.batches import Example, MicroBatch, encode_demonstrations, lay_out
from alignloop.sft.objective import response_loss
from tests.helpers import (
    ARCHITECTURES,
    CONTEXT,
    SENTENCES,
    demonstration,
    foreign_tokenizer,
    tiny_model,
    tiny_tokenizer,
)

FORMATTER = Formatter.of(tiny_tokenizer())
Layout = Literal["bucketed", "packed"]
LAYOUTS: tuple[tuple[Layout, int], ...] = (
    ("bucketed", 1),
    ("bucketed", 100_000),
    ("packed", 1),
    ("packed", 130),
    ("packed", 100_000),
)


def dialogue(*texts: str) -> Demonstration:
    """User and assistant in turn; the last text is the response."""
    *said, asked, response = texts
    roles = ("user", "assistant")
    history = tuple(Turn(role=roles[at % 2], text=text) for at, text in enumerate(said))
    return Demonstration(prompt=Prompt(id="d", text=asked, history=history), response=response)


ROWS = [
    *(demonstration(i) for i in range(4)),
    dialogue("The wolf?", SENTENCES[4], "And then?", SENTENCES[3]),
    dialogue("Go.", "Yes.", "On.", "No.", SENTENCES[1], SENTENCES[7]),
]


def encode(turns: Any = "last", formatter: Formatter = FORMATTER) -> list[Example]:
    return encode_demonstrations(ROWS, formatter, 10 * CONTEXT, None, turns)[0]


# --- which tokens are learned ---


@pytest.mark.parametrize(
    ("turns", "on_prompt", "learned"),
    [
        ("last", False, [0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]),
        ("all", False, [0, 0, 0, 0, 1, 1, 0, 0, 0, 1, 1]),
        ("last", True, [0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]),
        ("all", True, [0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]),
    ],
)
@pytest.mark.parametrize("packing", ["bucketed", "packed"])
def test_of_a_conversation_the_last_turn_is_learned_or_all_of_the_assistants(
    turns: Any, on_prompt: bool, learned: list[int], packing: Any
) -> None:
    """prompt a b response c end prompt d response e end: eleven tokens, worked out by hand."""
    [example], _ = encode_demonstrations(
        [dialogue("ab", "c", "d", "e")], FORMATTER, CONTEXT, None, turns
    )
    a, b, c, d, e = (FORMATTER._plain(letter)[0] for letter in "abcde")

    [batch] = lay_out([example], packing, 1000, FORMATTER.pad, on_prompt=on_prompt)

    assert batch.rows.tokens.tolist() == [[2, a, b, 3, c, 1, 2, d, 3, e, 1]]
    assert batch.is_learned.int().tolist() == [learned]
    assert example.count(on_prompt=on_prompt) == sum(learned)


def test_masks_of_several_rows_padded_and_packed() -> None:
    """Three examples of 4, 3 and 6 tokens; the last has an earlier turn at 1 and 2."""
    examples = [
        Example([5, 6], [7, 1]),
        Example([8], [9, 1]),
        Example([5, 9, 1, 6], [8, 1], earlier=[(1, 3)]),
    ]

    [padded] = lay_out(examples, "bucketed", 1000, 0, on_prompt=False)
    [packed] = lay_out(examples, "packed", 1000, 0, on_prompt=False)
    [whole] = lay_out(examples, "packed", 1000, 0, on_prompt=True)

    assert padded.rows.tokens.tolist() == [
        [8, 9, 1, 0, 0, 0],
        [5, 6, 7, 1, 0, 0],
        [5, 9, 1, 6, 8, 1],
    ]
    assert padded.is_learned.int().tolist() == [
        [0, 1, 1, 0, 0, 0],
        [0, 0, 1, 1, 0, 0],
        [0, 1, 1, 0, 1, 1],
    ]
    assert packed.rows.tokens.tolist() == [[5, 9, 1, 6, 8, 1, 5, 6, 7, 1, 8, 9, 1]]
    assert packed.is_learned.int().tolist() == [[0, 1, 1, 0, 1, 1, 0, 0, 1, 1, 0, 1, 1]]
    assert whole.is_learned.int().tolist() == [[0, 1, 1, 1, 1, 1, 0, 1, 1, 1, 0, 1, 1]]


@pytest.mark.parametrize("make", [tiny_tokenizer, foreign_tokenizer], ids=["ours", "foreign"])
def test_every_turn_is_learned_as_if_it_were_the_response(make: Any) -> None:
    formatter = Formatter.of(make())
    row = dialogue("Go.", "Yes.", "On.", "No.", "And?", "Never.")

    [example], _ = encode_demonstrations([row], formatter, CONTEXT, None, "all")

    whole = [*example.prompt, *example.response]
    spans = example.learned(on_prompt=False)
    assert [whole[start:stop] for start, stop in spans] == [
        formatter.response(text) for text in ("Yes.", "No.", "Never.")
    ]


# --- loss and gradient ---


def summed(model: PreTrainedModel, batches: list[MicroBatch]) -> tuple[float, int, list[Tensor]]:
    """Loss, count and gradients over micro-batches, as the loop adds them."""
    model.zero_grad()
    total, count = 0.0, 0
    for batch in batches:
        loss = response_loss(log_probs_at(model, batch.rows, batch.is_learned), batch.is_learned)
        loss.total.backward()
        total, count = total + float(loss.total.detach()), count + loss.count
    return total, count, [p.grad.clone() for p in model.parameters() if p.grad is not None]


def reference(
    architecture: str, examples: list[Example], *, on_prompt: bool
) -> tuple[float, int, list[Tensor]]:
    """In float64 and plain transformers: one row at a time, every logit, no mask of ours."""
    model = tiny_model(architecture, context=200).double()
    total, count = torch.zeros((), dtype=torch.float64), 0
    for example in examples:
        tokens = torch.tensor([[*example.prompt, *example.response]])
        log_probs = torch.log_softmax(model(tokens).logits[0], dim=-1)
        responses = [*example.earlier, (len(example.prompt), tokens.shape[1])]
        wanted = [at for start, stop in responses for at in range(start, stop)]
        for at in range(1, tokens.shape[1]) if on_prompt else wanted:
            total = total - log_probs[at - 1, tokens[0, at]]
            count += 1
    total.backward()
    return float(total.detach()), count, [p.grad for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("on_prompt", [False, True], ids=["response", "prompt"])
@pytest.mark.parametrize("turns", ["last", "all"])
def test_loss_and_gradient_are_the_reference_s_in_every_layout(
    architecture: str, on_prompt: bool, turns: Any
) -> None:
    examples = encode(turns)
    total, count, gradients = reference(architecture, examples, on_prompt=on_prompt)
    model = tiny_model(architecture, context=200)

    for packing, budget in LAYOUTS:
        batches = lay_out(examples, packing, budget, FORMATTER.pad, on_prompt=on_prompt)
        found = summed(model, batches)

        assert found[1] == count
        assert found[0] == pytest.approx(total, rel=1e-5)
        for mine, theirs in zip(found[2], gradients, strict=True):
            scale = max(float(theirs.abs().max()), 1e-2)
            torch.testing.assert_close(mine.double(), theirs, rtol=0, atol=1e-4 * scale)


def test_layouts_are_what_they_are_called() -> None:
    """Or the test above compares one with itself."""
    shapes = {
        layout: [
            tuple(batch.rows.tokens.shape)
            for batch in lay_out(encode(), *layout, FORMATTER.pad, on_prompt=False)
        ]
        for layout in LAYOUTS
    }
    real = sum(example.length for example in encode())

    assert len(shapes["bucketed", 1]) == len(shapes["packed", 1]) == len(ROWS)
    [(rows, width)] = shapes["bucketed", 100_000]
    assert rows == len(ROWS)
    assert rows * width > real
    assert shapes["packed", 100_000] == [(1, real)]
    assert 1 < len(shapes["packed", 130]) < len(ROWS)
    assert sum(width for _, width in shapes["packed", 130]) == real


@pytest.mark.parametrize("pad", [0, 1, 9], ids=["pad", "end", "a word"])
@pytest.mark.parametrize("on_prompt", [False, True], ids=["response", "prompt"])
def test_which_token_pads_never_matters_the_end_token_included(pad: int, on_prompt: bool) -> None:
    """The end is learned, and padding is not: what counts is known from lengths."""
    model, examples = tiny_model(context=200), encode("all")
    usual = lay_out(examples, "bucketed", 100_000, FORMATTER.pad, on_prompt=on_prompt)
    [batch] = lay_out(examples, "bucketed", 100_000, pad, on_prompt=on_prompt)
    assert isinstance(batch.rows, Ragged)
    assert FORMATTER.end == 1
    last = batch.rows.lengths - 1
    at = torch.arange(len(last))

    assert torch.equal(batch.is_learned, usual[0].is_learned)
    assert (batch.rows.tokens[at, last] == FORMATTER.end).all()
    assert batch.is_learned[at, last].all()
    expected, found = summed(model, usual), summed(model, [batch])
    assert found[0] == pytest.approx(expected[0], rel=1e-6)
    for mine, theirs in zip(found[2], expected[2], strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-5 * float(theirs.abs().max()))


def test_a_tokenizer_without_a_pad_token_learns_its_end_as_well() -> None:
    """Other people's models have none, or use the end for it."""
    formatter = Formatter.of(foreign_tokenizer())
    examples = encode("all", formatter)

    [batch] = lay_out(examples, "bucketed", 100_000, formatter.pad, on_prompt=False)
    [row] = lay_out(examples, "packed", 100_000, formatter.pad, on_prompt=False)

    assert formatter.pad == formatter.end == 0, "here they are the same token"
    ends = (batch.rows.tokens == formatter.end) & batch.is_learned
    assert ends.sum() == len(ROWS) + 1 + 2, "responses and earlier turns"
    assert batch.is_learned.sum() == row.is_learned.sum()
    assert isinstance(row.rows, PackedRow)
