"""The bundled children's stories: tidied, split by title, and made free of text that both sides share. Torch-free.

Sources and licences are in THIRD_PARTY.md. A *title* is a book, tale or story; titles that are one work under two
names, or that share a passage, form a group, and a group lies on one side of the split.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from alignloop.data import split
from alignloop.data.jsonl import read_objects
from alignloop.data.records import Text
from alignloop.data.shingles import WIDTH, fold, sample, shingles

VALID_SHARE, TEST_SHARE = 0.10, 0.16
"""Shares of the groups that are held out."""
LARGEST_HELD_OUT = 150_000
"""A group of more bytes (a whole fairy book) goes to train."""
SHARED_PASSAGE = 12
"""Two titles that share this many sampled 60-character windows (a passage of about 250 characters) are one group."""
REPEATED = 0.8
"""A training paragraph with at least this share of its windows seen before is a repeat and is dropped."""

_QUOTES = str.maketrans(
    {"“": '"', "”": '"', "‘": "'", "’": "'", "—": "--", "–": "-", "…": "...", "\u00a0": " "}
)


@dataclass(frozen=True, slots=True)
class Story:
    """One stretch of unbroken text of one title."""

    id: str
    title: str
    source: str
    paragraphs: tuple[str, ...]
    starts: bool = True
    """Whether it starts where its title starts."""


@dataclass(frozen=True, slots=True)
class Library:
    """The split stories, and what was dropped to keep the sides apart."""

    stories: dict[split.Side, list[Story]]
    groups: dict[str, str]
    """Title key -> group."""
    dropped: dict[str, int]
    """Why -> number of training paragraphs."""

    def texts(self, side: split.Side) -> list[Text]:
        """The stories of one side as pretraining documents."""
        return [
            Text(
                id=story.id,
                text="\n\n".join(story.paragraphs),
                group=self.groups[title_of(story)],
                source=story.source,
                title=story.title,
                starts=story.starts,
            )
            for story in self.stories[side]
        ]


def title_of(story: Story) -> str:
    """The key of a story's title: its source and its name."""
    return f"{story.source}/{story.title}"


def tidy(paragraph: str) -> str:
    """Plain quotes and dashes, no underscores for emphasis, single spaces."""
    return " ".join(paragraph.translate(_QUOTES).replace("_", "").split())


def read_library(folder: Path, *, apart_from: Path | None = None) -> Library:
    """Read the story files of `folder`, group the titles, split them and remove what the sides share.

    Args:
        apart_from: another folder of stories, with which no side may share any text either.
    """
    stories = sorted(_read(folder), key=lambda story: story.id)
    if apart_from is not None:
        stories, foreign = _without_shared(stories, _windows_of(_read(apart_from)))
    else:
        foreign = 0
    by_title: dict[str, list[Story]] = defaultdict(list)
    for story in stories:
        by_title[title_of(story)].append(story)
    windows = {
        key: np.concatenate([sample(shingles(_joined(story))) for story in members])
        for key, members in by_title.items()
    }
    titles = {key: members[0].title for key, members in by_title.items()}
    groups = split.group_titles(titles, windows, SHARED_PASSAGE)
    sizes: dict[str, int] = defaultdict(int)
    for key, members in by_title.items():
        sizes[groups[key]] += sum(len(p.encode()) for story in members for p in story.paragraphs)
    sides = split.assign_groups(sizes, VALID_SHARE, TEST_SHARE, LARGEST_HELD_OUT)
    of_side: dict[split.Side, list[Story]] = {side: [] for side in split.SIDES}
    for story in stories:
        of_side[sides[groups[title_of(story)]]].append(story)

    test = of_side["test"]
    valid, dropped_valid = _without_shared(of_side["valid"], _windows_of(test))
    train, dropped_train = _without_shared(of_side["train"], _windows_of([*valid, *test]))
    kept, repeated = _without_repeats(train)
    return Library(
        stories={"train": kept, "valid": valid, "test": test},
        groups=groups,
        dropped={
            "shared_with_other_collection": foreign,
            "valid_shared_with_test": dropped_valid,
            "train_shared_with_held_out": dropped_train,
            "train_repeated": repeated,
        },
    )


def _joined(story: Story) -> str:
    return " ".join(story.paragraphs)


def _windows_of(stories: Iterable[Story]) -> split.Known:
    return split.Known(shingles(_joined(story)) for story in stories)


