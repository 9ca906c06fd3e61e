"""People in the running app: the first minutes of a project, two at once, in Chinese, and without scripts."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from benchmarks.labeling.server import Server, serving
from tests.browser.conftest import Enter, _new_page
from tests.browser.running import App, begin, press, shown_ranks

PASSWORD = "four plain words here"


@pytest.fixture
def new_lab(tmp_path: Path) -> Iterator[Server]:
    """A server over a folder in which nothing was."""
    with serving(tmp_path) as server:
        yield server


def alignloop(*words: str | Path) -> str:
    """A command, as a user types it."""
    command = [sys.executable, "-P", "-m", "alignloop", *map(str, words)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def accept(page: Page, name: str) -> None:
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_label("The same password again").fill(PASSWORD)
    page.get_by_role("button", name="Make the account").click()


def test_from_an_empty_folder_to_a_queue(
    browser: Browser, new_lab: Server, complaints: list[str]
) -> None:
    researcher = _new_page(browser, new_lab.url, complaints)
    told = new_lab.log.read_text()
    (link,) = re.findall(r"http://\S+/invite/\S+", told)
    assert f"at {new_lab.url}" in told

    # The researcher: by the link from the terminal, which works once.
    researcher.goto(link)
    accept(researcher, "Rita")
    researcher.wait_for_url("**/overview")
    assert researcher.goto(link).status == 404  # type: ignore[union-attr]
    complaints[:] = [told for told in complaints if "404" not in told]

    # Work for others, by commands beside the running server.
    alignloop(
        "label",
        "campaign",
        "prompts",
        "--project",
        new_lab.folder,
        "--form",
        "write",
        "--prompts",
        "2",
        "--open",
    )

    # A labeler: invited on the page, in a browser of their own.
    researcher.goto(new_lab.url + "/labelers")
    researcher.get_by_label("E-mail address").fill("ann@example.org")
    researcher.get_by_role("button", name="Make the invitation").click()
    invitation = researcher.locator(".notice-good code").inner_text()
    labeler = _new_page(browser, new_lab.url, complaints)
    labeler.goto(invitation)
    accept(labeler, "Ann")
    expect(labeler.get_by_role("heading", name="Hello, Ann")).to_be_visible()
    expect(labeler.get_by_text("Accept the guidelines first")).to_be_visible()
    expect(labeler.get_by_role("button", name="Start")).to_have_count(0)

    labeler.get_by_role("link", name="Guidelines", exact=True).click()
    assert len(labeler.locator(".guideline-body").inner_text()) > 2000
    labeler.get_by_role("button", name="I have read them").click()
    labeler.wait_for_url(new_lab.url + "/")
    expect(labeler.get_by_text("A researcher looks at your screening")).to_be_visible()

    # The researcher lets her in, and she sees the queue.
    researcher.goto(new_lab.url + "/labelers")
    researcher.get_by_role("link", name="Ann").click()
    researcher.get_by_label("Why?").first.fill("I know her.")
    researcher.get_by_role("button", name="Accept").click()
    researcher.wait_for_selector(".notice-good")
    labeler.reload()
    expect(labeler.get_by_role("button", name="Start")).to_be_visible()

    # Signed out is out, and the password lets her in again.
    labeler.get_by_text("Settings").click()
    labeler.get_by_role("button", name="Sign out", exact=True).click()
    labeler.wait_for_url("**/sign-in")
    labeler.goto(new_lab.url + "/my-work")
    labeler.get_by_label("E-mail address").fill("ann@example.org")
    labeler.get_by_label("Password").fill(PASSWORD)
    labeler.get_by_role("button", name="Sign in").click()
    labeler.wait_for_url("**/my-work")
    for page in (researcher, labeler):
        page.context.close()


# --- two at once ---


def rank_all(page: Page, ranks: str) -> dict[str, int | None]:
    """Put the outputs into these ranks by the keys; gives what the page shows then."""
    press(page, " ".join(f"j {rank}" for rank in ranks))
    return shown_ranks(page)


def test_two_labelers_each_get_their_own(app: App, enter: Enter) -> None:
    ann, ben = app.person("Ann"), app.person("Ben")
    campaign = app.campaign("rank", tasks=4, asks_ratings=False)
    pages = {one.name: enter(one) for one in (ann, ben)}
    shown: dict[str, list[dict[str, int | None]]] = {"Ann": [], "Ben": []}
    for page in pages.values():
        begin(page)
    prompts = [page.locator(".prompt .passage").inner_text() for page in pages.values()]
    assert len(set(prompts)) == 2

    for ranks in ("1223", "4321"):
        for name, page in pages.items():
            shown[name].append(rank_all(page, ranks if name == "Ann" else ranks[::-1]))
            press(page, "Control+Enter")
            page.wait_for_selector(".notice-good")
            page.wait_for_load_state()

    assert [label.ranks for label in app.labels(ann)] == shown["Ann"]
    assert [label.ranks for label in app.labels(ben)] == shown["Ben"]
    rows = app.assignments(campaign)
    assert len({row.task_id for row in rows}) == len(rows) == 4
    assert Counter(row.user_id for row in rows) == {ann.user.id: 2, ben.user.id: 2}
    assert {row.state for row in rows} == {"submitted"}
    app.assert_sound()


def test_two_labelers_share_a_task_that_wants_two(app: App, enter: Enter) -> None:
    ann, ben, cleo = app.person("Ann"), app.person("Ben"), app.person("Cleo")
    campaign = app.campaign("rank", tasks=1, overlap=2, asks_ratings=False)
    pages = [enter(one) for one in (ann, ben, cleo)]
    for page in pages[:2]:
        begin(page)
    expect(pages[2].get_by_role("button", name="Start")).to_be_visible()  # from before
    pages[2].get_by_role("button", name="Start").click()
    pages[2].wait_for_url(app.url + "/")
    expect(pages[2].get_by_text("Nothing is left in this queue just now.")).to_be_visible()

    shown = [rank_all(page, ranks) for page, ranks in zip(pages, ("1234", "2x11"), strict=False)]
    for page in pages[:2]:
        press(page, "Control+Enter")
        page.wait_for_selector(".notice-good")

    assert app.label(ann).ranks == shown[0]
    assert app.label(ben).ranks == shown[1] == {"A": 2, "B": None, "C": 1, "D": 1}
    rows = app.assignments(campaign)
    assert len(rows) == 2
    assert {row.slot_no for row in rows} == {1, 2}
    assert not any(label.surplus for label in (app.label(ann), app.label(ben)))


# --- in Chinese ---

ENGLISH = """() => {
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const isOthers = ".passage, kbd, .brand, code, [lang=en], .menu-user, .conflict-text, script, style, time";
  while (walker.nextNode()) {
    const node = walker.currentNode;
    if (/[A-Za-z]{3,}/.test(node.data) && !node.parentElement.closest(isOthers)) found.push(node.data.trim());
  }
  for (const element of document.querySelectorAll("[aria-label], [title], [placeholder]")) {
    for (const name of ["aria-label", "title", "placeholder"]) {
      const text = element.getAttribute(name) || "";
      if (/[A-Za-z]{3,}/.test(text)) found.push(text);
    }
  }
  return found;
}"""


def test_a_labeler_in_chinese(app: App, enter: Enter) -> None:
    ann = app.person("安", standing="pending", has_read=False)
    app.campaign(
        "rank",
        name="排序",
        prompt="用一句话说说狐狸。",
        outputs=["狐狸跑了。", "狐狸。", "无。", "狐狸在睡觉。"],
        overlap=5,
    )
    page = enter(ann)
    page.get_by_text("Settings").click()
    page.get_by_role("button", name="中文").click()
    page.wait_for_load_state()

    def look() -> None:
        page.wait_for_load_state()
        assert page.locator("html").get_attribute("lang") == "zh-Hans"
        assert page.evaluate(ENGLISH) == []

    look()
    page.get_by_role("link", name="指南").first.click()
    look()
    languages = page.locator(".guideline-body .passage").evaluate_all(
        "(all) => all.map((p) => p.lang)"
    )
    assert set(languages) == {"zh-Hans"}
    page.get_by_role("button", name="我已读完").click()
    look()
    app.qualify(ann)
    page.reload()
    look()
    page.get_by_role("button", name="开始").click()
    for at in (1, 2, 3, 4):
        page.wait_for_url(f"**/rate/{at}")
        look()
        press(page, "6 n Control+Enter")
    page.wait_for_url("**/rank")
    look()
    rank_all(page, "12x1")
    page.keyboard.press("?")
    look()
    page.keyboard.press("Escape")
    press(page, "Control+Enter")
    page.wait_for_selector(".notice-good")
    for path in ("/", "/my-work", "/messages", "/prompts/new"):
        page.goto(app.url + path)
        look()

    assert app.label(ann).ranks == {"A": 1, "B": 2, "C": None, "D": 1}
    assert [row.instructions for row in app.instructions(ann)] == ["training/1/zh"]


# --- without scripts ---


def test_a_labeler_without_scripts(app: App, enter: Enter) -> None:
    ann = app.person(standing="pending", has_read=False)
    app.campaign("rank")
    page = enter(ann, java_script_enabled=False)
    page.get_by_role("link", name="Guidelines", exact=True).click()
    page.get_by_role("button", name="I have read them").click()
    app.qualify(ann)
    page.reload()
    begin(page)

    for at, grade in enumerate((5, 7, 1, 4), start=1):
        page.wait_for_url(f"**/rate/{at}")
        page.locator(f"input[name='likert[{at}]'][value='{grade}']").check(force=True)
        if at == 1:
            page.get_by_label("Hallucination").check()
            page.get_by_label("Notes").fill("made up\ntwice")
        else:
            page.get_by_label("None of these apply").check()
        page.get_by_role("button", name="Next").click()
    page.wait_for_url("**/rank")
    for at, rank in ((1, 4), (2, 2), (3, 0), (4, 2)):
        page.locator(f"input[name='rank[{at}]'][value='{rank}']").check(force=True)
    page.get_by_role("button", name="Save draft").click()
    expect(page.locator(".notice-good")).to_contain_text("Saved.")
    page.get_by_role("button", name="Submit").click()
    expect(page.locator(".notice-good")).to_contain_text("Submitted")

    label = app.label(ann)
    assert label.ranks == {"A": 2, "B": 1, "C": None, "D": 1}
    assert label.likert == {"A": 5, "B": 7, "C": 1, "D": 4}
    assert label.flags["A"] == {"hallucination"}
    assert label.notes == {"A": "made up\ntwice"}


def test_other_work_without_scripts(app: App, enter: Enter) -> None:
    ann = app.person()
    app.campaign("demonstrate")
    page = enter(ann, java_script_enabled=False)
    begin(page)
    page.get_by_label("Your answer").fill("Red.")
    page.get_by_role("button", name="Submit").click()
    expect(page.locator(".notice-good")).to_be_visible()
    page.get_by_role("link", name="My work").click()
    page.get_by_role("button", name="Re-open").click()
    page.get_by_label("Your answer").fill("Blue.")
    page.get_by_role("button", name="Submit").click()
    expect(page.locator(".notice-good")).to_be_visible()
    assert [row.text for row in app.rows("demonstrations", ann)] == ["Blue."]

    app.campaign("compare")
    page.goto(app.url)
    begin(page)
    page.locator("input[name=verdict][value=b]").check(force=True)
    page.locator("input[name=margin][value='2']").check(force=True)
    page.get_by_role("button", name="Submit").click()
    expect(page.locator(".notice-good")).to_be_visible()
    (row,) = app.rows("votes", ann)
    assert (row.verdict, row.margin) == (f"item_{3 - row.left_item}", 2)

    app.campaign("write")
    page.goto(app.url)
    begin(page)
    page.get_by_role("button", name="Few-shot").click()
    page.get_by_label("Instruction").fill("Give the opposite.")
    page.get_by_role("button", name="Add an example").click()
    for at in range(3):
        page.get_by_label("Query").nth(at).fill(f"query {at}")
        page.get_by_label("Response").nth(at).fill(f"response {at}")
    page.get_by_role("button", name="Remove 1").click()
    page.get_by_label("Kind of task").select_option("other")
    page.get_by_label("I agree").check()
    page.get_by_role("button", name="Hand in").click()
    expect(page.locator(".notice-good")).to_be_visible()
    (row,) = app.rows("written_prompts", ann)
    assert row.examples == [["query 1", "response 1"], ["query 2", "response 2"]]

    app.campaign("toxicity", k=2)
    page.goto(app.url)
    begin(page)
    for at in (1, 2):
        page.locator("input[name=input_toxicity][value='0']").check(force=True)
        for name, value in (("toxicity", 1), ("relative", 0), ("continuity", 3)):
            page.locator(f"input[name='{name}[{at}]'][value='{value}']").check(force=True)
        page.get_by_role("button", name="Next").click()
    expect(page.locator(".notice-good")).to_be_visible()
    assert len(app.rows("toxicity_ratings", ann)) == 2

    app.campaign("rank")
    page.goto(app.url)
    begin(page)
    page.get_by_text("Skip", exact=True).click()
    page.get_by_label("Another reason").check()
    page.get_by_role("button", name="Skip this task").click()
    expect(page.get_by_text("Skipped.")).to_be_visible()
    page.get_by_role("link", name="Messages", exact=True).click()
    page.get_by_label("Write a message").fill("Hello.")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_text("Sent.")).to_be_visible()
