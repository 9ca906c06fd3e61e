"""A project's prompts as the records that trainers read, each on its side, and why others stay behind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection

from alignloop.data.curation.demonstrations import check_demonstrations
from alignloop.data.curation.lengths import CountTokens
from alignloop.data.records import Completion, Demonstration, Prompt, Ranking, Record
from alignloop.data.split import draw
from alignloop.store import prompt_figures
from alignloop.store.prompts import is_record, is_withheld, prompt_record
from alignloop.workflow.prompts.asking import (
    Given,
    Sets,
    asked_with_examples,
    comparison,
    demonstration,
    demonstrations,
    few_shot_id,
    given_of,
    to_answer,
    transcript,
)
from alignloop.workflow.prompts.config import PromptsExportConfig
from alignloop.workflow.prompts.tally import source_of

FILES = {
    "prompts": ("rankings", "rl", "valid", "test"),
    "demonstrations": ("train", "valid", "test"),
    "rankings": ("train", "valid"),
}
"""Kind -> the files of the artefact."""
MOST_RANKED = 9
"""Answers of one ranking; the paper's have 4 to 9."""
FORMS = {"demonstrations": ("demonstrate",), "rankings": ("rank", "compare")}
"""What a prompt may have been labeled for, as campaigns call it."""


@dataclass(slots=True)
class Leaving:
    """One pass over the store: records with their files, and the counts of those that stay."""

    connection: Connection
    config: PromptsExportConfig
    count_tokens: CountTokens
    left_out: Counter[str] = field(default_factory=Counter[str])
    """Reason -> prompts, demonstrations or rankings."""

    def __iter__(self) -> Iterator[tuple[str, int, Record]]:
        """(file, id of the prompt's row, record) in the order in which the prompts came."""
        match self.config.kind:
            case "prompts":
                return self._prompts()
            case "demonstrations":
                return self._fit(self._demonstrations())
            case "rankings":
                return self._rankings()

    def _each(self) -> Iterator[tuple[Any, list[list[Given]]]]:
        rows = prompt_figures.each_with_answers(self.connection, kinds=self.config.sources)
        for row, answers in rows:
            if not is_record(row):  # else it came from an artefact, and is there
                yield row, [given_of(one) for one in answers]

    def _may_leave(self, row: Any) -> bool:
        """A prompt with personal data never does from the training side; one that does not is counted."""
        if is_withheld(row) or (row.pii and not self.config.flagged):
            self.left_out["personal_data"] += 1
            return False
        return True

    def _prompts(self) -> Iterator[tuple[str, int, Record]]:
        labeled = {
            what: prompt_figures.labeled(self.connection, FORMS[what])
            for what in self.config.exclude
        }
        for row, answers in self._each():
            if not self._may_leave(row):
                continue
            file = self._file(row)
            if file == "rl" and (seen := self._seen(row, answers, labeled)):
                self.left_out[f"rl_with_{seen}"] += 1
                continue
            yield file, row.id, to_answer(row, prompt_record(row))

    def _file(self, row: Any) -> str:
        if row.split != "train":
            return row.split
        if source_of(row.kind) == "labeler" and not self.config.labelers_in_rl:
            return "rankings"
        return "rankings" if draw("purpose", row.author) < self.config.rankings else "rl"

    def _seen(
        self, row: Any, answers: Sequence[Sequence[Given]], labeled: dict[str, set[int]]
    ) -> str | None:
        """Which earlier stage may have seen a prompt."""
        for what in self.config.exclude:
            came_along = (
                bool(row.examples) or any(map(demonstration, answers))
                if what == "demonstrations"
                else any(map(comparison, answers))
            )
            if came_along or row.id in labeled[what]:
                return what
        return None

    def _demonstrations(self) -> Iterator[tuple[str, int, Demonstration]]:
        config = self.config
        sets = Sets(config.few_shot_sets, config.few_shot_size, config.seed)
        for row, answers in self._each():
            teaches = bool(row.examples) or any(map(demonstration, answers))
            if not teaches or not self._may_leave(row):
                continue
            record = prompt_record(row)
            for shown in demonstrations(row, answers, sets):
                if shown.model and not config.model_answers:
                    self.left_out["by_models"] += 1
                    continue
                changed: dict[str, Any] = {"text": shown.text}
                if shown.number:
                    changed["id"] = few_shot_id(record.id, shown.number)
                prompt = record.model_copy(update=changed) if row.examples else record
                told = Demonstration(prompt=prompt, response=shown.response, labeler=shown.labeler)
                yield row.split, row.id, told

    def _fit(
        self, found: Iterator[tuple[str, int, Demonstration]]
    ) -> Iterator[tuple[str, int, Record]]:
        """Those without a fault. All of one prompt are looked at together, and no two prompts are the same."""
        for block in _by_prompt(found):
            pairs = [(_whole(one.prompt), one.response) for _, _, one in block]
            checks = check_demonstrations(
                pairs, max_tokens=self.config.max_tokens, count_tokens=self.count_tokens
            )
            for one, fault in zip(block, checks.faults, strict=True):
                if fault is None:
                    yield one
                else:
                    self.left_out[fault] += 1

    def _rankings(self) -> Iterator[tuple[str, int, Record]]:
        for row, answers in self._each():
            all_compared = [one for one in map(comparison, answers) if one]
            if not all_compared or not self._may_leave(row):
                continue
            for compared in all_compared:
                ranked = [(one, rank) for one, rank in compared if one.text.strip()]
                if row.split == "test":  # a reward model never learns from whom it is judged on
                    self.left_out["test"] += 1
                elif not 2 <= len(ranked) <= MOST_RANKED:
                    self.left_out["too_few" if len(ranked) < 2 else "too_many"] += 1
                else:
                    yield row.split, row.id, self._ranking(row, ranked)

    def _ranking(self, row: Any, ranked: Sequence[tuple[Given, int]]) -> Ranking:
        record = prompt_record(row)
        if row.examples:
            record = record.model_copy(update={"text": asked_with_examples(row)})
        lengths = self.count_tokens([one.text for one, _ in ranked])
        return Ranking(
            prompt=record,
            completions=tuple(
                Completion(text=one.text, model=one.model, finished=True, tokens=tokens + 1)
                for (one, _), tokens in zip(ranked, lengths, strict=True)
            ),
            ranks=tuple(rank for _, rank in ranked),
            labeler=ranked[0][0].labeler,
        )


_AT_ONCE = 512


def _by_prompt(
    found: Iterable[tuple[str, int, Demonstration]],
) -> Iterator[list[tuple[str, int, Demonstration]]]:
    """Blocks of some hundred, none of which ends amid a prompt."""
    block: list[tuple[str, int, Demonstration]] = []
    for one in found:
        if len(block) >= _AT_ONCE and block[-1][1] != one[1]:
            yield block
            block = []
        block.append(one)
    if block:
        yield block


def _whole(prompt: Prompt) -> str:
    return transcript([(turn.role, turn.text) for turn in prompt.history], prompt.text)
