"""The tables, for SQLite and PostgreSQL alike.

What a constraint can say is said here; what it takes a trigger to say stands in `guards`. Times are milliseconds since
1970 in UTC. `id` is for us, `public_id` (128 random bits) for whatever a browser sees. Label rows are events: a
correction is a new submission, and what the labeler saw is stored with it.
"""

from alignloop.store.schema.columns import metadata
from alignloop.store.schema.judgments import (
    ANSWER_TABLES,
    adjudications,
    assignments,
    demonstrations,
    drafts,
    flag_values,
    grades,
    rank_entries,
    ratings,
    screenings,
    submissions,
    toxicity_ratings,
    votes,
    written_prompts,
)
from alignloop.store.schema.log import chain, events, exports, settings
from alignloop.store.schema.people import (
    acknowledgements,
    guidelines,
    invitations,
    login_attempts,
    messages,
    sessions,
    users,
    visitors,
)
from alignloop.store.schema.prompts import (
    authors,
    completions,
    erasing,
    given_answers,
    imports,
    policies,
    prompts,
)
from alignloop.store.schema.work import (
    campaigns,
    flag_sets,
    flags,
    gold_flags,
    gold_pairs,
    slots,
    task_items,
    tasks,
)

__all__ = [
    "ANSWER_TABLES",
    "acknowledgements",
    "adjudications",
    "assignments",
    "authors",
    "campaigns",
    "chain",
    "completions",
    "demonstrations",
    "drafts",
    "erasing",
    "events",
    "exports",
    "flag_sets",
    "flag_values",
    "flags",
    "given_answers",
    "gold_flags",
    "gold_pairs",
    "grades",
    "guidelines",
    "imports",
    "invitations",
    "login_attempts",
    "messages",
    "metadata",
    "policies",
    "prompts",
    "rank_entries",
    "ratings",
    "screenings",
    "sessions",
    "settings",
    "slots",
    "submissions",
    "task_items",
    "tasks",
    "toxicity_ratings",
    "users",
    "visitors",
    "votes",
    "written_prompts",
]
