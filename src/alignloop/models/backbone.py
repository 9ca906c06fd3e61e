"""LoRA: several models as small adapters on one set of frozen weights (Hu et al. 2021, arXiv 2106.09685), by peft.

With full weights PPO holds four models. With adapters it holds one trunk: policy, reward model and value function are
an adapter each (the latter two with a head), and the reference is the trunk with no adapter at all.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from pathlib import Path
from typing import Any, Literal, cast

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from alignloop.errors import ModelError
from alignloop.files import sha256_of, write_json
from alignloop.models.adapters import AdaptersConfig
from alignloop.models.reward_model import ScalarModel

FOLDER = "adapter"
"""Where a model folder keeps the adapter that is merged into its weights: peft's two files, and the base's hash."""


class Backbone:
    """One set of frozen weights and the adapters on it; one adapter acts at a time."""

    def __init__(self, model: PreTrainedModel, sha256: str) -> None:
        self.model = model.requires_grad_(False).eval()
        self.sha256 = sha256
        """Of the weights without any adapter."""
        self._configs: dict[str, LoraConfig] = {}
        self._trainable: list[nn.Parameter] = []
        self._active: str | Literal[False] | None = False

    def add(self, name: str, config: AdaptersConfig, seed: int) -> None:
        """A new adapter that changes nothing yet: B is 0, A is drawn."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self._inject(
                name,
                LoraConfig(
                    r=config.rank, lora_alpha=cast(int, config.alpha), target_modules="all-linear"
                ),
            )

    def add_from(self, name: str, folder: Path) -> None:
        """The adapter that a model folder carries.

        Raises:
            ModelError: it carries none, or it belongs on other weights.
        """
        place = folder / FOLDER
        if not place.is_dir():
            raise ModelError(
                f"{folder} was trained with all its weights, so it cannot share this policy's; train it from the "
                "policy with --set adapters.kind=lora, or leave the adapters out"
            )
        base = json.loads((place / "base.json").read_text(encoding="utf-8"))["sha256"]
        if base != self.sha256:
            raise ModelError(
                f"{folder}: its adapter belongs on other weights than this policy's; models that share weights are "
                "trained from the same policy"
            )
        found = LoraConfig.from_pretrained(str(place))
        self._inject(name, cast(LoraConfig, found))
        saved = load_file(place / "adapter_model.safetensors")
        with torch.no_grad():
            for key, parameter in self.parameters_of(name).items():
                parameter.copy_(saved[_peft_key(key)])

    def copy(self, source: str, name: str) -> None:
        """A new adapter with the values of another one."""
        self._inject(name, self._configs[source])
        with torch.no_grad():
            for key, parameter in self.parameters_of(source).items():
                self.parameters_of(name)[key].copy_(parameter)

    def train(self, name: str) -> None:
        """Let an adapter's weights learn."""
        found = list(self.parameters_of(name).values())
        self._trainable += found
        for parameter in found:
            parameter.requires_grad_(True)

    def activate(self, name: str | None) -> None:
        """From here on the trunk has this adapter, or none."""
        if name == self._active:
            return
        for layer in self._layers().values():
            layer.set_adapter([] if name is None else [name], inference_mode=True)
        for parameter in self._trainable:  # peft freezes what is not active
            parameter.requires_grad_(True)
        self._active = name

    def parameters_of(self, name: str) -> dict[str, nn.Parameter]:
        """An adapter's weights by layer, as `layers.0.mlp.up_proj.lora_A`."""
        return {
            f"{place}.{half}": getattr(layer, half)[name].weight
            for place, layer in self._layers().items()
            for half in ("lora_A", "lora_B")
        }

    def merged(self, name: str) -> dict[str, Tensor]:
        """The whole model's weights with an adapter added in, under the names of a model without adapters."""
        state = {
            key.replace(".base_layer.", "."): value
            for key, value in self.model.state_dict().items()
            if ".lora_" not in key
        }
        prefix = self.model.base_model_prefix
        for place, layer in self._layers().items():
            key = f"{prefix}.{place}.weight"
            state[key] = state[key] + layer.get_delta_weight(name).to(state[key].dtype)
        return state

    def save_adapter(self, name: str, folder: Path) -> None:
        """Write an adapter as peft reads it, and the hash of the weights it belongs on."""
        place = folder / FOLDER
        place.mkdir()
        self._configs[name].save_pretrained(str(place))
        tensors = {
            _peft_key(key): parameter.detach().contiguous()
            for key, parameter in self.parameters_of(name).items()
        }
        save_file(tensors, place / "adapter_model.safetensors", metadata={"format": "pt"})
        write_json(place / "base.json", {"sha256": self.sha256})

    def _inject(self, name: str, config: LoraConfig) -> None:
        with warnings.catch_warnings():
            # peft warns of several adapters, which are meant, and of GPT-2's transposed layers, which it sets right.
            warnings.simplefilter("ignore", UserWarning)
            inject_adapter_in_model(config, self.model.base_model, name)
        self._configs[name] = config
        for parameter in self.parameters_of(name).values():
            parameter.requires_grad_(False)
        self._active = False

    def _layers(self) -> dict[str, Any]:
        modules = self.model.base_model.named_modules()
        return {place: module for place, module in modules if isinstance(module, LoraLayer)}


