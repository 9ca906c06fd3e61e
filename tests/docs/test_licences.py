"""Every bundled text is named with its source and terms, and every CC BY book with its authors."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from alignloop.data.jsonl import read_objects
from alignloop.resources import asset
from tests.docs.tables import DOCS, ROOT

THIRD_PARTY = (ROOT / "THIRD_PARTY.md").read_text(encoding="utf-8")
BUNDLED = sorted(
    path
    for folder in ("stories", "other_stories", "human_judgments", "tasks")
    for path in asset(folder).iterdir()
)
RANKINGS = ROOT / "tests" / "assets" / "story_rankings.jsonl.gz"
BOOK = re.compile(
    r"^\| `(?P<file>[^`]+)` \| (?:\[(?P<linked>.*)\]\(<[^>]+>\)|(?P<bare>.*?)) \| (?P<author>.*?) \| "
    r"(?P<illustrator>.*?) \| .*? \| (?P<licence>CC BY.*?) \|$",
    re.MULTILINE,
)


def requirements() -> set[str]:
    """Names of all packages that the package or an extra of it needs."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    return {re.split(r"[><=\[ ]", wanted)[0] for group in groups for wanted in group}


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [row for _, row in read_objects(path)]


@pytest.mark.parametrize("path", BUNDLED, ids=lambda path: path.name)
def test_a_bundled_file_is_listed_with_its_rows_source_and_terms(path: Path) -> None:
    name = f"{path.parent.name}/{path.name}"

    listed = re.search(rf"^\| `{re.escape(name)}` \| (\d+) \| (.+) \| (.+) \|$", THIRD_PARTY, re.M)

    assert listed, f"{name} is not listed"
    assert int(listed[1]) == len(rows_of(path))


def test_every_book_and_collection_is_named() -> None:
    sources = {row["source"] for row in rows_of(asset("stories", "childrens_books.jsonl.gz"))}
    sources |= {
        row["source"] for row in rows_of(asset("other_stories", "short_stories_pd.jsonl.gz"))
    }

    assert not [source for source in sources if source not in THIRD_PARTY]


def test_every_storybook_is_attributed() -> None:
    page = (DOCS / "attributions.md").read_text(encoding="utf-8")
    shelves = page.partition("## Pratham Books")
    listed = {
        (shelf, match["file"]): (
            plain(match["linked"] or match["bare"]),
            plain(match["author"]),
            plain(match["illustrator"]),
        )
        for shelf, text in (("asp-source", shelves[0]), ("pb-source", shelves[2]))
        for match in BOOK.finditer(text)
    }

    bundled = {
        tuple(row["id"].split("/")): (row["title"], row["author"], row["illustrator"])
        for row in rows_of(asset("stories", "storybooks_ccby.jsonl.gz"))
    }

    assert len(bundled) > 500
    assert listed == bundled


def plain(text: str) -> str:
    return text.replace("\\[", "[").replace("\\]", "]").replace("\\|", "|")


def test_every_storybook_is_under_cc_by() -> None:
    licences = {row["license"] for row in rows_of(asset("stories", "storybooks_ccby.jsonl.gz"))}

    assert licences == {"CC-BY"}


def test_every_question_of_stack_exchange_can_be_attributed() -> None:
    """CC BY-SA asks for source, authors and licence: site, ids of posts and of members, licence, in every row."""
    rows = rows_of(asset("human_judgments", "stackexchange_rankings.jsonl.gz"))
    page = (DOCS / "attributions.md").read_text(encoding="utf-8")

    for row in rows:
        assert re.fullmatch(r"[a-z-]+:\d+(:20\d\d)?", row["id"])
        assert re.fullmatch(r"[a-z.]+\.stackexchange\.com", row["site"])
        assert re.fullmatch(r"CC BY-SA [34]\.0", row["license"])
        assert len(row["candidates"]) == len(row["answer_ids"]) == len(row["answerer_ids"])
        assert all(str(number).isdigit() for number in row["answer_ids"])
    for site in {row["site"] for row in rows}:
        questions = sum(row["site"] == site for row in rows)
        answers = sum(len(row["answer_ids"]) for row in rows if row["site"] == site)
        assert f"| {site} | {questions} | {answers} |" in page


def test_the_rankings_of_the_tests_quote_what_is_bundled_and_listed() -> None:
    rows = rows_of(RANKINGS)
    books = {row["id"] for row in rows_of(asset("stories", "storybooks_ccby.jsonl.gz"))}

    assert f"| `tests/assets/{RANKINGS.name}` | {len(rows)} |" in THIRD_PARTY
    for row in rows:
        if row["source"] == "storybooks":
            assert row["id"].removeprefix("rk-").partition("#")[0] in books
        elif row["source"] != "fairytaleqa":
            assert row["source"] in THIRD_PARTY


def test_every_package_that_is_installed_has_its_licence() -> None:
    table = THIRD_PARTY.partition("## Python packages")[2]
    rows = re.findall(r"^\| ([\w, -]+) \| \S.* \|$", table, re.MULTILINE)
    listed = {name.strip() for row in rows for name in row.split(",")}

    assert len(requirements()) > 10
    assert requirements() <= listed


def test_every_package_has_its_reason() -> None:
    page = (DOCS / "dependencies.md").read_text(encoding="utf-8")

    for name in requirements():
        assert re.search(rf"^\| [^|]*\b{re.escape(name)}\b[^|]*\| \S", page, re.MULTILINE), name
