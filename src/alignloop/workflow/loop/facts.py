"""What a project has: prompts, labels, campaigns, runs. The loop and `alignloop status` decide by these. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from sqlalchemy import Connection

from alignloop.store import campaigns, oversight, tallies
from alignloop.workflow.loop import names
from alignloop.workflow.overview.runs import SeenRun

CampaignState = Literal["draft", "open", "paused", "closed"]


@dataclass(frozen=True, slots=True)
class CampaignFacts:
    """One campaign, counted in tasks."""

    state: CampaignState
    tasks: Mapping[str, int] = field(default_factory=dict[str, int])
    """Side of the prompts -> tasks."""
    labeled: Mapping[str, int] = field(default_factory=dict[str, int])
    """Side -> tasks that have a label."""
    done: int = 0
    wanted: int = 0
    """Labels, over all tasks."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that the loop decides by."""

    prompts: Mapping[str, int] = field(default_factory=dict[str, int])
    """Side -> prompts; empty where there is no store."""
    answered: Mapping[str, int] = field(default_factory=dict[str, int])
    """Side -> prompts that came with an answer."""
    campaigns: Mapping[str, CampaignFacts] = field(default_factory=dict[str, CampaignFacts])
    runs: Mapping[str, str] = field(default_factory=dict[str, str])
    """Name of a run in `runs/` -> its state."""
    people_labels: int = 0
    simulated_labels: int = 0
    has_story_tasks: bool = False
    """Whether the demonstrations are the bundled stories', and so the prompts."""

    def has(self, run: str) -> bool:
        """Whether a run is finished."""
        return self.runs.get(run) == "finished"

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing yet, neither a prompt nor demonstrations."""
        return not self.prompts and not self.campaigns and not self.has(names.DEMONSTRATIONS)


def facts_of(connection: Connection | None, runs: Sequence[SeenRun]) -> Facts:
    """The facts of a project; without a store, those of its runs.

    Args:
        runs: those in `runs/`, named from there.
    """
    states = {run.name: run.state for run in runs}
    has_story_tasks = any(
        (run.name, run.stage, run.state) == (names.DEMONSTRATIONS, names.STORY_TASKS, "finished")
        for run in runs
    )
    if connection is None:
        return Facts(runs=states, has_story_tasks=has_story_tasks)
    labels = tallies.labels_by_cohort(connection)
    simulated = sum(one.simulated for one in labels)
    return Facts(
        prompts={
            side: sum(kinds.values())
            for side, kinds in tallies.prompts_by_source(connection).items()
        },
        answered=tallies.prompts_with_answers(connection),
        campaigns=_campaigns(connection),
        runs=states,
        people_labels=sum(one.labels for one in labels) - simulated,
        simulated_labels=simulated,
        has_story_tasks=has_story_tasks,
    )


def _campaigns(connection: Connection) -> dict[str, CampaignFacts]:
    sides = tallies.tasks_by_side(connection)
    progress = oversight.progress_of_all(connection)
    found: dict[str, CampaignFacts] = {}
    for one in campaigns.all_campaigns(connection):
        of_sides, done = sides.get(one.id, {}), progress.get(one.id)
        found[one.name] = CampaignFacts(
            state=one.phase,
            tasks={side: there for side, (there, _) in of_sides.items()},
            labeled={side: labeled for side, (_, labeled) in of_sides.items()},
            done=done.done if done else 0,
            wanted=done.wanted if done else 0,
        )
    return found
