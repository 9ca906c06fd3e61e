"""What forms bring in, whoever sends them."""

from __future__ import annotations

from pathlib import Path

from alignloop.store import correspondence
from tests.labeling.client import site


def test_line_ends_are_of_one_kind_and_zeros_are_replaced(tmp_path: Path) -> None:
    with site(tmp_path) as lab:
        ann = lab.labeler("Ann")
        client = lab.sign_in(ann)

        assert client.post("messages", {"body": "one\r\ntwo\x00"}).status_code == 303

        with lab.lab.store.read() as connection:
            (row,) = correspondence.thread(connection, ann)
        assert row.body == "one\ntwo\ufffd"
