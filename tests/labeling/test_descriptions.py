"""User-based prompts: what users wanted, described by somebody else, is given out in turn (A.1 of the paper)."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import select

from alignloop.labeling.app.paths import path_to
from alignloop.store import campaigns, correspondence
from alignloop.store.schema import prompts
from tests.labeling.client import site
from tests.labeling.test_security_work import PROMPT
from tests.labeling.world import fields_of

WANTED = ("Wants short texts for a menu.", "想给孩子编睡前故事。")


def _campaign(
    run_cli: Callable[..., subprocess.CompletedProcess[str]], lab: Path, *options: str
) -> subprocess.CompletedProcess[str]:
    command = ["label", "campaign", "--project", str(lab), "what users want"]
    return run_cli(*command, *options)


def test_each_task_has_one_and_the_page_begins_with_it(
    tmp_path: Path, run_cli: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    file = tmp_path / "wanted.txt"
    file.write_text("\n  ".join(["", *WANTED, ""]), encoding="utf-8")
    options = ["--form", "write", "--descriptions", str(file), "--prompts", "3", "--open"]
    done = _campaign(run_cli, tmp_path / "lab", *options)
    assert done.returncode == 0, done.stderr
    assert "3 tasks added" in done.stdout

    with site(tmp_path / "lab") as lab:
        ann = lab.labeler()
        client = lab.sign_in(ann)
        with lab.store.write() as connection:
            for guideline in correspondence.guideline_ids(connection, purpose="training"):
                correspondence.acknowledge(connection, lab.clock.now, ann, guideline)
            [campaign] = campaigns.all_campaigns(connection)
        client.post("claim", {"campaign": campaign.public_id})
        for at, wanted in enumerate((*WANTED, WANTED[0])):
            page = client.get("write_prompt").text
            assert wanted in page
            assert '<input type="hidden" name="kind" value="user_based">' in page
            assert wanted not in client.get("write_prompt", kind="plain").text
            hidden = fields_of(page, path_to("write_prompt", kind="user_based"))
            sent = {**PROMPT, **hidden, "text": f"Number {at}: {wanted}", "action": "submit"}
            assert client.post("write_prompt", sent).status_code == 303
        with lab.store.read() as connection:
            kinds = connection.execute(select(prompts.c.kind)).scalars().all()
    assert kinds == ["labeler_user_based"] * 3


def test_other_forms_and_empty_files_are_refused(
    tmp_path: Path, run_cli: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    file = tmp_path / "wanted.txt"
    file.write_text("Wants a poem.\n", encoding="utf-8")
    done = _campaign(run_cli, tmp_path, "--form", "rank", "--descriptions", str(file))
    assert done.returncode != 0 and "--form write" in done.stderr

    file.write_text(" \n\n", encoding="utf-8")
    done = _campaign(run_cli, tmp_path, "--form", "write", "--descriptions", str(file))
    assert done.returncode != 0 and "there is none" in done.stderr
