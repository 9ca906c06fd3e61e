"""A mixture of public tasks under instructions, held out by whole clusters, as FLAN is made. Torch-free.

Wei et al. 2021 take data sets of many tasks, put each example under an instruction, group the tasks into clusters, and
learn from all clusters but those that are then asked: a model that does better on them has learned to follow
instructions and not that task. Data sets are mixed by their size up to a cap.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Self

import numpy as np
from pydantic import Field, model_validator

from alignloop.config import Config
from alignloop.data import split
from alignloop.data.jsonl import read_records, write_records
from alignloop.data.records import Demonstration, Prompt, Record, Text
from alignloop.data.tasks import Question, questions_about
from alignloop.errors import ConfigError, DataError
from alignloop.resources import asset
from alignloop.runs.artifact import Artifact
from alignloop.runs.run import Run
from alignloop.seeds import derive_seed

BUNDLED = ("p3_learn.jsonl.gz", "p3_ask.jsonl.gz")
"""Below the assets' `tasks`: the two sides of the bundled mixture; the second is what `evaluate tasks` asks."""
VALID, TEST = 0.05, 0.2
"""Shares of the passages. No setting: what lies on the test side is asked of models, whoever made their mixture."""
FAIRYTALE = "fairytale_qa"
_QUESTION = (
    "Answer the question about this story.\n\n{context}\n\n{question}",
    "{context}\n\nRead the text above. {question}",
    "Story: {context}\nQuestion: {question}\nAnswer:",
    "Here is a part of a story:\n\n{context}\n\nGo by what it says and answer this: {question}",
    "Question: {question}\n\nThe answer is in this passage. Find it.\n\n{context}",
    "Use the passage to answer.\nPassage: {context}\nQuestion: {question}",
)
_INVERTED = (
    "{context}\n\nAsk a question about this story that has the answer: {answer}",
    "Story: {context}\nAnswer: {answer}\nWhat was the question?",
)
"""Templates that turn the task around, as FLAN has up to three of ten."""


class MultitaskConfig(Config):
    """Which clusters are held out, and how data sets are mixed."""

    seed: int = 1
    """Draws the rows of data sets over the cap, and a template for each question of FairytaleQA."""
    hold_out: tuple[str, ...] = ()
    """Clusters to learn nothing from, to be asked afterwards."""
    cap: int = Field(default=500, gt=0)
    """Most rows of a data set, on each side of the split; FLAN has 3000. Larger sets count as if they had so many."""
    max_answer: int | None = Field(default=None, gt=0)
    """Longest answer in characters, for models of a short context; rows with longer ones are left out and counted."""


