"""What the researchers thought of a practice task, beside what the labeler said."""

from __future__ import annotations

from typing import Any, cast

from sqlalchemy import Connection

from alignloop.labeling.app.i18n import catalogue
from alignloop.labeling.app.pages.labeler import FeedbackPage, FlagFeedback, PairFeedback
from alignloop.labeling.app.tasks import LETTERS, Work, passage, turns_of_prompt
from alignloop.store import figures, labels
from alignloop.store.people import User

_WORDS = {1: "better", 0: "tied", -1: "worse"}


def feedback_on(connection: Connection, user: User, work: Work, now: int = 0) -> FeedbackPage:
    """The page for a practice task that was submitted."""
    letters = {item: LETTERS[at] for at, item in enumerate(work.order)}
    relations, gold_flags = figures.gold_of(connection, work.assignment.task_id)
    submission = figures.final_of(connection, work.assignment.id)
    groups = labels.groups_of(connection, submission.id)
    said = labels.flags_in(connection, submission.id)
    pairs = [
        PairFeedback(
            letters[a],
            letters[b],
            cast(Any, _WORDS[expected]),
            cast(Any, _WORDS[_relation(groups[a], groups[b])]),
        )
        for (a, b), expected in relations.items()
        if groups.get(a) and groups.get(b)
    ]
    words = catalogue(cast(Any, user.locale))
    flags = [
        FlagFeedback(letters[item], str(words.label("flag", key)), expected)
        for (item, key), expected in gold_flags.items()
        if said.get(item, {}).get(key) is not None and said[item][key] != expected
    ]
    done = figures.done_by(connection, now, user, work.campaign).submitted
    left = figures.available(connection, now, user, work.campaign)
    return FeedbackPage(
        campaign=work.campaign.public_id,
        prompt=turns_of_prompt(work.task),
        outputs=tuple((letters[item], passage(work.items[item])) for item in work.order),
        pairs=tuple(sorted(pairs, key=lambda pair: pair.expected == pair.given)),
        flags=tuple(flags),
        done=done,
        total=done + left,
    )


def _relation(a: int | None, b: int | None) -> int:
    """1 where the first is better; both are ranked."""
    first, second = cast(int, a), cast(int, b)
    return (second > first) - (second < first)
