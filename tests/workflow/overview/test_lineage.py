"""Trees of models, by the hashes of their inputs."""

from __future__ import annotations

from pathlib import Path

from alignloop.workflow.overview.lineage import as_json, lineage, walk
from alignloop.workflow.overview.runs import runs_below
from tests.workflow.overview.folders import make_artifact, make_run

BASE = ("policy", "b" * 64)


def drawn(folder: Path) -> list[str]:
    return [branch + node.label for branch, node in walk(lineage(runs_below(folder)))]


def test_the_loop_is_drawn_as_a_tree(tmp_path: Path) -> None:
    sft = make_run(tmp_path / "sft", "sft", parents={"model": BASE}, started="1")
    epoch = make_artifact(tmp_path / "sft" / "epochs" / "epoch_01", "policy", [], {})
    reward = make_run(
        tmp_path / "reward",
        "reward",
        kind="reward-model",
        parents={"model": ("policy", sft), "rankings": ("rankings", "r" * 64)},
        started="2",
    )
    make_run(
        tmp_path / "baseline",
        "epochs",
        parents={
            "reward_model": ("reward-model", reward),
            "epoch-1": ("policy", epoch),
            "epoch-2": ("policy", sft),
        },
        facts={"chosen": 1},
        started="3",
    )
    rl_init = make_run(tmp_path / "rl_init", "sft", parents={"model": BASE}, started="4")
    make_run(
        tmp_path / "ppo_ptx",
        "ppo",
        parents={"policy": ("policy", rl_init), "reward_model": ("reward-model", reward)},
        started="5",
    )

    assert drawn(tmp_path) == [
        "somewhere/model",
        "|- sft",
        "|  |- reward",
        "|  `- baseline",
        "`- rl_init",
        "   `- ppo_ptx",
    ]
    (root,) = lineage(runs_below(tmp_path))
    assert root.run is None
    baseline = root.below[0].below[1]
    assert baseline.came_by == "sft, epoch 1"
    (told,) = as_json([root])
    assert told["below"][0]["below"][1]["came_by"] == "sft, epoch 1"  # type: ignore[index]


def test_the_last_epoch_is_the_run_itself(tmp_path: Path) -> None:
    sft = make_run(tmp_path / "sft", "sft", started="1")
    parents = {"epoch-1": ("policy", "e" * 64), "epoch-2": ("policy", sft)}
    make_run(tmp_path / "chosen", "epochs", parents=parents, facts={"chosen": 2}, started="2")

    assert drawn(tmp_path) == ["sft", "`- chosen"]


def test_an_unfinished_run_hangs_where_it_was_begun(tmp_path: Path) -> None:
    start = make_run(tmp_path / "rl_init", "sft", started="1")
    parents = {"policy": ("policy", start)}
    make_run(tmp_path / "ppo", "ppo", status="interrupted", parents=parents, started="2")
    make_run(tmp_path / "rankings", "rank", kind="rankings", started="3")

    assert drawn(tmp_path) == ["rl_init", "`- ppo"]


def test_a_run_begun_before_it_had_inputs_stands_alone(tmp_path: Path) -> None:
    make_run(tmp_path / "sft", "sft", status="failed")

    assert drawn(tmp_path) == ["sft"]
