"""Texts that want to be more than texts, and a page taken apart to see whether one of them became so."""

from __future__ import annotations

import html.parser
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

_PATTERNS = (
    "<script>alert('@')</script>",
    '<script src="https://evil.example/@.js"></script>',
    "<ScRiPt/@>alert(1)</sCrIpT >",
    "<img src=x onerror=alert('@')>",
    '<img src="https://evil.example/@.png">',
    "<svg/onload=alert('@')>",
    "<svg><script>alert('@')</script></svg>",
    "<svg><a xlink:href='javascript:alert(1)'><text>@</text></a></svg>",
    "<math><mtext><table><mglyph><style><img src=@ onerror=alert(1)>",
    "<iframe src=javascript:alert('@')></iframe>",
    "<iframe srcdoc='<script>alert(1)</script>'>@",
    "<object data=data:text/html;base64,PHNjcmlwdD4= id=@></object>",
    "<embed src=//evil.example/@.swf>",
    "<base href=//evil.example/@/>",
    "<meta http-equiv=refresh content='0;url=//evil.example/@'>",
    "<link rel=stylesheet href=//evil.example/@.css>",
    "<style>*{background:url(//evil.example/@)}</style>",
    "<form action=//evil.example/@><button>send</button></form>",
    "<input name=csrf_token value=@>",
    "<p style='position:fixed' onclick=alert('@')>",
    "<details open ontoggle=alert('@')>",
    "<body onload=alert('@')>",
    "<a href=javascript:alert('@')>x</a>",
    "[@](javascript:alert(1))",
    "[@](JaVaScRiPt&#58;alert(1))",
    "[@](data:text/html;base64,PHNjcmlwdD4=)",
    "[@](vbscript:msgbox)",
    "[@](//evil.example/x)",
    "[@](/sign-out)",
    '[@](https://good.example/x "title\' onmouseover=alert(1)")',
    "![@](https://evil.example/pixel.png)",
    "![@](javascript:alert(1))",
    "<https://evil.example/@> <javascript:alert(1)>",
    "&lt;script&gt;alert('@')&lt;/script&gt; &#60;b&#62; &amp;lt; &quot;",
    "<b>@",
    "</div></article></main></body></html>@",
    "</textarea></select></title></style></script><b>@",
    "<!-- @ --><!--[if IE]><script>alert(1)</script><![endif]--> <![CDATA[x]]> <?php ?> <!doctype x>",
    "\" onmouseover=\"alert('@')",
    "' autofocus onfocus='alert(\"@\")",
    "`@` onload=alert(1) = ` > <",
    "{{7*7}} @ {% raise %} {# x #} ${7*7} <%= 7*7 %> #{7*7}",
    "{n} {0} {values.__class__} %s %(n)s @",
    "javascript:alert('@')",
    "line\u2028para\u2029next\u0085line \u000b\u000c @",
    "\u202egnp.exe@\u202c \u2066x\u2069 \u200b\ufeff",
    "\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16")
    + " e\u0301 好 @ \x7f\x1b[31m",
    "<\x01script>@</\x01script> <scr\u00adipt> ＜script＞",
    "' or 1=1; drop table users; -- @",
    "=cmd|' /c calc'!A@",
)
PAYLOADS = tuple(
    pattern.replace("@", f"mark{number:02d}") for number, pattern in enumerate(_PATTERNS)
)
"""Each has a mark of its own, so that what is left of it can be found."""
WITH_NUL = "a\x00<b\x00>mark99"
"""What a browser can send and no database takes."""
LONGEST_LINE = max(map(len, PAYLOADS))
HARMLESS = tuple(("*line* and " + "word " * LONGEST_LINE)[: len(payload)] for payload in PAYLOADS)
"""As many, as long, and with formatting to show."""


def in_parts(lines: Sequence[str], longest: int) -> list[str]:
    """Lines, each of them whole, in texts of so many characters at most."""
    found = [""]
    for line in lines:
        if len(found[-1]) + len(line) + 1 > longest:
            found.append("")
        found[-1] = f"{found[-1]} {line}".strip()
    return found


# --- a page taken apart -----------------------------------------------------------------------------------------


@dataclass
class Parts(html.parser.HTMLParser):
    """Everything on a page: its skeleton, its texts, and what was formatted, each by itself."""

    skeleton: list[tuple[str, ...]] = field(default_factory=list)
    """Tags in order, with the names of their attributes; end tags too; without what was formatted."""
    elements: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    formatted: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    """Elements of Markdown that is shown as such."""
    texts: list[str] = field(default_factory=list)
    plain: list[str] = field(default_factory=list)
    """Texts as they were written, one per passage."""
    areas: dict[str, str] = field(default_factory=dict)
    """What stands in a textarea, by its name."""
    other: list[str] = field(default_factory=list)
    """Comments, declarations and the like."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        for name in ("skeleton", "elements", "formatted", "texts", "plain", "other"):
            setattr(self, name, [])
        self.areas = {}
        self._depth_of_rich = 0
        self._last: tuple[str, dict[str, str]] = ("", {})
        self._is_open = False
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self._is_open = False
        if self._depth_of_rich:
            self._depth_of_rich += tag == "div"
            self.formatted.append((tag, given))
            return
        self._depth_of_rich = int("rich" in given.get("class", "").split())
        self._last = (tag, given)
        self.elements.append((tag, given))
        self.skeleton.append((tag, *sorted(given)))

    def handle_endtag(self, tag: str) -> None:
        self._is_open = False
        if self._depth_of_rich:
            self._depth_of_rich -= tag == "div"
            if self._depth_of_rich:
                return
        self._last = ("", {})
        self.skeleton.append((f"/{tag}",))

    def handle_data(self, data: str) -> None:
        if self._depth_of_rich:
            return
        if self._is_open:
            self.texts[-1] += data
        else:
            self.texts.append(data)
        self._is_open = True
        tag, given = self._last
        if "plain" in given.get("class", "").split():
            self.plain.append(self.texts[-1])
        if tag == "textarea":
            self.areas[given["name"]] = self.texts[-1].removeprefix("\n")  # as a browser does

    def handle_comment(self, data: str) -> None:
        self.other.append(data)

    def handle_decl(self, decl: str) -> None:
        self.other.append(decl)

    def unknown_decl(self, data: str) -> None:
        self.other.append(data)

    def handle_pi(self, data: str) -> None:
        self.other.append(data)

    def said(self) -> Iterator[str]:
        """All texts and all values of attributes."""
        yield from self.texts
        for _, attributes in self.elements:
            yield from attributes.values()


MARK = re.compile(r"mark(\d\d)")
