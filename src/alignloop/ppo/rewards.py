"""What gives an answer its score: reward models, a Python function, or a person."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, cast

import click
import torch
from torch import Tensor

from alignloop.config import Precision
from alignloop.data.batches import Ragged, own_groups
from alignloop.data.records import Prompt
from alignloop.distributed import ALONE, World
from alignloop.errors import ConfigError, RewardError, RunError
from alignloop.files import write_bytes
from alignloop.models.loading import context_length
from alignloop.models.reward_model import ScalarModel
from alignloop.training.step import autocast

RewardFunction = Callable[[Sequence[Prompt], Sequence[str]], Sequence[float]]
"""Prompts and the responses to them, as text -> one number per response; more is better."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What is to be scored: prompts, the responses as text, and both as tokens."""

    prompts: Sequence[Prompt]
    texts: Sequence[str]
    batch: Ragged


class Reward(Protocol):
    """Gives every answer one number."""

    def score(self, answered: Answered) -> Tensor:
        """[B], finite."""
        ...


@dataclass(frozen=True, slots=True)
class RewardModels:
    """One reward model or several; their scores are averaged, or the lowest counts."""

    members: Sequence[ScalarModel]
    budget: int
    """Padded tokens per forward pass."""
    combine: Literal["mean", "min"] = "mean"
    precision: Precision = "float32"
    world: World = ALONE
    """Each rank scores its share of the answers."""

    @property
    def context(self) -> int:
        """Tokens of prompt and answer that every member can read."""
        return min(context_length(member.model) for member in self.members)

    def score(self, answered: Answered) -> Tensor:
        """[B]: each member reads the last token of every answer."""
        batch = answered.batch
        scores = torch.zeros(len(self.members), len(batch.lengths))
        groups = own_groups(batch, self.budget, self.world)
        for number, member in enumerate(self.members):
            with self.world.gathered(member), autocast(self.precision):
                for rows in groups:
                    scores[number, rows] = member.scores(batch.rows(rows))
        scores = self.world.add(scores)
        return scores.mean(dim=0) if self.combine == "mean" else scores.amin(dim=0)


@dataclass(frozen=True, slots=True)
class FunctionReward:
    """A function of the user's, called once per iteration with all answers."""

    function: RewardFunction
    name: str
    world: World = ALONE
    """Rank 0 calls the function, and all have what it returned."""

    def score(self, answered: Answered) -> Tensor:
        """[B]: what the function returned.

        Raises:
            RewardError: it raised, or did not return one finite number per response.
        """
        return torch.tensor(self.world.from_main(lambda: self._called(answered).tolist()))

    def _called(self, answered: Answered) -> Tensor:
        count = len(answered.texts)
        try:
            found = self.function(answered.prompts, answered.texts)
            scores = torch.as_tensor(found, dtype=torch.float32)
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            raise RewardError(
                f"the reward function {self.name} raised {type(error).__name__}: {error} "
                f"({Path(place.filename).name}, line {place.lineno}); the last checkpoint is good"
            ) from error
        if scores.shape != (count,):
            raise RewardError(
                f"the reward function {self.name} returned {tuple(scores.shape)} for {count} responses; "
                f"it has to return a list of {count} numbers"
            )
        if not bool(torch.isfinite(scores).all()):
            first = int((~torch.isfinite(scores)).nonzero()[0])
            raise RewardError(
                f"the reward function {self.name} gave {float(scores[first])} to response {first + 1} "
                f"(prompt '{answered.prompts[first].id}'); it has to be a finite number"
            )
        return scores


class PersonReward:
    """A person at the terminal. Every judgment is kept in a file at once, so a killed run never asks it again."""

    def __init__(self, path: Path, ask: Callable[[str], str] | None = None) -> None:
        self._path = path
        self._ask = ask or _ask_at_terminal
        self._known: dict[str, float] = {}
        if path.exists():
            kept = path.read_bytes()
            whole = kept[: kept.rfind(b"\n") + 1]
            if len(whole) < len(kept):
                # A crash cut the last line short: that answer is asked for again, and its line begun anew.
                write_bytes(path, whole)
            for line in whole.decode().splitlines():
                row = json.loads(line)
                self._known[_key(row["prompt"], row["response"])] = float(row["score"])

    def score(self, answered: Answered) -> Tensor:
        """[B]: asked one by one; the same answer to the same prompt is judged once."""
        scores = []
        for number, (prompt, text) in enumerate(
            zip(answered.prompts, answered.texts, strict=True), start=1
        ):
            key = _key(prompt.transcript, text)
            if key not in self._known:
                head = f"\nAnswer {number} of {len(answered.texts)}. Prompt:\n{prompt.transcript}\n\nAnswer:\n{text}\n"
                self._keep(key, prompt, text, self._number(head))
            scores.append(self._known[key])
        return torch.tensor(scores)

    def _number(self, question: str) -> float:
        while True:
            given = self._ask(question)
            try:
                value = float(given)
            except ValueError:
                value = float("nan")
            if torch.isfinite(torch.tensor(value)):
                return value
            question = f"'{given}' is not a number."

    def _keep(self, key: str, prompt: Prompt, text: str, score: float) -> None:
        row = {
            "prompt_id": prompt.id,
            "prompt": prompt.transcript,
            "response": text,
            "score": score,
        }
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise RunError(
                f"{self._path} could not be written ({error}); free some space and go on with --resume"
            ) from None
        self._known[key] = score


def _ask_at_terminal(question: str) -> str:
    click.echo(question)
    try:
        return str(click.prompt("Score (a number; more is better)", prompt_suffix=": "))
    except click.Abort:
        raise RewardError(
            "no more scores on standard input; what was judged is kept: go on with --resume"
        ) from None


def _key(prompt: str, response: str) -> str:
    return hashlib.sha256(f"{prompt}\0{response}".encode()).hexdigest()


def load_function(place: str) -> tuple[RewardFunction, Path]:
    """The function at `FILE.py:NAME` or `package.module:NAME`, and the file that holds it.

    Raises:
        ConfigError: there is none.
    """
    where, _, name = place.rpartition(":")
    if not where:
        raise ConfigError(
            f"'{place}': a reward function is given as FILE.py:NAME or package.module:NAME"
        )
    try:
        module = _module_of(where)
        function, file = getattr(module, name), Path(module.__file__)
    except Exception as error:  # the user's module may raise anything while it is imported
        raise ConfigError(
            f"'{place}': no such function ({type(error).__name__}: {error})"
        ) from None
    if not callable(function):
        raise ConfigError(f"'{place}' is a {type(function).__name__}, not a function")
    return cast(RewardFunction, function), file


def _module_of(where: str) -> Any:
    if not where.endswith(".py"):
        return importlib.import_module(where)
    path = Path(where)
    if not path.is_file():
        raise FileNotFoundError(where)
    name = f"_reward_function_{path.stem}"
    found = importlib.util.spec_from_file_location(name, path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module
    found.loader.exec_module(module)
    return module
