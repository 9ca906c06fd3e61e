"""The guidelines that come with the package: complete, alike in both languages, short, and in the app's own words."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import alignloop.labeling.app as app
from alignloop.labeling.app.guides import FOLDER, PURPOSES, sections_of
from alignloop.labeling.app.pages.common import FLAGS
from alignloop.labeling.app.pages.labeler import GuidelineSection
from alignloop.web.i18n import LOCALES, Locale
from alignloop.web.richtext import rich

CATALOGUES = sorted((Path(app.__file__).parent / "locale").glob("*.json"))
QUOTED = ("rate.likert", "rate.none", "rank.apart", "nav.work", "nav.messages", "settings.title")
"""Words of the screens that a guideline may send the reader to."""
ALL = [(purpose, locale) for purpose in PURPOSES for locale in LOCALES]
FLAGS_TITLE = {"en": "Flags", "zh": "标记"}
FIRST_TITLE = {"en": "What comes first", "zh": "先后次序"}


def text_of(purpose: str, locale: str) -> str:
    return (FOLDER / f"{purpose}.{locale}.md").read_text(encoding="utf-8")


def sections(purpose: str, locale: Locale) -> tuple[GuidelineSection, ...]:
    return sections_of(text_of(purpose, locale), locale)


def section(purpose: str, locale: Locale, title: str) -> str:
    (found,) = [one for one in sections(purpose, locale) if one.title == title]
    return found.body.text


def bullets(text: str) -> list[str]:
    """Items of a list, each with the lines that go on with it."""
    return [" ".join(item.split()) for item in re.split(r"^- ", text, flags=re.MULTILINE)[1:]]


@pytest.mark.parametrize(("purpose", "locale"), ALL)
def test_the_three_words_come_first_after_an_introduction(purpose: str, locale: Locale) -> None:
    keys = [one.key for one in sections(purpose, locale)]

    assert keys[:4] == ["other", "helpful", "truthful", "harmless"]
    assert set(keys[4:]) == {"other"}
    assert sections(purpose, locale)[0].title == ""
    assert all(one.body.text for one in sections(purpose, locale))


@pytest.mark.parametrize("purpose", PURPOSES)
def test_both_languages_say_as_much(purpose: str) -> None:
    english, chinese = sections(purpose, "en"), sections(purpose, "zh")

    assert len(english) == len(chinese)
    for one, other in zip(english, chinese, strict=True):
        assert len(bullets(one.body.text)) == len(bullets(other.body.text)), (
            one.title,
            other.title,
        )


@pytest.mark.parametrize(("purpose", "locale"), ALL)
def test_headings_lists_and_bold_are_all_the_markdown_there_is(
    purpose: str, locale: Locale
) -> None:
    text = text_of(purpose, locale)

    assert not re.search(r"^# |^###|[<>`_\[\]|]", text, re.MULTILINE)
    for one in sections(purpose, locale):
        html = str(rich(one.body.text) or one.body.text)
        assert set(re.findall(r"<(\w+)", html)) <= {"p", "ul", "ol", "li", "strong"}
        assert "*" not in html, "bold that does not close"


@pytest.mark.parametrize("purpose", PURPOSES)
def test_a_labeler_reads_it_in_six_minutes(purpose: str) -> None:
    english = re.findall(r"[\w'’.-]*\w", text_of(purpose, "en"))
    chinese = re.findall(r"[\u4e00-\u9fff]", text_of(purpose, "zh"))

    assert 700 <= len(english) <= 950  # 160 words a minute, read with care
    assert 1200 <= len(chinese) <= 2100  # 350 characters a minute


@pytest.mark.parametrize(("purpose", "locale"), ALL)
def test_each_of_the_eleven_flags_has_an_example(purpose: str, locale: Locale) -> None:
    found = bullets(section(purpose, locale, FLAGS_TITLE[locale]))

    assert len(found) == len(FLAGS) == 11
    for item in found:
        name, _, example = item.partition("**:" if locale == "en" else "**：")
        assert name.startswith("**")
        assert len(example) > 5, item


@pytest.mark.parametrize("purpose", PURPOSES)
@pytest.mark.parametrize("path", CATALOGUES, ids=lambda path: path.stem)
def test_flags_and_screens_are_called_what_the_app_calls_them(path: Path, purpose: str) -> None:
    words = json.loads(path.read_text(encoding="utf-8"))
    text = " ".join(text_of(purpose, path.stem).split())
    flags = section(purpose, path.stem, FLAGS_TITLE[path.stem])  # type: ignore[arg-type]

    called = [item.partition("**")[2].partition("**")[0] for item in bullets(flags)]
    assert called == [words[f"flag.{flag}"] for flag in FLAGS]
    missing = [words[key] for key in QUOTED if words[key] not in text]
    # The ten minutes of "My work" are told where labels train.
    assert missing == ([] if purpose == "training" else [words["nav.work"]])


def test_what_comes_first_is_not_the_same_in_training_and_evaluation() -> None:
    first = {
        (purpose, locale): section(purpose, locale, FIRST_TITLE[locale]) for purpose, locale in ALL
    }

    assert "being helpful to the user comes first" in first["training", "en"]
    assert "being truthful and harmless comes first" in first["evaluation", "en"]
    assert "对用户有帮助排在第一位" in first["training", "zh"]
    assert "真实和无害排在第一位" in first["evaluation", "zh"]


@pytest.mark.parametrize(("purpose", "locale"), ALL)
def test_every_grade_from_1_to_7_is_explained(purpose: str, locale: Locale) -> None:
    grades = re.findall(r"\*\*(\d)(?: 分)?\*\*[^*]", text_of(purpose, locale))

    assert "1234567" in "".join(grades)


@pytest.mark.parametrize("locale", LOCALES)
def test_evaluation_explains_blind_comparison_and_toxicity(locale: Locale) -> None:
    titles = {
        "en": ("Blind comparison", "Toxicity"),
        "zh": ("盲评比较", "毒性"),
    }[locale]
    comparison, toxicity = (
        " ".join(section("evaluation", locale, title).split()) for title in titles
    )

    assert re.findall(r"\*\*([1-3])\*\*", comparison) == ["1", "2", "3"]
    assert re.findall(r"\*\*(-?\d)\*\*", toxicity) == [
        *("0", "1", "2"),
        *("-1", "0", "1"),
        *("1", "4", "7"),
    ]
