"""What a checkpoint holds: tensors in safetensors, numbers in JSON, no pickle; random streams are derived.

With several ranks each writes and reads a file with the shards that it holds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from alignloop.distributed import ALONE, World, own
from alignloop.errors import RunError
from alignloop.files import sync, write_json


def save_state(
    folder: Path,
    models: Mapping[str, nn.Module],
    optimizers: Mapping[str, torch.optim.Optimizer],
    tensors: Mapping[str, Mapping[str, Tensor]] = MappingProxyType({}),
    values: Mapping[str, Any] = MappingProxyType({}),
    world: World = ALONE,
) -> None:
    """Write models, optimizer moments, further tensors (an EMA, say) and JSON values into `folder`.

    Raises:
        OSError: the disk is full, say.
    """
    flat: dict[str, Tensor] = {}
    for name, model in models.items():
        for key, parameter in model.named_parameters():
            flat[f"model/{name}/{key}"] = own(parameter).detach().contiguous()
    for name, optimizer in optimizers.items():
        for index, moments in optimizer.state_dict()["state"].items():
            for key, tensor in moments.items():
                flat[f"optimizer/{name}/{index}/{key}"] = tensor.contiguous()
    for name, group in tensors.items():
        for key, tensor in group.items():
            flat[f"tensors/{name}/{key}"] = tensor.contiguous()
    try:
        save_file(flat, folder / _file_of(world))
    except SafetensorError as error:  # not an OSError, though a full disk is what it tells of
        raise OSError(str(error)) from None
    if world.is_main:
        write_json(folder / "state.json", dict(values))
    else:
        sync(folder / _file_of(world))  # rank 0 flushes the folder, but may be on another machine


def load_state(
    folder: Path,
    models: Mapping[str, nn.Module],
    optimizers: Mapping[str, torch.optim.Optimizer],
    world: World = ALONE,
) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """Put a checkpoint's weights and moments into place; returns the further tensors and the JSON values.

    Raises:
        RunError: the checkpoint is damaged or does not fit the models.
    """
    try:
        flat = load_file(folder / _file_of(world))
        values = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, SafetensorError) as error:
        raise RunError(
            f"{folder}: the checkpoint is damaged ({error}); remove it to go on from the one before"
        ) from None
    for name, model in models.items():
        held = {key: own(parameter) for key, parameter in model.named_parameters()}
        saved = _group(flat, f"model/{name}/")
        if {k: p.shape for k, p in held.items()} != {k: t.shape for k, t in saved.items()}:
            raise RunError(f"{folder}: the checkpoint's '{name}' has other weights than this model")
        with torch.no_grad():
            for key, parameter in held.items():
                parameter.copy_(saved[key])
    for name, optimizer in optimizers.items():
        state = optimizer.state_dict()
        moments: dict[int, dict[str, Tensor]] = {}
        for key, tensor in _group(flat, f"optimizer/{name}/").items():
            index, moment = key.split("/")
            moments.setdefault(int(index), {})[moment] = tensor
        state["state"] = moments
        optimizer.load_state_dict(state)
    tensors: dict[str, dict[str, Tensor]] = {}
    for key, tensor in _group(flat, "tensors/").items():
        name, rest = key.split("/", 1)
        tensors.setdefault(name, {})[rest] = tensor
    return tensors, values


def _file_of(world: World) -> str:
    if world.size == 1:
        return "state.safetensors"
    return f"state-{world.rank + 1:05d}-of-{world.size:05d}.safetensors"


def _group(flat: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        key.removeprefix(prefix): tensor for key, tensor in flat.items() if key.startswith(prefix)
    }
