"""What stands beside a prompt: spellings, types, and which of several keys counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from alignloop.data.incoming import ANNOTATIONS, KINDS, USE_CASES, Kind, Place
from alignloop.data.shapes.fields import FIELDS, common, language, use_case
from alignloop.data.shapes.languages import iso_639_1
from alignloop.data.shapes.rows import Unreadable
from tests.data.shapes.helpers import one_row


@pytest.mark.parametrize("name", USE_CASES)
def test_a_use_case_is_known_however_it_is_spelled(name: str) -> None:
    spaced = name.replace("_", " ")
    for spelling in (name, spaced, spaced.title(), name.replace("_", "-").upper(), f" {spaced} "):
        assert use_case(spelling) == name


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("Open QA", "open_qa"),
        ("closed-QA", "closed_qa"),
        ("brainstorm", "brainstorming"),
        ("creative_writing", "generation"),
        ("information_extraction", "extract"),
        ("general_qa", "open_qa"),
        ("Summarisation", "summarization"),
        ("beer", ""),
        ("x" * 10_000, ""),
        (5, ""),
        (None, ""),
    ],
)
def test_other_names_of_use_cases(given: Any, expected: str) -> None:
    assert use_case(given) == expected


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ("en", "en"),
        ("EN", "en"),
        ("en-US", "en"),
        ("pt_BR", "pt"),
        ("zh-Hans-CN", "zh"),
        ("cmn", "zh"),
        ("eng", "en"),
        ("deu", "de"),
        ("ger", "de"),
        ("English", "en"),
        ("Chinese", "zh"),
        ("Spanish (Mexico)", "es"),
        ("iw", "he"),
        ("xx", ""),
        ("Unknown", ""),
        ("", ""),
        (None, ""),
        (7, ""),
    ],
)
def test_languages_come_out_as_two_letters(given: Any, code: str) -> None:
    assert language(given) == code


def test_the_table_of_languages_is_that_of_iso_639_1() -> None:
    from alignloop.data.shapes.languages import _codes  # type: ignore[attr-defined]

    codes = set(_codes().values())
    assert len(codes) == 183
    assert all(len(code) == 2 and iso_639_1(code) == code for code in codes)


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ("plain", "labeler_plain"),
        ("few_shot", "labeler_fewshot"),
        ("Few-shot", "labeler_fewshot"),
        ("user_based", "labeler_user_based"),
        ("user-based", "labeler_user_based"),
        ("customer", "customer"),
        *((name, name) for name in KINDS),
    ],
)
def test_kinds_are_known_by_both_names(given: str, kind: Kind) -> None:
    for key in ("kind", "source"):
        assert common({key: given}, "labeler_plain")["kind"] == kind


def test_a_kind_that_is_none_leaves_the_one_that_was_asked_for(tmp_path: Path) -> None:
    assert (
        one_row(tmp_path, {"prompt": "a", "source": "storybooks"}, kind="labeler_plain").kind
        == "labeler_plain"
    )
    assert one_row(tmp_path, {"prompt": "a", "kind": 5, "source": "plain"}).kind == "labeler_plain"
    assert one_row(tmp_path, {"prompt": "a"}).kind == "customer"
    assert (
        one_row(tmp_path, ["a"][0].join(['"', '"']), kind="labeler_plain").kind == "labeler_plain"
    )


@pytest.mark.parametrize("field", ["user", "organization", "labeler"])
def test_every_key_of_a_name_is_read(field: str) -> None:
    for key in FIELDS[field]:
        assert common({key: " ann "}, "customer")[field] == "ann"


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("u1", "u1"),
        (7, "7"),
        (7.0, "7"),
        (float("nan"), ""),
        ("", ""),
        ({"id": 5, "name": "x"}, "5"),
        ({"name": "x"}, "x"),
    ],
)
def test_names_are_texts_numbers_or_objects_with_an_id(given: Any, name: str) -> None:
    assert common({"user": given}, "customer")["user"] == name


@pytest.mark.parametrize(
    "given", [True, ["a"], {}, {"x": 1}, 7.5, float("inf"), {"id": [1]}, 10**30]
)
def test_a_name_of_another_type_is_not_passed_over(given: Any) -> None:
    with pytest.raises(Unreadable, match=r"'user' is .*, not a name"):
        common({"user": given}, "customer")


def test_the_first_key_that_holds_a_name_counts_and_a_site_is_part_of_it() -> None:
    assert common({"author": "b", "user": "", "user_id": "c"}, "customer")["user"] == "c"
    assert common({"user_id": "7", "site": "beer.example"}, "customer")["user"] == "beer.example/7"
    assert common({"user": None}, "customer") == {"kind": "customer"}


@pytest.mark.parametrize(
    "row",
    [
        {"annotations": ["closed_domain", "Ambiguous", "unheard of"]},
        {"annotations": {"ambiguous": True, "closed domain": 1, "intent_unclear": False}},
        {"annotations": "ambiguous, closed-domain"},
        {"ambiguous": True, "closed_domain": "yes", "intent_unclear": "no", "sensitive_content": 0},
        {"annotations": ["ambiguous"], "closed_domain": 1},
    ],
)
def test_annotations_come_in_the_order_of_table_7(row: Any) -> None:
    assert common(row, "customer")["annotations"] == ("ambiguous", "closed_domain")
    assert set(common({name: True for name in ANNOTATIONS}, "customer")["annotations"]) == set(
        ANNOTATIONS
    )


def test_all_fields_at_once(tmp_path: Path) -> None:
    row = {
        "prompt": "Hi",
        "author_id": 3,
        "org": "acme",
        "category": "Chat",
        "lang": "fr-CA",
        "kind": "user_based",
        "annotations": ["ambiguous"],
        "consent": "granted",
        "worker": "w",
    }

    found = one_row(tmp_path, row, "plain")

    assert (found.user, found.organization, found.use_case, found.language) == (
        "3",
        "acme",
        "chat",
        "fr",
    )
    assert (found.kind, found.annotations, found.consent, found.labeler) == (
        "labeler_user_based",
        ("ambiguous",),
        True,
        "w",
    )
    assert found.place == Place(str(tmp_path / "one.jsonl"), 1)


@pytest.mark.parametrize(
    "pair",
    [("input", "output"), ("query", "response"), ("question", "answer"), ("prompt", "completion")],
)
def test_examples_by_every_pair_of_names(pair: tuple[str, str]) -> None:
    given = [dict(zip(pair, ("a", "b"), strict=True)), dict(zip(pair, ("c", "d"), strict=True))]

    assert common({"examples": given}, "customer")["examples"] == (("a", "b"), ("c", "d"))
    with pytest.raises(Unreadable, match="'examples' is text, not a list"):
        common({"examples": "a"}, "customer")
