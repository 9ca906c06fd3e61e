"""The whole loop on a tiny model with simulated labelers: two rounds, killed on the way, and nothing done twice."""

from __future__ import annotations

import json
from collections.abc import Iterator
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
from alignloop.workflow.loop.view import result_lines
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
    _check_figures(_report(runs / "reward-check-2"), ["old", "new"])
    votes = _report(runs / "comparison-2")
    assert votes["baseline"] == "ppo_ptx-1"
    assert votes["judges"]["labelers/simulated"]["simulated"] is True
    assert "SIMULATED" in votes["judges"]["labelers/simulated"]["who"]
    assert votes["win_rate"]["ppo_ptx-2"].keys() == {"labelers/simulated"}
    assert set(_report(runs / "judged-2")["judges"]) == {
        *("simulated/training", "simulated/heldout", "gold", "reward/reward-1", "reward/reward-2"),
    }
    rounds = _report(runs / "rounds-2")
    assert [row["against"] for row in rounds["rounds"]] == ["baseline", "ppo_ptx-1"]
    assert rounds["simulated"] and not rounds["control"]
    _check_report(rounds, runs)

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
    assert "by labelers/simulated SIMULATED" in text


def _check_figures(check: dict[str, Any], roles: list[str]) -> None:
    """Accuracies have intervals, and a gain is the difference of two of them."""
    for judge in ("labelers", "gold"):
        accuracy = check["accuracy"][judge]
        assert list(accuracy) == roles
        for estimate in (*accuracy.values(), *check["gain"][judge].values()):
            assert estimate["low"] <= estimate["mean"] <= estimate["high"]
        for name, gain in check["gain"][judge].items():
            better, worse = name.split(" over ")
            difference = accuracy[better]["mean"] - accuracy[worse]["mean"]
            assert gain["mean"] == pytest.approx(difference)


def _check_report(report: dict[str, Any], runs: Path) -> None:
    """The report says of every round what the round's own reports say, and its page that labels are simulated."""
    for row in report["rounds"]:
        number = row["round"]
        judged = _report(runs / f"judged-{number}")
        ours = row["arms"]["loop"]
        votes = _report(runs / f"comparison-{number}")["win_rate"][ours["policy"]]
        assert ours["win_rate"] == {**judged["win_rate"][ours["policy"]], **votes}
        learned = open_artifact(runs / f"rankings-{number}", "rankings").facts
        assert ours["labels"]["comparisons"] == learned["comparisons"]
        for name, policy in row["policies"].items():
            assert policy["kl"]["low"] <= policy["kl"]["mean"] <= policy["kl"]["high"]
            assert policy["tokens"]["n"] == row["prompts"]
            assert policy["worth"] == judged["judges"]["gold"]["checks"][f"mean worth of {name}"]
    page = (runs / f"rounds-{len(report['rounds'])}" / "artifact" / "report.html").read_text()
    assert "SIMULATED LABELERS" in page and "<svg" in page and "http" not in page
    lines = list(result_lines(report))
    assert "round 2: ppo_ptx-2 against ppo_ptx-1" in lines
    assert any("by gold (SIMULATED)" in line and ", n " in line for line in lines)


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
    report = _report(lab / "runs" / "judged-1")
    estimate = report["win_rate"]["ppo-1"]["reward/reward-1"]
    assert estimate["low"] <= estimate["mean"] <= estimate["high"]
    assert not (lab / "runs" / "rl_init").exists()
    assert not (lab / "runs" / "comparison-1").exists()
    assert not look(open_project(lab)).campaigns.keys() & {"comparison, round 1"}
    kl = _report(lab / "runs" / "rounds-1")["rounds"][0]["policies"]["baseline"]["kl"]
    assert kl["mean"] == 0.0  # the baseline is the reference


@pytest.mark.full
def test_a_control_after_two_rounds_and_stopped_in_its_ppo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = tmp_path / "lab"
    config = small_project(lab)
    go(lab, config, rounds=2)
    before = contents(lab / "runs" / "rounds-2")
    with_control = config.model_copy(update={"control": True})
    with monkeypatch.context() as patch:
        patch.setattr(Run, "log", _stopping_in_ppo(Run.log))
        with pytest.raises(Interrupted):
            go(lab, with_control, rounds=2)
    assert look(open_project(lab)).runs["control-ppo_ptx-2"] == "interrupted"
    assert any("--control" in line for line in status_of(lab).coming)

    end, _ = go(lab, with_control, rounds=2)

    assert end == Done(2)
    runs = lab / "runs"
    assert contents(runs / "rounds-2") == before
    control, both = _rankings(runs / "control-rankings-2"), _rankings(runs / "rankings-2")
    assert {c.model for one in control for c in one.completions} == {"sft"}
    assert {one.prompt.id for one in control} == {one.prompt.id for one in both}
    _check_figures(_report(runs / "control-check-2"), ["old", "new", "control"])
    report = _report(runs / "control-rounds-2")
    assert report["control"] is True
    last = report["rounds"][-1]
    judged = _report(runs / "control-judged-2")
    assert last["head_to_head"]["gold"] == judged["pairs"]["gold"]["ppo_ptx-2"]["control-ppo_ptx-2"]
    assert last["head_to_head"].keys() >= {"labelers/simulated", "gold", "reward/control-reward-2"}
    assert list(last["policies"]) == ["ppo_ptx-1", "ppo_ptx-2", "control-ppo_ptx-2"]
    page = (runs / "control-rounds-2" / "artifact" / "report.html").read_text()
    assert "ppo_ptx-2 against control-ppo_ptx-2" in page
    for cells in _cells(report):
        assert None not in (cells["mean"], cells["low"], cells["high"]) or cells["reason"]


def _cells(value: Any) -> Iterator[dict[str, Any]]:
    """Every figure of a report."""
    if isinstance(value, dict):
        if "mean" in value:
            yield value
        for inner in value.values():
            yield from _cells(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _cells(inner)


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
