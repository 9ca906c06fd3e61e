"""Demonstrations of conversations: a labeler writes both sides, and the export has them as turns."""

from __future__ import annotations

import re
import uuid
from pathlib import Path

from alignloop.labeling.config import ExportConfig
from alignloop.labeling.export import each_export
from alignloop.store import campaigns, correspondence, prompts
from tests.labeling.client import Client, Site, site


def hidden(page: str) -> dict[str, str]:
    return dict(re.findall(r'name="(rev|client_uuid)" value="([^"]*)"', page))


def begin(lab: Site) -> tuple[Client, str]:
    """A labeler with a dialogue in hand."""
    user = lab.labeler()
    with lab.store.write() as connection:
        for guideline in correspondence.guideline_ids(connection, purpose="training"):
            correspondence.acknowledge(connection, lab.clock.now, user, guideline)
        campaign = campaigns.add_campaign(
            connection, lab.clock.now, "test", name="talk", form="demonstrate", dialogue=True
        )
        new = prompts.NewPrompt(
            author="ann",
            split="train",
            kind="customer",
            text="Who lives in the mill?",
            text_digest=uuid.uuid4().bytes,
        )
        [prompt] = prompts.add_prompts(connection, lab.clock.now, [new])
        campaigns.add_task(connection, campaign, prompt_id=prompt)
        campaigns.set_state(connection, lab.clock.now, "test", campaign, "open")
    client = lab.sign_in(user)
    sent = client.post("claim", {"campaign": campaign.public_id})
    task = sent.headers["location"].split("/")[2]
    return client, task


def press(client: Client, task: str, action: str, **fields: str) -> str:
    """Press a button of the page with these fields; returns the page that follows."""
    page = client.get("demonstrate", task=task).text
    answer = client.post("demonstrate", {**hidden(page), **fields, "action": action}, task=task)
    return answer.text if answer.status_code == 422 else client.follow(answer).text


def test_a_conversation_is_written_and_leaves_as_turns(tmp_path: Path) -> None:
    with site(tmp_path) as lab:
        client, task = begin(lab)

        page = press(client, task, "continue", response="A fox.", user_turn="And by night?")
        assert "A fox." in page
        page = press(client, task, "continue", response="An owl.", user_turn="Thanks")
        press(client, task, "take_back")
        page = client.get("demonstrate", task=task).text
        assert page.count("An owl.") == 1  # in its field again
        press(client, task, "submit", response="Two owls.")

        with lab.store.read() as connection:
            [exported] = each_export(connection, ExportConfig(kind="demonstrations"))
    record = exported.record
    assert [(turn.role, turn.text) for turn in record.prompt.history] == [
        ("user", "Who lives in the mill?"),
        ("assistant", "A fox."),
    ]
    assert (record.prompt.text, record.response) == ("And by night?", "Two owls.")


def test_an_exchange_needs_both_sides(tmp_path: Path) -> None:
    with site(tmp_path) as lab:
        client, task = begin(lab)

        page = press(client, task, "continue", response="A fox.")

        assert "error-user_turn" in page
        assert "A fox." in page


def test_a_demonstration_that_is_no_dialogue_has_one_answer(tmp_path: Path) -> None:
    with site(tmp_path) as lab:
        client, task = begin(lab)
        with lab.store.write() as connection, lab.store.without_guards(connection):
            connection.exec_driver_sql("update campaigns set dialogue = 0")

        answer = client.post(
            "demonstrate", {"action": "continue", "response": "a", "user_turn": "b"}, task=task
        )

        assert answer.status_code == 404
