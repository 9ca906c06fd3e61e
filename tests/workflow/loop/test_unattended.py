"""The whole loop on a tiny model with simulated labelers: two rounds, killed on the way, and nothing done twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from alignloop.data.jsonl import read_records
from alignloop.data.records import Ranking
from alignloop.errors import ConfigError, Interrupted, RunError
from alignloop.runs.artifact import open_artifact
from alignloop.runs.run import Run
from alignloop.store import campaigns, tallies
from alignloop.store.judgments import WrittenDemonstration, submit
from alignloop.store.project import open_project
from alignloop.workflow.loop import people
from alignloop.workflow.loop.drive import look, loop
from alignloop.workflow.loop.steps import Done, Wait
from alignloop.workflow.overview.screen import screen
from alignloop.workflow.overview.status import status_of
from tests.helpers import SENTENCES, contents, signal_at
from tests.store.conftest import Lab
from tests.workflow.loop.small import small_project


def go(folder: Path, config: Any, rounds: int = 1, *, simulated: bool = True) -> Any:
    said: list[str] = []
    project = open_project(folder)
    end = loop(project, config, rounds=rounds, simulated=simulated, say=said.append)
    return end, said


class _Killed(BaseException):
    """What no code catches."""


def test_two_rounds_unattended_and_killed_on_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = tmp_path / "lab"
    config = small_project(lab)

    # Killed between two transactions of the simulated labelers' work.
    def killing(connection: Any, *arguments: Any) -> int:
        if tallies.labels_by_cohort(connection):
            raise _Killed
        return some(connection, *arguments)

    some = people._some
    with monkeypatch.context() as patch:
        patch.setattr(people, "_BATCH", 2)
        patch.setattr(people, "_some", killing)
        with pytest.raises(_Killed):
            go(lab, config)
    half = look(open_project(lab)).campaigns["rankings, round 1"]
    assert 0 < half.done < half.wanted

    # Stopped in the second iteration of PPO.
    log = Run.log
    with monkeypatch.context() as patch:
        patch.setattr(Run, "log", _stopping_in_ppo(log))
        with pytest.raises(Interrupted):
            go(lab, config)
    assert look(open_project(lab)).runs["ppo_ptx-1"] == "interrupted"
    text = "\n".join(screen(status_of(lab), 200))
    assert "runs/ppo_ptx-1: interrupted" in text
    assert "SIMULATED" in text

    end, said = go(lab, config)
    assert end == Done(1)
    assert not [line for line in said if line.startswith(("sft ", "samples-1", "reward-1"))]

    # Done is done.
    before = contents(lab / "runs")
    assert go(lab, config) == (Done(1), [])
    assert contents(lab / "runs") == before
    with pytest.raises(ConfigError, match="SIMULATED"):
        go(lab, config, simulated=False)

    # A second round samples from the newest policy, and its reward model learns from both rounds.
    end, said = go(lab, config, rounds=2)
    assert end == Done(2)
    runs = lab / "runs"
    first, both, new = (
        _rankings(runs / name) for name in ("rankings-1", "rankings-2", "new-rankings-2")
    )
    assert len(both) == len(first) + len(new)
    assert {c.model for one in first for c in one.completions} == {"sft"}
    assert {c.model for one in new for c in one.completions} == {"ppo_ptx-1"}
    check = _report(runs / "reward-check-2")
    assert check["accuracy"].keys() == {"old", "new"}
    for estimate in (*check["accuracy"].values(), check["gain"]):
        assert estimate["low"] <= estimate["mean"] <= estimate["high"]
    assert check["gain"]["mean"] == pytest.approx(
        check["accuracy"]["new"]["mean"] - check["accuracy"]["old"]["mean"]
    )
    votes = _report(runs / "comparison-2")
    assert votes["simulated"] is True
    assert votes["against"] == "ppo_ptx-1"
    assert votes["win_rate"]["ppo_ptx-2"].keys() == {"all_labelers", "heldout_labelers"}
    assert votes["votes"] == votes["simulated_votes"] == votes["prompts"]

    # Every task was labeled once; campaigns of one round were made once.
    store = open_project(lab).open(create=False)
    with store.read() as connection:
        made = campaigns.all_campaigns(connection)
        assert len({one.name for one in made}) == len(made) == 4
        for one in made:
            progress = campaigns.progress_of(connection, one)
            assert (progress.done, progress.surplus) == (progress.wanted, 0)
    store.close()
    found = status_of(lab)
    assert {rate.model for rate in found.rates} == {"ppo_ptx-1", "ppo_ptx-2"}
    text = "\n".join(screen(found, 200))
    assert "round 2 is done" in text
    assert "by all_labelers SIMULATED" in text


def _stopping_in_ppo(log: Any) -> Any:
    stopping = signal_at(2)

    def logging(self: Run, at: int, *arguments: Any, **timings: Any) -> None:
        if self.stage == "ppo":
            stopping(self, at, *arguments, **timings)
        else:
            log(self, at, *arguments, **timings)

    return logging


def _rankings(run: Path) -> list[Ranking]:
    return [
        one
        for side in ("train", "valid")
        for one in read_records(open_artifact(run, "rankings").file(f"{side}.jsonl.gz"), Ranking)
    ]


def _report(run: Path) -> dict[str, Any]:
    return json.loads((open_artifact(run, "evaluation-report").file("report.json")).read_text())


@pytest.mark.full
def test_without_pretraining_text_and_judged_by_the_reward_model(tmp_path: Path) -> None:
    lab = tmp_path / "lab"
    config = small_project(lab, ptx=False, comparison={"by": "reward-model", "prompts": 6})

    end, _ = go(lab, config)

    assert end == Done(1)
    report = _report(lab / "runs" / "comparison-1")
    estimate = report["win_rate"]["ppo-1"]["reward_model"]
    assert estimate["low"] <= estimate["mean"] <= estimate["high"]
    assert not (lab / "runs" / "rl_init").exists()
    assert not look(open_project(lab)).campaigns.keys() & {"comparison, round 1"}


def test_people_are_waited_for_and_the_campaign_is_made_once(tmp_path: Path) -> None:
    lab = tmp_path / "lab"
    config = small_project(lab, answered=False)

    end, said = go(lab, config, simulated=False)

    assert isinstance(end, Wait)
    assert end.what == "answers"
    assert "0 of 6 answers written on training prompts" in end.lines[0]
    assert said
    assert go(lab, config, simulated=False) == (end, [])
    (campaign,) = look(open_project(lab)).campaigns.values()
    assert (campaign.state, campaign.tasks) == ("open", {"train": 6, "valid": 2})
    told, _ = go(lab, config)
    assert isinstance(told, Wait) and told.what == "writers"


def test_it_goes_on_when_labels_have_arrived(tmp_path: Path) -> None:
    lab = tmp_path / "lab"
    config = small_project(lab, answered=False)
    go(lab, config, simulated=False)
    store = open_project(lab).open(create=False)
    people_of = Lab(store)
    ann = people_of.labeler("ann")
    (campaign,) = _campaigns(lab)

    written = 0
    while (assignment := people_of.claim(ann, campaign)) is not None:
        with store.write() as connection:
            answer = WrittenDemonstration(SENTENCES[written % len(SENTENCES)])
            uuid = assignment.public_id
            submit(connection, people_of.now, ann, uuid, answer, client_uuid=uuid)
        written += 1
        if written == 3:
            end, _ = go(lab, config, simulated=False)
            assert isinstance(end, Wait) and end.what == "answers"
            assert not (lab / "runs" / "demonstrations").exists()
    store.close()
    assert written == 8

    end, _ = go(lab, config, simulated=False)

    assert isinstance(end, Wait) and end.what == "rankings"
    demonstrations = open_artifact(lab / "runs" / "demonstrations", "demonstrations")
    assert demonstrations.facts["rows"] == {"train": 6, "valid": 2}
    rankings = look(open_project(lab)).campaigns["rankings, round 1"]
    assert rankings.state == "open"
    assert rankings.tasks["train"] > 0 and rankings.tasks["valid"] > 0
    tasks = sum(rankings.tasks.values())
    assert go(lab, config, simulated=False) == (end, [])
    assert sum(look(open_project(lab)).campaigns["rankings, round 1"].tasks.values()) == tasks
    with pytest.raises(ConfigError, match="8 labels by people"):
        go(lab, config)


def _campaigns(lab: Path) -> list[campaigns.Campaign]:
    store = open_project(lab).open(create=False)
    with store.read() as connection:
        found = campaigns.all_campaigns(connection)
    store.close()
    return found


def test_an_empty_folder_is_told_how_to_begin(tmp_path: Path) -> None:
    end, said = go(tmp_path / "lab", small_project(tmp_path / "other"), simulated=False)

    assert isinstance(end, Wait) and end.what == "prompts"
    assert said == []
    assert not (tmp_path / "lab").exists()


def test_two_calls_at_once_are_refused(tmp_path: Path) -> None:
    from filelock import FileLock

    lab = tmp_path / "lab"
    lab.mkdir()
    with FileLock(lab / ".loop.lock"), pytest.raises(RunError, match="another"):
        go(lab, small_project(tmp_path / "other"))
