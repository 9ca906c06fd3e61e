"""Compiled stages learn what others learn but for rounding, repeat to the same bytes, and resume to the same bytes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from alignloop.errors import Interrupted
from alignloop.runs.run import Run
from tests.helpers import (
    PPO,
    REWARD,
    SFT,
    metrics,
    needs_compiler,
    results,
    run,
    signal_at,
    write_ppo_inputs,
)

pytestmark = [
    needs_compiler,
    pytest.mark.full,
    pytest.mark.timeout(1200),
    pytest.mark.filterwarnings("ignore"),  # of torch, while it compiles
]

CONFIGS: dict[str, dict[str, Any]] = {
    # Compiled dropout draws other numbers than eager dropout.
    "sft": SFT | {"residual_dropout": 0.0, "packing": "packed"},
    "reward": REWARD,
    "ppo": PPO,
}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Path]]:
    folder = tmp_path_factory.mktemp("inputs")
    ppo = write_ppo_inputs(folder)
    learns = {"model": folder / "model", "demonstrations": folder / "demos"}
    return {
        "sft": learns | {"text": folder / "text"},
        "reward": learns | {"rankings": folder / "rankings"},
        "ppo": ppo,
    }


@pytest.mark.parametrize("stage", CONFIGS)
def test_a_compiled_stage_learns_the_same_repeats_and_resumes_to_the_byte(
    stage: str,
    inputs: dict[str, dict[str, Path]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each with a cache of its own, so that nothing compiled before decides anything."""

    def perform(name: str, cache: str, *, resume: bool = False, **changes: Any) -> None:
        monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / cache))
        values = CONFIGS[stage] | {"compile": True} | changes
        run(stage, tmp_path / name, values, resume=resume, **inputs[stage])

    perform("eager", "cache-0", compile=False)
    perform("compiled", "cache-1")
    with monkeypatch.context() as patched, pytest.raises(Interrupted):
        patched.setattr(Run, "log", signal_at(3))
        perform("stopped", "cache-2")
    perform("stopped", "cache-3", resume=True)

    compiled = results(tmp_path / "compiled")
    assert results(tmp_path / "stopped") == compiled
    assert json.loads(compiled["config.json"])["compile"] is True
    eager, same = (metrics(tmp_path / name) for name in ("eager", "compiled"))
    for expected, found in zip(eager, same, strict=True):
        assert found == pytest.approx(expected, rel=1e-2, abs=1e-3)
