"""Comparisons of two summaries, as the data of Stiennon et al. (2020) has them."""

from __future__ import annotations

from typing import Any, cast

from alignloop.data.incoming import Answer, Candidate, Kind, Place
from alignloop.data.shapes.fields import Object, common
from alignloop.data.shapes.rows import Found, Shape, Unreadable, quoted, what
from alignloop.data.shapes.turns import unpacked


def _fits(row: Any) -> str:
    if not isinstance(row, dict) or not isinstance(cast(Object, row).get("info"), dict):
        return ""
    given = cast(Object, row)
    if given.get("summaries") is not None:
        return "'info', 'summaries' and 'choice'"
    return "'info' and 'summary' with 'axes'" if isinstance(given.get("summary"), dict) else ""


def _read(row: Any, place: Place, kind: Kind) -> Found:
    given = cast(Object, row) if isinstance(row, dict) else {}
    info = given.get("info")
    if not isinstance(info, dict):
        raise Unreadable("no 'info' about what is summarized")
    if given.get("summaries") is None and given.get("summary") is not None:
        raise Unreadable(
            "ratings of one summary on several axes: no comparison, and no summary by a labeler"
        )
    summaries, choice = unpacked(given.get("summaries")), given.get("choice")
    if not isinstance(summaries, list) or len(cast(list[Any], summaries)) != 2:
        raise Unreadable("'summaries' is not a list of two")
    if isinstance(choice, bool) or choice not in (0, 1):
        raise Unreadable(f"'choice' is {quoted(choice)}, not 0 or 1")
    answers = tuple(
        _summary(at + 1, one, 1 if at == choice else 2)
        for at, one in enumerate(cast(list[Any], summaries))
    )
    fields = common(given, kind)
    fields["use_case"] = "summarization"
    return (Candidate(place, _prompt(cast(Object, info)), answers=answers, **fields),)


def _summary(number: int, one: Any, rank: int) -> Answer:
    given = cast(Object, one) if isinstance(one, dict) else {}
    text, policy = given.get("text"), given.get("policy")
    if not isinstance(text, str):
        raise Unreadable(f"the text of summary {number} is {what(text)}")
    return Answer(text.strip(), rank, policy if isinstance(policy, str) else "")


def _prompt(info: Object) -> str:
    """A post as TL;DR prompts have it (subreddit, title, post); a news article the same way."""
    subreddit, title, post, article = (
        info.get(key) for key in ("subreddit", "title", "post", "article")
    )
    text = post if post is not None else article
    if not isinstance(text, str):
        raise Unreadable("'info' has neither 'post' nor 'article'")
    lines = [f"SUBREDDIT: r/{subreddit}"] if isinstance(subreddit, str) and subreddit else []
    lines += [f"TITLE: {title}"] if isinstance(title, str) and title else []
    lines += [f"{'POST' if post is not None else 'ARTICLE'}: {text}", "TL;DR:"]
    return "\n\n".join(lines)


SUMMARIZE_FEEDBACK = Shape(
    "summarize_feedback",
    (
        "info",
        "post",
        "article",
        "title",
        "subreddit",
        "summaries",
        "text",
        "policy",
        "choice",
        "worker",
    ),
    _fits,
    _read,
)
