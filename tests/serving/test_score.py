"""`/v1/score` gives the scores that the reward model gives, and says what it cannot score."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from alignloop.data.formatter import Formatter
from alignloop.data.records import Prompt
from alignloop.models.loading import load_tokenizer
from alignloop.models.reward_model import ScalarModel, reward_scores
from alignloop.serving.policy import ServedPolicy
from alignloop.serving.reward import ServedReward
from alignloop.serving.run import load
from alignloop.workflow.reward_score import score_answers
from tests.helpers import (
    CONTEXT,
    tiny_tokenizer,
    write_classifier,
    write_encoder,
    write_model,
)
from tests.serving.site import Site, served

RESPONSES = ["The fox went home.", "No.", "It rained for seven days, and the hen sang."]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("reward")
    write_classifier(found)
    return found


@pytest.fixture(scope="module")
def site(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    policy = write_model(tmp_path_factory.mktemp("policy"))
    loaded = [load("judge", folder, single_turn=False), load("tiny", policy, single_turn=False)]
    assert [type(one) for one in loaded] == [ServedReward, ServedPolicy]
    with served(loaded) as found:
        yield found


def scores(site: Site, **asked: Any) -> list[float]:
    answer = site.post("/v1/score", model="judge", **asked)
    assert answer.status_code == 200, answer.text
    data = answer.json()["data"]
    assert [one["index"] for one in data] == list(range(len(data)))
    return [one["score"] for one in data]


def test_scores_are_the_reward_models(site: Site, folder: Path, tmp_path: Path) -> None:
    scorer, formatter = ScalarModel.load(folder).eval(), Formatter.of(load_tokenizer(folder))
    conversation = [
        {"role": "user", "content": "The king"},
        {"role": "assistant", "content": "slept."},
        {"role": "user", "content": "The hen"},
    ]
    tokens = [formatter.response(text) for text in RESPONSES]

    for asked, prompt in (
        ({"prompt": "The hen"}, Prompt(id="p", text="The hen")),
        ({"messages": conversation}, Prompt.model_validate({"messages": conversation})),
    ):
        expected = reward_scores(scorer, formatter, [prompt] * 3, tokens)
        assert scores(site, responses=RESPONSES, **asked) == pytest.approx(expected, abs=1e-5)

    lines = tmp_path / "answers.jsonl"
    lines.write_text("".join(f'{{"prompt": "The hen", "response": "{r}"}}\n' for r in RESPONSES))
    expected = score_answers(folder, lines, tmp_path / "out.jsonl")
    found = scores(site, prompt="The hen", responses=RESPONSES)
    assert found == pytest.approx(expected, abs=1e-5)


def test_an_answers_score_is_its_own(site: Site) -> None:
    together = scores(site, prompt="The hen", responses=RESPONSES)

    alone = [scores(site, prompt="The hen", responses=[one])[0] for one in RESPONSES]

    assert together == pytest.approx(alone, abs=1e-5)
    assert len(set(together)) == 3


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"prompt": "a", "responses": [""]}, "a response has no tokens"),
        ({"prompt": "a", "responses": []}, "'responses'"),
        ({"responses": ["a"]}, "either 'prompt' or 'messages'"),
        (
            {"prompt": "a", "messages": [{"role": "user", "content": "a"}], "responses": ["a"]},
            "either",
        ),
        ({"messages": [{"role": "assistant", "content": "a"}], "responses": ["a"]}, "the user's"),
        ({"prompt": "x" * 200, "responses": ["a"]}, f"the reward model's context is {CONTEXT}"),
        ({"prompt": "a", "responses": ["a"], "model": "tiny"}, "'tiny' is a policy"),
    ],
)
def test_what_cannot_be_scored(site: Site, asked: dict[str, Any], said: str) -> None:
    answer = site.post("/v1/score", **{"model": "judge", **asked})

    assert answer.status_code == 400
    assert said in answer.json()["error"]["message"]


def test_an_encoder_scores_what_its_tokenizer_joins(tmp_path: Path) -> None:
    plain, tokenizer = write_encoder(tmp_path), tiny_tokenizer()
    pairs = tokenizer(["The hen"] * 3, RESPONSES, padding=True, return_tensors="pt")
    expected = plain(**pairs).logits[:, 0].tolist()

    with served([load("judge", tmp_path, single_turn=False)]) as site:
        answer = site.post("/v1/score", model="judge", prompt="The hen", responses=RESPONSES)
        too_long = site.post("/v1/score", model="judge", prompt="hen " * 200, responses=["No."])

    assert [one["score"] for one in answer.json()["data"]] == pytest.approx(expected, abs=1e-5)
    # Prompt and answers by themselves, the marks that the encoder puts around them left out.
    texts = ["The hen", *RESPONSES]
    count = sum(len(ids) for ids in tokenizer(texts, add_special_tokens=False).input_ids)
    assert answer.json()["usage"]["prompt_tokens"] == count
    assert too_long.status_code == 400
    assert "the encoder's context is" in too_long.json()["error"]["message"]


def test_a_reward_model_writes_nothing(site: Site) -> None:
    answer = site.post("/v1/completions", model="judge", prompt="a")

    assert answer.status_code == 400
    assert "scores answers (/v1/score)" in answer.json()["error"]["message"]
    kinds = {one["id"]: one["kind"] for one in site.http.get("/v1/models").json()["data"]}
    assert kinds == {"judge": "reward-model", "tiny": "policy"}
