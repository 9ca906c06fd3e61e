"""Judgments of the store as the statistics take them: rankings, and comparisons as rankings of two.

A ranking in which an output was called not rankable is left out: it orders fewer items than the others' do, and to put
the output last would say something that the labeler did not. Gold tasks are left out, too, but for the accuracy on
them: they were chosen for being clear, and would make people look as if they agreed more.
"""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from sqlalchemy import Connection

from alignloop.judges.agreement import Agreement, compare_ranks
from alignloop.judges.flag_counts import CountedAgreement, counted_agreement
from alignloop.judges.judgment import Judgment
from alignloop.judges.labeler_quality import Gold, Relation
from alignloop.judges.preference_votes import Choice, Vote
from alignloop.store import quality
from alignloop.store.flag_sets import flags_of
from alignloop.store.quality import Scope

LEAST_PAIRS = 30
"""Pairs that two labelers ordered, for a point of a chart: half of the width of its interval is 0.16 then."""
EVERY_PURPOSE = ("training", "evaluation", "screening", "practice")
_AS_RANKS: Mapping[str, tuple[int, int]] = {
    "item_1": (1, 2),
    "item_2": (2, 1),
    "tie": (1, 1),
    "both_bad": (1, 1),
}


@dataclass(frozen=True, slots=True)
class Judged:
    """A judgment, and where and when it was made."""

    judgment: Judgment
    submission_id: int
    campaign_id: int
    submitted_at: int


@dataclass(frozen=True, slots=True)
class Partial:
    """A ranking in which an output was called not rankable, as far as its cost goes."""

    labeler: str
    cluster: str
    """Its prompt."""
    campaign_id: int
    k: int
    ordered_pairs: int
    """Of the outputs that were ranked."""
    seconds: float | None


def partial_rankings_in(connection: Connection, scope: Scope) -> list[Partial]:
    """The rankings of a scope that `rankings_in` leaves out, oldest first."""
    found: list[Partial] = []
    for one, answer in quality.each_partial_ranking(connection, scope):
        places = [place for place in answer[3 : 3 + answer.k] if place is not None]
        pairs = len(places) * (len(places) - 1) // 2
        found.append(
            Partial(
                labeler=str(one.user_id),
                cluster=str(one.prompt_id),
                campaign_id=one.campaign_id,
                k=answer.k,
                ordered_pairs=pairs - tied_pairs(places),
                seconds=one.active_ms / 1000 if one.active_ms > 0 else None,
            )
        )
    return found


def rankings_in(
    connection: Connection,
    scope: Scope,
    *,
    likert: bool = False,
    lengths: bool = False,
    positions: bool = True,
) -> list[Judged]:
    """Rankings of a scope, oldest first; tasks, labelers and prompts are called by their numbers.

    Args:
        likert: bring the grades of the outputs along.
        lengths: bring the outputs' lengths along, in tokens.
        positions: bring along where each output stood on the page.
    """
    grades = quality.likert_scores(connection, scope) if likert else {}
    tokens = quality.lengths(connection, scope) if lengths else {}
    found: list[Judged] = []
    for one, answer in quality.each_ranking(connection, scope, order=positions):
        k: int = answer.k
        if answer.ranked < k or k < 2:
            continue
        of_items = tokens.get(one.task_id, ())[:k]
        found.append(
            _judged(
                one,
                tuple(answer[3 : 3 + k]),
                likert=grades.get(one.submission_id, ())[:k],
                lengths=() if None in of_items else cast(tuple[int, ...], of_items),
            )
        )
    return found


def comparisons_in(connection: Connection, scope: Scope, *, positions: bool = True) -> list[Judged]:
    """Comparisons of a scope as rankings of two, oldest first; where both were bad, neither was better."""
    found = quality.each_vote(connection, scope, order=positions)
    return [_judged(row, _AS_RANKS[row.verdict]) for row in found]


def judgments_in(connection: Connection, scope: Scope) -> list[Judged]:
    """Rankings and comparisons of a scope, without positions: what agreement is measured on."""
    return [
        *rankings_in(connection, scope, positions=False),
        *comparisons_in(connection, scope, positions=False),
    ]


