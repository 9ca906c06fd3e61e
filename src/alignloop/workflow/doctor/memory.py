"""How much memory a stage takes at its peak: counted from a model's config, with the activations of a layer measured.

Weights, gradients, Adam's moments and the average are float32 whatever the precision, which is that of matrix products.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.pytorch_utils import Conv1D

from alignloop.config import Precision
from alignloop.generation import llama
from alignloop.models.adapters import AdaptersConfig
from alignloop.models.backbone import AdaptedModel, Backbone
from alignloop.models.loading import backbone_of
from alignloop.ppo.config import PPOConfig
from alignloop.tensors import CHUNK_POSITIONS, KEPT_VOCABULARY
from alignloop.training.step import autocast
from alignloop.workflow.doctor.findings import Finding, finding

GIB = 2**30
_SHORT, _LONG = 32, 64
"""Tokens of the two rows on which activations are measured: the slope is what a token takes."""
_FLOAT = 4


@dataclass(frozen=True, slots=True)
class Shape:
    """What of a model decides its memory."""

    parameters: int
    copied: int
    """Parameters of the layers, which the quick decoder copies; 0 where it does not take the model."""
    vocabulary: int
    kv_width: int
    """Numbers that the sampler keeps per token: keys and values of all layers."""
    adapter: int
    """Parameters of one adapter; 0 without."""
    token: float
    """Bytes per token that a training pass keeps for its gradient, logits aside."""
    casts: float
    """Bytes that it keeps whatever its tokens: weights in bfloat16."""

    @property
    def learned(self) -> int:
        """Parameters that get a gradient."""
        return self.adapter or self.parameters


@dataclass(frozen=True, slots=True)
class Estimate:
    """Bytes by purpose."""

    standing: dict[str, float]
    """There all the time."""
    phases: dict[str, float]
    """Beside that, one after another."""

    @property
    def peak(self) -> float:
        """What stands, and the largest phase."""
        return sum(self.standing.values()) + max(self.phases.values())

    @property
    def line(self) -> str:
        """The estimate in GiB, largest phase included."""
        largest = max(self.phases, key=lambda name: self.phases[name])
        parts = {**self.standing, largest: self.phases[largest]}
        told = ", ".join(f"{name} {size / GIB:.2g}" for name, size in parts.items())
        return f"about {self.peak / GIB:.2g} GiB at the peak ({told})"


def shape_of(config: Any, precision: Precision, adapters: AdaptersConfig | None) -> Shape:
    """The shape of a causal language model, from its transformers config alone."""
    config = config.get_text_config()
    with torch.device("meta"):
        model = cast(PreTrainedModel, AutoModelForCausalLM.from_config(config))
    embedding = cast(Tensor, cast(nn.Module, model.get_input_embeddings()).weight)
    layers, heads = config.num_hidden_layers, config.num_attention_heads
    kv_heads = getattr(config, "num_key_value_heads", None) or heads
    width = getattr(config, "head_dim", None) or config.hidden_size // heads
    (token, casts), (tokens, more_casts) = (
        _kept(_shrunk(config, count), precision, adapters) for count in (1, 2)
    )
    trunk = sum(p.numel() for p in model.base_model.parameters())
    return Shape(
        parameters=sum(p.numel() for p in model.parameters()),
        copied=trunk - embedding.numel() if llama.supports(model) else 0,
        vocabulary=config.vocab_size,
        kv_width=2 * layers * kv_heads * width,
        adapter=0 if adapters is None else _adapter_size(model, adapters.rank),
        token=token + (layers - 1) * (tokens - token),
        casts=casts + (layers - 1) * (more_casts - casts),
    )


def _adapter_size(model: PreTrainedModel, rank: int) -> int:
    return sum(
        rank * sum(cast(Tensor, module.weight).shape)
        for module in model.base_model.modules()
        if isinstance(module, nn.Linear | Conv1D)
    )


def _shrunk(config: Any, layers: int) -> PreTrainedModel:
    """The same architecture and width with few layers and few tokens."""
    config = copy.deepcopy(config)
    config.num_hidden_layers, config.vocab_size = layers, 16
    config.bos_token_id = config.eos_token_id = config.pad_token_id = None
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[:layers]
    with torch.random.fork_rng(devices=[]):
        return cast(PreTrainedModel, AutoModelForCausalLM.from_config(config)).eval()


def _kept(
    model: PreTrainedModel, precision: Precision, adapters: AdaptersConfig | None
) -> tuple[float, float]:
    """(bytes per token, bytes whatever the tokens) that a pass keeps for its gradient, weights aside."""
    if adapters is not None:
        backbone = Backbone(model, "")
        backbone.add("adapter", adapters, seed=1)
        backbone.train("adapter")
        model = cast(PreTrainedModel, AdaptedModel(backbone, "adapter"))
    short, long = (_kept_by(model, precision, tokens) for tokens in (_SHORT, _LONG))
    token = (long - short) / (_LONG - _SHORT)
    return token, short - token * _SHORT


def _kept_by(model: PreTrainedModel, precision: Precision, tokens: int) -> int:
    whole = model.backbone.model if isinstance(model, AdaptedModel) else model
    weights = {p.untyped_storage().data_ptr() for p in whole.parameters()}
    storages: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    row = torch.zeros(1, tokens, dtype=torch.long)
    with torch.autograd.graph.saved_tensors_hooks(note, lambda t: t), autocast(precision):
        hidden = backbone_of(model)(input_ids=row, use_cache=False).last_hidden_state
        del hidden
    return sum(storages.values())


def ppo_memory(
    config: PPOConfig,
    policy: Shape,
    judges: Sequence[Shape],
    context: int,
    reference: Shape | None = None,
) -> Estimate:
    """PPO's peak in one process.

    Args:
        judges: shapes of all reward models; a value function may be a copy of the first.
        context: longest prompt and answer together.
        reference: of the policy's own shape where absent.
    """
    critic = judges[0] if judges and config.value_start == "reward_model" else policy
    separate = config.value_network == "separate"
    value = critic.learned if separate else 0
    if config.adapters is not None:
        weights = policy.parameters + policy.adapter * (1 + len(judges)) + value
    else:
        frozen = [reference or policy, *judges]
        weights = policy.parameters + sum(one.parameters for one in frozen) + value
    learned, tokens = policy.learned * _FLOAT, config.micro_batch_tokens
    answered = min(config.sampling.max_new_tokens / context, 1.0) * tokens
    update = learned + _kept_in_pass(policy, tokens) + logits(policy, answered)
    rows = min(config.batch_size, config.sampling.batch_rows)
    phases = {
        "sampling": sampling_memory(config.rollout_precision, policy, context, rows),
        "policy update": update,
    }
    if separate:
        phases["value update"] = value * _FLOAT + _kept_in_pass(critic, tokens)
    if config.ptx_coef > 0:
        # PPO's gradient is set aside, so that what ptx adds can be told apart.
        adding = 2 * learned + _kept_in_pass(policy, tokens) + logits(policy, tokens)
        phases["pretraining gradient"] = adding
    return Estimate(
        {
            "weights": weights * _FLOAT,
            "optimizers": 2 * (learned + value * _FLOAT),
            "average": learned,
        },
        phases,
    )


def training_memory(shape: Shape, tokens: int, *, has_logits: bool) -> Estimate:
    """SFT's peak, or with no logits the reward model's.

    Args:
        tokens: of the largest micro-batch, padding included.
    """
    learned = shape.learned * _FLOAT
    update = _kept_in_pass(shape, tokens) + (logits(shape, tokens) if has_logits else 0)
    return Estimate(
        {"weights": (shape.parameters + shape.adapter) * _FLOAT, "optimizer": 2 * learned},
        {"update": learned + update},
    )


def sampling_memory(precision: Precision, shape: Shape, context: int, rows: int) -> float:
    """What drawing takes beside the weights: the decoder's copy, keys and values, logits and their weights."""
    size = 2 if precision == "bfloat16" else _FLOAT
    # In bfloat16 the embedding is copied too.
    copied = size * (shape.copied if size == _FLOAT else min(shape.parameters, 2 * shape.copied))
    cache = rows * context * shape.kv_width * size
    return copied + cache + rows * shape.vocabulary * 3 * _FLOAT


