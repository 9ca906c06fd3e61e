"""A prompt with several answers and a rank or score for each, in two lists of one length."""

from __future__ import annotations

import math
from typing import Any, cast

from alignloop.data.incoming import Answer, Candidate, Kind, Place
from alignloop.data.shapes.fields import Object, common
from alignloop.data.shapes.plain import TEXTS, history_of, prompt_of
from alignloop.data.shapes.rows import Found, Shape, Unreadable, what
from alignloop.data.shapes.turns import Said, is_messages, said, turns

_ANSWERS = ("candidates", "completions", "responses", "answers", "outputs")
_RANKS = ("ranks", "rank", "ranking")
_SCORES = ("scores", "ratings", "votes")
_MODELS = ("models", "systems", "policies")


def _fits(row: Any) -> str:
    if not isinstance(row, dict):
        return ""
    given = cast(Object, row)
    answers, judged = _lists(given)
    if not answers or not judged or not any(given.get(key) is not None for key in TEXTS):
        return ""
    return f"a prompt, '{answers}' and '{judged}'"


def _lists(row: Object) -> tuple[str, str]:
    """The keys of the answers (texts) and of the ranks or scores (numbers), '' where there are none."""
    answers = next((key for key in _ANSWERS if _holds(row.get(key), str)), "")
    judged = next((key for key in (*_RANKS, *_SCORES) if _holds(row.get(key), int | float)), "")
    return answers, judged


def _holds(value: Any, of: Any) -> bool:
    first = cast(list[Any], value)[0] if isinstance(value, list) and value else None
    return isinstance(first, of) and not isinstance(first, bool)


def _read(row: Any, place: Place, kind: Kind) -> Found:
    if not isinstance(row, dict):
        raise Unreadable(f"{what(row)}; an object is needed")
    given = cast(Object, row)
    fields = common(given, kind)
    names, judged = _lists(given)
    if not names or not judged:
        raise Unreadable(
            f"no list of {'ranks or scores' if names else 'answers, which are texts'}: looked for "
            f"{', '.join((*_RANKS, *_SCORES) if names else _ANSWERS)}"
        )
    texts = cast(list[Any], given[names])
    if not all(isinstance(text, str) for text in texts):
        raise Unreadable(f"'{names}' holds something else than texts")
    ranks = _ranks(given[judged], judged in _SCORES, judged)
    if len(ranks) != len(texts) or len(texts) < 2:
        raise Unreadable(
            f"{len(texts)} answers with {len(ranks)} ranks or scores: as many, and two at least, are needed"
        )
    models: list[Any] = next(
        (given[key] for key in _MODELS if _holds(given.get(key), str)), list[Any]()
    )
    if len(models) != len(texts) or not all(isinstance(model, str) for model in models):
        models = [""] * len(texts)
    talk = _asked(given)
    answers = tuple(Answer(*one) for one in zip(texts, ranks, models, strict=True))
    return (Candidate(place, talk.text, talk.history, answers=answers, **fields),)


def _asked(row: Object) -> Said:
    if not is_messages(row.get("prompt")):
        return Said(history_of(row), prompt_of(row))
    talk = said(turns(row["prompt"], "prompt"))
    if talk.answer is not None:
        raise Unreadable("the prompt ends with the assistant")
    return talk


def _ranks(given: list[Any], is_score: bool, key: str) -> list[int]:
    """Ranks from 1, equal ones being ties: of the lowest rank or the highest score."""
    for one in given:
        if isinstance(one, bool) or not isinstance(one, int | float) or not math.isfinite(one):
            raise Unreadable(f"'{key}' holds something else than numbers")
    levels = sorted(set(given), reverse=is_score)
    return [levels.index(one) + 1 for one in given]


RANKED = Shape("ranked", ("prompt", *_ANSWERS, *_RANKS, *_SCORES, *_MODELS), _fits, _read)
