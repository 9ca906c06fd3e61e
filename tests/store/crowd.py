"""Many hands on one store: a process that works as labelers do, at random, and says what the store told it.

`python -m tests.store.crowd PLACE SEED` reads no clock: each step has a time of its own, and leases run out on the way.
It prints one JSON object: what was acknowledged, and whatever was neither done nor refused by a rule.
"""

from __future__ import annotations

import json
import random
import sys
import threading
import traceback
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, func, select

from alignloop.errors import ConflictError, JudgmentError
from alignloop.store import campaigns, drafts, events, judgments, people, queue
from alignloop.store.campaigns import Campaign
from alignloop.store.database import Store
from alignloop.store.judgments import RankedOutputs
from alignloop.store.people import User
from alignloop.store.queue import Assignment
from alignloop.store.schema import assignments, slots, submissions, tasks

NOW = 1_800_000_000_000
MINUTE = 60_000
STEPS = 60


@dataclass
class Told:
    """What the store said."""

    acknowledged: list[str] = field(default_factory=list)
    """Public ids of submissions."""
    problems: list[str] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)


def work(store: Store, user: User, campaign: Campaign, seed: int, told: Told) -> None:
    """One person's steps, or those of one of their browsers."""
    dice = random.Random(seed)
    mine: list[Assignment] = []
    for step in range(STEPS):
        now = NOW + step * 7 * MINUTE
        try:
            _step(store, user, campaign, now, dice, mine, told)
        except (JudgmentError, ConflictError):
            told.done["refused"] += 1
        except Exception:
            told.problems.append(traceback.format_exc()[-1500:])
            return


def _step(
    store: Store,
    user: User,
    campaign: Campaign,
    now: int,
    dice: random.Random,
    mine: list[Assignment],
    told: Told,
) -> None:
    verb = dice.choice(["claim", "claim", "submit", "submit", "submit", "draft", "reopen", "skip"])
    if verb == "claim":
        with store.write() as connection:
            found = queue.claim(connection, now, user, campaign)
        if found is not None:
            mine.append(found)
            told.done[verb] += 1
        return
    if not mine:
        return
    chosen = dice.choice(mine[-4:])
    if verb == "submit":
        _submit(store, user, campaign, now, dice, chosen, mine, told)
    elif verb == "draft":
        with store.write() as connection:
            there = drafts.draft_of(connection, chosen)
            rev = 0 if there is None else there.rev
            drafts.save_draft(connection, now, user, chosen.public_id, {"at": now}, rev=rev)
    elif verb == "reopen":
        with store.write() as connection:
            queue.reopen(connection, now, user, chosen.public_id)
    else:
        with store.write() as connection:
            queue.skip(connection, now, user, chosen.public_id, "unclear")
    told.done[verb] += 1


def _submit(
    store: Store,
    user: User,
    campaign: Campaign,
    now: int,
    dice: random.Random,
    chosen: Assignment,
    mine: list[Assignment],
    told: Told,
) -> None:
    """Hand in and take the next task, in one transaction; at times with the same click again."""
    click = f"{chosen.public_id}/{dice.random()}"
    groups = _ranking(dice, len(chosen.display_order))
    for _ in range(dice.choice([1, 1, 2])):
        with store.write() as connection:
            done = judgments.submit(
                connection,
                now,
                user,
                chosen.public_id,
                RankedOutputs(groups, {}),
                client_uuid=click,
                payload={"groups": list(groups.values())},
            )
            following = queue.claim(connection, now, user, campaign)
        told.acknowledged.append(done.public_id)
        if following is not None:
            mine.append(following)
    told.done["submit"] += 1


def _ranking(dice: random.Random, count: int) -> dict[int, int | None]:
    drawn = [dice.randint(1, count) for _ in range(count)]
    ranks = {rank: at for at, rank in enumerate(sorted(set(drawn)), start=1)}
    return {item: ranks[rank] for item, rank in enumerate(drawn, start=1)}


def crowd(place: str, seed: int) -> Told:
    """Everybody in the store at once, each in two browsers."""
    store, told = Store.open(place), Told()
    try:
        with store.read() as connection:
            everybody = people.all_users(connection, "labeler")
            [campaign] = campaigns.all_campaigns(connection)
        threads = [
            threading.Thread(target=work, args=[store, user, campaign, seed * 100 + number, told])
            for number, user in enumerate([*everybody, *everybody])
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        store.close()
    return told


# --- what has to be true afterwards -----------------------------------------------------------------------------


def problems_of(connection: Connection, acknowledged: list[str]) -> list[str]:
    """What is lost, doubled or half done."""
    found: list[str] = []
    states: dict[str, str] = {
        row.public_id: row.state
        for row in connection.execute(select(submissions.c.public_id, submissions.c.state))
    }
    found += [f"{name} was acknowledged and is gone" for name in acknowledged if name not in states]
    found += [f"{name} is {state}" for name, state in states.items() if state == "building"]
    found += [f"{name} was never acknowledged" for name in set(states) - set(acknowledged)]
    final = (submissions.c.state == "final", submissions.c.is_surplus.is_(False))
    rows = connection.execute(
        select(
            assignments.c.task_id,
            assignments.c.user_id,
            assignments.c.slot_no,
            assignments.c.state,
            select(func.count())
            .where(submissions.c.assignment_id == assignments.c.id, *final)
            .scalar_subquery()
            .label("finals"),
        )
    ).all()
    holders: dict[tuple[int, int], Any] = {}
    finals: Counter[int] = Counter()
    for row in rows:
        finals[row.task_id] += row.finals
        if row.slot_no is not None:
            if (row.task_id, row.slot_no) in holders:
                found.append(f"slot {row.slot_no} of task {row.task_id} has two holders")
            holders[row.task_id, row.slot_no] = row
    wanted = Counter[int]()
    for slot in connection.execute(select(slots)):
        wanted[slot.task_id] += 1
        holder = holders.get((slot.task_id, slot.slot_no))
        held = None if holder is None else holder.user_id
        if held != slot.assignee_id:
            found.append(f"{slot} is held by {holder}")
        elif slot.state == "done" and holder.finals != 1:
            found.append(f"{slot} is done without a label: {holder}")
        elif slot.state == "leased" and (holder.finals or holder.state != "open"):
            found.append(f"{slot} is leased by {holder}")
    found += [
        f"task {task} has {count} labels for {wanted[task]} slots"
        for task, count in finals.items()
        if count > wanted[task]
    ]
    found += [finding.problem for finding in events.audit(connection).findings]
    return found


def count_tasks(connection: Connection) -> int:
    """How many there are."""
    return connection.execute(select(func.count()).select_from(tasks)).scalar_one()


if __name__ == "__main__":
    result = crowd(sys.argv[1], int(sys.argv[2]))
    print(
        json.dumps(
            {
                "acknowledged": result.acknowledged,
                "problems": result.problems,
                "done": dict(result.done),
            }
        )
    )
