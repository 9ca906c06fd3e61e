"""`alignloop label`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from alignloop.cli import label_store
from alignloop.cli.options import (
    PATH,
    call_stage,
    listening_options,
    path_option,
    project_options,
    run_options,
)
from alignloop.cli.store import now, opened, writing


@click.group("label")
def command() -> None:
    """The people's side: the labeling app, its campaigns and labelers, labels out; and simulated labelers."""


@command.command("serve")
@project_options
@listening_options(8080)
@click.option(
    "--allow-host",
    "allowed_hosts",
    multiple=True,
    help="A name under which browsers may ask, beside the address; may be repeated.",
)
@click.option("--behind-tls", is_flag=True, help="A proxy with TLS stands before this server.")
@click.option(
    "--email",
    default="researcher@localhost",
    show_default=True,
    help="What the first researcher signs in with.",
)
def serve(project: Path, database: str | None, **options: Any) -> None:
    """Serve the labeling app. The first start prints a one-time link to set up the first account.

    Example: alignloop label serve --project mylab
    """
    from alignloop.labeling.serve import serve as run
    from alignloop.store.project import open_project

    sys.exit(run(open_project(project, database), say=click.echo, **options))


@command.command("invite")
@project_options
@click.argument("email")
@click.option(
    "--role",
    type=click.Choice(["labeler", "researcher"]),
    default="labeler",
    show_default=True,
    help="Whose pages they get.",
)
@click.option(
    "--cohort",
    type=click.Choice(["training", "heldout"]),
    default="training",
    show_default=True,
    help="Held-out labelers are not screened, and evaluate only.",
)
@click.option("--name", default="", help="How the others see them; they may change it.")
def invite(
    project: Path, database: str | None, email: str, role: str, cohort: str, name: str
) -> None:
    """Make an account and print the path of its invitation, good once, for 14 days.

    Example: alignloop label invite --project mylab ann@example.org
    """
    from alignloop.store import people

    with writing(project, database) as connection:
        user = people.find_user(connection, email=email)
        if user is None:
            user = people.add_user(
                connection,
                now(),
                "command",
                email=email,
                name=name or email.partition("@")[0],
                role=role,  # type: ignore[arg-type]
                cohort=None if role == "researcher" else cohort,  # type: ignore[arg-type]
            )
        token = people.invite(connection, now(), "command", user)
    click.echo(f"/invite/{token}")


@command.command("campaign")
@project_options
@click.argument("name")
@click.option(
    "--form",
    type=click.Choice(["demonstrate", "write", "rank", "compare", "toxicity"]),
    required=True,
    help="What labelers do.",
)
@click.option(
    "--purpose",
    type=click.Choice(["training", "evaluation", "screening", "practice"]),
    default="training",
    show_default=True,
    help="What the labels are for. Evaluation takes prompts of the test side, all else other ones.",
)
@click.option(
    "--cohort",
    type=click.Choice(["training", "heldout", "any"]),
    help="Whose work it is; training labelers' for training, anybody's otherwise.",
)
@click.option(
    "--k-min",
    type=click.IntRange(2, 9),
    default=4,
    show_default=True,
    help="Fewest outputs of a ranking.",
)
@click.option(
    "--k-max",
    type=click.IntRange(2, 9),
    default=9,
    show_default=True,
    help="Most outputs of a ranking.",
)
@click.option(
    "--overlap",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Labels wanted per task.",
)
@click.option(
    "--lease-minutes",
    type=click.FloatRange(min=1),
    default=60.0,
    show_default=True,
    help="How long a task is kept for whoever works on it, from the last sign of work.",
)
@click.option(
    "--no-ratings", is_flag=True, help="Rankings without the grades and flags of screen (a)."
)
@click.option("--dialogue", is_flag=True, help="Demonstrations of which labelers write both sides.")
@click.option("--price", type=click.FloatRange(min=0), help="Pay per hour, for the cost of labels.")
@click.option("--currency", default="USD", show_default=True, help="Of the price.")
@click.option(
    "--planned",
    type=click.IntRange(1),
    help="Evaluation: the number of tasks, fixed before the first vote.",
)
@click.option(
    "--prompts",
    "prompt_count",
    type=click.IntRange(1),
    help="How many tasks: prompts of the store to be answered, or whose outputs are shown; or prompts to be written.",
)
@click.option(
    "--descriptions",
    type=PATH,
    help="Text file, on each line what a user wanted; given out in turn, for user-based prompts.",
)
@click.option(
    "--policy",
    "policies",
    multiple=True,
    help="Whose outputs are shown (rank, compare, toxicity); may be repeated. `alignloop sample --project` keeps them.",
)
@click.option(
    "--split",
    type=click.Choice(["train", "valid", "test"]),
    help="Side of those prompts; for evaluation test, else train.",
)
@click.option("--open", "is_open", is_flag=True, help="Open it at once.")
@click.option(
    "--gold-every",
    type=click.IntRange(2),
    help="One task in so many is a gold one, where there are any (`label gold`).",
)
@click.option(
    "--seed", type=int, default=1, show_default=True, help="Draws orders and gold places."
)
def campaign(
    project: Path, database: str | None, descriptions: Path | None, **options: Any
) -> None:
    """Make a campaign, or add prompts to the one of that name.

    `alignloop sample --to-campaign` makes ranking campaigns too.

    Example: alignloop label campaign --project mylab "write answers" --form demonstrate --prompts 200 --open

    User-based prompts: alignloop label campaign --project mylab "what users want" --form write
    --descriptions wanted.txt --open

    Blind: alignloop label campaign --project mylab "ppo against sft" --form compare --purpose evaluation
    --policy sft --policy ppo --planned 200 --open
    """
    from alignloop.errors import DataError
    from alignloop.labeling.planning import make_campaign

    wanted: list[str] = []
    if descriptions is not None:
        wanted = [line.strip() for line in _text_of(descriptions).splitlines() if line.strip()]
        if not wanted:
            raise DataError(f"{descriptions}: a line per description is needed, and there is none")
    options["descriptions"] = wanted
    with writing(project, database) as connection:
        click.echo(make_campaign(connection, now(), "command", **options))


