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
@click.option(
    "--against",
    type=PATH,
    help="Another policy: /compare PROMPT lets both answer, and keeps which answer you prefer.",
)
@click.option(
    "--choices",
    type=PATH,
    default=Path("choices.jsonl"),
    show_default=True,
    help="JSON Lines file that /compare adds your choices to.",
)
@click.option("--labeler", default="me", show_default=True, help="Your name in that file.")
def command(
    model: Path,
    temperature: float,
    max_new_tokens: int,
    seed: int | None,
    single_turn: bool,
    against: Path | None,
    choices: Path,
    labeler: str,
) -> None:
    """Talk to MODEL: a `policy` artefact, its run folder, or any Hugging Face causal LM folder.

    Example: alignloop chat demo/ppo_ptx --single-turn
    """
    from alignloop.generation.engine import SamplingConfig
    from alignloop.serving import compare
    from alignloop.serving.terminal import HELP, Chat, Speaker, converse

    sampling = SamplingConfig(temperature=temperature, max_new_tokens=max_new_tokens)
    chat = Chat(model, sampling, seed, remembers=not single_turn)
    click.echo(HELP)

    def ask(question: str = "\n> ") -> str:
        try:
            return input(question)
        except EOFError:
            return ""

    def show(piece: str) -> None:
        click.echo(piece, nl=False)

    if against is None:
        converse(chat, ask, show)
        return
    comparison = compare.Comparison(chat, Speaker(against, sampling), labeler, choices)
    click.echo(f"{compare.HELP} Choices go to {choices.resolve()}.")
    converse(chat, ask, show, lambda prompt: comparison(prompt, ask, show))
