"""Chinese pages keep step with the English ones, section by section, in all that a program can compare."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, fields
from itertools import zip_longest
from pathlib import Path

import pytest

from tests.docs.tables import DOCS, ROOT
from tests.docs.test_pages import LINK, LINK_TO_CHINESE, PAGES, anchors, id_of, prose

ENGLISH = [ROOT / "README.md", DOCS / "tutorial.md"]
"""Pages that are translated whole. The labeling guide was written anew for its Chinese readers."""

_BLOCK = re.compile(r"^```.*?^```\s*?$", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"(?:^|\s+)#.*$", re.MULTILINE)
_CODE = re.compile(r"`[^`\n]+`")
_MARKER = re.compile(r"<!--.*?-->", re.DOTALL)
_FIGURE = re.compile(r"\d+(?:[.,]\d+)*")
_ROW = re.compile(r"^\|.*\|$", re.MULTILINE)
_ITEM = re.compile(r"^ *(?:-|\d+\.) ", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Section:
    """What a heading and the text below it, up to the next heading, have alike in both languages."""

    level: tuple[str, ...]
    """The heading's `#`s."""
    blocks: tuple[str, ...]
    """Code blocks without their comments."""
    targets: tuple[str, ...]
    """Where links and pictures lead, each once."""
    codes: tuple[str, ...]
    """`code` in running text, each once."""
    figures: tuple[str, ...]
    """Numbers in digits."""
    shape: tuple[str, ...]
    """Bars of each table row, and list items."""


def twin(path: Path) -> Path:
    """The same in Chinese: page.zh.md of page.md, picture-zh.png of picture.png."""
    return path.with_name(f"{path.stem}{'.' if path.suffix == '.md' else '-'}zh{path.suffix}")


def original(path: Path) -> Path:
    """What a file is the Chinese twin of, or the file itself."""
    return path.with_name(re.sub(r"[.-]zh(?=\.\w+$)", "", path.name))


def linked(page: Path, text: str) -> list[tuple[str, Path | None, str]]:
    """(target, its file if it is one of ours, anchor) of every link on a page or a part of it."""
    found: list[tuple[str, Path | None, str]] = []
    for match in LINK.finditer(text):
        target = match[1] or match[2]
        path, _, anchor = target.partition("#")
        is_ours = not re.match(r"[a-z]+:", target)
        file = (page.parent / path).resolve() if path else page
        found.append((target, file if is_ours else None, anchor))
    return found


def same_in_both(target: str, file: Path | None, anchor: str) -> str:
    """A link's target in words that both languages share: the English file, and which heading of it."""
    if file is None:
        return target
    if anchor and original(file) in ENGLISH:
        known = anchors(file.read_text(encoding="utf-8"))
        anchor = f"anchor {known.index(anchor)}" if anchor in known else anchor
    return f"{id_of(original(file))}#{anchor}"


def sections(page: Path, text: str) -> list[Section]:
    """A page in parts; what stands before the first heading is one too."""
    blocks = iter(_BLOCK.findall(text))
    rest = _MARKER.sub("", _BLOCK.sub("\0", text))
    found: list[Section] = []
    for part in re.split(r"^(?=#+ )", rest, flags=re.MULTILINE):
        code = [_COMMENT.sub("", next(blocks)).strip() for _ in range(part.count("\0"))]
        without_targets = LINK.sub(lambda match: match.group().partition("](")[0], part)
        found.append(
            Section(
                level=tuple(re.findall(r"\A#+", part)),
                blocks=tuple(code),
                targets=tuple({same_in_both(*link) for link in linked(page, part)}),
                codes=tuple(set(_CODE.findall(without_targets))),
                figures=tuple(_FIGURE.findall(_CODE.sub("", without_targets))),
                shape=(
                    *(f"row of {row.count('|')}" for row in _ROW.findall(part)),
                    *("item" for _ in _ITEM.findall(part)),
                ),
            )
        )
    return found


def differences(english: list[Section], chinese: list[Section]) -> list[str]:
    """What one page has and the other lacks, by section; but for code blocks, order within a section is free."""
    nothing = Section((), (), (), (), (), ())
    found: list[str] = []
    for number, (one, other) in enumerate(zip_longest(english, chinese, fillvalue=nothing)):
        for name in (field.name for field in fields(Section)):
            here, there = getattr(one, name), getattr(other, name)
            if Counter(here) != Counter(there) or (name == "blocks" and here != there):
                lost, added = (
                    list((Counter(a) - Counter(b)).elements())
                    for a, b in ((here, there), (there, here))
                )
                found.append(
                    f"heading {number}, {name}: English alone {lost}, Chinese alone {added}"
                )
    return found


def compare(page: Path, text: str) -> list[str]:
    """Differences of an English text from the Chinese twin of its page."""
    chinese = twin(page)
    return differences(sections(page, text), sections(chinese, chinese.read_text(encoding="utf-8")))


@pytest.mark.parametrize("page", ENGLISH, ids=id_of)
def test_a_page_in_chinese_has_what_the_english_one_has(page: Path) -> None:
    assert not compare(page, page.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("before", "after", "what"),
    [
        ("\n## Step 2: rankings", "\n### Step 2: rankings", "level"),
        ("\n## Next\n", "\n", "level"),
        ("\n## Next\n", "\n## Another\n\n## Next\n", "level"),
        ("--name sft --config", "--name other --config", "blocks"),
        ("```sh\nalignloop chat runs/ppo_ptx --single-turn\n```\n", "", "blocks"),
        ("([data](data.md))", "", "targets"),
        ("#your-own-model-in-five-commands", "#installation", "targets"),
        ("`runs/ppo/tensorboard`", "`runs/tensorboard`", "codes"),
        ("4 to 9 times", "4 to 8 times", "figures"),
        (
            "| `--seed` | `1` | Seed of everything but the split and the base model. |\n",
            "",
            "shape",
        ),
    ],
)
def test_what_the_chinese_page_lacks_is_found(before: str, after: str, what: str) -> None:
    page = DOCS / "tutorial.md"
    text = page.read_text(encoding="utf-8")
    assert text.count(before) == 1

    found = compare(page, text.replace(before, after))

    assert any(f", {what}: " in line for line in found), found


def test_comments_in_code_may_be_translated() -> None:
    one, other = (
        sections(DOCS / "tutorial.md", f"# A\n```sh\n# {words}\nrun --this  # {words}\n```\n")
        for words in ("one", "another")
    )

    assert not differences(one, other)
    assert one[-1].blocks == ("```sh\nrun --this\n```",)


@pytest.mark.parametrize("page", ENGLISH, ids=id_of)
def test_twins_name_each_other_below_the_title_and_stand_in_the_index(page: Path) -> None:
    chinese = twin(page)
    contents = DOCS / "index.md"
    index = {file for _, file, _ in linked(contents, contents.read_text(encoding="utf-8"))}

    assert page.read_text(encoding="utf-8").splitlines()[2] == f"{LINK_TO_CHINESE}{chinese.name})"
    assert chinese.read_text(encoding="utf-8").splitlines()[2] == f"[English]({page.name})"
    assert {page, chinese} <= index


@pytest.mark.parametrize("page", [p for p in PAGES if p != original(p)], ids=id_of)
def test_chinese_pages_lead_to_chinese_twins(page: Path) -> None:
    english = {
        target
        for target, file, _ in linked(page, prose(page.read_text(encoding="utf-8")))
        if file and file != original(page) and file != twin(file) and twin(file).exists()
    }

    assert not english, "these have a twin in Chinese"
