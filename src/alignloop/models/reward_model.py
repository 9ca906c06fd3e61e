"""The reward model and the value function: a language model's trunk with one scalar instead of the unembedding."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from alignloop.data.batches import Forest, Ragged, read_together
from alignloop.data.formatter import Formatter
from alignloop.data.records import Prompt
from alignloop.errors import DataError
from alignloop.models.loading import (
    context_length,
    load_scalar_model,
    output_weight,
    scalar_head,
)
from alignloop.models.packing import forest_hidden_states
from alignloop.models.policy import hidden_states
from alignloop.tensors import generator


class ScalarModel(nn.Module):
    """A trunk, a linear head to one number, and the bias that makes demonstrations score 0 on average.

    `model` is a transformers sequence-classification model with one label; the bias is kept beside it, because that
    head has none, and is saved as `config.reward_bias`: logits + bias = score.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model
        bias = float(getattr(model.config, "reward_bias", None) or 0.0)
        self.bias = nn.Parameter(torch.tensor(bias))

    @classmethod
    def load(cls, folder: Path) -> ScalarModel:
        """Read a reward model, or a language model to become one.

        Raises:
            ModelError: the folder holds neither.
        """
        return cls(load_scalar_model(folder))

    def new_head(self, seed: int) -> None:
        """Draw the head from N(0, 1/(d + 1)), standard deviation 1/sqrt(d + 1) [RM-03], and set the bias to 0."""
        head = scalar_head(self.model)
        drawn = torch.randn(head.weight.shape, generator=generator(seed), device="cpu")
        with torch.no_grad():
            head.weight.copy_(drawn / math.sqrt(head.in_features + 1))
            self.bias.zero_()

    def zero_head(self) -> None:
        """Set head and bias to 0: every state is worth nothing until it is learned."""
        with torch.no_grad():
            scalar_head(self.model).weight.zero_()
            self.bias.zero_()

    def scores(self, batch: Ragged) -> Tensor:
        """[B]: the scalar at each row's last real token (EOS, or the token where it was cut), bias included."""
        last = batch.lengths - 1
        rows = torch.arange(len(last))
        return self._scalar(self._hidden(batch)[rows, last])

    def scores_of_all(self, forest: Forest) -> Tensor:
        """[C]: `scores` of every response of a forest; as for a row of its own, but for rounding."""
        hidden = forest_hidden_states(self.model, forest)
        return self._scalar(hidden[0, forest.last_position])

    @property
    def trunk(self) -> PreTrainedModel:
        """The model that it reads states with."""
        return self.model

    def values(self, batch: Ragged) -> Tensor:
        """[B, T]: at response token t the value of the state before it, read one token earlier; zeros elsewhere."""
        return _before_each_response_token(self._hidden(batch), batch, self._scalar)

    def save_bias(self) -> None:
        """Write the bias into the model's config, where an export carries it."""
        self.model.config.reward_bias = float(self.bias.detach())

    def _hidden(self, batch: Ragged) -> Tensor:
        return hidden_states(self.model, batch)

    def _scalar(self, hidden: Tensor) -> Tensor:
        with torch.autocast(hidden.device.type, enabled=False):
            return scalar_head(self.model)(hidden.float())[..., 0] + self.bias


class ValueHead(nn.Module):
    """A value function on the policy's own trunk, 0 at first, as in Ziegler et al. 2019 [PPO-14].

    The trunk belongs to the policy: neither state nor parameters of this module include it.
    """

    def __init__(self, policy: PreTrainedModel) -> None:
        super().__init__()
        width = output_weight(policy).shape[1]
        self.head = nn.Linear(width, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self._policy = (policy,)  # a tuple, so that it does not become a submodule

    @property
    def trunk(self) -> PreTrainedModel:
        """The policy's."""
        return self._policy[0]

    def values(self, batch: Ragged) -> Tensor:
        """[B, T], as `ScalarModel.values`."""
        return self.values_of(hidden_states(self.trunk, batch), batch)

    def values_of(self, hidden: Tensor, batch: Ragged) -> Tensor:
        """`values` from the trunk's hidden states [B, T, D]."""
        return _before_each_response_token(hidden, batch, self._scalar)

    def _scalar(self, hidden: Tensor) -> Tensor:
        with torch.autocast(hidden.device.type, enabled=False):
            return self.head(hidden.float())[..., 0]


def _before_each_response_token(
    hidden: Tensor, batch: Ragged, scalar: Callable[[Tensor], Tensor]
) -> Tensor:
    row, position = batch.is_response().nonzero(as_tuple=True)
    values = scalar(hidden[row, position - 1])
    return values.new_zeros(batch.tokens.shape).index_put((row, position), values)


@torch.no_grad()
def reward_scores(
    scorer: ScalarModel,
    formatter: Formatter,
    prompts: Sequence[Prompt],
    responses: Sequence[Sequence[int]],
) -> list[float]:
    """Reward-model score of each (prompt, response tokens); equal prompts are read together.

    Raises:
        DataError: one of them does not fit the reward model's context.
    """
    encoded = formatter.prompts(prompts)
    longest = max((len(p) + len(r) for p, r in zip(encoded, responses, strict=True)), default=0)
    if longest > context_length(scorer.model):
        raise DataError(
            f"a prompt and its answer have {longest} tokens; the reward model's context is "
            f"{context_length(scorer.model)}"
        )
    return read_together(encoded, responses, scorer.scores_of_all)
