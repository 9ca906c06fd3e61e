"""`alignloop ppo`."""

from __future__ import annotations

from typing import Any

import click

from alignloop.cli.options import call_stage, path_option, run_options


@click.command("ppo")
@path_option(
    "--policy",
    "The `policy` to start from; it is the frozen reference as well (the RL initialisation).",
)
@path_option("--reward-model", "A `reward-model` artefact; the value function starts as its copy.")
@path_option("--prompts", "A `prompts` artefact; its `rl` file is used.")
@path_option("--text", "A `pretraining-text` artefact, for ptx_coef > 0.", required=False)
@run_options
def command(**arguments: Any) -> None:
    """Improve the policy against the reward model (step 3): PPO with ptx_coef = 0, else PPO-ptx.

    Example: alignloop ppo --policy runs/rl_init --reward-model runs/reward --prompts runs/prompts
    --text runs/stories --run runs/ppo_ptx
    """
    call_stage("ppo", **arguments)
