"""Compiled decoder layers: asked for by a setting that the run records, never by what a machine has."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from weakref import WeakKeyDictionary

import torch
from transformers import PreTrainedModel

from alignloop.distributed import World
from alignloop.errors import ConfigError
from alignloop.models.loading import decoder_layers
from alignloop.tensors import rounded_up

ONE_PROCESS = "compile = true works in one process; set it to false, or start without torchrun"
_WIDTHS: WeakKeyDictionary[PreTrainedModel, int] = WeakKeyDictionary()


def compile_layers(model: PreTrainedModel, width: int | None = None) -> None:
    """Compile every decoder layer in place; what goes through them is the same but for rounding.

    Each shape is compiled for itself, so that a resumed run, which meets them in another order, runs the same code.
    The embedding stays as it is: compiled, several threads would add up its gradient in no fixed order.

    Args:
        width: tokens of the row that rows of any lengths are packed into and filled up to, so that there is one shape.

    Raises:
        ConfigError: torch cannot compile here.
    """
    torch.compiler.reset()  # code of an earlier run in this process may have been made without dropout's hooks
    try:
        torch.compile(torch.relu)(torch.ones(2))
    except RuntimeError as error:
        reason = str(error).strip().split("\n", 1)[0]
        raise ConfigError(
            f"compile = true needs a C++ compiler and Python's headers (g++, python3-dev): {reason}"
        ) from None
    for layer in decoder_layers(model):
        layer.compile(dynamic=False)
    if width is not None:
        _WIDTHS[model] = width


def compile_to_width(
    models: Iterable[PreTrainedModel], width: int, world: World, adapters: object | None
) -> None:
    """Compile models that all take rows filled to one width.

    Raises:
        ConfigError: there are several ranks or adapters, or torch cannot compile here.
    """
    if world.size > 1:
        raise ConfigError(ONE_PROCESS)
    if adapters is not None:
        raise ConfigError(
            "compile = true is for full models; set it to false, or leave out adapters"
        )
    for model in models:
        compile_layers(model, width)


def is_filled(model: PreTrainedModel) -> bool:
    """Whether the model takes packed rows of one width, or of some of it."""
    return model in _WIDTHS


def filled_width(model: PreTrainedModel, tokens: int) -> int:
    """To how many tokens a packed row of so many is filled: whole widths, or as it is where any shape will do."""
    return rounded_up(tokens, _WIDTHS.get(model, 1))


def eagerly(is_compiled: bool) -> contextlib.AbstractContextManager[object]:
    """Within the block nothing compiled runs, and nothing is compiled for shapes that come once."""
    return torch.compiler.set_stance("force_eager") if is_compiled else contextlib.nullcontext()
