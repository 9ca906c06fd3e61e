"""What PPO holds in memory: four models, the average of the policy's weights, two optimizers, one coefficient."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import cast

import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from alignloop.data.batches import PackedText
from alignloop.data.formatter import Formatter
from alignloop.distributed import World
from alignloop.errors import ConfigError
from alignloop.generation.engine import Engine
from alignloop.generation.native import NativeEngine
from alignloop.models.backbone import AdaptedModel, Backbone, value_on, weights_sha256
from alignloop.models.compilation import compile_to_width
from alignloop.models.loading import (
    check_tokenizer,
    context_length,
    load_causal_lm,
    load_tokenizer,
    output_weight,
    save_model,
    sharded,
)
from alignloop.models.reward_model import ScalarModel, ValueHead
from alignloop.ppo.config import PPOConfig
from alignloop.ppo.rewards import Reward, RewardModels
from alignloop.seeds import derive_seed
from alignloop.training.ema import EMA
from alignloop.training.optimizer import OptimizerConfig, make_optimizer
from alignloop.training.state import load_state, save_state


@dataclass
class Learner:
    """The models and everything else that training changes. `alignloop.ppo.steps` acts on it.

    All models stay in evaluation mode: dropout would make the ratio differ from 1 before any update [PPO-06].
    """

    config: PPOConfig
    tokenizer: PreTrainedTokenizerFast
    formatter: Formatter
    actor: PreTrainedModel
    """The policy that learns."""
    reference: PreTrainedModel
    """The policy as it started, or another one to stay near; frozen."""
    critic: ScalarModel | ValueHead
    reward: Reward
    engine: Engine
    """Draws from the actor. Put another in its place if you have one: what it draws is read again by the actor."""
    ema: EMA
    optimizers: dict[str, torch.optim.Optimizer]
    """`policy`, and `value` where the value function is a network of its own."""
    packed: PackedText | None
    """Pretraining text, where ptx_coef > 0."""
    context: int
    """Tokens that every model can read."""
    kl_coef: float
    world: World = field(default_factory=World)

    @classmethod
    def open(
        cls,
        config: PPOConfig,
        policy: Path,
        reward: Reward,
        *,
        value_start: Path | ScalarModel | None = None,
        reference: Path | None = None,
        backbone: Backbone | None = None,
        packed: PackedText | None = None,
        world: World | None = None,
    ) -> Learner:
        """Read the models.

        Args:
            policy: model folder of the policy to start from.
            reference: model folder of what the policy is to stay near; the policy as it starts where absent [PPO-16].
            value_start: the reward model that a separate value function starts from: its model folder, or, with
                adapters, the model itself.
            backbone: the policy's weights, shared by all roles, where the config asks for adapters.
            packed: pretraining text, needed by the time of an update where ptx_coef > 0.

        Raises:
            ConfigError: the config asks for a value function from a reward model, and there is none; or for adapters,
                beside a reference.
            ModelError: a folder holds no such model.
        """
        world = world or World()
        tokenizer = load_tokenizer(policy)
        actor, frozen = (
            sharded(model, world) for model in _policies(config, policy, reference, backbone)
        )
        check_tokenizer(policy, actor, tokenizer)
        critic = _value_function(config, policy, actor, value_start, backbone)
        own = [critic.model] if isinstance(critic, ScalarModel) else []
        if config.compile:
            models = [actor, frozen, *own]
            compile_to_width(models, config.micro_batch_tokens, world, config.adapters)
        for model in own:
            sharded(model, world)
        context = min(context_length(actor), context_length(frozen))
        if isinstance(critic, ScalarModel):
            context = min(context, context_length(critic.model))
        if isinstance(reward, RewardModels):
            context = min(context, reward.context)
        formatter = Formatter.of(tokenizer)
        return cls(
            config=config,
            tokenizer=tokenizer,
            formatter=formatter,
            actor=actor,
            reference=frozen,
            critic=critic,
            reward=reward,
            engine=NativeEngine(
                actor,
                formatter.end,
                precision=config.rollout_precision,
                is_compiled=config.compile,
            ),
            ema=EMA(actor, config.ema_decay),
            optimizers=_optimizers(config, actor, critic),
            packed=packed,
            context=context,
            kl_coef=config.kl_coef,
            world=world,
        )

    @property
    def trusts_its_engine(self) -> bool:
        """Whether the log-probabilities that it drew with are the updates' own, as tests hold for ours [PPO-04]."""
        return self.config.draws_as_it_learns and isinstance(self.engine, NativeEngine)

    def save(self, folder: Path) -> None:
        """Write what `load` reads."""
        save_state(
            folder,
            models={"policy": self.actor, "value": self.critic},
            optimizers=self.optimizers,
            tensors={"ema": self.ema.weights},
            values={"kl_coef": self.kl_coef},
            world=self.world,
        )

    def load(self, folder: Path) -> None:
        """Go on from a checkpoint.

        Raises:
            RunError: it is damaged, or of other models.
        """
        models = {"policy": self.actor, "value": self.critic}
        tensors, values = load_state(folder, models, self.optimizers, self.world)
        self.ema.load(tensors["ema"])
        self.kl_coef = values["kl_coef"]

    @contextmanager
    def exported(self) -> Iterator[Callable[[Path], None]]:
        """Within the block every rank has whole weights to export, averaged or raw; gives what writes them."""
        with ExitStack() as stack:
            if self.config.export == "ema":
                stack.enter_context(self.ema.applied_to(self.actor))
            stack.enter_context(self.world.gathered(self.actor))
            yield partial(save_model, self.actor, self.tokenizer)

    def export(self, folder: Path) -> None:
        """Write the policy: the average of its weights, or they as they are, as the config says."""
        with self.exported() as write:
            if self.world.is_main:
                write(folder)


