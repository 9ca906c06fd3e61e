"""Blocks of packed text, ragged batches and micro-batches: nothing lost, nothing twice, no cursor needed."""

from __future__ import annotations

import os
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from alignloop.data import batches
from alignloop.data.batches import (
    PackedText,
    Ragged,
    epoch_order,
    forests_of,
    micro_batches,
    shares_of_batch,
    shares_of_blocks,
)
from alignloop.data.formatter import encode_texts
from alignloop.data.jsonl import write_records
from alignloop.data.records import Text
from alignloop.distributed import World
from alignloop.errors import DataError
from tests.helpers import tiny_tokenizer

END = 1
DOCUMENTS = [
    [100 * i + j for j in range(length)] for i, length in enumerate([7, 3, 12, 1, 9, 20], 1)
]
"""Every token is unique, so that it can be followed."""


def blocks(packed: PackedText, epoch: int) -> torch.Tensor:
    return packed.batch(epoch * packed.blocks_per_epoch, packed.blocks_per_epoch)


@pytest.mark.parametrize("width", [1, 4, 5, 13, 56])
@pytest.mark.parametrize("epoch", [0, 3])
def test_every_token_is_predicted_once_an_epoch_up_to_the_tail(width: int, epoch: int) -> None:
    packed = PackedText(DOCUMENTS, END, width, seed=7)
    assert packed.tokens == sum(map(len, DOCUMENTS)) + len(DOCUMENTS) == 58

    found = blocks(packed, epoch)

    assert found.shape == (57 // width, width + 1)
    predicted = Counter(found[:, 1:].flatten().tolist())
    ends = predicted.pop(END, 0)
    assert set(predicted.values()) <= {1}
    assert sum(predicted.values()) + ends == 57 // width * width
    missing = {t for document in DOCUMENTS for t in document} - predicted.keys()
    assert len(missing) <= width + 1, (
        "the first token of the stream, and less than a block at its end"
    )


def test_blocks_are_cut_from_whole_documents_in_order() -> None:
    """Joined at their overlaps, the blocks of an epoch are the documents, each followed by the end token."""
    packed = PackedText(DOCUMENTS, END, 4, seed=7)
    found = blocks(packed, 0)
    follows = {int(row[0]): row.tolist() for row in found if int(row[0]) != END}

    for row in found.tolist():
        for now, after in pairwise(row):
            if now == END:
                assert after % 100 == 0, "a document begins"
            else:
                inside = now // 100
                last = DOCUMENTS[inside - 1][-1]
                assert after == (END if now == last else now + 1)
    assert follows


@given(st.integers(0, 40), st.integers(1, 20))
def test_a_block_depends_on_seed_and_number_alone(first: int, count: int) -> None:
    """So a resumed run needs no cursor: any block can be had again, in any order."""
    fresh = PackedText(DOCUMENTS, END, 4, seed=7)
    used = PackedText(DOCUMENTS, END, 4, seed=7)
    used.batch(33, 9)

    whole = fresh.batch(0, 60)

    assert torch.equal(used.batch(first, count), whole[first : first + count])


def test_epochs_and_seeds_differ_in_documents_order_and_cuts() -> None:
    packed, other = (PackedText(DOCUMENTS, END, 4, seed=seed) for seed in (7, 8))

    first, second = blocks(packed, 0).tolist(), blocks(packed, 1).tolist()

    assert sorted(first) != sorted(second), "other cuts, not the same blocks in another order"
    assert first != blocks(other, 0).tolist()


def test_too_little_text_is_refused() -> None:
    with pytest.raises(DataError, match="4 tokens: not one block of 4"):
        PackedText([[5, 6, 7]], END, 4, seed=1)
    assert PackedText([[5, 6, 7, 8]], END, 4, seed=1).batch(0, 2).tolist() == [[5, 6, 7, 8, 1]] * 2


# --- ragged rows ---

tokens = st.lists(st.integers(5, 99), min_size=1, max_size=6)


@given(st.lists(st.tuples(tokens, tokens), min_size=1, max_size=5), st.integers(0, 99))
def test_ragged_rows_keep_their_tokens_and_masks_know_only_lengths(
    rows: list[tuple[list[int], list[int]]], pad: int
) -> None:
    """Any token may be the padding, one that occurs in the rows included."""
    prompts, responses = [p for p, _ in rows], [r for _, r in rows]

    batch = Ragged.of(prompts, responses, pad)

    for row, (prompt, response) in enumerate(rows):
        whole = [*prompt, *response]
        assert batch.tokens[row, : len(whole)].tolist() == whole
        assert set(batch.tokens[row, len(whole) :].tolist()) <= {pad}
        assert batch.tokens[row][batch.is_response()[row]].tolist() == response


# --- micro-batches ---


@given(st.lists(st.integers(1, 60), max_size=30), st.integers(1, 200))
def test_micro_batches_are_a_partition_within_the_budget(lengths: list[int], budget: int) -> None:
    groups = micro_batches(lengths, budget)

    assert sorted(i for group in groups for i in group) == list(range(len(lengths)))
    for group in groups:
        padded = len(group) * max(lengths[i] for i in group)
        assert padded <= budget or len(group) == 1
    assert groups == micro_batches(lengths, budget)


def test_micro_batches_put_similar_lengths_together() -> None:
    assert micro_batches([9, 1, 10, 2, 1], 20) == [[1, 4, 3], [0, 2]]


@given(
    st.lists(st.integers(1, 60), min_size=1, max_size=30), st.integers(1, 200), st.integers(1, 5)
)
def test_ranks_share_every_row_and_make_the_same_number_of_passes(
    lengths: list[int], budget: int, size: int
) -> None:
    shares = [shares_of_batch(lengths, budget, World(rank, size)) for rank in range(size)]

    assert len({len(share) for share in shares}) == 1
    counted = [i for share in shares for rows, weight in share if weight == 1.0 for i in rows]
    assert sorted(counted) == list(range(len(lengths)))
    idle = [rows for share in shares for rows, weight in share if weight != 1.0]
    assert all(lengths[rows[0]] == min(lengths) and len(rows) == 1 for rows in idle)
    assert {weight for share in shares for _, weight in share} <= {0.0, 1.0}
    assert not all(weight == 0.0 for share in shares for _, weight in share[-1:])


@given(st.lists(st.integers(1, 60), min_size=1, max_size=30), st.integers(1, 200))
def test_one_rank_has_the_whole_batch(lengths: list[int], budget: int) -> None:
    expected = [(rows, 1.0) for rows in micro_batches(lengths, budget)]

    assert shares_of_batch(lengths, budget, World()) == expected


def test_blocks_of_text_are_shared_as_rows_are() -> None:
    blocks = torch.arange(5 * 4).view(5, 4)

    first, second = (shares_of_blocks(blocks, 6, World(rank, 2)) for rank in (0, 1))

    assert [(piece[:, 0].tolist(), weight) for piece, weight in first] == [
        ([0, 8], 1.0),
        ([16], 1.0),
    ]
    assert [(piece[:, 0].tolist(), weight) for piece, weight in second] == [
        ([4, 12], 1.0),
        ([0], 0.0),
    ]


@given(st.integers(1, 50), st.integers(0, 5))
def test_an_epochs_order_is_a_permutation_of_its_own(count: int, epoch: int) -> None:
    order = epoch_order(count, 3, epoch)

    assert sorted(order) == list(range(count))
    assert order == epoch_order(count, 3, epoch)
    assert count < 12 or order != epoch_order(count, 3, epoch + 1)


PROMPTS = st.sampled_from([(5,), (5, 9), (8, 4, 2)])
ROWS = st.lists(st.tuples(PROMPTS, st.lists(st.integers(3, 60), max_size=6)), max_size=12)


@given(rows=ROWS, budget=st.integers(1, 60))
def test_every_row_is_in_one_forest_within_the_budget_with_others_of_its_prompt(
    rows: list[tuple[tuple[int, ...], list[int]]], budget: int
) -> None:
    prompts, responses = [prompt for prompt, _ in rows], [response for _, response in rows]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batches, "_READING_BUDGET", budget)
        found = list(forests_of(prompts, responses))

    assert sorted(row for group, _ in found for row in group) == list(range(len(rows)))
    for group, forest in found:
        places, _ = forest.rows()
        assert places.numel() <= budget or len(group) == 1
        for row, path in zip(group, places.tolist(), strict=True):
            whole = [*prompts[row], *responses[row]]
            assert forest.tokens[0, path[: len(whole)]].tolist() == whole
    trees = sum(len(forest.prompt_lengths) for _, forest in found)
    assert trees >= len(set(prompts))
    if budget >= 9 * len(rows):  # a whole row has at most nine tokens
        assert trees == len(set(prompts))


