"""Personal data: recall and precision on labelled texts, checksums against known numbers, spans whatever the text."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from alignloop.data.curation.checksums import is_card, is_iban, is_resident_id, luhn
from alignloop.data.curation.patterns import Patterns
from alignloop.data.curation.spans import KINDS, NOTICE, Span, scrub, without_overlaps
from tests.data.curation import pii_table
from tests.docs.tables import DOCS

DETECT = Patterns()
CASES = pii_table.cases()


def test_there_are_enough_cases_of_each_sort() -> None:
    clean = [case for case in CASES if not case["pii"]]

    assert len(CASES) >= 120 and len(clean) >= 80
    assert len({case["text"] for case in CASES}) == len(CASES)
    assert {kind for case in CASES for kind, _ in case["pii"]} == set(KINDS)
    for case in CASES:
        assert all(part in case["text"] for _, part in case["pii"])


@pytest.mark.parametrize("language", pii_table.LANGUAGES)
def test_recall_and_precision(language: str) -> None:
    found = pii_table.score([c for c in CASES if c["lang"] == language], DETECT)

    assert found.recall >= 0.95
    assert found.precision >= 0.95


def test_the_docs_have_the_figures() -> None:
    page = (DOCS / "prompt-curation.md").read_text(encoding="utf-8")

    assert pii_table.table() in page, "python -m tests.data.curation.pii_table"
    assert NOTICE in page


def test_a_detector_that_finds_nothing_or_everything_scores_so() -> None:
    cases = [{"text": "a@b.com", "pii": [["email", "a@b.com"]]}, {"text": "ab", "pii": []}]

    nothing = pii_table.score(cases, lambda text: [])
    everything = pii_table.score(cases, lambda text: [Span("email", 0, len(text))])

    assert (nothing.recall, nothing.precision) == (0.0, 1.0)
    assert (everything.recall, everything.precision) == (1.0, 0.5)


# --- checksums ---


@pytest.mark.parametrize(
    ("number", "is_one"),
    [
        ("4111111111111111", True),
        ("4111111111111112", False),
        ("378282246310005", True),
        ("5555555555554444", True),
        ("30569309025904", True),
        ("3530111333300000", True),
        ("6200000000000005", True),
        ("0000000000000000", False),  # Luhn holds, but nobody issues it
        ("1234567812345670", False),
        ("79927398713", False),
    ],
)
def test_cards(number: str, is_one: bool) -> None:
    assert is_card(number) is is_one


def test_luhn_on_the_textbooks_number() -> None:
    assert [digit for digit in "0123456789" if luhn(f"7992739871{digit}")] == ["3"]


@given(st.text("0123456789", min_size=12, max_size=18), st.integers(0, 17), st.integers(1, 9))
def test_luhn_notices_one_wrong_digit(body: str, at: int, off: int) -> None:
    (check,) = (digit for digit in "0123456789" if luhn(body + digit))
    whole = body + check
    at %= len(whole)
    wrong = whole[:at] + str((int(whole[at]) + off) % 10) + whole[at + 1 :]

    assert not luhn(wrong)


@pytest.mark.parametrize(
    ("number", "is_one"),
    [
        ("GB82WEST12345698765432", True),
        ("GB82WEST12345698765423", False),
        ("DE89370400440532013000", True),
        ("DE8937040044053201300", False),
        ("FR1420041010050500013M02606", True),
        ("XX89370400440532013000", False),
        ("", False),
    ],
)
def test_ibans(number: str, is_one: bool) -> None:
    assert is_iban(number) is is_one


@pytest.mark.parametrize(
    ("number", "is_one"),
    [
        ("11010519491231002X", True),
        ("11010519491231002x", True),
        ("110105194912310021", False),
        ("110105194902300020", False),  # 30 February
        ("990105194912310020", False),
        ("1101051949123100X2", False),
        ("123", False),
    ],
)
def test_resident_ids(number: str, is_one: bool) -> None:
    assert is_resident_id(number) is is_one


# --- spans ---


def test_digits_of_other_scripts_are_left_alone() -> None:
    assert DETECT(
        "1.2.3.4, 93.184.216.34, 1\u0663\u0663.1.1.1 and \u0661\u0662\u0663-555-0199"
    ) == [Span("ip", 9, 22)]


@pytest.mark.parametrize(
    "text", ["\u6211\u7684password: abc123!", "(PassWord = abc123!)", "db_password=abc123!"]
)
def test_a_password_by_any_name(text: str) -> None:
    assert [text[s.start : s.end] for s in DETECT(text)] == ["abc123!"]


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_can_be_chosen(kind: str) -> None:
    found = {span.kind for case in CASES for span in Patterns((kind,))(case["text"])}

    assert found == {kind}


def test_a_kind_that_is_off_hides_nothing_else() -> None:
    text = "see https://bob:Pass1234@corp.com/x"

    assert [(s.kind, text[s.start : s.end]) for s in DETECT(text)] == [("secret", "bob:Pass1234")]
    assert [s.kind for s in Patterns(("email",))(text)] == ["email"]


PIECES = [part for case in CASES for _, part in case["pii"]] + [
    *(
        "@",
        "[at]",
        " dot ",
        "://",
        "-----BEGIN PRIVATE KEY-----",
        "password: ",
        "password is ",
        "eyJ",
    ),
    *(
        "sk-",
        "+",
        "(",
        "0",
        "1.",
        "::",
        "2001:",
        "10000000000 ",
        "密码：",
        "\u0130",
        "\ud800",
        "\uff11\uff20",
    ),
    *("a" * 70, "1" * 30, "1\u0663\u0663.1.1.1", "\u0664" + "\u0661" * 15, "DE\u0668\u0669"),
]


@settings(max_examples=300)
@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=5), max_size=12).map("".join))
@example("\u0130 password: abc123!")
def test_spans_lie_in_the_text_in_order_and_apart(text: str) -> None:
    found = DETECT(text)

    assert all(0 <= span.start < span.end <= len(text) for span in found)
    assert all(a.end <= b.start for a, b in pairwise(found))
    assert {span.kind for span in found} <= set(KINDS)
    assert found == DETECT(text)


@pytest.mark.parametrize(
    "text",
    [
        "@" * 50_000,
        "a@" * 50_000,
        "a.b@c." * 20_000,
        "1 " * 50_000,
        "1" * 100_000,
        "+1(2)3-" * 20_000,
        "eyJ" * 30_000,
        "password: " + "your" * 20_000,
        "password: your" + "a_" * 95 + "!",
        "-----BEGIN PRIVATE KEY-----" * 3_000,
        "://a:" * 20_000,
        "x at y dot " * 10_000,
        "2001:" * 20_000,
        "DE89 " * 20_000,
        "1" + " " * 100_000 + "1",
        "sk-" + "a" * 100_000,
        "a@b.com " * 20_000,
    ],
    ids=lambda text: text[:12],
)
def test_no_text_takes_forever(text: str) -> None:
    """Patterns that go back over a text again and again would not come to an end here."""
    DETECT(text)


@settings(max_examples=200)
@given(
    st.text("ab", max_size=20),
    st.lists(st.tuples(st.sampled_from("xy"), st.integers(0, 20), st.integers(1, 5)), max_size=6),
)
def test_scrubbing_replaces_what_is_covered_and_nothing_else(
    text: str, places: list[tuple[str, int, int]]
) -> None:
    spans = [
        Span(kind, start, min(start + n, len(text)))
        for kind, start, n in places
        if start < len(text)
    ]
    is_covered = [any(s.start <= i < s.end for s in spans) for i in range(len(text))]

    found = scrub(text, spans)

    assert re.sub(r"\[[XY]\]", "", found) == "".join(
        sign for sign, gone in zip(text, is_covered, strict=True) if not gone
    )
    assert (found == text) == (not spans)


def test_scrubbed_text_reads_on() -> None:
    text = "Mail bob@corp.com or call (415) 555-2671."

    assert scrub(text, DETECT(text)) == "Mail [EMAIL] or call [PHONE]."


def test_of_overlapping_spans_the_first_given_stays() -> None:
    spans = [Span("a", 5, 9), Span("b", 8, 12), Span("c", 0, 5), Span("d", 9, 10), Span("e", 4, 6)]

    assert without_overlaps(spans) == [Span("c", 0, 5), Span("a", 5, 9), Span("d", 9, 10)]
