"""What users of the chat page say and choose, kept where they agree: prompts, and comparisons of two answers.

A message passes the same curation as a row of `prompts import`, with the conversation before it as its history. One
step is left to conversations: a message is no repetition of an earlier one of its own for having the same opening.
A choice is a ranking of two in a campaign of its own, by the path that every judgment takes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, get_args

from sqlalchemy import Connection, func, select

from alignloop.data.curation.config import CurationConfig
from alignloop.data.curation.examine import Examiner, Setup, row_of, scrubbed
from alignloop.data.curation.outcomes import REASONS, Found, Kept, Reason
from alignloop.data.curation.spans import Span
from alignloop.data.incoming import Answer, Candidate, Place
from alignloop.data.records import Completion
from alignloop.store import campaigns, judgments, prompts, queue, visitors
from alignloop.store.campaigns import Campaign
from alignloop.store.curation import settle, settled, stored
from alignloop.store.database import Store
from alignloop.store.judgments import RankedOutputs
from alignloop.store.schema import (
    assignments,
    authors,
    completions,
    policies,
    rank_entries,
    submissions,
    task_items,
    tasks,
)
from alignloop.store.schema import prompts as prompts_table
from alignloop.store.visitors import Visitor

CAMPAIGN = "choices on the chat page"
"""Name of the campaign that all choices are in."""
ACTOR = "chat page"
Preference = Literal["first", "second", "tie"]
_GROUPS: Mapping[Preference, tuple[int, int]] = {
    "first": (1, 2),
    "second": (2, 1),
    "tie": (1, 1),
}
Held = Literal["agreement", "test", "there", "closed"]
"""Why something is not kept, beside the reasons of curation: the user does not agree; the prompt is of the test side,
which no choice may train on; it is not in the store; somebody closed or paused the campaign of choices."""
NOT_KEPT: frozenset[str] = frozenset((*get_args(Held), *REASONS))
"""What `Chats.choose` returns where it keeps nothing."""


@dataclass(frozen=True, slots=True)
class Said:
    """A user's message on its way in."""

    conversation: str
    text: str
    history: tuple[tuple[str, str], ...] = ()
    """(role, text) of what was said before."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """An answer that a policy gave, and how it was drawn."""

    policy: str
    sha256: str
    sampling: Mapping[str, Any]
    completion: Completion


class Chats:
    """The way in, over one store."""

    def __init__(self, store: Store) -> None:
        """Over an open store.

        Raises:
            ConfigError, DataError, MissingExtraError: the project's settings of curation cannot be used here.
        """
        self._store = store
        self._one = threading.Lock()
        with store.read() as connection:
            _examiner(_settings(connection))

    def keep(
        self,
        now: int,
        visitor: Visitor,
        said: Said,
        still: Callable[[], bool] = lambda: True,
    ) -> int | Reason | Held:
        """Keep a message; returns its prompt's id, or why it is not kept.

        Args:
            still: whether it may be kept, asked once all that was erased before is gone: its conversation may be, and
                with the message what was said there before would come back.
        """
        candidate = Candidate(
            Place("the chat page", 1),
            said.text,
            history=said.history,
            user=visitor.user.public_id,
            consent=True,
        )
        # As with a file: what is said to two of its conversations at once is decided one after the other.
        with self._one, self._store.write() as connection:
            prompts.in_turn(connection)  # an erasure that is under way is waited for
            if not (visitors.still_agrees(connection, visitor) and still()):
                return "agreement"
            found = _curated(connection, candidate, said.conversation)
            if isinstance(found, str):
                return found
            settle(connection, _settings(connection))
            new = stored(found, {"conversation": said.conversation})
            return prompts.add_prompts(connection, now, [new])[0]

    def choose(
        self,
        now: int,
        visitor: Visitor,
        conversation: str,
        prompt_id: int,
        answers: tuple[Drawn, Drawn],
        preference: Preference,
        *,
        shown: tuple[int, int],
        client_uuid: str,
        still: Callable[[], bool] = lambda: True,
    ) -> str | Reason | Held:
        """Keep a choice between two answers; returns the submission's public id, or why it is not kept.

        Args:
            prompt_id: what `keep` returned for the message, in this conversation.
            answers: in an order that says nothing; `preference` is about this order.
            shown: the numbers, 1 and 2, of the answers as they stood on the page.
            client_uuid: the same one again is the same choice.
            still: as in `keep`.
        """
        with self._one, self._store.write() as connection:
            prompts.in_turn(connection)
            if not (visitors.still_agrees(connection, visitor) and still()):
                return "agreement"
            row = _own_prompt(connection, visitor, prompt_id)
            # It may have been erased elsewhere, and its number given to another one since.
            if row is None or row.details.get("conversation") != conversation:
                return "there"
            if row.split == "test":
                return "test"
            if row.split == "train" and _has_pii(_examiner(_settings(connection)), answers):
                return "pii"
            again = judgments.find_submission(connection, client_uuid)
            if again is not None:
                return again.public_id
            campaign = _campaign(connection, now)
            if campaign.state != "open":
                return "closed"
            ids = [
                prompts.add_completions(
                    connection,
                    prompt_id,
                    prompts.add_policy(
                        connection, now, name=one.policy, sha256=one.sha256, sampling=one.sampling
                    ),
                    [one.completion],
                )[0]
                for one in answers
            ]
            task = campaigns.add_task(connection, campaign, prompt_id=prompt_id, completion_ids=ids)
            assignment = queue.assign_to(connection, now, visitor.user, campaign, task, order=shown)
            groups = dict(enumerate(_GROUPS[preference], start=1))
            return judgments.submit(
                connection,
                now,
                visitor.user,
                assignment.public_id,
                RankedOutputs(groups, {}),
                client_uuid=client_uuid,
            ).public_id


def _settings(connection: Connection) -> CurationConfig:
    """As the project has them, also where an import has settled them since; one without prompts has the paper's."""
    return settled(connection) or CurationConfig()


