"""A labeler's four screening measures (B.1), from what they did in practice and screening campaigns.

Rankings and flags are compared with the right answers that researchers gave to the same tasks, demonstrations by the
grades they got, and the topics are the labeler's own word. Whether a text is sensitive is one question about it: any of
the sensitive flags says yes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection

from alignloop.judges.measure import Measure
from alignloop.judges.screening import (
    Cutoffs,
    FlagAnswer,
    GradedDemonstration,
    RankingAnswer,
    ScreeningAnswers,
    ScreeningResult,
    screen,
)
from alignloop.store import grading, quality
from alignloop.store.flag_sets import SENSITIVE_FLAGS
from alignloop.store.people import User
from alignloop.store.quality import Scope

PURPOSES = ("practice", "screening")
CUTOFFS = Cutoffs()
_BY_RELATION: Mapping[int, tuple[int, int]] = {1: (1, 2), 0: (1, 1), -1: (2, 1)}


def answers_of(connection: Connection, user: User | None = None) -> dict[int, ScreeningAnswers]:
    """Labeler's id -> what they answered, where researchers had an answer of their own; of everybody, or of one.

    The topics are left out: they stand with the account.
    """
    scope = Scope(purposes=PURPOSES, by=None if user is None else user.id)
    rankings = _rankings(connection, scope)
    flags = _flags(connection, scope)
    grades: dict[int, list[GradedDemonstration]] = defaultdict(list)
    for row in grading.each_grade(connection, user, purposes=PURPOSES):
        grades[row.user_id].append(GradedDemonstration(str(row.prompt_id), row.score))
    return {
        labeler: ScreeningAnswers(
            flags=flags.get(labeler, []),
            rankings=rankings.get(labeler, []),
            demonstrations=grades.get(labeler, []),
        )
        for labeler in sorted({*rankings, *flags, *grades})
    }


def screened(
    connection: Connection, user: User, *, resamples: int = 1000, seed: int = 0
) -> ScreeningResult:
    """The measures of one labeler, with intervals and a suggestion; a person decides."""
    found = answers_of(connection, user).get(user.id, ScreeningAnswers())
    with_topics = ScreeningAnswers(found.flags, found.rankings, found.demonstrations, user.topics)
    return screen(with_topics, CUTOFFS, seed=seed, resamples=resamples)


def all_measures(
    connection: Connection,
) -> dict[int, tuple[float | None, float | None, float | None]]:
    """Labeler's id -> (sensitive, ranking, demonstrations) for a list, without intervals."""
    found: dict[int, tuple[float | None, float | None, float | None]] = {}
    for labeler, answers in answers_of(connection).items():
        result = screen(answers, CUTOFFS, resamples=1)
        found[labeler] = values_of(result)
    return found


def values_of(result: ScreeningResult) -> tuple[float | None, float | None, float | None]:
    """(sensitive, ranking, demonstrations); None where nothing was measured."""
    return (
        result.flags.measure.value,
        result.rankings.measure.value,
        result.demonstrations.measure.value,
    )


def as_json(result: ScreeningResult) -> dict[str, Any]:
    """The measures as they stood when somebody decided."""
    return {
        "sensitive": _measured(result.flags.measure),
        "sensitive_positive": _measured(result.flags_positive),
        "ranking": _measured(result.rankings.measure),
        "ranking_tie_aware": _measured(result.rankings_tie_aware),
        "demonstrations": _measured(result.demonstrations.measure),
        "topics": list(result.topics),
        "cutoffs": asdict(CUTOFFS),
        "suggestion": result.suggestion,
    }


# --- inside -----------------------------------------------------------------------------------------------------


def _rankings(connection: Connection, scope: Scope) -> dict[int, list[RankingAnswer]]:
    """Each known pair is a ranking of two items; intervals keep those of a task together."""
    gold = quality.gold_relations(connection, scope)
    found: dict[int, list[RankingAnswer]] = defaultdict(list)
    for one, answer in quality.each_ranking(connection, scope):
        places = answer[3 : 3 + answer.k]
        for (a, b), relation in gold.get(one.task_id, {}).items():
            first, second = places[a - 1], places[b - 1]
            if first is not None and second is not None:
                found[one.user_id].append(
                    RankingAnswer(str(one.task_id), (first, second), (_BY_RELATION[relation],))
                )
    return found


def _flags(connection: Connection, scope: Scope) -> dict[int, list[FlagAnswer]]:
    said: dict[tuple[int, int, int], list[bool]] = {}
    for row in quality.gold_flags_met(connection, scope):
        if row.flag_key in SENSITIVE_FLAGS:
            of_text = said.setdefault((row.user_id, row.task_id, row.item_no), [False, False])
            of_text[0] |= row.said
            of_text[1] |= row.expected
    found: dict[int, list[FlagAnswer]] = defaultdict(list)
    for (labeler, task, item), (answer, expected) in said.items():
        found[labeler].append(FlagAnswer(f"{task}/{item}", answer, expected))
    return found


def _measured(measure: Measure) -> dict[str, Any]:
    return {
        "value": measure.value,
        "low": measure.low,
        "high": measure.high,
        "cases": measure.cases,
    }
