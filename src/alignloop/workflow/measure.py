"""One yardstick for several policies: the same prompts, sampler, reward model, reference, and gold if it is known."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from numpy.typing import NDArray
from transformers import PreTrainedModel

from alignloop.data.formatter import Formatter
from alignloop.data.jsonl import read_records
from alignloop.data.records import Prompt
from alignloop.evaluation.respond import sequence_log_probs
from alignloop.files import write_json
from alignloop.generation.answers import Answer, answer
from alignloop.generation.engine import SamplingConfig
from alignloop.judges.gold import SAME, Gold
from alignloop.judges.lexicon import Lexicon
from alignloop.models.loading import check_same_tokens, load_causal_lm, load_tokenizer
from alignloop.models.reward_model import ScalarModel, reward_scores
from alignloop.runs.artifact import open_artifact
from alignloop.sampling.objective import best_of_k, best_of_k_kl

Floats = NDArray[np.float64]

_SCHEMA = 2
"""Of the kept figures: 2 has them by prompt, where 1 had means."""


class Yardstick:
    """Measures policies on *validation* prompts, each once: what was measured is kept in a folder and read again.

    Models are read when the first policy is measured, so that a comparison whose figures are all there costs nothing.
    """

    def __init__(
        self,
        folder: Path,
        *,
        prompts: Path,
        reward_model: Path,
        reference: Path,
        sampling: SamplingConfig,
        seed: int,
        copies: int,
        lexicon: Path | None = None,
        baseline: Path | None = None,
    ) -> None:
        """See what there is to measure with.

        Args:
            folder: where figures are kept.
            reference: the policy that KL is measured to.
            copies: answers per prompt.
            lexicon: lets gold judge, against the answers of `baseline`.

        Raises:
            ArtifactError: one of them is missing or of another kind.
            ModelError: they mean different things by their tokens.
        """
        self._folder, self._sampling, self._seed, self._copies = folder, sampling, seed, copies
        self._reference = open_artifact(reference, "policy")
        self._judge = open_artifact(reward_model, "reward-model")
        self._asked = open_artifact(prompts, "prompts")
        self._words = None if lexicon is None else open_artifact(lexicon, "lexicon")
        self._rival = None if baseline is None else open_artifact(baseline, "policy")
        with_what = [self._reference, self._judge, self._asked, self._words, self._rival]
        rest = [self._judge, *([] if self._rival is None else [self._rival])]
        check_same_tokens(self._reference.path, *(one.path for one in rest))
        described: list[Any] = [_SCHEMA, sampling.model_dump(), seed, copies]
        described += [None if one is None else one.sha256 for one in with_what]
        self._how = hashlib.sha256(json.dumps(described).encode()).hexdigest()

    def measure(self, policy: Path, name: str) -> dict[str, float]:
        """Means over a policy's own answers: `kl` to the reference, `score`, `length`, `eos_rate`; `gold`, `win_rate`.

        `kl` is the mean log-ratio of answers that the policy drew itself, per answer and in nats: unbiased.
        """
        return _means(self.by_prompt(policy, name))

    def measure_best_of(self, ks: Sequence[int], name: str) -> list[dict[str, float]]:
        """The same of the reference's best of k answers by the reward model; `kl` is the bound log k - (k-1)/k."""
        rows = self.best_of_by_prompt(ks, name)
        return [{"kl": best_of_k_kl(k)} | _means(row) for k, row in zip(ks, rows, strict=True)]

    def by_prompt(
        self, policy: Path, name: str, template: str | None = None
    ) -> dict[str, list[float]]:
        """What `measure` means, prompt by prompt: each the mean over the answers to one prompt, in the file's order.

        Args:
            template: how to ask a policy that knows no instructions, with `{prompt}` and `{context}`. There is no `kl`
                then, since the reference is asked in another way.
        """
        opened = open_artifact(policy, "policy")

        def figures() -> dict[str, list[float]]:
            model = load_causal_lm(opened.path)
            groups = self._answers(model, name, self._copies, template)
            found: dict[str, Floats] = {}
            if template is None:
                found["kl"] = self._log_ratios(groups)
            found["score"] = self._scores(groups)
            found |= _lengths_and_ends(groups)
            if self._words is not None:
                worth = self._worth(groups)
                found |= {"gold": worth, "win_rate": self._wins(worth)}
            return {key: _listed(values.mean(axis=1)) for key, values in found.items()}

        asked = "" if template is None else f" {template!r}"
        return self._kept(name, opened.sha256 + asked, figures)

    def best_of_by_prompt(self, ks: Sequence[int], name: str) -> list[dict[str, list[float]]]:
        """What `measure_best_of` means, prompt by prompt and without `kl`, which is the same for all."""
        n = max(ks)

        def figures() -> list[dict[str, list[float]]]:
            groups = self._answers(self._reference_model, name, n)
            of_answers = {"score": self._scores(groups), **_lengths_and_ends(groups)}
            if self._words is not None:
                worth = self._worth(groups)
                of_answers |= {"gold": worth, "win_rate": self._wins(worth)}
            tensors = {key: torch.from_numpy(values) for key, values in of_answers.items()}
            return [
                {
                    key: _listed(best_of_k(tensors["score"], values, k).numpy())
                    for key, values in tensors.items()
                }
                for k in ks
            ]

        return self._kept(name, f"{self._reference.sha256} {list(ks)}", figures)

    def has(self, name: str) -> bool:
        """Whether figures of that name are there, made with this yardstick."""
        return self._read(name) is not None

    def _read(self, name: str) -> dict[str, Any] | None:
        path = self._folder / f"{name}.json"
        found = json.loads(path.read_text()) if path.exists() else {}
        return found if found.get("yardstick") == self._how else None

    def _kept(self, name: str, policy: str, figures: Any) -> Any:
        self._folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self._folder / f".{name}.lock"):  # another process may be measuring it
            found = self._read(name)
            if found is None or found["policy"] != policy:
                found = {"yardstick": self._how, "policy": policy, "figures": figures()}
                write_json(self._folder / f"{name}.json", found)
        return found["figures"]

    @cached_property
    def _formatter(self) -> Formatter:
        return Formatter.of(load_tokenizer(self._reference.path))

    @cached_property
    def _prompts(self) -> list[Prompt]:
        return read_records(self._asked.file("valid.jsonl.gz"), Prompt)

    @cached_property
    def _reference_model(self) -> PreTrainedModel:
        return load_causal_lm(self._reference.path)

    @cached_property
    def _scorer(self) -> ScalarModel:
        return ScalarModel.load(self._judge.path).eval()

    @cached_property
    def _gold(self) -> Gold:
        assert self._words is not None
        return Gold(Lexicon.load(self._words.file("lexicon.json.gz")))

    @cached_property
    def _baseline_worth(self) -> Floats:
        """[prompts, copies]: what gold makes of the baseline's answers."""
        assert self._rival is not None
        model = load_causal_lm(self._rival.path)
        return self._worth(self._answers(model, "baseline", self._copies))

    def _answers(
        self, model: PreTrainedModel, name: str, copies: int, template: str | None = None
    ) -> list[list[Answer]]:
        return answer(
            model,
            self._formatter,
            self._prompts,
            self._sampling,
            self._seed,
            name,
            copies=copies,
            template=template,
        )

    def _log_ratios(self, groups: Sequence[Sequence[Answer]]) -> Floats:
        """[prompts, copies]: log-probability of each answer under who drew it, less that under the reference."""
        flat = [one for group in groups for one in group]
        theirs = sequence_log_probs(
            self._reference_model,
            self._formatter,
            self._repeated(len(groups[0])),
            [one.tokens for one in flat],
            self._sampling.temperature,
        )
        ratios = [one.log_prob - other for one, other in zip(flat, theirs, strict=True)]
        return np.array(ratios).reshape(len(groups), -1)

    def _repeated(self, copies: int) -> list[Prompt]:
        return [prompt for prompt in self._prompts for _ in range(copies)]

    def _scores(self, groups: Sequence[Sequence[Answer]]) -> Floats:
        copies = len(groups[0])
        tokens = [one.tokens for group in groups for one in group]
        scores = reward_scores(self._scorer, self._formatter, self._repeated(copies), tokens)
        return np.array(scores).reshape(-1, copies)

    def _worth(self, groups: Sequence[Sequence[Answer]]) -> Floats:
        return np.array(
            [
                [self._gold.utility(prompt, one.completion.text) for one in group]
                for prompt, group in zip(self._prompts, groups, strict=True)
            ]
        )

    def _wins(self, worth: Floats) -> Floats:
        """Per answer the share of the baseline's answers to the same prompt that gold likes less, ties one half."""
        margins = worth[:, :, None] - self._baseline_worth[:, None, :]
        return np.where(np.abs(margins) <= SAME, 0.5, margins > 0).mean(axis=2)


def _lengths_and_ends(groups: Sequence[Sequence[Answer]]) -> dict[str, Floats]:
    """[prompts, copies] of each: tokens, and whether the answer ended by itself."""
    return {
        "length": np.array([[len(one.tokens) for one in group] for group in groups], float),
        "eos_rate": np.array([[one.completion.finished for one in g] for g in groups], float),
    }


def _listed(values: Floats) -> list[float]:
    return [float(value) for value in values]


def _means(rows: Mapping[str, Sequence[float]]) -> dict[str, float]:
    return {key: math.fsum(values) / len(values) for key, values in rows.items()}
