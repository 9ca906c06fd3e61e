"""One step of the loop, done with the stages and the labeling functions behind the ordinary commands."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from alignloop.config import load_config
from alignloop.errors import DataError
from alignloop.labeling.drawing import TooFewError
from alignloop.labeling.filling import fill_campaign, keep_completions
from alignloop.labeling.planning import make_campaign
from alignloop.progress import progress
from alignloop.resources import asset, recipe
from alignloop.runs.artifact import Artifact
from alignloop.seeds import derive_seed
from alignloop.store import campaigns
from alignloop.store.project import Project
from alignloop.workflow.demo import facts_line, override_lines
from alignloop.workflow.loop import names
from alignloop.workflow.loop.config import STAGE_OF, LoopConfig
from alignloop.workflow.loop.steps import Step
from alignloop.workflow.stages import config_class, run_stage

_RECIPE_OF = {
    "samples": "sample",
    "answers": "sample",
    "chosen": "select",
    "baseline": "select",
}
"""Step -> its recipe's name, where that is another one."""
_WITHOUT_RECIPE: dict[str, dict[str, Any]] = {
    "rl_init": {"pretraining_mix": 0.1, "epochs": 2},
    "ppo": {"ptx_coef": 0.0},
}
"""What a step needs that is no default of its stage; a recipe says it itself."""
_PAIR = 2
"""Answers of a policy per test prompt: `sample` draws two that differ, and the first is compared."""


