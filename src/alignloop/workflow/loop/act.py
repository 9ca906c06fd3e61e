"""One step of the loop, done with the stages and the labeling functions behind the ordinary commands."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from alignloop.config import Config, load_config
from alignloop.errors import DataError
from alignloop.labeling.filling import fill_campaign
from alignloop.labeling.planning import make_campaign
from alignloop.progress import progress
from alignloop.resources import recipe
from alignloop.runs.artifact import Artifact, open_artifact
from alignloop.seeds import derive_seed
from alignloop.store import campaigns
from alignloop.store.campaigns import State
from alignloop.store.project import Project
from alignloop.workflow.demo import facts_line, override_lines
from alignloop.workflow.loop import names
from alignloop.workflow.loop.calls import SIDES, Call, call_for
from alignloop.workflow.loop.config import LoopConfig
from alignloop.workflow.loop.pace import Pace, told
from alignloop.workflow.loop.steps import Step
from alignloop.workflow.overview.runs import json_at
from alignloop.workflow.overview.screen import rate_line
from alignloop.workflow.overview.win_rates import rates_in
from alignloop.workflow.stages import config_class, run_stage

_RECIPE_OF = {
    "samples": "sample",
    "story_demonstrations": "tasks",
    "story_prompts": "tasks",
    "chosen": "select",
    "baseline": "select",
}
"""Call -> its recipe's name, where that is another one."""
_WITHOUT_RECIPE: dict[str, dict[str, Any]] = {
    "rl_init": {"pretraining_mix": 0.1, "epochs": 2},
    "ppo": {"ptx_coef": 0.0},
}
"""What a call needs that is no default of its stage; a recipe says it itself."""


_LONG = 5.0
"""Seconds of a step after which it is said how long the rest will take."""


@dataclass(frozen=True, slots=True)
class Site:
    """One project, and how its stages are run."""

    project: Project
    config: LoopConfig
    simulated: bool
    say: Callable[[str], None]
    pace: Pace

    def act(self, step: Step, ahead: Sequence[Step]) -> None:
        """Do one step, and say what came of it.

        Args:
            ahead: the steps that can be foreseen, this one first.

        Raises:
            AlignloopError: whatever the stage refuses; an interruption says which command goes on.
        """
        if step.action == "begin with stories":
            self.say(
                "there are no prompts here: it begins with those of the stories, and their demonstrations"
            )
        call = call_for(step, self.config, self.project.folder, simulated=self.simulated)
        if call is not None:
            artifact = self._run_stage(step, call, ahead)
            if step.action == "export prompts":
                self._refuse_empty(step, artifact)
            if step.action == "begin with stories":
                self.project.open().close()  # for the campaigns that follow
            return
        match step.action:
            case "ask for answers":
                self._ask_for_answers()
            case "ask for rankings":
                self._ask_for_rankings(step)
            case "fill rankings":
                drawn = self._run(names.samples(step.number, step.arm))
                told = fill_campaign(self.project.folder, step.run, drawn, SIDES)
                self.say(told.partition("; open it")[0])  # which comes next by itself
            case "open":
                self._set_state(step.run, "open")
            case "simulate":
                self._simulate(step)
            case "close":
                self._set_state(step.run, "closed")
            case _:
                raise AssertionError(
                    f"'{step.action}' is neither a stage nor a change of the store"
                )

    def _run(self, name: str) -> Path:
        return self.project.folder / "runs" / name

    # --- stages ---

    def _run_stage(self, step: Step, call: Call, ahead: Sequence[Step]) -> Artifact:
        began = time.perf_counter()
        artifact = run_stage(
            call.stage,
            self._run(step.run),
            config_of(call, self.config),
            resume=True,
            doctor=call.stage == "ppo",
            **call.inputs,
        )
        mark = "   [on SIMULATED labels]" if self.simulated and call.rests_on_labels else ""
        seconds = time.perf_counter() - began
        self.say(f"{step.run:<18} {seconds:>6.0f} s   {_told(artifact)}{mark}")
        self._say_rates(step)
        self.pace.note(step.action, seconds)
        rest = [one for one in ahead if one.run != step.run]
        if seconds >= _LONG and (left := told(self.pace.left(rest))):
            self.say(f"{'':<18} {left}, {len(rest)} steps")
        return artifact

    def _say_rates(self, step: Step) -> None:
        report = json_at(self._run(step.run) / "artifact" / "report.json")
        for rate in rates_in(report, step.run):
            self.say(f"{'':<18} {rate_line(rate)}")

    def _refuse_empty(self, step: Step, found: Artifact) -> None:
        empty = [file for file in ("rankings", "rl", "test") if not found.facts["rows"][file]]
        if empty:
            raise DataError(
                f"{self._run(step.run)} has no prompt for '{empty[0]}': those with an answer are no RL prompts, and a "
                "hash of the user shares out the others; import more prompts, remove that folder, and call again"
            )

    # --- campaigns ---

    def _ask_for_answers(self) -> None:
        wanted = self.config.demonstrations
        with self._writing() as connection:
            for split, count in (("train", wanted.train), ("valid", wanted.valid)):
                told = make_campaign(
                    connection,
                    _now(),
                    "loop",
                    name=names.DEMONSTRATIONS,
                    form="demonstrate",
                    overlap=wanted.overlap,
                    prompt_count=count,
                    split=split,
                    seed=self.config.seed,
                )
                self.say(f"{told} ({split})")
            campaign = campaigns.get_campaign(connection, name=names.DEMONSTRATIONS)
            campaigns.set_state(connection, _now(), "loop", campaign, "open")

    def _ask_for_rankings(self, step: Step) -> None:
        drawn = self._run(names.samples(step.number, step.arm))
        sampled = json.loads((drawn / "config.json").read_text())
        with self._writing() as connection:
            told = make_campaign(
                connection,
                _now(),
                "loop",
                name=step.run,
                form="rank",
                k_min=sampled["k_min"],
                k_max=sampled["k_max"],
                overlap=self.config.rankings.overlap,
                no_ratings=self.simulated,
                seed=self.config.seed,
            )
        self.say(told)

    def _set_state(self, name: str, state: State) -> None:
        with self._writing() as connection:
            campaign = campaigns.get_campaign(connection, name=name)
            campaigns.set_state(connection, _now(), "loop", campaign, state)
        self.say(f"'{name}' is {state}")

    def _simulate(self, step: Step) -> None:
        from alignloop.judges.lexicon import Lexicon
        from alignloop.labeling.simulate import LEXICON_FILE
        from alignloop.workflow.loop.people import simulate

        words = open_artifact(self._run(names.LEXICON), "lexicon").file(LEXICON_FILE)
        with (
            closing(self.project.open(create=False)) as store,
            progress(None, f"SIMULATED labelers: {step.run}", "task") as bar,
        ):
            given = simulate(store, step.run, Lexicon.load(words), bar.update)
        self.say(f"SIMULATED labelers gave {given} labels in '{step.run}': code, not people")

    @contextmanager
    def _writing(self) -> Generator[Connection]:
        with closing(self.project.open(create=False)) as store, store.write() as connection:
            yield connection


