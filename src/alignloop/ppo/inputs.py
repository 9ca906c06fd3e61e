"""Everything that a PPO run is given, opened, checked and recorded before anything is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, NotRequired, TypedDict

from alignloop.data.batches import PackedText
from alignloop.data.jsonl import read_records
from alignloop.data.records import Prompt
from alignloop.distributed import World
from alignloop.errors import ConfigError
from alignloop.judges.gold import Gold
from alignloop.judges.lexicon import Lexicon
from alignloop.models.backbone import Backbone, scorer_on
from alignloop.models.compilation import compile_to_width
from alignloop.models.loading import check_same_tokens, context_length, sharded
from alignloop.models.reward_model import ScalarModel
from alignloop.ppo.config import PPOConfig
from alignloop.ppo.learner import Learner, open_backbone
from alignloop.ppo.prompts import kind_with_prompts, prompts_in, refuse_labelers, without
from alignloop.ppo.rewards import (
    FunctionReward,
    PersonReward,
    Reward,
    RewardModels,
    load_function,
)
from alignloop.progress import say
from alignloop.runs.artifact import Artifact
from alignloop.runs.run import Run
from alignloop.seeds import derive_seed
from alignloop.training.pretraining_text import open_pretraining_text


class PPOInputs(TypedDict):
    """What `alignloop ppo` takes beside its config.

    The score comes from the reward models, or from a Python function, or from a person at the terminal. Held-out
    reward model and gold judge are logged, and never learned from.
    """

    policy: Path
    """The `policy` to start from."""
    prompts: Path
    """A `prompts` artefact; its `rl` file is asked."""
    reward_model: NotRequired[Path | None]
    """What the value function starts from as well."""
    more_reward_models: NotRequired[Sequence[Path]]
    reward_function: NotRequired[str | None]
    """`FILE.py:NAME` or `package.module:NAME`."""
    ask_person: NotRequired[bool]
    heldout_reward_model: NotRequired[Path | None]
    gold: NotRequired[Path | None]
    """A `lexicon` artefact."""
    reference: NotRequired[Path | None]
    """A `policy` to stay near; where absent it is the policy as it starts, as in the paper [PPO-16]."""
    exclude_prompts_from: NotRequired[Sequence[Path]]
    """Artefacts of earlier stages whose prompts are not to be asked."""
    text: NotRequired[Path | None]
    """A `pretraining-text` artefact, for PPO-ptx."""


class Opened(NamedTuple):
    """What a run works with."""

    learner: Learner
    prompts: list[Prompt]
    """Those that are asked."""
    overlap: dict[str, int]
    """How many prompts each excluded artefact had."""
    watched: dict[str, Reward]
    """Logged beside the reward, by metric."""


def open_inputs(config: PPOConfig, run: Run, world: World, given: PPOInputs) -> Opened:
    """Open and record them all.

    Raises:
        AlignloopError: one cannot be used, or they do not fit one another.
    """
    start = run.input("policy", given["policy"], "policy").path
    near = None
    if reference := given.get("reference"):
        near = run.input("reference", reference, "policy").path
        check_same_tokens(start, near)
    backbone = open_backbone(config, start)
    several = given.get("more_reward_models", ())
    models = _reward_models(config, run, start, given.get("reward_model"), several, backbone, world)
    asked = run.input("prompts", given["prompts"], "prompts")
    function, is_person = given.get("reward_function"), given.get("ask_person", False)
    reward = _reward(config, run, models, function, is_person, world)
    heldout, gold = given.get("heldout_reward_model"), given.get("gold")
    watched = _watched(config, run, start, heldout, gold, backbone, world)
    learner = Learner.open(
        config,
        start,
        reward,
        value_start=(models[0][0] if backbone is None else models[0][1]) if models else None,
        reference=near,
        backbone=backbone,
        world=world,
    )
    for judge in watched.values():
        if isinstance(judge, RewardModels):
            learner.context = min(learner.context, judge.context)
    exclude = given.get("exclude_prompts_from", ())
    prompts, overlap = _prompts(config, run, asked, exclude)
    if world.is_main:
        for path, count in zip(exclude, overlap.values(), strict=True):
            say(f"left out: {count} prompts that {path} has; {len(prompts)} to ask")
    learner.formatter.prompts_with_room(prompts, config.sampling.max_new_tokens, learner.context)
    learner.packed = _pretraining_text(config, run, given.get("text"), learner)
    return Opened(learner, prompts, overlap, watched)


def _reward_models(
    config: PPOConfig,
    run: Run,
    policy: Path,
    first: Path | None,
    more: Sequence[Path],
    backbone: Backbone | None,
    world: World,
) -> list[tuple[Path, ScalarModel]]:
    """Every reward model and its folder; the first is also what the value function starts from."""
    given = {"reward_model": first} if first is not None else {}
    given |= {f"reward_model-{n}": path for n, path in enumerate(more, start=2)}
    opened = {role: run.input(role, path, "reward-model").path for role, path in given.items()}
    check_same_tokens(policy, *opened.values())
    return [(path, frozen(config, path, role, backbone, world)) for role, path in opened.items()]


def frozen(
    config: PPOConfig, path: Path, role: str, backbone: Backbone | None, world: World
) -> ScalarModel:
    """A reward model that does not learn: one of its own, or, with adapters, a role on the backbone."""
    scorer = ScalarModel.load(path) if backbone is None else scorer_on(backbone, role, path)
    scorer.requires_grad_(False)
    if config.compile:
        compile_to_width([scorer.model], config.micro_batch_tokens, world, config.adapters)
    sharded(scorer.model, world)
    return scorer


def _reward(
    config: PPOConfig,
    run: Run,
    models: Sequence[tuple[Path, ScalarModel]],
    function: str | None,
    ask_person: bool,
    world: World,
) -> Reward:
    """The one source of the score.

    Raises:
        ConfigError: there is none, or more than one; or a person would keep several ranks waiting.
    """
    if (function is not None) + ask_person > 1 or not (models or function or ask_person):
        raise ConfigError(
            "the score comes from --reward-model, --reward-function or --ask-person: give one of them "
            "(a reward model beside one of the others starts the value function)"
        )
    if function is not None:
        loaded, file = load_function(function)
        run.input_file("reward_function", file)
        return FunctionReward(loaded, function, world)
    if ask_person:
        if world.size > 1:
            raise ConfigError("--ask-person works in one process: start it without torchrun")
        return PersonReward(run.folder / "judgments.jsonl")
    members = [member for _, member in models]
    return RewardModels(
        members, config.micro_batch_tokens, config.reward_combine, config.precision, world
    )


def _watched(
    config: PPOConfig,
    run: Run,
    policy: Path,
    heldout: Path | None,
    gold: Path | None,
    backbone: Backbone | None,
    world: World,
) -> dict[str, Reward]:
    """What is logged beside the reward, by metric."""
    found: dict[str, Reward] = {}
    if heldout is not None:
        role = "heldout_reward_model"
        opened = run.input(role, heldout, "reward-model")
        check_same_tokens(policy, opened.path)
        members = [frozen(config, opened.path, role, backbone, world)]
        found["heldout_score"] = RewardModels(
            members, config.micro_batch_tokens, precision=config.precision, world=world
        )
    if gold is not None:
        lexicon = run.input("gold", gold, "lexicon").file("lexicon.json.gz")
        judge = Gold(Lexicon.load(lexicon))

        def utilities(prompts: Sequence[Prompt], texts: Sequence[str]) -> list[float]:
            return [judge.utility(p, text) for p, text in zip(prompts, texts, strict=True)]

        found["gold_score"] = FunctionReward(utilities, judge.name, world)
    return found


def _prompts(
    config: PPOConfig, run: Run, asked: Artifact, exclude: Sequence[Path]
) -> tuple[list[Prompt], dict[str, int]]:
    """The prompts to ask, and how many each excluded artefact had of them."""
    records = read_records(asked.file("rl.jsonl.gz"), Prompt)
    if not config.allow_labeler_prompts:
        refuse_labelers(records)
    earlier: dict[str, list[Prompt]] = {}
    for number, path in enumerate(exclude, start=1):
        role = f"exclude_prompts_from-{number}"
        earlier[role] = prompts_in(run.input(role, path, kind_with_prompts(path)))
    return without(records, earlier) if earlier else (records, {})


def _pretraining_text(
    config: PPOConfig, run: Run, text: Path | None, learner: Learner
) -> PackedText | None:
    if config.ptx_coef == 0:
        return None
    read = open_pretraining_text(
        run,
        text,
        learner.tokenizer,
        needed_by="ptx_coef",
        width_field="ptx_tokens",
        width=config.ptx_tokens,
        context=context_length(learner.actor),
        seed=derive_seed(config.seed, "ptx"),
    )
    return read("train")