@dataclass(frozen=True, slots=True)
class Site:
    """One project, and how its stages are run."""

    project: Project
    config: LoopConfig
    simulated: bool
    say: Callable[[str], None]

    @property
    def runs(self) -> Path:
        """Where the loop's runs are."""
        return self.project.folder / "runs"

    def act(self, step: Step) -> None:
        """Do one step.

        Raises:
            AlignloopError: whatever the stage refuses; an interruption says which command goes on.
        """
        number = step.number
        match step.action:
            case "ask for answers":
                self._ask_for_answers()
            case "export answers":
                self._stage(
                    step.run,
                    "demonstrations",
                    0,
                    {"kind": "demonstrations", "campaigns": [step.run]},
                    project=self.project.folder,
                )
            case "take given answers":
                self._stage(
                    step.run,
                    "given_demonstrations",
                    0,
                    {"kind": "demonstrations"},
                    project=self.project.folder,
                )
            case "sft":
                self._stage(
                    step.run,
                    "sft",
                    0,
                    {},
                    model=self._base,
                    demonstrations=self._run(names.DEMONSTRATIONS),
                )
            case "choose epoch":
                # There is no reward model yet.
                self._stage(step.run, "chosen", 0, {"select_by": "last"}, sft=self._run(names.SFT))
            case "export prompts":
                self._export_prompts(step)
            case "sample":
                self._stage(
                    step.run,
                    "samples",
                    number,
                    {"limit": self.config.rankings.prompts},
                    model=self._sampled(number),
                    prompts=self._run(names.prompts(number)),
                    files=("rankings", "valid"),
                    name=self._name_of_sampled(number),
                )
            case "ask for rankings":
                self._ask_for_rankings(step)
            case "fill rankings":
                drawn = self._run(names.samples(number))
                told = fill_campaign(self.project.folder, step.run, drawn, ("rankings", "valid"))
                self.say(told.partition("; open it")[0])  # which comes next by itself
            case "open":
                self._set_state(step.run, "open")
            case "simulate":
                self._simulate(step)
            case "export rankings":
                made = [names.ranking_campaign(one) for one in range(1, number + 1)]
                self._export_rankings(step, made)
            case "export new rankings":
                self._export_rankings(step, [names.ranking_campaign(number)])
            case "reward model":
                self._stage(
                    step.run,
                    "reward",
                    number,
                    {},
                    model=self._run(names.CHOSEN),
                    rankings=self._run(names.rankings(number)),
                    demonstrations=self._run(names.DEMONSTRATIONS),
                )
            case "baseline":
                self._stage(
                    step.run,
                    "baseline",
                    0,
                    {"select_by": "reward"},
                    sft=self._run(names.SFT),
                    reward_model=self._run(names.reward(number)),
                    prompts=self._run(names.prompts(number)),
                )
            case "text":
                self._stage(step.run, "stories", 0, {})
            case "lexicon":
                self._stage(step.run, "lexicon", 0, {}, text=self._text)
            case "rl_init":
                self._stage(
                    step.run,
                    "rl_init",
                    0,
                    {},
                    model=self._base,
                    demonstrations=self._run(names.DEMONSTRATIONS),
                    text=self._text,
                )
            case "ppo":
                self._ppo(step)
            case "answer old":
                self._answer(step, self._old(number), self._old_name(number))
            case "answer new":
                self._answer(step, self._new(number), self._new_name(number))
            case "ask for votes":
                self._ask_for_votes(step)
            case "close":
                self._set_state(step.run, "closed")
            case "count votes" | "judge by reward":
                self._compare(step)
            case "check reward models":
                self._stage(
                    step.run,
                    "reward_check",
                    number,
                    {"resamples": self.config.comparison.resamples},
                    old=self._run(names.reward(number - 1)),
                    new=self._run(names.reward(number)),
                    rankings=self._run(names.new_rankings(number)),
                )

    # --- stages ---

    def _stage(
        self, run: str, step: str, number: int, values: dict[str, Any], /, **inputs: Any
    ) -> Artifact:
        """Run one stage in `runs/`, with its recipe, then `values`, then what `settings` in loop.toml says."""
        stage = STAGE_OF.get(step, step)
        config_of = config_class(stage)
        seed = self.config.seed
        asked = {"seed": seed if number < 2 else derive_seed(seed, "round", number)}
        path = self._recipe(_RECIPE_OF.get(step, step))
        own = {} if path else _WITHOUT_RECIPE.get(step, {})
        lines = [
            f"{key}={json.dumps(value)}"
            for key, value in asked.items()
            if key in config_of.model_fields
        ]
        lines += override_lines(own | values) + override_lines(self.config.settings.get(step, {}))
        config = load_config(config_of, path, lines)
        began = time.perf_counter()
        doctor = stage == "ppo"
        artifact = run_stage(stage, self.runs / run, config, resume=True, doctor=doctor, **inputs)
        self.say(f"{run:<18} {time.perf_counter() - began:>6.0f} s   {_told(artifact)}")
        return artifact

    def _recipe(self, name: str) -> Path | None:
        folder = self.config.recipes
        if folder is None:
            if self.config.base is not None:
                return None
            folder = recipe("demo")
        path = folder / f"{name}.toml"
        return path if path.is_file() else None

    def _run(self, name: str) -> Path:
        return self.runs / name

    @property
    def _base(self) -> Path:
        return self.config.base or asset("base")

    @property
    def _text(self) -> Path:
        return self.config.text or self._run(names.TEXT)

    def _sampled(self, number: int) -> Path:
        """Whose answers are ranked: the SFT policy's, later those of the newest."""
        return self._run(names.CHOSEN) if number == 1 else self._new(number - 1)

    def _name_of_sampled(self, number: int) -> str:
        return "sft" if number == 1 else self._new_name(number - 1)

    def _new(self, number: int) -> Path:
        return self._run(self._new_name(number))

    def _new_name(self, number: int) -> str:
        return names.ppo(number, ptx=self.config.ptx)

    def _old(self, number: int) -> Path:
        """What the round's policy is compared with: the best SFT epoch, later the policy of the round before."""
        return self._run(self._old_name(number))

    def _old_name(self, number: int) -> str:
        return names.BASELINE if number == 1 else self._new_name(number - 1)

    def _export_prompts(self, step: Step) -> None:
        found = self._stage(
            step.run, "prompts", step.number, {"kind": "prompts"}, project=self.project.folder
        )
        empty = [file for file in ("rankings", "rl", "test") if not found.facts["rows"][file]]
        if empty:
            raise DataError(
                f"{self.runs / step.run} has no prompt for '{empty[0]}': those with an answer are no RL prompts, and a "
                "hash of the user shares out the others; import more prompts, remove that folder, and call again"
            )

    def _export_rankings(self, step: Step, made: list[str]) -> None:
        self._stage(
            step.run,
            "rankings",
            0,
            {"kind": "rankings", "campaigns": made},
            project=self.project.folder,
        )

    def _ppo(self, step: Step) -> None:
        number, config = step.number, self.config
        start = names.RL_INIT if config.ptx else names.BASELINE
        inputs: dict[str, Any] = {"text": self._text} if config.ptx else {}
        policy = self._run(start) if number == 1 or config.restart else self._new(number - 1)
        self._stage(
            step.run,
            "ppo_ptx" if config.ptx else "ppo",
            number,
            {},
            policy=policy,
            reward_model=self._run(names.reward(number)),
            prompts=self._run(names.prompts(number)),
            **inputs,
        )

    def _answer(self, step: Step, model: Path, name: str) -> None:
        self._stage(
            step.run,
            "answers",
            step.number,
            {"k_min": _PAIR, "k_max": _PAIR, "limit": self.config.comparison.prompts},
            model=model,
            prompts=self._run(names.prompts(step.number)),
            files=("test",),
            name=name,
        )

    def _compare(self, step: Step) -> None:
        number = step.number
        by_votes = step.action == "count votes"
        inputs: dict[str, Any] = {
            "challenger": self._new(number),
            "against": self._old(number),
            "challenger_name": self._new_name(number),
            "against_name": self._old_name(number),
        }
        if by_votes:
            inputs |= {"project": self.project.folder, "campaign": names.vote_campaign(number)}
        else:
            inputs |= {
                "answers": self._run(names.answers(number, "new")),
                "answers_against": self._run(names.answers(number, "old")),
                "reward_model": self._run(names.reward(number)),
            }
        self._stage(
            step.run,
            "votes" if by_votes else "reward_votes",
            0,
            {"resamples": self.config.comparison.resamples},
            **inputs,
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
        sampled = json.loads((self._run(names.samples(step.number)) / "config.json").read_text())
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

    def _ask_for_votes(self, step: Step) -> None:
        """Answers into the store, then the campaign, filled and opened at once: its size never changes afterwards."""
        number = step.number
        for who in ("old", "new"):
            self.say(
                keep_completions(
                    self.project.folder, self._run(names.answers(number, who)), ("test",)
                )
            )
        try:
            told = self._compare_blind(step, self.config.comparison.prompts)
        except TooFewError as error:
            if not error.there:
                raise
            told = self._compare_blind(step, error.there)
        self.say(told)

    def _compare_blind(self, step: Step, planned: int) -> str:
        number = step.number
        with self._writing() as connection:
            return make_campaign(
                connection,
                _now(),
                "loop",
                name=step.run,
                form="compare",
                purpose="evaluation",
                overlap=self.config.comparison.overlap,
                policies=(self._old_name(number), self._new_name(number)),
                planned=planned,
                is_open=True,
                seed=self.config.seed,
            )

    def _set_state(self, name: str, state: str) -> None:
        with self._writing() as connection:
            campaign = campaigns.get_campaign(connection, name=name)
            campaigns.set_state(connection, _now(), "loop", campaign, state)  # type: ignore[arg-type]
        self.say(f"'{name}' is {state}")

    def _simulate(self, step: Step) -> None:
        from alignloop.judges.lexicon import Lexicon
        from alignloop.labeling.simulate import LEXICON_FILE
        from alignloop.runs.artifact import open_artifact
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
