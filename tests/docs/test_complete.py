"""What is not in the docs does not exist: config fields, commands, metrics, artefact kinds, records, report keys."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from alignloop.config import Config
from alignloop.runs.artifact import KINDS
from alignloop.runs.metrics import METRICS
from alignloop.workflow.stages import STAGES, config_class
from tests.docs import tables
from tests.docs.tables import DOCS, ROOT

FILE_FORMATS = DOCS / "file-formats.md"
REPORT_SOURCES = (
    ROOT / "src/alignloop/evaluation/evaluate.py",
    ROOT / "src/alignloop/evaluation/reward_accuracy.py",
    ROOT / "src/alignloop/workflow/results.py",
)


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def all_blocks() -> list[str]:
    return [name for page in tables.pages() for name in tables.blocks(text_of(page))]


# --- tables that are made from the code ---


@pytest.mark.parametrize("page", tables.pages(), ids=lambda page: page.name)
def test_the_tables_say_what_the_code_says(page: Path) -> None:
    stale = [
        name for name, body in tables.blocks(text_of(page)).items() if body != tables.render(name)
    ]

    assert not stale, "write them anew: python -m tests.docs.tables"


def test_a_table_that_drifted_is_found() -> None:
    page = f"<!-- table: config ppo -->\n{tables.render('config ppo')}<!-- end of table -->"

    changed = page.replace("| `kl_coef` |", "| `kl_coeff` |")

    assert changed != page
    assert tables.blocks(changed)["config ppo"] != tables.render("config ppo")
    assert tables.rewrite(changed) == page


def test_every_stage_has_its_config_in_the_docs() -> None:
    documented = [
        stage for name in all_blocks() if name.startswith("config ") for stage in name.split()[1:]
    ]

    assert sorted(documented) == sorted(STAGES)


@pytest.mark.parametrize("stage", STAGES)
def test_every_field_of_a_config_stands_there_with_its_default(stage: str) -> None:
    """The table's maker is code too: here the fields are found by another way, through the config's own JSON."""
    page = next(
        text
        for text in map(text_of, tables.pages())
        for name in tables.blocks(text)
        if name.startswith("config ") and stage in name.split()[1:]
    )

    for key, value in fields_of(config_class(stage)):
        row = re.search(rf"^\| `{re.escape(key)}` \| (.*?) \| .* \| (.+?) \|$", page, re.MULTILINE)
        assert row, f"{key} of '{stage}' is not documented"
        assert len(row[2]) > 5, f"{key} of '{stage}' has no meaning"
        if value is not ...:
            assert row[1] in (f"`{value}`", "absent" if value is None else row[1]), key
            assert (row[1] == "absent") == (value is None), key


def fields_of(config: type[Config], prefix: str = "") -> Iterator[tuple[str, object]]:
    """(dotted name, plain default) of every field; `...` where the table writes the default in another form."""
    for name, field in config.model_fields.items():
        default = field.get_default(call_default_factory=True)
        if isinstance(default, Config):
            yield from (
                (f"{prefix}{name}.{inner}", value)
                for inner, value in default.model_dump(mode="json").items()
                if not isinstance(value, str | bool | dict | list)
            )
        elif table := tables.optional_table(field):
            yield prefix + name, ...
            yield from fields_of(table, f"{prefix}{name}.")
        else:
            is_plain = not field.is_required() and isinstance(default, int | float | None)
            is_plain = is_plain and not isinstance(default, bool)
            yield prefix + name, default if is_plain else ...


# --- commands ---


def test_every_command_has_its_options_in_the_docs() -> None:
    documented = [name.split(maxsplit=1)[1] for name in all_blocks() if name.startswith("options ")]
    commands = {" ".join(words): command for words, command in tables.commands().items()}
    without_options = {
        words for words in commands if not tables.render(f"options {words}").strip("\n")
    }

    assert len(commands) > 10, "no commands were found"
    assert set(commands) - without_options <= set(documented) <= set(commands)


@pytest.mark.parametrize("words", tables.commands(), ids=" ".join)
def test_every_command_is_named_in_index_and_on_its_page(words: tuple[str, ...]) -> None:
    command = " ".join(("alignloop", *words))

    pages = [page.name for page in tables.pages() if re.search(rf"{command}\b", text_of(page))]

    assert "index.md" in pages
    assert set(pages) - {"index.md", "README.md"}, f"no page tells of `{command}`"


def test_the_options_of_every_stage_are_described_once() -> None:
    index = text_of(DOCS / "index.md")

    for option in tables.EVERY_STAGE:
        assert re.search(rf"^\| `{option}\b", index, re.MULTILINE), option


# --- files ---


def test_the_glossary_has_every_metric() -> None:
    glossary = tables.blocks(text_of(FILE_FORMATS))["metrics"]

    assert set(re.findall(r"^\| `(\w+)` \|", glossary, re.MULTILINE)) == set(METRICS)


def test_pages_name_only_metrics_that_exist() -> None:
    for page in tables.pages():
        section = re.search(r"^## What it logs\n(.*?)(?=^## |\Z)", text_of(page), re.M | re.S)
        named = set(re.findall(r"`([a-z_]+)`", section[1])) if section else set()
        fields = {"valid_every", "pretraining_mix"}
        assert named - fields <= set(METRICS), f"{page.name}: {named - fields - set(METRICS)}"


def test_every_artefact_kind_has_a_section() -> None:
    chapter = re.search(r"^## Artefacts\n(.*?)^## ", text_of(FILE_FORMATS), re.M | re.S)
    assert chapter

    assert sorted(re.findall(r"^### `([\w-]+)`$", chapter[1], re.M)) == sorted(KINDS)


def test_every_record_has_a_section_and_a_table() -> None:
    text = text_of(FILE_FORMATS)

    for name in tables.record_classes():
        assert f"### {name}\n" in text
        assert f"record {name}" in tables.blocks(text)


def test_every_key_of_the_report_is_explained() -> None:
    chapter = text_of(FILE_FORMATS).partition("## `report.json`")[2]

    keys = {key for path in REPORT_SOURCES for key in report_keys(path)}

    assert {"win_rate", "pretrain_loss", "counts", "episodes", "bits_per_byte"} <= keys
    missing = {key for key in keys if not re.search(rf"`{key}\b", chapter)}
    assert not missing


def report_keys(path: Path) -> Iterator[str]:
    """Keys of the dictionaries called `report` or `results`, or returned: they become report.json."""
    for node in ast.walk(ast.parse(text_of(path))):
        if isinstance(node, ast.Return):
            yield from keys_of(node.value)
        targets = (
            node.targets
            if isinstance(node, ast.Assign)
            else [node.target]
            if isinstance(node, ast.AnnAssign)
            else []
        )
        for target in targets:
            name = target.value if isinstance(target, ast.Subscript) else target
            if isinstance(name, ast.Name) and name.id in ("report", "results"):
                if isinstance(target, ast.Subscript) and isinstance(target.slice, ast.Constant):
                    yield str(target.slice.value)
                yield from keys_of(node.value)


def keys_of(value: ast.expr | None) -> Iterator[str]:
    """Constant keys of a dictionary in the source, and of those in it."""
    if not isinstance(value, ast.Dict):
        return
    for key, inner in zip(value.keys, value.values, strict=True):
        if isinstance(key, ast.Constant):
            yield str(key.value)
        yield from keys_of(inner)


def test_the_readme_has_every_target() -> None:
    """Their names stand in workflow/targets.py, as what a row of the report's list begins with."""
    tree = ast.parse(text_of(ROOT / "src/alignloop/workflow/targets.py"))
    heads = [
        row.elts[0] if isinstance(row, ast.Tuple) else row.args[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.List)
        for row in node.value.elts
        if isinstance(row, ast.Tuple | ast.Call)
    ]
    names = [head.value for head in heads if isinstance(head, ast.Constant)]
    readme = text_of(ROOT / "README.md")

    assert len(names) > 5, "no targets were found"
    assert not [name for name in names if f"\n| {name} |" not in readme]
