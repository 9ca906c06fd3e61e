"""What studies build on: per base model and seed a folder like the demo's, its stages made when they are asked for.

The same stage functions and recipes as the demo's make them, so a finished demo serves as the foundation of its seed.
The stories and the lexicon depend on no seed and are made once.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock

from alignloop.config import Config, Precision
from alignloop.errors import ArtifactError
from alignloop.files import sha256_of, sync_folder
from alignloop.resources import asset
from alignloop.runs.artifact import Artifact, open_artifact
from alignloop.workflow.demo import Demo, check_base, epochs_of, made_with
from alignloop.workflow.stages import run_stage

BaseName = Literal["small", "medium", "demo"]


@dataclass(frozen=True, slots=True)
class Base:
    """A base model that ships, and how its trainings differ from the demo's."""

    asset: str
    rate_factor: float
    """Times the demo's learning rates: its own pretraining rate over the demo base's, chosen before any study ran."""
    pace: float
    """Share of the demo base's time that its stages take, for the time left alone."""


BASES: Mapping[BaseName, Base] = {
    "small": Base("base_small", 3.0, 0.25),
    "medium": Base("base_medium", 2.0, 0.4),
    "demo": Base("base", 1.0, 1.0),
}

SHARED = ("stories", "lexicon")
"""Stages that depend on no seed and no base."""

JUDGES = ("reward", "baseline")
"""What policies are judged with: the reward model, and the rival of their answers by gold."""

Paths = Callable[[str], Path]


@dataclass(frozen=True, slots=True)
class _Made:
    """How a stage of the foundation is made."""

    stage: str
    recipe: str | None
    inputs: Mapping[str, str]
    """Input of the stage -> the foundation's stage that gives it; `base` is the base model."""
    guess: float
    """Seconds on two quiet cores with the demo's base."""
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    overrides: Sequence[str] = ()


_ON_DEMONSTRATIONS = {"model": "base", "demonstrations": "demonstrations"}
_ASKED = {"model": "sft", "prompts": "prompts"}
_SAMPLED = {"files": ("rankings", "valid"), "name": "sft"}
_RANKED = {"completions": "completions", "lexicon": "lexicon"}
STAGES: Mapping[str, _Made] = {
    "stories": _Made("stories", None, {}, 6),
    "lexicon": _Made("lexicon", None, {"text": "stories"}, 11),
    "demonstrations": _Made("demonstrations", "tasks", {"text": "stories"}, 6),
    "prompts": _Made("prompts", "tasks", {"text": "stories"}, 3),
    "sft": _Made("sft", "sft", _ON_DEMONSTRATIONS, 130),
    "completions": _Made("sample", "sample", _ASKED, 60, _SAMPLED),
    "completions_k9": _Made("sample", "sample", _ASKED, 90, _SAMPLED, ("k_min=9", "k_max=9")),
    "rankings_k9": _Made("rank", "rank", {**_RANKED, "completions": "completions_k9"}, 8),
    "rankings_by_all": _Made("rank", "rank", _RANKED, 20, overrides=("shared_share=1.0",)),
    "rankings": _Made("rank", "rank", _RANKED, 5),
    "reward": _Made(
        "reward",
        "reward",
        {"model": "sft", "rankings": "rankings", "demonstrations": "demonstrations"},
        65,
    ),
    "baseline": _Made("select", "select", {"reward_model": "reward", "prompts": "prompts"}, 12),
    "rl_init": _Made("sft", "rl_init", {**_ON_DEMONSTRATIONS, "text": "stories"}, 110),
    **{
        name: _Made(
            "ppo",
            name,
            {
                "policy": "rl_init",
                "reward_model": "reward",
                "prompts": "prompts",
                "text": "stories",
            },
            guess,
            {"doctor": True},
        )
        for name, guess in (("ppo", 90.0), ("ppo_ptx", 120.0))
    },
}
"""The demo's stages up to the two policies of step 3, by the demo's names; and of our own: `completions_k9` and
`rankings_k9`, nine completions of every prompt; `rankings_by_all`, every training prompt ranked by all labelers."""


