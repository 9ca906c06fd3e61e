"""`alignloop chat`."""

from __future__ import annotations

from pathlib import Path

import click

from alignloop.cli.options import PATH, longest_answer_option


@click.command("chat")
@click.argument("model", type=PATH)
@click.option(
    "--temperature",
    type=click.FloatRange(min=0, min_open=True),
    default=0.8,
    show_default=True,
    help="Lower is safer, higher is livelier.",
)
@longest_answer_option(160)
@click.option("--seed", type=int, help="Repeat a conversation.")
@click.option(
    "--single-turn",
    is_flag=True,
    help="Every prompt stands alone: for a policy that has learned no conversations, as the demo's have not.",
)
def command(
    model: Path, temperature: float, max_new_tokens: int, seed: int | None, single_turn: bool
) -> None:
    """Talk to MODEL: a `policy` artefact, its run folder, or any Hugging Face causal LM folder.

    Example: alignloop chat demo/ppo_ptx --single-turn
    """
    from alignloop.generation.engine import SamplingConfig
    from alignloop.serving.terminal import HELP, Chat, converse

    sampling = SamplingConfig(temperature=temperature, max_new_tokens=max_new_tokens)
    chat = Chat(model, sampling, seed, remembers=not single_turn)
    click.echo(HELP)

    def ask() -> str:
        try:
            return input("\n> ")
        except EOFError:
            return ""

    converse(chat, ask, lambda piece: click.echo(piece, nl=False))
