"""What every shape may say beside the prompt: who asked, whether it may be used, what kind it is."""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import Any, cast

from alignloop.data.incoming import ANNOTATIONS, USE_CASES, Kind
from alignloop.data.shapes.languages import iso_639_1
from alignloop.data.shapes.rows import Unreadable, quoted, what

Object = dict[str, Any]

FIELDS: dict[str, tuple[str, ...]] = {
    "user": (
        *(
            "user",
            "user_id",
            "userid",
            "userId",
            "username",
            "author",
            "author_id",
            "asker",
            "asker_id",
        ),
        *("customer", "customer_id", "uid"),
    ),
    "organization": (
        *("organization", "organization_id", "organizationId", "organisation", "organisation_id"),
        *(
            "org",
            "org_id",
            "orgId",
            "company",
            "company_id",
            "tenant",
            "tenant_id",
            "workspace",
            "workspace_id",
        ),
    ),
    "consent": (
        *("consent", "consented", "opt_in", "opted_in", "training_allowed", "allow_training"),
        *("training_consent", "training_opt_in", "data_consent", "consent_to_training"),
    ),
    "refusal": ("opt_out", "opted_out", "training_opt_out", "do_not_train", "no_training"),
    "use_case": ("use_case", "usecase", "useCase", "category", "task_type"),
    "language": ("language", "lang", "locale"),
    "annotations": ("annotations",),
    "examples": ("examples", "few_shot", "few_shot_examples"),
    "kind": ("kind", "source"),
    "labeler": (
        *(
            "labeler",
            "labeler_id",
            "labeller",
            "annotator",
            "annotator_id",
            "worker",
            "worker_id",
            "rater",
            "rater_id",
        ),
    ),
}
"""Field -> keys that give it, the first of them that stands in a row being taken."""

_FIELD_OF = {
    **{key: (field, at) for field, keys in FIELDS.items() for at, key in enumerate(keys)},
    **{name: ("annotation", at) for at, name in enumerate(ANNOTATIONS)},
}
_CONSENTS = frozenset(FIELDS["consent"])
_REFUSALS = frozenset(FIELDS["refusal"])
_YES = frozenset(
    {
        "true",
        "yes",
        "y",
        "1",
        "on",
        "granted",
        "given",
        "allowed",
        "allow",
        "opt_in",
        "opted_in",
        "agreed",
    }
)
_NO = frozenset(
    {
        "false",
        "no",
        "n",
        "0",
        "off",
        "denied",
        "refused",
        "withdrawn",
        "revoked",
        "disallowed",
        "deny",
        "opt_out",
        "opted_out",
    }
)
_USE_CASES = {
    **{name: name for name in USE_CASES},
    **dict.fromkeys(
        ("generate", "text_generation", "creative_writing", "writing", "story_generation"),
        "generation",
    ),
    **dict.fromkeys(
        ("openqa", "open_domain_qa", "open_question_answering", "general_qa", "qa_open"), "open_qa"
    ),
    **dict.fromkeys(
        ("closedqa", "closed_domain_qa", "closed_question_answering", "qa_closed"), "closed_qa"
    ),
    **dict.fromkeys(("brainstorm", "ideation"), "brainstorming"),
    **dict.fromkeys(("chatting", "conversation", "dialogue", "dialog", "chatbot"), "chat"),
    **dict.fromkeys(("rewriting", "rewrites", "paraphrase", "paraphrasing"), "rewrite"),
    **dict.fromkeys(
        ("summarisation", "summarize", "summarise", "summary", "tldr"), "summarization"
    ),
    **dict.fromkeys(
        ("classify", "classifier", "categorization", "categorisation"), "classification"
    ),
    **dict.fromkeys(("extraction", "information_extraction", "extracting"), "extract"),
    **dict.fromkeys(("misc", "miscellaneous", "others"), "other"),
}
_KINDS: dict[str, Kind] = {
    "plain": "labeler_plain",
    "few_shot": "labeler_fewshot",
    "fewshot": "labeler_fewshot",
    "user_based": "labeler_user_based",
    "userbased": "labeler_user_based",
    "customer": "customer",
    "api": "customer",
}
_PAIRS = (
    *(("input", "output"), ("query", "response"), ("question", "answer"), ("prompt", "completion")),
    *(("prompt", "response"), ("instruction", "output"), ("instruction", "response")),
)


