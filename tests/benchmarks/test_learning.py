"""Learning against the peer: its arithmetic, the same trials for both sides, and our side on a tiny demo."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from alignloop.data.jsonl import read_records
from alignloop.data.records import Prompt
from alignloop.files import write_json
from alignloop.ppo.prompts import asked_in
from benchmarks.race import plan
from benchmarks.race.plan import Order, Race, Shared, Training
from benchmarks.race.summary import (
    best_trial,
    better_precision,
    compare,
    objective,
    quickest,
    summary,
    table,
    time_to_reach,
)
from tests.helpers import PPO, contents, run, write_ppo_inputs

ROOT = Path(__file__).resolve().parents[2]
SHARED = Shared(
    batch_size=4,
    minibatch_size=2,
    max_new_tokens=10,
    temperature=1.0,
    kl_coef=0.1,
    missing_eos_penalty=2.0,
    discount=1.0,
    gae_lambda=0.95,
    clip_range=0.2,
    value_clip_range=None,
    beta1=0.9,
    beta2=0.95,
    eps=1e-5,
    weight_decay=0.0,
)
RACE = Race(("ours", "peer"), ("float32", "bfloat16"), (5, 6, 7), iterations=25, every=10)

# --- summary ---


def points(*pairs: tuple[float, float]) -> list[dict[str, float]]:
    """Points of (seconds, score)."""
    return [
        {"seconds": x, "score": y, "objective": y - 1, "gold": 0.5, "kl": 2.0}
        | {"length": 9.0, "eos_rate": 0.5}
        for x, y in pairs
    ]


def result(
    side: str, seed: int, *pairs: tuple[float, float], precision: str = "float32"
) -> dict[str, Any]:
    told = {"side": side, "seed": seed, "precision": precision}
    return {"training": told, "points": points(*pairs)}


def test_a_value_between_two_points_is_reached_on_the_straight_line() -> None:
    curve = points((0.0, -1.0), (10.0, 1.0), (20.0, 2.0))

    assert time_to_reach(curve, "score", 0.0) == pytest.approx(5.0)
    assert time_to_reach(curve, "score", 1.5) == pytest.approx(15.0)
    assert time_to_reach(curve, "score", 1.0) == pytest.approx(10.0)
    assert time_to_reach(curve, "objective", 0.5) == pytest.approx(15.0)


def test_a_curve_that_begins_above_a_value_needs_no_time() -> None:
    assert time_to_reach(points((0.0, 3.0), (10.0, 4.0)), "score", 2.0) == 0.0


def test_the_first_crossing_counts_though_the_curve_falls_again() -> None:
    curve = points((0.0, 0.0), (10.0, 2.0), (20.0, 0.0), (30.0, 4.0))

    assert time_to_reach(curve, "score", 1.0) == pytest.approx(5.0)


def test_a_value_above_the_curve_is_never_reached() -> None:
    assert time_to_reach(points((0.0, 0.0), (10.0, 2.0)), "score", 2.1) is None


def test_shares_are_of_the_same_seeds_time_and_their_median_counts() -> None:
    found = compare(
        [
            result("ours", 1, (0, 0.0), (10, 2.0)),
            result("peer", 1, (0, 0.0), (40, 1.0)),
            result("ours", 2, (0, 0.0), (10, 1.0)),
            result("peer", 2, (0, 0.0), (20, 1.0)),
            result("ours", 3, (0, 0.0), (10, 0.4)),
            result("peer", 3, (0, 0.0), (20, 0.5)),
        ],
        {"ours": "float32", "peer": "float32"},
        "score",
    )

    assert [row["share"] for row in found["by_seed"]] == [pytest.approx(5 / 40), 0.5, None]
    assert found["median"] == 0.5
    assert found["by_seed"][0]["reached_after"] == pytest.approx(5.0)
    assert found["by_seed"][2]["peer_final"] == 0.5
    assert found["by_seed"][2]["ours_final"] == 0.4


def test_there_is_no_median_where_most_seeds_never_reached_it() -> None:
    runs = [result("ours", seed, (0, 0.0), (1, 0.1)) for seed in (1, 2)]
    runs += [result("peer", seed, (0, 0.0), (9, 1.0)) for seed in (1, 2)]
    runs += [result("ours", 3, (0, 0.0), (1, 5.0)), result("peer", 3, (0, 0.0), (9, 1.0))]

    found = compare(runs, {"ours": "float32", "peer": "float32"}, "score")
    assert found["median"] is None
    json.dumps(found, allow_nan=False)


def test_a_peer_that_did_not_rise_leaves_nothing_to_reach() -> None:
    runs = [result("ours", 1, (0, 0.0), (1, 1.0)), result("peer", 1, (0, 0.0), (9, -0.1))]

    found = compare(runs, {"ours": "float32", "peer": "float32"}, "score")
    assert found["median"] is None
    assert found["by_seed"][0]["reached_after"] is None


def test_each_side_races_in_its_own_better_precision_as_well() -> None:
    runs = [
        result("ours", 1, (0, 0.0), (10, 1.0)),
        result("ours", 1, (0, 0.0), (6, 1.0), precision="bfloat16"),
        result("peer", 1, (0, 0.0), (20, 1.0)),
        result("peer", 1, (0, 0.0), (30, 1.0), precision="bfloat16"),
    ]

    assert better_precision(runs, "ours") == "bfloat16"
    assert better_precision(runs, "peer") == "float32"
    found = summary(runs)
    assert found["best"]["precisions"] == {"ours": "bfloat16", "peer": "float32"}
    assert found["best"]["score"]["median"] == pytest.approx(6 / 20)
    assert found["float32"]["score"]["median"] == pytest.approx(10 / 20)
    assert found["bfloat16"]["objective"]["median"] == pytest.approx(6 / 30)
    lines = table({"runs": runs, "summary": found}).splitlines()
    assert any("score     30 % of its time (by seed: 30 %)" in line for line in lines)
    assert summary(runs[:2]) == {}


def test_the_objective_is_the_score_less_both_penalties() -> None:
    point = {"score": 1.0, "eos_rate": 0.75, "kl": 3.0}

    assert objective(point, SHARED) == pytest.approx(1.0 - 2.0 * 0.25 - 0.1 * 3.0)


def test_trials_are_judged_by_their_end_and_speeds_without_the_first_iteration() -> None:
    high_first = {"points": points((0, 9.0), (1, 1.0)), "seconds": [1.0, 5.0, 5.0]}
    high_last = {"points": points((0, 0.0), (1, 2.0)), "seconds": [90.0, 4.0, 4.0]}

    assert best_trial([high_first, high_last]) is high_last
    assert quickest([high_first, high_last]) is high_last


# --- plan ---


def test_both_sides_have_the_same_trials_and_take_turns() -> None:
    speeds = {(s, p): plan.SPEEDS[s, p][1] for s in RACE.sides for p in RACE.precisions}
    chosen = {"ours": (4e-4, 1), "peer": (8e-4, 4)}

    for trainings in (RACE.speed_trials(), RACE.trials(speeds), RACE.full(speeds, chosen)):
        assert [one.side for one in trainings] == ["ours", "peer"] * (len(trainings) // 2)
        for mine, theirs in zip(trainings[::2], trainings[1::2], strict=True):
            equal = ("precision", "seed", "iterations", "every")
            assert [getattr(mine, n) for n in equal] == [getattr(theirs, n) for n in equal]
        assert len({one.name for one in trainings}) == len(trainings)

    tried = RACE.trials(speeds)
    for side in RACE.sides:
        own = [(one.learning_rate, one.inner_epochs) for one in tried if one.side == side]
        assert own == [(rate, epochs) for rate in plan.RATES for epochs in plan.EPOCHS]
    assert {one.steps[-1] for one in tried} == {6}
    full = RACE.full(speeds, chosen)
    assert [one.seed for one in full[::4]] == [5, 6, 7]
    assert (full[1].learning_rate, full[1].inner_epochs) == (8e-4, 4)
    assert full[1].speed == plan.SPEEDS["peer", "float32"][1]


def test_the_end_is_a_point_and_never_twice() -> None:
    one = Training("ours", "float32", 1, 1e-3, 1, iterations=6)

    assert one.steps == []
    assert Training("ours", "float32", 1, 1e-3, 1, 6, every=3).steps == [3, 6]
    assert Training("ours", "float32", 1, 1e-3, 1, 7, every=3).steps == [3, 6, 7]
    assert Training("ours", "float32", 1, 1e-3, 1, 2, every=3).steps == [2]


# --- our side, on a tiny demo ---


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the demo leaves it, as far as the comparison reads it."""
    folder = tmp_path_factory.mktemp("demo")
    made = write_ppo_inputs(folder)
    made["policy"].rename(folder / "rl_init")
    run("lexicon", folder / "lexicon", {}, text=made["text"])
    write_json(folder / "demo.json", {"seed": 5})
    write_json(folder / "ppo" / "config.json", PPO | {"ptx_coef": 0.0} | FULL)
    return folder


