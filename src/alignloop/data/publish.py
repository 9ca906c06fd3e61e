"""The bundled stories as artefacts: the text of each side of the split, and the tasks made from it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from alignloop.config import Config
from alignloop.data import split
from alignloop.data.jsonl import read_records, write_records
from alignloop.data.records import Demonstration, Prompt, Text, texts_sha256
from alignloop.data.stories import read_library
from alignloop.data.tasks import question_tasks, story_tasks
from alignloop.resources import asset
from alignloop.runs.artifact import Artifact
from alignloop.runs.run import Run


class StoriesConfig(Config):
    """Which stories are split; how they are split depends on the files alone."""

    collection: Literal["stories", "other_stories"] = "stories"
    """`stories`: children's stories, for everything; `other_stories`: other titles, for the outside judge alone."""
    limit: int | None = Field(default=None, gt=0)
    """Titles of the training side at most, drawn by a hash of their names; all where absent. What is held out stays
    whole, and so does the split."""


def publish_stories(config: StoriesConfig, run: Run) -> Artifact:
    """Split the bundled stories by title and write the three sides; what a base model learned from is a fact."""
    apart_from = None if config.collection == "stories" else asset("stories")
    library = read_library(asset(config.collection), apart_from=apart_from)
    texts = {side: library.texts(side) for side in split.SIDES}
    whole_train = texts_sha256(texts["train"])
    if config.limit is not None:
        texts["train"] = _some_titles(texts["train"], config.limit)

    def write(folder: Path) -> None:
        for side in split.SIDES:
            write_records(folder / f"{side}.jsonl.gz", texts[side])

    return run.finish(
        "pretraining-text",
        write,
        {
            "titles": {side: len({text.group for text in texts[side]}) for side in split.SIDES},
            "bytes": {
                side: sum(len(text.text.encode()) for text in texts[side]) for side in split.SIDES
            },
            "dropped_paragraphs": library.dropped,
            "train_text_sha256": whole_train,  # of all titles, whatever the limit
        },
    )


def _some_titles(texts: list[Text], limit: int) -> list[Text]:
    """The texts of so many titles: a mix of all sources, to which a larger limit only adds."""
    titles = sorted({text.group for text in texts}, key=lambda group: split.draw("limit", group))
    chosen = set(titles[:limit])
    return [text for text in texts if text.group in chosen]


class TasksConfig(Config):
    """How the story tasks are made and shared out."""

    seed: int = 1
    """Draws passages, templates and constraints."""
    demonstrations: float = Field(default=0.5, gt=0, lt=1)
    """Share of the train side's story tasks whose responses become demonstrations."""
    rankings: float = Field(default=0.2, gt=0, lt=1)
    """Share whose prompts get K completions to rank; the rest are RL prompts."""
    questions: bool = True
    """Whether FairytaleQA's questions join the demonstrations."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.demonstrations + self.rankings >= 1:
            raise ValueError(
                f"demonstrations {self.demonstrations} and rankings {self.rankings} leave no RL prompts"
            )
        return self


def publish_demonstrations(config: TasksConfig, run: Run, *, text: Path) -> Artifact:
    """Demonstrations of each side: story tasks and FairytaleQA questions; leaves a `demonstrations` artefact."""
    source = run.input("text", text, "pretraining-text")
    written: dict[str, list[Demonstration]] = {}
    sides = {side: read_records(source.file(f"{side}.jsonl.gz"), Text) for side in split.SIDES}
    for side, texts in sides.items():
        held_out = [t for other in split.SIDES[split.SIDES.index(side) + 1 :] for t in sides[other]]
        tasks = story_tasks(texts, config.seed)
        if side == "train":
            tasks = [task for task in tasks if _purpose(task.prompt, config) == "demonstrations"]
        if config.questions:
            for name in ("fairytale_qa_train", "fairytale_qa_val"):
                path = asset("stories", f"{name}.jsonl.gz")
                tasks += question_tasks(path, texts, held_out=held_out)
        written[side] = tasks

    def write(folder: Path) -> None:
        for side, tasks in written.items():
            write_records(folder / f"{side}.jsonl.gz", tasks)

    return run.finish(
        "demonstrations", write, {"rows": {side: len(tasks) for side, tasks in written.items()}}
    )


def publish_prompts(config: TasksConfig, run: Run, *, text: Path) -> Artifact:
    """Story prompts without responses: for rankings and RL from train titles, valid and test from their own."""
    source = run.input("text", text, "pretraining-text")
    prompts: dict[str, list[Prompt]] = {"rankings": [], "rl": [], "valid": [], "test": []}
    for side in split.SIDES:
        tasks = story_tasks(read_records(source.file(f"{side}.jsonl.gz"), Text), config.seed)
        for task in tasks:
            purpose = _purpose(task.prompt, config) if side == "train" else side
            if purpose in prompts:
                prompts[purpose].append(task.prompt)

    def write(folder: Path) -> None:
        for purpose, chosen in prompts.items():
            write_records(folder / f"{purpose}.jsonl.gz", chosen)

    return run.finish(
        "prompts", write, {"rows": {purpose: len(p) for purpose, p in prompts.items()}}
    )


def _purpose(prompt: Prompt, config: TasksConfig) -> str:
    """What a train prompt is for, by a hash of its text: no prompt serves two stages."""
    digest = hashlib.sha256(f"purpose/{prompt.text}".encode()).digest()
    draw = int.from_bytes(digest[:8], "big") / 2**64
    if draw < config.demonstrations:
        return "demonstrations"
    return "rankings" if draw < config.demonstrations + config.rankings else "rl"
