"""`alignloop study`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from alignloop.cli.options import PATH


@click.group("study")
def command() -> None:
    """Longer experiments over a finished demo."""


@command.command("ptx-coef")
@click.option("--demo", type=PATH, default=Path("demo"), show_default=True, help="A finished demo.")
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a value of the PPO-ptx recipe.",
)
def ptx_coef(demo: Path, overrides: tuple[str, ...]) -> None:
    """PPO-ptx at ptx_coef 0, 0.3, 1, 3, 10 and 27.8, judged on validation titles and prompts.

    Names the smallest that keeps the pretraining loss within 3 % of the RL initialisation's.
    """
    from alignloop.workflow.studies import ptx_sweep

    result = ptx_sweep(demo, click.echo, overrides=overrides)
    chosen = result["chosen"]
    click.echo(
        "no coefficient keeps the loss within 3 %"
        if chosen is None
        else f"chosen by the rule: {chosen:g}"
    )


@command.command("dpo-vs-ppo")
@click.option(
    "--demo",
    "demos",
    type=PATH,
    multiple=True,
    default=(Path("demo"),),
    show_default=True,
    help="A finished demo; may be repeated, and each brings its own seed.",
)
@click.option(
    "--seeds",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Seeds per demo: its own, and those that follow it, for all that is trained and drawn.",
)
@click.option(
    "--out",
    type=PATH,
    help="Folder of the study; `studies/dpo_vs_ppo` in the first demo without it.",
)
@click.option(
    "--beta",
    "betas",
    type=float,
    multiple=True,
    help="A beta of DPO; may be repeated. Without it 0.03, 0.1, 0.3 and 1.",
)
@click.option(
    "--kl-coef",
    "kl_coefs",
    type=float,
    multiple=True,
    help="A KL coefficient of PPO and PPO-ptx; may be repeated. Without it 0.03, 0.1 and 0.3.",
)
@click.option(
    "--best-of",
    type=click.IntRange(min=2),
    default=16,
    show_default=True,
    help="Answers per prompt for best of n.",
)
@click.option(
    "--copies",
    type=click.IntRange(min=1),
    default=4,
    show_default=True,
    help="Answers per validation prompt of every other policy.",
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a value of the DPO recipe.",
)
@click.option("--plan", "only_plan", is_flag=True, help="Say what there is to do, and stop.")
def dpo_vs_ppo(
    demos: tuple[Path, ...],
    out: Path | None,
    betas: tuple[float, ...],
    kl_coefs: tuple[float, ...],
    **options: Any,
) -> None:
    """DPO, PPO, PPO-ptx and best of n from one reference: gold win rate at matched KL.

    Judged on validation prompts. Stop it at any time: the same command goes on.
    """
    from alignloop.workflow import dpo_vs_ppo as study

    out = out or demos[0] / "studies" / "dpo_vs_ppo"
    study.dpo_vs_ppo(
        demos,
        out,
        click.echo,
        betas=betas or study.BETAS,
        kl_coefs=kl_coefs or study.KL_COEFS,
        **options,
    )
    if not options["only_plan"]:
        click.echo(f"figures: {out / 'dpo_vs_ppo.json'}\nplot:    {out / 'dpo_vs_ppo.svg'}")