@dataclass(frozen=True, slots=True)
class Foundation:
    """One base and seed: `path("reward")` makes the reward model and all that it needs, where it is not there."""

    demo: Demo
    """The folder of this base and seed, and how stages are run in it."""
    shared: Demo
    """The folder of what depends on no seed."""
    base_name: BaseName
    base: Path
    """The base model, a `policy` artefact with its tokenizer."""
    finished: Path | None = None
    """A finished demo of this base and seed: its stages serve, and nothing is written into it."""

    @property
    def seed(self) -> int:
        """Of everything that is drawn and trained."""
        return self.demo.seed

    def path(self, name: str) -> Path:
        """The artefact of a stage, made if need be; `base` is the base model.

        Raises:
            AlignloopError: whatever a stage refuses.
        """
        if name == "base":
            return self.base
        if (found := self._there(name)) is not None:
            return found
        made = STAGES[name]
        if "base" in made.inputs.values():
            check_base(self.base, self.path("stories"))
        inputs: dict[str, Any] = {role: self.path(source) for role, source in made.inputs.items()}
        if name == "baseline":
            # As in the demo: the epochs of SFT are its candidates.
            inputs["candidates"] = epochs_of(self.path("sft"))
        artifact = self._home(name).stage(
            name, made.stage, made.recipe, **inputs, **made.options, overrides=made.overrides
        )
        return artifact.path

    def config(self, stage: str, recipe_name: str | None, *overrides: str) -> Config:
        """A demo recipe's config as the foundation's own stages have it: seed, precision, learning rates of this base.

        `overrides` are `a.b=value` lines, and come last.
        """
        return self.demo.config(stage, recipe_name, overrides, stage)

    def run(
        self, folder: Path, stage: str, recipe_name: str | None, /, *overrides: str, **inputs: Any
    ) -> Artifact:
        """Run a stage in a folder of a cell, or go on with it, with a config from `config`."""
        config = self.config(stage, recipe_name, *overrides)
        return run_stage(stage, folder, config, resume=True, waits=True, **inputs)

    def missing(self, names: Sequence[str]) -> list[str]:
        """What is still to be made for these stages, in the order of making."""
        wanted: list[str] = []

        def add(name: str) -> None:
            if name == "base" or name in wanted or self._there(name) is not None:
                return
            for source in STAGES[name].inputs.values():
                add(source)
            if "base" in STAGES[name].inputs.values():
                add("stories")
            if name == "baseline":
                add("sft")
            wanted.append(name)

        for name in names:
            add(name)
        return wanted

    def guess(self, name: str) -> float:
        """Seconds that a stage should take on two quiet cores."""
        return STAGES[name].guess if name in SHARED else self.scaled(STAGES[name].guess)

    def scaled(self, seconds: float) -> float:
        """Seconds on this base, of training that takes so many on the demo's."""
        return seconds * BASES[self.base_name].pace

    def place(self, name: str) -> Path:
        """The run folder in which a stage is made."""
        return self._home(name).folder / name

    def _home(self, name: str) -> Demo:
        return self.shared if name in SHARED else self.demo

    def _there(self, name: str) -> Path | None:
        """The stage's artefact where it is finished, in the demo that was given or here."""
        places = (
            [self.place(name)]
            if self.finished is None
            else [self.finished / name, self.place(name)]
        )
        found = [place / "artifact" for place in places]
        return next((path for path in found if (path / "artifact.json").is_file()), None)


