"""Which stage each step of the loop is, with which settings and inputs. Pure: nothing is read or run here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alignloop.resources import asset
from alignloop.workflow.loop import names
from alignloop.workflow.loop.config import STAGE_OF, LoopConfig
from alignloop.workflow.loop.names import Arm
from alignloop.workflow.loop.steps import Step, arm_of

SIDES = ("rankings", "valid")
"""Files of a `prompts` artefact whose prompts get answers to rank."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a stage."""

    name: str
    """Which recipe and which `settings` of loop.toml it goes by."""
    inputs: Mapping[str, Any]
    values: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What the loop itself sets; `settings` may override it."""
    number: int = 0
    """The round that its seed is made for; 0: it is the same in all of them."""
    rests_on_labels: bool = False
    """Whether rankings or votes are behind what it leaves."""

    @property
    def stage(self) -> str:
        """Its name in `workflow.stages`."""
        return STAGE_OF.get(self.name, self.name)


def call_for(
    step: Step, config: LoopConfig, project: Path, *, simulated: bool = False
) -> Call | None:
    """The call of a stage that a step is; None for steps that change the store alone.

    Args:
        simulated: whether labelers are code, so that code may judge as well.
    """
    return _Place(config, project, step.number, step.arm, simulated).call(step)


def new_policy(config: LoopConfig, number: int, arm: Arm = "") -> str:
    """The run that leaves the policy of a round."""
    return names.ppo(number, ptx=config.ptx, arm=arm)


def old_policy(config: LoopConfig, number: int) -> str:
    """The run whose policy it is compared with: the best SFT epoch, later the policy of the round before."""
    return names.BASELINE if number == 1 else new_policy(config, number - 1)


@dataclass(frozen=True, slots=True)
class _Place:
    """A project's folder in one round and arm."""

    config: LoopConfig
    project: Path
    number: int
    arm: Arm
    simulated: bool

    def call(self, step: Step) -> Call | None:
        number, arm = self.number, self.arm
        match step.action:
            case "export answers":
                values = {"kind": "demonstrations", "campaigns": [step.run]}
                return Call("demonstrations", {"project": self.project}, values)
            case "take given answers":
                values = {"kind": "demonstrations"}
                return Call("given_demonstrations", {"project": self.project}, values)
            case "begin with stories":
                return Call("story_demonstrations", {"text": self._text})
            case "story prompts":
                return Call("story_prompts", {"text": self._text})
            case "sft":
                return Call("sft", self._learns())
            case "choose epoch":  # there is no reward model yet
                return Call("chosen", {"sft": self._run(names.SFT)}, {"select_by": "last"})
            case "export prompts":
                return Call("prompts", {"project": self.project}, {"kind": "prompts"}, number)
            case "sample":
                return self._sample()
            case "export rankings":
                before = [names.ranking_campaign(one) for one in range(1, number)]
                return self._rankings([*before, names.ranking_campaign(number, arm)])
            case "export new rankings":
                return self._rankings([names.ranking_campaign(number)])
            case "reward model":
                inputs = {
                    "model": self._run(names.CHOSEN),
                    "rankings": self._run(names.rankings(number, arm)),
                    "demonstrations": self._run(names.DEMONSTRATIONS),
                }
                return Call("reward", inputs, {}, number, True)
            case "baseline":
                inputs = {"sft": self._run(names.SFT), **self._scored()}
                return Call("baseline", inputs, {"select_by": "reward"}, 0, True)
            case "text":
                return Call("stories", {})
            case "lexicon":
                return Call("lexicon", {"text": self._text})
            case "rl_init":
                return Call("rl_init", {**self._learns(), "text": self._text})
            case "ppo":
                return self._ppo()
            case "compare":
                return self._compare()
            case "count votes":
                place = f"{self.project}:{names.vote_campaign(number, arm)}"
                inputs = {"campaign": place, "baseline": old_policy(self.config, number)}
                return Call("comparison", inputs, self._resamples(), 0, True)
            case "check reward models":
                return self._check()
            case "report":
                return self._report(step.number)
            case _:
                return None

    def _run(self, name: str) -> Path:
        return self.project / "runs" / name

    @property
    def _text(self) -> Path:
        return self.config.text or self._run(names.TEXT)

    def _learns(self) -> dict[str, Path]:
        base = self.config.base or asset("base")
        return {"model": base, "demonstrations": self._run(names.DEMONSTRATIONS)}

    def _scored(self) -> dict[str, Path]:
        return {
            "reward_model": self._run(names.reward(self.number, self.arm)),
            "prompts": self._run(names.prompts(self.number)),
        }

    def _resamples(self) -> dict[str, int]:
        return {"resamples": self.config.comparison.resamples}

    def _sample(self) -> Call:
        is_sft = self.number == 1 or self.arm
        run = names.CHOSEN if is_sft else new_policy(self.config, self.number - 1)
        inputs = {
            "model": self._run(run),
            "prompts": self._run(names.prompts(self.number)),
            "files": SIDES,
            "name": "sft" if is_sft else run,
        }
        return Call("samples", inputs, {"limit": self.config.rankings.prompts}, self.number)

    def _rankings(self, campaigns: list[str]) -> Call:
        values = {"kind": "rankings", "campaigns": campaigns}
        return Call("rankings", {"project": self.project}, values, 0, True)

    def _ppo(self) -> Call:
        config = self.config
        start = names.RL_INIT if config.ptx else names.BASELINE
        if self.number > 1 and not config.restart:
            start = new_policy(config, self.number - 1)
        inputs = {"policy": self._run(start), **self._scored()}
        if config.ptx:
            inputs["text"] = self._text
        return Call("ppo_ptx" if config.ptx else "ppo", inputs, {}, self.number, True)

    def _compare(self) -> Call:
        """Every policy of the round on its test prompts, by every reward model that is there; and a campaign."""
        config, number = self.config, self.number
        runs = [old_policy(config, number), new_policy(config, number)]
        runs += [new_policy(config, number, self.arm)] if self.arm else []
        inputs: dict[str, Any] = {
            "policies": {run: self._run(run) for run in runs},
            "baseline": old_policy(config, number),
            "prompts": self._run(names.prompts(number)),
            "reward_models": {f"reward_model-{run}": self._run(run) for run in self._judges()},
            "cache": self.project / "runs" / ".cache",
        }
        if self.simulated:
            inputs["lexicon"] = self._run(names.LEXICON)
        if config.comparison.by == "labelers":
            inputs["new_campaign"] = f"{self.project}:{names.vote_campaign(number, self.arm)}"
        values = {"prompts": config.comparison.prompts, "votes": config.comparison.overlap}
        return Call("judged", inputs, values | self._resamples(), number, True)

    def _judges(self) -> list[str]:
        """The reward model of the round before, of this one, and of the control."""
        number, arm = self.number, self.arm
        found = [names.reward(number - 1)] if number > 1 else []
        found.append(names.reward(number))
        return [*found, names.reward(number, arm)] if arm else found

    def _check(self) -> Call:
        roles = ("old", "new", "control")
        inputs = {role: self._run(run) for role, run in zip(roles, self._judges(), strict=False)}
        inputs["rankings"] = self._run(names.new_rankings(self.number))
        if self.simulated:
            inputs["lexicon"] = self._run(names.LEXICON)
        return Call("reward_check", inputs, self._resamples(), 0, True)

    def _report(self, last: int) -> Call:
        """Everything that the rounds so far have left."""
        config = self.config
        reports: dict[str, Path] = {}
        rankings: dict[str, Path] = {}
        policies: dict[str, Path] = {names.BASELINE: self._run(names.BASELINE)}
        for number in range(1, last + 1):
            for arm in dict.fromkeys(("", arm_of(config, number))):
                found = [names.judged(number, arm)]
                found += [names.votes(number, arm)] if config.comparison.by == "labelers" else []
                found += [names.reward_check(number, arm)] if number > 1 else []
                reports |= {run: self._run(run) for run in found}
                learned, policy = names.rankings(number, arm), new_policy(config, number, arm)
                rankings[learned], policies[policy] = self._run(learned), self._run(policy)
        inputs = {
            "reports": reports,
            "policies": policies,
            "rankings": rankings,
            "reference": self._run(names.RL_INIT if config.ptx else names.BASELINE),
            "rounds": last,
            "ptx": config.ptx,
            "control": arm_of(config, last) != "",
        }
        return Call("rounds", inputs, self._resamples(), 0, True)