class InstructedRow(Record):
    """An example of a task under an instruction."""

    template: str
    """Name of the instruction; unique over data sets."""
    dataset: str
    """The data set that the example is from."""
    cluster: str
    """The kind of task; clusters are held out whole."""
    license: str = ""
    """Terms of the data set."""
    passage: str
    """What rows share that are made of the same text, under whatever template: the unit of the split."""
    prompt: str = Field(min_length=1)
    """The example under the instruction."""
    completion: str = Field(min_length=1)
    """The right answer."""
    choices: tuple[str, ...] = ()
    """Answers to choose from, the right one among them; none where the answer is free."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        wanted = {"".join(one.split()) for one in self.choices}
        if self.choices and (
            len(wanted) < len(self.choices) or "".join(self.completion.split()) not in wanted
        ):
            raise ValueError("choices are different texts, and the completion is one of them")
        return self


def publish_multitask(
    config: MultitaskConfig, run: Run, *, text: Path | None = None, rows: Sequence[Path] = ()
) -> Artifact:
    """Mix the bundled tasks and the user's; leaves a `demonstrations` artefact, with what was held out beside it.

    Args:
        text: a `pretraining-text` artefact; FairytaleQA's questions on its stories join, each on its story's side.
        rows: more files of `InstructedRow`.

    Raises:
        ConfigError: there is no cluster of a name to hold out.
        DataError: a file cannot be read, or nothing is left to learn from.
    """
    stories = None if text is None else run.input("text", text, "pretraining-text")
    files = [asset("tasks", name) for name in BUNDLED]
    files += [run.input_file(f"rows-{n}", path) for n, path in enumerate(rows, start=1)]
    found = [row for path in files for row in read_records(path, InstructedRow)]
    sides: dict[split.Side, list[InstructedRow]] = {side: [] for side in split.SIDES}
    for row in found:
        sides[split.side_of(row.passage, VALID, TEST)].append(row)
    if stories is not None:
        for side, more in _fairytale_rows(stories, config.seed).items():
            sides[side] += more
    everything = [row for side in split.SIDES for row in sides[side]]
    held_out = [row for row in everything if row.cluster in config.hold_out]
    _check_clusters(config, everything)
    constant = one_answer(everything)
    too_long = 0
    for side, members in sides.items():
        learned = _learned(members, held_out, constant)
        sides[side] = [row for row in learned if _fits(row, config)]
        too_long += len(learned) - len(sides[side])
    mixed = {side: mix(sides[side], config.cap, config.seed, side) for side in split.SIDES}
    for side, chosen in mixed.items():
        if not chosen:
            raise DataError(
                f"nothing is left for '{side}' with {', '.join(config.hold_out)} held out; hold out less"
            )

    def write(folder: Path) -> None:
        for side, chosen in mixed.items():
            write_records(folder / f"{side}.jsonl.gz", demonstrations(chosen))
        if held_out:
            write_records(folder / "held_out.jsonl.gz", held_out)

    facts = {
        "rows": {side: len(chosen) for side, chosen in mixed.items()},
        "clusters": _counts(row.cluster for row in mixed["train"]),
        "data_sets": _counts(row.dataset for row in mixed["train"]),
        "held_out": _counts(row.cluster for row in held_out),
        "left_out_for_one_answer": sorted(constant),
        "left_out_for_length": too_long,
    }
    return run.finish("demonstrations", write, facts)


def one_answer(rows: Iterable[InstructedRow]) -> set[str]:
    """Data sets that have no more than one answer under any template: they teach to say it, whatever is asked."""
    answers: dict[tuple[str, str], set[str]] = {}
    for row in rows:
        answers.setdefault((row.dataset, row.template), set()).add(row.completion.strip())
    several = {dataset for (dataset, _), said in answers.items() if len(said) > 1}
    return {dataset for dataset, _ in answers} - several


def mix(
    rows: Iterable[InstructedRow], cap: int, seed: int, side: split.Side
) -> list[InstructedRow]:
    """Examples-proportional mixing with a cap: every row once, of a data set with more than `cap` rows that many.

    So data sets stand to one another as their sizes do, those over the cap as if they had `cap` rows.
    """
    by_set: dict[str, list[InstructedRow]] = {}
    for row in rows:
        by_set.setdefault(row.dataset, []).append(row)
    chosen: list[InstructedRow] = []
    for name, members in sorted(by_set.items()):
        drawn = np.random.default_rng(derive_seed(seed, "mix", side, name)).permutation(
            len(members)
        )
        chosen += [members[i] for i in sorted(drawn[:cap].tolist())]
    return chosen


def demonstrations(rows: Iterable[InstructedRow]) -> list[Demonstration]:
    """Rows as what SFT reads; the group is the passage, the use case the cluster."""
    found: list[Demonstration] = []
    numbers: dict[str, int] = {}
    for row in rows:
        numbers[row.template] = number = numbers.get(row.template, 0) + 1
        prompt = Prompt(
            id=f"{row.template}:{number}",
            text=row.prompt,
            group=row.passage,
            source=row.dataset,
            use_case=row.cluster,
        )
        found.append(
            Demonstration(
                prompt=prompt,
                response=row.completion,
                labeler="annotator",
                instructions="templated",
            )
        )
    return found


def question_rows(questions: Iterable[Question], seed: int) -> list[InstructedRow]:
    """FairytaleQA's questions, each under one template drawn by the seed and the question's id."""
    found: list[InstructedRow] = []
    templates = (*_QUESTION, *_INVERTED)
    for one in questions:
        number = int(
            np.random.default_rng(derive_seed(seed, "template", one.id)).integers(len(templates))
        )
        is_inverted = number >= len(_QUESTION)
        asked = templates[number].format(
            context=one.context, question=one.question, answer=one.answer
        )
        found.append(
            InstructedRow(
                template=f"{FAIRYTALE}_{number + 1}",
                dataset=FAIRYTALE,
                cluster="reading",
                license="Apache-2.0",
                passage=f"{FAIRYTALE}/{one.group}",
                prompt=asked,
                completion=one.question if is_inverted else one.answer,
            )
        )
    return found


def _fairytale_rows(stories: Artifact, seed: int) -> dict[split.Side, list[InstructedRow]]:
    sides = {side: read_records(stories.file(f"{side}.jsonl.gz"), Text) for side in split.SIDES}
    found: dict[split.Side, list[InstructedRow]] = {}
    for at, side in enumerate(split.SIDES):
        held_out = [one for other in split.SIDES[at + 1 :] for one in sides[other]]
        questions = [
            question
            for name in ("fairytale_qa_train", "fairytale_qa_val")
            for question in questions_about(
                asset("stories", f"{name}.jsonl.gz"), sides[side], held_out=held_out
            )
        ]
        found[side] = question_rows(questions, seed)
    return found


def _learned(
    rows: Iterable[InstructedRow], held_out: Iterable[InstructedRow], constant: set[str]
) -> list[InstructedRow]:
    """Without what is held out, its passages under other clusters, and data sets of one answer."""
    shown = {row.passage for row in held_out}
    return [row for row in rows if row.passage not in shown and row.dataset not in constant]


def _fits(row: InstructedRow, config: MultitaskConfig) -> bool:
    return config.max_answer is None or len(row.completion) <= config.max_answer


def _check_clusters(config: MultitaskConfig, rows: Iterable[InstructedRow]) -> None:
    known = sorted({row.cluster for row in rows})
    for name in config.hold_out:
        if name not in known:
            raise ConfigError(
                f"hold_out: there is no cluster '{name}'; the clusters are {', '.join(known)}"
            )


def _counts(names: Iterable[str]) -> Mapping[str, int]:
    found: dict[str, int] = {}
    for name in names:
        found[name] = found.get(name, 0) + 1
    return dict(sorted(found.items()))
