"""The one path by which a judgment gets in: a person's from the web, a simulated labeler's from code.

One transaction writes the submission, what it says, the slot and the log's entry; the database's guards check it on the
way to `final`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, Table, bindparam, select, update

from alignloop.errors import ConflictError, JudgmentError
from alignloop.store import events
from alignloop.store.drafts import note_time
from alignloop.store.people import User, in_line, new_public_id
from alignloop.store.queue import Assignment, get_assignment, retake_slot
from alignloop.store.schema import (
    ANSWER_TABLES,
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

# The path of every judgment: put together once.
_BY_UUID = select(submissions).where(submissions.c.client_uuid == bindparam("client_uuid"))
_EARLIER = select(submissions.c.id, submissions.c.revision, submissions.c.state).where(
    submissions.c.assignment_id == bindparam("assignment_id")
)
_SUPERSEDE = (
    update(submissions).where(submissions.c.id == bindparam("b_id")).values(state="superseded")
)
_NEW = submissions.insert().returning(submissions.c.id)
_FINISH = update(submissions).where(submissions.c.id == bindparam("b_id")).values(state="final")
_SUBMITTED = (
    update(assignments)
    .where(assignments.c.id == bindparam("b_id"))
    .values(state="submitted", skip_reason=None)
)
_NO_DRAFT = drafts.delete().where(drafts.c.assignment_id == bindparam("assignment_id"))
_INSERT = {table.name: table.insert() for table in ANSWER_TABLES}
_SLOT_DONE = (
    update(slots)
    .where(slots.c.task_id == bindparam("b_task"), slots.c.slot_no == bindparam("b_slot"))
    .values(state="done", assignee_id=bindparam("b_user"), lease_until=None)
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
    in_line(connection, user)
    assignment = get_assignment(connection, user, assignment_id, to_change=True)
    again = find_submission(connection, client_uuid)
    if again is not None:
        if again.assignment_id != assignment.id:
            raise ConflictError("this submission was made for another task")
        return Submitted(again.public_id, again.revision, again.state, again.is_surplus, True)
    earlier = connection.execute(_EARLIER, {"assignment_id": assignment.id}).all()
    last = max((row.revision for row in earlier), default=0)
    before = next((row.id for row in earlier if row.state == "final"), None)
    is_late = before is not None and assignment.state == "submitted"
    is_surplus = False if is_late else _settle_slot(connection, now, assignment)
    if before is not None and not is_late:
        connection.execute(_SUPERSEDE, {"b_id": before})
    public_id = new_public_id()
    submission = connection.execute(
        _NEW,
        {
            "public_id": public_id,
            "assignment_id": assignment.id,
            "revision": last + 1,
            "supersedes_id": None if is_late else before,
            "client_uuid": client_uuid,
            "state": "late" if is_late else "building",
            "is_surplus": is_surplus,
            "payload": dict(payload or {}),
            "comment": comment,
            "active_ms": max(active_ms, assignment.active_ms),
            "idle_ms": max(idle_ms, assignment.idle_ms),
            "submitted_at": now,
        },
    ).scalar_one()
    said_in: list[Table] = []
    if not is_late:
        for table, rows in _rows(submission, answer):
            if rows:
                connection.execute(_INSERT[table.name], rows)
                said_in.append(table)
        connection.execute(_FINISH, {"b_id": submission})
        connection.execute(_SUBMITTED, {"b_id": assignment.id})
        connection.execute(_NO_DRAFT, {"assignment_id": assignment.id})
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


def find_submission(connection: Connection, client_uuid: str) -> Any:
    """The submission that this attempt brought, if it got here."""
    return connection.execute(_BY_UUID, {"client_uuid": client_uuid}).first()


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
    told = {"b_task": assignment.task_id, "b_slot": slot_no, "b_user": assignment.user_id}
    connection.execute(_SLOT_DONE, told)
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
