"""Open-Assistant's trees of messages, nested or one message per line: prompts with ranked replies."""

from __future__ import annotations

import json
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, cast

from alignloop.data.incoming import Answer, Candidate, Kind, Place, Rejected
from alignloop.data.shapes.fields import Object, common
from alignloop.data.shapes.rows import (
    Found,
    Row,
    Rows,
    Shape,
    Unreadable,
    as_text,
    quoted,
    rejected,
    what,
)
from alignloop.data.shapes.turns import Turn

_NOT_KEPT = ("replies", "labels", "emojis", "events", "detoxify")
"""What a message may have and nothing here reads: not written to the scratch file."""


@dataclass(slots=True)
class _Node:
    """A message and the replies to it."""

    place: Place
    fields: Object
    replies: list[_Node] = field(default_factory=list["_Node"])


def _fits(row: Any) -> str:
    if not isinstance(row, dict):
        return ""
    given = cast(Object, row)
    prompt = given.get("prompt")
    if "message_tree_id" in given and isinstance(prompt, dict) and "text" in prompt:
        return "'message_tree_id' and 'prompt' with 'text' and 'replies'"
    if all(isinstance(given.get(key), str) for key in ("message_id", "text", "role")):
        return "'message_id', 'text' and 'role'"
    return ""


def _read(row: Any, place: Place, kind: Kind) -> Found:
    root = row if isinstance(row, _Node) else _nested(row, place)
    found: list[Candidate | Rejected] = []
    waiting: list[tuple[_Node, tuple[Turn, ...]]] = [(root, ())]
    while waiting:
        node, history = waiting.pop()
        try:
            text = _text(node, "prompter")
            if any(not earlier.strip() for _, earlier in history):
                raise Unreadable("an earlier message is blank")
        except Unreadable as error:
            found.append(_turned_away(node, error))
            continue
        replies: list[tuple[_Node, str]] = []
        for reply in node.replies:
            try:
                replies.append((reply, _text(reply, "assistant")))
            except Unreadable as error:
                found.append(_turned_away(reply, error))
        try:
            answers, labeler = _answers(replies)
            fields = common(node.fields, kind)
            fields["labeler"] = labeler
            found.append(Candidate(node.place, text, history, answers=answers, **fields))
        except Unreadable as error:
            found.append(Rejected(node.place, str(error), as_text(node.fields)))
        for reply, answer in reversed(replies):
            said = (*history, ("user", text), ("assistant", answer))
            waiting += [(following, said) for following in reversed(reply.replies)]
    return found


def _text(node: _Node, role: str) -> str:
    """What a message says.

    Raises:
        Unreadable: it was deleted or turned down, or is not by the one whose turn it is.
    """
    given = node.fields
    if _is(given.get("deleted"), True):
        raise Unreadable("deleted")
    if _is(given.get("review_result"), False):
        raise Unreadable("turned down in review (spam)")
    if given.get("role") != role:
        raise Unreadable(f"the role is {quoted(given.get('role'))} where it is the {role}'s turn")
    text = given.get("text")
    if not isinstance(text, str):
        raise Unreadable(f"'text' is {what(text)}, not text")
    return text


def _answers(replies: Sequence[tuple[_Node, str]]) -> tuple[tuple[Answer, ...], str]:
    """Replies with ranks where two or more have one; else a lone reply by a person, as a demonstration, and its author.

    In the file rank 0 is the best.
    """
    ranked = [
        Answer(text, rank + 1, _model(reply))
        for reply, text in replies
        if (rank := _rank(reply.fields.get("rank"))) is not None
    ]
    if len(ranked) > 1:
        return tuple(ranked), ""
    if len(replies) == 1 and not (model := _model(replies[0][0])):
        author = replies[0][0].fields.get("user_id")
        return (Answer(replies[0][1], model=model),), author if isinstance(author, str) else ""
    return (), ""


def _rank(given: Any) -> int | None:
    if given is None or given == "":
        return None
    try:
        rank = int(given)
        if not isinstance(given, bool) and rank == float(given) and 0 <= rank < 2**31:
            return rank
    except (TypeError, ValueError, OverflowError):
        pass
    raise Unreadable(f"the rank of a reply is {quoted(given)}, not a whole number from 0")


def _model(node: _Node) -> str:
    """Which model wrote a message; '' where a person did."""
    name = node.fields.get("model_name")
    if isinstance(name, str) and name:
        return name
    return "model" if _is(node.fields.get("synthetic"), True) else ""


def _is(given: Any, wanted: bool) -> bool:
    """Whether a truth, as JSON or a table has it, is the one wanted."""
    return given is wanted or (isinstance(given, str) and given.lower() == str(wanted).lower())


def _turned_away(node: _Node, error: Unreadable) -> Rejected:
    """One message for a whole branch: what is below would have it in its history."""
    below, waiting = 0, list(node.replies)
    while waiting:
        below += 1
        waiting += waiting.pop().replies
    more = f"; {below} messages below it are left out too" if below else ""
    return Rejected(node.place, f"{error}{more}", as_text(node.fields))


# --- the nested form ---


