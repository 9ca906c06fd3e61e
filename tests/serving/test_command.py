"""`alignloop serve` and `alignloop chat` as users start them."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from alignloop.data.jsonl import read_records
from alignloop.data.records import Ranking
from alignloop.errors import AlignloopError, ConfigError
from alignloop.resources import asset
from alignloop.serving.run import PageWanted, named_models, serve
from alignloop.serving.service import Limits
from benchmarks.serving.clients import load
from benchmarks.serving.server import Server, serving
from tests.helpers import write_classifier, write_model
from tests.serving.site import eventually

RunCli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("models")
    write_model(found / "tiny")
    write_classifier(found / "judge")
    return found


@pytest.fixture(scope="module")
def server(folders: Path) -> Iterator[Server]:
    """A policy by a name of its own and a reward model by its folder's."""
    base = asset("base")
    with serving(
        f"story={base}", str(folders / "judge"), "--single-turn", "--queue", "8", "--page"
    ) as found:
        yield found


def test_the_line_it_prints_works(server: Server) -> None:
    said = "".join(server.log)
    assert "Serving story, judge at http://127.0.0.1:" in said
    eventually(lambda: len(server.log) > 1)
    words = shlex.split(server.log[1])
    assert words[0] == "curl"
    assert words[words.index("-H") + 1] == "Content-Type: application/json"
    body = json.loads(words[words.index("-d") + 1])

    answer = httpx.post(words[1], json={**body, "max_tokens": 8}, timeout=200)

    assert answer.status_code == 200
    assert answer.json()["choices"][0]["message"]["content"]


def test_the_chat_page_stands_at_the_address_itself(server: Server) -> None:
    eventually(lambda: any(line.startswith("Chat page at ") for line in server.log))

    found = httpx.get(f"http://127.0.0.1:{server.port}/", timeout=200)

    assert found.status_code == 200
    assert "Nothing of this is kept" in found.text


def test_the_openai_client_streams_from_a_real_process(server: Server) -> None:
    with openai.OpenAI(
        base_url=f"http://127.0.0.1:{server.port}/v1", api_key="none", max_retries=0
    ) as client:
        stream = client.chat.completions.create(
            model="story",
            messages=[{"role": "user", "content": "Once there was a fox."}],
            max_tokens=12,
            stream=True,
        )
        pieces = [chunk.choices[0].delta.content or "" for chunk in stream]
    assert len(list(filter(None, pieces))) > 1


def test_a_dozen_streams_at_once_have_no_error(server: Server) -> None:
    log = load(
        server.port, "story", ["Once", "The fox ran."], clients=12, seconds=2.0, max_tokens=12
    )

    assert log.errors == []
    assert log.broken == 0
    assert log.tokens > 12


def test_sigterm_lets_answers_end_and_exits_143(folders: Path) -> None:
    tiny = str(folders / "tiny")
    with serving(f"story={asset('base')}", tiny, "--timeout", "60") as server:
        url = f"http://127.0.0.1:{server.port}/v1/completions"
        asked = {"model": "story", "prompt": "Once", "max_tokens": 60, "stream": True}
        with httpx.stream("POST", url, json=asked, timeout=200) as stream:
            lines = stream.iter_lines()
            assert next(lines).startswith("data: ")
            status: list[int] = []
            stopping = threading.Thread(target=lambda: status.append(server.stop()))
            stopping.start()
            rest = list(lines)
        stopping.join()
    assert "data: [DONE]" in rest
    assert status == [128 + signal.SIGTERM]
    assert "Traceback" not in "".join(server.log)


@pytest.mark.full
def test_control_c_exits_130(folders: Path) -> None:
    with serving(str(folders / "tiny")) as server:
        assert server.stop(signal.SIGINT) == 130
    assert "Traceback" not in "".join(server.log)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"host": "0.0.0.0"}, "0.0.0.0 is beyond this machine"),
        ({"host": "192.0.2.7", "public": True}, "cannot be listened on"),
        ({"api_key_file": Path("nowhere")}, "nowhere: cannot be read"),
        ({"models": ["a=x", "a=y"]}, "two models are called 'a'"),
        ({"models": ["nowhere"]}, "nowhere: no such folder"),
    ],
)
def test_what_cannot_be_served_is_said_in_one_line(
    folders: Path, changed: dict[str, Any], said: str
) -> None:
    given = {
        "models": [str(folders / "tiny")],
        "host": "127.0.0.1",
        "port": 0,
        "public": False,
        "api_key_file": None,
        "rate_limit": None,
        "single_turn": False,
        "limits": Limits(),
        "say": print,
    }
    given |= changed

    with pytest.raises(AlignloopError, match=said) as caught:
        serve(given.pop("models"), **given)
    assert "\n" not in str(caught.value)


def test_a_project_that_was_not_there_is_begun_and_named(
    folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alignloop.serving.run.run_until_signal", lambda *_, **__: signal.SIGTERM)

    def told() -> str:
        lines: list[str] = []
        serve(
            [str(folders / "tiny")], host="127.0.0.1", port=0, public=False, api_key_file=None,
            rate_limit=None, single_turn=True, limits=Limits(), say=lines.append,
            page=PageWanted(project=tmp_path / "mylba"),
        )  # fmt: skip
        return "\n".join(lines)

    begun = f"There was no project in {tmp_path / 'mylba'}: a new one was begun there."
    assert begun in told()
    assert begun not in told(), "now there is"


def test_models_have_names(folders: Path) -> None:
    tiny = folders / "tiny"
    assert named_models([str(tiny), f"b={tiny}"]) == {"tiny": tiny, "b": tiny}
    with pytest.raises(ConfigError, match="two models are called 'tiny'"):
        named_models([str(tiny), str(tiny)])
    with pytest.raises(ConfigError, match="cannot be the name of a model"):
        named_models([f"a name={tiny}"])


def test_chat_compares_and_keeps_the_choice(folders: Path, tmp_path: Path, run_cli: RunCli) -> None:
    write_model(tmp_path / "other", seed=9)
    done = run_cli(
        "chat",
        folders / "tiny",
        *("--against", tmp_path / "other", "--labeler", "ann", "--seed", "3"),
        *("--max-new-tokens", "6", "--choices", tmp_path / "mine.jsonl"),
        stdin=None,
        input="/compare The fox\nb\n\n",
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )

    assert done.returncode == 0, done.stderr
    [ranking] = read_records(tmp_path / "mine.jsonl", Ranking)
    assert (ranking.ranks, ranking.labeler) == ((2, 1), "ann")
    assert f"Choices go to {tmp_path / 'mine.jsonl'}" in done.stdout
    assert "(A was " in done.stdout