def _has_pii(examiner: Examiner, answers: Iterable[Drawn]) -> bool:
    """Whether an answer has personal data in it: it would train, and it is not to be changed."""
    texts = tuple(Answer(one.completion.text) for one in answers)
    asked = Candidate(Place("the chat page", 1), "-", answers=texts)
    [look] = examiner([row_of(asked, with_answers=True)])
    return bool(look.pii)


@lru_cache(maxsize=4)
def _examiner_of(settings: str) -> Examiner:
    return Examiner(Setup(CurationConfig.model_validate_json(settings)))


def _examiner(config: CurationConfig) -> Examiner:
    """One for each way of curating: it reads a model of languages."""
    return _examiner_of(config.model_dump_json())


def kept_of(connection: Connection, visitor: Visitor) -> dict[str, Any]:
    """All that the store has of a user, as plain values: what they said by conversation, and what they chose."""
    query = (
        select(prompts_table)
        .join(authors, authors.c.id == prompts_table.c.author_id)
        .where(authors.c.key == visitor.user.public_id)
        .order_by(prompts_table.c.id)
    )
    choices = _choices_of(connection, visitor)
    found: dict[str, list[dict[str, Any]]] = {}
    for row in connection.execute(query):
        said = {
            "text": row.text,
            "history": [{"role": role, "text": text} for role, text in row.history],
            "language": row.language,
            "side": row.split,
            "personal_data": list(row.pii),
            "kept_at": row.created_at,
            "choices": choices.get(row.id, []),
        }
        found.setdefault(row.details.get("conversation", ""), []).append(said)
    return {
        "user": visitor.user.public_id,
        "known_since": visitor.user.created_at,
        "agrees_to_notice": visitor.notice,
        "agreed_at": visitor.agreed_at,
        "conversations": [{"id": name, "messages": said} for name, said in found.items()],
    }


