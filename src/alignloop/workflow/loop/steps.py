"""What comes next, from what there is. A pure function of facts and settings: nothing is read, run or written here."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from alignloop.errors import ConfigError
from alignloop.workflow.loop import names
from alignloop.workflow.loop.config import LoopConfig
from alignloop.workflow.loop.facts import CampaignFacts, Facts
from alignloop.workflow.loop.names import CONTROL, Arm

Action = Literal[
    "ask for answers",
    "export answers",
    "take given answers",
    "begin with stories",
    "sft",
    "choose epoch",
    "export prompts",
    "story prompts",
    "sample",
    "ask for rankings",
    "fill rankings",
    "open",
    "simulate",
    "export rankings",
    "export new rankings",
    "reward model",
    "baseline",
    "text",
    "lexicon",
    "rl_init",
    "ppo",
    "compare",
    "close",
    "count votes",
    "check reward models",
    "report",
]
Waits = Literal["prompts", "text", "answers", "rankings", "votes", "writers"]


@dataclass(frozen=True, slots=True)
class Step:
    """Something that the loop can do by itself."""

    action: Action
    run: str
    """Name of the run that it leaves, or of the campaign that it changes."""
    number: int = 0
    """The round; 0 before the first."""
    arm: Arm = ""


@dataclass(frozen=True, slots=True)
class Wait:
    """Something that a person has to do first."""

    what: Waits
    lines: tuple[str, ...]
    """What is waited for, how much of it is there, and what to type; {project} stands for the folder."""

    def told(self, project: Path) -> list[str]:
        """The lines for one project; a command stands at the end of its line, as a shell takes it."""
        return [line.replace("{project}", shlex.quote(str(project))) for line in self.lines]


@dataclass(frozen=True, slots=True)
class Done:
    """Every round that was asked for has its evaluation."""

    rounds: int


def next_step(
    facts: Facts, config: LoopConfig, *, rounds: int, simulated: bool = False
) -> Step | Wait | Done:
    """The first thing that is not done.

    Args:
        rounds: how many are wanted.
        simulated: whether simulated labelers do the people's part.
    """
    return next(all_that_is_left(facts, config, rounds, simulated), Done(rounds))


def steps_ahead(
    facts: Facts, config: LoopConfig, *, rounds: int, simulated: bool = False
) -> list[Step]:
    """The steps that can be foreseen, up to the next person; the first of them is `next_step`."""
    found: dict[tuple[str, str], Step] = {}
    for one in all_that_is_left(facts, config, rounds, simulated):
        if isinstance(one, Step):
            found.setdefault((one.action, one.run), one)
        elif not simulated:
            break
    return list(found.values())


def check_labelers(facts: Facts, *, simulated: bool) -> None:
    """Labels of people and of code never stand in one project.

    Raises:
        ConfigError: they would.
    """
    if simulated and facts.people_labels:
        raise ConfigError(
            f"this project has {facts.people_labels} labels by people, and simulated labelers would add theirs to "
            "them; try --labelers simulated on another project"
        )
    if not simulated and facts.simulated_labels:
        raise ConfigError(
            f"the {facts.simulated_labels} labels of this project are by SIMULATED labelers; go on with --labelers "
            "simulated, or begin another project for people"
        )


def as_begun(facts: Facts, config: LoopConfig) -> LoopConfig:
    """The settings with as many rounds as were begun, and the control where one was: what `status` looks ahead to."""
    begun = [int(name.rpartition("-")[2]) for name in facts.runs if _is_of_round(name)]
    has_control = any(name.startswith(f"{CONTROL}-") for name in facts.runs)
    return config.model_copy(
        update={
            "rounds": max([config.rounds, *begun]),
            "control": config.control or has_control,
        }
    )


# --- inside -----------------------------------------------------------------------------------------------------


def _is_of_round(name: str) -> bool:
    head, _, number = name.rpartition("-")
    return head == "prompts" and number.isdigit()


def all_that_is_left(
    facts: Facts, config: LoopConfig, rounds: int, simulated: bool
) -> Iterator[Step | Wait]:
    """In order. Whatever comes after the first rests on facts that do not hold yet."""
    begins_with_stories = _begins_with_stories(facts, config, simulated)
    if not begins_with_stories and not facts.has_story_tasks:
        yield from _prompts(facts)
    if config.ptx and not config.has_text:
        yield Wait(
            "text",
            (
                'PPO-ptx mixes in pretraining text, and loop.toml names none: set text = "FOLDER" to a '
                "`pretraining-text` artefact (alignloop data import --set kind=pretraining-text), or ptx = false",
            ),
        )
    if begins_with_stories:
        yield from _text(facts, config)
        yield Step("begin with stories", names.DEMONSTRATIONS)
    else:
        yield from _demonstrations(facts, config, simulated)
    if not facts.has(names.SFT):
        yield Step("sft", names.SFT)
    if not facts.has(names.CHOSEN):
        yield Step("choose epoch", names.CHOSEN)
    for number in range(1, rounds + 1):
        yield from _round(facts, config, number, simulated)
    report = names.rounds(rounds, arm_of(config, rounds))
    if not facts.has(report):
        yield Step("report", report, rounds)


def arm_of(config: LoopConfig, number: int) -> Arm:
    """The control's, where the round has one: the first has not, since it samples from the SFT model itself."""
    return CONTROL if config.control and number > 1 else ""


