"""Which stage each step of the loop is, with which settings and inputs. Pure: nothing is read or run here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alignloop.resources import asset
from alignloop.workflow.loop import names
from alignloop.workflow.loop.config import STAGE_OF, LoopConfig
from alignloop.workflow.loop.steps import Step

PAIR = 2
"""Answers of a policy per test prompt: `sample` draws two that differ, and the first is compared."""
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


def call_for(step: Step, config: LoopConfig, project: Path) -> Call | None:
    """The call of a stage that a step is; None for steps that change the store alone."""
    return _Place(config, project, step.number).call(step)


def new_policy(config: LoopConfig, number: int) -> str:
    """The run that leaves the policy of a round."""
    return names.ppo(number, ptx=config.ptx)


def old_policy(config: LoopConfig, number: int) -> str:
    """The run whose policy it is compared with: the best SFT epoch, later the policy of the round before."""
    return names.BASELINE if number == 1 else new_policy(config, number - 1)


@dataclass(frozen=True, slots=True)
class _Place:
    """A project's folder in one round."""

    config: LoopConfig
    project: Path
    number: int

    def call(self, step: Step) -> Call | None:
        number = self.number
        match step.action:
            case "export answers":
                values = {"kind": "demonstrations", "campaigns": [step.run]}
                return Call("demonstrations", {"project": self.project}, values)
            case "take given answers":
                values = {"kind": "demonstrations"}
                return Call("given_demonstrations", {"project": self.project}, values)
            case "sft":
                return Call("sft", self._learns())
            case "choose epoch":  # there is no reward model yet
                return Call("chosen", {"sft": self._run(names.SFT)}, {"select_by": "last"})
            case "export prompts":
                return Call("prompts", {"project": self.project}, {"kind": "prompts"}, number)
            case "sample":
                return self._sample()
            case "export rankings":
                return self._rankings(range(1, number + 1))
            case "export new rankings":
                return self._rankings([number])
            case "reward model":
                inputs = {
                    "model": self._run(names.CHOSEN),
                    "rankings": self._run(names.rankings(number)),
                    "demonstrations": self._run(names.DEMONSTRATIONS),
                }
                return Call("reward", inputs, {}, number, True)
            case "baseline":
                inputs = {"sft": self._run(names.SFT), **self._judged()}
                return Call("baseline", inputs, {"select_by": "reward"}, 0, True)
            case "text":
                return Call("stories", {})
            case "lexicon":
                return Call("lexicon", {"text": self._text})
            case "rl_init":
                return Call("rl_init", {**self._learns(), "text": self._text})
            case "ppo":
                return self._ppo()
            case "answer old":
                return self._answers(old_policy(self.config, number))
            case "answer new":
                return self._answers(new_policy(self.config, number))
            case "count votes":
                inputs = {"project": self.project, "campaign": names.vote_campaign(number)}
                return self._compared("votes", inputs)
            case "judge by reward":
                inputs = {
                    "answers": self._run(names.answers(number, "new")),
                    "answers_against": self._run(names.answers(number, "old")),
                    "reward_model": self._run(names.reward(number)),
                }
                return self._compared("reward_votes", inputs)
            case "check reward models":
                inputs = {
                    "old": self._run(names.reward(number - 1)),
                    "new": self._run(names.reward(number)),
                    "rankings": self._run(names.new_rankings(number)),
                }
                return Call("reward_check", inputs, self._resamples(), 0, True)
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

    def _judged(self) -> dict[str, Path]:
        return {
            "reward_model": self._run(names.reward(self.number)),
            "prompts": self._run(names.prompts(self.number)),
        }

    def _resamples(self) -> dict[str, int]:
        return {"resamples": self.config.comparison.resamples}

    def _sample(self) -> Call:
        is_first = self.number == 1
        run = names.CHOSEN if is_first else new_policy(self.config, self.number - 1)
        inputs = {
            "model": self._run(run),
            "prompts": self._run(names.prompts(self.number)),
            "files": SIDES,
            "name": "sft" if is_first else run,
        }
        return Call("samples", inputs, {"limit": self.config.rankings.prompts}, self.number)

    def _rankings(self, rounds: range | list[int]) -> Call:
        campaigns = [names.ranking_campaign(one) for one in rounds]
        values = {"kind": "rankings", "campaigns": campaigns}
        return Call("rankings", {"project": self.project}, values, 0, True)

    def _ppo(self) -> Call:
        config = self.config
        start = names.RL_INIT if config.ptx else names.BASELINE
        if self.number > 1 and not config.restart:
            start = new_policy(config, self.number - 1)
        inputs = {"policy": self._run(start), **self._judged()}
        if config.ptx:
            inputs["text"] = self._text
        return Call("ppo_ptx" if config.ptx else "ppo", inputs, {}, self.number, True)

    def _answers(self, policy: str) -> Call:
        inputs = {
            "model": self._run(policy),
            "prompts": self._run(names.prompts(self.number)),
            "files": ("test",),
            "name": policy,
        }
        values = {"k_min": PAIR, "k_max": PAIR, "limit": self.config.comparison.prompts}
        return Call("answers", inputs, values, self.number, True)

    def _compared(self, name: str, inputs: Mapping[str, Any]) -> Call:
        new, old = (of(self.config, self.number) for of in (new_policy, old_policy))
        policies = {
            "challenger": self._run(new),
            "against": self._run(old),
            "challenger_name": new,
            "against_name": old,
        }
        return Call(name, {**policies, **inputs}, self._resamples(), 0, True)