class AdaptedModel(nn.Module):
    """One role on a shared backbone, as its users see it: tokens in, hidden states out.

    Its parameters are those of its adapter and its head alone, so optimizer, average and checkpoint hold no more.
    """

    def __init__(
        self, backbone: Backbone, name: str | None, *, head: nn.Linear | None = None
    ) -> None:
        super().__init__()
        self._shared = (backbone,)  # a tuple: the backbone's weights are not this module's
        self.name = name
        # A new module counts as training; whoever restores that later would switch the trunk's dropout on.
        self.training = backbone.model.training
        self.config = backbone.model.config
        self.adapter = nn.ParameterDict()
        if name is not None:
            for key, parameter in backbone.parameters_of(name).items():
                self.adapter[key.replace(".", "/")] = parameter
        if head is not None:
            self.score = head

    @property
    def backbone(self) -> Backbone:
        """The weights that this role shares."""
        return self._shared[0]

    def base_model(self, **arguments: Any) -> Any:
        """The trunk with this role's adapter."""
        self.backbone.activate(self.name)
        return self.backbone.model.base_model(**arguments)

    def get_output_embeddings(self) -> nn.Module:
        """The unembedding, which every role shares."""
        return cast(nn.Module, self.backbone.model.get_output_embeddings())

    def get_input_embeddings(self) -> nn.Module:
        """The embedding, which every role shares."""
        return self.backbone.model.get_input_embeddings()

    def to(self, *arguments: Any, **options: Any) -> AdaptedModel:
        """Move the shared weights, and with them this role's own."""
        self.backbone.model.to(*arguments, **options)
        return super().to(*arguments, **options)

    def train(self, mode: bool = True) -> AdaptedModel:
        """Training mode acts on the shared trunk as well: that is where dropout is."""
        self.backbone.model.train(mode)
        return super().train(mode)

    def save_pretrained(self, folder: str, **_: Any) -> None:
        """Write the model with its adapter merged in, so that any tool opens it; and the adapter beside it."""
        assert self.name is not None
        model = self.backbone.model
        model.save_pretrained(folder, state_dict=self.backbone.merged(self.name))
        self.backbone.save_adapter(self.name, Path(folder))


def adapted(
    model: PreTrainedModel, folder: Path, config: AdaptersConfig, name: str, seed: int
) -> PreTrainedModel:
    """A model of which a new adapter learns, and its scalar head if it has one.

    Args:
        folder: where the model's weights came from.
    """
    backbone = Backbone(model, weights_sha256(folder))
    backbone.add(name, config, seed)
    backbone.train(name)
    head = getattr(model, "score", None)
    if isinstance(head, nn.Linear):
        head.requires_grad_(True)
        return cast(PreTrainedModel, AdaptedModel(backbone, name, head=head))
    return cast(PreTrainedModel, AdaptedModel(backbone, name))


def whole_model(model: PreTrainedModel) -> PreTrainedModel:
    """The model whose modules act: the backbone's for a role on one, else the model itself."""
    return model.backbone.model if isinstance(model, AdaptedModel) else model


def scorer_on(backbone: Backbone, name: str, folder: Path) -> ScalarModel:
    """A reward model whose adapter and head come from a folder, on a backbone that is there already.

    Raises:
        ModelError: see `Backbone.add_from`.
    """
    backbone.add_from(name, folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    weight = _head_weight(folder)
    head = nn.Linear(weight.shape[1], 1, bias=False)
    scorer = ScalarModel(cast(PreTrainedModel, AdaptedModel(backbone, name, head=head)))
    with torch.no_grad():
        head.weight.copy_(weight)
        scorer.bias.fill_(float(config.get("reward_bias") or 0.0))
    return scorer


def value_on(backbone: Backbone, scorer: ScalarModel) -> ScalarModel:
    """A value function that starts as a copy of a reward model on the same backbone, and learns."""
    source = cast(AdaptedModel, scorer.model)
    assert source.name is not None
    backbone.copy(source.name, "value")
    backbone.train("value")
    head = nn.Linear(source.score.in_features, 1, bias=False)
    critic = ScalarModel(cast(PreTrainedModel, AdaptedModel(backbone, "value", head=head)))
    with torch.no_grad():
        head.weight.copy_(source.score.weight)
        critic.bias.copy_(scorer.bias)
    return critic


def _head_weight(folder: Path) -> Tensor:
    """The scalar head alone, without reading the rest of a model."""
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            for key in ("score.weight", "classifier.weight"):
                if key in file.keys():  # noqa: SIM118  (no mapping: it has no `in`)
                    return file.get_tensor(key)
    raise ModelError(f"{folder}: no scalar head there; a reward model is needed")


def weights_sha256(folder: Path) -> str:
    """One hash for the weight files of a model folder."""
    hashes = [sha256_of(path) for path in sorted(folder.glob("*.safetensors"))]
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def _peft_key(key: str) -> str:
    return f"base_model.model.{key}.weight"
