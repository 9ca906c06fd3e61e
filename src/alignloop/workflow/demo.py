"""The demo: the whole loop on the bundled stories, from the shipped base model to a report and a model to chat with.

Every step is the function behind the ordinary verb of its stage, with a recipe of `recipes/demo/`; there is no private
path. The same command goes on where it was after any interruption.
"""

from __future__ import annotations

import json
import time
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignloop.config import Config, Precision, load_config
from alignloop.data.jsonl import read_records
from alignloop.data.records import Text, texts_sha256
from alignloop.errors import ArtifactError
from alignloop.files import write_json
from alignloop.resources import asset, recipe
from alignloop.runs.artifact import Artifact, open_artifact
from alignloop.workflow.results import collect_results
from alignloop.workflow.stages import config_class, run_stage


@dataclass(frozen=True, slots=True)
class Demo:
    """One demo folder and how its stages are run."""

    folder: Path
    seed: int
    smoke: bool
    precision: Precision
    say: Callable[[str], None]
    budget: Mapping[str, float]
    """Stage -> seconds it may take on two cores."""
    rate_factor: float = 1.0
    """Multiplies the learning rates of the recipes, for another base than they were made for."""
    waits: bool = False
    """Whether a stage that another process works on is waited for, and not refused."""

    def config(
        self, stage: str, recipe_name: str | None, overrides: Sequence[str] = (), name: str = ""
    ) -> Config:
        """A recipe's config with the demo's seed and precision, tiny counts for a smoke demo, and then `overrides`."""
        fields = config_class(stage).model_fields
        asked = {"seed": self.seed}
        asked |= dict.fromkeys(("precision", "rollout_precision"), self.precision)
        lines = [f"{key}={json.dumps(value)}" for key, value in asked.items() if key in fields]
        if self.smoke:
            lines += _smoke_overrides(recipe_name or name)
        path = None if recipe_name is None else recipe("demo", f"{recipe_name}.toml")
        if self.rate_factor != 1.0:
            planned = load_config(config_class(stage), path, lines)
            for key in fields:
                rate = getattr(getattr(planned, key), "learning_rate", None)
                if rate is not None:
                    lines.append(f"{key}.learning_rate={rate * self.rate_factor:g}")
        return load_config(config_class(stage), path, [*lines, *overrides])

    def stage(self, name: str, stage: str, recipe_name: str | None, /, **inputs: Any) -> Artifact:
        """Run one stage in `folder/name`, or pass over it where it is finished; says what came of it in one line."""
        config = self.config(stage, recipe_name, inputs.pop("overrides", ()), name)
        is_new = not (self.folder / name / "artifact").exists()
        began = time.perf_counter()
        try:
            artifact = run_stage(
                stage, self.folder / name, config, resume=True, waits=self.waits, **inputs
            )
        finally:
            # A stage that was finished before costs a look at its files, which is not what its time means.
            seconds = self.note_time(name, time.perf_counter() - began if is_new else 0.0)
        allowed = f" of {self.budget[name]:.0f}" if name in self.budget else ""
        self.say(f"{name:<15} {f'{seconds:.0f}{allowed} s':>12}   {facts_line(artifact)}")
        return artifact

    def note_time(self, name: str, seconds: float) -> float:
        """Add to the stage's time in timings.json: all sittings of an interrupted stage, but for killed ones."""
        path = self.folder / "timings.json"
        timings: dict[str, float] = json.loads(path.read_text()) if path.exists() else {}
        if seconds > 0 or name not in timings:
            timings[name] = round(timings.get(name, 0.0) + seconds, 2)
            write_json(path, timings)
        return timings[name]


def run_demo(
    folder: Path,
    *,
    seed: int,
    smoke: bool,
    precision: Precision,
    say: Callable[[str], None],
    chat_command: str,
) -> Path:
    """Run the loop in `folder`; returns the report's path.

    Args:
        precision: of every stage that trains, and of the completions that are ranked.
        say: gets a line after each stage.
        chat_command: what the report tells its reader to type next.

    Raises:
        AlignloopError: whatever a stage refuses; an interruption says which command goes on.
    """
    demo = Demo(folder, seed, smoke, precision, say, {} if smoke else stage_budget())
    base, judge = asset("base"), asset("outside_judge")
    _check_flags(folder, {"seed": seed, "smoke": smoke, "precision": precision})
    # This asks torch, whatever the precision: where torch is missing, it is said before any work.
    lacks_bfloat16 = _lacks_bfloat16()
    if precision == "bfloat16" and lacks_bfloat16:
        say("this CPU has no bfloat16 instructions: --precision float32 will be quicker here")

    text = demo.stage("stories", "stories", None).path
    check_base(base, text)
    lexicon = demo.stage("lexicon", "lexicon", None, text=text).path
    demonstrations = demo.stage("demonstrations", "demonstrations", "tasks", text=text).path
    prompts = demo.stage("prompts", "prompts", "tasks", text=text).path

    # Step 1: SFT. The last epoch gives the samples to rank and the start of the reward model.
    sft = demo.stage("sft", "sft", "sft", model=base, demonstrations=demonstrations).path
    completions = demo.stage(
        "completions",
        "sample",
        "sample",
        model=sft,
        prompts=prompts,
        files=("rankings", "valid"),
        name="sft",
    ).path
    # Step 2: rankings by simulated labelers, and the reward model.
    rankings = demo.stage("rankings", "rank", "rank", completions=completions, lexicon=lexicon).path
    reward_model = demo.stage(
        "reward", "reward", "reward", model=sft, rankings=rankings, demonstrations=demonstrations
    ).path
    # With a reward model at hand, the best epoch becomes the baseline of every comparison.
    baseline = demo.stage(
        "baseline",
        "select",
        "select",
        candidates=epochs_of(sft),
        reward_model=reward_model,
        prompts=prompts,
    ).path
    # Step 3: the RL initialisation, then PPO without and with pretraining gradients.
    rl_init = demo.stage(
        "rl_init", "sft", "rl_init", model=base, demonstrations=demonstrations, text=text
    ).path
    improved = {
        name: demo.stage(
            name,
            "ppo",
            name,
            policy=rl_init,
            reward_model=reward_model,
            prompts=prompts,
            text=text,
            doctor=True,
        )
        for name in ("ppo", "ppo_ptx")
    }
    tokens = improved["ppo"].facts["response_tokens"]
    sft_more = demo.stage(
        "sft_more",
        "sft",
        "sft_more",
        model=baseline,
        demonstrations=demonstrations,
        overrides=[f"response_tokens={tokens}"],
    ).path

    # Blind evaluation on held-out prompts, opened here and nowhere before.
    evaluation = demo.stage(
        "evaluation",
        "evaluate",
        "evaluate",
        policies={
            "base": base,
            "sft": baseline,
            "rl_init": rl_init,
            "sft_more": sft_more,
            **{name: artifact.path for name, artifact in improved.items()},
        },
        reward_model=reward_model,
        prompts=prompts,
        rankings=rankings,
        lexicon=lexicon,
        text=text,
        outside_judge=judge,
    )
    return _write_report(demo, evaluation, chat_command)