@command.command("guideline")
@project_options
@click.argument("file", type=PATH)
@click.option(
    "--purpose",
    type=click.Choice(["training", "evaluation"]),
    required=True,
    help="Whose priorities it has.",
)
@click.option(
    "--locale",
    type=click.Choice(["en", "zh"]),
    default="en",
    show_default=True,
    help="Its language.",
)
@click.option(
    "--version",
    type=click.IntRange(1),
    help="Number of the version; the next one without it. Give the same for a second language.",
)
def guideline(
    project: Path,
    database: str | None,
    file: Path,
    purpose: str,
    locale: str,
    version: int | None,
) -> None:
    """Add a version of the guidelines from a Markdown FILE; versions are never changed.

    Campaigns that are made from now on have it; those that are open keep theirs.

    Example: alignloop label guideline --project mylab training.md --purpose training
    """
    from alignloop.store import correspondence

    body = _text_of(file)
    with writing(project, database) as connection:
        number = version or correspondence.latest_version(connection, purpose) + 1
        correspondence.add_guideline(
            connection, now(), "command", purpose=purpose, version=number, locale=locale, body=body
        )
    click.echo(f"{purpose}, version {number}, {locale}")


def _text_of(file: Path) -> str:
    from alignloop.errors import DataError

    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: cannot be read ({error})") from None


@command.command("gold")
@project_options
@click.argument("name")
@click.option("--sheet", type=PATH, help="Write tasks without right answers there, to fill in.")
@click.option("--take", type=PATH, help="Take the right answers of a sheet that was filled in.")
@click.option(
    "--limit",
    type=click.IntRange(1),
    default=50,
    show_default=True,
    help="Tasks on the sheet, at most.",
)
def gold(
    project: Path,
    database: str | None,
    name: str,
    sheet: Path | None,
    take: Path | None,
    limit: int,
) -> None:
    """Right answers for tasks of the campaign NAME: practice, screening, and gold tasks among ordinary ones.

    Example: alignloop label gold --project mylab practice --sheet practice.jsonl

    Then fill in `ranks` (1 is the best, equal ones are ties), and: ... practice --take practice.jsonl
    """
    from alignloop.data.jsonl import write_objects
    from alignloop.labeling.golden import gold_sheet, take_gold
    from alignloop.store import campaigns

    if (sheet is None) == (take is None):
        raise click.UsageError("give --sheet, or --take")
    with writing(project, database) as connection:
        campaign = campaigns.get_campaign(connection, name=name)
        if sheet is not None:
            rows = list(gold_sheet(connection, campaign, limit))
            write_objects(sheet, rows)
            click.echo(f"{len(rows)} tasks on {sheet}")
        elif take is not None:
            taken = take_gold(connection, now(), "command", campaign, take)
            click.echo(f"{taken} tasks of '{name}' have right answers now")