def logits(shape: Shape, positions: float) -> float:
    """Log-probabilities are kept for the gradient, or made again; a chunk's logits and gradient come and go beside."""
    chunk = min(positions, CHUNK_POSITIONS)
    kept = positions if shape.vocabulary <= KEPT_VOCABULARY else chunk
    return (kept + 2 * chunk) * shape.vocabulary * _FLOAT


def _kept_in_pass(shape: Shape, tokens: int) -> float:
    return shape.casts + shape.token * tokens


def free_memory() -> float:
    """Bytes that are free where models are put: the GPU's where torch's default device is one, else the machine's."""
    if torch.get_default_device().type == "cuda":
        return float(torch.cuda.mem_get_info()[0])
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    return 1024.0 * int(line.split()[1])
    except OSError:
        pass
    return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


def memory_suffices(
    config: PPOConfig, policy: Any, reference: Any, judges: Sequence[Any], context: int, free: float
) -> Finding:
    """The run's peak against what was free before anything was loaded.

    Args:
        policy, reference, judges: transformers configs; of the reward models held-out ones last.
    """
    shape, near, *judged = (
        shape_of(one, config.precision, config.adapters) for one in (policy, reference, *judges)
    )
    estimate = ppo_memory(config, shape, judged, context, near)
    return finding(
        "memory suffices",
        estimate.peak <= free,
        f"{estimate.line}, {free / GIB:.2g} free",
        "lower micro_batch_tokens or sampling.batch_rows, or set adapters.kind = 'lora'",
        otherwise="look",
    )
