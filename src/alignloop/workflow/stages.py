"""Every stage by name: its config, its function. The command line and the demo both run stages through here."""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from alignloop.config import Config
from alignloop.errors import ConfigError
from alignloop.runs.artifact import Artifact, open_artifact
from alignloop.runs.run import Given, Run, world_size
from alignloop.runs.shared import SharedRun

_KERNELS = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")
"""Environment variables that say how many kernels torch's libraries keep, each for the one size of a product; 1024."""
_KEPT_KERNELS = 64


@dataclass(frozen=True, slots=True)
class Stage:
    """Where a stage's config class and function live; imported when the stage runs, so that help stays quick."""

    config: str
    function: str
    trains: bool = False
    """Whether the function takes the World of ranks."""


STAGES: dict[str, Stage] = {
    "stories": Stage("data.publish:StoriesConfig", "data.publish:publish_stories"),
    "demonstrations": Stage("data.publish:TasksConfig", "data.publish:publish_demonstrations"),
    "prompts": Stage("data.publish:TasksConfig", "data.publish:publish_prompts"),
    "multitask": Stage("data.multitask:MultitaskConfig", "data.multitask:publish_multitask"),
    "import": Stage("data.importing:ImportConfig", "data.importing:import_records"),
    "prompts_export": Stage(
        "workflow.prompts.config:PromptsExportConfig", "workflow.prompts.export:export_prompts"
    ),
    "pretrain": Stage("pretrain.config:PretrainConfig", "pretrain.train:train", trains=True),
    "sft": Stage("sft.config:SFTConfig", "sft.train:train", trains=True),
    "sample": Stage("sampling.config:SampleConfig", "sampling.sample:sample"),
    "best_of_n": Stage("sampling.config:BestOfNConfig", "sampling.best_of_n:best_of_n"),
    "reject": Stage("sampling.config:RejectionConfig", "sampling.rejection:reject"),
    "lexicon": Stage("labeling.config:LexiconConfig", "labeling.simulate:make_lexicon"),
    "label_export": Stage("labeling.config:ExportConfig", "labeling.export:export_labels"),
    "rank": Stage("labeling.config:SimulationConfig", "labeling.simulate:rank"),
    "reward": Stage("reward.config:RewardConfig", "reward.train:train", trains=True),
    "dpo": Stage("preference.config:DPOConfig", "preference.train:train", trains=True),
    "win_rate": Stage("evaluation.winrate.config:WinRateConfig", "evaluation.winrate.run:win_rate"),
    "select_prefix": Stage(
        "evaluation.winrate.config:PrefixConfig", "evaluation.winrate.select_prefix:select_prefix"
    ),
    "select": Stage("evaluation.config:SelectionConfig", "evaluation.select:select"),
    "epochs": Stage("evaluation.config:EpochsConfig", "workflow.epochs:select_epoch"),
    "ppo": Stage("ppo.config:PPOConfig", "ppo.train:train", trains=True),
    "evaluate_tasks": Stage(
        "evaluation.suite.config:TasksConfig", "evaluation.suite.run:evaluate_tasks"
    ),
    "evaluate": Stage("evaluation.config:EvaluationConfig", "evaluation.evaluate:evaluate"),
    "rounds": Stage("workflow.loop.config:JudgingConfig", "workflow.loop.report:report_rounds"),
    "rounds_over_seeds": Stage(
        "workflow.loop.seeds:SeedsConfig", "workflow.loop.seeds:report_seeds"
    ),
    "reward_check": Stage(
        "workflow.loop.config:JudgingConfig", "workflow.loop.judging:check_reward_models"
    ),
}


def config_class(stage: str) -> type[Config]:
    """The config class of a stage."""
    return _load(STAGES[stage].config)


def run_stage(
    stage: str,
    folder: Path,
    config: Config,
    *,
    resume: bool,
    waits: bool = False,
    doctor: bool = False,
    **inputs: Any,
) -> Artifact:
    """Run one stage in one folder, or return its artefact at once where it is finished.

    Args:
        waits: where another process works on the very run, for it to end, and take what it made.
        doctor: for PPO: examine models, data and config first, as `alignloop doctor` does, and refuse a sick run.

    Raises:
        AlignloopError: whatever the stage refuses.
    """
    for name in _KERNELS:
        # Rows of text have hundreds of lengths: on a CPU kernels of those that have passed would be most of the memory.
        os.environ.setdefault(name, str(_KEPT_KERNELS))
    described = STAGES[stage]
    if doctor and not (folder / "manifest.json").exists():
        _load("workflow.doctor.examine:before_ppo")(config, **inputs)
    function: Callable[..., Artifact] = _load(described.function)
    with _ranks_watched(), _opened(folder, stage, config, resume, waits) as run:
        run.bind(_given(inputs))
        if run.is_finished:
            run.check_inputs(_by_role(inputs))
            return open_artifact(folder, run.finished_kind())
        if described.trains:
            from alignloop.distributed import World

            return function(config, run, World.from_env(), **inputs)
        run.stop_at_once()
        return function(config, run, **inputs)


def _ranks_watched() -> contextlib.AbstractContextManager[None]:
    if world_size() == 1:
        return contextlib.nullcontext()
    from alignloop.distributed import lost_ranks_told

    return lost_ranks_told()


def _opened(folder: Path, stage: str, config: Config, resume: bool, waits: bool) -> Run:
    """The run, shared with the other ranks where torchrun says that there are some."""
    if world_size() == 1:
        run = Run.open(folder, stage, config, resume=resume)
        if waits:
            run.wait_for_others()
        return run
    if not STAGES[stage].trains:
        raise ConfigError(
            f"'{stage}' works in one process: start it without torchrun (WORLD_SIZE is set)"
        )
    from alignloop.distributed import World

    return SharedRun.join(World.from_env(), folder, stage, config, resume=resume)


def _by_role(inputs: Mapping[str, Any]) -> dict[str, Path]:
    """Every input path by the role that its stage records it under."""
    found: dict[str, Path] = {}
    for name, value in inputs.items():
        if isinstance(value, Path):
            found[name] = value
        elif isinstance(value, Mapping):
            found |= cast(Mapping[str, Path], value)
        elif isinstance(value, list | tuple):
            several = cast(Sequence[Any], value)
            numbered = {f"{name}-{number}": path for number, path in enumerate(several, start=1)}
            found |= {role: path for role, path in numbered.items() if isinstance(path, Path)}
    return found


def _given(inputs: Mapping[str, Any]) -> dict[str, Given]:
    """What a run is begun with, wherever it lies: a path by being there, several by their number or names.

    A function goes by its name alone, since its file has a hash.
    """
    found: dict[str, Given] = {}
    for name, value in inputs.items():
        match value:
            case None:
                pass
            case int():  # a bool too
                found[name] = int(value)
            case str():
                found[name] = value.rpartition(":")[2]
            case Mapping():
                found[name] = sorted(cast(Mapping[str, Any], value))
            case list() | tuple():
                several = cast(Sequence[Any], value)
                names = [one for one in several if isinstance(one, str)]
                found[name] = names or len(several)
            case _:
                found[name] = 1
    return {name: number for name, number in found.items() if number != 0}


def _load(place: str) -> Any:
    module, name = place.split(":")
    return getattr(importlib.import_module(f"alignloop.{module}"), name)