def open_backbone(config: PPOConfig, policy: Path) -> Backbone | None:
    """The policy's weights, for all roles to share, where the config asks for adapters."""
    if config.adapters is None:
        return None
    return Backbone(load_causal_lm(policy), weights_sha256(policy))


def _policies(
    config: PPOConfig, policy: Path, reference: Path | None, backbone: Backbone | None
) -> tuple[PreTrainedModel, PreTrainedModel]:
    """(the policy that learns, the reference)."""
    if backbone is None or config.adapters is None:
        return load_causal_lm(policy), load_causal_lm(reference or policy).requires_grad_(False)
    if reference is not None:
        raise ConfigError(
            "with adapters the reference is the policy's weights without one: leave out --reference, or adapters"
        )
    backbone.add("policy", config.adapters, derive_seed(config.seed, "adapter"))
    backbone.train("policy")
    roles = AdaptedModel(backbone, "policy"), AdaptedModel(backbone, None)
    return cast(tuple[PreTrainedModel, PreTrainedModel], roles)


def _value_function(
    config: PPOConfig,
    policy: Path,
    actor: PreTrainedModel,
    value_start: Path | ScalarModel | None,
    backbone: Backbone | None,
) -> ScalarModel | ValueHead:
    if config.value_network == "shared":
        return ValueHead(actor)
    if config.value_start == "policy":
        critic = _on_policys_trunk(config, policy, backbone)
        critic.zero_head()
        return critic
    if value_start is None:
        raise ConfigError(
            "value_start = 'reward_model' needs a reward model (--reward-model); without one set "
            "value_start = 'policy', which begins with the policy's trunk and values of 0"
        )
    if isinstance(value_start, ScalarModel):
        assert backbone is not None
        return value_on(backbone, value_start)
    return ScalarModel.load(value_start)


def _on_policys_trunk(config: PPOConfig, policy: Path, backbone: Backbone | None) -> ScalarModel:
    if backbone is None or config.adapters is None:
        return ScalarModel.load(policy)
    backbone.add("value", config.adapters, derive_seed(config.seed, "value adapter"))
    backbone.train("value")
    head = nn.Linear(output_weight(backbone.model).shape[1], 1, bias=False)
    return ScalarModel(cast(PreTrainedModel, AdaptedModel(backbone, "value", head=head)))


def _optimizers(
    config: PPOConfig, actor: PreTrainedModel, critic: ScalarModel | ValueHead
) -> dict[str, torch.optim.Optimizer]:
    if isinstance(critic, ValueHead):
        both = nn.ModuleList([actor, critic])
        return {"policy": make_optimizer(both, with_warmup(config.policy_optimizer, config))}
    return {
        "policy": make_optimizer(actor, with_warmup(config.policy_optimizer, config)),
        "value": make_optimizer(critic, with_warmup(config.value_optimizer, config)),
    }


def with_warmup(optimizer: OptimizerConfig, config: PPOConfig) -> OptimizerConfig:
    """The optimizer's settings with the run's warm-up, which is counted in iterations."""
    steps = config.warmup_iterations * config.updates_per_iteration
    return optimizer.model_copy(update={"warmup_steps": steps})
