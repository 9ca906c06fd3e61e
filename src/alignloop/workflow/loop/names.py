"""What the loop calls its runs and campaigns, by round. A project's state is read off these names alone."""

from __future__ import annotations

DEMONSTRATIONS = "demonstrations"
"""A run, and the campaign that it comes from."""
SFT, CHOSEN, BASELINE, RL_INIT = "sft", "chosen", "baseline", "rl_init"
TEXT, LEXICON = "stories", "lexicon"


def prompts(number: int) -> str:
    """The prompts of a round, exported when it begins."""
    return f"prompts-{number}"


def samples(number: int) -> str:
    """K completions per prompt, to be ranked."""
    return f"samples-{number}"


def rankings(number: int) -> str:
    """Rankings of this round and all before: what its reward model learns from."""
    return f"rankings-{number}"


def new_rankings(number: int) -> str:
    """Rankings of this round alone."""
    return f"new-rankings-{number}"


def ranking_campaign(number: int) -> str:
    """Where they are made."""
    return f"rankings, round {number}"


def reward(number: int) -> str:
    """The round's reward model."""
    return f"reward-{number}"


def reward_check(number: int) -> str:
    """Its accuracy beside the one before's, on the round's new rankings."""
    return f"reward-check-{number}"


def ppo(number: int, *, ptx: bool) -> str:
    """The round's policy."""
    return f"{'ppo_ptx' if ptx else 'ppo'}-{number}"


def answers(number: int, who: str) -> str:
    """Answers of `new` and `old` to the test prompts."""
    return f"answers-{number}-{who}"


def vote_campaign(number: int) -> str:
    """The blind comparison."""
    return f"comparison, round {number}"


def votes(number: int) -> str:
    """Its result."""
    return f"comparison-{number}"
