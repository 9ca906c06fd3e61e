"""The tests' browser is one that the app takes for a browser, and refuses where it should."""

from __future__ import annotations

from pathlib import Path

from alignloop.labeling.app.paths import path_to
from tests.labeling.client import anonymous, site


def test_signed_in_is_signed_in_and_carries_token_and_origin(tmp_path: Path) -> None:
    with site(tmp_path) as lab:
        client = lab.sign_in(lab.labeler("Ann"))

        assert "Ann" in client.get("home").text
        assert client.post("settings", {"theme": "dark"}).status_code == 303


def test_what_the_client_adds_is_what_the_app_asks_for(tmp_path: Path) -> None:
    with site(tmp_path) as lab:
        client = lab.sign_in(lab.labeler("Ann"))
        without_origin = client.http.post(
            path_to("settings"), data={"csrf_token": client.csrf_token}
        )
        client.csrf_token = "another"

        assert without_origin.status_code == 403
        assert client.post("settings", {"theme": "dark"}).status_code == 403
        assert anonymous(lab.lab).get("home").headers["location"] == "/sign-in?next=%2F"