FULL: dict[str, Any] = {
    "sampling": {"max_new_tokens": 10, "temperature": 1.0},
    "kl_coef": 0.03,
    "missing_eos_penalty": 1.0,
    "discount": 1.0,
    "gae_lambda": 0.95,
    "clip_range": 0.2,
    "value_clip_range": None,
    "policy_optimizer": {"beta1": 0.9, "beta2": 0.95, "eps": 1e-5, "weight_decay": 0.0},
}
"""What the demo's config.json names beside the settings of the tiny stages."""


def learning(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.learning", *map(str, arguments)]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )


@pytest.fixture(scope="module")
def finished(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str | Path]]:
    """A finished comparison of our side alone, and the arguments that made it."""
    out = tmp_path_factory.mktemp("learning")
    options = "--ours-only --dtype=fp32 --threads=1 --seeds=2 --iterations=3 --every=2 --copies=1"
    sizes = ("--rates=1e-3", "--epochs=1")
    arguments: list[str | Path] = [*options.split(), *sizes, "--demo", demo, "--out", out]
    done = learning(*arguments)
    assert done.returncode == 0, done.stderr
    assert "[full 2/2] ours float32 seed 6" in done.stderr
    assert "0 min left" in done.stderr.splitlines()[-1]
    return out, arguments


