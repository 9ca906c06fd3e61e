"""What an engine gives is looked at before anything is learned from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from alignloop.errors import EngineError
from alignloop.generation.engine import Engine, Response
from alignloop.generation.native import NativeEngine
from alignloop.ppo.steps import advantages, collect, score, update
from tests.helpers import prompt
from tests.ppo.learners import open_learner


class Spoilt(NativeEngine):
    """Ours, with something wrong about what it gives."""

    def __init__(self, engine: Engine, spoil: Callable[[list[Response]], list[Response]]) -> None:
        self._engine, self._spoil = engine, spoil

    def generate(self, *arguments: Any, **options: Any) -> list[Response]:
        return self._spoil(self._engine.generate(*arguments, **options))


class Foreign:
    """Another one that gives the same."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def generate(self, *arguments: Any, **options: Any) -> list[Response]:
        return self._engine.generate(*arguments, **options)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (
            lambda all: [all[0], replace(all[1], tokens=[], log_probs=[]), *all[2:]],
            "an empty response to prompt 'prompt-1'",
        ),
        (lambda all: all[:-1], "3 responses to 4 prompts"),
        (
            lambda all: [replace(all[0], log_probs=all[0].log_probs[:-1]), *all[1:]],
            "log-probabilities to prompt 'prompt-0': there has to be one for each",
        ),
        (
            lambda all: [replace(all[0], tokens=[5] * 99, log_probs=[-1.0] * 99), *all[1:]],
            "99 tokens and 99 log-probabilities .* no more than 10",
        ),
    ],
    ids=["empty", "too few", "no log-probability", "too long"],
)
def test_an_engine_that_gives_something_else_is_named(
    inputs: dict[str, Path], spoil: Callable[[list[Response]], list[Response]], said: str
) -> None:
    learner = open_learner(inputs)
    learner.engine = Spoilt(learner.engine, spoil)

    with pytest.raises(EngineError, match=f"iteration 3: .*{said}"):
        collect(learner, [prompt(i) for i in range(4)], 2)


@pytest.mark.parametrize("off", [0.0, 1e-4, 0.1])
@pytest.mark.parametrize("kind", ["ours", "foreign"])
def test_log_probabilities_that_are_not_the_policys_are_computed_again(
    inputs: dict[str, Path], off: float, kind: str
) -> None:
    """The ratio has to start at 1 all the same, and the difference is logged."""
    learner = open_learner(inputs, batch_size=8, minibatch_size=4)
    prompts = [prompt(i) for i in range(8)]
    expected = score(learner, collect(learner, prompts, 0))
    assert expected.log_probs is expected.drawn_log_probs, "ours are taken as they are"
    assert expected.sampler_gap < 1e-5

    def shifted(responses: list[Response]) -> list[Response]:
        return [replace(one, log_probs=[p - off for p in one.log_probs]) for one in responses]

    engine = Spoilt(learner.engine, shifted)
    learner.engine = engine if kind == "ours" else Foreign(engine)
    episodes = score(learner, collect(learner, prompts, 0))

    is_trusted = kind == "ours" and off == 0
    assert (episodes.log_probs is episodes.drawn_log_probs) == is_trusted
    assert torch.allclose(episodes.log_probs, expected.log_probs, atol=1e-5)
    figures = update(learner, episodes, advantages(episodes, learner.config, 0.1), 0)
    assert figures["sampler_gap"] == pytest.approx(off, abs=1e-5)
