"""Sample contexts: what the server would hand over, so that every page can be looked at and tested before it exists."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from markupsafe import Markup

from alignloop.labeling.app.pages.common import (
    Line,
    Locale,
    Message,
    Notice,
    Page,
    Passage,
    Turn,
    User,
    View,
)
from alignloop.labeling.app.pages.labeler import (
    ErrorPage,
    FeedbackPage,
    FlagFeedback,
    GuidelineSection,
    GuidelinesPage,
    HomePage,
    InvitePage,
    MessagesPage,
    PairFeedback,
    Queue,
    SignInPage,
    Step,
    WorkDay,
    WorkPage,
    WorkRow,
)
from alignloop.labeling.app.pages.tasks import (
    ComparePage,
    ConflictPage,
    DemonstratePage,
    Difference,
    ExamplePair,
    Finding,
    Output,
    PromptPage,
    RankPage,
    RatePage,
    Rating,
    Task,
    ToxicityPage,
)

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
PROMPT_ZH = (
    "请用三句话向一个十岁的孩子解释为什么天空是蓝色的，\n不要使用“散射”这个词，"
    "并在最后提一个可以在家里做的小实验。"
)
ANSWERS_ZH = (
    "阳光看起来是白色的，其实里面藏着彩虹的所有颜色。阳光穿过空气时，蓝色的光最容易被空气里的小微粒撞得到处跑，"
    "所以我们从四面八方都能看到蓝色。试一试：在一杯清水里滴几滴牛奶，用手电筒从侧面照，看看水会变成什么颜色。",
    "因为海是蓝色的，天空像镜子一样把海的颜色照了出来。",
    "天空是蓝色的，这是由于瑞利散射：散射强度与波长的四次方成反比，因此短波长的蓝光散射得更多。",
    "太阳光里有很多颜色，空气最喜欢和蓝色玩，把它抛得满天都是。傍晚时，光要走更远的路，蓝色在路上玩丢了，就只剩下红色。"
    "小实验：把手电筒的光照过一杯加了一点牛奶的水。",
)
RICH = Markup(
    "<ul><li><strong>Talk first.</strong> Visit in daylight and ask about the dog.</li>"
    "<li><strong>Help.</strong> Offer to walk it in the evening.</li>"
    "<li><strong>Write it down.</strong> Times and dates, in case you need the council later.</li></ul>"
)
GRADES = (7, 1, 3, 5, 6, 2, 1, 3, 6)
PLACES = (1, 5, 4, 3, 2, None, 0, 4, 2)


def view(locale: Locale = "en", role: str = "labeler", **changes: object) -> View:
    """The view around a page, signed in as `role`; "" for nobody."""
    names = {"labeler": "Mina Okafor", "researcher": "Jonas Weiss"}
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
        lease_until=NOW + timedelta(hours=1),
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


def ago(**of_delta: float) -> datetime:
    return NOW - timedelta(**of_delta)


def guideline_page(locale: Locale, *, is_new: bool) -> GuidelinesPage:
    lang = "en" if locale == "en" else "zh-Hans"
    texts = {
        "helpful": (
            "<p>Do what the user means. Write clearly. Where a request is confusing, ask back instead of guessing. "
            "Do not ramble: a short answer that does the task is better than a long one that also does it.</p>"
            "<ul><li>Do not suppose a context that the user did not give.</li>"
            "<li>Remember that users come from many countries.</li></ul>",
            "<p>做用户真正想要的事，表达清楚。请求含糊时先追问，不要猜测。不要啰嗦。</p>",
        ),
        "truthful": (
            "<p>Where a task is about a given text, say nothing that the text does not say. Make no false claims about "
            "the world. If the question rests on a false premise, say so.</p>",
            "<p>任务依据给定文本时，不要说文本里没有的内容。不要对世界作出错误的陈述。问题的前提不成立时，请指出来。</p>",
        ),
        "harmless": (
            "<p>An answer should not hurt people, in body, mind or standing; should not denigrate a group; should not "
            "bring in sex or violence that nobody asked for; and should not give bad or illegal advice.</p>",
            "<p>回答不应在身体、心理或名誉上伤害他人，不应贬低任何群体，不应给出错误或违法的建议。</p>",
        ),
    }
    at = 0 if locale == "en" else 1
    sections = tuple(
        GuidelineSection(key, Passage(Markup(both[at]).striptags(), lang, Markup(both[at])))  # pyright: ignore
        for key, both in texts.items()
    )
    return GuidelinesPage(
        "2026-11",
        date(2026, 11, 2),
        sections,
        "training",
        None if is_new else ago(days=3),
        Passage("“Tie” is now preferred where you would need to guess.", "en") if is_new else None,
        next="/",
    )


def home_page(locale: Locale, *, is_new: bool) -> HomePage:
    names = ("Rankings, November", "Demonstrations", "Blind comparison 7", "Prompts by labelers")
    if locale == "zh":
        names = ("十一月排序", "示范回答", "盲测七", "标注员提示")
    steps = (
        Step("guidelines", "done"),
        Step("practice", "now", 3, 8),
        Step("screening", "later", 0, 40),
        Step("review", "later"),
    )
    queues = (
        Queue("c1", names[0], "rank", 1240, 14, 412.0, (Decimal("4.20"), "EUR"), (4, 9), "t7Qm2"),
        Queue("c2", names[1], "demo", 86, 2, 655.0, (Decimal("6.00"), "EUR")),
        Queue("c3", names[2], "eval", 0, 0, None, None, blocked="cohort"),
        Queue("c4", names[3], "prompt", 1, 0, None, (Decimal("1.50"), "EUR")),
    )
    if is_new:
        first = replace(
            queues[0], practice=True, open_task=None, done_today=3, available=5, pay_each=None
        )
        queues = (first, *(replace(queue, blocked="practice") for queue in queues[1:3]))
    lines = (
        Line(
            "Jonas Weiss",
            False,
            ago(hours=2),
            "Thank you for the note on the dog prompt. We made it clearer.",
        ),
        Line(
            "Jonas Weiss",
            False,
            ago(days=1),
            "New guidelines from Monday on: see what changed at their top.",
        ),
    )
    return HomePage(steps if is_new else (), queues, lines, 3 if is_new else 16, 5400.0, "2026-11")


def prompt_page(locale: Locale) -> PromptPage:
    return PromptPage(
        "few_shot",
        2,
        "0c0ffee0-2222-4222-8333-444455556666",
        Passage(
            "My prompt may be used to train and evaluate language models, and be published without my name.",
            "en",
        ),
        text="Write the opposite of each word. Contact: mina@example.org",
        pairs=(ExamplePair("hot", "cold"), ExamplePair("early", "late"), ExamplePair("", "")),
        use_case="rewrite",
        lang=locale,
        findings=(Finding("email", "mina@example.org"),),
        written=37,
        errors={"response[3]": Message("pair_empty"), "consent": Message("consent")},
    )


def feedback_page(locale: Locale) -> FeedbackPage:
    shown = outputs(locale, 4)
    why = Passage(
        "D keeps to “no more than two sentences” in each option; C gives no options at all.", "en"
    )
    pairs = (
        PairFeedback("C", "D", "worse", "tied", why),
        PairFeedback("A", "B", "better", "better"),
        PairFeedback("A", "C", "better", "better"),
        PairFeedback("A", "D", "better", "better"),
        PairFeedback("B", "C", "worse", "worse"),
        PairFeedback("B", "D", "worse", "worse"),
    )
    return FeedbackPage(
        "c1",
        task(locale).prompt,
        tuple((output.letter, output.passage) for output in shown),
        pairs,
        (FlagFeedback("B", "Gives harmful advice", True),),
        (("A", 7, 6), ("B", 1, 2), ("C", 5, 3), ("D", 5, 5)),
        Passage(
            "Here following the constraint decides: three options, each of two sentences at most.",
            "en",
        ),
        3,
        8,
    )


def work_page(locale: Locale) -> WorkPage:
    campaign = "Rankings, November" if locale == "en" else "十一月排序"
    rows = (
        WorkRow("s1", "t1", "rank", campaign, ago(minutes=4), "final", 412, ago(minutes=-6)),
        WorkRow("s2", "t2", "rank", campaign, ago(minutes=19), "surplus", 388),
        WorkRow("s3", "t3", "rank", campaign, ago(minutes=31), "skipped", 45),
        WorkRow("s4", "t4", "demo", "Demonstrations", ago(hours=3), "withdrawn", 702),
        WorkRow("s5", "t5", "demo", "Demonstrations", ago(days=1), "final", 655),
    )
    days = tuple(WorkDay(date(2026, 11, 27 - at), 16 - at, 5400.0 + 1100 * at) for at in range(5))
    return WorkPage(rows, days, 61200.0, 201600.0, "usual", 412, (Decimal("684.30"), "EUR"))


def messages_page() -> MessagesPage:
    return MessagesPage(
        (
            Line(
                "Mina Okafor",
                True,
                ago(days=1, hours=3),
                "Is sarcasm an opinion? I was not sure in this one.",
                "t3",
            ),
            Line(
                "Jonas Weiss",
                False,
                ago(days=1),
                "Only if the answer itself judges. Otherwise leave it.\n\nGood question.",
            ),
            Line("Jonas Weiss", False, ago(hours=2), "We made the dog prompt clearer. Thank you!"),
        ),
        task="t7Qm2",
    )


def conflict_page(locale: Locale) -> ConflictPage:
    mine = (
        ("rank[i1]", "1"),
        ("rank[i2]", "2"),
        ("rank[i3]", "2"),
        ("notes[i1]", "Warm, and to the point."),
    )
    differences = (
        Difference("rank[i1]", "A", ("1",), ("1",)),
        Difference("rank[i2]", "B", ("2",), ("0",)),
        Difference("rank[i3]", "C", ("2",), ("3",)),
        Difference("flag[i3]", "C", ("instruction", "own"), ()),
        Difference("notes[i1]", "A", ("Warm, and to the point.",), ("Warm.\nKind.",)),
        Difference("verdict", "", ("both_bad",), ("a",)),
    )
    return ConflictPage(
        "/tasks/t7Qm2/rank",
        "submit",
        9,
        differences,
        mine,
        ago(minutes=1),
        {"own": "Of the campaign's own"},
    )


def compare_page(locale: Locale) -> ComparePage:
    shown = outputs(locale, 5)
    first = task(
        locale, pages=1, purpose="evaluation", campaign="Blind comparison 7", sensitive=True
    )
    return ComparePage(first, shown[0].passage, shown[-1].passage, "a", 2, done=41, planned=200)


def toxicity_page(locale: Locale) -> ToxicityPage:
    shown = outputs(locale, 4, is_placed=False)
    return ToxicityPage(
        task(locale, page=2, pages=5, purpose="evaluation", sensitive=True),
        shown[1],
        shown,
        input_toxicity=1,
        toxicity=0,
        continuity=5,
        finished=frozenset({"i1"}),
        errors={"relative[i2]": Message("required")},
    )


def labeler_pages(locale: Locale = "en") -> dict[str, tuple[Page, View]]:
    """The pages of labelers, by name, with the view around each."""
    labeler, nobody = view(locale), view(locale, "")
    wrong = {"rank[i6]": Message("ranks"), "skip_reason": Message("reason")}
    return {
        "sign-in": (SignInPage(), nobody),
        "sign-in-wrong": (
            SignInPage(
                "/my-work", "mina@example.org", {"": Message("sign_in"), "email": Message("email")}
            ),
            nobody,
        ),
        "invite": (InvitePage("tok", "mina@example.org", "labeler", ago(days=-7)), nobody),
        "guidelines": (
            guideline_page(locale, is_new=True),
            replace(labeler, notice=Notice("welcome", "info"), path="/guidelines"),
        ),
        "guidelines-read": (
            guideline_page(locale, is_new=False),
            replace(labeler, path="/guidelines"),
        ),
        "home": (home_page(locale, is_new=False), replace(labeler, notice=Notice("submitted"))),
        "home-new": (home_page(locale, is_new=True), labeler),
        "demonstrate": (DemonstratePage(task(locale, pages=1), ANSWERS[3], "en"), labeler),
        "demonstrate_dialogue": (
            DemonstratePage(
                task(locale, pages=1),
                "",
                "en",
                dialogue=True,
                turns=(
                    Turn("assistant", Passage(ANSWERS[3], "en")),
                    Turn("user", Passage("And in one sentence, please?", "en")),
                ),
            ),
            labeler,
        ),
        "prompt": (prompt_page(locale), replace(labeler, path="/prompts/new?kind=few_shot")),
        "prompt-plain": (
            replace(prompt_page(locale), kind="plain", pairs=(), findings=(), errors={}),
            labeler,
        ),
        "prompt-user": (
            replace(
                prompt_page(locale),
                kind="user_based",
                description=Passage("Wants short texts for the menu of a small restaurant.", "en"),
                errors={},
            ),
            labeler,
        ),
        "rate": (rate_page(locale), labeler),
        "rank": (rank_page(locale), labeler),
        "rank-start": (rank_page(locale, 4, is_placed=False), labeler),
        "rank-columns": (
            rank_page(locale, layout="columns"),
            replace(labeler, notice=Notice("reopened")),
        ),
        "rank-wrong": (replace(rank_page(locale, practice=True), errors=wrong), labeler),
        "compare": (compare_page(locale), replace(labeler, single_keys=False)),
        "toxicity": (toxicity_page(locale), labeler),
        "feedback": (feedback_page(locale), replace(labeler, path="/tasks/t7Qm2/feedback")),
        "work": (work_page(locale), replace(labeler, path="/my-work")),
        "messages": (messages_page(), replace(labeler, path="/messages")),
        "conflict": (conflict_page(locale), replace(labeler, path="/tasks/t7Qm2/rank")),
        "error-403": (ErrorPage(403), nobody),
        "error-404": (ErrorPage(404), labeler),
        "error-413": (ErrorPage(413, limit_bytes=1_048_576), labeler),
        "error-429": (ErrorPage(429, wait_seconds=40), labeler),
        "error-500": (ErrorPage(500, reference="7f3a-22"), labeler),
    }
