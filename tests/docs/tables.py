"""The tables in the docs that say what the code says. Write them anew after a change: `python -m tests.docs.tables`.

A page marks the place of a table with two comments, and what is between them is made here:

    <!-- table: config sft -->
    <!-- end of table -->
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import click
from annotated_types import Ge, Gt, Le, Lt
from pydantic.fields import FieldInfo

from alignloop.cli.main import app
from alignloop.config import Config
from alignloop.data import records
from alignloop.data.constraints import Constraint
from alignloop.resources import asset
from alignloop.runs.metrics import METRICS
from alignloop.workflow.stages import config_class

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
LEDGER_ID = re.compile(r"\[([A-Z]+-\d\d)\](?!\()")

EVERY_STAGE = ("--run", "--config", "--set", "--resume")
"""Options that docs/index.md describes once, for all stages."""

_BLOCK = re.compile(
    r"(?P<open><!-- table: (?P<name>[^>]+?) -->\n)(?P<body>.*?)(?P<close><!-- end of table -->)",
    re.DOTALL,
)
_BOUNDS: tuple[tuple[type, str, str], ...] = (
    (Gt, "gt", ">"),
    (Ge, "ge", ">="),
    (Lt, "lt", "<"),
    (Le, "le", "<="),
)
_TYPES = {int: "whole number", float: "number", str: "text", bool: "`true` or `false`"}


def pages() -> list[Path]:
    """Every page of the docs, and the README."""
    return [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]


def blocks(text: str) -> dict[str, str]:
    """Name of each table on a page -> what stands there now."""
    return {match["name"]: match["body"] for match in _BLOCK.finditer(text)}


def rewrite(text: str) -> str:
    """The page with all its tables made anew."""
    return _BLOCK.sub(lambda match: match["open"] + render(match["name"]) + match["close"], text)


def render(name: str) -> str:
    """The table of that name, as Markdown."""
    kind, *words = name.split()
    match kind:
        case "config":
            classes = {config_class(stage) for stage in words}
            assert len(classes) == 1, f"{words} have different configs"
            rows = list(_fields(classes.pop()))
            return _table(("field", "default", "allowed", "meaning"), rows)
        case "options":
            return _options(commands()[tuple(words)])
        case "bits":
            return _bits_per_byte(json.loads(asset("bits_per_byte.json").read_text()))
        case "metrics":
            return _table(("metric", "meaning"), [(_code(n), m) for n, m in METRICS.items()])
        case "record":
            rows = list(_record_fields(record_classes()[words[0]]))
            return _table(("field", "default", "type", "meaning"), rows)
    raise KeyError(f"no such table: {name}")


def record_classes() -> dict[str, type[Config]]:
    """Every record that files hold, by name."""
    found = {
        name: value
        for name, value in vars(records).items()
        if isinstance(value, type) and issubclass(value, records.Record)
    }
    del found["Record"]
    return {**found, "Constraint": Constraint}


def commands(
    command: click.Command = app, words: tuple[str, ...] = ()
) -> dict[tuple[str, ...], click.Command]:
    """Every verb that does something, by its words: ("data", "stories")."""
    if not isinstance(command, click.Group):
        return {words: command}
    context = click.Context(command)
    found: dict[tuple[str, ...], click.Command] = {}
    for name in command.list_commands(context):
        inner = command.get_command(context, name)
        assert inner is not None
        found |= commands(inner, (*words, name))
    return found


def _fields(
    config: type[Config], prefix: str = "", values: Any = None
) -> Iterator[tuple[str, str, str, str]]:
    """One row per field; those of a nested config follow it as `table.field`, with the outer config's defaults."""
    for name, field in config.model_fields.items():
        default = getattr(values, name) if values is not None else field.get_default()
        key, meaning = prefix + name, _meaning(config, name, field)
        if isinstance(default, Config):
            yield _code(key), "as below", "a table", meaning
            yield from _fields(type(default), f"{key}.", default)
            continue
        shown = "required" if values is None and field.is_required() else _default(default)
        if table := optional_table(field):
            yield _code(key), shown, "a table or absent", meaning
            yield from _fields(table, f"{key}.")
            continue
        yield _code(key), shown, _type(field), meaning


