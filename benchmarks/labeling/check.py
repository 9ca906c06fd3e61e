"""What the store holds after a load, against what the server said while it ran."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from sqlalchemy import select

from alignloop.store import events
from alignloop.store.schema import assignments, rank_entries, slots, submissions
from benchmarks.labeling.lab import Lab, open_store
from benchmarks.labeling.people import Log


@dataclass(frozen=True, slots=True)
class Verdict:
    """All of these are zero where nothing was lost and nothing doubled."""

    lost: int
    """Submissions that were acknowledged and are not there, or say something else."""
    doubled: int
    """Assignments with more than one final submission, tasks with more labels than slots, labelers twice on a task."""
    broken: int
    """Entries that the audit of the log complains of."""
    submissions: int
    """Final ones in the store."""

    @property
    def is_clean(self) -> bool:
        """Whether nothing was lost, doubled or broken."""
        return not (self.lost or self.doubled or self.broken)


def check(lab: Lab, log: Log) -> Verdict:
    """Compare the store with what was acknowledged, ranking by ranking."""
    store = open_store(lab)
    try:
        with store.read() as connection:
            final = connection.execute(
                select(
                    assignments.c.public_id,
                    assignments.c.task_id,
                    assignments.c.display_order,
                    submissions.c.id,
                )
                .join(submissions, submissions.c.assignment_id == assignments.c.id)
                .where(submissions.c.state == "final")
            ).all()
            groups: dict[int, dict[int, int]] = {}
            for row in connection.execute(select(rank_entries)):
                groups.setdefault(row.submission_id, {})[row.item_no] = row.rank_group
            wanted = Counter(connection.execute(select(slots.c.task_id)).scalars())
            audit = events.audit(connection)
    finally:
        store.close()
    there = {
        row.public_id: tuple(groups[row.id][item] for item in row.display_order) for row in final
    }
    per_assignment = Counter(row.public_id for row in final)
    per_task = Counter(row.task_id for row in final)
    return Verdict(
        lost=sum(there.get(name) != ranks for name, ranks in log.acknowledged.items()),
        doubled=sum(count > 1 for count in per_assignment.values())
        + sum(count > wanted[task] for task, count in per_task.items()),
        broken=len(audit.findings),
        submissions=len(final),
    )
