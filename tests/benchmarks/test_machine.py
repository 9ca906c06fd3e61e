"""FLOPs against counts by hand, on a model small enough to count."""

from __future__ import annotations

from dataclasses import replace

from benchmarks import machine
from benchmarks.job import PRECISIONS, Shape

TINY = Shape("llama", hidden=4, layers=1, heads=2, intermediate=6, vocabulary=10, context=8)
# Per token: 4 matrices of 4 x 4 and 3 of 4 x 6 are 136 weights, a multiplication and an addition each.
TOKEN = 2 * 136
# Per query and key: a product of width 4 for the score and one for the sum.
KEY = 2 * (2 * 4)
LOGITS = 2 * 4 * 10


def test_a_row_costs_its_matrices_and_the_keys_that_each_token_sees() -> None:
    assert machine.trunk(TINY, 3) == 3 * TOKEN + (1 + 2 + 3) * KEY
    assert machine.trunk(replace(TINY, layers=5), 3) == 5 * machine.trunk(TINY, 3)
    assert machine.head(TINY, 3) == 3 * LOGITS


def test_gpt2_has_one_matrix_for_queries_keys_and_values_and_no_gate() -> None:
    shape = replace(TINY, arch="gpt2")

    assert machine.trunk(shape, 1) == 2 * (4 * 12 + 4 * 4 + 4 * 6 + 6 * 4) + KEY


def test_a_shared_prompt_is_counted_once_and_each_response_sees_it() -> None:
    keys = (1 + 2) + 2 * (3 + 4 + 5)  # the prompt's own; each response after two tokens of prompt

    assert machine.trunk(TINY, 2, [3, 3]) == 8 * TOKEN + keys * KEY
    assert machine.trunk(TINY, 2, [3]) == machine.trunk(TINY, 5)


def test_explicit_pairs_are_two_whole_rows_each() -> None:
    shared = machine.reward_update(TINY, prompt=2, response=3, completions=4)
    pairs = machine.reward_update_by_pairs(TINY, prompt=2, response=3, completions=4)

    assert shared == 3 * (14 * TOKEN + (3 + 4 * 12) * KEY)
    assert pairs == 3 * 6 * 2 * (5 * TOKEN + 15 * KEY)


def test_a_drawn_response_does_not_read_its_last_token() -> None:
    assert machine.drawing(TINY, prompt=2, response=3) == 4 * TOKEN + 10 * KEY + 3 * LOGITS


def test_an_episode_is_drawn_looked_at_by_three_models_and_learned_from_by_two() -> None:
    row = 5 * TOKEN + 15 * KEY
    drawn = 4 * TOKEN + 10 * KEY + 3 * LOGITS
    looked_at = 3 * row + 3 * LOGITS
    learned = 3 * (2 * row + 3 * LOGITS)

    assert machine.ppo_episode(TINY, 2, 3, epochs=1) == drawn + looked_at + learned
    assert machine.ppo_episode(TINY, 2, 3, epochs=4) == drawn + looked_at + 4 * learned


def test_logits_count_where_the_loss_is() -> None:
    row = 5 * TOKEN + 15 * KEY

    assert machine.language_model_update(TINY, tokens=5, learned=3) == 3 * (row + 3 * LOGITS)


def test_rates_are_measured_in_both_precisions() -> None:
    rates = machine.gemm_rates(TINY, rounds=1)

    assert set(rates) == set(PRECISIONS)
    for rate in rates.values():
        assert rate["flops_per_second"] == max(rate["by_rows"].values()) > 0
        assert [int(rows) for rows in rate["by_rows"]] == list(machine.ROWS)