def repeats_in(connection: Connection, labeler_id: int) -> list[Judged]:
    """A labeler's rankings of tasks that came to them a second time, called by the first one's name."""
    first = {
        (one.campaign_id, one.judgment.prompt): one.judgment
        for one in rankings_in(connection, Scope(by=labeler_id))
    }
    found: list[Judged] = []
    for one in rankings_in(connection, Scope(by=labeler_id, gold=True)):
        before = first.get((one.campaign_id, one.judgment.prompt))
        if before is not None and len(before.ranks) == len(one.judgment.ranks):
            found.append(replace(one, judgment=replace(one.judgment, task=before.task)))
    return found


class JudgedSoFar:
    """Every judgment that trains or evaluates, kept in memory: what came since is read, the rest is there."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._version: tuple[int, ...] = ()
        self._found: dict[int, Judged] = {}

    def all(self, connection: Connection, version: tuple[int, ...]) -> list[Judged]:
        """All of them at a version of the store, by the id of their submission."""
        with self._lock:
            if version[:2] != self._version[:2]:
                self._go_on(connection, version)
                self._version = version
            return list(self._found.values())

    def _go_on(self, connection: Connection, version: tuple[int, ...]) -> None:
        last, final = self._version[:2] if self._version else (0, 0)
        came, replaced = quality.replaced_since(connection, last)
        if last > version[0] or final - len(replaced) + came != version[1]:
            # Something was withdrawn, or transactions ended in another order than they began in.
            last, replaced, self._found = 0, [], {}
        for submission in replaced:
            self._found.pop(submission, None)
        for one in judgments_in(connection, Scope(after=last)):
            self._found[one.submission_id] = one


def with_grades(one: Judged, grades: Sequence[int | None]) -> Judged:
    """The same judgment with the grades of its outputs."""
    likert = tuple(grades[: len(one.judgment.ranks)])
    return replace(one, judgment=replace(one.judgment, likert=likert))


def shared(found: Iterable[Judged]) -> list[Judged]:
    """Those about tasks that two labelers or more judged."""
    rows = list(found)
    counts = Counter(one.judgment.task for one in rows)
    return [one for one in rows if counts[one.judgment.task] > 1]


def only(found: Iterable[Judged], campaign_id: int | None = None, since: int = 0) -> list[Judgment]:
    """The judgments themselves, of one campaign or since a moment."""
    return [
        one.judgment
        for one in found
        if (campaign_id is None or one.campaign_id == campaign_id) and one.submitted_at >= since
    ]


def flags_in(connection: Connection, scope: Scope) -> dict[str, CountedAgreement]:
    """Flag -> how far labelers agree on it, over the flag sets of all campaigns of a scope, in their order."""
    answers_of: dict[int, tuple[int | None, int]] = {}
    texts: dict[int | None, Counter[int]] = defaultdict(Counter)
    for row in quality.texts_asked_about(connection, scope):
        answers_of[row.task_id] = (row.flag_set_id, row.answers)
        texts[row.flag_set_id][row.answers] += row.texts
    yes: dict[tuple[int | None, str], Counter[tuple[int, int]]] = defaultdict(Counter)
    for row in quality.yes_said(connection, scope):
        if row.task_id in answers_of:
            flag_set, answers = answers_of[row.task_id]
            yes[flag_set, row.flag_key][answers, row.yes] += 1
    found: dict[str, Counter[tuple[int, int]]] = {}
    for flag_set in sorted(texts, key=lambda one: one or 0):
        for key in flags_of(connection, flag_set):
            counts = found.setdefault(key, Counter())
            counts.update(yes[flag_set, key])
            for answers, count in texts[flag_set].items():
                said = sum(
                    number for (of, _), number in yes[flag_set, key].items() if of == answers
                )
                counts[answers, 0] += count - said
    return {key: counted_agreement(counts) for key, counts in found.items()}


def gold_in(connection: Connection, scope: Scope) -> Gold:
    """Known relations by task, items counted from 0, for `labeler_quality`."""
    return {
        str(task): {
            (a - 1, b - 1): cast(Relation, relation) for (a, b), relation in relations.items()
        }
        for task, relations in quality.gold_relations(connection, scope).items()
    }


def gold_accuracy(connection: Connection, campaign_id: int) -> dict[int, tuple[int, int]]:
    """Labeler's id -> (pairs with a right answer that they saw as it says, such pairs) in a campaign."""
    scope = Scope(purposes=EVERY_PURPOSE, campaign_id=campaign_id, gold=None, answered=True)
    known = quality.gold_relations(connection, scope)
    found: dict[int, tuple[int, int]] = {}
    for one, answer in quality.each_ranking(connection, scope):
        places = answer[3 : 3 + answer.k]
        right, pairs = found.get(one.user_id, (0, 0))
        for (a, b), relation in known.get(one.task_id, {}).items():
            first, second = places[a - 1], places[b - 1]
            if first is not None and second is not None:
                right += (second > first) - (second < first) == relation
                pairs += 1
        found[one.user_id] = (right, pairs)
    return {labeler: counts for labeler, counts in found.items() if counts[1]}


