"""`alignloop doctor`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from alignloop.cli.options import longest_answer_option, path_option


@click.command("doctor")
@path_option("--policy", "The `policy` that RL would start from.")
@path_option("--prompts", "A `prompts` artefact; some of its `rl` file is answered.")
@path_option(
    "--reward-model",
    "The `reward-model`, for the check of a fixed missing-EOS score.",
    required=False,
)
@click.option(
    "--missing-eos-score", type=float, help="The fixed score that the PPO config would use."
)
@longest_answer_option(96)
def command(
    policy: Path,
    prompts: Path,
    reward_model: Path | None,
    missing_eos_score: float | None,
    max_new_tokens: int,
) -> None:
    """Check your own models before a long RL run; exit code 1 where a check fails.

    Example: alignloop doctor --policy runs/rl_init --reward-model runs/reward --prompts runs/prompts
    """
    from alignloop.generation.engine import SamplingConfig
    from alignloop.workflow.doctor import examine

    findings = examine(
        policy,
        prompts,
        reward_model=reward_model,
        sampling=SamplingConfig(max_new_tokens=max_new_tokens),
        missing_eos_score=missing_eos_score,
    )
    for finding in findings:
        click.echo(f"{'ok  ' if finding.is_well else 'BAD '} {finding.check}: {finding.detail}")
    if not all(finding.is_well for finding in findings):
        sys.exit(1)
