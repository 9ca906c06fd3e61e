"""Prompts, the answers that came with them, policies and their completions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, String, and_, cast, func, select, text

from alignloop.data.curation.keys import digests
from alignloop.data.incoming import KINDS
from alignloop.data.records import Completion, Prompt, Turn
from alignloop.errors import JudgmentError
from alignloop.store import events, given
from alignloop.store.bulk import insert_many
from alignloop.store.given import Answer
from alignloop.store.people import new_public_id
from alignloop.store.schema import (
    authors,
    completions,
    given_answers,
    imports,
    policies,
    prompts,
    settings,
)

_BLOCK = 2000


@dataclass(frozen=True, slots=True)
class NewPrompt:
    """A curated prompt on its way in."""

    author: str
    """The unit that the split keeps whole: user, organization, or the opening of the conversation."""
    split: str
    kind: str
    text: str
    text_digest: bytes
    """16 bytes; two prompts with the same one are the same prompt."""
    prefix_digest: bytes | None = None
    history: Sequence[tuple[str, str]] = ()
    examples: Sequence[tuple[str, str]] = ()
    use_case: str = ""
    language: str = ""
    annotations: Sequence[str] = ()
    details: Mapping[str, Any] | None = None
    """`id`, `group`, `source`, `context` and `constraints` of the record that it came from or becomes."""
    tokens: int = 0
    consent: bool | None = None
    counted_for: str = ""
    """For whom it counts towards the cap; empty: for nobody."""
    pii: Sequence[str] = ()
    answers: Sequence[Answer] = ()


# --- what is there ----------------------------------------------------------------------------------------------


def last_id(connection: Connection) -> int:
    """The id of the newest prompt; 0 where there is none."""
    return connection.execute(select(func.coalesce(func.max(prompts.c.id), 0))).scalar_one()


def text_digests(connection: Connection, *, up_to: int) -> Iterator[bytes]:
    """Those of every prompt with an id up to `up_to`, streamed in no order."""
    query = select(prompts.c.text_digest).where(prompts.c.id <= up_to)
    yield from connection.execute(query).scalars().yield_per(_BLOCK)


def prefix_digests(connection: Connection, *, up_to: int) -> Iterator[bytes]:
    """The same of their beginnings, where they are long enough to have one."""
    query = select(prompts.c.prefix_digest).where(
        prompts.c.id <= up_to, prompts.c.prefix_digest.is_not(None)
    )
    yield from connection.execute(query).scalars().yield_per(_BLOCK)


def digests_after(connection: Connection, after: int) -> set[bytes]:
    """Both digests of every prompt that came after the one with this id."""
    query = select(prompts.c.text_digest, prompts.c.prefix_digest).where(prompts.c.id > after)
    return {digest for row in connection.execute(query) for digest in row if digest is not None}


def prompts_counted_for(connection: Connection, *, up_to: int) -> dict[str, int]:
    """How many prompts there are of each user or organization that the cap counts, with an id up to `up_to`."""
    query = (
        select(prompts.c.counted_for, func.count())
        .where(prompts.c.counted_for != "", prompts.c.id <= up_to)
        .group_by(prompts.c.counted_for)
    )
    return {row[0]: row[1] for row in connection.execute(query)}


def find_import(connection: Connection, sha256: bytes) -> Row[Any] | None:
    """The earlier import of a file with these bytes."""
    return connection.execute(select(imports).where(imports.c.sha256 == sha256)).first()


def all_imports(connection: Connection) -> Sequence[Row[Any]]:
    """Every import, oldest first."""
    return connection.execute(select(imports).order_by(imports.c.id)).all()


def is_withheld(row: Any) -> bool:
    """Whether a prompt stays here: personal data that was found in it never leaves from the training side."""
    return bool(row.pii) and row.split == "train"


WITHHELD = and_(prompts.c.split == "train", cast(prompts.c.pii, String) != "[]")
"""The same as a condition of a query."""


def count_flagged(connection: Connection) -> int:
    """How many prompts stay here for what was found in them."""
    return connection.execute(select(func.count()).where(WITHHELD)).scalar_one()


def setting(connection: Connection, key: str) -> Any:
    """A value that the whole project agreed on, or None."""
    return connection.execute(
        select(settings.c.value).where(settings.c.key == key)
    ).scalar_one_or_none()


def settle(connection: Connection, key: str, value: Any) -> None:
    """Fix a value for the whole project."""
    connection.execute(settings.insert().values(key=key, value=value))


# --- in ---------------------------------------------------------------------------------------------------------


def add_import(
    connection: Connection,
    now: int,
    actor: str,
    *,
    file: str,
    sha256: bytes,
    shape: str,
    new: Iterable[NewPrompt],
    counts: Mapping[str, Any],
    then: Callable[[], object] = lambda: None,
) -> int:
    """Take in the prompts of one file; returns how many there were.

    `then` is called when they are in, and `counts` is read after that, so whoever makes them can fill it on the way;
    `first_id`, that of the file's first prompt, is noted with them: the others follow it without a gap. A file is in
    whole, or not at all.
    """
    in_turn(connection)
    import_id = (connection.execute(select(func.max(imports.c.id))).scalar() or 0) + 1
    first_id, taken = last_id(connection) + 1, 0
    connection.execute(
        imports.insert().values(
            id=import_id, file=file, sha256=sha256, shape=shape, counts={}, created_at=now
        )
    )
    author_ids: dict[str, int] = {}
    for block in _blocks(new):
        _add(connection, now, block, first_id + taken, import_id, author_ids)
        taken += len(block)
    then()
    noted = {**counts, "first_id": first_id}
    connection.execute(imports.update().where(imports.c.id == import_id).values(counts=noted))
    events.append(connection, now, actor, "import", sha256.hex(), file=file, prompts=taken)
    return taken


def add_prompts(
    connection: Connection,
    now: int,
    new: Sequence[NewPrompt],
    *,
    import_id: int | None = None,
) -> list[int]:
    """Write prompts with their authors and the answers that came along; returns their ids, in order.

    Raises:
        IntegrityError: one of them is there already, or an author's split would differ.
    """
    if not new:
        return []
    in_turn(connection)
    first_id = last_id(connection) + 1
    _add(connection, now, new, first_id, import_id, {})
    return list(range(first_id, first_id + len(new)))


_PROMPT = (
    *("id", "public_id", "author_id", "split", "kind", "text", "history", "examples", "use_case"),
    *("language", "annotations", "details", "tokens", "consent", "counted_for", "pii"),
    *("text_digest", "prefix_digest", "import_id", "created_at"),
)
_MOST_AUTHORS = 100_000
"""Whose ids are remembered from one block to the next."""


def _add(
    connection: Connection,
    now: int,
    new: Sequence[NewPrompt],
    first_id: int,
    import_id: int | None,
    author_ids: dict[str, int],
) -> None:
    if len(author_ids) > _MOST_AUTHORS:
        author_ids.clear()
    _find_authors(connection, new, author_ids)
    rows = [
        (
            *(number, new_public_id(), author_ids[one.author], one.split, one.kind, one.text),
            *(one.history, one.examples, one.use_case, one.language, one.annotations),
            *(dict(one.details or {}), one.tokens, one.consent, one.counted_for, one.pii),
            *(one.text_digest, one.prefix_digest, import_id, now),
        )
        for number, one in enumerate(new, start=first_id)
    ]
    insert_many(connection, prompts, _PROMPT, rows)
    if answers := [
        row
        for prompt_id, one in enumerate(new, start=first_id)
        for row in given.numbered(prompt_id, one.answers)
    ]:
        insert_many(connection, given_answers, given.COLUMNS, answers)


def _find_authors(
    connection: Connection, new: Sequence[NewPrompt], author_ids: dict[str, int]
) -> None:
    """Put the id of each author into `author_ids`; who is not there yet is written down."""
    wanted = {one.author: one.split for one in new if one.author not in author_ids}
    keys = list(wanted)
    for start in range(0, len(keys), 500):
        query = select(authors.c.key, authors.c.id).where(
            authors.c.key.in_(keys[start : start + 500])
        )
        author_ids.update((row.key, row.id) for row in connection.execute(query))
    if missing := [key for key in keys if key not in author_ids]:
        last = connection.execute(select(func.coalesce(func.max(authors.c.id), 0))).scalar_one()
        rows = [(number, key, wanted[key]) for number, key in enumerate(missing, start=last + 1)]
        insert_many(connection, authors, ("id", "key", "split"), rows)
        author_ids.update((key, number) for number, key, _ in rows)


def in_turn(connection: Connection) -> None:
    """On PostgreSQL, where several may write at once, one after the other: ids are the last one's and one more."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("select pg_advisory_xact_lock(4207718)"))


