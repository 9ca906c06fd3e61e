"""Sample contexts: what the server would hand over, so that every page can be looked at and tested before it exists."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from markupsafe import Markup

from alignloop.labeling.app.pages.common import Locale, Notice, Page, Passage, Turn, User, View
from alignloop.labeling.app.pages.tasks import Output, RankPage, RatePage, Rating, Task

NOW = datetime(2026, 11, 27, 14, 5, tzinfo=UTC)
LETTERS = "ABCDEFGHI"

PROMPT = (
    "My neighbour's dog barks every night between two and four. I have to be at work at seven and I am slowly going "
    "mad. I do not want to start a war with her, she is 84 and lives alone.\n\nWhat should I do? Give me three "
    "options, each in no more than two sentences."
)
ANSWERS = (
    "1. Knock on a quiet afternoon, bring something small, and tell her that you are worried about the dog because it "
    "sounds distressed at night. Most people answer worry better than complaint.\n\n2. Offer help: a dog that barks at "
    "two usually needs to go out, is cold, or is frightened. You could suggest that the dog sleeps on the other side "
    "of the house, or that somebody walks it late.\n\n3. Protect your sleep in the meantime with ear plugs and a fan, "
    "and keep a short note of the times so that you have something to show if the first two come to nothing.",
    "Call the police. Barking at night is illegal everywhere and they will take the dog away. You should not have to "
    "talk to her at all.",
    "There are many possible reasons why dogs bark at night. Dogs have been companions to humans for at least fifteen "
    "thousand years, and barking is one of the ways in which they communicate. Some breeds bark more than others. "
    "Barking can be a sign of boredom, of fear, of illness, or of age. It is important to consider all of these.\n\n"
    "It is also important to consider your own health. Sleep is essential for well-being. Adults need between seven "
    "and nine hours of sleep per night. A lack of sleep may lead to poor concentration.\n\nIn conclusion, you may wish "
    "to talk to your neighbour, or to find another solution that suits both of you.",
    "1. Talk to her: say what you hear and when, and ask whether the dog is well. 2. Ask the housing association to "
    "mediate. 3. Wear ear plugs.",
    "- **Talk first.** Visit in daylight and ask about the dog.\n- **Help.** Offer to walk it in the evening.\n"
    "- **Write it down.** Times and dates, in case you need the council later.",
    "I'm sorry, but as an assistant I cannot give advice on disputes between neighbours.",
    "You could record the barking and play it back to her at full volume at three in the afternoon, so that she knows "
    "what it is like.",
    "1. Write her a friendly letter.\n2. Write her a second letter.\n3. Write to her landlord.",
    "Three ideas: bring her a cake and a question about the dog; give the dog a chew late in the evening (ask her "
    "first); sleep in another room for a week while you find out what wakes it.",
)
PROMPT_ZH = "请用三句话向一个十岁的孩子解释为什么天空是蓝色的，\n不要使用“散射”这个词，并在最后提一个可以在家里做的小实验。"
ANSWERS_ZH = (
    "阳光看起来是白色的，其实里面藏着彩虹的所有颜色。阳光穿过空气时，蓝色的光最容易被空气里的小微粒撞得到处跑，"
    "所以我们从四面八方都能看到蓝色。试一试：在一杯清水里滴几滴牛奶，用手电筒从侧面照，看看水会变成什么颜色。",
    "因为海是蓝色的，天空像镜子一样把海的颜色照了出来。",
    "天空是蓝色的，这是由于瑞利散射：散射强度与波长的四次方成反比，因此短波长的蓝光散射得更多。",
    "太阳光里有很多颜色，空气最喜欢和蓝色玩，把它抛得满天都是。傍晚时，光要走更远的路，蓝色在路上玩丢了，就只剩下红色。"
    "小实验：把手电筒的光照过一杯加了一点牛奶的水。",
)
RICH = Markup(
    "<ul><li><strong>Talk first.</strong> Visit in daylight and ask about the dog.</li><li><strong>Help.</strong> Offer "
    "to walk it in the evening.</li><li><strong>Write it down.</strong> Times and dates, in case you need the council "
    "later.</li></ul>"
)
GRADES = (7, 1, 3, 5, 6, 2, 1, 3, 6)
PLACES = (1, 5, 4, 3, 2, None, 0, 4, 2)


def view(locale: Locale = "en", role: str = "labeler", **changes: object) -> View:
    """The view around a page, signed in as `role`; "" for nobody."""
    names = {"labeler": "Mina Okafor", "researcher": "Jonas Weiss", "": ""}
    base = View(
        csrf_token="token-of-the-session",
        now=NOW,
        locale=locale,
        user=User(names[role], role) if role else None,  # pyright: ignore[reportArgumentType]
        unread=2 if role else 0,
    )
    return replace(base, **changes)  # pyright: ignore[reportArgumentType]


def passage(text: str, lang: str = "en") -> Passage:
    return Passage(text, lang, RICH if text.startswith("- **") else None)


def task(locale: Locale = "en", **changes: object) -> Task:
    """A ranking task in the middle of the work."""
    text, lang = (PROMPT, "en") if locale == "en" else (PROMPT_ZH, "zh-Hans")
    base = Task(
        id="t7Qm2",
        campaign="Rankings, November" if locale == "en" else "十一月排序",
        prompt=(Turn("user", passage(text, lang)),),
        rev=3,
        client_uuid="0c0ffee0-1111-4222-8333-444455556666",
        guideline="2026-11",
        purpose="training",
        seconds=339,
        page=3,
        pages=10,
    )
    return replace(base, **changes)  # pyright: ignore[reportArgumentType]


def outputs(locale: Locale = "en", count: int = 9, *, is_placed: bool = True) -> tuple[Output, ...]:
    """K outputs, rated, and partly ranked."""
    texts, lang = (ANSWERS, "en") if locale == "en" else (ANSWERS_ZH, "zh-Hans")
    count = min(count, len(texts))
    return tuple(
        Output(
            item=f"i{at + 1}",
            letter=LETTERS[at],
            passage=passage(texts[at], lang),
            rating=Rating(GRADES[at], frozenset({"constraint"}), notes=""),
            place=min(PLACES[at] or 0, count) or PLACES[at] if is_placed else None,
        )
        for at in range(count)
    )


def rate_page(locale: Locale = "en") -> RatePage:
    shown = list(outputs(locale, is_placed=False))
    shown[2] = replace(
        shown[2], rating=Rating(3, frozenset({"instruction", "constraint"}), notes="")
    )
    for later in range(3, len(shown)):
        shown[later] = replace(shown[later], rating=Rating())
    return RatePage(task(locale, pages=len(shown) + 1), shown[2], tuple(shown))


def rank_page(
    locale: Locale = "en", count: int = 9, *, is_placed: bool = True, **of_task: object
) -> RankPage:
    shown = outputs(locale, count, is_placed=is_placed)
    return RankPage(task(locale, page=len(shown) + 1, pages=len(shown) + 1, **of_task), shown)


def pages(locale: Locale = "en") -> dict[str, tuple[Page, View]]:
    """Every page by name, with the view around it."""
    labeler = view(locale)
    return {
        "rate": (rate_page(locale), labeler),
        "rank": (rank_page(locale), labeler),
        "rank-start": (rank_page(locale, 4, is_placed=False), labeler),
        "rank-columns": (
            rank_page(locale, layout="columns"),
            replace(labeler, notice=Notice("reopened")),
        ),
    }


EARLIER = NOW - timedelta(minutes=4)
