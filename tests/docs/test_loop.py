"""The loop in docs/ppo.md runs as it stands there, on tiny models in the places that it names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM

from tests.helpers import write_ppo_inputs

PAGE = Path(__file__).parents[2] / "docs" / "ppo.md"


def test_the_loop_of_ones_own_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    [code] = [block for block in blocks if "Learner.open(" in block]
    given = write_ppo_inputs(tmp_path / "given")
    (tmp_path / "demo" / "rl_init").mkdir(parents=True)
    (tmp_path / "demo" / "rl_init" / "artifact").symlink_to(given["policy"])
    (tmp_path / "demo" / "reward").symlink_to(given["reward_model"])
    monkeypatch.chdir(tmp_path)
    small = code.replace("ptx_coef=0)", 'ptx_coef=0, sampling={"max_new_tokens": 8})')
    assert small != code

    exec(compile(small, str(PAGE), "exec"), {})

    AutoModelForCausalLM.from_pretrained(tmp_path / "mine")
