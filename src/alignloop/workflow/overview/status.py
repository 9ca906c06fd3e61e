"""What `alignloop status` shows, gathered: data, labels, campaigns, models, win rates, what comes next. Torch-free."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from alignloop.store import campaigns, oversight, tallies
from alignloop.store.project import Project, open_project
from alignloop.workflow.loop import names
from alignloop.workflow.loop.config import LoopConfig, read_config
from alignloop.workflow.loop.facts import Facts, facts_of
from alignloop.workflow.loop.steps import Step, Wait, as_begun, next_step
from alignloop.workflow.overview.lineage import Node, as_json, lineage
from alignloop.workflow.overview.runs import SeenRun, resume_command, runs_below
from alignloop.workflow.overview.win_rates import Rate, win_rates


@dataclass(frozen=True, slots=True)
class CampaignLine:
    """A campaign and how far it is, in labels."""

    name: str
    form: str
    purpose: str
    state: str
    done: int
    wanted: int
    leased: int


@dataclass(frozen=True, slots=True)
class Status:
    """A project on one screen."""

    folder: str
    prompts: dict[str, dict[str, int]]
    """Side -> source -> how many."""
    labels: list[tallies.LabelCount]
    campaigns: list[CampaignLine]
    runs: list[SeenRun]
    trees: list[Node]
    rates: list[Rate]
    coming: list[str]
    """What comes next, in words."""
    has_store: bool
    simulated: bool
    """Whether code gave any label of the store."""

    @property
    def unfinished(self) -> list[SeenRun]:
        """Runs that somebody has to look after, and those at work."""
        return [run for run in self.runs if run.state != "finished"]

    def as_json(self) -> dict[str, Any]:
        """The same for machines."""
        return {
            "schema": 1,
            "project": self.folder,
            "has_store": self.has_store,
            "simulated_labels": self.simulated,
            "prompts": self.prompts,
            "labels": [asdict(one) for one in self.labels],
            "campaigns": [asdict(one) for one in self.campaigns],
            "runs": [_run_as_json(run) for run in self.runs],
            "models": as_json(self.trees),
            "win_rates": [asdict(one) for one in self.rates],
            "next": self.coming,
        }


def status_of(folder: Path, database: str | None = None, more_runs: Sequence[Path] = ()) -> Status:
    """Look at a project, or at any folder with runs in it; nothing is changed.

    Args:
        more_runs: other folders of runs that belong to it.

    Raises:
        ConfigError: its settings cannot be read.
        StoreError: its database does not answer.
    """
    project = open_project(folder, database, begin=False)
    runs = [*runs_below(folder), *(run for other in more_runs for run in runs_below(other))]
    own = runs_below(folder / "runs")
    config = read_config(folder)
    prompts: dict[str, dict[str, int]] = {}
    labels: list[tallies.LabelCount] = []
    lines: list[CampaignLine] = []
    facts = facts_of(None, own)
    if project.is_begun:
        with closing(project.open(create=False)) as store, store.read() as connection:
            prompts = tallies.prompts_by_source(connection)
            labels = tallies.labels_by_cohort(connection)
            lines = _campaigns(connection)
            facts = facts_of(connection, own)
    return Status(
        folder=str(folder),
        prompts=prompts,
        labels=labels,
        campaigns=lines,
        runs=runs,
        trees=lineage(runs),
        rates=win_rates(runs),
        coming=_coming(project, facts, config, runs),
        has_store=project.is_begun,
        simulated=facts.simulated_labels > 0,
    )


def _campaigns(connection: Any) -> list[CampaignLine]:
    progress = oversight.progress_of_all(connection)
    found: list[CampaignLine] = []
    for one in reversed(campaigns.all_campaigns(connection)):
        of = progress.get(one.id)
        found.append(
            CampaignLine(
                one.name,
                one.form,
                one.purpose,
                one.phase,
                of.done if of else 0,
                of.wanted if of else 0,
                of.leased if of else 0,
            )
        )
    return found


def _coming(
    project: Project, facts: Facts, config: LoopConfig, runs: Sequence[SeenRun]
) -> list[str]:
    """What `alignloop loop` would do or wait for; for a folder without a project, what could be done with it."""
    folder = shlex.quote(str(project.folder))
    if not project.is_begun and runs:
        policies = [run for run in runs if run.kind == "policy"]
        newest = max(policies, key=lambda run: (run.stage == "ppo", run.ended), default=None)
        return (
            []
            if newest is None
            else [f"talk to {newest.name}: alignloop chat {shlex.quote(str(newest.folder))}"]
        )
    simulated = facts.simulated_labels > 0 and not facts.people_labels
    begun = as_begun(facts, config)
    step = next_step(facts, begun, rounds=begun.rounds, simulated=simulated)
    if isinstance(step, Wait):
        return step.told(project.folder)
    flag = " --control" if begun.control and not config.control else ""
    flag += " --labelers simulated" if simulated else ""
    if isinstance(step, Step):
        round_ = f" of round {step.number}" if step.number else ""
        return [
            f"{step.action} ('{step.run}'{round_}), by: alignloop loop --project {folder}{flag}"
        ]
    newest = project.folder / "runs" / names.ppo(step.rounds, ptx=config.ptx)
    return [
        f"round {step.rounds} is done; talk to its policy: alignloop chat {shlex.quote(str(newest))}",
        f"another round: alignloop loop --project {folder} --rounds {step.rounds + 1}{flag}",
    ]


def _run_as_json(run: SeenRun) -> dict[str, Any]:
    return {
        "name": run.name,
        "stage": run.stage,
        "state": run.state,
        "kind": run.kind or None,
        "sha256": run.sha256 or None,
        "started": run.started or None,
        "ended": run.ended or None,
        "inputs": [asdict(one) for one in run.inputs],
        "go_on": resume_command(run) if run.state in ("killed", "interrupted", "failed") else None,
    }
