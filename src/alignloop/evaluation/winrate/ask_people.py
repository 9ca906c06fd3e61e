"""People asked to judge: answers put into a project as a blind campaign, which waits there to be opened."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection

from alignloop.data.records import Prompt
from alignloop.errors import ConfigError, DataError, JudgmentError
from alignloop.evaluation.winrate.config import WinRateConfig
from alignloop.evaluation.winrate.panel import Matches
from alignloop.evaluation.winrate.people import place_of_campaign
from alignloop.judges.pairwise import shows_a_first
from alignloop.store import campaigns, prompts, supply
from alignloop.store.campaigns import Campaign
from alignloop.store.project import open_project
from alignloop.store.supply import NewTask


@dataclass(frozen=True, slots=True)
class MadeCampaign:
    """What became of the answers that were to be judged by people."""

    project: Path
    name: str
    tasks: int
    same: int
    """Pairs of equal texts, which nobody is shown."""
    was_there: bool

    def __str__(self) -> str:
        made = "is there already" if self.was_there else f"made, {self.tasks} tasks"
        same = f", {self.same} pairs of equal texts left out" if self.same else ""
        opened = f'alignloop label state --project {self.project} "{self.name}" open'
        return f"'{self.name}' {made}{same}; open it: {opened}"


def check_new(told: str, config: WinRateConfig, *, is_drawn: bool = True) -> None:
    """Refuse what can be no campaign, before any answer is drawn for it.

    Args:
        is_drawn: whether answers are drawn, and not those of another campaign.

    Raises:
        ConfigError: it is not written as PROJECT:NAME, the prompts are not of the test side, or nothing is drawn.
    """
    place_of_campaign(told)
    if not is_drawn:
        raise ConfigError("--make-campaign: the answers of a campaign were judged in it")
    if config.side != "test":
        raise ConfigError(
            f"--make-campaign: people judge blind on test prompts alone, not on side = '{config.side}'"
        )


def make_campaign(told: str, matches: Matches, config: WinRateConfig) -> MadeCampaign:
    """Put answers into a project as a blind campaign of comparisons, a task for each pair; it waits to be opened.

    Which policy is item 1 is drawn by a hash, and the app draws sides anew for each person. The number of tasks is
    noted as planned, so that the campaign cannot be opened with fewer or more.

    Raises:
        ConfigError: as `check_new`.
        JudgmentError: there is another campaign of that name, or the project has a prompt on another side.
        DataError: there is no pair of different texts.
    """
    check_new(told, config)
    project, name = place_of_campaign(told)
    shown = [one for one in matches.each() if one[3] != one[4]]
    same = sum(1 for _ in matches.each()) - len(shown)
    if not shown:
        raise DataError("there is no pair of different texts for people to compare")
    store = open_project(project).open()
    now = time.time_ns() // 1_000_000
    try:
        with store.write() as connection:
            found = campaigns.find_campaign(connection, name)
            if found is not None:
                _check_same(connection, found, len(shown))
                return MadeCampaign(project, name, len(shown), same, was_there=True)
            campaign = campaigns.add_campaign(
                connection,
                now,
                "command",
                name=name,
                form="compare",
                purpose="evaluation",
                cohort="any",
                overlap=config.votes,
                asks_ratings=False,
                planned=len(shown),
                seed=config.seed,
            )
            supply.add_tasks(
                connection, campaign, list(_new_tasks(connection, now, matches, shown, config))
            )
    finally:
        store.close()
    return MadeCampaign(project, name, len(shown), same, was_there=False)


def _new_tasks(
    connection: Connection,
    now: int,
    matches: Matches,
    shown: Sequence[tuple[Prompt, str, str, str, str]],
    config: WinRateConfig,
) -> Iterator[NewTask]:
    policies = {
        name: prompts.add_policy(
            connection,
            now,
            name=name,
            sha256=one.sha256,
            sampling={**one.how["sampling"], "seed": one.how["seed"], "asked": one.how["asked"]},
        )
        for name, one in matches.answered.items()
    }
    numbers: dict[str, int] = {}
    texts: dict[tuple[str, str], int] = {}
    for prompt, a, b, *_ in shown:
        if prompt.id not in numbers:
            numbers[prompt.id] = prompts.add_record(connection, now, prompt, "test")
        for name in (a, b):
            if (prompt.id, name) not in texts:
                answer = matches.answered[name].answers[prompt.id]
                [texts[prompt.id, name]] = prompts.add_completions(
                    connection, numbers[prompt.id], policies[name], [answer]
                )
        pair = texts[prompt.id, a], texts[prompt.id, b]
        order = pair if shows_a_first(f"{prompt.id}/{a}/{b}", config.seed) else pair[::-1]
        yield NewTask(numbers[prompt.id], order, config.votes)


def _check_same(connection: Connection, campaign: Campaign, tasks: int) -> None:
    """A run that was stopped after its campaign was made finds it again."""
    there = campaigns.count_tasks(connection, campaign)
    is_alike = campaign.form == "compare" and campaign.purpose == "evaluation"
    if not is_alike or campaign.planned != tasks or there != tasks:
        raise JudgmentError(
            f"there is a campaign called '{campaign.name}', with {there} other tasks; choose another name"
        )
