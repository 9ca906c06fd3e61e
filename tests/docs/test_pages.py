"""Every page: links that lead somewhere, words that may not stand there, plain characters."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.tables import DOCS, ROOT

PAGES = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "THIRD_PARTY.md")),
    ROOT / "README.zh.md",
    *sorted(DOCS.glob("**/*.md")),
    *sorted((ROOT / "recipes").glob("**/*.md")),
]
MORE_THAN_ASCII = {DOCS / "attributions.md", *(page for page in PAGES if ".zh" in page.suffixes)}
"""Pages with names of people, and those in Chinese."""
LINK_TO_CHINESE = "[中文]("
"""How an English page names its Chinese twin, for those who read that and not English."""

CLAIMS = re.compile(
    r"\bthe only\b"
    r"|\bnobody\b|\bno one else\b|\bnone of the others\b"
    r"|\b(?:the|world's) first (?:\w+ )?(?:library|package|framework|tool|project|system|implementation|open)\b"
    r"|\bstate.of.the.art\b|\bunrivalled\b|\bunmatched\b|\bthe best \w+ (?:library|framework|tool)\b",
    re.IGNORECASE,
)
_FENCE = re.compile(r"^(```|~~~).*?^\1\s*$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[(?:[^\[\]]|\\[\[\]])*\]\((?:<([^>]+)>|([^()\s]+(?:\([^()\s]*\))?))\)")


def id_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def prose(text: str) -> str:
    """The page without its code blocks."""
    return _FENCE.sub("", text)


def anchors(text: str) -> list[str]:
    """What `#...` can lead to: explicit anchors, then headings as GitHub and its kin name them, in order."""
    found: list[str] = list(re.findall(r'<a id="([^"]+)">', text))
    for heading in re.findall(r"^#+ (.+)$", prose(text), re.MULTILINE):
        heading = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
        number = 0
        while (name := slug if number == 0 else f"{slug}-{number}") in found:
            number += 1
        found.append(name)
    return found


def broken_links(page: Path, text: str) -> list[str]:
    """Relative links, those of pictures too, to a file or heading that is not there."""
    broken: list[str] = []
    for match in LINK.finditer(prose(text)):
        target = match[1] or match[2]
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists():
            broken.append(target)
        elif anchor and file.suffix == ".md":
            known = anchors(text if file == page else file.read_text(encoding="utf-8"))
            broken += [] if anchor in known else [target]
    return broken


@pytest.mark.parametrize("page", PAGES, ids=id_of)
def test_relative_links_resolve(page: Path) -> None:
    assert not broken_links(page, page.read_text(encoding="utf-8"))


def test_a_broken_link_is_found() -> None:
    page = DOCS / "index.md"
    text = "# One\n[a](nowhere.md) [b](sft.md#no-such-heading) [c](#one) [d](sft.md) [e](#two) ![f](f.svg)\n"

    assert broken_links(page, text) == ["nowhere.md", "sft.md#no-such-heading", "#two", "f.svg"]


def test_every_page_can_be_reached_from_the_readme() -> None:
    seen: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in seen or page.suffix != ".md" or not page.is_file():
            continue
        seen.add(page)
        for match in LINK.finditer(prose(page.read_text(encoding="utf-8"))):
            target = (match[1] or match[2]).partition("#")[0]
            if target and not re.match(r"[a-z]+:", target):
                waiting.append((page.parent / target).resolve())

    assert set(PAGES) <= seen


def claims(text: str) -> list[str]:
    return [match.group() for match in CLAIMS.finditer(text)]


@pytest.mark.parametrize("page", [p for p in PAGES if p not in MORE_THAN_ASCII], ids=id_of)
def test_no_page_boasts(page: Path) -> None:
    found = claims(page.read_text(encoding="utf-8"))

    if page.name == "CONTRIBUTING.md":
        found = [word for word in found if word != "nobody"]  # about a mistake, not about others
    assert not found


@pytest.mark.parametrize(
    "sentence",
    [
        "It is the only package for this.",
        "Nobody else does it.",
        "The first open library with PPO-ptx.",
        "A state-of-the-art loop.",
    ],
)
def test_a_boast_is_found(sentence: str) -> None:
    assert claims(sentence)


@pytest.mark.parametrize("page", [p for p in PAGES if p not in MORE_THAN_ASCII], ids=id_of)
def test_pages_are_in_plain_characters(page: Path) -> None:
    text = page.read_text(encoding="utf-8").replace(LINK_TO_CHINESE, "[](")

    odd = sorted(set(re.findall(r"[^\x00-\x7f]", text)))

    assert not odd