def optional_table(field: FieldInfo) -> type[Config] | None:
    """The config class of a table that may be left out."""
    for part in get_args(field.annotation):
        if isinstance(part, type) and issubclass(part, Config):
            return part
    return None


def _record_fields(record: type[Config]) -> Iterator[tuple[str, str, str, str]]:
    """One row per field; another record within this one has a table of its own, and may go without a docstring."""
    for name, field in record.model_fields.items():
        shown = "required" if field.is_required() else _default(field.get_default())
        kind = _type(field)
        is_record = any(f"`{other}`" in kind for other in record_classes())
        yield _code(name), shown, kind, _meaning(record, name, field, is_optional=is_record)


def _meaning(
    config: type[Config], name: str, field: FieldInfo, *, is_optional: bool = False
) -> str:
    meaning = " ".join((field.description or "").split())
    assert meaning or is_optional, f"{config.__name__}.{name} has no docstring"
    return _with_links(meaning)


def _default(value: Any) -> str:
    if value is None:
        return "absent"
    return _code(json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=True))


def _type(field: FieldInfo) -> str:
    """What may stand there, in words."""
    annotation: Any = field.annotation
    parts = [part for part in get_args(annotation) if part is not type(None)]
    is_optional = type(None) in get_args(annotation)
    if is_optional:
        annotation = parts[0]
    bounds = " and ".join(
        f"{sign} {getattr(mark, name):g}"
        for kind, name, sign in _BOUNDS
        for mark in field.metadata
        if isinstance(mark, kind)
    )
    return " ".join(
        filter(None, [_name_of(annotation), bounds, "or absent" if is_optional else ""])
    )


def _name_of(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return ", ".join(_code(json.dumps(choice)) for choice in get_args(annotation))
    if get_origin(annotation) is tuple:
        return f"list of {_plural(get_args(annotation)[0])}"
    if annotation in _TYPES:
        return _TYPES[annotation]
    return f"a `{annotation.__name__}`"


def _plural(annotation: Any) -> str:
    names = {str: "texts", int: "whole numbers", float: "numbers"}
    return names.get(annotation) or f"`{annotation.__name__}`"


def _options(command: click.Command) -> str:
    rows: list[tuple[str, str, str]] = []
    names = {param.opts[0] for param in command.params}
    described = set(EVERY_STAGE) if names.issuperset(EVERY_STAGE) else set()
    for param in command.params:
        if isinstance(param, click.Argument):
            rows.append((_code(param.human_readable_name), "required", "the argument; see below"))
            continue
        assert isinstance(param, click.Option)
        if param.opts[0] in described:
            continue
        usual = "required" if param.required else _usual(param)
        rows.append((_code(param.opts[0]), usual, _with_links(param.help or "")))
    return _table(("option", "default", "meaning"), rows) if rows else "\n"


def _usual(option: click.Option) -> str:
    if option.is_flag:
        return "off"
    default = option.to_info_dict()["default"]
    if isinstance(default, tuple | list):
        return ", ".join(_code(str(value)) for value in default) or "none"
    is_plain = isinstance(default, str | int | float | Path)
    return _code(str(default)) if is_plain else "none"


def _bits_per_byte(measured: dict[str, Any]) -> str:
    """What was measured of the shipped base model, as it stands beside it."""
    rows = [
        (name, f"{row['bytes']:,}", *(f"{row[key]:.3f}" for key in ("model", "five_gram", "gzip")))
        for name, row in [("all, weighted by bytes", measured), *measured["by_source"].items()]
    ]
    return _table(("source", "bytes", "model", "5-gram", "gzip"), rows)


def _code(text: str) -> str:
    return f"`{text}`"


def _with_links(text: str) -> str:
    """A ledger id becomes a link to its row."""
    return LEDGER_ID.sub(lambda match: f"[{match[1]}](numerics.md#{match[1].lower()})", text)


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(head)
    lines = [head, ["---"] * len(head), *map(list, rows)]
    text = "".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines
    )
    return f"\n{text}\n"


def main() -> None:
    """Write every table of every page anew."""
    for page in pages():
        before = page.read_text(encoding="utf-8")
        after = rewrite(before)
        if after != before:
            page.write_text(after, encoding="utf-8")
            print(f"written: {page.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
