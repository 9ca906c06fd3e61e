"""What many runs come to: the better precision of each side, ratios repeat by repeat, shares of the measured rate."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.catalogue import OURS
from benchmarks.report import report, table


def answers(*rates: float, rss: int = 100, gemm: float = 100.0) -> list[dict[str, Any]]:
    fixed = {"rss_mib": rss, "config": {}, "versions": {}}
    return [{"rate": rate, "gemm": gemm, **fixed} for rate in rates]


FOUND = {
    (OURS, "float32"): answers(30.0, 20.0, 10.0),
    (OURS, "bfloat16"): answers(40.0, 50.0, 60.0, rss=120, gemm=400.0),
    ("slow", "float32"): answers(1.0, 1.0, 1.0),
    ("slow", "bfloat16"): answers(0.5, 0.5, 0.5, gemm=400.0),
    ("quick", "float32"): answers(10.0, 10.0, 4.0, rss=200),
    ("quick", "bfloat16"): answers(5.0, 5.0, 5.0, gemm=400.0),
}


def test_best_stands_against_best_and_the_fastest_peer_in_front() -> None:
    found = report(FOUND, flops=2.0, flops_of_peers=6.0)

    assert found["ours"] == {"min": 40.0, "median": 50.0, "max": 60.0}
    assert found["peer_name"] == "quick"
    assert found["peer"] == {"min": 4.0, "median": 10.0, "max": 10.0}
    assert found["ratio"] == {"min": 4.0, "median": 5.0, "max": 15.0}
    assert (found["rss_ours"], found["rss_peer"]) == (120, 200)
    assert (found["dtype_ours"], found["peers"]["quick"]["precision"]) == ("bfloat16", "float32")


def test_the_share_is_of_the_rate_in_the_precision_that_ran() -> None:
    found = report(FOUND, flops=2.0, flops_of_peers=6.0)

    assert found["flops"] == 2.0
    assert found["share_of_gemm"] == pytest.approx(50 * 2 / 400)
    assert found["ours_by_dtype"]["float32"]["share_of_gemm"] == pytest.approx(20 * 2 / 100)
    assert found["peers"]["quick"]["share_of_gemm"] == pytest.approx(10 * 6 / 100)


def test_the_share_is_of_the_rate_in_the_repeat_that_ran() -> None:
    slowing = [
        {**row, "gemm": gemm}
        for row, gemm in zip(answers(8.0, 4.0, 3.0), (100.0, 50.0, 25.0), strict=True)
    ]

    found = report({(OURS, "float32"): slowing}, flops=2.0, flops_of_peers=2.0)

    assert found["share_of_gemm"] == pytest.approx(0.16)
    assert found["ours_by_dtype"]["float32"]["gemm_flops_per_second"]["max"] == 100.0


def test_equal_precisions_are_told_beside_best_against_best() -> None:
    found = report(FOUND, flops=2.0, flops_of_peers=6.0)["peers"]

    assert found["quick"]["equal_dtype"]["float32"]["ratio"] == {
        "min": 2.0,
        "median": 2.5,
        "max": 3.0,
    }
    assert found["slow"]["equal_dtype"]["bfloat16"]["ratio"]["median"] == 100.0


def test_the_table_names_every_side_and_ratio() -> None:
    result = report(FOUND, flops=2.0, flops_of_peers=6.0)

    lines = table({"benchmark": "x", "title": "y", "unit": "z/s", **result}).splitlines()

    assert [line.split()[0] for line in lines[2:4]] == [OURS, OURS]
    assert any("ours / quick: 5.00 (4.00 to 15.00), memory 0.60" in line for line in lines)
    assert any("ours / slow: 50.00" in line for line in lines)
    assert sum("both in" in line for line in lines) == 4
