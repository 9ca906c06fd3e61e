"""The invariants that no constraint can say, as triggers: the database refuses, whatever code asks.

A condition is written once, in SQL that SQLite and PostgreSQL both read, and says when to refuse.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from alignloop.store.schema import ANSWER_TABLES


@dataclass(frozen=True, slots=True)
class Guard:
    """Refuse an INSERT, UPDATE or DELETE on a table where a condition holds."""

    table: str
    event: str
    rule: str
    """What the error says; it names the invariant."""
    when: str = "true"
    name: str = ""

    @property
    def trigger(self) -> str:
        """What the trigger is called in the database."""
        return self.name or f"guard_{self.table}_{self.event.lower()}"

    def statements(self, dialect: str) -> list[str]:
        """The SQL that installs it."""
        name = self.trigger
        rule = self.rule.replace("'", "''")
        if dialect == "sqlite":
            when = self.when.replace("is distinct from", "is not")  # older ones know no other way
            return [
                f"CREATE TRIGGER {name} BEFORE {self.event} ON {self.table} WHEN {when} "
                f"BEGIN SELECT RAISE(ABORT, '{rule}'); END"
            ]
        row = "OLD" if self.event == "DELETE" else "NEW"
        return [
            f"CREATE FUNCTION {name}() RETURNS trigger AS $$ BEGIN "
            f"IF {self.when} THEN RAISE EXCEPTION '{rule.replace('%', '%%')}' USING ERRCODE = 'check_violation'; "
            f"END IF; RETURN {row}; END $$ LANGUAGE plpgsql",
            f"CREATE TRIGGER {name} BEFORE {self.event} ON {self.table} "
            f"FOR EACH ROW EXECUTE FUNCTION {name}()",
        ]


def _changed(*columns: str) -> str:
    return " or ".join(f"OLD.{column} is distinct from NEW.{column}" for column in columns)


def _campaign_of_task(task: str) -> str:
    return f"campaigns c join tasks t on t.campaign_id = c.id where t.id = {task}"


_ERASED = "exists (select 1 from erasing e where e.prompt_id = OLD.prompt_id)"
"""That a row is about a prompt which whoever wrote it has erased: then what else is never deleted may go."""


def _task_erased(task: str) -> str:
    return (
        "exists (select 1 from erasing e join tasks t on t.prompt_id = e.prompt_id "
        f"where t.id = {task})"
    )


_OF_SUBMISSION = (
    "(select a.task_id from submissions s join assignments a on a.id = s.assignment_id "
    "where s.id = OLD.submission_id)"
)
_MAY_GO: dict[str, str] = {
    "completions": _ERASED,
    "given_answers": _ERASED,
    **{name: _task_erased("OLD.task_id") for name in ("gold_pairs", "gold_flags", "adjudications")},
    "grades": _task_erased(_OF_SUBMISSION),
}
"""Table -> when a row that is otherwise kept may be deleted."""
_TASK = "(select task_id from assignments where id = NEW.assignment_id)"
_ITEMS = f"(select count(*) from task_items where task_id = {_TASK})"


def _said(table: str, what: str = "count(*)") -> str:
    return f"(select {what} from {table} where submission_id = NEW.id)"


def _strangers(table: str) -> str:
    """An answer about an item that the task does not have."""
    return (
        f"exists (select 1 from {table} x where x.submission_id = NEW.id and not exists "
        f"(select 1 from task_items i where i.task_id = {_TASK} and i.item_no = x.item_no))"
    )


def _form(form: str) -> str:
    return f"exists (select 1 from {_campaign_of_task(_TASK)} and c.form = '{form}')"


_BECOMES_FINAL = "OLD.state = 'building' and NEW.state = 'final'"
_FLAGS_ASKED = (
    f"(select count(*) from flags f join campaigns c on c.flag_set_id = f.flag_set_id "
    f"join tasks t on t.campaign_id = c.id where t.id = {_TASK})"
)

_COMPLETE: dict[str, tuple[str, str]] = {
    "demonstrate": (
        f"{_said('demonstrations')} <> 1",
        "a demonstration is submitted with its text",
    ),
    "write": (f"{_said('written_prompts')} <> 1", "a written prompt is submitted with its text"),
    "rank": (
        f"{_said('rank_entries')} <> {_ITEMS} or {_strangers('rank_entries')}",
        "a ranking is complete: every output has its rank, or is called not rankable",
    ),
    "compare": (f"{_said('votes')} <> 1", "a comparison is submitted with its verdict"),
    "toxicity": (
        f"{_said('toxicity_ratings')} <> {_ITEMS} or {_strangers('toxicity_ratings')}",
        "every output has its three ratings of toxicity",
    ),
}


def _completeness() -> Iterator[Guard]:
    for form, (when, rule) in _COMPLETE.items():
        yield Guard(
            "submissions",
            "UPDATE",
            rule,
            f"{_BECOMES_FINAL} and {_form(form)} and ({when})",
            f"guard_complete_{form}",
        )
    dense = _said("rank_entries", "coalesce(max(rank_group), 0)")
    yield Guard(
        "submissions",
        "UPDATE",
        "rank groups are dense: 1, 2, ... without a gap",
        f"{_BECOMES_FINAL} and {dense} <> {_said('rank_entries', 'count(distinct rank_group)')}",
        "guard_dense_ranks",
    )
    yield Guard(
        "submissions",
        "UPDATE",
        "every output has its rating and every flag its answer",
        f"{_BECOMES_FINAL} and exists (select 1 from {_campaign_of_task(_TASK)} and c.asks_ratings) and "
        f"({_said('ratings')} <> {_ITEMS} or {_strangers('ratings')} or {_strangers('flag_values')} "
        f"or {_said('flag_values')} <> {_ITEMS} * {_FLAGS_ASKED})",
        "guard_complete_ratings",
    )


def _submissions() -> Iterator[Guard]:
    yield Guard(
        "submissions",
        "INSERT",
        "a submission is built before it is final",
        "NEW.state not in ('building', 'late')",
    )
    kept = _changed(
        "assignment_id",
        "revision",
        "supersedes_id",
        "client_uuid",
        "is_surplus",
        "comment",
        "active_ms",
        "idle_ms",
        "submitted_at",
        "public_id",
    )
    yield Guard(
        "submissions",
        "UPDATE",
        "a final submission is never changed: a correction is a new one",
        f"OLD.state <> 'building' and (({kept}) or not (OLD.state = NEW.state or "
        "(OLD.state = 'final' and NEW.state in ('superseded', 'withdrawn'))))",
        "guard_final_submissions",
    )
    yield Guard(
        "submissions",
        "DELETE",
        "a submission is never deleted",
        "OLD.state <> 'building' and not "
        + _task_erased("(select task_id from assignments where id = OLD.assignment_id)"),
    )
    yield from _completeness()
    for table in ANSWER_TABLES:
        for event in ("INSERT", "UPDATE", "DELETE"):
            row = "OLD" if event == "DELETE" else "NEW"
            unless = f" and not {_task_erased(_OF_SUBMISSION)}" if event == "DELETE" else ""
            yield Guard(
                table.name,
                event,
                "what was submitted is never changed: a correction is a new submission",
                f"(select state from submissions where id = {row}.submission_id) <> 'building'"
                f"{unless}",
            )


def _people() -> Iterator[Guard]:
    yield Guard(
        "users",
        "UPDATE",
        "a labeler with work keeps the cohort: held-out labelers never feed training",
        "OLD.cohort <> NEW.cohort and exists (select 1 from assignments a join tasks t on t.id = a.task_id "
        "join campaigns c on c.id = t.campaign_id where a.user_id = OLD.id "
        "and c.purpose in ('training', 'evaluation'))",
    )
    user = "from users u where u.id = NEW.user_id"
    campaign = f"from {_campaign_of_task('NEW.task_id')}"
    yield Guard(
        "assignments",
        "INSERT",
        "the labeler is of another cohort than the campaign asks for: held-out labelers never feed training",
        f"not exists (select 1 {user} and u.cohort = NEW.cohort) or "
        f"not exists (select 1 {campaign} and c.cohort in ('any', NEW.cohort))",
        "guard_assignments_cohort",
    )
    yield Guard(
        "assignments",
        "INSERT",
        "only active labelers get work, and only qualified ones work that trains",
        f"not exists (select 1 {user} and u.state = 'active' and u.role in ('labeler', 'visitor')) or "
        f"(exists (select 1 {campaign} and c.purpose = 'training') and "
        f"not exists (select 1 {user} and (u.standing = 'qualified' or u.role = 'visitor'))) or "
        f"(exists (select 1 {user} and u.role = 'visitor') and "
        f"not exists (select 1 {campaign} and c.cohort = 'users'))",
        "guard_assignments_standing",
    )
    yield Guard(
        "assignments",
        "UPDATE",
        "what a labeler was shown is never changed",
        _changed("task_id", "user_id", "cohort", "opened_at", "public_id"),
    )
    yield Guard(
        "adjudications",
        "INSERT",
        "an adjudicator has not labeled the task",
        "exists (select 1 from assignments a where a.task_id = NEW.task_id and a.user_id = NEW.adjudicator_id)",
    )
    yield Guard(
        "grades",
        "INSERT",
        "nobody grades their own demonstration",
        "exists (select 1 from submissions s join assignments a on a.id = s.assignment_id "
        "where s.id = NEW.submission_id and a.user_id = NEW.grader_id)",
    )


def _work() -> Iterator[Guard]:
    purpose = "(select c.purpose from campaigns c where c.id = NEW.campaign_id)"
    split = "(select p.split from prompts p where p.id = NEW.prompt_id)"
    yield Guard(
        "tasks",
        "INSERT",
        "evaluation is on prompts of the test split, and all else on other prompts",
        f"NEW.prompt_id is not null and ({purpose} = 'evaluation') <> ({split} = 'test')",
        "guard_tasks_split",
    )
    yield Guard(
        "tasks",
        "INSERT",
        "the campaign is frozen or closed: no task joins it",
        "exists (select 1 from campaigns c where c.id = NEW.campaign_id "
        "and (c.frozen_at is not null or c.state = 'closed'))",
        "guard_tasks_frozen",
    )
    yield Guard(
        "tasks", "INSERT", "a task is a draft until its outputs are in", "NEW.state <> 'draft'"
    )
    yield Guard(
        "tasks",
        "UPDATE",
        "a task keeps its campaign, its prompt and its place",
        _changed("campaign_id", "prompt_id", "place", "is_gold", "public_id"),
    )
    items = "(select count(*) from task_items i where i.task_id = NEW.id)"
    campaign = "from campaigns c where c.id = NEW.campaign_id"
    yield Guard(
        "tasks",
        "UPDATE",
        "a task opens with as many outputs as its campaign asks for",
        f"OLD.state = 'draft' and NEW.state = 'open' and exists (select 1 {campaign} and "
        f"((c.form in ('rank', 'compare', 'toxicity') and {items} not between c.k_min and c.k_max) "
        "or (c.form = 'write') <> (NEW.prompt_id is null)))",
        "guard_tasks_open",
    )
    for event in ("INSERT", "UPDATE", "DELETE"):
        row = "OLD" if event == "DELETE" else "NEW"
        yield Guard(
            "task_items",
            event,
            "the outputs of an open task are never changed",
            f"(select state from tasks where id = {row}.task_id) <> 'draft'"
            + (f" and not {_task_erased('OLD.task_id')}" if event == "DELETE" else ""),
        )
    yield Guard(
        "campaigns",
        "UPDATE",
        "a campaign that was opened keeps what it asks for and of whom",
        "OLD.state <> 'draft' and ("
        + _changed(
            "form", "purpose", "cohort", "flag_set_id", "asks_ratings", "guideline_version", "seed"
        )
        + ")",
    )
    yield Guard(
        "campaigns",
        "UPDATE",
        "an evaluation that was closed stays closed: the names of its models may be known",
        "OLD.purpose = 'evaluation' and OLD.closed_at is not null "
        "and (NEW.state <> 'closed' or NEW.closed_at is null)",
        "guard_campaigns_closed",
    )


def _prompts() -> Iterator[Guard]:
    yield Guard("authors", "UPDATE", "an author keeps the split", _changed("key", "split"))
    yield Guard(
        "prompts",
        "UPDATE",
        "a prompt keeps its text, its author and its split",
        _changed("author_id", "split", "text", "text_digest", "public_id"),
    )
    yield Guard(
        "prompts",
        "INSERT",
        "what a user of the chat page says is kept only while they agree to it",
        "exists (select 1 from authors a join users u on u.public_id = a.key "
        "join visitors v on v.user_id = u.id where a.id = NEW.author_id and v.notice is null)",
    )
    yield Guard(
        "prompts",
        "DELETE",
        "a prompt is kept unless whoever wrote it has it erased",
        "not exists (select 1 from erasing e where e.prompt_id = OLD.id)",
    )
    yield Guard(
        "erasing",
        "INSERT",
        "what users of the chat page wrote can be erased, and no other prompt",
        "not exists (select 1 from prompts p join authors a on a.id = p.author_id "
        "join users u on u.public_id = a.key where p.id = NEW.prompt_id and u.role = 'visitor')",
    )


def _never_again() -> Iterator[Guard]:
    """Tables whose rows are written once."""
    for table in (
        "events",
        "exports",
        "adjudications",
        "screenings",
        "grades",
        "guidelines",
        "flags",
        "policies",
        "completions",
        "given_answers",
        "gold_pairs",
        "gold_flags",
        "acknowledgements",
    ):
        for event in ("UPDATE", "DELETE"):
            may_go = _MAY_GO.get(table) if event == "DELETE" else None
            when = "true" if may_go is None else f"not {may_go}"
            yield Guard(table, event, f"rows of {table} are written once and kept", when)


def guards() -> list[Guard]:
    """All of them, in the order in which they are installed."""
    return [*_people(), *_prompts(), *_work(), *_submissions(), *_never_again()]