def config_of(call: Call, config: LoopConfig) -> Config:
    """The config of a call: its recipe, then the seed and what the loop sets, then `settings` of loop.toml.

    Raises:
        ConfigError: a recipe or a setting cannot be used.
    """
    kind = config_class(call.stage)
    path = _recipe(_RECIPE_OF.get(call.name, call.name), config)
    values = {} if path else dict(_WITHOUT_RECIPE.get(call.name, {}))
    if "seed" in kind.model_fields:
        is_later = call.number > 1
        values |= {
            "seed": derive_seed(config.seed, "round", call.number) if is_later else config.seed
        }
    lines = override_lines({**values, **call.values})
    return load_config(kind, path, lines + override_lines(config.settings.get(call.name, {})))


def _recipe(name: str, config: LoopConfig) -> Path | None:
    folder = config.recipes
    if folder is None:
        if config.base is not None:
            return None
        folder = recipe("demo")
    path = folder / f"{name}.toml"
    return path if path.is_file() else None


def _told(artifact: Artifact) -> str:
    """The facts of an artefact in one line, estimates with their intervals; tables are for its page."""
    words: list[str] = []
    for key, value in artifact.facts.items():
        if isinstance(value, dict) and value.keys() >= {"mean", "low", "high", "n"}:
            if value["low"] is not None:
                interval = f"[{value['low']:.3f}, {value['high']:.3f}]"
                words.append(
                    f"{key.replace('_', ' ')} {value['mean']:.3f} {interval} of {value['n']} prompts"
                )
        elif not (isinstance(value, list) and value and isinstance(value[0], dict)):
            words.append(facts_line(replace(artifact, facts={key: value})))
    return ", ".join(word for word in words if word)


def _now() -> int:
    return time.time_ns() // 1_000_000