def _nested(row: Any, place: Place) -> _Node:
    prompt = cast(Object, row).get("prompt") if isinstance(row, dict) else None
    if not isinstance(prompt, dict):
        raise Unreadable(
            "no 'prompt' with 'text', 'role' and 'replies', and no message with 'message_id'"
        )
    root = _Node(place, {})
    waiting = [(root, cast(Object, prompt))]
    while waiting:
        node, given = waiting.pop()
        node.fields = {key: value for key, value in given.items() if key not in _NOT_KEPT}
        replies = given.get("replies")
        for reply in cast(list[Any], replies) if isinstance(replies, list) else []:
            child = _Node(place, {})
            node.replies.append(child)
            if isinstance(reply, dict):
                waiting.append((child, cast(Object, reply)))
    return root


# --- the flat form ---


def _gather(rows: Rows) -> Rows:
    """Messages of their own put together as trees; whole trees pass, and so does what is neither.

    A tree's messages may stand anywhere in the file, so all of them go through a scratch file.
    """
    with (
        tempfile.TemporaryDirectory(prefix="alignloop-trees-") as folder,
        closing(sqlite3.connect(Path(folder) / "messages.sqlite")) as scratch,
    ):
        scratch.execute("PRAGMA journal_mode=OFF")
        scratch.execute("PRAGMA synchronous=OFF")
        scratch.execute(
            "CREATE TABLE message (at INTEGER PRIMARY KEY, tree TEXT, file TEXT, line INTEGER, fields TEXT)"
        )
        roots: dict[str, str] = {}
        for row in rows:
            if isinstance(row, Rejected) or not _is_message(row.value):
                yield row
                continue
            try:
                kept = {key: value for key, value in row.value.items() if key not in _NOT_KEPT}
                tree = _tree(kept, roots)
                # ASCII, so that no half of a surrogate pair keeps SQLite from storing it.
                stored = (
                    json.dumps(tree),
                    row.place.file,
                    row.place.line,
                    json.dumps(kept, default=str),
                )
            except Unreadable as error:
                yield rejected(row, str(error))
            except (ValueError, TypeError, RecursionError):
                yield rejected(row, "nested too deeply")
            else:
                scratch.execute(
                    "INSERT INTO message (tree, file, line, fields) VALUES (?, ?, ?, ?)", stored
                )
        scratch.execute("CREATE INDEX by_tree ON message (tree, at)")
        # Trees in the order of their first message.
        found = scratch.execute(
            "SELECT m.tree, m.file, m.line, m.fields FROM message m "
            "JOIN (SELECT tree, MIN(at) AS start FROM message GROUP BY tree) t ON t.tree = m.tree "
            "ORDER BY t.start, m.at"
        )
        for _, messages in groupby(found, key=lambda one: one[0]):
            yield from _trees(
                [_Node(Place(file, line), json.loads(fields)) for _, file, line, fields in messages]
            )


def _is_message(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and "message_id" in value
        and not isinstance(cast(Object, value).get("prompt"), dict)
    )


def _tree(message: Object, roots: dict[str, str]) -> str:
    """Which tree a message belongs to; `roots` keeps message -> tree for those that do not say, whose parents come
    before them."""
    own = _id(message, "message_id")
    if own is None:
        raise Unreadable("'message_id' is empty")
    if (tree := _id(message, "message_tree_id")) is not None:
        return tree
    parent = _id(message, "parent_id")
    if parent is None:
        roots[own] = own
    elif parent not in roots:
        raise Unreadable(
            f"no 'message_tree_id', and its parent {quoted(parent)} does not stand before it"
        )
    else:
        roots[own] = roots[parent]
    return roots[own]


def _id(message: Object, key: str) -> str | None:
    value = message.get(key)
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise Unreadable(f"'{key}' is {what(value)}, not an id")
    return str(value)


def _trees(messages: list[_Node]) -> Iterator[Row | Rejected]:
    """The messages of one tree, put together from the root."""
    nodes: dict[str, _Node] = {}
    roots: list[_Node] = []
    for node in messages:
        own = str(node.fields["message_id"])
        if own in nodes:
            yield Rejected(
                node.place, "a second message with this 'message_id'", as_text(node.fields)
            )
        else:
            nodes[own] = node
    for node in nodes.values():
        parent = _id(node.fields, "parent_id")
        if parent is None:
            roots.append(node)
        elif parent in nodes and nodes[parent] is not node:
            nodes[parent].replies.append(node)
    reached: set[int] = set()
    waiting = list(roots)
    while waiting:
        node = waiting.pop()
        reached.add(id(node))
        waiting += node.replies
    for root in roots:
        yield Row(root.place, root)
    for node in nodes.values():
        if id(node) not in reached:
            yield Rejected(
                node.place, "the messages before it are not in the file", as_text(node.fields)
            )


OASST_TREE = Shape(
    "oasst_tree",
    (
        *(
            "message_tree_id",
            "prompt",
            "replies",
            "message_id",
            "parent_id",
            "text",
            "role",
            "rank",
        ),
        *("deleted", "review_result", "synthetic", "model_name"),
    ),
    _fits,
    _read,
    _gather,
)
