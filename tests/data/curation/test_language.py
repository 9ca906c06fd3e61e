"""Languages of prompts: by classifier, by script, and where nobody can tell."""

from __future__ import annotations

import gzip
import json

import pytest

from alignloop.data.curation.language import UNDETERMINED, LanguageDetector, given_language
from alignloop.resources import asset


@pytest.fixture(scope="module")
def detector() -> LanguageDetector:
    return LanguageDetector()


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("What happens to the fox at the end of the story?", "en"),
        ("Was geschieht am Ende der Geschichte mit dem Fuchs?", "de"),
        ("Qu'est-ce qui arrive au renard à la fin de l'histoire ?", "fr"),
        ("¿Qué le pasa al zorro al final de la historia que leímos?", "es"),
        ("Что случается с лисой в конце этой истории?", "ru"),
        ("Cosa succede alla volpe alla fine della storia che abbiamo letto?", "it"),
        ("Hikayenin sonunda tilkiye ne oluyor, anlatır mısın?", "tr"),
        ("ماذا يحدث للثعلب في نهاية القصة؟", "ar"),
        ("कहानी के अंत में लोमड़ी का क्या होता है?", "hi"),
        ("Chuyện gì xảy ra với con cáo ở cuối câu chuyện?", "vi"),
        ("故事的最后狐狸怎么样了？", "zh"),
        ("你好", "zh"),
        ("物語の最後にキツネはどうなりますか？", "ja"),
        ("이야기의 끝에서 여우는 어떻게 되나요?", "ko"),
        ("帮我改一下这段代码：def f(x): return x", "zh"),
        ("Please explain what the word 狐狸 means in this old English sentence.", "en"),
        ("HELP ME WITH THE HOMEWORK THAT I HAVE TO DO UNTIL MONDAY", "en"),
        ("see https://www.example.de/geschichte/vom/fuchs and tell me what you think of it", "en"),
    ],
)
def test_languages(detector: LanguageDetector, text: str, language: str) -> None:
    assert detector(text) == language


@pytest.mark.parametrize(
    "text", ["", "   ", "ok", "2 + 2 = 4", "x=1;y=2", "https://a.b/c", "???", "\ud800"]
)
def test_who_can_tell(detector: LanguageDetector, text: str) -> None:
    assert detector(text) == UNDETERMINED


def test_real_questions_are_english(detector: LanguageDetector) -> None:
    """Of people, bundled with the package: a mistake in a hundred would drop as many prompts."""
    with gzip.open(asset("human_judgments", "stackexchange_rankings.jsonl.gz"), "rt") as lines:
        questions = [str(json.loads(line)["prompt"]) for line in lines]

    found = [detector(question) for question in questions]

    assert len(found) > 1000
    assert sum(language not in ("en", UNDETERMINED) for language in found) < 0.01 * len(found)
    assert found.count(UNDETERMINED) < 0.25 * len(found)


@pytest.mark.parametrize(
    ("code", "compared"), [("EN", "en"), ("zh-CN", "zh"), (" pt_BR ", "pt"), ("", "")]
)
def test_codes_of_files(code: str, compared: str) -> None:
    assert given_language(code) == compared


def test_codes_are_those_of_the_detector(detector: LanguageDetector) -> None:
    detector.check(("en", "zh", "ja", "de"))
    assert {"en", "zh", "ja", "ko", "fr"} <= detector.languages