@command.command("grade")
@project_options
@click.option("--by", required=True, help="Address of the researcher who grades.")
@click.option("--sheet", type=PATH, help="Write demonstrations to grade there.")
@click.option("--take", type=PATH, help="Take the grades of a sheet that was filled in.")
@click.option(
    "--limit",
    type=click.IntRange(1),
    default=100,
    show_default=True,
    help="Demonstrations on the sheet, at most.",
)
def grade(
    project: Path, database: str | None, by: str, sheet: Path | None, take: Path | None, limit: int
) -> None:
    """Grades from 1 to 7 for demonstrations of practice and screening, without their authors' names.

    Example: alignloop label grade --project mylab --by researcher@localhost --sheet grades.jsonl

    Then fill in `score`, and: ... --take grades.jsonl
    """
    from alignloop.data.jsonl import write_objects
    from alignloop.errors import JudgmentError
    from alignloop.labeling.golden import grading_sheet, take_grades
    from alignloop.store import people

    if (sheet is None) == (take is None):
        raise click.UsageError("give --sheet, or --take")
    with writing(project, database) as connection:
        grader = people.find_user(connection, email=by)
        if grader is None or not grader.is_researcher:
            raise JudgmentError(f"{by} is no researcher of this project")
        if sheet is not None:
            rows = list(grading_sheet(connection, grader, limit=limit))
            write_objects(sheet, rows)
            click.echo(f"{len(rows)} demonstrations on {sheet}")
        elif take is not None:
            click.echo(f"{take_grades(connection, now(), grader, take)} grades taken")


@command.command("state")
@project_options
@click.argument("name")
@click.argument("state", type=click.Choice(["open", "paused", "closed"]))
def state(project: Path, database: str | None, name: str, state: str) -> None:
    """Open, pause or close the campaign NAME.

    One that is paused hands out no tasks until it is opened again, and an evaluation stays blind. A closed evaluation
    stays closed, and may be unblinded.

    Example: alignloop label state --project mylab "write answers" closed
    """
    from alignloop.store import campaigns, oversight

    with writing(project, database) as connection:
        found = campaigns.get_campaign(connection, name=name)
        if state == "paused":
            oversight.pause(connection, now(), "command", found)
        else:
            campaigns.set_state(connection, now(), "command", found, state)  # type: ignore[arg-type]
    click.echo(f"'{name}' is {state}")


@command.command("status")
@project_options
def status(project: Path, database: str | None) -> None:
    """Campaigns and how far they are, one a line.

    Example: alignloop label status --project mylab
    """
    from alignloop.store import campaigns

    with opened(project, database) as store, store.read() as connection:
        for one in campaigns.all_campaigns(connection):
            progress = campaigns.progress_of(connection, one)
            surplus = f", {progress.surplus} surplus" if progress.surplus else ""
            click.echo(
                f"{one.name:<32} {one.form:<12} {one.purpose:<11} {one.phase:<7} "
                f"{progress.done}/{progress.wanted} done, {progress.leased} in work{surplus}"
            )


@command.command("lexicon")
@path_option("--text", "A `pretraining-text` artefact; the train titles' words are counted.")
@run_options
def lexicon(**arguments: Any) -> None:
    """Count the words that the simulated labelers read with; leaves a `lexicon` artefact."""
    call_stage("lexicon", **arguments)


@command.command("simulate")
@path_option("--completions", "A `completions` artefact.")
@path_option("--lexicon", "A `lexicon` artefact.")
@run_options
def simulate(**arguments: Any) -> None:
    """Let the simulated labelers rank completions; leaves a `rankings` artefact.

    They are code (docs/judges.md), not people, and every file that they make says so. They work through a store in the
    run's folder, as people would.

    Example: alignloop label simulate --completions runs/completions --lexicon runs/lexicon --run runs/rankings
    """
    call_stage("rank", **arguments)


for _verb in label_store.VERBS:
    command.add_command(_verb)
