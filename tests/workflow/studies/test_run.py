"""Whole studies over tiny models: what they leave, that they are passed over, and that a killed one goes on."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import patch

import pytest

from alignloop.errors import ArtifactError, ConfigError
from alignloop.files import write_json
from alignloop.workflow.studies import steps
from alignloop.workflow.studies.cells import Cell, read_cell
from alignloop.workflow.studies.foundation import BaseName, Ground
from alignloop.workflow.studies.page import write_page
from alignloop.workflow.studies.registry import STUDIES, study_of
from alignloop.workflow.studies.run import Asked, foundation_seconds, run_studies
from alignloop.workflow.studies.study import Bench, Findings, Study
from tests.helpers import contents
from tests.workflow.studies.laid import tiny_ground

OURS = ("reward-folds", "reward-pairs", "reward-best-of-4", "reward-epochs", "sft-epochs")
TWICE = "reward-pairs"
"""The one that runs over two seeds."""
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def folder(laid: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All studies of one seed, then one of them of two, and their page."""
    out = tmp_path_factory.mktemp("studies")
    said: list[str] = []
    ground = tiny_ground(out, laid)
    run_studies([study_of(name) for name in OURS], Asked(ground, seeds=1), said.append)
    again = [study_of(TWICE)]
    run_studies(again, Asked(ground, seeds=2), lambda _: None, lambda: write_page(out))
    (out / "said.txt").write_text("\n".join(said), encoding="utf-8")
    return out


def result_of(folder: Path, name: str) -> dict[str, object]:
    return json.loads((folder / name / "study.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", OURS)
def test_every_claim_has_verdict_interval_and_n(folder: Path, name: str) -> None:
    result = result_of(folder, name)
    seeds = [1, 2] if name == TWICE else [1]

    assert result["seeds"] == seeds
    assert result["claims"]
    for claim in result["claims"]:
        assert claim["verdict"] in ("held", "not held", "undecided")
        assert claim["low"] <= claim["mean"] <= claim["high"]
        assert claim["interval_over"] == ("seeds" if name == TWICE else "prompts")
        assert [one["seed"] for one in claim["seeds"]] == seeds
        assert all(one["n"] >= 2 for one in claim["seeds"])


def test_the_page_begins_with_all_claims_and_has_a_section_per_study(folder: Path) -> None:
    html = (folder / "studies.html").read_text(encoding="utf-8")

    head = html[: html.index('<section id="')]
    for name in OURS:
        assert html.count(f'<section id="{name}">') == 1
        for claim in result_of(folder, name)["claims"]:
            assert claim["text"].replace("'", "&#39;") in head
        count = 2 if name == TWICE else 1
        command = f"alignloop study {name} --seeds {count} --precision float32 --smoke"
        assert html.count(f"<code>{command}</code>") == 1
    assert "its verdicts mean nothing" in head, "a smoke run says so"
    assert html.count("<svg") >= len(OURS)
    ids = re.findall(r' id="([^"]+)"', html)
    assert len(ids) == len(set(ids)), "plots of several studies share ids"
    beside = json.loads((folder / "studies.json").read_text(encoding="utf-8"))
    assert [one["study"] for one in beside["studies"]] == list(OURS)


def test_an_effect_of_two_claims_stands_in_its_table_once(folder: Path) -> None:
    html = (folder / "studies.html").read_text(encoding="utf-8")

    assert len(result_of(folder, "reward-folds")["claims"]) == 2
    assert html.count('<th scope="row">pairs right of own labelers less of held-out ones</th>') == 1


def test_the_time_of_foundations_is_that_of_the_bases_and_seeds(tmp_path: Path) -> None:
    for name, seconds in (("shared", 3.0), ("small_seed_1", 5.0), ("small_seed_2", 7.0)):
        write_json(tmp_path / "foundations" / name / "timings.json", {"sft": seconds, "rank": 1.0})

    assert foundation_seconds(tmp_path, ["small"], [1]) == 4.0 + 6.0
    assert foundation_seconds(tmp_path, ["small", "demo"], [1, 2]) == 4.0 + 6.0 + 8.0


def test_the_page_written_again_is_the_same(folder: Path) -> None:
    before = (folder / "studies.html").read_bytes()

    write_page(folder)

    assert (folder / "studies.html").read_bytes() == before


def test_a_study_whose_cell_was_deleted_is_off_the_page_until_it_is_made_again(
    folder: Path, tmp_path: Path
) -> None:
    out = shutil.copytree(folder, tmp_path / "studies")
    (out / "reward-epochs" / "cells" / "medium_epochs_2_seed_1.json").unlink()

    write_page(out)

    html = (out / "studies.html").read_text(encoding="utf-8")
    assert '<section id="reward-epochs">' not in html
    assert '<section id="reward-folds">' in html


def test_the_same_command_again_does_nothing(folder: Path, laid: Path) -> None:
    before = contents(folder)
    said: list[str] = []

    with patch.object(steps, "run_cell", side_effect=AssertionError("worked again")):
        asked = Asked(tiny_ground(folder, laid), seeds=2)
        run_studies([study_of(TWICE)], asked, said.append)

    assert contents(folder) == before
    assert said[0].endswith("0 of them to do, 0 stages below them: nothing")


def test_progress_counts_to_the_end(folder: Path) -> None:
    said = (folder / "said.txt").read_text(encoding="utf-8")

    steps = [tuple(map(int, found)) for found in re.findall(r"^\[(\d+)/(\d+)\]", said, re.M)]
    assert [at for at, _ in steps] == list(range(1, len(steps) + 1))
    assert {total for _, total in steps} == {len(steps)}
    assert "nothing left" in said


def test_nothing_is_written_into_the_demo_that_was_given(folder: Path, laid: Path) -> None:
    assert folder.is_dir()
    kept = {"model", "demonstrations", "prompts", "sft", "reward"}
    kept |= {"rankings", "rankings_k9", "rankings_by_all"}
    assert {path.name for path in laid.iterdir()} == kept


KILLED = """
import os, signal, sys
from pathlib import Path
from alignloop.runs.run import Run
from alignloop.workflow.studies.registry import study_of
from alignloop.workflow.studies.run import Asked, foundation_seconds, run_studies
from tests.workflow.studies.laid import tiny_ground

log = Run.log

def logging(self, at, *arguments, **timings):
    log(self, at, *arguments, **timings)
    if at == 3:
        os.kill(os.getpid(), signal.SIGKILL)

Run.log = logging
run_studies([study_of("reward-epochs")], Asked(tiny_ground(Path(sys.argv[1]), Path(sys.argv[2])), seeds=1), print)
"""


def test_a_killed_cell_goes_on_and_ends_with_the_same_rows(
    folder: Path, laid: Path, tmp_path: Path
) -> None:
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), str(laid)], cwd=ROOT, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    cells = tmp_path / "reward-epochs" / "cells"
    assert (cells / "medium_epochs_1_seed_1.json").is_file(), "done before it was killed"
    assert not (cells / "medium_epochs_2_seed_1.json").exists()
    assert list((cells / "medium_epochs_2_seed_1/reward/checkpoints").iterdir())

    run_studies(
        [study_of("reward-epochs")], Asked(tiny_ground(tmp_path, laid), seeds=1), lambda _: None
    )

    whole = folder / "reward-epochs" / "cells"
    for epochs in (1, 2, 3, 4):
        name = f"medium_epochs_{epochs}_seed_1.json"
        assert (cells / name).read_bytes() == (whole / name).read_bytes()


