"""`python benchmarks/run.py` as a user starts it; the peers need environments of their own and are left out."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.catalogue import BENCHMARKS
from benchmarks.environments import PACKAGES

ROOT = Path(__file__).resolve().parents[2]
NAMES = (
    "reward",
    "reward-long-prompt",
    "ppo",
    "ppo-one-epoch",
    "sft",
    "rollout",
    "training-step",
)
SMALL = (
    *("--hidden=32", "--layers=1", "--heads=2", "--intermediate=48", "--vocabulary=64"),
    *("--context=64", "--prompt=6", "--response=4", "--batch=4", "--steps=2", "--repeats=1"),
    *("--dtype=fp32", "--threads=1", "--ours-only", "--our-setting={}"),
)


def run(*arguments: str | Path, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *options, "benchmarks/run.py", *map(str, arguments)]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )


def test_help_names_every_benchmark_and_does_not_wait_for_torch() -> None:
    done = run("--help", options=("-X", "importtime"))

    assert done.returncode == 0, done.stderr
    assert all(f"{name}:" in " ".join(done.stdout.split()) for name in NAMES)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "benchmarks.catalogue" in imported
    assert not {"torch", "transformers", "alignloop"} & imported


def test_the_names_are_these() -> None:
    assert tuple(BENCHMARKS) == NAMES


def test_every_script_is_there_and_every_environment_known() -> None:
    for benchmark in BENCHMARKS.values():
        for script in (side.script for side in (benchmark.ours, *benchmark.peers)):
            assert (ROOT / f"{script.replace('.', '/')}.py").is_file(), script
        assert {peer.environment for peer in benchmark.peers} - {None} <= PACKAGES.keys()


@pytest.mark.full
def test_ours_alone_leaves_the_json(tmp_path: Path) -> None:
    done = run("ppo-one-epoch", *SMALL, "--minibatches=2", "--json", tmp_path / "result.json")

    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "result.json").read_text())
    keys = {"ours", "peer", "ratio", "flops", "share_of_gemm", "rss_ours", "rss_peer"}
    assert keys <= result.keys()
    assert 0 < result["ours"]["min"] <= result["ours"]["median"] <= result["ours"]["max"]
    assert 0 < result["share_of_gemm"] < 1
    assert result["rss_ours"] > 50  # MiB: torch alone is more
    assert result["peer"] is result["ratio"] is result["rss_peer"] is None
    config = result["ours_by_dtype"]["float32"]["config"]
    assert (config["minibatch_size"], config["inner_epochs"], config["ptx_coef"]) == (2, 1, 0.0)
    assert result["ours_by_dtype"]["float32"]["versions"].keys() >= {"alignloop", "torch"}
    assert result["job"]["threads"] == 1
    assert "ours" in done.stdout


@pytest.mark.full
def test_a_peer_takes_turns_with_us(tmp_path: Path) -> None:
    """The plain loop needs no environment of its own: two repeats of both, and the ratio of each repeat."""
    small = [one for one in SMALL if not one.startswith(("--prompt", "--response", "--repeats"))]
    done = run(
        "training-step",
        *(one for one in small if one != "--ours-only"),
        *("--repeats=2", "--length=16", '--setting={"batch": 4}'),
        *("--json", tmp_path / "result.json"),
    )

    assert done.returncode == 0, done.stderr
    turns = [line.split(":")[0] for line in done.stderr.splitlines() if "/2 float32" in line]
    assert turns == [f"{n}/2 float32 {side}" for n in (1, 2) for side in ("ours", "plain loop")]
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["peer_name"] == "plain loop"
    assert result["peer"]["median"] > 0
    assert result["ratio"]["min"] <= result["ratio"]["median"] <= result["ratio"]["max"]
    assert result["rss_peer"] > 50
    assert result["settings"]["plain loop"] == {"float32": {"batch": 4}}
    assert "ours / plain loop" in done.stdout


def test_a_size_that_a_benchmark_does_not_have_is_refused() -> None:
    done = run("rollout", "--completions=4")

    assert done.returncode != 0
    assert done.stderr.strip() == (
        "rollout has no --completions; it has --batch, --prompt, --response"
    )


def test_an_unknown_peer_is_refused_with_those_there_are() -> None:
    done = run("rollout", "--peer=nobody")

    assert done.returncode != 0
    assert "vLLM 0.32.0 on CPU, Hugging Face generate" in done.stderr
