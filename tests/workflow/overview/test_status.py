"""A project on one screen: from a real store and runs made by hand; and the command itself."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from alignloop.store import people, tallies
from alignloop.workflow.overview.screen import screen
from alignloop.workflow.overview.status import status_of
from tests.store.conftest import Lab
from tests.store.fresh import fresh_store
from tests.workflow.overview.folders import make_run

ESTIMATE = {"mean": 0.625, "low": 0.5, "high": 0.75, "n": 40}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Two rankings of three asked for, one of them by code, runs below, one of them interrupted."""
    lab = Lab(fresh_store(tmp_path / "lab"))
    campaign = lab.campaign((4, 4, 4))
    for name, groups in (("ann", [1, 2, 2, 3]), ("sim-reader", [1, 1, 1, 2])):
        with lab.store.write() as connection:
            end = tallies.SIMULATED if name.startswith("sim") else "@x.org"
            user = people.add_user(
                connection,
                lab.now,
                "test",
                email=f"{name}{end}",
                name=name,
                state="active",
                standing="qualified",
            )
        assignment = lab.claim(user, campaign)
        assert assignment is not None
        lab.rank(user, assignment, groups)
    with lab.store.write() as connection:
        lab.prompt(connection, split="valid")
    lab.store.close()
    sft = make_run(tmp_path / "lab" / "runs" / "sft", "sft", facts={"epochs": 2})
    make_run(
        tmp_path / "lab" / "runs" / "ppo",
        "ppo",
        status="interrupted",
        parents={"policy": ("policy", sft)},
        argv=("ppo", "--run", "lab/runs/ppo"),
    )
    make_run(
        tmp_path / "lab" / "runs" / "evaluation",
        "votes",
        kind="evaluation-report",
        report={"win_rate": {"ppo": {"people": ESTIMATE}}, "against": "sft", "simulated": False},
    )
    return tmp_path / "lab"


def test_the_screen_has_all_there_is(project: Path) -> None:
    text = "\n".join(screen(status_of(project), 140))

    assert "prompts train" in text
    assert "prompts valid" in text
    assert "rankings              2   training, training labelers, 2 prompts" in text
    assert "1 SIMULATED" in text
    assert "LABELS BY SIMULATED LABELERS" in text
    assert "2/3" in text
    assert "runs/sft" in text
    assert "`- runs/ppo" in text
    assert "interrupted; go on with: alignloop ppo --run lab/runs/ppo --resume" in text
    assert "62.5%  [50.0%, 75.0%]  n 40 against sft, by people" in text
    assert "waits for prompts" in text  # there is none on the test side
    assert "\x1b" not in text


def test_a_rate_that_two_runs_agree_in_is_shown_once(project: Path) -> None:
    """As a round's comparison and its control's, which has the round's policy in it once more."""
    for name, mean in (("again", 0.625), ("other", 0.6)):
        make_run(
            project / "runs" / name,
            "votes",
            kind="evaluation-report",
            report={
                "win_rate": {"ppo": {"people": ESTIMATE | {"mean": mean}}},
                "against": "sft",
                "simulated": False,
            },
        )
    found = status_of(project)

    lines = [line for line in screen(found, 140) if "by people" in line]
    assert [line.split()[1] for line in lines] == ["62.5%", "60.0%"]
    assert len(found.as_json()["win_rates"]) == 3


def test_comparisons_are_the_pairs_that_are_ordered(project: Path) -> None:
    (rankings,) = status_of(project).labels

    assert rankings.labels == 2
    assert rankings.comparisons == 5 + 3  # 1 2 2 3 and 1 1 1 2
    assert rankings.simulated == 1


@pytest.mark.parametrize("width", [40, 72, 100])
def test_lines_fit_the_terminal(project: Path, width: int) -> None:
    """But for commands, which are to be copied whole."""
    lines = [*screen(status_of(project), width)]
    commands = [line for line in lines if line.strip().startswith("alignloop ")]

    assert max(len(line) for line in lines if line not in commands) <= width
    if width == 40:
        assert "alignloop ppo --run lab/runs/ppo --resume" in map(str.strip, commands)


def test_nothing_is_written_by_looking(project: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in project.rglob("*.json*")}

    status_of(project)

    assert {path: path.stat().st_mtime_ns for path in project.rglob("*.json*")} == before
    assert not (project / "project.toml").exists()


def test_a_demos_folder_needs_no_store(tmp_path: Path) -> None:
    sft = make_run(tmp_path / "sft", "sft")
    make_run(tmp_path / "ppo_ptx", "ppo", parents={"policy": ("policy", sft)})
    make_run(tmp_path / "sft_more", "sft", parents={"model": ("policy", sft)}, ended="2027")
    make_run(
        tmp_path / "prompts", "prompts", kind="prompts", facts={"rows": {"rl": 1200, "test": 30}}
    )

    found = status_of(tmp_path)

    text = "\n".join(screen(found, 120))
    assert "rl 1,200, test 30" in text
    assert f"talk to ppo_ptx: alignloop chat {tmp_path / 'ppo_ptx'}" in text
    assert not found.has_store
    assert not (tmp_path / "alignloop.db").exists()


def test_json_has_the_same(project: Path) -> None:
    told = json.loads(json.dumps(status_of(project).as_json()))

    assert told["win_rates"][0]["mean"] == 0.625
    assert told["models"][0]["below"][0]["name"] == "runs/ppo"
    runs = {run["name"]: run for run in told["runs"]}
    assert runs["runs/ppo"]["go_on"].endswith("--resume")
    assert runs["runs/sft"]["go_on"] is None
    assert told["campaigns"][0]["done"] == 2


def test_runs_elsewhere_belong_to_it_where_one_says_so(project: Path, tmp_path: Path) -> None:
    make_run(tmp_path / "other" / "big", "sft")

    found = status_of(project, more_runs=[tmp_path / "other"])

    assert "big" in [run.name for run in found.runs]


def test_the_command_imports_no_torch(project: Path) -> None:
    code = (
        "import sys; from alignloop.cli.main import app; "
        f"app(['status', '--project', {str(project)!r}], standalone_mode=False); "
        "heavy = {'torch', 'transformers', 'matplotlib', 'numpy.random'} & set(sys.modules) - {'numpy.random'}; "
        "print('HEAVY', sorted(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert "HEAVY []" in done.stdout
    assert "\x1b" not in done.stdout


def test_the_commands_say_what_is_wrong_in_one_line(
    run_cli: Callable[..., subprocess.CompletedProcess[str]], project: Path, tmp_path: Path
) -> None:
    nowhere = run_cli("status", "--project", tmp_path / "nowhere")
    assert nowhere.returncode == 2
    assert nowhere.stderr.count("\n") == 1
    slip = run_cli("runs", "compare", project / "runs/sft", project / "runs/ppo", "--metric", "x")
    assert slip.returncode == 2
    assert "no run logged 'x'" in slip.stderr
    fine = run_cli("runs", "compare", project / "runs/sft", project / "runs/ppo", "--json")
    assert [run["stage"] for run in json.loads(fine.stdout)["runs"]] == ["sft", "ppo"]
