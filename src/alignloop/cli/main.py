"""`alignloop`: the verbs, loaded one at a time so that `--help` answers at once and never imports torch."""

from __future__ import annotations

import importlib
import os
import sys

import click

from alignloop import __version__
from alignloop.errors import AlignloopError, MissingExtraError

_VERBS: dict[str, tuple[str, str]] = {
    "demo": (
        "alignloop.cli.demo",
        "The whole loop on bundled stories, to a report and a model to chat with.",
    ),
    "status": (
        "alignloop.cli.status",
        "A project on one screen: data, labels, models and lineage, win rates, what is next.",
    ),
    "loop": (
        "alignloop.cli.loop",
        "A project, up to the next stage that needs a person; again when labels have arrived.",
    ),
    "runs": ("alignloop.cli.runs", "Runs side by side."),
    "data": (
        "alignloop.cli.data",
        "The bundled stories or your own records: split, made into demonstrations and prompts.",
    ),
    "prompts": (
        "alignloop.cli.prompts",
        "The files you have: imported and curated as in the paper, reported on, exported.",
    ),
    "pretrain": ("alignloop.cli.pretrain", "Train a small language model from nothing."),
    "sft": (
        "alignloop.cli.sft",
        "Step 1: fine-tune on demonstrations; also makes the RL initialisation.",
    ),
    "sample": (
        "alignloop.cli.sample",
        "K completions per prompt to be ranked; best of n; rejection sampling.",
    ),
    "reward": ("alignloop.cli.reward", "Step 2: train the reward model on rankings; examine it."),
    "ppo": ("alignloop.cli.ppo", "Step 3: PPO and PPO-ptx against the reward model."),
    "dpo": ("alignloop.cli.dpo", "Learn from the same rankings without a reward model."),
    "evaluate": (
        "alignloop.cli.evaluate",
        "Win rates on held-out prompts; public tasks; bits per byte.",
    ),
    "label": (
        "alignloop.cli.label",
        "The labeling app, campaigns, labels out; simulated labelers.",
    ),
    "study": ("alignloop.cli.study", "Longer experiments: a run for each value of one setting."),
    "doctor": ("alignloop.cli.doctor", "Check your own models before a long RL run."),
    "chat": ("alignloop.cli.chat", "Talk to a policy in the terminal."),
    "serve": ("alignloop.cli.serve", "Policies and reward models for OpenAI's clients."),
}
_EXTRAS = {
    "torch": "train",
    "transformers": "train",
    "tokenizers": "train",
    "safetensors": "train",
    "peft": "train",
    "jaxtyping": "train",
    "matplotlib": "train",
    "tensorboard": "train",
    "pyarrow": "parquet",
    "psycopg": "postgres",
    "presidio_analyzer": "pii",
}


class LazyGroup(click.Group):
    """A group whose verbs are imported when they are called, not when they are listed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _VERBS:
            return None
        module = importlib.import_module(_VERBS[cmd_name][0])
        return module.command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _VERBS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="alignloop")
def app() -> None:
    """From a pretrained language model and people's judgments to an assistant, in InstructGPT's three steps."""


def main() -> None:
    """Run the command line; an error that a user can mend is one line and an exit code, never a traceback."""
    try:
        if status := app(standalone_mode=False):
            sys.exit(status)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        sys.exit(130)
    except OSError as error:  # a folder that cannot be written, a full disk: the user's to mend
        _say(error)
        sys.exit(2)
    except AlignloopError as error:
        _say(error)
        sys.exit(error.exit_code)
    except ModuleNotFoundError as error:
        name = (error.name or "").split(".")[0]
        if name not in _EXTRAS:
            raise
        missing = MissingExtraError(
            f"this command needs the package '{name}': pip install 'alignloop[{_EXTRAS[name]}]'"
        )
        _say(missing)
        sys.exit(missing.exit_code)


def _say(error: Exception) -> None:
    rank = os.environ.get("RANK")  # torchrun mixes what the ranks say
    click.echo(
        f"alignloop: {error}" if rank is None else f"alignloop: rank {rank}: {error}", err=True
    )
