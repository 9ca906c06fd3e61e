"""Whatever somebody types, and whatever a model writes, is shown as the text that it is, on every page."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote_plus

import pytest

from tests.labeling.hostile import HARMLESS, MARK, PAYLOADS, WITH_NUL, Parts
from tests.labeling.tour import Tour, tour_of
from tests.labeling.world import form_of, world


@pytest.fixture(scope="module")
def harmless(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The pages where nobody means harm."""
    [tour] = tour_of(tmp_path_factory.mktemp("harmless"), HARMLESS)
    return tour.pages


@pytest.fixture(scope="module")
def tour(tmp_path_factory: pytest.TempPathFactory) -> Tour:
    """The same tour with texts that mean nothing else."""
    [found] = tour_of(tmp_path_factory.mktemp("hostile"), PAYLOADS)
    return found


@pytest.fixture(scope="module")
def pages(tour: Tour) -> dict[str, Parts]:
    """Each of them, taken apart."""
    return {name: Parts(page) for name, page in tour.pages.items()}


def test_no_text_adds_a_tag_or_an_attribute_to_any_page(
    harmless: dict[str, str], pages: dict[str, Parts]
) -> None:
    assert len(pages) > 80
    assert set(pages) == set(harmless)
    for name, parts in pages.items():
        expected = Parts(harmless[name])
        assert parts.skeleton == expected.skeleton, name
        assert parts.other == ["doctype html"], name


def test_a_page_with_one_text_too_many_would_be_noticed(harmless: dict[str, str]) -> None:
    page = harmless["compare, a draft"]
    expected = Parts(page).skeleton
    for payload in PAYLOADS:
        if re.search("<[a-zA-Z/!?]", payload):
            broken = page.replace("*line*", payload, 1)
            parts = Parts(broken)
            assert parts.skeleton != expected or parts.other != ["doctype html"], payload
    broken = page.replace('lang="', 'lang="x" onclick=alert(1) title=\'', 1)
    assert Parts(broken).skeleton != expected


def test_every_element_is_one_that_the_policy_would_let_be(pages: dict[str, Parts]) -> None:
    """Scripts of ours alone, nothing inline, nothing that leads or loads from elsewhere."""
    for name, parts in pages.items():
        for tag, attributes in parts.elements:
            where = (name, tag, attributes)
            assert tag not in ("style", "iframe", "object", "embed", "base", "img", "frame"), where
            assert not [one for one in attributes if one.startswith("on") or one == "style"], where
            for key in ("src", "href", "action", "formaction", "data-draft", "hx-post"):
                address = attributes.get(key, "/")
                assert address.startswith(("/", "#")) and not address.startswith(("//", "/\\")), (
                    where
                )
            if tag in ("script", "link"):
                address = attributes.get("src") or attributes.get("href") or ""
                assert address.startswith("/static/"), where
            if tag == "meta":
                assert "http-equiv" not in attributes, where


FORMATTED = set(
    "p br hr h3 h4 h5 h6 strong em s code pre blockquote ul ol li table thead tbody tr th td a".split()
)


def test_formatted_text_has_words_and_links_to_elsewhere_and_nothing_more(
    pages: dict[str, Parts],
) -> None:
    formatted = [(name, *one) for name, parts in pages.items() for one in parts.formatted]
    links = [attributes for _, tag, attributes in formatted if tag == "a"]
    assert len(links) > 20
    for name, tag, attributes in formatted:
        assert tag in FORMATTED | {"div"}, (name, tag)
        assert set(attributes) <= {"href", "title", "rel", "start"} or tag == "div", (
            name,
            attributes,
        )
    for attributes in links:
        assert attributes.get("href", "https://").startswith(("https://", "http://", "mailto:"))
        assert set(attributes.get("rel", "noopener noreferrer nofollow").split()) == {
            "noopener", "noreferrer", "nofollow",
        }  # fmt: skip
    assert "https://good.example/" in "".join(link.get("href", "") for link in links)
    assert not [link for link in links if "pixel" in link.get("href", "")]


def test_what_is_shown_is_what_was_said_wherever_it_is_shown(pages: dict[str, Parts]) -> None:
    """A mark stands for its whole payload: in texts, in fields, in attributes, in addresses once they are decoded."""
    seen: set[tuple[str, int]] = set()
    for name, parts in pages.items():
        if name in ("new campaign, wrong", "campaign, wrong"):
            continue  # settings come back cut, and taken apart
        for said in set(parts.said()):
            marks = {int(mark) for mark in MARK.findall(said)}
            ways = (said, unquote_plus(said)) if marks else ()
            for mark in marks:
                payload = PAYLOADS[mark]
                is_whole = any(payload in way for way in ways) or payload.lower() in said  # e-mail
                assert is_whole, (name, said)
                seen.add((name, mark))
    shown = {number for _, number in seen}
    assert shown == set(range(len(PAYLOADS)))
    assert len({name for name, _ in seen}) > 75


@pytest.mark.parametrize(
    ("page", "places"),
    [
        ("rank", ["question", "reply", "prompt", "answer 1", "answer 2", "answer 3", "answer 4"]),
        ("rate 1", ["question", "reply", "prompt"]),
        ("demonstrate, a draft", ["question", "reply", "prompt"]),
        ("compare, a draft", ["question", "reply", "prompt", "answer 1", "answer 2"]),
        ("toxicity, a draft", ["question", "reply", "prompt"]),
        (
            "decision",
            ["question", "reply", "prompt", "answer 1", "answer 2", "answer 3", "answer 4"],
        ),
    ],
)
def test_prompts_and_answers_are_shown_letter_for_letter(
    tour: Tour, pages: dict[str, Parts], page: str, places: list[str]
) -> None:
    assert {f"{place}: {tour.said}" for place in places} <= set(pages[page].plain)


@pytest.mark.parametrize(
    ("page", "area"),
    [
        ("demonstrate, a draft", "response"),
        ("demonstrate, a draft", "skip_note"),
        ("dialogue", "response"),
        ("dialogue", "user_turn"),
        ("rate 1", "notes[1]"),
        ("compare, a draft", "notes"),
        ("toxicity, a draft", "notes[1]"),
        ("prompt", "text"),
        ("prompt", "query[1]"),
        ("prompt", "response[2]"),
        ("decision", "note"),
    ],
)
def test_what_was_typed_stands_in_its_field_letter_for_letter(
    tour: Tour, pages: dict[str, Parts], page: str, area: str
) -> None:
    assert pages[page].areas[area] == tour.said


def test_bytes_that_no_text_has_are_replaced_and_stay_text(tmp_path: Path) -> None:
    with world(tmp_path) as lab:
        ann = lab.site.sign_in(lab.ann)
        task = lab.tasks["demonstrate"].public_id
        hidden = form_of(ann, "demonstrate", task=task)
        ann.post("demonstrate", {**hidden, "response": WITH_NUL, "action": "save"}, task=task)
        ann.post("messages", {"body": WITH_NUL})

        areas = Parts(ann.get("demonstrate", task=task).text).areas
        texts = Parts(ann.get("messages").text).texts

    assert areas["response"] == WITH_NUL.replace("\x00", "\ufffd")
    assert areas["response"] in texts


def test_no_payload_that_needs_escaping_stands_on_a_page_as_it_is(tour: Tour) -> None:
    """Without any parser's help; in addresses and texts of people alike."""
    for name, page in tour.pages.items():
        for payload in PAYLOADS:
            if "<" in payload:
                assert payload not in page, (name, payload)
