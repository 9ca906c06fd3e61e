"""The same rounds under several seeds: figures put together, and where it cannot be done."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from alignloop.errors import ConfigError
from alignloop.files import write_json
from alignloop.judges.seeds import ONE_SEED
from alignloop.runs.artifact import write_artifact
from alignloop.store.project import open_project
from alignloop.workflow.loop.config import LoopConfig
from alignloop.workflow.loop.seeds import figures_of, loop_seeds
from alignloop.workflow.loop.steps import Done
from alignloop.workflow.loop.view import seed_lines
from tests.helpers import run
from tests.workflow.loop.small import small_project


def cell(mean: float | None) -> dict[str, Any]:
    return {"mean": mean, "low": mean, "high": mean, "n": 5, "reason": "" if mean else "no pair"}


def report(win: float, *, matched: float | None = None) -> dict[str, Any]:
    """One round, one judge, as the stage `rounds` writes it."""
    policy = {"score": {"reward-1": cell(0.25)}, "kl": cell(2.0), "tokens": cell(30.0)}
    arms = {"policy": "ppo-1", "labels": {}, "win_rate": {"gold": cell(win), "rm": cell(matched)}}
    return {
        "kind": "rounds",
        "simulated": True,
        "control": False,
        "judges": {"gold": {"who": "gold", "simulated": True}},
        "rounds": [
            {
                "round": 1,
                "against": "baseline",
                "arms": {"loop": arms},
                "policies": {"ppo-1": policy},
            }
        ],
    }


def test_figures_that_every_seed_has_are_averaged_with_an_interval_over_seeds(
    tmp_path: Path,
) -> None:
    reports: dict[str, Path] = {}
    for seed, win in (("1", 0.4), ("2", 0.6)):
        found = report(win, matched=0.5 if seed == "1" else None)
        write_artifact(
            tmp_path / seed,
            "evaluation-report",
            lambda inside, found=found: write_json(inside / "report.json", found),
            parents=[],
            facts={},
        )
        reports[f"seed-{seed}"] = tmp_path / seed

    path = run("rounds_over_seeds", tmp_path / "run", {}, reports=reports).path

    told = json.loads((path / "report.json").read_text())
    assert told["seeds"] == ["1", "2"]
    assert told["simulated"] is True
    named = {(one["what"], one["of"], one["by"]): one for one in told["figures"]}
    assert named.keys() == {
        ("win rate", "ppo-1 against baseline", "gold"),
        ("score", "ppo-1", "reward-1"),
        ("kl", "ppo-1", ""),
        ("tokens", "ppo-1", ""),
    }
    won = named["win rate", "ppo-1 against baseline", "gold"]
    assert won["by_seed"] == {"1": 0.4, "2": 0.6}
    assert (won["mean"], won["n"]) == (pytest.approx(0.5), 2)
    assert won["high"] == pytest.approx(0.5 + 1.27062)
    page = (path / "report.html").read_text()
    assert "SIMULATED LABELERS" in page
    assert "50.0\u00a0%" in page and "40.0, 60.0" in page
    (line,) = seed_lines(told)
    assert "ppo-1 against baseline, by gold: 50.0 %" in line


def test_one_seed_has_no_interval_and_says_so(tmp_path: Path) -> None:
    write_artifact(
        tmp_path / "one",
        "evaluation-report",
        lambda inside: write_json(inside / "report.json", report(0.4)),
        parents=[],
        facts={},
    )

    path = run("rounds_over_seeds", tmp_path / "run", {}, reports={"seed-1": tmp_path / "one"}).path

    for one in json.loads((path / "report.json").read_text())["figures"]:
        assert (one["low"], one["high"], one["reason"]) == (None, None, ONE_SEED)
    assert ONE_SEED in (path / "report.html").read_text()


def test_a_figure_without_a_value_is_none() -> None:
    assert [name[-1] for name, _ in figures_of(report(0.4))][:1] == ["gold"]


def test_prompts_of_ones_own_are_not_drawn_anew(tmp_path: Path) -> None:
    lab = tmp_path / "lab"
    config = small_project(lab)

    with pytest.raises(ConfigError, match="a project for each seed"):
        loop_seeds(open_project(lab), config, rounds=1, seeds=2, say=lambda line: None)


# The bundled model, with the demo's recipes made short.
SHORT = {"sampling": {"max_new_tokens": 24}}
QUICK: dict[str, Any] = {
    "rankings": {"prompts": 10},
    "comparison": {"prompts": 10, "resamples": 100},
    "settings": {
        "lexicon": {"max_texts": 150},
        "sft": {"response_tokens": 1500},
        "rl_init": {"response_tokens": 1500},
        "story_demonstrations": {"questions": False},
        "samples": SHORT,
        "baseline": SHORT,
        "judged": SHORT,
        "reward": {"batch_size": 4, "bias_demonstrations": 16},
        "ppo_ptx": {**SHORT, "episodes": 8, "batch_size": 4, "minibatch_size": 2},
    },
}


@pytest.mark.full
@pytest.mark.timeout(900)
def test_two_seeds_from_an_empty_folder_on_the_bundled_stories(tmp_path: Path) -> None:
    project = open_project(tmp_path / "lab")
    config = LoopConfig.model_validate(QUICK)
    said: list[str] = []

    end = loop_seeds(project, config, rounds=1, seeds=2, say=said.append)

    assert end == Done(1)
    assert said[0].startswith("seed 1 (1 of 2)")
    found = json.loads(
        (project.folder / "runs/rounds-1-of-2-seeds/artifact/report.json").read_text()
    )
    assert found["seeds"] == ["1", "2"]
    gold = next(one for one in found["figures"] if one["by"] == "gold")
    assert gold["n"] == 2
    assert len(set(gold["by_seed"].values())) > 0
    first, second = (
        json.loads((place / "runs/rounds-1/artifact/report.json").read_text())
        for place in (project.folder, project.folder / "seeds" / "2")
    )
    assert first["rounds"][0]["policies"] != second["rounds"][0]["policies"]
    assert facts_of_demonstrations(project.folder) == "demonstrations"
    before = len(said)
    assert loop_seeds(project, config, rounds=1, seeds=2, say=said.append) == end
    assert said[before:] == [said[0], next(line for line in said if line.startswith("seed 2"))]


def facts_of_demonstrations(lab: Path) -> str:
    return json.loads((lab / "runs" / "demonstrations" / "manifest.json").read_text())["stage"]
