"""What forms bring in, whoever sends them."""

from __future__ import annotations

from pathlib import Path

from alignloop.store import campaigns, correspondence
from tests.labeling.client import site


def test_line_ends_are_of_one_kind_and_zeros_are_replaced(tmp_path: Path) -> None:
    with site(tmp_path) as lab:
        ann = lab.labeler("Ann")
        client = lab.sign_in(ann)

        assert client.post("messages", {"body": "one\r\ntwo\x00"}).status_code == 303

        with lab.lab.store.read() as connection:
            (row,) = correspondence.thread(connection, ann)
        assert row.body == "one\ntwo\ufffd"


def test_two_versions_are_shown_whatever_they_hold(tmp_path: Path) -> None:
    """A draft is kept as it was sent, and no page fails on a value that nobody could have chosen."""
    with site(tmp_path) as lab:
        with lab.store.write() as connection:
            made = campaigns.add_campaign(connection, lab.clock(), "test", name="p", form="write")
            campaigns.add_task(connection, made, prompt_id=None)
            campaigns.set_state(connection, lab.clock(), "test", made, "open")
        client = lab.sign_in(lab.labeler("Ann"))
        assert client.post("claim", {"campaign": made.public_id}).status_code == 303
        one = {"rev": "0", "client_uuid": "one", "kind": "haiku", "lang": "zh", "text": "First"}
        other = {**one, "client_uuid": "two", "kind": "few_shot", "use_case": "x", "text": "Second"}

        assert client.post("prompt_draft", one).status_code == 200
        answer = client.post("write_prompt", {**other, "action": "save"})

        assert answer.status_code == 409
        for shown in ("First", "Second", "haiku", "Few-shot", "中文"):
            assert f">{shown}</" in answer.text
