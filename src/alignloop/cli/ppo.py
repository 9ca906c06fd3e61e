"""`alignloop ppo`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from alignloop.cli.options import PATH, call_stage, path_option, run_options

F = TypeVar("F", bound=Callable[..., Any])


def models_and_prompts(function: F) -> F:
    """What a PPO run learns from, for `alignloop ppo` and `alignloop doctor`."""
    options = (
        path_option(
            "--policy",
            "The `policy` to start from (the RL initialisation); it is the frozen reference as well.",
        ),
        path_option(
            "--reference",
            "Another `policy` as the frozen reference, the pretrained model for instance.",
            required=False,
        ),
        click.option(
            "--reward-model",
            "reward_models",
            type=PATH,
            multiple=True,
            help="A `reward-model` artefact; the value function starts as its copy. May be repeated: `reward_combine` "
            "says what counts then, and values start from the first.",
        ),
        click.option(
            "--reward-function",
            metavar="FILE.py:NAME",
            help="Score with a Python function instead: it gets a list of prompts and a list of responses, and "
            "returns a number for each. `package.module:NAME` works too.",
        ),
        path_option(
            "--heldout-reward-model",
            "A second `reward-model` to watch: logged, never learned from; an alarm sounds where the two part.",
            required=False,
        ),
        path_option("--prompts", "A `prompts` artefact; its `rl` file is used."),
        click.option(
            "--exclude-prompts-from",
            type=PATH,
            multiple=True,
            help="An artefact of an earlier stage (demonstrations, rankings, completions, prompts) whose prompts are "
            "left out; the overlap is reported. May be repeated.",
        ),
        path_option("--text", "A `pretraining-text` artefact, for ptx_coef > 0.", required=False),
    )
    for option in reversed(options):
        function = option(function)
    return function


@click.command("ppo")
@models_and_prompts
@click.option(
    "--ask-person",
    is_flag=True,
    help="Ask a person at the terminal for the score of every answer; what was judged is kept.",
)
@path_option(
    "--gold", "A `lexicon` artefact: the gold judge is logged, never learned from.", required=False
)
@click.option(
    "--no-doctor",
    is_flag=True,
    help="Begin without the checks of `alignloop doctor`, which refuse a run that would be spoilt.",
)
@run_options
def command(
    reward_models: tuple[Path, ...], gold: Path | None, no_doctor: bool, **arguments: Any
) -> None:
    """Improve the policy against the reward model (step 3): PPO with ptx_coef = 0, else PPO-ptx.

    Example: alignloop ppo --policy runs/rl_init --reward-model runs/reward --prompts runs/prompts
    --text runs/stories --run runs/ppo_ptx
    """
    first, more = (reward_models[0], reward_models[1:]) if reward_models else (None, ())
    inputs = {"reward_model": first, "more_reward_models": more, "gold": gold}
    call_stage("ppo", doctor=not no_doctor, **inputs, **arguments)