def common(row: Object, kind: Kind) -> Object:
    """Fields of `Candidate` that the row gives beside prompt and answers, and its kind: `kind` where it does not say.

    A value of `use_case`, `language`, `kind` or `annotations` that is not known counts as not given. A user, an
    organization, a consent or an example that cannot be understood does not: the split and the filters rest on them.

    Raises:
        Unreadable: one of these is of the wrong type.
    """
    given: dict[str, list[tuple[int, str, Any]]] = {}
    for key, value in row.items():
        if value is not None and (at := _FIELD_OF.get(key)) is not None:
            given.setdefault(at[0], []).append((at[1], key, value))
    found: Object = {"kind": kind}
    for field, values in given.items():
        if len(values) > 1:
            values.sort(key=lambda one: one[0])
        match field:
            case "user" | "organization" | "labeler":
                found[field] = next(
                    filter(None, (_name(key, value) for _, key, value in values)), ""
                )
            case "use_case":
                found[field] = next(filter(None, (use_case(value) for _, _, value in values)), "")
            case "language":
                found[field] = next(filter(None, (language(value) for _, _, value in values)), "")
            case "kind":
                found[field] = next(filter(None, (_kind(value) for _, _, value in values)), kind)
            case "examples":
                found[field] = _examples(*values[0][1:])
            case _:
                pass
    if "consent" in given or "refusal" in given:
        found["consent"] = consent(row)
    if "annotations" in given or "annotation" in given:
        found["annotations"] = _annotations(row)
    if found.get("user") and isinstance(site := row.get("site"), str):
        found["user"] = (
            f"{site}/{found['user']}"  # on such sites the same number is another person on the next
        )
    return found


def consent(row: Object) -> bool | None:
    """Whether the user agreed to training on it; one no counts more than any yes. None: nothing is said.

    Raises:
        Unreadable: it is said in words that are neither yes nor no.
    """
    said: set[bool | None] = set()
    for key in row:
        if key in _CONSENTS:
            said.add(_answer(key, row[key]))
        elif key in _REFUSALS:
            refused = _answer(key, row[key])
            said.add(None if refused is None else not refused)
    return False if False in said else True if True in said else None


def use_case(given: Any) -> str:
    """One of `USE_CASES`, however it is spelled, or ''."""
    return _USE_CASES.get(_word(given), "") if isinstance(given, str) else ""


def language(given: Any) -> str:
    """A code of ISO 639-1, or ''."""
    return iso_639_1(given) if isinstance(given, str) else ""


def _word(given: str) -> str:
    """A name in small letters, with one `_` for what stands between words; '' for what is too long to be one."""
    return _spelled(given) if len(given) <= 64 else ""


@lru_cache(maxsize=4096)
def _spelled(given: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", given.lower()).strip("_")


def _kind(given: Any) -> Kind | None:
    if not isinstance(given, str):
        return None
    return _KINDS.get(_word(given).removeprefix("labeler_").removeprefix("labeller_"))


def _name(key: str, value: Any) -> str:
    """Who somebody is, as text: a name or number, or an object with `id`."""
    if isinstance(value, dict):
        inner = cast(Object, value)
        named = [inner[k] for k in ("id", "user_id", "name") if inner.get(k) is not None]
        value = named[0] if named else inner
    match value:
        case str():
            return value.strip()
        case bool():
            pass
        case int() if abs(value) < 2**64:
            return str(value)
        case float() if math.isnan(value):
            return ""
        case float() if value.is_integer() and abs(value) < 2**53:
            return str(int(value))  # what a table makes of whole numbers once one is missing
        case _:
            pass
    raise Unreadable(f"'{key}' is {what(value)}, not a name")


def _answer(key: str, value: Any) -> bool | None:
    match value:
        case None | "":
            return None
        case bool():
            return value
        case float() if math.isnan(value):
            return None
        case int() | float() if value in (0, 1):
            return bool(value)
        case str() if _word(value) in _YES:
            return True
        case str() if _word(value) in _NO:
            return False
        case str():
            raise Unreadable(f"'{key}' is {quoted(value)}, neither yes nor no")
        case _:
            raise Unreadable(f"'{key}' is {what(value)}, neither yes nor no")


def _annotations(row: Object) -> tuple[str, ...]:
    """Those that hold, in Table 7's order: from a list of names, an object of truths, or columns of their own."""
    holds: set[str] = set()
    for value in (row[key] for key in FIELDS["annotations"] if key in row):
        if isinstance(value, str):
            holds.update(_word(name) for name in value.split(","))
        elif isinstance(value, list):
            holds.update(_word(name) for name in cast(list[Any], value) if isinstance(name, str))
        elif isinstance(value, dict):
            holds.update(
                _word(name) for name, truth in cast(Object, value).items() if _holds(truth)
            )
    holds.update(name for name in ANNOTATIONS if _holds(row.get(name)))
    return tuple(name for name in ANNOTATIONS if name in holds)


def _holds(value: Any) -> bool:
    return value is True or value == 1 or (isinstance(value, str) and _word(value) in _YES)


def _examples(key: str, value: Any) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, list):
        raise Unreadable(f"'{key}' is {what(value)}, not a list")
    return tuple(_example(key, at, one) for at, one in enumerate(cast(list[Any], value), start=1))


def _example(key: str, number: int, one: Any) -> tuple[str, str]:
    if isinstance(one, dict):
        inner = cast(Object, one)
        for asked, said in _PAIRS:
            if isinstance(inner.get(asked), str) and isinstance(inner.get(said), str):
                return inner[asked], inner[said]
    elif isinstance(one, list | tuple):
        pair: list[Any] = list(cast(Any, one))
        if len(pair) == 2 and all(isinstance(part, str) for part in pair):
            return pair[0], pair[1]
    raise Unreadable(f"example {number} of '{key}' needs 'input' and 'output', two texts")
