"""A judge model behind an endpoint: a real server on this machine that is fair, biased, unreadable, or out of order."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from alignloop.data.records import Completion, Prompt
from alignloop.errors import ConfigError, DataError
from alignloop.evaluation.winrate.config import EndpointConfig, WinRateConfig
from alignloop.evaluation.winrate.contestants import Answered
from alignloop.evaluation.winrate.endpoint import Endpoint, Question, letter_of
from alignloop.evaluation.winrate.panel import Bench, Matches, by_endpoint
from alignloop.judges.verdicts import gathered, rate
from tests.evaluation.winrate.judge_server import Answer, JudgeServer, completion, judge_server

PROMPTS = [Prompt(id=f"p{n}", text=f"Prompt {n}") for n in range(12)]
GOOD, POOR = "a very good answer", "poor"


def answered(name: str, *texts: str) -> Answered:
    """A policy that answers with these texts in turn."""
    answers = {
        prompt.id: Completion(text=texts[at % len(texts)], model=name, finished=True, tokens=3)
        for at, prompt in enumerate(PROMPTS)
    }
    return Answered(name, "0" * 64, answers, {"asked": None, "sampling": {}, "seed": 1})


def matches(a: Answered, b: Answered) -> Matches:
    return Matches(PROMPTS, {a.name: a, b.name: b}, [(a.name, b.name)])


def endpoint(judge: JudgeServer, folder: Path, **config: float) -> Endpoint:
    return Endpoint(
        judge.url,
        "judge-1",
        folder,
        EndpointConfig.model_validate(config),
        pause=lambda seconds: pauses.append(seconds),
    )


pauses: list[float] = []


def judged(judge: JudgeServer, folder: Path, a: Answered, b: Answered, **config: float) -> Bench:
    pauses.clear()
    asked = endpoint(judge, folder, **config)
    return by_endpoint("endpoint", "a model", asked, matches(a, b), WinRateConfig(resamples=200))


def prefers_longer(first: str, second: str) -> str:
    return "tie" if len(first) == len(second) else "A" if len(first) > len(second) else "B"


def test_a_fair_judge_is_heard_whichever_answer_it_sees_first(tmp_path: Path) -> None:
    with judge_server(prefers_longer) as judge:
        bench = judged(judge, tmp_path, answered("x", GOOD, POOR), answered("y", POOR, GOOD))

    assert [one.outcome for one in bench.verdicts] == [1.0, 0.0] * 6
    assert len(judge.requests) == 24
    assert bench.checks["inconsistent"].value == 0.0
    assert bench.checks["first preferred"].value == 0.5
    assert set(judge.paths) == {"/v1/chat/completions"}


def test_a_judge_that_always_says_a_gives_ties_and_is_reported(tmp_path: Path) -> None:
    with judge_server(lambda first, second: "A") as judge:
        bench = judged(judge, tmp_path, answered("x", GOOD), answered("y", POOR))

    assert {one.outcome for one in bench.verdicts} == {0.5}
    assert rate(gathered(bench.verdicts)["x", "y"]).value == 0.5
    for check in ("inconsistent", "first preferred"):
        assert bench.checks[check].value == 1.0
        assert (bench.checks[check].low or 0.0) > 0.7
        assert bench.checks[check].clusters == 12


def test_half_a_preference_is_a_tie_and_counts_as_inconsistent(tmp_path: Path) -> None:
    """B, seen second, wins; seen first, it ties."""
    with judge_server(lambda first, _: "B" if first == GOOD else "tie") as judge:
        bench = judged(judge, tmp_path, answered("x", GOOD), answered("y", POOR))

    assert {one.outcome for one in bench.verdicts} == {0.5}
    assert bench.checks["inconsistent"].value == 1.0
    assert bench.checks["first preferred"].value == 0.0


def test_what_is_asked_is_deterministic_and_says_nothing_of_the_policies(tmp_path: Path) -> None:
    with judge_server(prefers_longer) as judge:
        judged(judge, tmp_path, answered("secret-x", GOOD), answered("secret-y", POOR))

    for request in judge.requests:
        assert request["temperature"] == 0
        assert request["model"] == "judge-1"
        assert "secret" not in json.dumps(request)


def test_nothing_is_asked_twice(tmp_path: Path) -> None:
    with judge_server(prefers_longer) as judge:
        first = judged(judge, tmp_path, answered("x", GOOD), answered("y", POOR))
        asked = len(judge.requests)
        again = judged(judge, tmp_path, answered("x", GOOD), answered("y", POOR))
        turned = judged(judge, tmp_path, answered("y", POOR), answered("x", GOOD))

    assert len(judge.requests) == asked == 24
    assert again == first
    assert [one.outcome for one in turned.verdicts] == [1 - v.outcome for v in first.verdicts]


def test_what_two_pairs_have_in_common_is_one_request(tmp_path: Path) -> None:
    x, y, z = answered("x", GOOD), answered("y", POOR), answered("z", GOOD)
    given = Matches(PROMPTS, {"x": x, "y": y, "z": z}, [("x", "y"), ("z", "y")])
    with judge_server(prefers_longer) as judge:
        bench = by_endpoint(
            "e", "told", endpoint(judge, tmp_path), given, WinRateConfig(resamples=100)
        )

    assert len(judge.requests) == 24
    assert [one.outcome for one in bench.verdicts] == [1.0] * 24


def test_equal_texts_are_a_tie_that_nobody_is_asked_about(tmp_path: Path) -> None:
    with judge_server(prefers_longer) as judge:
        bench = judged(judge, tmp_path, answered("x", GOOD), answered("y", GOOD, POOR))

    assert len(judge.requests) == 12
    assert [one.outcome for one in bench.verdicts] == [0.5, 1.0] * 6
    assert bench.counts["pairs of equal texts, ties unasked"] == 6


def test_replies_that_cannot_be_read_are_counted_and_left_out(tmp_path: Path) -> None:
    def vague(first: str, second: str) -> str:
        return "Both have their merits." if "Prompt" in first else prefers_longer(first, second)

    with judge_server(vague) as judge:
        bench = judged(judge, tmp_path, answered("x", GOOD, "Prompt again"), answered("y", POOR))

    assert len(bench.verdicts) == 6
    assert bench.counts["pairs left out, a reply could not be read"] == 6
    assert bench.unread[0] == {
        "prompt": "p1",
        "a": "x",
        "b": "y",
        "replies": ["Both have their merits.", "B"],
    }


@pytest.mark.parametrize(
    ("reply", "letter"),
    [
        ("A", "A"),
        ("b", "B"),
        (" **B**.\n", "B"),
        ("[A]", "A"),
        ("Tie", "tie"),
        ("The first is longer.\nIt is also true.\n\nA", "A"),
        ("A is better", None),
        ("Answer: A", None),
        ("A or B", None),
        ("C", None),
        ("", None),
        ("(empty)", None),
        ("A\nbecause it is true", None),
        ("AB", None),
    ],
)
def test_replies_are_read_strictly(reply: str, letter: str | None) -> None:
    assert letter_of(reply) == letter


def test_it_waits_longer_each_time_and_goes_on(tmp_path: Path) -> None:
    troubles = [(503, "busy", {}), (429, "slowly", {"Retry-After": "7"}), (500, "oops", {})]
    with judge_server(lambda first, second: troubles.pop(0) if troubles else "A") as judge:
        asked = endpoint(judge, tmp_path, wait_seconds=1.0)
        pauses.clear()
        assert asked.reply({"messages": [{"content": ""}]}) == "A"

    assert pauses == [1.0, 7.0, 4.0]
    assert len(judge.requests) == 4


def test_it_gives_up_in_the_end_and_says_how_to_go_on(tmp_path: Path) -> None:
    with judge_server(lambda first, second: (502, "gone", {})) as judge:
        asked = endpoint(judge, tmp_path, retries=2)
        with pytest.raises(DataError, match=r"after 3 tries \(last: status 502\).*--resume"):
            asked.reply({"messages": [{"content": ""}]})

    assert len(judge.requests) == 3


def test_replies_before_a_failure_are_kept(tmp_path: Path) -> None:
    left = [7]

    def tires(first: str, second: str) -> Answer:
        left[0] -= 1
        return prefers_longer(first, second) if left[0] >= 0 else (400, "no more", {})

    x, y = answered("x", GOOD), answered("y", POOR)
    with judge_server(tires) as judge:
        with pytest.raises(DataError, match="no more"):
            judged(judge, tmp_path, x, y, at_once=1)
        left[0] = 100
        before = len(judge.requests)
        # The address is part of what a reply is kept by, so it has to be the same server.
        judged(judge, tmp_path, x, y)

    assert len(judge.requests) - before == 24 - 7


def test_a_refusal_is_not_tried_again(tmp_path: Path) -> None:
    with (
        judge_server(lambda first, second: (401, "bad key", {})) as judge,
        pytest.raises(DataError, match=r"status 401.*bad key"),
    ):
        endpoint(judge, tmp_path).reply({"messages": [{"content": ""}]})

    assert len(judge.requests) == 1


def test_a_key_is_not_carried_to_another_host(tmp_path: Path) -> None:
    with judge_server(lambda first, second: "A") as other:
        away = {"Location": f"{other.url}/chat/completions"}
        with (
            judge_server(lambda first, second: (307, "", away)) as judge,
            pytest.raises(DataError, match="status 307"),
        ):
            endpoint(judge, tmp_path).reply({"messages": [{"content": ""}]})

    assert other.requests == []


@pytest.mark.parametrize("body", ["<html>", '{"error": 1}', completion("A")[:-3], "[]"])
def test_what_is_no_completion_is_an_error(tmp_path: Path, body: str) -> None:
    with (
        judge_server(lambda first, second: (200, body, {})) as judge,
        pytest.raises(DataError, match="no chat completion"),
    ):
        endpoint(judge, tmp_path).reply({"messages": [{"content": ""}]})


def test_a_server_that_does_not_answer_in_time(tmp_path: Path) -> None:
    with judge_server(lambda first, second: time.sleep(0.6) or "A") as judge:
        asked = endpoint(judge, tmp_path, timeout_seconds=0.1, retries=1, wait_seconds=0)
        with pytest.raises(DataError, match="after 2 tries"):
            asked.reply({"messages": [{"content": ""}]})


def test_the_key_comes_from_the_environment_and_is_written_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUDGE_KEY", "sk-very-secret")
    with judge_server(lambda first, second: "A") as judge:
        asked = Endpoint.of(judge.url, "m", tmp_path, EndpointConfig(), "JUDGE_KEY")
        asked.judged([Question(PROMPTS[0], "x", "y", GOOD, POOR)])

    assert {one["Authorization"] for one in judge.headers} == {"Bearer sk-very-secret"}
    for path in tmp_path.rglob("*.json"):
        assert "very-secret" not in path.read_text()


@pytest.mark.parametrize(
    ("url", "variable", "message"),
    [
        ("file:///etc/passwd", None, "http"),
        ("localhost:80", None, "http"),
        ("http://key@host/v1", None, "leave the key out"),
        ("http://host/v1", "NO_SUCH_VARIABLE", "NO_SUCH_VARIABLE is not set"),
    ],
)
def test_an_endpoint_that_cannot_be(
    tmp_path: Path, url: str, variable: str | None, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        Endpoint.of(url, "m", tmp_path, EndpointConfig(), variable)