@pytest.mark.full
def test_our_side_leaves_curves_and_a_picture(finished: tuple[Path, list[str | Path]]) -> None:
    out, _ = finished

    found = json.loads((out / "learning.json").read_text())
    assert found["summary"] == {}
    assert found["same_scores"] is None
    assert found["chosen"] == {"ours": {"learning_rate": 1e-3, "inner_epochs": 1}}
    assert [r["training"]["seed"] for r in found["runs"]] == [5, 6]
    for done in found["runs"]:
        assert [point["step"] for point in done["points"]] == [0, 2, 3]
        seconds = [point["seconds"] for point in done["points"]]
        assert seconds == sorted(seconds)
        assert seconds[0] == 0
        assert seconds[-1] == pytest.approx(sum(done["seconds"]))
        start, *later = done["points"]
        assert start["kl"] == pytest.approx(0.0, abs=1e-4)
        assert all(abs(point["kl"]) > 1e-3 for point in later)
        for point in done["points"]:
            want = point["score"] - (1 - point["eos_rate"]) - 0.03 * point["kl"]
            assert point["objective"] == pytest.approx(want)
    first, second = (r["points"] for r in found["runs"])
    assert first[0] == second[0]
    assert first[1]["score"] != second[1]["score"]
    picture = ElementTree.parse(out / "learning-float32.svg").getroot()
    assert len(picture.findall("{http://www.w3.org/2000/svg}svg")) == 3
    assert not list(out.rglob("*.safetensors"))


@pytest.mark.full
def test_the_same_command_repeats_what_is_not_finished_and_comes_to_the_same(
    finished: tuple[Path, list[str | Path]],
) -> None:
    out, arguments = finished
    (killed,) = (out / "runs").glob("*seed-6*")
    whole = json.loads((killed / "result.json").read_text())
    (killed / "result.json").unlink()
    others = contents(out / "runs", lambda path: killed not in path.parents)

    done = learning(*arguments)

    assert done.returncode == 0, done.stderr
    assert done.stderr.count("(was there)") == 2 + 1 + 1  # ways to compute, a trial, a seed
    assert contents(out / "runs", lambda path: killed not in path.parents) == others
    again = json.loads((killed / "result.json").read_text())
    for one, other in zip(whole["points"], again["points"], strict=True):
        assert {**one, "seconds": 0} == {**other, "seconds": 0}


@pytest.mark.full
def test_both_sides_read_the_prompts_in_the_order_of_the_stage(
    finished: tuple[Path, list[str | Path]], demo: Path
) -> None:
    out, _ = finished
    records = read_records(demo / "prompts" / "rl.jsonl.gz", Prompt)

    order = Order(Training("ours", "float32", 6, 1e-3, 1, 3), str(out / "inputs"), "", 1)
    asked = order.prompts()
    want = [records[i].id for n in range(3) for i in asked_in(n, len(records), 4, 6)]
    assert asked["ids"][: len(want)] == want
    assert len(asked["ids"]) == len(asked["tokens"]) == 4 * plan.SPEED_ITERATIONS


@pytest.mark.full
def test_a_setting_that_both_sides_have_is_the_demos(
    finished: tuple[Path, list[str | Path]],
) -> None:
    out, _ = finished

    config = json.loads((out / "learning.json").read_text())["runs"][0]["config"]
    assert (config["kl_coef"], config["missing_eos_penalty"], config["batch_size"]) == (0.03, 1, 4)
    assert config["policy_optimizer"] == config["value_optimizer"]
    assert config["policy_optimizer"]["learning_rate"] == 1e-3
    assert (config["ptx_coef"], config["export"], config["warmup_iterations"]) == (0, "raw", 0)


def test_without_a_finished_demo_it_says_what_is_missing(tmp_path: Path) -> None:
    done = learning("--demo", tmp_path, "--out", tmp_path / "out")

    assert done.returncode != 0
    assert f"{tmp_path}: no finished demo" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