def tied_pairs(ranks: Iterable[int]) -> int:
    """Pairs of items with the same rank."""
    return sum(count * (count - 1) // 2 for count in Counter(ranks).values())


def tie_shares(found: Iterable[Judged]) -> dict[int, float]:
    """Labeler's id -> tied pairs, of all pairs that they ranked."""
    ties: dict[str, int] = defaultdict(int)
    pairs: dict[str, int] = defaultdict(int)
    for one in found:
        ranks = one.judgment.ranks
        ties[one.judgment.labeler] += tied_pairs(ranks)
        pairs[one.judgment.labeler] += len(ranks) * (len(ranks) - 1) // 2
    return {int(labeler): ties[labeler] / count for labeler, count in pairs.items()}


def agreement_by_stretch(
    found: Sequence[Judged], labeler: str, stretch_ms: int, days: int
) -> dict[int, float]:
    """First day of each stretch -> a labeler's strict agreement with the others on the tasks judged in it.

    A stretch with fewer than `LEAST_PAIRS` pairs that both ordered has none.

    Args:
        found: all judgments of the tasks that the labeler judged.
        stretch_ms: how long a stretch is.
        days: the same in days, by which it is named.
    """
    mine = {one.judgment.task: one for one in found if one.judgment.labeler == labeler}
    counts: dict[int, Agreement] = defaultdict(Agreement)
    for one in found:
        own = mine.get(one.judgment.task)
        if own is not None and one is not own:
            later = max(own.submitted_at, one.submitted_at) // stretch_ms * days
            counts[later] += compare_ranks(own.judgment.ranks, one.judgment.ranks)
    return {
        day: counts[day].ordered_share
        for day in sorted(counts)
        if counts[day].ordered >= LEAST_PAIRS
    }


def votes_in(
    connection: Connection, scope: Scope, policy_of: Mapping[tuple[int, int], int], first: int
) -> list[Vote]:
    """Comparisons as votes for policy a or b, whichever item each of them wrote.

    Args:
        policy_of: (task id, item) -> policy; whoever has it knows who wrote what, so the evaluation is closed.
        first: the policy that is called a.
    """
    found: list[Vote] = []
    for row in quality.each_vote(connection, scope):
        item_of_a = 1 if policy_of[row.task_id, 1] == first else 2
        choice = {f"item_{item_of_a}": "a", f"item_{3 - item_of_a}": "b"}.get(
            row.verdict, row.verdict
        )
        found.append(
            Vote(
                prompt=str(row.prompt_id),
                labeler=str(row.user_id),
                choice=cast(Choice, choice),
                is_a_left=row.left_item == item_of_a,
                cohort=row.cohort,
            )
        )
    return found


# --- inside -----------------------------------------------------------------------------------------------------


def _judged(row: Any, ranks: tuple[int, ...], **said: Any) -> Judged:
    order: list[int] = row.display_order or []
    judgment = Judgment(
        task=str(row.task_id),
        labeler=str(row.user_id),
        ranks=ranks,
        prompt=str(row.prompt_id),
        cohort=row.cohort,
        positions=tuple(order.index(item) for item in range(1, len(ranks) + 1)) if order else (),
        seconds=row.active_ms / 1000 if row.active_ms > 0 else None,
        **said,
    )
    return Judged(judgment, row.submission_id, row.campaign_id, row.submitted_at)
