"""The example prompts that come with the package: complete, varied, readable by the importer, free of personal data."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from alignloop.data.curation.config import CurationConfig
from alignloop.data.curation.examine import Examiner, Look, Setup, row_of
from alignloop.data.curation.keys import normalize
from alignloop.data.incoming import ANNOTATIONS, USE_CASES, Candidate, Place, Rejected
from alignloop.data.jsonl import read_objects
from alignloop.data.records import Demonstration, Prompt
from alignloop.data.shapes.reading import SHAPES, detect, read
from alignloop.resources import asset

FILE = asset("prompts", "examples.jsonl")
ROWS = list(read_objects(FILE))
LABELER_KINDS = {"labeler_plain", "labeler_fewshot", "labeler_user_based"}
NEEDED = {"text", "kind", "use_case", "language"}
ALLOWED = NEEDED | {"history", "annotations", "examples", "response"}
LONGEST_COMMON_PREFIX = 24
"""Characters: well below the 100 from which curation would take two prompts for one."""


def candidate_of(row: dict[str, Any]) -> Candidate:
    """A row as the importer reads it."""
    shape, _ = detect([row])
    (found,) = SHAPES[shape].read(row, Place(FILE.name, 1), "customer")
    assert isinstance(found, Candidate), found
    return found


CANDIDATES = [one for one in read(FILE) if isinstance(one, Candidate)]


def opening(candidate: Candidate) -> str:
    """How a prompt begins, as curation sees it: what the user said first."""
    said = [text for role, text in candidate.history if role == "user"]
    return normalize(" ".join([*said, candidate.text]))


def longest_common_prefix(openings: Iterable[str]) -> int:
    """Of any two: in alphabetical order the two that share most stand side by side."""

    def shared(one: str, other: str) -> int:
        return next(
            (at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b),
            min(len(one), len(other)),
        )

    return max(shared(one, other) for one, other in pairwise(sorted(openings)))


def look_at(candidates: Sequence[Candidate]) -> list[Look]:
    examine = Examiner(Setup(CurationConfig()))
    return examine([row_of(one, with_answers=True) for one in candidates])


# --- each line ---


@pytest.mark.parametrize(("number", "row"), ROWS, ids=[f"line {number}" for number, _ in ROWS])
def test_a_line_is_valid(number: int, row: dict[str, Any]) -> None:
    del number
    assert row.keys() >= NEEDED
    assert row.keys() <= ALLOWED
    assert row["kind"] in LABELER_KINDS
    assert row["use_case"] in USE_CASES
    assert row["language"] in ("en", "zh")
    assert row.get("annotations", []) == [
        name for name in ANNOTATIONS if name in row.get("annotations", [])
    ], "unknown, twice, or not in Table 7's order"
    assert ("examples" in row) == (row["kind"] == "labeler_fewshot")
    for field in ("text", "response"):
        assert row.get(field, "-") == row.get(field, "-").strip() != ""


@pytest.mark.parametrize(("number", "row"), ROWS, ids=[f"line {number}" for number, _ in ROWS])
def test_the_reader_takes_everything_that_a_line_says(number: int, row: dict[str, Any]) -> None:
    (candidate,) = [one for one in CANDIDATES if one.place.line == number]

    assert candidate.text == row["text"]
    assert [{"role": role, "text": text} for role, text in candidate.history] == row.get(
        "history", []
    )
    assert candidate.kind == row["kind"]
    assert candidate.use_case == row["use_case"]
    assert candidate.language == row["language"]
    assert list(candidate.annotations) == row.get("annotations", [])
    assert [{"input": a, "output": b} for a, b in candidate.examples] == row.get("examples", [])
    assert [answer.text for answer in candidate.answers] == (
        [row["response"]] if "response" in row else []
    )
    assert all(answer.rank is None for answer in candidate.answers)


@pytest.mark.parametrize(("number", "row"), ROWS, ids=[f"line {number}" for number, _ in ROWS])
def test_a_line_becomes_a_record(number: int, row: dict[str, Any]) -> None:
    del number
    fields = {key: row[key] for key in ("text", "history", "use_case") if key in row}
    prompt = Prompt.model_validate({**fields, "source": row["kind"]})

    assert prompt.text
    if "response" in row:
        assert Demonstration(prompt=prompt, response=row["response"]).response


def test_every_few_shot_prompt_has_three_different_examples_or_more() -> None:
    for candidate in CANDIDATES:
        if candidate.kind == "labeler_fewshot":
            queries = {normalize(query) for query, _ in candidate.examples}
            assert len(queries) == len(candidate.examples) >= 3
            assert all(response.strip() for _, response in candidate.examples)


# --- all of them ---


def test_the_importer_reads_the_file_as_it_is_and_turns_no_line_away() -> None:
    opened = read(FILE)

    assert opened.shape == "plain"
    assert [one for one in opened if isinstance(one, Rejected)] == []
    assert [one.place.line for one in CANDIDATES] == [number for number, _ in ROWS]


def test_there_are_five_for_each_use_case() -> None:
    assert Counter(one.use_case for one in CANDIDATES) == dict.fromkeys(USE_CASES, 5)


def test_all_kinds_languages_and_annotations_are_there() -> None:
    kinds = Counter(one.kind for one in CANDIDATES)

    assert set(kinds) == LABELER_KINDS
    assert min(kinds.values()) >= 10
    assert Counter(one.language for one in CANDIDATES) == {"en": 40, "zh": 10}
    assert {one.use_case for one in CANDIDATES if one.language == "zh"} == set(USE_CASES)
    assert {name for one in CANDIDATES for name in one.annotations} == set(ANNOTATIONS)


def test_five_are_conversations_and_eight_have_a_demonstration() -> None:
    assert sum(bool(one.history) for one in CANDIDATES) == 5
    assert sum(bool(one.answers) for one in CANDIDATES) == 8


def test_the_language_is_the_one_that_is_detected() -> None:
    unsaid = [replace(one, language="") for one in CANDIDATES]

    for candidate, look in zip(CANDIDATES, look_at(unsaid), strict=True):
        assert look.language == candidate.language, candidate.text


def test_no_two_begin_alike() -> None:
    assert longest_common_prefix(map(opening, CANDIDATES)) < LONGEST_COMMON_PREFIX


def test_two_that_begin_alike_are_found() -> None:
    openings = [*map(opening, CANDIDATES), opening(CANDIDATES[7])[:40] + " and nothing else"]

    assert longest_common_prefix(openings) >= 40


def test_curation_would_keep_all_of_them() -> None:
    looks = look_at(CANDIDATES)

    assert [look.reason for look in looks] == [None] * len(looks)
    assert len({look.text_digest for look in looks}) == len(looks)
    prefixes = [look.prefix_digest for look in looks if look.prefix_digest is not None]
    assert len(set(prefixes)) == len(prefixes)


def test_none_holds_personal_data() -> None:
    for candidate, look in zip(CANDIDATES, look_at(CANDIDATES), strict=True):
        assert not look.pii, f"line {candidate.place.line}: {look.pii}"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("text", "Write to ida.moss@example.com, please."),
        ("response", "Call me at 13912345678."),
        ("examples", [{"input": "Her card?", "output": "4111 1111 1111 1111"}]),
    ],
)
def test_personal_data_is_found_wherever_it_stands(field: str, value: Any) -> None:
    _, row = ROWS[0]
    (look,) = look_at([candidate_of({**row, field: value})])

    assert look.pii


def test_the_page_beside_the_file_says_what_is_in_it() -> None:
    page = FILE.with_name("README.md").read_text(encoding="utf-8")
    words = " ".join(page.split())

    assert f"`{FILE.name}` holds {len(ROWS)} prompts" in words
    assert "40 in English and 10 in Chinese" in words
    assert "CC0 1.0" in words
    assert page.isascii()


def test_characters_stand_as_they_are() -> None:
    """Chinese is to be read in the file itself, not as escapes."""
    text = FILE.read_text(encoding="utf-8")

    assert "\\u" not in text
    assert text == "".join(json.dumps(row, ensure_ascii=False) + "\n" for _, row in ROWS)
