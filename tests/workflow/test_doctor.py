"""The doctor: a healthy model passes, and each sickness is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from alignloop.generation.engine import SamplingConfig
from alignloop.generation.native import NativeEngine
from alignloop.ppo.checks import rewards_never_stopping
from alignloop.workflow import doctor
from tests.helpers import ARCHITECTURES, write_model, write_prompts

SAMPLING = SamplingConfig(max_new_tokens=24)


def findings(tmp_path: Path, **settings: Any) -> dict[str, doctor.Finding]:
    model = write_model(tmp_path / "model", settings.pop("architecture", "llama"))
    prompts = write_prompts(tmp_path / "prompts")
    found = doctor.examine(model, prompts, sampling=settings.pop("sampling", SAMPLING), **settings)
    return {finding.check: finding for finding in found}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_healthy_model_passes_every_check_but_that_an_untrained_one_may_not_end(
    tmp_path: Path, architecture: str
) -> None:
    found = findings(tmp_path, architecture=architecture)
    found.pop("answers can end")  # a random model ends where chance has it
    assert all(finding.is_well for finding in found.values()), found


def test_a_sampler_that_forgets_the_temperature_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = NativeEngine.generate

    def forgetful(self: NativeEngine, prompts: Any, seeds: Any, _sampling: SamplingConfig) -> Any:
        return honest(self, prompts, seeds, SAMPLING)

    monkeypatch.setattr(NativeEngine, "generate", forgetful)
    found = findings(tmp_path, sampling=SAMPLING.model_copy(update={"temperature": 0.5}))
    assert not found["the sampler's log-probabilities are the trainer's"].is_well


def test_prompts_that_leave_no_room_are_found(tmp_path: Path) -> None:
    found = findings(tmp_path, sampling=SamplingConfig(max_new_tokens=95))
    assert not found["prompts and answers fit the context"].is_well


def test_a_single_prompt_is_examined_as_well(tmp_path: Path) -> None:
    prompts = write_prompts(tmp_path / "one", count=1)
    found = doctor.examine(write_model(tmp_path / "model"), prompts, sampling=SAMPLING)
    assert len(found) == 6
    assert all(finding.is_well for finding in found if finding.check != "answers can end"), found


def test_a_fixed_score_without_a_reward_model_to_compare_it_with_is_found(tmp_path: Path) -> None:
    found = findings(tmp_path, missing_eos_score=-1.0)
    assert not found["never stopping is not rewarded"].is_well


def test_a_fixed_score_is_refused_where_being_cut_off_would_pay() -> None:
    scores, ended = torch.tensor([-3.0, -2.0, 0.5, 9.0]), torch.tensor([True, True, True, False])
    assert rewards_never_stopping(scores, ended, -4.0) is None
    problem = rewards_never_stopping(scores, ended, -1.0)
    assert problem is not None
    assert "67 %" in problem
    assert "below -3.00" in problem
    assert rewards_never_stopping(scores, torch.zeros(4, dtype=torch.bool), -9.0) is not None
