"""`alignloop doctor`."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import click

from alignloop.cli.options import config_options, path_option
from alignloop.cli.ppo import models_and_prompts


@click.command("doctor")
@models_and_prompts
@path_option(
    "--demonstrations",
    "A `demonstrations` artefact: the reward model should score them 0 on average.",
    required=False,
)
@config_options
def command(
    config_path: Path | None,
    overrides: tuple[str, ...],
    reward_models: tuple[Path, ...],
    **arguments: Any,
) -> None:
    """Check your own models, prompts and config as a PPO run would take them; exit code 1 where a check fails.

    Example: alignloop doctor --policy runs/rl_init --reward-model runs/reward --prompts runs/prompts
    --text runs/stories --config recipes/demo/ppo_ptx.toml
    """
    from alignloop.config import load_config
    from alignloop.ppo.config import PPOConfig
    from alignloop.workflow.doctor.examine import examine

    config = load_config(PPOConfig, config_path, overrides)
    began = time.perf_counter()
    first, more = (reward_models[0], reward_models[1:]) if reward_models else (None, ())
    findings = examine(config, reward_model=first, more_reward_models=more, **arguments)
    for finding in findings:
        click.echo(finding.line)
    click.echo(f"{len(findings)} checks in {time.perf_counter() - began:.1f} s")
    if any(finding.verdict == "BAD" for finding in findings):
        sys.exit(1)
