"""Compiled decoder layers: asked for by a setting that the run records, never by what a machine has."""

from __future__ import annotations

import contextlib

import torch
from transformers import PreTrainedModel

from alignloop.errors import ConfigError
from alignloop.models.loading import decoder_layers


def compile_layers(model: PreTrainedModel) -> None:
    """Compile every decoder layer in place; what goes through them is the same but for rounding.

    Each shape is compiled for itself, so that a resumed run, which meets them in another order, runs the same code.
    The embedding stays as it is: compiled, several threads would add up its gradient in no fixed order.

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


def eagerly(is_compiled: bool) -> contextlib.AbstractContextManager[object]:
    """Within the block nothing compiled runs, and nothing is compiled for shapes that come once."""
    return torch.compiler.set_stance("force_eager") if is_compiled else contextlib.nullcontext()
