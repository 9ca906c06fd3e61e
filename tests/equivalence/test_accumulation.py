"""A batch of eight in one pass and in eight: the same loss, and the same first gradient of every weight."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from tests.equivalence.ranks_driver import perform
from tests.helpers import DPO, PPO, PRETRAIN, REWARD, SFT, metrics, run, write_inputs

ONE, EIGHT = {"micro_batch_tokens": 100_000}, {"micro_batch_tokens": 1}
SETTINGS: dict[str, tuple[str, dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "pretrain": (
        "pretrain",
        PRETRAIN | {"batch_size": 8, "tokens": 32 * 8},
        {"micro_batch_size": 8},
        {"micro_batch_size": 1},
    ),
    "sft": ("sft", SFT | {"batch_size": 8, "epochs": 1, "residual_dropout": 0.0}, ONE, EIGHT),
    "sft-packed": (
        "sft",
        SFT | {"batch_size": 8, "epochs": 1, "residual_dropout": 0.0, "packing": "packed"},
        ONE,
        EIGHT,
    ),
    "reward": ("reward", REWARD | {"batch_size": 8, "epochs": 1}, ONE, EIGHT),
    "dpo": ("dpo", DPO | {"batch_size": 8, "epochs": 1}, ONE, EIGHT),
    "ppo": (
        "ppo",
        PPO | {"batch_size": 8, "minibatch_size": 8, "episodes": 8, "inner_epochs": 1},
        ONE,
        EIGHT,
    ),
}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Path]]:
    folder = tmp_path_factory.mktemp("inputs")
    found = write_inputs(folder, trained=folder, prompts=8)
    run("reward", folder / "reward", REWARD, **found["reward"])
    found["ppo"]["policy"] = folder / "model"
    return found


@pytest.mark.parametrize("name", SETTINGS)
def test_one_pass_and_eight(inputs: dict[str, dict[str, Path]], tmp_path: Path, name: str) -> None:
    stage, config, whole, pieces = SETTINGS[name]
    given = {role: str(path) for role, path in inputs[stage].items()}
    for place, changes in (("one", whole), ("eight", pieces)):
        folder = str(tmp_path / place)
        perform({"stage": stage, "folder": folder, "config": config | changes, "inputs": given})

    first, second = (metrics(tmp_path / place)[0] for place in ("one", "eight"))
    assert second == pytest.approx(first, rel=1e-4, abs=1e-6)
    files = sorted((tmp_path / "one.gradients").iterdir())
    assert len(files) == (2 if stage == "ppo" else 1)
    for file in files:
        one, eight = load_file(file), load_file(tmp_path / "eight.gradients" / file.name)
        length = sum(float((g.double() ** 2).sum()) for g in one.values()) ** 0.5
        assert length > 0
        for key, gradient in one.items():
            assert float((eight[key] - gradient).norm()) < 1e-5 * length, key
