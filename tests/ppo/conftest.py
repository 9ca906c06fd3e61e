"""What the tests of PPO have in common."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers import write_ppo_inputs


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_ppo_inputs(tmp_path_factory.mktemp("inputs"))
