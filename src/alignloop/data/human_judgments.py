"""The bundled judgments of people: five public data sets as rankings, split by who asked. Torch-free.

Sources, licences and what was changed are in THIRD_PARTY.md. Answers keep their whole text here;
`alignloop.data.cutting` fits them to a model's context.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from alignloop.data.jsonl import read_objects
from alignloop.data.records import Completion, Prompt, Ranking, Turn
from alignloop.data.split import SIDES, Side
from alignloop.errors import DataError

VALID_SHARE, TEST_SHARE = 0.15, 0.25
"""Shares of the groups that are held out."""

_Row = dict[str, Any]
_Found = Ranking | str
"""A ranking, or why there is none."""


@dataclass(frozen=True, slots=True)
class Judgments:
    """One data set."""

    rankings: list[Ranking]
    left_out: dict[str, int]
    """Why -> number of rankings."""


def read_judgments(name: str, folder: Path) -> Judgments:
    """Read one of `JUDGMENTS` from its file in `folder`.

    Raises:
        DataError: there is no such data set or file, a row lacks a field, or no ranking is left.
    """
    if name not in JUDGMENTS:
        raise DataError(
            f"no data set '{name}' of human judgments; there are {', '.join(JUDGMENTS)}"
        )
    path = folder / f"{name}.jsonl.gz"
    rankings: list[Ranking] = []
    left_out = Counter[str]()
    rows = list(read_objects(path))
    newest = {_question(row): number for number, row in rows}
    for number, row in rows:
        try:
            for found in JUDGMENTS[name](row):
                if isinstance(found, str):
                    left_out[found] += 1
                elif any(not c.text.strip() for c in found.completions):
                    left_out["an answer is empty"] += 1
                elif newest[_question(row)] != number:
                    left_out["an older copy of the question"] += 1
                else:
                    rankings.append(found)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise DataError(f"{path}, line {number}: not a row of '{name}' ({error!r})") from None
    if not rankings:
        raise DataError(f"{path}: no ranking is left")
    return Judgments(rankings, dict(sorted(left_out.items())))


def split_judgments(
    rankings: Sequence[Ranking], valid: float = VALID_SHARE, test: float = TEST_SHARE
) -> dict[Side, list[Ranking]]:
    """The rankings of each side: groups in the order of a hash, the first share of them for test, the next for valid.

    Unlike a threshold on the hash this gives each side its share even of sixteen groups. Each side gets one at least.

    Raises:
        DataError: there are fewer than three groups.
    """
    groups = sorted(
        {ranking.prompt.group for ranking in rankings},
        key=lambda group: hashlib.sha256(group.encode()).digest(),
    )
    if len(groups) < len(SIDES):
        raise DataError(f"{len(groups)} groups of prompts do not make three sides; give more")
    tested = max(round(test * len(groups)), 1)
    validated = max(round(valid * len(groups)), 1)
    validated = min(validated, len(groups) - tested - 1)
    side_of: dict[str, Side] = {
        group: "test" if at < tested else "valid" if at < tested + validated else "train"
        for at, group in enumerate(groups)
    }
    sides: dict[Side, list[Ranking]] = {side: [] for side in SIDES}
    for ranking in rankings:
        sides[side_of[ranking.prompt.group]].append(ranking)
    return sides


# --- the five data sets ---


def _hh_harmless(row: _Row) -> Iterator[_Found]:
    """Two answers, one chosen, to the last message of a conversation; conversations with one opening form a group."""
    if not row["well_formed"]:
        yield "malformed at the source"
        return
    prompt = _conversation(str(row["id"]), "hh_harmless", row["prompt"], "human")
    if prompt is None:
        yield "speakers do not take turns"
        return
    answers = [(str(row[side]), "assistant") for side in ("chosen", "rejected")]
    # In a fixed order the chosen one would stand first, and a tie in the scores would look like knowledge.
    flipped = hashlib.sha256(prompt.id.encode()).digest()[0] % 2
    order = (1, 0) if flipped else (0, 1)
    yield _ranking(
        prompt, [answers[i] for i in order], [i + 1 for i in order], "hh_harmless/crowd worker"
    )


def _pandalm(row: _Row) -> Iterator[_Found]:
    """Two models' answers, judged by three annotators, who may call a tie: three rankings."""
    text = "\n\n".join(part for part in (row["instruction"], row["input"]) if part.strip())
    prompt = Prompt(
        id=f"pandalm/{row['prompt_id']}",
        text=text,
        group=f"pandalm/{row['instruction']}",
        source="pandalm",
        use_case=row["app"],
    )
    answers = [(str(row[f"response_{side}"]), str(row[f"model_{side}"])) for side in "ab"]
    ranks = {0: [1, 1], 1: [1, 2], 2: [2, 1]}
    for annotator, label in sorted(row["labels"].items()):
        yield _ranking(prompt, answers, ranks[label], f"pandalm/{annotator}")


