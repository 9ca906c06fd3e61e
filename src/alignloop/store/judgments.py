"""The one path by which a judgment gets in: a person's from the web, a simulated labeler's from code.

One transaction writes the submission, what it says, the slot and the log's entry; the database's guards check it on the
way to `final`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, Table, func, select, update

from alignloop.errors import ConflictError, JudgmentError
from alignloop.store import events
from alignloop.store.people import User, new_public_id
from alignloop.store.queue import Assignment, get_assignment, note_time, retake_slot
from alignloop.store.schema import (
    assignments,
    demonstrations,
    drafts,
    flag_values,
    rank_entries,
    ratings,
    slots,
    submissions,
    toxicity_ratings,
    votes,
    written_prompts,
)


@dataclass(frozen=True, slots=True)
class WrittenDemonstration:
    """A response that a labeler wrote; in a dialogue, the turns between the prompt and it too."""

    text: str
    turns: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class WrittenPrompt:
    """A prompt that a labeler wrote."""

    text: str
    kind: str
    examples: tuple[tuple[str, str], ...] = ()
    use_case: str = ""
    prompt_id: int | None = None
    """The prompt that it became; None where the same one was there."""


@dataclass(frozen=True, slots=True)
class Rating:
    """Screen (a) for one output: Likert 1 (worst) to 7 (best), and yes or no for every flag."""

    likert: int
    flags: Mapping[str, bool]
    notes: str = ""


@dataclass(frozen=True, slots=True)
class RankedOutputs:
    """Screens (a) and (b): item -> rank group, 1 the best, equal ones tied, None not rankable; and the ratings."""

    groups: Mapping[int, int | None]
    ratings: Mapping[int, Rating]


@dataclass(frozen=True, slots=True)
class Vote:
    """Which of two answers is better, whichever side it stood on."""

    verdict: Literal["item_1", "item_2", "tie", "both_bad"]
    left_item: int
    margin: int | None = None
    """1 slightly, 2 clearly, 3 far better; None where nobody won or nobody asked."""
    names_itself: bool = False


@dataclass(frozen=True, slots=True)
class Toxicity:
    """The RealToxicity task (Fig. 11) for one output."""

    toxicity: int
    """0 none, 1 somewhat, 2 very."""
    relative: int
    """To the input: -1 less, 0 as, 1 more toxic."""
    continuity: int
    """1 does not go on from the input at all, 4 somewhat, 7 perfectly."""


Answer = WrittenDemonstration | WrittenPrompt | RankedOutputs | Vote | Mapping[int, Toxicity]


@dataclass(frozen=True, slots=True)
class Submitted:
    """What became of a submission."""

    public_id: str
    revision: int
    state: Literal["final", "late"]
    """`late`: another tab had submitted something else before; this one is kept beside it."""
    is_surplus: bool
    """The lease had run out and somebody else has the slot; the work counts, and is kept apart."""
    was_there: bool = False
    """The same click came twice."""


def submit(
    connection: Connection,
    now: int,
    user: User,
    assignment_id: str,
    answer: Answer,
    *,
    client_uuid: str,
    payload: Mapping[str, Any] | None = None,
    comment: str = "",
    active_ms: int = 0,
    idle_ms: int = 0,
    first_input_ms: int | None = None,
) -> Submitted:
    """Take in a judgment. It is final when the transaction ends, and never refused for being late.

    Args:
        assignment_id: the public id of an assignment of this user's.
        client_uuid: made once per attempt to submit: the same one again is the same submission.
        payload: the form as it was sent, for undo.

    Raises:
        JudgmentError: it is not theirs, or it is incomplete (from here, or from the database's guards).
        ConflictError: the client's id was used for another assignment.
    """
    assignment = get_assignment(connection, user, assignment_id, to_change=True)
    again = connection.execute(
        select(submissions).where(submissions.c.client_uuid == client_uuid)
    ).first()
    if again is not None:
        if again.assignment_id != assignment.id:
            raise ConflictError("this submission was made for another task")
        return Submitted(again.public_id, again.revision, again.state, again.is_surplus, True)
    last = connection.execute(
        select(func.coalesce(func.max(submissions.c.revision), 0)).where(
            submissions.c.assignment_id == assignment.id
        )
    ).scalar_one()
    before = connection.execute(
        select(submissions.c.id).where(
            submissions.c.assignment_id == assignment.id, submissions.c.state == "final"
        )
    ).scalar_one_or_none()
    is_late = before is not None and assignment.state == "submitted"
    is_surplus = False if is_late else _settle_slot(connection, now, assignment)
    if before is not None and not is_late:
        connection.execute(
            update(submissions).where(submissions.c.id == before).values(state="superseded")
        )
    public_id = new_public_id()
    submission = connection.execute(
        submissions.insert()
        .values(
            public_id=public_id,
            assignment_id=assignment.id,
            revision=last + 1,
            supersedes_id=None if is_late else before,
            client_uuid=client_uuid,
            state="late" if is_late else "building",
            is_surplus=is_surplus,
            payload=dict(payload or {}),
            comment=comment,
            active_ms=max(active_ms, assignment.active_ms),
            idle_ms=max(idle_ms, assignment.idle_ms),
            submitted_at=now,
        )
        .returning(submissions.c.id)
    ).scalar_one()
    said_in: list[Table] = []
    if not is_late:
        for table, rows in _rows(submission, answer):
            if rows:
                connection.execute(table.insert(), rows)
                said_in.append(table)
        connection.execute(
            update(submissions).where(submissions.c.id == submission).values(state="final")
        )
        connection.execute(
            update(assignments)
            .where(assignments.c.id == assignment.id)
            .values(state="submitted", skip_reason=None)
        )
        connection.execute(drafts.delete().where(drafts.c.assignment_id == assignment.id))
        note_time(connection, assignment, active_ms, idle_ms, first_input_ms)
    events.append(
        connection,
        now,
        user.public_id,
        "submit",
        public_id,
        assignment=assignment_id,
        revision=last + 1,
        sha256=events.digest_of_submission(connection, submission, said_in),
    )
    return Submitted(public_id, last + 1, "late" if is_late else "final", is_surplus)


def _settle_slot(connection: Connection, now: int, assignment: Assignment) -> bool:
    """Mark the slot done; whether there is none left, so that the work is surplus."""
    slot_no = assignment.slot_no
    if slot_no is None:
        slot_no = retake_slot(connection, now, assignment)
        if slot_no is None:
            return True
        connection.execute(
            update(assignments).where(assignments.c.id == assignment.id).values(slot_no=slot_no)
        )
    connection.execute(
        update(slots)
        .where(slots.c.task_id == assignment.task_id, slots.c.slot_no == slot_no)
        .values(state="done", assignee_id=assignment.user_id, lease_until=None)
    )
    return False


def _rows(submission: int, answer: Answer) -> Iterator[tuple[Table, list[dict[str, Any]]]]:
    """What to write where."""
    of: dict[str, Any] = {"submission_id": submission}
    match answer:
        case WrittenDemonstration():
            if not answer.text.strip():
                raise JudgmentError("the response is empty")
            turns = [list(turn) for turn in answer.turns]
            yield demonstrations, [{**of, "text": answer.text, "turns": turns}]
        case WrittenPrompt():
            if not answer.text.strip():
                raise JudgmentError("the prompt is empty")
            yield (
                written_prompts,
                [
                    {
                        **of,
                        "prompt_id": answer.prompt_id,
                        "kind": answer.kind,
                        "text": answer.text,
                        "examples": [list(pair) for pair in answer.examples],
                        "use_case": answer.use_case,
                    }
                ],
            )
        case RankedOutputs():
            rated = answer.ratings.items()
            yield (
                ratings,
                [
                    {**of, "item_no": item, "likert": rating.likert, "notes": rating.notes}
                    for item, rating in rated
                ],
            )
            yield (
                flag_values,
                [
                    {**of, "item_no": item, "flag_key": key, "value": value}
                    for item, rating in rated
                    for key, value in rating.flags.items()
                ],
            )
            yield (
                rank_entries,
                [
                    {**of, "item_no": item, "rank_group": group}
                    for item, group in answer.groups.items()
                ],
            )
        case Vote():
            yield (
                votes,
                [
                    {
                        **of,
                        "verdict": answer.verdict,
                        "margin": answer.margin,
                        "left_item": answer.left_item,
                        "names_itself": answer.names_itself,
                    }
                ],
            )
        case _:
            yield (
                toxicity_ratings,
                [
                    {
                        **of,
                        "item_no": item,
                        "toxicity": rating.toxicity,
                        "relative": rating.relative,
                        "continuity": rating.continuity,
                    }
                    for item, rating in answer.items()
                ],
            )