def test_a_text_is_tokenized_once_for_runs_that_follow_and_anew_once_it_or_the_tokenizer_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches._tokens_of.cache_clear()
    encoded: list[int] = []

    def counted(tokenizer: Any, texts: list[str]) -> list[list[int]]:
        encoded.append(len(texts))
        return encode_texts(tokenizer, texts)

    monkeypatch.setattr(batches, "encode_texts", counted)
    path = tmp_path / "train.jsonl.gz"
    texts = [Text(id=f"t{number}", text=f"a tale of {number} kings") for number in range(9)]

    def tokens(tokenizer: Any, width: int = 4) -> list[list[int]]:
        return PackedText.read(path, tokenizer, width, seed=3).batch(0, 3).tolist()

    write_records(path, texts)
    read = tokens(tiny_tokenizer())
    again = tokens(tiny_tokenizer())
    assert read == again
    assert encoded == [9]
    assert tokens(tiny_tokenizer(), 5) != read
    assert encoded == [9], "blocks of another width are of the same tokens"

    write_records(path, texts[:8])
    os.utime(path, ns=(1, 1))
    assert tokens(tiny_tokenizer()) != read
    other = tiny_tokenizer()
    other.add_tokens(["kings"])
    assert tokens(other) != read
    assert encoded == [9, 8, 8]
    batches._tokens_of.cache_clear()