def _write_report(demo: Demo, evaluation: Artifact, chat_command: str) -> Path:
    """report.json, and report.html for people."""
    from alignloop.workflow.report.page import write_report

    is_new = not (demo.folder / "report.html").exists()
    began = time.perf_counter()
    data = collect_results(
        demo.folder,
        evaluation.path,
        seed=demo.seed,
        smoke=demo.smoke,
        budget=demo.budget,
        chat_command=chat_command,
    )
    write_json(demo.folder / "report.json", data.results)
    path = demo.folder / "report.html"
    write_report(path, data)
    demo.note_time("report", time.perf_counter() - began if is_new else 0.0)
    return path


def stage_budget() -> dict[str, float]:
    """Seconds that each stage of the whole demo may take on two cores, from its recipe."""
    return tomllib.loads(recipe("demo", "budget.toml").read_text(encoding="utf-8"))


def _lacks_bfloat16() -> bool:
    """Whether torch knows this CPU and sees no bfloat16 instructions; it is said, and nothing follows from it."""
    import torch

    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities) and not any(
        there for name, there in capabilities.items() if "bf16" in name
    )


def epochs_of(sft: Path) -> list[Path]:
    """The policies of all epochs of an SFT run, by its artefact, which is that of the last."""
    return [*sorted((sft.parent / "epochs").glob("epoch_*")), sft]


def made_with(path: Path, asked: dict[str, Any]) -> dict[str, Any]:
    """The flags that a folder was made with, as a file in it says; those asked for where there is no such file yet."""
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, asked)
    return json.loads(path.read_text(encoding="utf-8"))


def _check_flags(folder: Path, asked: dict[str, Any]) -> None:
    """One folder holds one demo: of one seed and precision, smoke or whole."""
    before = made_with(folder / "demo.json", asked)
    if before != asked:
        flags = f"--seed {before['seed']} --precision {before['precision']}"
        flags += " --smoke" if before["smoke"] else ""
        raise ArtifactError(
            f"{folder} holds a demo made with {flags}; go on with those flags, or choose another folder with --out"
        )


def check_base(base: Path, text: Path) -> None:
    """The shipped base model must have been trained on this very split, or held-out text may not be held out."""
    if not (base / "artifact.json").is_file():
        raise ArtifactError(f"{base}: the package came without its base model; install it again")
    learned_from = open_artifact(base, "policy").facts.get("train_text_sha256")
    stories = open_artifact(text, "pretraining-text")
    # Of the whole training side: a smoke demo trains on some of its titles. Imported text has no such fact.
    told = stories.facts.get("train_text_sha256")
    if learned_from != (told or texts_sha256(read_records(stories.file("train.jsonl.gz"), Text))):
        raise ArtifactError(
            f"{base} was trained on another split of the stories than {text}; "
            "docs/pretrain.md says how to train it again"
        )


def _smoke_overrides(name: str) -> list[str]:
    return override_lines(
        tomllib.loads(recipe("demo", "smoke.toml").read_text("utf-8")).get(name, {})
    )


def override_lines(table: Mapping[str, Any], prefix: str = "") -> list[str]:
    """A table as `a.b=value` lines."""
    lines: list[str] = []
    for key, value in table.items():
        if isinstance(value, dict):
            lines += override_lines(value, f"{prefix}{key}.")
        else:
            lines.append(f"{prefix}{key}={json.dumps(value)}")
    return lines


def facts_line(artifact: Artifact) -> str:
    """What a stage has to say for itself, in one line."""
    return ", ".join(
        f"{key.replace('_', ' ')} {_short(value)}"
        for key, value in artifact.facts.items()
        if key not in ("stage", "bias_demonstrations", "train_text_sha256") and value is not None
    )


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, dict):
        return "/".join(f"{_short(inner)}" for inner in value.values())
    return ", ".join(map(_short, value)) if isinstance(value, list) else str(value)
