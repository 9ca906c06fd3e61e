"""People as judges: the votes, rankings and ratings of a blind campaign that is closed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from alignloop.data.records import Completion, Prompt
from alignloop.errors import ConfigError, DataError, JudgmentError
from alignloop.evaluation.winrate.config import WinRateConfig
from alignloop.evaluation.winrate.contestants import Answered
from alignloop.evaluation.winrate.panel import length_of
from alignloop.judges.preference_votes import Choice, Vote
from alignloop.judges.verdicts import Verdict
from alignloop.store import campaigns, labels, oversight, prompts, quality, supply, tallies
from alignloop.store.campaigns import Campaign
from alignloop.store.labels import Label
from alignloop.store.project import open_project


@dataclass(frozen=True, slots=True)
class Rated:
    """What one person said of one answer by itself."""

    prompt: str
    policy: str
    by: str
    cohort: str
    likert: int
    flags: Mapping[str, bool]


@dataclass(slots=True)
class Polled:
    """Everything that a closed campaign says."""

    name: str
    form: str
    prompts: list[Prompt] = field(default_factory=list[Prompt])
    answered: dict[str, Answered] = field(default_factory=dict[str, Answered])
    verdicts: list[Verdict] = field(default_factory=list[Verdict])
    votes: dict[tuple[str, str], list[Vote]] = field(
        default_factory=dict[tuple[str, str], list[Vote]]
    )
    """(policy, rival) -> votes, of a campaign that compares; with sides, and with "both are bad" kept apart."""
    rated: list[Rated] = field(default_factory=list[Rated])
    names_itself: int = 0
    """Votes that say that an answer names the model that it comes from."""
    labels: int = 0
    simulated: int = 0
    """Of these, the ones by simulated labelers."""


def place_of_campaign(told: str) -> tuple[Path, str]:
    """Folder of the project and name of the campaign, from `PROJECT:NAME`.

    Raises:
        ConfigError: it is not written so.
    """
    project, separator, name = told.partition(":")
    if not separator or not project or not name:
        raise ConfigError(f"{told}: write a campaign as PROJECT:NAME, the project's folder first")
    return Path(project), name


def read_campaign(told: str, baseline: str, config: WinRateConfig) -> Polled:
    """The votes or rankings of a closed blind evaluation, with its answers and, where people rated, their ratings.

    Raises:
        JudgmentError: there is no such campaign, it is not an evaluation, or it is not closed.
        DataError: nobody judged anything, or no answer is the baseline's.
    """
    project, name = place_of_campaign(told)
    store = open_project(project).open(create=False)
    try:
        with store.read() as connection:
            campaign = campaigns.get_campaign(connection, name=name)
            if campaign.purpose != "evaluation" or campaign.form not in ("compare", "rank"):
                raise JudgmentError(
                    f"'{name}' is a campaign to {campaign.form} for {campaign.purpose}; an evaluation that compares or "
                    "ranks is needed"
                )
            authors = oversight.authors_of_items(connection, campaign)  # refuses while it is blind
            return _Reader(connection, campaign, authors, baseline, config).read()
    finally:
        store.close()


class _Reader:
    """Reads one campaign from an open store."""

    def __init__(
        self,
        connection: Connection,
        campaign: Campaign,
        authors: Mapping[tuple[int, int], int],
        baseline: str,
        config: WinRateConfig,
    ) -> None:
        self._connection = connection
        self._campaign = campaign
        self._authors = authors
        self._names = _names(connection, set(authors.values()))
        self._baseline = baseline
        self._both_bad = config.both_bad
        self._polled = Polled(campaign.name, campaign.form)
        self._outputs: dict[int, dict[int, Completion]] = {}

    def read(self) -> Polled:
        polled, campaign = self._polled, self._campaign
        scope = quality.Scope(purposes=("evaluation",), campaign_id=campaign.id)
        said: dict[int, Any] = {}
        if campaign.form == "compare":
            said = {row.submission_id: row for row in quality.each_vote(self._connection, scope)}
        answers: dict[str, dict[str, Completion]] = {}
        known: dict[str, Prompt] = {}
        # Read to the end first: other queries follow, and not every driver has two results open.
        found = list(
            labels.each_label(
                self._connection,
                campaign.form,
                purposes=("evaluation",),
                campaign_ids=[campaign.id],
            )
        )
        for label in found:
            prompt = prompts.prompt_record(label.prompt)
            known.setdefault(prompt.id, prompt)
            outputs = self._of(label.task_id)
            for item, output in outputs.items():
                answers.setdefault(self._name(label, item), {}).setdefault(prompt.id, output)
            if campaign.form == "compare":
                self._vote(label, prompt, outputs, said[label.submission_id])
            else:
                self._ranking(label, prompt, outputs)
            self._ratings(label, prompt)
        if not polled.verdicts:
            raise DataError(
                f"nobody judged anything in '{campaign.name}'; there is no win rate yet"
            )
        if self._baseline not in answers:
            raise DataError(
                f"no answer in '{campaign.name}' is by '{self._baseline}'; there are {', '.join(sorted(answers))}"
            )
        polled.labels, polled.simulated = tallies.simulated_in(self._connection, campaign.id)
        polled.prompts = list(known.values())
        details = {row.id: row for row in supply.all_policies(self._connection)}
        for number, name in self._names.items():
            if name in answers:
                settings = json.loads(details[number].sampling)
                # What `make_campaign` keeps beside them.
                how = {"asked": settings.pop("asked", None), "seed": settings.pop("seed", None)}
                polled.answered[name] = Answered(
                    name=name,
                    sha256=details[number].sha256,
                    answers=answers[name],
                    how={**how, "sampling": settings},
                )
        return polled

    def _of(self, task: int) -> dict[int, Completion]:
        if task not in self._outputs:
            self._outputs[task] = labels.outputs_of(self._connection, task)
        return self._outputs[task]

    def _name(self, label: Label, item: int) -> str:
        return self._names[self._authors[label.task_id, item]]

    def _sides(self, label: Label, one: int, other: int) -> tuple[int, int]:
        """Items of a pair, the baseline's second; otherwise in the order of their names."""
        names = self._name(label, one), self._name(label, other)
        is_turned = names[0] == self._baseline or (
            names[1] != self._baseline and names[0] > names[1]
        )
        return (other, one) if is_turned else (one, other)

    def _vote(
        self, label: Label, prompt: Prompt, outputs: Mapping[int, Completion], row: Any
    ) -> None:
        item_a, item_b = self._sides(label, 1, 2)
        a, b = self._name(label, item_a), self._name(label, item_b)
        choice = _choice(str(row.verdict), item_a)
        lengths = length_of(outputs[item_a].text), length_of(outputs[item_b].text)
        self._polled.names_itself += bool(row.names_itself)
        self._polled.votes.setdefault((a, b), []).append(
            Vote(
                prompt=prompt.id,
                labeler=_called(label),
                choice=choice,
                is_a_left=row.left_item == item_a,
                cohort=label.cohort,
                length_a=lengths[0],
                length_b=lengths[1],
            )
        )
        if choice == "both_bad" and self._both_bad == "left out":
            return
        outcome = {"a": 1.0, "b": 0.0}.get(choice, 0.5)
        self._polled.verdicts.append(
            Verdict(prompt.id, a, b, outcome, _called(label), label.cohort, *lengths)
        )

    def _ranking(self, label: Label, prompt: Prompt, outputs: Mapping[int, Completion]) -> None:
        groups = {
            item: group
            for item, group in labels.groups_of(self._connection, label.submission_id).items()
            if group is not None
        }
        for pair in combinations(groups, 2):
            first, second = self._sides(label, *pair)
            a, b = self._name(label, first), self._name(label, second)
            if a == b:
                continue
            ahead = groups[second] - groups[first]
            lengths = length_of(outputs[first].text), length_of(outputs[second].text)
            self._polled.verdicts.append(
                Verdict(
                    *(prompt.id, a, b, 0.5 if ahead == 0 else float(ahead > 0)),
                    *(_called(label), label.cohort, *lengths),
                )
            )

    def _ratings(self, label: Label, prompt: Prompt) -> None:
        if not self._campaign.asks_ratings:
            return
        flags = labels.flags_in(self._connection, label.submission_id)
        rated = labels.ratings_of(self._connection, label.submission_id)
        for item, (likert, _) in rated.items():
            self._polled.rated.append(
                Rated(
                    prompt=prompt.id,
                    policy=self._name(label, item),
                    by=_called(label),
                    cohort=label.cohort,
                    likert=likert,
                    flags=flags.get(item, {}),
                )
            )


def _choice(verdict: str, item_a: int) -> Choice:
    """A verdict about items as one about policies."""
    match verdict:
        case "tie" | "both_bad":
            return verdict
        case _:
            return "a" if verdict == f"item_{item_a}" else "b"


def _called(label: Label) -> str:
    """By the account's number: two people may have one name."""
    return f"labeler-{label.labeler_id}"


def _names(connection: Connection, used: set[int]) -> dict[int, str]:
    """Policy -> name; where two have one name, both carry their number."""
    rows = [row for row in reversed(supply.all_policies(connection)) if row.id in used]
    counts = Counter(row.name for row in rows)
    return {row.id: row.name if counts[row.name] == 1 else f"{row.name} #{row.id}" for row in rows}