def add_record(connection: Connection, now: int, prompt: Prompt, split: str) -> int:
    """A record's prompt on a side of the split, with everything that brings the same record back; made, or found.

    For prompts that were split already: by `prompts export`, `data prompts`, `data import`, or a benchmark.

    Raises:
        JudgmentError: the store has it on another side.
    """
    said = [(turn.role, turn.text) for turn in prompt.history]
    digest, _ = digests(prompt.text, said, (), None)
    found = find_prompt(connection, digest)
    if found is not None and prompt_record(found, author=prompt.group).id != prompt.id:
        # The same text under another name, with other constraints perhaps: another prompt.
        told = events.canonical([prompt.id, digest.hex()])
        digest = hashlib.sha256(told.encode()).digest()[:16]
        found = find_prompt(connection, digest)
    if found is not None:
        if found.split != split:
            raise JudgmentError(
                f"prompt {prompt.id} is on the {found.split} side of the store, not on the {split} side"
            )
        return found.id
    kind = prompt.source if prompt.source in KINDS else "customer"
    kept = prompt.model_dump(
        mode="json", exclude_defaults=True, include={"group", "source", "context", "constraints"}
    )
    new = NewPrompt(
        author=f"{split}/{prompt.group or prompt.opening_id}",
        split=split,
        kind=kind,
        text=prompt.text,
        text_digest=digest,
        history=said,
        use_case=prompt.use_case,
        details={"id": prompt.id, "group": "", "source": "", **kept},
    )
    return add_prompts(connection, now, [new])[0]