def _choices_of(connection: Connection, visitor: Visitor) -> dict[int, list[dict[str, Any]]]:
    query = (
        select(
            tasks.c.prompt_id,
            submissions.c.id,
            submissions.c.submitted_at,
            rank_entries.c.rank_group,
            completions.c.text,
            policies.c.name,
        )
        .join(assignments, assignments.c.id == submissions.c.assignment_id)
        .join(tasks, tasks.c.id == assignments.c.task_id)
        .join(rank_entries, rank_entries.c.submission_id == submissions.c.id)
        .join(
            task_items,
            (task_items.c.task_id == tasks.c.id) & (task_items.c.item_no == rank_entries.c.item_no),
        )
        .join(completions, completions.c.id == task_items.c.completion_id)
        .join(policies, policies.c.id == completions.c.policy_id)
        .where(assignments.c.user_id == visitor.user.id, submissions.c.state == "final")
        .order_by(submissions.c.id, rank_entries.c.item_no)
    )
    by_submission: dict[int, dict[str, Any]] = {}
    found: dict[int, list[dict[str, Any]]] = {}
    for row in connection.execute(query):
        if row.id not in by_submission:
            by_submission[row.id] = {"chosen_at": row.submitted_at, "answers": []}
            found.setdefault(row.prompt_id, []).append(by_submission[row.id])
        answer = {"text": row.text, "model": row.name, "rank": row.rank_group}
        by_submission[row.id]["answers"].append(answer)
    return found


def _curated(connection: Connection, candidate: Candidate, conversation: str) -> Kept | Reason:
    """The steps of `data.curation.curate`, for one candidate against the store."""
    config = _settings(connection)
    [look] = _examiner(config)([row_of(candidate, with_answers=False)])
    if look.reason is not None:
        return look.reason
    if prompts.find_prompt(connection, look.text_digest) is not None:
        return "exact_duplicate"
    prefix = look.prefix_digest
    if prefix is not None and _begins_alike(connection, prefix, conversation):
        return "common_prefix"
    cap = config.cap
    if cap is not None and _count_of(connection, candidate.user) >= cap:
        return "user_cap"
    found = tuple(Found(part, Span(kind, start, end)) for part, kind, start, end in look.pii)
    is_scrubbed = bool(found) and look.side == "train"
    if is_scrubbed:
        if config.pii_action == "drop":
            return "pii"
        candidate = scrubbed(candidate, found)
    return Kept(
        candidate,
        look.side,
        look.group,
        candidate.user,
        look.language,
        look.tokens,
        look.text_digest,
        prefix,
        found,
        is_scrubbed,
    )


def _campaign(connection: Connection, now: int) -> Campaign:
    """The campaign of all choices; made with the first."""
    found = campaigns.find_campaign(connection, CAMPAIGN)
    if found is None:
        made = campaigns.add_campaign(
            connection,
            now,
            ACTOR,
            name=CAMPAIGN,
            form="rank",
            purpose="training",
            cohort="users",
            k=(2, 2),
            asks_ratings=False,
        )
        found = campaigns.set_state(connection, now, ACTOR, made, "open")
    return found


def _own_prompt(connection: Connection, visitor: Visitor, prompt_id: int) -> Any:
    query = (
        select(prompts_table.c.split, prompts_table.c.details)
        .join(authors, authors.c.id == prompts_table.c.author_id)
        .where(prompts_table.c.id == prompt_id, authors.c.key == visitor.user.public_id)
    )
    return connection.execute(query).first()


def _begins_alike(connection: Connection, prefix: bytes, conversation: str) -> bool:
    """Whether a prompt begins like this one and is of another conversation."""
    query = select(prompts_table.c.details).where(prompts_table.c.prefix_digest == prefix)
    return any(row.details.get("conversation") != conversation for row in connection.execute(query))


def _count_of(connection: Connection, user: str) -> int:
    query = select(func.count()).select_from(prompts_table)
    return connection.execute(query.where(prompts_table.c.counted_for == user)).scalar_one()
