"""The average of the weights, and checkpoints: exact, in float32, bit for bit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from alignloop.distributed import World
from alignloop.errors import RunError
from alignloop.models.reward_model import ScalarModel
from alignloop.tensors import generator
from alignloop.training.ema import EMA
from alignloop.training.optimizer import OptimizerConfig, make_optimizer
from alignloop.training.state import load_state, save_state
from alignloop.training.step import update
from tests.helpers import tiny_model, write_model

# --- the average ---


def test_the_average_equals_its_closed_form() -> None:
    """theta_n = d^n theta_0 + (1 - d) sum_k d^(n - k) w_k."""
    model = nn.Linear(4, 2)
    start = model.weight.detach().double().clone()
    ema, seen = EMA(model, decay=0.9), []
    for k in range(25):
        with torch.no_grad():
            model.weight.copy_(torch.randn(2, 4, generator=generator(k)))
        seen.append(model.weight.detach().double().clone())
        ema.step(model)

    expected = 0.9**25 * start + 0.1 * sum(0.9 ** (24 - k) * w for k, w in enumerate(seen))
    torch.testing.assert_close(ema.weights["weight"].double(), expected, atol=1e-6, rtol=0)


def test_the_average_moves_where_bfloat16_alone_would_round_every_step_away() -> None:
    model = nn.Linear(1, 1, bias=False).bfloat16()
    with torch.no_grad():
        model.weight.fill_(1.0)
    ema = EMA(model, decay=0.992)
    with torch.no_grad():
        model.weight.fill_(1.0078125)  # the next bfloat16 after 1
    naive = torch.ones(1, dtype=torch.bfloat16)
    for _ in range(100):
        ema.step(model)
        naive = 0.992 * naive + 0.008 * model.weight.detach()[0]

    assert ema.weights["weight"].dtype == torch.float32
    share = 1 - 0.992**100
    assert float(ema.weights["weight"]) == pytest.approx(1 + share * 0.0078125, abs=1e-6)
    assert float(naive) == 1.0, "that is why: frozen from the first step on"


def test_the_average_is_lent_to_the_model_and_taken_back() -> None:
    model = tiny_model()
    ema = EMA(model, decay=0.5)
    raw = {name: p.detach().clone() for name, p in model.named_parameters()}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 1.0
    ema.step(model)

    with pytest.raises(KeyError), ema.applied_to(model):
        for name, parameter in model.named_parameters():
            torch.testing.assert_close(parameter.detach(), raw[name] + 0.5)
        raise KeyError

    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.detach(), raw[name] + 1.0)
        assert not ema.weights[name].is_set_to(parameter.detach())


def test_the_average_of_a_constant_is_the_constant() -> None:
    model = nn.Linear(3, 3)
    ema = EMA(model, decay=0.992)

    for _ in range(50):
        ema.step(model)

    assert torch.equal(ema.weights["weight"], model.weight.detach())


# --- checkpoints ---

CONFIG = OptimizerConfig(learning_rate=0.01, schedule="constant", weight_decay=0.1)


def steps(model: nn.Module, optimizer: torch.optim.Optimizer, numbers: range) -> None:
    for number in numbers:
        for at, parameter in enumerate(p for p in model.parameters() if p.requires_grad):
            parameter.grad = torch.randn(parameter.shape, generator=generator(number * 1000 + at))
        update(model, optimizer, CONFIG, step=number, total=10, world=World(), term="test")


def test_a_run_from_a_checkpoint_goes_on_bit_for_bit(tmp_path: Path) -> None:
    model = tiny_model()
    optimizer, ema = make_optimizer(model, CONFIG), EMA(model, 0.9)
    steps(model, optimizer, range(3))
    ema.step(model)
    (tmp_path / "a").mkdir()
    save_state(
        tmp_path / "a",
        {"m": model},
        {"o": optimizer},
        {"ema": ema.weights},
        {"tokens": 7, "x": 0.1},
    )
    at_three = (tmp_path / "a" / "state.safetensors").read_bytes()
    steps(model, optimizer, range(3, 6))
    ema.step(model)

    other = tiny_model(seed=9)
    other_optimizer = make_optimizer(other, CONFIG)
    tensors, values = load_state(tmp_path / "a", {"m": other}, {"o": other_optimizer})
    assert values == {"tokens": 7, "x": 0.1}
    other_ema = EMA(other, 0.9)
    other_ema.weights = tensors["ema"]
    steps(other, other_optimizer, range(3, 6))
    other_ema.step(other)

    for name, parameter in model.named_parameters():
        assert torch.equal(other.get_parameter(name), parameter), name
        assert torch.equal(other_ema.weights[name], ema.weights[name]), name
    for folder, which, its_optimizer, its_ema in (
        ("b", model, optimizer, ema),
        ("c", other, other_optimizer, other_ema),
    ):
        (tmp_path / folder).mkdir()
        save_state(tmp_path / folder, {"m": which}, {"o": its_optimizer}, {"ema": its_ema.weights})
    saved = [(tmp_path / name / "state.safetensors").read_bytes() for name in "bc"]
    assert saved[0] == saved[1] != at_three
    assert (tmp_path / "a" / "state.safetensors").read_bytes() == at_three, (
        "the file is not written through"
    )


def test_frozen_parameters_and_the_bias_are_kept(tmp_path: Path) -> None:
    scorer = ScalarModel.load(write_model(tmp_path / "model"))
    scorer.new_head(1)
    scorer.bias.requires_grad_(False)
    with torch.no_grad():
        scorer.bias.fill_(-1.5)
    optimizer = make_optimizer(scorer, CONFIG)
    steps(scorer, optimizer, range(2))
    save_state(tmp_path, {"m": scorer}, {"o": optimizer})

    again = ScalarModel.load(tmp_path / "model")
    again.bias.requires_grad_(False)
    load_state(tmp_path, {"m": again}, {"o": make_optimizer(again, CONFIG)})

    for name, parameter in scorer.named_parameters():
        assert torch.equal(again.get_parameter(name), parameter), name


def test_a_checkpoint_holds_tensors_and_plain_json_alone(tmp_path: Path) -> None:
    model = nn.Linear(2, 2)
    save_state(tmp_path, {"m": model}, {"o": make_optimizer(model, CONFIG)}, values={"a": 1})

    assert sorted(path.name for path in tmp_path.iterdir()) == ["state.json", "state.safetensors"]
    assert json.loads((tmp_path / "state.json").read_text()) == {"a": 1}


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    save_state(tmp_path, {"m": nn.Linear(2, 2)}, {})

    with pytest.raises(RunError, match="other weights"):
        load_state(tmp_path, {"m": nn.Linear(2, 2, bias=False)}, {})
    with pytest.raises(RunError, match="other weights"):
        load_state(tmp_path, {"m": nn.Linear(2, 3)}, {})


@pytest.mark.parametrize("name", ["state.safetensors", "state.json"])
def test_a_damaged_checkpoint_is_an_error_of_ours(tmp_path: Path, name: str) -> None:
    save_state(tmp_path, {"m": nn.Linear(2, 2)}, {}, values={"step": 3})
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2])

    with pytest.raises(RunError, match="damaged"):
        load_state(tmp_path, {"m": nn.Linear(2, 2)}, {})
