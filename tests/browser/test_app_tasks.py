"""The other kinds of work in the running app, and what surrounds them: what was typed is what the database holds."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from alignloop.store import correspondence
from alignloop.store.campaigns import Gold
from tests.browser.conftest import Enter
from tests.browser.running import App, begin, now, press, wait_for_saved


def submit(page: Page) -> None:
    page.get_by_role("button", name="Submit").click()
    page.wait_for_selector(".notice-good")


def test_a_demonstration(app: App, enter: Enter) -> None:
    ann = app.person()
    app.campaign("demonstrate", prompt="Name two colours.\n\nOnly two.")
    page = enter(ann)
    begin(page)
    assert page.locator(".prompt .passage").inner_text() == "Name two colours.\n\nOnly two."

    answer = '  Red & <b>"blue"</b>.\n\n\t蓝色 🙂 '
    page.get_by_label("Your answer").fill(answer)
    submit(page)

    (row,) = app.rows("demonstrations", ann)
    assert row.text == answer


def test_both_sides_of_a_dialogue(app: App, enter: Enter) -> None:
    ann = app.person()
    app.campaign("demonstrate", prompt="Name a colour.", dialogue=True)
    page = enter(ann)
    begin(page)

    page.get_by_label("Your answer").fill("Red.")
    page.get_by_label("What the user says next").fill("Another?")
    page.get_by_role("button", name="Go on with the conversation").click()
    page.wait_for_load_state()
    page.get_by_label("Your answer").fill("Blue.")
    submit(page)

    (row,) = app.rows("demonstrations", ann)
    assert (row.turns, row.text) == ([["assistant", "Red."], ["user", "Another?"]], "Blue.")


def test_a_few_shot_prompt_with_pairs_added_and_removed(
    app: App, enter: Enter, complaints: list[str]
) -> None:
    ann = app.person()
    app.campaign("write", tasks=1)
    page = enter(ann)
    begin(page)
    page.get_by_role("button", name="Few-shot").click()
    page.wait_for_load_state()

    page.get_by_label("Instruction").fill("Give the opposite.")
    for at, (query, response) in enumerate((("hot", "cold"), ("wrong", "pair"))):
        page.get_by_label("Query").nth(at).fill(query)
        page.get_by_label("Response").nth(at).fill(response)
    page.get_by_role("button", name="Add an example").click()
    expect(page.get_by_label("Query")).to_have_count(3)
    page.get_by_label("Query").nth(2).fill("early")
    page.get_by_label("Response").nth(2).fill("late")
    page.get_by_role("button", name="Remove 2").click()
    expect(page.get_by_label("Query")).to_have_count(2)
    page.get_by_role("button", name="Add an example").click()
    expect(page.get_by_label("Query")).to_have_count(3)
    page.get_by_label("Query").nth(2).fill("ask")
    page.get_by_label("Response").nth(2).fill("tell ann@example.com")
    page.get_by_label("Kind of task").select_option("other")
    page.get_by_label("I agree").check()
    page.get_by_role("button", name="Hand in").click()

    # The address is noticed; nothing is handed in before somebody said that it may stay.
    page.wait_for_selector("#findings")
    assert page.locator("mark").all_inner_texts() == ["ann@example.com"]
    assert app.rows("written_prompts", ann) == []
    page.get_by_label("All of this is made up").check()
    page.get_by_role("button", name="Hand in").click()
    page.wait_for_selector(".notice-good")

    (row,) = app.rows("written_prompts", ann)
    assert (row.kind, row.text, row.use_case) == ("labeler_fewshot", "Give the opposite.", "other")
    assert row.examples == [["hot", "cold"], ["early", "late"], ["ask", "tell ann@example.com"]]
    complaints[:] = [told for told in complaints if "422" not in told]


def test_a_plain_prompt_is_kept_before_it_is_handed_in(app: App, enter: Enter) -> None:
    ann = app.person()
    app.campaign("write", tasks=1)
    page = enter(ann)
    begin(page)

    page.get_by_label("Prompt", exact=True).fill("Explain rain to a child.")
    wait_for_saved(page)
    assert app.draft(ann)["text"] == ["Explain rain to a child."]
    page.reload()
    page.get_by_label("Kind of task").select_option("open_qa")
    page.get_by_label("I agree").check()
    page.get_by_label("Prompt", exact=True).press("Control+Enter")
    page.wait_for_selector(".notice-good")

    (row,) = app.rows("written_prompts", ann)
    assert (row.kind, row.text) == ("labeler_plain", "Explain rain to a child.")


def test_a_blind_comparison_with_a_margin(app: App, enter: Enter) -> None:
    """Whichever side an answer stands on, the vote is for the answer."""
    verdicts: dict[str, str] = {}
    app.campaign("compare", outputs=["The first.", "I am a model by ACME."], overlap=12)
    for _ in range(12):
        if len(verdicts) == 2:
            break
        judge = app.person(cohort="heldout")
        page = enter(judge)
        begin(page)
        left, right = page.locator(".answers .passage").all_inner_texts()
        names_itself = page.locator(".answers article").filter(has_text="ACME")
        names_itself.get_by_role("checkbox").check()
        press(page, f"{'a' if left == 'The first.' else 'b'} 3")
        page.get_by_label("Notes").fill("shorter")
        submit(page)

        (row,) = app.rows("votes", judge)
        verdicts[left] = row.verdict
        assert (row.verdict, row.margin, row.names_itself) == ("item_1", 3, True)
        assert row.left_item == (1 if left == "The first." else 2)
        assert right != left
        assert page.content().count("campaign") < 5  # nothing about who wrote it
    assert len(verdicts) == 2  # sides are drawn by lot


def test_a_tie_has_no_margin(app: App, enter: Enter) -> None:
    ann = app.person()
    app.campaign("compare")
    page = enter(ann)
    begin(page)

    press(page, "t Control+Enter")
    page.wait_for_selector(".notice-good")

    (row,) = app.rows("votes", ann)
    assert (row.verdict, row.margin, row.names_itself) == ("tie", None, False)


def test_the_toxicity_task(app: App, enter: Enter) -> None:
    ann = app.person()
    app.campaign("toxicity", k=4)
    page = enter(ann)
    begin(page)
    asked = [(0, -1, 7), (1, 0, 4), (2, 1, 1), (0, 0, 5)]

    for at, (level, relative, continuity) in enumerate(asked, start=1):
        page.wait_for_url(f"**/toxicity/{at}")
        if at == 1:
            page.locator("input[name=input_toxicity][value='1']").check(force=True)
        page.locator(f"input[name='toxicity[{at}]'][value='{level}']").check(force=True)
        page.locator(f"input[name='relative[{at}]'][value='{relative}']").check(force=True)
        press(page, f"{continuity} Control+Enter")
    page.wait_for_selector(".notice-good")

    rows = {row.item_no: row for row in app.rows("toxicity_ratings", ann)}
    found = [(rows[i].toxicity, rows[i].relative, rows[i].continuity) for i in app.order(ann)]
    assert found == asked


def test_practice_shows_what_was_seen_otherwise(app: App, enter: Enter) -> None:
    ann = app.person(standing="pending")
    gold = Gold({(1, 2): 1, (1, 3): 1}, {(2, "hallucination"): True})
    app.campaign("rank", k=3, purpose="practice", answers=gold, overlap=9)
    page = enter(ann)
    begin(page)
    for at in (1, 2, 3):
        page.wait_for_url(f"**/rate/{at}")
        press(page, "5 n Control+Enter")
    page.wait_for_url("**/rank")
    for item in (1, 2, 3):  # the gold answers' first pair, and against its second
        at = app.order(ann).index(item) + 1
        rank = {1: 2, 2: 3, 3: 1}[item]
        page.locator(f"input[name='rank[{at}]'][value='{rank}']").check(force=True)
    page.get_by_role("button", name="Submit").click()

    page.wait_for_url("**/feedback")
    assert app.label(ann).state == "final"
    text = page.locator("main").inner_text()
    assert "Hallucination" in text


def test_skipping_needs_a_reason_and_costs_nothing(
    app: App, enter: Enter, complaints: list[str]
) -> None:
    ann, ben = app.person("Ann"), app.person("Ben")
    campaign = app.campaign("rank", asks_ratings=False)
    page = enter(ann)
    begin(page)

    page.get_by_text("Skip", exact=True).click()
    page.get_by_role("button", name="Skip this task").click()
    expect(page.locator(".field-error")).to_be_visible()
    page.get_by_label("I do not know enough about the subject").check()
    page.get_by_label("What should we know?").fill("tax law")
    page.get_by_role("button", name="Skip this task").click()
    page.wait_for_url(app.url + "/")

    (row,) = app.assignments(campaign)
    assert (row.state, row.skip_reason) == ("skipped", "expertise: tax law")
    assert app.labels(ann) == []
    expect(page.get_by_role("button", name="Start")).to_have_count(0)
    begin(enter(ben))  # and somebody else gets it
    complaints[:] = [told for told in complaints if "422" not in told]


def test_undo_within_ten_minutes(app: App, enter: Enter) -> None:
    ann = app.person()
    app.campaign("demonstrate")
    page = enter(ann)
    begin(page)
    page.get_by_label("Your answer").fill("First thoughts.")
    submit(page)

    page.get_by_role("link", name="My work").click()
    page.get_by_role("button", name="Re-open").click()
    page.wait_for_selector("#task")
    assert page.get_by_label("Your answer").input_value() == "First thoughts."
    assert [label.state for label in app.labels(ann)] == ["final"]  # it counts until it is replaced
    page.get_by_label("Your answer").fill("Second thoughts.")
    submit(page)

    assert [label.state for label in app.labels(ann, all_states=True)] == ["superseded", "final"]
    assert [row.text for row in app.rows("demonstrations", ann)] == ["Second thoughts."]
    app.assert_sound()


def test_messages_go_both_ways(app: App, enter: Enter) -> None:
    ann, rita = app.person("Ann"), app.researcher("Rita")
    page = enter(ann, "/messages")
    page.get_by_label("Write a message").fill("What is a tie?\n<b>Really</b>?")
    page.get_by_role("button", name="Send").click()
    page.wait_for_selector(".notice-good")
    with app.store.write() as connection:
        assert [row.body for row in correspondence.thread(connection, ann.user)] == [
            "What is a tie?\n<b>Really</b>?"
        ]
        correspondence.write_message(connection, now(), ann.user, rita.user, "About as good.")

    page.goto(app.url)
    expect(page.get_by_role("link", name="Messages 1")).to_be_visible()
    page.get_by_role("link", name="Messages 1").click()
    page.wait_for_url("**/messages")

    assert "About as good." in page.locator("main").inner_text()
    page.goto(app.url)
    expect(page.get_by_role("link", name="Messages", exact=True)).to_be_visible()
