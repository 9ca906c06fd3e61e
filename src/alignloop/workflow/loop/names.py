"""What the loop calls its runs and campaigns, by round and arm. A project's state is read off these names alone.

The control is an arm beside the loop's own: it spends a round's labels on answers of the SFT model instead.
"""

from __future__ import annotations

from typing import Literal

Arm = Literal["", "control"]
"""The loop itself, or its control."""
CONTROL: Arm = "control"

DEMONSTRATIONS = "demonstrations"
"""A run, and the campaign that it comes from."""
SFT, CHOSEN, BASELINE, RL_INIT = "sft", "chosen", "baseline", "rl_init"
TEXT, LEXICON = "stories", "lexicon"
STORY_TASKS = "demonstrations"
"""The stage that makes demonstrations of the bundled stories, for a project without prompts of its own."""


def prompts(number: int) -> str:
    """The prompts of a round, exported when it begins."""
    return f"prompts-{number}"


def samples(number: int, arm: Arm = "") -> str:
    """K completions per prompt, to be ranked."""
    return _of(arm, f"samples-{number}")


def rankings(number: int, arm: Arm = "") -> str:
    """Rankings of this round and all before: what its reward model learns from."""
    return _of(arm, f"rankings-{number}")


def new_rankings(number: int) -> str:
    """Rankings of this round alone."""
    return f"new-rankings-{number}"


def ranking_campaign(number: int, arm: Arm = "") -> str:
    """Where they are made."""
    return f"{arm} rankings, round {number}".strip()


def reward(number: int, arm: Arm = "") -> str:
    """The round's reward model."""
    return _of(arm, f"reward-{number}")


def reward_check(number: int, arm: Arm = "") -> str:
    """Its accuracy beside the one before's, and the control's beside both, on the round's new rankings."""
    return f"{arm or 'reward'}-check-{number}"


def ppo(number: int, *, ptx: bool, arm: Arm = "") -> str:
    """The round's policy."""
    return _of(arm, f"{'ppo_ptx' if ptx else 'ppo'}-{number}")


def judged(number: int, arm: Arm = "") -> str:
    """Answers to the test prompts, judged by reward models and, where labelers are simulated, by code."""
    return _of(arm, f"judged-{number}")


def vote_campaign(number: int, arm: Arm = "") -> str:
    """The blind comparison of the same answers."""
    return f"{arm} comparison, round {number}".strip()


def votes(number: int, arm: Arm = "") -> str:
    """Its result."""
    return _of(arm, f"comparison-{number}")


def rounds(number: int, arm: Arm = "") -> str:
    """The report on all rounds."""
    return _of(arm, f"rounds-{number}")


def seeds(number: int, count: int, arm: Arm = "") -> str:
    """The report on the same rounds under several seeds."""
    return _of(arm, f"rounds-{number}-of-{count}-seeds")


def _of(arm: Arm, name: str) -> str:
    return f"{arm}-{name}" if arm else name
