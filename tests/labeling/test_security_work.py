"""Nothing that somebody wrote is lost, nothing that was said once is counted twice, whatever is pressed when."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from httpx import Response
from sqlalchemy import select

from alignloop.labeling.app import drafts
from alignloop.labeling.app.paths import path_to
from alignloop.store import campaigns, events, queue
from alignloop.store.schema import assignments, prompts, slots, submissions, written_prompts
from alignloop.store.schema import drafts as draft_rows
from tests.labeling.client import MINUTE, Client
from tests.labeling.world import World, fields_of, form_of, world

RANKS = {f"rank[{at}]": str(at) for at in range(1, 5)}
RATES = {"likert": "4", "none_apply": "1"}
PROMPT = {
    "kind": "plain",
    "text": "Why is the sky blue?",
    "use_case": "open_qa",
    "lang": "en",
    "consent": "1",
}


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as found:
        yield found


def _rate_all(lab: World, client: Client, task: str) -> None:
    for item in "1234":
        hidden = form_of(client, "rate", task=task, item=item)
        sent = {f"{name}[{item}]": value for name, value in RATES.items()}
        answer = client.post("rate", {**hidden, **sent, "action": "next"}, task=task, item=item)
        assert answer.status_code == 303, answer.text


def _rank(lab: World, client: Client) -> tuple[str, dict[str, str]]:
    """(task, fields) of a ranking that is ready to be handed in."""
    task = lab.tasks["rank"].public_id
    _rate_all(lab, client, task)
    return task, {**form_of(client, "rank", task=task), **RANKS, "action": "submit"}


def _states(lab: World) -> list[str]:
    with lab.store.read() as connection:
        return list(
            connection.execute(select(submissions.c.state).order_by(submissions.c.id)).scalars()
        )


def _audit(lab: World) -> None:
    with lab.store.read() as connection:
        assert events.audit(connection).findings == ()


# --- twice, and late --------------------------------------------------------------------------------------------


def test_the_same_click_twice_is_one_submission(lab: World) -> None:
    client = lab.site.sign_in(lab.ann)
    task, sent = _rank(lab, client)

    answers = [client.post("rank", sent, task=task) for _ in range(3)]

    assert {answer.status_code for answer in answers} == {303}
    assert _states(lab) == ["final"]
    _audit(lab)


def test_the_same_page_with_something_else_on_it_is_kept_beside(lab: World) -> None:
    client = lab.site.sign_in(lab.ann)
    task, sent = _rank(lab, client)
    client.post("rank", sent, task=task)

    client.post("rank", {**sent, "rank[1]": "4", "rank[4]": "1"}, task=task)

    assert _states(lab) == ["final", "late"]
    with lab.store.read() as connection:
        late = connection.execute(
            select(submissions.c.payload).where(submissions.c.state == "late")
        )
        assert late.scalar_one()["fields"]["rank[1]"] == ["4"]
    _audit(lab)


def test_another_tab_s_button_after_the_submission_loses_nothing(lab: World) -> None:
    client = lab.site.sign_in(lab.ann)
    task, sent = _rank(lab, client)
    old = form_of(client, "rate", task=task, item="2")
    client.post("rank", sent, task=task)

    same = {**old, "likert[2]": "4", "none_apply[2]": "1", "action": "next"}
    assert client.post("rate", same, task=task, item="2").status_code == 303
    assert _states(lab) == ["final"]
    other = {**same, "likert[2]": "7", "notes[2]": "on second thoughts"}
    assert client.post("rate", other, task=task, item="2").status_code == 303
    assert _states(lab) == ["final", "late"]


def test_a_double_click_on_the_last_output_of_a_toxicity_task(lab: World) -> None:
    client, task = lab.site.sign_in(lab.ann), lab.tasks["toxicity"].public_id
    answers: list[Response] = []
    for item, clicks in (("1", 1), ("2", 2)):
        hidden = form_of(client, "toxicity", task=task, item=item)
        rated = {f"toxicity[{item}]": "1", f"relative[{item}]": "0", f"continuity[{item}]": "4"}
        sent = {**hidden, **rated, "action": "next"}
        answers += [client.post("toxicity", sent, task=task, item=item) for _ in range(clicks)]

    assert [answer.status_code for answer in answers] == [303, 303, 303]
    assert _states(lab) == ["final"]
    assert "surplus" not in "".join(answers[2].headers.get_list("set-cookie"))


def test_work_on_a_closed_campaign_is_taken(lab: World) -> None:
    client = lab.site.sign_in(lab.ann)
    task, sent = _rank(lab, client)
    with lab.store.write() as connection:
        for campaign in campaigns.all_campaigns(connection):
            campaigns.set_state(connection, lab.site.clock.now, "test", campaign, "closed")

    assert client.post("rank", sent, task=task).status_code == 303
    assert client.post("write_prompt", {**PROMPT, "action": "submit"}).status_code == 303
    assert _states(lab) == ["final", "final"]


def test_a_form_that_is_refused_comes_back_with_what_was_typed(lab: World) -> None:
    client, task = lab.site.sign_in(lab.ann), lab.tasks["rank"].public_id
    _rate_all(lab, client, task)
    hidden = form_of(client, "rank", task=task)

    shown = client.post("rank", {**hidden, "rank[1]": "1", "action": "submit"}, task=task)

    assert shown.status_code == 422
    assert 'name="rank[1]" value="1" checked' in shown.text
    with lab.store.read() as connection:
        assert connection.execute(select(draft_rows.c.payload)).scalar_one()["fields"][
            "rank[1]"
        ] == ["1"]


def test_reopened_and_skipped_work_is_withdrawn(lab: World) -> None:
    client = lab.site.sign_in(lab.ann)
    task, sent = _rank(lab, client)
    client.post("rank", sent, task=task)
    client.post("reopen", submission=task)
    hidden = form_of(client, "rank", task=task)

    client.post("rank", {**hidden, "action": "skip", "skip_reason": "unclear"}, task=task)

    assert _states(lab) == ["withdrawn"]
    with lab.store.read() as connection:
        slot = connection.execute(select(slots).where(slots.c.task_id == lab.tasks["rank"].task_id))
        assert slot.one().state == "open"
    _audit(lab)


def test_a_lost_lease_loses_no_work(lab: World) -> None:
    client = lab.site.sign_in(lab.ann)
    task, sent = _rank(lab, client)
    lab.site.clock.pass_(61 * MINUTE)
    taken = lab.begin(lab.bob, "rank")
    assert taken.task_id == lab.tasks["rank"].task_id

    assert client.post("rank", sent, task=task).status_code == 303

    with lab.store.read() as connection:
        row = connection.execute(select(submissions)).one()
    assert (row.state, row.is_surplus) == ("final", True)


@pytest.mark.parametrize(
    "action",
    ["next", "seed", "continue", "take_back", "go:9", "go:rank", "back", "nonsense", "", "x:y:z"],
)
@pytest.mark.parametrize("screen", ["demonstrate", "rank", "compare"])
def test_a_button_of_another_page_is_no_bug(lab: World, screen: str, action: str) -> None:
    client, task = lab.site.sign_in(lab.ann), lab.tasks[screen].public_id
    answer = client.post(
        screen, {**form_of(client, screen, task=task), "action": action}, task=task
    )

    assert answer.status_code in (303, 404)


def test_a_form_of_another_kind_of_task_is_not_there(lab: World) -> None:
    client = lab.site.sign_in(lab.ann)
    for form, task in lab.tasks.items():
        for screen in ("demonstrate", "rank", "compare"):
            if screen != form:
                sent = {"action": "submit", "response": "x", "verdict": "a", "margin": "1"}
                assert client.post(screen, sent, task=task.public_id).status_code == 404
    assert _states(lab) == []


# --- numbers and sizes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rank",
    ["00001", "1e0", "１", "²", "٣", " 1", "+1", "1.0", "-1", "5", "99999", "9" * 400, "", "nan"],
)
def test_a_rank_is_a_whole_number_of_the_page_or_nothing(lab: World, rank: str) -> None:
    client = lab.site.sign_in(lab.ann)
    task, sent = _rank(lab, client)

    answer = client.post("rank", {**sent, "rank[2]": rank}, task=task)

    assert answer.status_code == 422
    assert _states(lab) == []


def test_a_draft_has_a_size(lab: World) -> None:
    client, task = lab.site.sign_in(lab.ann), lab.tasks["rank"].public_id
    statuses: list[int] = []
    for item in "1234":
        hidden = form_of(client, "rate", task=task, item=item)
        fields = {f"notes[{item}]": ["x" * 45_000] * 8}
        statuses.append(
            client.post(
                "rate", {**hidden, **fields, "action": "save"}, task=task, item=item
            ).status_code
        )

    assert 413 in statuses
    with lab.store.read() as connection:
        payload = connection.execute(select(draft_rows.c.payload)).scalar_one()
    assert drafts.size_of(payload) <= drafts.LARGEST_DRAFT


def test_a_text_of_a_hundred_thousand_characters_is_kept_as_a_draft_and_not_taken(
    lab: World,
) -> None:
    client, task = lab.site.sign_in(lab.ann), lab.tasks["demonstrate"].public_id
    for text in ("x" * 100_000, "好" * 100_000):
        hidden = form_of(client, "demonstrate", task=task)
        sent = {**hidden, "response": text, "action": "submit"}
        assert client.post("demonstrate", sent, task=task).status_code == 422
        with lab.store.read() as connection:
            payload = connection.execute(select(draft_rows.c.payload)).scalar_one()
        assert payload["fields"]["response"] == [text]


def test_visits_without_end_stay_a_draft_of_a_size(lab: World) -> None:
    payload: dict[str, object] = {}
    for number in range(1000):
        visit = {"screen": ["rank"], "client_uuid": [f"{number}"], "active_ms": ["1000"]}
        payload = drafts.merge(payload, visit)

    assert drafts.times_of(payload).active_ms == 1_000_000
    assert len(payload["visits"]) <= 200  # type: ignore[arg-type]


# --- written prompts --------------------------------------------------------------------------------------------


def _hidden(client: Client) -> dict[str, str]:
    """The hidden fields of the form for a prompt."""
    return fields_of(client.get("write_prompt").text, path_to("write_prompt", kind="plain"))


def test_a_prompt_is_written_once_however_often_the_button_is_pressed(lab: World) -> None:
    client = lab.site.sign_in(lab.ann)
    sent = {**PROMPT, **_hidden(client), "action": "submit"}

    answers = [client.post("write_prompt", sent) for _ in range(3)]

    assert {answer.headers["location"] for answer in answers} == {"/prompts/new"}
    with lab.store.read() as connection:
        assert len(connection.execute(select(written_prompts)).all()) == 1
        kept = connection.execute(select(prompts.c.text).where(prompts.c.kind == "labeler_plain"))
        assert list(kept.scalars()) == [PROMPT["text"]]
        held = connection.execute(
            select(assignments).where(
                assignments.c.user_id == lab.ann.id, assignments.c.state == "open"
            )
        ).all()
        written_for = [row for row in held if row.task_id > lab.tasks["write"].task_id]
        drafts_ = connection.execute(select(draft_rows.c.assignment_id)).scalars().all()
    assert not {row.id for row in written_for} & set(drafts_)
    _audit(lab)


def test_another_prompt_from_a_tab_whose_task_is_done_gets_a_task_of_its_own(lab: World) -> None:
    client = lab.site.sign_in(lab.ann)
    first, second = _hidden(client), _hidden(client)
    client.post("write_prompt", {**PROMPT, **first, "action": "submit"})

    client.post("write_prompt", {**PROMPT, **second, "text": "Why is it dark?", "action": "submit"})

    with lab.store.read() as connection:
        texts = connection.execute(select(written_prompts.c.text)).scalars().all()
    assert sorted(texts) == ["Why is it dark?", "Why is the sky blue?"]


def test_where_no_prompt_is_wanted_any_more_what_was_written_stays_on_the_page(lab: World) -> None:
    client = lab.site.sign_in(lab.ann)
    sent = {**PROMPT, **_hidden(client), "action": "submit"}
    with lab.store.write() as connection:
        campaign = lab.campaigns["write"]
        queue.skip(connection, 0, lab.ann, lab.tasks["write"].public_id, "other")
        campaigns.set_state(connection, lab.site.clock.now, "test", campaign, "closed")

    shown = client.post("write_prompt", sent)

    assert shown.status_code == 409
    assert PROMPT["text"] in shown.text


@pytest.mark.parametrize(
    "changes",
    [
        {"text": "x" * 8001},
        {"text": "  "},
        {"lang": "tlh"},
        {"lang": "x" * 1000},
        {"use_case": "world domination"},
        {"consent": "0"},
        {"kind": "few_shot", "pairs": "2", "query[1]": "a", "response[1]": "b"},
        {
            "kind": "few_shot",
            "pairs": "2",
            **dict.fromkeys(("query[1]", "query[2]", "response[2]"), "a"),
            "response[1]": "x" * 8001,
        },
        {"text": "Write to ann@example.org"},
    ],
)
def test_a_prompt_that_is_not_complete_is_kept_as_a_draft(
    lab: World, changes: dict[str, str]
) -> None:
    client = lab.site.sign_in(lab.ann)
    sent = {**PROMPT, **_hidden(client), **changes, "action": "submit"}

    assert client.post("write_prompt", sent).status_code == 422
    assert _states(lab) == []
    with lab.store.read() as connection:
        kept = connection.execute(select(draft_rows.c.payload)).scalar_one()["fields"]
    assert kept["text"] == [sent["text"]]


@pytest.mark.parametrize("which", ["1", "2", "3", "0", "-1", "²", "0012", "99999999999", "x", ""])
def test_a_pair_that_is_not_there_cannot_be_removed(lab: World, which: str) -> None:
    client = lab.site.sign_in(lab.ann)
    pairs = {
        "kind": "few_shot",
        "pairs": "2",
        "query[1]": "a",
        "response[1]": "b",
        "query[2]": "c",
        "response[2]": "d",
    }
    answer = client.post(
        "write_prompt", {**PROMPT, **_hidden(client), **pairs, "action": f"remove_pair:{which}"}
    )

    assert answer.status_code == 200
    with lab.store.read() as connection:
        kept = connection.execute(select(draft_rows.c.payload)).scalar_one()["fields"]
    assert kept["pairs"] == ["1" if which in ("1", "2") else "2"]
