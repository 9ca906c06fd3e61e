"""Compiled layers: the same numbers but for rounding, one shape for rows of any lengths, dropout, refusals."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._dynamo.utils import counters
from transformers import PreTrainedModel

from alignloop.data.batches import Forest, Ragged
from alignloop.distributed import World
from alignloop.errors import ConfigError, Interrupted, ModelError
from alignloop.models.adapters import AdaptersConfig
from alignloop.models.compilation import compile_layers, compile_to_width
from alignloop.models.dropout import residual_dropout
from alignloop.models.policy import block_log_probs, forest_log_probs, response_log_probs
from alignloop.runs.run import Run
from tests.helpers import (
    PRETRAIN,
    metrics,
    needs_compiler,
    results,
    run,
    signal_at,
    tiny_model,
    write_text,
)

# What torch itself does while it compiles is its own affair.
pytestmark = pytest.mark.filterwarnings("ignore")

COMPILED = PRETRAIN | {
    "batch_size": 5,  # in pieces of 2, 2 and 1: two shapes
    "tokens": 32 * 5 * 6,
    "residual_dropout": 0.1,
    "compile": True,
}


def learned(
    model: PreTrainedModel,
    batch: Any,
    read: Callable[[PreTrainedModel, Any], Tensor] = block_log_probs,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Log-probabilities, and the gradient of their sum by weight."""
    model.zero_grad()
    log_probs = read(model, batch)
    log_probs.sum().backward()
    return log_probs.detach(), {
        name: weight.grad.clone()
        for name, weight in model.named_parameters()
        if weight.grad is not None
    }


@needs_compiler
def test_compiled_layers_are_the_same_but_for_rounding_and_drops_what_it_should() -> None:
    """The layers without hooks come first: their code must not serve the run whose dropout acts by hooks."""
    blocks = torch.arange(2, 62).view(3, 20)
    expected, slopes = learned(tiny_model(), blocks)

    plain = tiny_model()
    names = plain.state_dict().keys()
    compile_layers(plain)
    found, gradients = learned(plain.train(), blocks)
    assert plain.state_dict().keys() == names
    assert torch.allclose(found, expected, atol=1e-4)
    assert gradients.keys() == slopes.keys()
    assert all(torch.allclose(gradients[n], slopes[n], rtol=1e-3, atol=1e-3) for n in slopes)

    dropping = tiny_model()
    compile_layers(dropping)
    with residual_dropout(dropping, 0.5):
        drawn = []
        for seed in (1, 2, 1):
            torch.manual_seed(seed)
            drawn.append(learned(dropping.train(), blocks)[0])
    assert not torch.allclose(drawn[0], expected, atol=1e-2)
    assert not torch.allclose(drawn[0], drawn[1], atol=1e-2)
    assert torch.equal(drawn[0], drawn[2]), "the seed decides"


def rows_of(*lengths: int) -> Ragged:
    """Rows of so many tokens, the first three of each the prompt."""
    tokens = [list(range(5 + n, 5 + n + length)) for n, length in enumerate(lengths)]
    return Ragged.of([row[:3] for row in tokens], [row[3:] for row in tokens], pad=0)


def forest_of(*lengths: int) -> Forest:
    """Two prompts, each with responses of so many tokens."""
    responses = [[list(range(9 + n, 9 + n + length)) for n, length in enumerate(lengths)]] * 2
    return Forest.of([[4, 5, 6], [7, 8]], responses)


@needs_compiler
@pytest.mark.parametrize(
    ("read", "first", "others"),
    [
        (response_log_probs, rows_of(9, 17, 4), [rows_of(20), rows_of(5, 6, 7, 8)]),
        (forest_log_probs, forest_of(4, 9, 6), [forest_of(8), forest_of(2, 3, 4, 5)]),
    ],
    ids=["rows", "forests"],
)
def test_filled_rows_are_the_same_but_for_rounding_and_of_one_shape(
    read: Callable[[PreTrainedModel, Any], Tensor], first: Any, others: list[Any]
) -> None:
    whole, filled = tiny_model(), tiny_model()
    compile_layers(filled, 48)

    def agrees(batch: Any) -> None:
        expected, slopes = learned(whole, batch, read)
        found, gradients = learned(filled, batch, read)
        assert torch.allclose(found, expected, atol=1e-4)
        assert gradients.keys() == slopes.keys()
        assert all(torch.allclose(gradients[n], slopes[n], rtol=1e-3, atol=1e-3) for n in slopes)

    agrees(first)
    made = counters["stats"]["unique_graphs"]
    assert made > 0
    for batch in others:
        agrees(batch)
    assert counters["stats"]["unique_graphs"] == made, "another length was compiled anew"

    agrees(rows_of(40, 30) if read is response_log_probs else forest_of(30, 30))  # two widths


@needs_compiler
def test_a_model_that_cannot_read_rows_in_one_is_refused() -> None:
    model = tiny_model()
    model.config._attn_implementation = "eager"
    compile_layers(model, 48)
    with pytest.raises(ModelError, match="attention 'eager' cannot read rows in one"):
        response_log_probs(model, rows_of(5, 6))


def test_several_ranks_and_adapters_are_refused() -> None:
    with pytest.raises(ConfigError, match="in one process"):
        compile_to_width([tiny_model()], 64, World(0, 2), None)
    with pytest.raises(ConfigError, match="full models"):
        compile_to_width([tiny_model()], 64, World(), AdaptersConfig())


@needs_compiler
@pytest.mark.full
@pytest.mark.timeout(1200)
def test_compiled_pretraining_learns_the_same_repeats_and_resumes_to_the_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each with a cache of its own, so that nothing compiled before decides anything."""
    text = write_text(tmp_path / "text")

    def pretrain(name: str, cache: str, values: dict[str, object], *, resume: bool = False) -> None:
        monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / cache))
        run("pretrain", tmp_path / name, values, resume=resume, text=text)

    pretrain("compiled", "cache-1", COMPILED)
    pretrain("again", "cache-2", COMPILED)
    with monkeypatch.context() as patched, pytest.raises(Interrupted):
        patched.setattr(Run, "log", signal_at(3))
        pretrain("stopped", "cache-3", COMPILED)
    pretrain("stopped", "cache-4", COMPILED, resume=True)
    # Compiled dropout draws other numbers than eager dropout.
    undropped = COMPILED | {"residual_dropout": 0.0}
    pretrain("compiled-undropped", "cache-1", undropped)
    pretrain("eager-undropped", "cache-1", undropped | {"compile": False})

    compiled = results(tmp_path / "compiled")
    assert results(tmp_path / "again") == compiled
    assert results(tmp_path / "stopped") == compiled
    assert json.loads(compiled["config.json"])["compile"] is True
    eager, same = (metrics(tmp_path / f"{name}-undropped") for name in ("eager", "compiled"))
    for expected, found in zip(eager, same, strict=True):
        assert found == pytest.approx(expected, rel=1e-3, abs=1e-4)


def test_without_a_compiler_it_is_refused(
    tmp_path: Path,
    run_cli: Callable[..., subprocess.CompletedProcess[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CXX", str(tmp_path / "no-such-compiler"))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "pretrain.json").write_text(json.dumps(COMPILED))

    done = run_cli(
        *("pretrain", "--text", write_text(tmp_path / "text"), "--run", tmp_path / "run"),
        *("--config", tmp_path / "pretrain.json"),
    )

    assert done.returncode == 2
    assert "compile = true needs a C++ compiler" in done.stderr
    assert "Traceback" not in done.stderr
