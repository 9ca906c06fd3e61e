"""Matched KL on curves worked out by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from alignloop.workflow.studies.matched import differences, draw, matched, value_at

CURVE = [
    {"kl": 4.0, "win_rate": 0.7},
    {"kl": -0.01, "win_rate": 0.5},
    {"kl": 9.0, "win_rate": 0.6},
]


@pytest.mark.parametrize(
    ("kl", "value"),
    [(0.0, 0.5), (1.0, 0.6), (4.0, 0.7), (6.25, 0.65), (9.0, 0.6), (9.1, None), (20.0, None)],
)
def test_between_points_it_is_linear_in_the_root_of_the_kl(kl: float, value: float | None) -> None:
    """The points are sorted; noise below 0 counts as 0; beyond the last there is nothing."""
    assert value_at(CURVE, kl, "win_rate") == pytest.approx(value)


def test_a_kl_counts_where_every_seed_reaches_it() -> None:
    short = [{"kl": 0.0, "win_rate": 0.4}, {"kl": 4.0, "win_rate": 0.6}]

    rows = matched({"dpo": [CURVE, short], "ppo": [CURVE, CURVE]}, "win_rate", (1.0, 4.0, 9.0))

    assert [row["kl"] for row in rows["dpo"]] == [1.0, 4.0]
    assert rows["dpo"][0]["by_seed"] == pytest.approx([0.6, 0.5])
    assert [rows["dpo"][0][key] for key in ("mean", "low", "high")] == pytest.approx(
        [0.55, 0.5, 0.6]
    )
    [first, second] = differences(rows, "dpo", "ppo")
    assert first["by_seed"] == pytest.approx([0.0, -0.1])
    assert second["mean"] == pytest.approx(-0.05)


def test_the_plot_names_every_method_and_repeats_byte_for_byte(tmp_path: Path) -> None:
    curves = {"dpo": [CURVE, CURVE], "best_of_n": [CURVE, CURVE[:2]]}

    for name in ("a.svg", "b.svg"):
        draw(tmp_path / name, curves, "win_rate", "gold win rate")

    text = (tmp_path / "a.svg").read_text()
    assert all(label in text for label in ("dpo", "best of n", "gold win rate", "KL to the"))
    assert text == (tmp_path / "b.svg").read_text()
