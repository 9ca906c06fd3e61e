"""The whole circle by people: answers written, SFT, samples, rankings made in a browser, a reward model of them.

Every command is a process, as a user types it.
"""

from __future__ import annotations

import html
import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, sync_playwright

from alignloop.data.jsonl import read_records
from alignloop.data.records import Demonstration, Ranking
from alignloop.runs.artifact import open_artifact
from alignloop.store.project import open_project
from benchmarks.labeling.server import serving
from tests.browser.conftest import CHROMIUM, FLAGS, _new_page
from tests.browser.running import App, Person, press, shown_ranks, sign_in
from tests.helpers import SENTENCES, metrics, write_model

LEARN = """
seed = 3
epochs = 1
batch_size = 2
micro_batch_tokens = 256

[optimizer]
learning_rate = 1e-3
"""
ANSWERS = {"train": 4, "valid": 2}
K = 4


def alignloop(*words: str | Path) -> str:
    """A command, in a process of its own."""
    command = [sys.executable, "-P", "-m", "alignloop", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stderr[-3000:]}"
    return done.stdout


def write_prompts_file(path: Path) -> None:
    """What users asked, some of each on the train and on the valid side."""
    rows = [
        {
            "text": f"Go on {number}.\n\n{SENTENCES[number % len(SENTENCES)]}",
            "user": f"user {number}",
        }
        for number in range(24)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def write_answers(app: App, person: Person) -> dict[str, str]:
    """Do the whole queue of demonstrations by plain forms; gives prompt -> answer."""
    written: dict[str, str] = {}
    cookies = {"alignloop_session": person.session}
    with httpx.Client(base_url=app.url, cookies=cookies, headers={"Origin": app.url}) as http:
        home = http.get("/").text
        answer = http.post(
            "/tasks/next",
            data={"csrf_token": _hidden(home, "csrf_token"), "campaign": _hidden(home, "campaign")},
        )
        while (place := answer.headers["location"]) != "/":
            page = http.get(place, follow_redirects=True)
            prompt = html.unescape(_PLAIN.findall(page.text)[0])
            text = SENTENCES[(len(written) + 5) % len(SENTENCES)]
            form = {name: _hidden(page.text, name) for name in ("csrf_token", "rev", "client_uuid")}
            form |= {"screen": "demonstrate", "response": text, "action": "submit"}
            answer = http.post(page.url.path, data=form)
            assert answer.status_code == 303, answer.text
            written[prompt] = text
    return written


_PLAIN = re.compile(r'<div class="plain"[^>]*>(.*?)</div>', re.DOTALL)


def _hidden(page: str, name: str) -> str:
    return page.partition(f'name="{name}" value="')[2].partition('"')[0]


def rank_everything(app: App, person: Person) -> list[tuple[dict[str, int | None], dict[str, str]]]:
    """Do the whole queue of rankings with the keys of a real browser; gives, per task, ranks and texts as shown."""
    heard: list[str] = []
    shown: list[tuple[dict[str, int | None], dict[str, str]]] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page: Page = _new_page(browser, app.url, heard)
        sign_in(page.context, app, person)
        page.goto(app.url)
        page.get_by_role("button", name="Start").click()
        page.wait_for_url("**/rank")
        while page.url.endswith("/rank"):
            page.wait_for_load_state()
            letters = page.locator("[data-item]").evaluate_all(
                "(all) => all.map((o) => o.dataset.letter)"
            )
            texts = page.locator("[data-item] .plain").all_text_contents()
            at = len(shown)
            press(page, " ".join(f"j {1 + (place + at) % 3}" for place in range(len(letters))))
            if at == 1:
                press(page, "k x")
            shown.append((shown_ranks(page), dict(zip(letters, texts, strict=True))))
            before = page.url
            press(page, "Control+Enter")
            page.wait_for_url(lambda url, before=before: url != before)
        browser.close()
    assert heard == []
    return shown


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: install Debian's chromium")
def test_what_people_say_is_what_the_reward_model_learns(tmp_path: Path) -> None:
    lab, runs = tmp_path / "lab", tmp_path / "runs"
    model = write_model(tmp_path / "model")
    config = tmp_path / "learn.toml"
    config.write_text(LEARN)

    # Prompts in, and a campaign of each kind.
    write_prompts_file(tmp_path / "prompts.jsonl")
    alignloop(
        "prompts", "import", tmp_path / "prompts.jsonl", "--project", lab, "--set", "valid=0.3"
    )
    for side, count in ANSWERS.items():
        words = ["label", "campaign", "answers", "--form", "demonstrate", "--project", lab]
        alignloop(*words, "--prompts", str(count), "--split", side)
    alignloop("label", "state", "--project", lab, "answers", "open")

    with serving(lab) as server:
        app = App(lab, server, open_project(lab).open(create=False))
        ann = app.person("Ann")

        # Step 1: answers.
        written = write_answers(app, ann)
        alignloop(
            *("label", "export", "--project", lab, "--kind", "demonstrations"),
            *("--run", runs / "demonstrations"),
        )
        sides = {
            side: _read(runs / "demonstrations", "demonstrations", side, Demonstration)
            for side in ANSWERS
        }
        assert {side: len(found) for side, found in sides.items()} == ANSWERS
        assert {
            one.prompt.text: one.response for found in sides.values() for one in found
        } == written
        alignloop(
            *("sft", "--model", model, "--demonstrations", runs / "demonstrations"),
            *("--config", config, "--run", runs / "sft"),
        )

        # K answers to each of those prompts, to people.
        alignloop(
            *("label", "campaign", "rankings", "--form", "rank", "--no-ratings", "--project", lab),
        )
        told = alignloop(
            *("sample", "--model", runs / "sft", "--prompts", runs / "demonstrations"),
            *(
                "--file",
                "train",
                "--file",
                "valid",
                "--set",
                f"k_min={K}",
                "--set",
                f"k_max={K + 1}",
            ),
            *("--set", "sampling.max_new_tokens=10", "--run", runs / "samples"),
            *("--to-campaign", "rankings", "--project", lab),
        )
        assert f"{sum(ANSWERS.values())} tasks added to 'rankings'" in told
        alignloop("label", "state", "--project", lab, "answers", "closed")
        alignloop("label", "state", "--project", lab, "rankings", "open")

        # Step 2: rankings. Playwright wants a thread of its own.
        with ThreadPoolExecutor(1) as thread:
            shown = thread.submit(rank_everything, app, ann).result()
        assert [label.ranks for label in app.labels(ann) if label.ranks] == [
            one for one, _ in shown
        ]
        alignloop(
            *("label", "export", "--project", lab, "--kind", "rankings", "--run", runs / "rankings")
        )
        app.store.close()

    rankings = {side: _read(runs / "rankings", "rankings", side, Ranking) for side in ANSWERS}
    assert {side: len(found) for side, found in rankings.items()} == ANSWERS
    said = [
        {texts[letter]: rank for letter, rank in ranks.items() if rank is not None}
        for ranks, texts in shown
    ]
    every = [one for found in rankings.values() for one in found]
    exported = [
        dict(zip((_as_shown(c.text) for c in one.completions), one.ranks, strict=True))
        for one in every
    ]
    assert sorted(map(_sorted, exported)) == sorted(map(_sorted, said))
    assert {one.labeler for one in every} == {"Ann"}

    # The reward model sees these and no others.
    alignloop(
        *("reward", "--model", runs / "sft", "--rankings", runs / "rankings"),
        *(
            "--demonstrations",
            runs / "demonstrations",
            "--config",
            config,
            "--run",
            runs / "reward",
        ),
    )
    manifest = json.loads((runs / "reward" / "manifest.json").read_text())
    inputs = {one["role"]: one["sha256"] for one in manifest["inputs"]}
    assert inputs["rankings"] == open_artifact(runs / "rankings", "rankings").sha256
    pairs = sum(len(one.pairs()) for one in rankings["train"])
    assert (
        sum(row["comparisons"] for row in metrics(runs / "reward") if "comparisons" in row) == pairs
    )
    alignloop("label", "audit", "--project", lab)


def _read(folder: Path, kind: str, side: str, record: type) -> list:  # type: ignore[type-arg]
    return read_records(open_artifact(folder, kind).file(f"{side}.jsonl.gz"), record)  # type: ignore[arg-type]


def _as_shown(text: str) -> str:
    """What HTML makes of a text: the tiny model says all sorts of bytes."""
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "")


def _sorted(ranking: dict[str, int]) -> list[tuple[str, int]]:
    return sorted(ranking.items())
