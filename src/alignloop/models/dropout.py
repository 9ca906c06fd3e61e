"""Residual dropout: on the outputs of attention and MLP before they are added to the residual stream.

The paper's SFT uses 0.2. GPT-2 has it built in; Llama and its kin have none, so it is added there by hooks, or the
setting is refused: it is never accepted and then ignored [SFT-04].
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch.nn.functional as F
from torch import nn
from transformers import PreTrainedModel

from alignloop.errors import ModelError
from alignloop.models.loading import branches_of, decoder_layers


@contextmanager
def residual_dropout(model: PreTrainedModel, rate: float) -> Iterator[None]:
    """Within the block, `model.train()` drops residual contributions at `rate`; nothing is saved with the model.

    Raises:
        ModelError: the rate is above 0 and the architecture's residual branches are not known.
    """
    # Dropout that the architecture brings along is set as well: what acts is what the config says.
    own = [(module, module.p) for module in model.modules() if isinstance(module, nn.Dropout)]
    # Others are numbers on a module, used by its forward: `attention_dropout` in Llama, `dropout` in OPT.
    modules: list[Any] = list(model.modules())
    numbers = [
        (module, name, value)
        for module in modules
        for name, value in vars(module).items()
        if "drop" in name and isinstance(value, float)
    ]
    for module, _ in own:
        module.p = 0.0
    for module, name, _ in numbers:
        setattr(module, name, 0.0)
    if rate == 0.0:
        handles = []
    else:
        handles = [branch.register_forward_hook(_drop(rate)) for branch in _branches(model)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        for module, p in own:
            module.p = p
        for module, name, value in numbers:
            setattr(module, name, value)


def _branches(model: PreTrainedModel) -> list[nn.Module]:
    """The attention and MLP module of every decoder layer."""
    found = [branch for layer in decoder_layers(model) for branch in branches_of(layer)]
    if not found:
        raise ModelError(
            f"{type(model).__name__}: residual_dropout cannot act on this architecture; set residual_dropout = 0"
        )
    return found


def _drop(rate: float) -> Any:
    def hook(module: nn.Module, _inputs: Any, output: Any) -> Any:
        if not module.training:
            return None
        if isinstance(output, tuple):
            return (F.dropout(output[0], rate), *output[1:])
        return F.dropout(output, rate)

    return hook
