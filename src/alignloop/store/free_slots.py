"""The slot that is handed out next: one that is open, or one whose lease ran out, in the order of the queue.

Every task gets its first label before any gets its second. What somebody else is about to take is passed over.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from sqlalchemy import Connection, Executable, Row, and_, bindparam, exists, or_, select, update

from alignloop.store.schema import assignments, slots, tasks

Slot = Row[int, int, int, int | None]
"""task_id, slot_no, place, assignee_id."""

_RAN_OUT = and_(slots.c.state == "leased", slots.c.lease_until <= bindparam("now"))
_SLOT = select(slots.c.task_id, slots.c.slot_no, slots.c.place, slots.c.assignee_id)
_IN_QUEUE = (
    _SLOT.join(tasks, tasks.c.id == slots.c.task_id)
    .where(
        slots.c.campaign_id == bindparam("campaign_id"),
        tasks.c.state == "open",
        ~exists().where(
            assignments.c.task_id == slots.c.task_id,
            assignments.c.user_id == bindparam("user_id"),
        ),
    )
    .order_by(slots.c.slot_no, slots.c.place)
    .limit(1)
    .with_for_update(of=slots, skip_locked=True)
)
# Two statements: each finds its first slot by the index, where one for both would sort the whole queue.
_OPEN_IN_QUEUE = _IN_QUEUE.where(slots.c.state == "open")
_RAN_OUT_IN_QUEUE = _IN_QUEUE.where(_RAN_OUT).offset(bindparam("after"))
_FREE_OF_TASK = (
    _SLOT.where(slots.c.task_id == bindparam("task_id"), or_(slots.c.state == "open", _RAN_OUT))
    .order_by(slots.c.slot_no)
    .limit(1)
    .offset(bindparam("after"))
    .with_for_update(skip_locked=True)
)
_OWNER = (
    select(assignments.c.id)
    .where(
        assignments.c.task_id == bindparam("task_id"), assignments.c.user_id == bindparam("user_id")
    )
    .with_for_update(skip_locked=True)
)


def next_slot(connection: Connection, **told: int) -> Slot | None:
    """The first free slot of a campaign, this transaction's now; whose lease on it ran out has lost it."""
    first = connection.execute(_OPEN_IN_QUEUE, told).first()
    for found in _each(connection, _RAN_OUT_IN_QUEUE, told):
        if first is not None and (found.slot_no, found.place) > (first.slot_no, first.place):
            break
        if _release(connection, found.task_id, found.assignee_id):
            return found
    return first


def free_slot(connection: Connection, **told: int) -> Slot | None:
    """The first free slot of a task, in the same way."""
    for found in _each(connection, _FREE_OF_TASK, told):
        if found.assignee_id is None or _release(connection, found.task_id, found.assignee_id):
            return found
    return None


def _each(connection: Connection, query: Executable, told: dict[str, int]) -> Iterator[Slot]:
    """One after the other, each locked: where its owner is at work on it just now, the next is looked at."""
    for after in itertools.count():
        found = connection.execute(query, {**told, "after": after}).first()
        if found is None:
            return
        yield found


def _release(connection: Connection, task_id: int, user_id: int) -> bool:
    """A slot is taken over: the assignment stays in its owner's hands, without it. False where they are at it."""
    told = {"task_id": task_id, "user_id": user_id}
    owner = connection.execute(_OWNER, told).scalar_one_or_none()
    if owner is None:
        return False
    connection.execute(update(assignments).where(assignments.c.id == owner).values(slot_no=None))
    return True
