"""What becomes of a candidate that is not kept: a line for people. Those that are kept go to `store.curation`."""

from __future__ import annotations

from typing import Any

from alignloop.data.curation.outcomes import Dropped
from alignloop.data.incoming import Candidate, Rejected
from alignloop.store.prompts import NewPrompt


def as_plain(prompt: NewPrompt) -> tuple[Any, ...]:
    """The prompt as plain values, which are quick to write down; `NewPrompt(*values)` brings it back."""
    return (
        *(prompt.author, prompt.split, prompt.kind, prompt.text, prompt.text_digest),
        *(prompt.prefix_digest, prompt.history, prompt.examples, prompt.use_case),
        *(prompt.language, prompt.annotations, prompt.details, prompt.tokens, prompt.consent),
        *(prompt.counted_for, prompt.pii, prompt.answers),
    )


def dropped_line(dropped: Dropped, file: str) -> dict[str, Any]:
    """A line of `dropped/REASON.jsonl`. What stands under `row` can be imported again, alone."""
    one = dropped.candidate
    line: dict[str, Any] = {
        "file": file,
        "line": one.place.line,
        "reason": dropped.reason,
        "detail": dropped.detail,
    }
    if dropped.reason == "exact_duplicate" and dropped.digest is not None:
        line["prompt"] = f"prompt-{dropped.digest.hex()[:16]}"
    return line | {"row": row_of(one)}


def rejected_line(rejected: Rejected, file: str) -> dict[str, Any]:
    """A line of `rejected.jsonl`."""
    return {
        "file": file,
        "line": rejected.place.line,
        "reason": rejected.reason,
        "raw": rejected.raw,
    }


def row_of(one: Candidate) -> dict[str, Any]:
    """A candidate as a row in the shape `plain` or `ranked`, which read it back as it was."""
    row: dict[str, Any] = {"text": one.text, "kind": one.kind}
    if one.history:
        row["history"] = [{"role": role, "text": text} for role, text in one.history]
    if one.examples:
        row["examples"] = [{"input": asked, "output": said} for asked, said in one.examples]
    row |= {
        name: value
        for name, value in (
            ("user", one.user),
            ("organization", one.organization),
            ("use_case", one.use_case),
            ("language", one.language),
            ("annotations", list(one.annotations)),
            ("labeler", one.labeler),
        )
        if value
    }
    if one.consent is not None:
        row["consent"] = one.consent
    return row | _answers(one)


def _answers(one: Candidate) -> dict[str, Any]:
    if len(one.answers) == 1:
        [answer] = one.answers
        return {"response": answer.text} | ({"model": answer.model} if answer.model else {})
    if not one.answers:
        return {}
    row: dict[str, Any] = {"candidates": [answer.text for answer in one.answers]}
    if all(answer.rank is not None for answer in one.answers):
        row["ranks"] = [answer.rank for answer in one.answers]
    if any(answer.model for answer in one.answers):
        row["models"] = [answer.model for answer in one.answers]
    return row