def _oasst(row: _Row) -> Iterator[_Found]:
    """Up to nine replies to a message; the messages of one tree form a group."""
    prompt = _conversation(
        f"oasst/{row['message_id']}", "oasst", row["prompt"], "prompter", f"oasst/{row['tree']}"
    )
    if prompt is None:
        yield "speakers do not take turns"
        return
    writers = ["model" if is_synthetic else "volunteer" for is_synthetic in row["synthetic"]]
    answers = list(zip(row["candidates"], writers, strict=True))
    yield _ranking(prompt, answers, [rank + 1 for rank in row["rank"]], "oasst/volunteers")


def _stackexchange(row: _Row) -> Iterator[_Found]:
    """Answers to a question, ranked by votes, equal votes being ties; the questions of one asker form a group."""
    asker = f"user/{row['asker_id']}" if row["asker_id"] else _question(row)
    prompt = Prompt(
        id=f"stackexchange/{row['id']}",
        text=row["prompt"],
        group=f"stackexchange/{row['site']}/{asker}",
        source="stackexchange",
        use_case=row["site"],
    )
    votes: list[int] = row["scores"]
    levels = sorted(set(votes), reverse=True)
    answers = [(text, "member") for text in row["candidates"]]
    yield _ranking(prompt, answers, [levels.index(n) + 1 for n in votes], "stackexchange/votes")


def _squality(row: _Row) -> Iterator[_Found]:
    """Three summaries that answer a question on a story, ranked by each of three workers; a story forms a group."""
    prompt = Prompt(
        id=f"squality/{row['passage_id']}/{row['question_index']}",
        text=row["question"],
        group=f"squality/{row['passage_id']}",
        source="squality",
    )
    answers = list(zip(row["responses"], row["systems"], strict=True))
    for worker, judged in sorted(row["workers"].items()):
        yield _ranking(prompt, answers, judged["overall_rank"], f"squality/worker {worker}")


JUDGMENTS: dict[str, Callable[[_Row], Iterator[_Found]]] = {
    "hh_harmless": _hh_harmless,
    "pandalm_3annotators": _pandalm,
    "oasst_rankings": _oasst,
    "stackexchange_rankings": _stackexchange,
    "squality_rankings_workers": _squality,
}
"""File name -> its reader."""


def _question(row: _Row) -> str:
    """What a question has in every snapshot of its site (`site:number`, without the year); else the whole row."""
    return ":".join(str(row["id"]).split(":")[:2]) if "site" in row else str(sorted(row.items()))


def _conversation(
    key: str, source: str, messages: Sequence[_Row], asks: str, group: str = ""
) -> Prompt | None:
    """A prompt with its history; None where user and assistant do not take turns up to the user's last message."""
    turns = [
        Turn(role="user" if one["role"] == asks else "assistant", text=one["text"])
        for one in messages
    ]
    expected = ["user", "assistant"] * (len(turns) // 2) + ["user"]
    if [turn.role for turn in turns] != expected:
        return None
    prompt = Prompt(id=key, text=turns[-1].text, history=tuple(turns[:-1]), source=source)
    opening = hashlib.sha256(turns[0].text.encode()).hexdigest()[:16]
    return prompt.model_copy(update={"group": group or f"{source}/{opening}"})


def _ranking(
    prompt: Prompt, answers: Iterable[tuple[str, str]], ranks: Sequence[int], labeler: str
) -> Ranking:
    """Lengths are in words until a tokenizer is known."""
    completions = tuple(
        Completion(text=text, model=writer, finished=True, tokens=len(text.split()) + 1)
        for text, writer in answers
    )
    return Ranking(
        prompt=prompt, completions=completions, ranks=tuple(cast(Any, ranks)), labeler=labeler
    )