@dataclass(frozen=True, slots=True)
class Ground:
    """The folder of all studies, and how foundations are laid in it."""

    folder: Path
    precision: Precision
    smoke: bool
    say: Callable[[str], None]
    finished: Path | None = None
    """A finished demo to take as the foundation of its seed."""

    def foundation(self, base: BaseName, seed: int) -> Foundation:
        """The foundation of one base and seed; nothing of it is made yet.

        Raises:
            ArtifactError: the folder was made with other flags, the base model is missing, or the demo does not fit.
        """
        _check_flags(self.folder, {"precision": self.precision, "smoke": self.smoke})
        factor = BASES[base].rate_factor

        def demo(name: str, seed: int, factor: float) -> Demo:
            folder = self.folder / "foundations" / name
            return Demo(folder, seed, self.smoke, self.precision, self.say, {}, factor, waits=True)

        return Foundation(
            demo=demo(f"{base}_seed_{seed}", seed, factor),
            shared=demo("shared", 1, 1.0),
            base_name=base,
            base=base_model(base, self.folder / "bases"),
            finished=self._finished(base, seed),
        )

    def _finished(self, base: BaseName, seed: int) -> Path | None:
        """The demo that was given, if it is of this base and seed."""
        demo = self.finished
        if demo is None or base != "demo":
            return None
        if not (demo / "report.json").is_file():
            raise ArtifactError(
                f"{demo}: no finished demo; run 'alignloop demo --out {demo}' first"
            )
        flags = json.loads((demo / "demo.json").read_text(encoding="utf-8"))
        asked = {"smoke": self.smoke, "precision": self.precision}
        if flags != asked | {"seed": flags["seed"]}:
            raise ArtifactError(
                f"{demo} was made with precision {flags['precision']}{', as a smoke run' * flags['smoke']}; "
                "give the studies the same flags, or leave --demo out"
            )
        manifest = json.loads((demo / "sft" / "manifest.json").read_text(encoding="utf-8"))
        started = [one["sha256"] for one in manifest["inputs"] if one["role"] == "model"]
        if started != [open_artifact(asset("base"), "policy").sha256]:
            raise ArtifactError(
                f"{demo} began from another base model than the package's; leave --demo out"
            )
        return demo if flags["seed"] == seed else None


def base_model(name: BaseName, folder: Path) -> Path:
    """The base model of that name, as a `policy` artefact whose every hash was checked.

    The smaller ones ship without the tokenizer, which is the demo base's to the byte: their `artifact.json` holds its
    hash. Here they are put together, in `folder/NAME`.

    Raises:
        ArtifactError: the package came without it, or the tokenizer is another one.
    """
    source = asset(BASES[name].asset)
    if not (source / "artifact.json").is_file():
        raise ArtifactError(f"{source}: the package came without this base model; install it again")
    if name == "demo":
        return source
    whole = folder / name
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f".{name}.lock"):  # two studies may begin in one folder at once
        if not whole.is_dir():
            _put_together(source, whole)
    return whole


def _put_together(source: Path, whole: Path) -> None:
    """Copy a base model that ships without its tokenizer, and the tokenizer with it.

    Raises:
        ArtifactError: the tokenizer is another one.
    """
    tokenizer = asset("base") / "tokenizer.json"
    described = json.loads((source / "artifact.json").read_text(encoding="utf-8"))
    if sha256_of(tokenizer) != described["files"]["tokenizer.json"]:
        raise ArtifactError(
            f"{source} was trained with another tokenizer than {tokenizer}; install the package again"
        )
    aside = whole.with_name(f".{whole.name}.tmp")
    shutil.rmtree(aside, ignore_errors=True)
    shutil.copytree(source, aside)
    shutil.copyfile(tokenizer, aside / "tokenizer.json")
    sync_folder(aside)
    aside.rename(whole)
    open_artifact(whole, "policy")


def _check_flags(folder: Path, asked: dict[str, Any]) -> None:
    """All that lies in one folder of studies has one precision, and is a smoke run or is none."""
    before = made_with(folder / "made_with.json", asked)
    if before != asked:
        flags = f"--precision {before['precision']}{' --smoke' * before['smoke']}"
        raise ArtifactError(
            f"{folder} holds studies made with {flags}; go on with those flags, or choose another folder with --out"
        )
