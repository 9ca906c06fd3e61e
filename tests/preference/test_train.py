"""DPO through its real loop: what the first update sees, micro-batches, one forward pass per completion, learning."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from alignloop.config import load_config
from alignloop.data.formatter import Formatter
from alignloop.data.jsonl import read_records
from alignloop.data.records import Ranking
from alignloop.errors import ConfigError
from alignloop.models import layouts
from alignloop.models.loading import backbone_of
from alignloop.preference import train as dpo_train
from alignloop.preference.config import DPOConfig
from alignloop.runs.artifact import open_artifact
from alignloop.training.rankings import encode_rankings, prompt_groups
from tests.helpers import (
    ARCHITECTURES,
    CONTEXT,
    DPO,
    metrics,
    run,
    tiny_model,
    tiny_tokenizer,
    write_model,
    write_rankings,
)

PLAIN = {"sft_coef": 0.0, "label_smoothing": 0.0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    for architecture in ARCHITECTURES:
        write_model(folder / architecture, architecture)
    write_rankings(folder / "rankings")
    return folder


def dpo(
    folder: Path, out: Path, architecture: str = "llama", **changes: Any
) -> list[dict[str, float]]:
    inputs = {"model": folder / architecture, "rankings": folder / "rankings"}
    run("dpo", out, DPO | changes, **inputs)
    return metrics(out)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_at_the_first_update_policy_and_reference_are_the_same_to_the_last_bit(
    folder: Path, tmp_path: Path, architecture: str, precision: str
) -> None:
    """So every margin is exactly 0 and the loss is log 2, in several micro-batches; later they differ."""
    few = {"batch_size": 4, "micro_batch_tokens": 130}
    rows = dpo(folder, tmp_path / "run", architecture, precision=precision, **few, **PLAIN)

    assert rows[0]["loss"] == pytest.approx(math.log(2), abs=1e-6)
    for name in ("reward_margin", "preferred_change", "other_change", "kl_from_reference"):
        assert rows[0][name] == 0.0, name
        assert rows[1][name] != 0.0, name
    assert rows[0]["pair_accuracy"] == 0.5


@pytest.mark.parametrize("changes", [{}, {"loss": "ipo", **PLAIN}, {"length_normalised": True}])
def test_dpo_does_not_depend_on_micro_batches(
    folder: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    """Losses, gradient norms and all, over two epochs: each prompt alone, or all eight at once."""
    small, large = (
        dpo(folder, tmp_path / str(budget), batch_size=8, micro_batch_tokens=budget, **changes)
        for budget in (1, 100_000)
    )

    assert len(small) == len(large) == 2
    for a, b in zip(small, large, strict=True):
        assert a == pytest.approx(b, rel=5e-4, abs=5e-6)


def test_the_first_gradient_is_that_of_pairs_read_one_completion_at_a_time(
    folder: Path, tmp_path: Path
) -> None:
    """The whole update beside one in rows of their own, without forests, batches or our log-probabilities."""
    [row] = dpo(folder, tmp_path / "run", batch_size=8, epochs=1, **PLAIN)

    model, formatter = tiny_model(), Formatter.of(tiny_tokenizer())
    rankings = read_records(folder / "rankings" / "train.jsonl.gz", Ranking)
    total = torch.zeros(())
    for ranking in rankings:
        asked = formatter.prompt(ranking.prompt)
        sums = []
        for completion in ranking.completions:
            tokens = torch.tensor([[*asked, *formatter.completion(completion)]])
            logits = model(tokens).logits[0, len(asked) - 1 : -1]
            said = tokens[0, len(asked) :, None]
            sums.append(torch.log_softmax(logits, dim=-1).gather(1, said).sum())
        pairs = [(i, j) for i, j in ranking.pairs()]
        for better, worse in pairs:
            margin = sums[better] - sums[worse]
            margin = margin - margin.detach()  # the reference is the policy itself
            total = total - torch.nn.functional.logsigmoid(0.1 * margin) / len(pairs)
    (total / len(rankings)).backward()

    norm = math.sqrt(
        sum(float(p.grad.square().sum()) for p in model.parameters() if p.grad is not None)
    )
    assert row["gradient_norm"] == pytest.approx(norm, rel=1e-4)


def test_each_completion_is_read_once_per_update_and_once_for_the_reference(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = [0]
    load = dpo_train.load_causal_lm

    def has_trees(kwargs: dict[str, Any]) -> bool:
        return isinstance(kwargs.get("layout"), layouts.Paths)

    def watched(path: Path) -> Any:
        model = load(path)
        backbone_of(model).register_forward_pre_hook(
            lambda _module, _args, kwargs: read.__setitem__(
                0, read[0] + kwargs["input_ids"].numel() * has_trees(kwargs)
            ),
            with_kwargs=True,
        )
        return model

    monkeypatch.setattr(dpo_train, "load_causal_lm", watched)
    dpo(folder, tmp_path / "run", epochs=3, valid_every=100)

    formatter = Formatter.of(tiny_tokenizer())
    sizes = [
        sum(p.size for p in encode_rankings(read_records(path, Ranking), formatter, CONTEXT))
        for side in ("train", "valid")
        for path in [folder / "rankings" / f"{side}.jsonl.gz"]
    ]
    assert read[0] == (3 + 1) * sizes[0] + (1 + 1) * sizes[1], "validated once, at the end"


@pytest.mark.parametrize(("loss", "beta"), [("sigmoid", 0.5), ("ipo", 0.05)])
def test_dpo_learns_the_rankings_and_moves_away_from_the_reference(
    folder: Path, tmp_path: Path, loss: str, beta: float
) -> None:
    rows = dpo(folder, tmp_path / "run", epochs=12, loss=loss, beta=beta, **PLAIN)

    assert rows[-1]["loss"] < 0.8 * rows[0]["loss"]
    assert rows[-1]["pair_accuracy"] > 0.9
    assert rows[-1]["reward_margin"] > 0.1
    assert rows[-1]["preferred_change"] > rows[-1]["other_change"]
    artifact = open_artifact(tmp_path / "run", "policy")
    assert artifact.facts["valid_loss"] == rows[-1]["valid_loss"]
    AutoModelForCausalLM.from_pretrained(artifact.path)


def test_the_term_of_the_best_completions_keeps_them_likely(folder: Path, tmp_path: Path) -> None:
    without = dpo(folder, tmp_path / "without", epochs=6, sft_coef=0.0)[-1]
    with_it = dpo(folder, tmp_path / "with", epochs=6, sft_coef=1.0)[-1]

    assert with_it["preferred_change"] > without["preferred_change"] + 1


def test_the_reference_is_read_again_in_any_grouping(folder: Path) -> None:
    """What is known of a prompt's completions belongs to that prompt, whatever groups they are read in."""
    formatter = Formatter.of(tiny_tokenizer())
    rows = read_records(folder / "rankings" / "train.jsonl.gz", Ranking)
    prompts = encode_rankings(rows, formatter, CONTEXT)
    model, config = tiny_model(), DPOConfig()

    alone, together = (
        dpo_train.reference_log_probs(model, prompts, prompt_groups(prompts, budget), config)
        for budget in (1, 100_000)
    )

    assert sorted(alone) == sorted(together) == list(range(len(prompts)))
    for number, prompt in enumerate(prompts):
        assert len(alone[number]) == len(prompt.completions)
        torch.testing.assert_close(together[number], alone[number], atol=1e-4, rtol=1e-5)


def test_the_published_values_are_the_defaults() -> None:
    published = DPOConfig()

    assert (published.beta, published.batch_size, published.loss) == (0.1, 64, "sigmoid")
    assert (published.optimizer.learning_rate, published.optimizer.warmup_steps) == (1e-6, 150)


def test_smoothing_with_ipo_is_refused() -> None:
    with pytest.raises(ConfigError, match="belongs to loss = 'sigmoid'"):
        load_config(DPOConfig, None, ["loss=ipo", "label_smoothing=0.1"])