def _begins_with_stories(facts: Facts, config: LoopConfig, simulated: bool) -> bool:
    return facts.is_empty and simulated and config.has_text


def _prompts(facts: Facts) -> Iterator[Wait]:
    missing = [side for side in ("train", "valid", "test") if not facts.prompts.get(side)]
    if not missing:
        return
    there = ", ".join(f"{count} {side}" for side, count in facts.prompts.items()) or "none yet"
    yield Wait(
        "prompts",
        (
            f"waits for prompts: {there}; every side needs some, and {', '.join(missing)} "
            f"{'has' if len(missing) == 1 else 'have'} none",
            "bring yours in: alignloop prompts import FILE --project {project}",
            "the side is drawn by user, so a few more users fill it; or begin a project with larger shares "
            "(--set valid=0.2 --set test=0.2)",
            *([_STORIES] if facts.is_empty else []),
        ),
    )


_STORIES = (
    "to see the loop run first, on the bundled stories and with labels by code: "
    "alignloop loop --project {project} --labelers simulated"
)


def _demonstrations(facts: Facts, config: LoopConfig, simulated: bool) -> Iterator[Step | Wait]:
    if facts.has(names.DEMONSTRATIONS):
        return
    wanted = {"train": config.demonstrations.train, "valid": config.demonstrations.valid}
    share = config.demonstrations.enough
    campaign = facts.campaigns.get(names.DEMONSTRATIONS)
    if campaign is None:
        given = {side: facts.answered.get(side, 0) for side in wanted}
        if all(given[side] >= math.ceil(share * count) for side, count in wanted.items()):
            yield Step("take given answers", names.DEMONSTRATIONS)
        elif simulated:
            yield _no_writers(given, wanted, share)
        else:
            yield Step("ask for answers", names.DEMONSTRATIONS)
        return
    if campaign.state == "draft":
        yield Step("open", names.DEMONSTRATIONS)
    if not _is_enough(campaign, share):
        if simulated:
            yield _no_writers(campaign.labeled, wanted, share)
        yield _people("answers", "answers written", names.DEMONSTRATIONS, campaign, share)
    yield Step("export answers", names.DEMONSTRATIONS)


def _no_writers(there: Mapping[str, int], wanted: Mapping[str, int], share: float) -> Wait:
    has = " and ".join(
        f"{there.get(side, 0)} of {math.ceil(share * count)} on the {side} side"
        for side, count in wanted.items()
    )
    return Wait(
        "writers",
        (
            f"waits for answers: {has}; simulated labelers rank and compare, and write nothing",
            "lower demonstrations.train and demonstrations.valid in loop.toml, or bring prompts with answers in: "
            "alignloop prompts import FILE --project {project}",
        ),
    )


def _round(facts: Facts, config: LoopConfig, number: int, simulated: bool) -> Iterator[Step | Wait]:
    if not facts.has(names.prompts(number)):
        has_stories = facts.has_story_tasks or _begins_with_stories(facts, config, simulated)
        action = "story prompts" if has_stories else "export prompts"
        yield Step(action, names.prompts(number), number)
    yield from _taught(facts, config, number, simulated, "")
    if number == 1 and not facts.has(names.BASELINE):
        yield Step("baseline", names.BASELINE, number)
    if number > 1:
        if not facts.has(names.new_rankings(number)):
            yield Step("export new rankings", names.new_rankings(number), number)
        if not facts.has(names.reward_check(number)):
            yield Step("check reward models", names.reward_check(number), number)
    if config.ptx and not facts.has(names.RL_INIT):
        yield from _text(facts, config)
        yield Step("rl_init", names.RL_INIT, number)
    yield from _improved(facts, config, number, simulated, "")
    if arm := arm_of(config, number):
        yield from _taught(facts, config, number, simulated, arm)
        if not facts.has(names.reward_check(number, arm)):
            yield Step("check reward models", names.reward_check(number, arm), number, arm)
        yield from _improved(facts, config, number, simulated, arm)


def _taught(
    facts: Facts, config: LoopConfig, number: int, simulated: bool, arm: Arm
) -> Iterator[Step | Wait]:
    """From samples to a reward model."""
    if not facts.has(names.samples(number, arm)):
        yield Step("sample", names.samples(number, arm), number, arm)
    yield from _rankings(facts, config, number, simulated, arm)
    if not facts.has(names.rankings(number, arm)):
        yield Step("export rankings", names.rankings(number, arm), number, arm)
    if not facts.has(names.reward(number, arm)):
        yield Step("reward model", names.reward(number, arm), number, arm)