def is_record(row: Any) -> bool:
    """Whether a prompt came as a record of some artefact, which others may have read as well."""
    return "id" in row.details


def find_prompt(connection: Connection, text_digest: bytes) -> Row[Any] | None:
    """The prompt with this digest, if there is one."""
    return connection.execute(select(prompts).where(prompts.c.text_digest == text_digest)).first()


# --- policies and what they wrote -------------------------------------------------------------------------------


def add_policy(
    connection: Connection, now: int, *, name: str, sha256: str, sampling: Mapping[str, Any]
) -> int:
    """The policy of this name, weights and sampling settings: made, or found."""
    settings_text = json.dumps(dict(sampling), sort_keys=True)
    found = connection.execute(
        select(policies.c.id).where(
            policies.c.name == name,
            policies.c.sha256 == sha256,
            policies.c.sampling == settings_text,
        )
    ).scalar_one_or_none()
    if found is not None:
        return found
    return connection.execute(
        policies.insert()
        .values(
            public_id=new_public_id(),
            name=name,
            sha256=sha256,
            sampling=settings_text,
            created_at=now,
        )
        .returning(policies.c.id)
    ).scalar_one()


def has_completions(connection: Connection, policy_id: int) -> bool:
    """Whether anything that this policy wrote is kept."""
    query = select(completions.c.id).where(completions.c.policy_id == policy_id).limit(1)
    return connection.execute(query).first() is not None


def find_policy(connection: Connection, name: str) -> int:
    """The latest policy of this name.

    Raises:
        JudgmentError: there is none.
    """
    query = select(policies.c.id).where(policies.c.name == name).order_by(policies.c.id.desc())
    found = connection.execute(query.limit(1)).scalar_one_or_none()
    if found is None:
        names = connection.execute(select(policies.c.name).distinct().order_by(policies.c.name))
        there = ", ".join(names.scalars()) or "none yet"
        raise JudgmentError(
            f"the store has no completions of a policy '{name}' (there: {there}); "
            "`alignloop sample --project` brings some in"
        )
    return found


def add_completions(
    connection: Connection, prompt_id: int, policy_id: int, texts: Sequence[Completion]
) -> list[int]:
    """A policy's answers to a prompt, after those that are there; ids in order."""
    where = (completions.c.prompt_id == prompt_id, completions.c.policy_id == policy_id)
    draw = connection.execute(select(func.count()).select_from(completions).where(*where))
    before = draw.scalar_one()
    ids: list[int] = []
    for number, completion in enumerate(texts, start=before + 1):
        ids.append(
            connection.execute(
                completions.insert()
                .values(
                    prompt_id=prompt_id,
                    policy_id=policy_id,
                    draw=number,
                    text=completion.text,
                    finished=completion.finished,
                    tokens=completion.tokens,
                    token_ids=list(completion.token_ids),
                )
                .returning(completions.c.id)
            ).scalar_one()
        )
    return ids


# --- out --------------------------------------------------------------------------------------------------------


def each_prompt(
    connection: Connection, *, splits: Sequence[str] = (), kinds: Sequence[str] = ()
) -> Iterator[Row[Any]]:
    """Rows of prompts with their author's key, in the order in which they came, streamed."""
    query = select(prompts, authors.c.key.label("author")).join(
        authors, authors.c.id == prompts.c.author_id
    )
    if splits:
        query = query.where(prompts.c.split.in_(splits))
    if kinds:
        query = query.where(prompts.c.kind.in_(kinds))
    return iter(connection.execute(query.order_by(prompts.c.id)).yield_per(_BLOCK))


def each_given_answer(connection: Connection) -> Iterator[Row[Any]]:
    """Rows of the answers that came with prompts, by prompt and number, streamed."""
    query = select(given_answers).order_by(given_answers.c.prompt_id, given_answers.c.answer_no)
    return iter(connection.execute(query).yield_per(_BLOCK))


def prompt_record(row: Any, author: str | None = None) -> Prompt:
    """The record that stages read, from a row of `each_prompt`, or of a prompt whose author's key is given."""
    details = row.details
    group = details.get("group")
    if group is None:
        group = author if author is not None else row.author
    return Prompt(
        id=details.get("id") or f"prompt-{row.text_digest.hex()[:16]}",
        text=row.text,
        history=tuple(Turn(role=role, text=text) for role, text in row.history),
        group=group,
        source=details.get("source", row.kind),
        use_case=row.use_case,
        context=details.get("context", ""),
        constraints=details.get("constraints", ()),
    )


def _blocks(items: Iterable[NewPrompt]) -> Iterator[list[NewPrompt]]:
    block: list[NewPrompt] = []
    for item in items:
        block.append(item)
        if len(block) == _BLOCK:
            yield block
            block = []
    if block:
        yield block
