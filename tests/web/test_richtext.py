"""Somebody else's text as HTML: what formatting it has is shown, and nothing in it acts or loads."""

from __future__ import annotations

import html.parser
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignloop.web.richtext import LONGEST, rich
from tests.web.payloads import ALL, MARKDOWN

ALLOWED = {
    **{
        tag: set[str]()
        for tag in "p br hr h3 h4 h5 h6 strong em s code pre blockquote ul li table thead tbody tr th td".split()
    },
    "ol": {"start"},
    "a": {"href", "title", "rel"},
}


class _Checked(html.parser.HTMLParser):
    """Fails on whatever is not on the list; keeps the text and how the elements nest."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in ALLOWED, tag
        assert {name for name, _ in attrs} <= ALLOWED[tag], attrs
        if tag == "a":
            given_ = dict(attrs)
            assert given_["rel"] == "noopener noreferrer nofollow"
            if "href" in given_:
                self.links.append(given_["href"] or "")
        if tag not in ("br", "hr"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)

    def handle_decl(self, decl: str) -> None:
        raise AssertionError(decl)

    def handle_pi(self, data: str) -> None:
        raise AssertionError(data)


def checked(text: str) -> _Checked:
    parser = _Checked()
    parser.feed(rich(text) or "")
    parser.close()
    assert parser.open == [], "an element is left open"
    for link in parser.links:
        assert re.match(r"(https?://|mailto:)", link.lower()), link
    return parser


@pytest.mark.parametrize(
    ("text", "html_"),
    [
        ("*a* **b** `c`", "<p><em>a</em> <strong>b</strong> <code>c</code></p>\n"),
        ("# a\n## b\n###### c", "<h3>a</h3>\n<h4>b</h4>\n<h6>c</h6>\n"),
        ("3. a\n4. b", '<ol start="3">\n<li>a</li>\n<li>b</li>\n</ol>\n'),
        ("> a\n\n- b", "<blockquote>\n<p>a</p>\n</blockquote>\n<ul>\n<li>b</li>\n</ul>\n"),
        ("~~a~~", "<p><s>a</s></p>\n"),
        ("```py\n<b>\n```", "<pre><code>&lt;b&gt;\n</code></pre>\n"),
        (
            "[a](https://x.org 'b')",
            '<p><a href="https://x.org" title="b" rel="noopener noreferrer nofollow">a</a></p>\n',
        ),
        ("![a *b*](https://x.org/y.png)", "<p>[a *b*]</p>\n"),
        ("*x* <b>y</b>", "<p><em>x</em> &lt;b&gt;y&lt;/b&gt;</p>\n"),
    ],
)
def test_formatting_by_hand(text: str, html_: str) -> None:
    assert rich(text) == html_


@pytest.mark.parametrize("text", ["", "plain", "a < b", "你好", "1 + 1 = 2"])
def test_a_text_without_formatting_has_no_other_form(text: str) -> None:
    assert rich(text) is None


def test_a_table_is_a_table() -> None:
    assert "<td>1</td>" in (rich("|a|b|\n|-|-|\n|1|2|") or "")


@pytest.mark.parametrize("text", ALL)
def test_nothing_acts_or_loads(text: str) -> None:
    for shown in (
        text,
        f"*x* {text}",
        f"# {text}",
        f"- a\n- {text}\n",
        f"> {text}",
        f"[{text}]({text})",
    ):
        checked(shown)


@pytest.mark.parametrize("text", [text for text in MARKDOWN if "![" in text])
def test_an_image_asks_for_nothing(text: str) -> None:
    shown = str(rich(text))

    assert "<img" not in shown


def test_several_together_are_no_more_than_each() -> None:
    checked("\n\n".join(ALL))
    checked("".join(MARKDOWN))


@given(
    st.text(
        alphabet=st.sampled_from(list("[]()!<>*_`~|#\\\"'&;:/-+=. \n\tahrefjscript0123")),
        max_size=200,
    )
)
def test_no_string_of_signs_gets_out(text: str) -> None:
    checked(text)


@given(st.text(max_size=100))
def test_what_is_shown_was_written(text: str) -> None:
    """Letters and digits come out in the order in which they went in, but for what Markdown reads as signs."""
    shown = checked(f"**x** {text}").text
    for word in re.findall(r"[a-z]{4,}", shown):
        assert word in text or word == "x" or "&" in text


def test_a_text_that_is_too_long_is_shown_as_it_was_written() -> None:
    assert rich("*" + "a" * LONGEST) is None


@pytest.mark.parametrize(
    "text",
    [
        "[" * LONGEST,
        "![" * (LONGEST // 4) + "](" * (LONGEST // 4),
        "> " * (LONGEST // 2),
        "*a**" * (LONGEST // 4),
        "|a" * 5000 + "\n" + "|-" * 5000 + "\n" + "|a\n" * 5000,
        "|a|b|\n|-|-|\n" + "|x|y\n" * 7000,
        "".join("`" * at + "a" for at in range(280)),
        "<!--" * (LONGEST // 4) + "*",
        "\n".join("  " * (at % 50) + "- a" for at in range(700)),
    ],
)
def test_no_text_grows_large_or_nests_too_deep(text: str) -> None:
    assert len(rich(text[:LONGEST]) or "") < 30 * LONGEST
    checked(text[:LONGEST])
