"""A project with a tiny base model, prompts of many users, and settings that make every stage of the loop short."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from alignloop.workflow.loop.config import LoopConfig
from tests.helpers import PPO, REWARD, SENTENCES, SFT, write_model, write_text
from tests.workflow.prompts.helpers import imported, write

SHORT = {"max_new_tokens": 10}
LEARN = {**SFT, "epochs": 1, "residual_dropout": 0.0}


def settings(**changes: Any) -> dict[str, Any]:
    """What `loop.toml` says, but for the paths."""
    return {
        "demonstrations": {"train": 6, "valid": 2},
        "rankings": {"prompts": 6},
        "comparison": {"prompts": 6, "resamples": 100},
        "settings": {
            "sft": {**LEARN, "epochs": 2, "pretraining_mix": 0.0},
            "rl_init": LEARN,
            "samples": {"k_min": 3, "k_max": 4, "sampling": SHORT},
            "judged": {"sampling": SHORT},
            "baseline": {"sampling": SHORT},
            "reward": {**REWARD, "epochs": 1},
            "ppo_ptx": {**PPO, "episodes": 8, "checkpoint_every": 1},
            "ppo": {**PPO, "episodes": 8, "ptx_coef": 0.0},
        },
        **changes,
    }


def small_project(folder: Path, *, answered: bool = True, **changes: Any) -> LoopConfig:
    """Import prompts into `folder`, some of them with answers; the model and the text lie beside it."""
    rows: list[dict[str, Any]] = []
    for number in range(90):
        said = SENTENCES[number % len(SENTENCES)]
        row: dict[str, Any] = {
            "text": f"Go on {number}.\n\n{said}",
            "user": f"user {number}",
        }
        if answered and number % 3 == 0:
            row |= {"response": SENTENCES[(number + 2) % len(SENTENCES)], "labeler": "ann"}
        rows.append(row)
    file = write(folder.parent / f"{folder.name}.jsonl", rows)
    imported(folder, file, overrides=("valid=0.2", "test=0.15"))
    model, text = folder.parent / "model", folder.parent / "text"
    if not model.exists():
        write_model(model)
        write_text(text)
    return LoopConfig.model_validate({"base": model, "text": text, **settings(**changes)})


def write_settings(folder: Path, config: LoopConfig) -> Path:
    """The settings as a JSON file, which is read as TOML is."""
    path = folder.parent / f"{folder.name}-loop.json"
    path.write_text(json.dumps(config.model_dump(mode="json")), encoding="utf-8")
    return path