def _improved(
    facts: Facts, config: LoopConfig, number: int, simulated: bool, arm: Arm
) -> Iterator[Step | Wait]:
    """From a reward model to a policy, compared with others."""
    policy = names.ppo(number, ptx=config.ptx, arm=arm)
    if not facts.has(policy):
        yield Step("ppo", policy, number, arm)
    yield from _comparison(facts, config, number, simulated, arm)


def _text(facts: Facts, config: LoopConfig) -> Iterator[Step]:
    if config.text is None and not facts.has(names.TEXT):
        yield Step("text", names.TEXT)


def _reading(facts: Facts, config: LoopConfig) -> Iterator[Step | Wait]:
    """What simulated labelers need before they read anything."""
    if facts.has(names.LEXICON):
        return
    if not config.has_text:
        yield Wait(
            "text",
            (
                'simulated labelers read with word counts of a text, and loop.toml names none: set text = "FOLDER" '
                "to a `pretraining-text` artefact",
            ),
        )
    yield from _text(facts, config)
    yield Step("lexicon", names.LEXICON)


def _rankings(
    facts: Facts, config: LoopConfig, number: int, simulated: bool, arm: Arm
) -> Iterator[Step | Wait]:
    if facts.has(names.rankings(number, arm)):
        return
    name = names.ranking_campaign(number, arm)
    campaign = facts.campaigns.get(name)
    if campaign is None:
        yield Step("ask for rankings", name, number, arm)
        campaign = CampaignFacts("draft")  # looked ahead to
    if campaign.state == "draft":
        yield Step("open" if campaign.tasks else "fill rankings", name, number, arm)
    share = config.rankings.enough
    if not _is_enough(campaign, share):
        if simulated and (campaign.state == "draft" or _has_work(campaign)):
            yield from _reading(facts, config)
            yield Step("simulate", name, number, arm)
        yield _people("rankings", "rankings made", name, campaign, share)


def _comparison(
    facts: Facts, config: LoopConfig, number: int, simulated: bool, arm: Arm
) -> Iterator[Step | Wait]:
    if not facts.has(names.judged(number, arm)):
        if simulated:
            yield from _reading(facts, config)
        yield Step("compare", names.judged(number, arm), number, arm)
    if config.comparison.by == "reward-model" or facts.has(names.votes(number, arm)):
        return
    name = names.vote_campaign(number, arm)
    campaign = facts.campaigns.get(name) or CampaignFacts("draft")  # "compare" made it
    if campaign.state == "draft":
        yield Step("open", name, number, arm)
    if campaign.state != "closed":
        if campaign.state == "open" and campaign.wanted > 0 and not _has_work(campaign):
            yield Step("close", name, number, arm)
        if simulated and campaign.state != "paused":
            yield from _reading(facts, config)
            yield Step("simulate", name, number, arm)
        yield _votes(name, campaign)
    yield Step("count votes", names.votes(number, arm), number, arm)


def _has_work(campaign: CampaignFacts) -> bool:
    return campaign.state == "open" and campaign.done < campaign.wanted


def _is_enough(campaign: CampaignFacts, share: float) -> bool:
    """Whether either side has a task at all, and labels on that share of its tasks."""
    return all(
        campaign.tasks.get(side, 0) > 0
        and campaign.labeled.get(side, 0) >= math.ceil(share * campaign.tasks[side])
        for side in ("train", "valid")
    )


def _people(what: Waits, made: str, name: str, campaign: CampaignFacts, share: float) -> Wait:
    sides = [
        f"{campaign.labeled.get(side, 0)} of {math.ceil(share * campaign.tasks.get(side, 0))} {made} on {word} prompts"
        for side, word in (("train", "training"), ("valid", "validation"))
    ]
    lines = [f"waits for people: {' and '.join(sides)}, in the campaign '{name}'"]
    lines += [
        _no_tasks(what, side, name) for side in ("train", "valid") if not campaign.tasks.get(side)
    ]
    return Wait(what, (*lines, *_where(name, campaign)))


def _no_tasks(what: Waits, side: str, name: str) -> str:
    lacks = f"the campaign has no task of the {side} side, and a trainer needs both"
    if what == "rankings":
        return f"{lacks}: its prompts had too few answers that differ; see `dropped_prompts` of the samples"
    return (
        f'{lacks}; add some: alignloop label campaign --project {{project}} "{name}" --form demonstrate --prompts 20 '
        f"--split {side}"
    )


def _votes(name: str, campaign: CampaignFacts) -> Wait:
    return Wait(
        "votes",
        (
            f"waits for people: {campaign.done} of {campaign.wanted} votes, in the blind campaign '{name}'",
            *_where(name, campaign),
        ),
    )


def _where(name: str, campaign: CampaignFacts) -> tuple[str, ...]:
    if campaign.state != "open":
        return (
            f'it is {campaign.state}; open it: alignloop label state --project {{project}} "{name}" open',
        )
    return (
        "people work at http://127.0.0.1:8080, or where else it says, while this runs: "
        "alignloop label serve --project {project}",
        "who has no account yet: alignloop label invite --project {project} ADDRESS",
    )