def _without_shared(stories: list[Story], held_out: split.Known) -> tuple[list[Story], int]:
    """Drop every paragraph that shares a window with `held_out`."""

    def keep(story: Story) -> list[bool]:
        if not held_out.has(shingles(_joined(story))).any():
            return [True] * len(story.paragraphs)
        # A window may lie across a break: each paragraph is looked at with the end of the one before, and, as short
        # ones may follow one another, with the end of all that stands before it without a gap.
        kept, before, unbroken = list[bool](), "", ""
        for paragraph in story.paragraphs:
            starts = (before[-2 * WIDTH :], unbroken)
            shares = any(held_out.has(shingles(f"{start} {paragraph}")).any() for start in starts)
            kept.append(not shares)
            before = paragraph
            unbroken = "" if shares else fold(f"{unbroken} {paragraph}")[-(WIDTH - 1) :]
        return kept

    return _cut(stories, keep)


def _without_repeats(stories: list[Story]) -> tuple[list[Story], int]:
    """Drop paragraphs most of whose sampled windows stand earlier in `stories`."""
    windows = [sample(shingles(paragraph)) for story in stories for paragraph in story.paragraphs]
    every = np.concatenate(windows)
    _, first = np.unique(every, return_index=True)
    is_new = np.zeros(len(every), dtype=bool)
    is_new[first] = True
    ends = np.cumsum([len(w) for w in windows])
    new_share = iter(
        float(part.mean()) if len(part) else 1.0 for part in np.split(is_new, ends[:-1])
    )
    return _cut(stories, lambda s: [next(new_share) > 1 - REPEATED for _ in s.paragraphs])


def _cut(stories: list[Story], keep: Callable[[Story], list[bool]]) -> tuple[list[Story], int]:
    """Keep some paragraphs of each story; a gap cuts the story in two, so that no false join is ever learned."""
    kept: list[Story] = []
    dropped = 0
    for story in stories:
        pieces: list[list[str]] = [[]]
        is_kept_at = keep(story)
        for paragraph, is_kept in zip(story.paragraphs, is_kept_at, strict=True):
            if is_kept:
                pieces[-1].append(paragraph)
            else:
                dropped += 1
                pieces.append([])
        pieces = [piece for piece in pieces if piece]
        for number, piece in enumerate(pieces):
            suffix = f"/{number}" if len(pieces) > 1 else ""
            starts = story.starts and number == 0 and is_kept_at[0]
            kept.append(Story(story.id + suffix, story.title, story.source, tuple(piece), starts))
    return kept, dropped


def _read(folder: Path) -> Iterator[Story]:
    if (folder / "short_stories_pd.jsonl.gz").is_file():
        yield from _books(folder / "short_stories_pd.jsonl.gz")
        return
    yield from _books(folder / "childrens_books.jsonl.gz")
    for name in ("fairytale_stories.jsonl.gz", "fairytale_stories_val.jsonl.gz"):
        for _, row in read_objects(folder / name):
            title = str(row["story"]).replace("-", " ")
            yield _story(f"fairytale/{row['story']}", title, "fairytale", row["sections"])
    for _, row in read_objects(folder / "storybooks_ccby.jsonl.gz"):
        yield _story(f"storybook/{row['id']}", row["title"], "storybook", [" ".join(row["pages"])])
    told = Counter[str]()
    for _, row in read_objects(folder / "aesop_for_children.jsonl.gz"):
        told[row["title"]] += 1  # two fables of one name are two stories
        again = f" ({told[row['title']]})" if told[row["title"]] > 1 else ""
        yield _story(f"aesop/{row['title']}{again}", row["title"], "aesop", [row["fable"]])


def _books(path: Path) -> Iterator[Story]:
    """Chunks of one title with consecutive numbers form one stretch of text; a gap starts a new one."""
    chunks: dict[tuple[str, str], dict[int, str]] = defaultdict(dict)
    for _, row in read_objects(path):
        chunks[(row["source"], row["title"])][int(row["id"].rsplit("#", 1)[1])] = row["text"]
    for (source, title), numbered in chunks.items():
        shelf = source.split("/")[0]
        start, run = 0, list[str]()
        for number in sorted(numbered):
            if run and number - 1 not in numbered:
                yield _story(
                    f"book/{shelf}/{title}#{start:04d}", title, f"book/{shelf}", run, start
                )
                run = []
            start = start if run else number
            run += numbered[number].split("\n\n")
        yield _story(f"book/{shelf}/{title}#{start:04d}", title, f"book/{shelf}", run, start)


def _story(key: str, title: str, source: str, paragraphs: list[str], chunk: int = 0) -> Story:
    tidied = tuple(text for text in map(tidy, paragraphs) if text)
    return Story(key, tidy(title.replace("_", " ")), source, tidied, starts=chunk == 0)