def counting(name: str, cells: int) -> Study:
    """A study whose cells do nothing."""

    def plan(bench: Bench, base: BaseName, seed: int) -> list[Cell]:
        return [Cell(f"cell_{n}", base, seed, {}, lambda _: [{"n": 1}]) for n in range(cells)]

    return Study(name, "", "", ("demo",), ("demo",), (), plan, lambda _: Findings([], [], []))


def test_two_studies_at_once_in_one_folder_lose_no_times(tmp_path: Path) -> None:
    asked = Asked(Ground(tmp_path, "float32", True, print), seeds=1)
    asked.bench.foundation("demo", 1)

    with ThreadPoolExecutor(2) as pool:
        list(
            pool.map(
                lambda name: run_studies([counting(name, 20)], asked, lambda _: None),
                ("one", "other"),
            )
        )

    noted = json.loads((tmp_path / "timings.json").read_text(encoding="utf-8"))
    assert len(noted) == 40


def test_quick_is_one_seed_on_the_quick_base(laid: Path, tmp_path: Path) -> None:
    asked = Asked(tiny_ground(tmp_path, laid), seeds=3, quick=True)

    cells = study_of("reward-pairs").plan(asked.bench)

    assert [cell.id for cell in cells] == ["small_grouped_seed_1", "small_shuffled_seed_1"]
    assert asked.command("reward-pairs").startswith("alignloop study reward-pairs --quick")


def test_seeds_can_be_added_to_what_is_there(folder: Path, laid: Path) -> None:
    name = "reward-best-of-4"
    asked = Asked(tiny_ground(folder, laid), seeds=3)
    cells = folder / name / "cells"

    to_do = [c.id for c in study_of(name).plan(asked.bench) if read_cell(cells, c) is None]

    arms = ("whole_ranking", "best_of_4")
    assert to_do == [f"medium_{arm}_seed_{seed}" for seed in (2, 3) for arm in arms]


def test_another_base_where_the_study_has_one(laid: Path, tmp_path: Path) -> None:
    asked = Asked(tiny_ground(tmp_path, laid), seeds=1, base="demo")

    for name in OURS:
        assert {cell.base for cell in study_of(name).plan(asked.bench)} == {"demo"}


def test_a_study_of_several_bases_takes_none(laid: Path, tmp_path: Path) -> None:
    from dataclasses import replace

    several = replace(study_of("reward-pairs"), bases=("small", "medium"))

    with pytest.raises(ConfigError, match="leave --base out"):
        several.plan(Asked(tiny_ground(tmp_path, laid), base="demo").bench)


def test_no_page_without_a_study(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no study finished here"):
        write_page(tmp_path)


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_is_called_as_the_list_calls_it(name: str) -> None:
    study = study_of(name)

    assert study.name == name
    assert study.bases
    assert study.quick_bases


@pytest.mark.full
@pytest.mark.timeout(900)
def test_the_command_runs_on_a_base_that_ships(
    run_cli: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    """From the bundled stories to the page, with tiny counts."""
    command = ["study", "reward-epochs", "--smoke", "--quick", "--precision", "float32"]

    ran = run_cli(*command, "--out", "mine", cwd=tmp_path)

    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.endswith(f"page: {Path('mine/studies.html')}\n")
    result = result_of(tmp_path / "mine", "reward-epochs")
    assert (result["bases"], result["seeds"], result["smoke"]) == (["small"], [1], True)
    foundations = {path.name for path in (tmp_path / "mine" / "foundations").iterdir()}
    assert foundations == {"shared", "small_seed_1"}
    other = run_cli("study", "reward-epochs", "--out", "mine", cwd=tmp_path)
    assert other.returncode == 2
    assert "holds studies made with --precision float32 --smoke" in other.stderr
