"""Files of prompts, imports of them in this process, and all that a project holds, to compare two of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import select

from alignloop.store.database import Store
from alignloop.store.project import open_project
from alignloop.store.schema import metadata
from alignloop.workflow.prompts.intake import Imported, Wanted, import_prompts, try_prompts
from tests.helpers import contents

NOW = 1_800_000_000_000
# What chance or a clock decides, and what is made of it.
_NOT_COMPARED = {"public_id", "created_at", "at", "sha256", "previous_sha256"}
_TABLES = ("imports", "authors", "prompts", "given_answers", "settings", "events")

NOUNS = "fox hen river king mill goat girl key stone wolf moon barn bread bird boy cow frog well".split()


def write(path: Path, rows: Iterable[Any]) -> Path:
    """A file of JSON Lines; a text is a line as it stands."""
    lines = (row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def asked(number: int) -> str:
    """A prompt's text, another one for each number, too short to share a prefix."""
    one, other = NOUNS[number % len(NOUNS)], NOUNS[number // len(NOUNS) % len(NOUNS)]
    return f"Write story {number} about a {one} and a {other} that live near the old house."


def some(count: int, start: int = 0, users: int = 40) -> list[dict[str, Any]]:
    """Rows of all that can happen: kept on each side, dropped for each cheap reason, rejected."""
    rows: list[dict[str, Any]] = []
    for number in range(start, start + count):
        row: dict[str, Any] = {"prompt": asked(number), "user": f"user-{number % users}"}
        match number % 12:
            case 1:
                row |= {"consent": False}
            case 2:
                row |= {"prompt": f"{asked(number)} Write to bob{number}@example.com."}
            case 3:
                row |= {"prompt": asked(number - 3)}
            case 4:
                row = {"nothing": number}
            case 5:
                row |= {"response": f"Once upon a time there were {number}.", "labeler": "ann"}
            case 6:
                row |= {"kind": "plain", "use_case": "brainstorming", "ambiguous": True}
            case 7:
                row |= {"prompt": "  "}
            case 8:
                row |= {"prompt": asked(number) + " And then he said so. " * 250}
            case 9:
                row |= {"kind": "few_shot", "examples": [["a", "b"], ["c", "d"]]}
            case 10:
                row |= {"prompt": f"Tell me all that there is to know about number {number}."}
            case _:
                pass
        rows.append(row)
    return rows


def imported(folder: Path, *files: Path | str, now: int = NOW, **given: Any) -> list[Imported]:
    """Import files in this process, into the project in `folder`; `database` is a URL to begin with."""
    done, _ = imported_with_report(folder, *files, now=now, **given)
    return done


def imported_with_report(
    folder: Path, *files: Path | str, now: int = NOW, database: str | None = None, **given: Any
) -> tuple[list[Imported], dict[str, Any]]:
    wanted = Wanted([str(file) for file in files], **{"workers": 1, **given})
    return import_prompts(open_project(folder, database), wanted, now)


def tried(folder: Path, *files: Path | str, **given: Any) -> list[Imported]:
    """A dry run."""
    wanted = Wanted([str(file) for file in files], **{"workers": 1, **given})
    return try_prompts(open_project(folder, begin=False), wanted)


def rows(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """What the database says, table by table, without what chance or a clock decides."""
    store = open_project(folder).open(create=False)
    try:
        return {name: _rows(store, name) for name in _TABLES}
    finally:
        store.close()


def _rows(store: Store, name: str) -> list[dict[str, Any]]:
    table = metadata.tables[name]
    with store.read() as connection:
        found = connection.execute(select(table).order_by(*table.primary_key.columns)).mappings()
        kept = (row for row in found if row.get("key") != "guards")  # of each database its own
        return [{k: v for k, v in row.items() if k not in _NOT_COMPARED} for row in kept]


def files_for_people(folder: Path) -> dict[str, bytes]:
    """Every file below `prompts/`, leftovers too; the lock is empty."""
    return contents(folder / "prompts")


def everything(folder: Path) -> tuple[Any, dict[str, bytes]]:
    """What two projects with the same prompts share."""
    return rows(folder), files_for_people(folder)


def lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON Lines file; none where there is no file."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def read_report(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "prompts" / "report.json").read_text(encoding="utf-8"))


def texts(folder: Path) -> Sequence[str]:
    return [row["text"] for row in rows(folder)["prompts"]]
