"""DPO, PPO, PPO-ptx and best of n from one reference, at matched KL: a study over finished demos."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alignloop.config import load_config
from alignloop.errors import ArtifactError, ConfigError
from alignloop.files import write_json
from alignloop.ppo.config import PPOConfig
from alignloop.preference.config import DPOConfig
from alignloop.resources import recipe
from alignloop.sampling.objective import doublings
from alignloop.workflow.measure import Yardstick
from alignloop.workflow.stages import run_stage
from alignloop.workflow.studies.matched import differences, draw, matched

BETAS = (0.03, 0.1, 0.3, 1.0)
KL_COEFS = (0.03, 0.1, 0.3)
BEST_OF = 16
COPIES = 4
METHODS = ("dpo", "ppo", "ppo_ptx", "best_of_n")
_MEASURES = ("win_rate", "score")

_FIRST_GUESS = {"measure": 60.0, "best_of_n": 180.0}
"""Seconds, until one was timed; training is guessed from the demo's own times."""


@dataclass(frozen=True, slots=True)
class Replicate:
    """One seed of everything that the study trains and draws, over one demo."""

    demo: Path
    seed: int
    folder: Path
    yardstick: Yardstick


@dataclass(frozen=True, slots=True)
class Step:
    """A policy to train, where it is not there, and to measure."""

    replicate: Replicate
    method: str
    setting: float | None
    """beta, or the KL coefficient; None for the reference, which is where every curve starts, and for best of n."""
    policy: Path
    """Where the trained policy is, or will be."""

    @property
    def name(self) -> str:
        """What its figures are called."""
        return self.method if self.setting is None else f"{self.method}_{self.setting:g}"

    def is_ours(self) -> bool:
        """Whether the study trains the policy; the others are the demo's."""
        return self.replicate.folder in self.policy.parents

    def needs_training(self) -> bool:
        """Whether the policy is still to be trained."""
        return self.is_ours() and not (self.policy / "artifact").exists()

    def is_done(self) -> bool:
        """Whether nothing is left to do."""
        return not self.needs_training() and self.replicate.yardstick.has(self.name)


@dataclass(slots=True)
class Clock:
    """How long each kind of work took, for the time left."""

    guesses: dict[str, float]
    took: dict[str, list[float]] = field(default_factory=dict)

    def timed(self, kind: str, work: Callable[[], Any]) -> Any:
        """Do some work and remember its time."""
        began = time.perf_counter()
        done = work()
        self.took.setdefault(kind, []).append(time.perf_counter() - began)
        return done

    def left(self, steps: Sequence[Step]) -> float:
        """Seconds that these steps should take."""
        return sum(self._usual(kind) for step in steps for kind in _work_of(step))

    def _usual(self, kind: str) -> float:
        took = self.took.get(kind)
        return sum(took) / len(took) if took else self.guesses[kind]


def _work_of(step: Step) -> list[str]:
    """The kinds of work that a step still is."""
    if step.is_done():
        return []
    measuring = "best_of_n" if step.method == "best_of_n" else "measure"
    return [step.method, measuring] if step.needs_training() else [measuring]


def dpo_vs_ppo(
    demos: Sequence[Path],
    out: Path,
    say: Callable[[str], None],
    *,
    seeds: int = 1,
    betas: Sequence[float] = BETAS,
    kl_coefs: Sequence[float] = KL_COEFS,
    best_of: int = BEST_OF,
    copies: int = COPIES,
    overrides: Sequence[str] = (),
    only_plan: bool = False,
) -> dict[str, Any]:
    """Train, measure and compare; what is there already is passed over, so the same command goes on.

    Every policy starts from the demo's `rl_init`, which is the reference; gold compares it with the demo's `baseline`
    on *validation* prompts.

    Args:
        demos: finished demos; each brings its own seed.
        out: where runs, figures, `dpo_vs_ppo.json` and `dpo_vs_ppo.svg` go.
        seeds: how many seeds per demo: the demo's own and those that follow it.
        overrides: of the DPO recipe.
        only_plan: say what there is to do, and do nothing.
    """
    steps = [
        step
        for replicate in _replicates(demos, out, seeds, copies)
        for step in _steps(replicate, sorted(set(betas)), sorted(set(kl_coefs)), overrides)
    ]
    clock = Clock(_guesses(demos[0]))
    _say_plan(steps, clock, say)
    if only_plan:
        return {}
    figures: dict[tuple[Path, str], list[dict[str, Any]]] = {}
    for number, step in enumerate(steps):
        was_done = step.is_done()
        found = _do(step, clock, overrides, best_of)
        figures.setdefault((step.replicate.folder, step.method), []).extend(found)
        left = "" if was_done else f"   {_minutes(clock.left(steps[number + 1 :]))} left"
        for row in found if step.method != "best_of_n" else found[-1:]:
            say(f"[{number + 1}/{len(steps)}] {_line(step, row)}{left}")
    result = _compared(steps, figures)
    write_json(out / "dpo_vs_ppo.json", result)
    draw(out / "dpo_vs_ppo.svg", _curves(result), "win_rate", "gold win rate against SFT")
    for line in _table(result):
        say(line)
    return result


def _replicates(demos: Sequence[Path], out: Path, seeds: int, copies: int) -> list[Replicate]:
    found: list[Replicate] = []
    for demo in demos:
        if not (demo / "report.json").is_file():
            raise ArtifactError(
                f"{demo}: no finished demo; run 'alignloop demo --out {demo}' first"
            )
        own = json.loads((demo / "demo.json").read_text(encoding="utf-8"))["seed"]
        sampling = _ppo_config(demo, "ppo").sampling
        for seed in range(own, own + seeds):
            folder = out / f"{demo.name}_seed_{seed}"
            if folder in [one.folder for one in found]:
                raise ConfigError(
                    f"two demos are called '{demo.name}' and have the seed {seed}; rename one of them"
                )
            yardstick = Yardstick(
                folder / "measured",
                prompts=demo / "prompts",
                reward_model=demo / "reward",
                reference=demo / "rl_init",
                sampling=sampling,
                seed=seed,
                copies=copies,
                lexicon=demo / "lexicon",
                baseline=demo / "baseline",
            )
            found.append(Replicate(demo, seed, folder, yardstick))
    return found


def _steps(
    replicate: Replicate,
    betas: Sequence[float],
    kl_coefs: Sequence[float],
    overrides: Sequence[str],
) -> list[Step]:
    """The reference, every DPO, PPO and PPO-ptx policy, and best of n."""
    steps = [Step(replicate, "reference", None, replicate.demo / "rl_init")]
    for beta in betas:
        _dpo_config(replicate, beta, overrides)  # what cannot be used is said before any work
        steps.append(Step(replicate, "dpo", beta, replicate.folder / f"dpo_{beta:g}"))
    for method in ("ppo", "ppo_ptx"):
        for coef in kl_coefs:
            config = _ppo_config(replicate.demo, method)
            own = (config.seed, config.kl_coef) == (replicate.seed, coef)
            folder = replicate.demo / method if own else replicate.folder / f"{method}_{coef:g}"
            steps.append(Step(replicate, method, coef, folder))
    return [*steps, Step(replicate, "best_of_n", None, replicate.demo / "rl_init")]


def _dpo_config(replicate: Replicate, beta: float, overrides: Sequence[str]) -> DPOConfig:
    """The demo's recipe, at the demo's precision."""
    if taken := {o.partition("=")[0].strip() for o in overrides} & {"beta", "seed"}:
        raise ConfigError(f"{min(taken)} is what the study varies; leave it out of --set")
    flags = json.loads((replicate.demo / "demo.json").read_text(encoding="utf-8"))
    fixed = [f"beta={beta}", f"seed={replicate.seed}", f"precision={flags['precision']}"]
    return load_config(DPOConfig, recipe("demo", "dpo.toml"), [*fixed, *overrides])


def _ppo_config(demo: Path, method: str) -> PPOConfig:
    """As the demo's own run has it."""
    return load_config(PPOConfig, demo / method / "config.json")


def _do(step: Step, clock: Clock, overrides: Sequence[str], best_of: int) -> list[dict[str, Any]]:
    """Train and measure; a row per point of the curve."""
    yardstick = step.replicate.yardstick

    def work(kind: str, is_there: bool, act: Callable[[], Any]) -> Any:
        return act() if is_there else clock.timed(kind, act)

    if (
        step.is_ours()
    ):  # a finished run is passed over, unless it was made in another way: that is refused
        work(step.method, not step.needs_training(), lambda: _train(step, overrides))
    is_there = yardstick.has(step.name)
    if step.method == "best_of_n":
        ks = doublings(best_of)
        rows = work("best_of_n", is_there, lambda: yardstick.measure_best_of(ks, step.name))
        return [{"setting": k, **row} for k, row in zip(ks, rows, strict=True)]
    row = work("measure", is_there, lambda: yardstick.measure(step.policy, step.name))
    return [{"setting": step.setting, **row}]


def _train(step: Step, overrides: Sequence[str]) -> None:
    demo, setting = step.replicate.demo, step.setting
    assert setting is not None
    if step.method == "dpo":
        run_stage(
            "dpo",
            step.policy,
            _dpo_config(step.replicate, setting, overrides),
            resume=True,
            model=demo / "rl_init",
            rankings=demo / "rankings",
        )
        return
    changes = {"kl_coef": setting, "seed": step.replicate.seed}
    run_stage(
        "ppo",
        step.policy,
        _ppo_config(demo, step.method).model_copy(update=changes),
        resume=True,
        doctor=True,
        policy=demo / "rl_init",
        reward_model=demo / "reward",
        prompts=demo / "prompts",
        text=demo / "stories",
    )


def _compared(
    steps: Sequence[Step], figures: Mapping[tuple[Path, str], list[dict[str, Any]]]
) -> dict[str, Any]:
    replicates = list({step.replicate.folder: step.replicate for step in steps}.values())
    result: dict[str, Any] = {
        "replicates": [
            {
                "demo": one.demo.name,
                "seed": one.seed,
                "points": {
                    method: figures[one.folder, method] for method in ("reference", *METHODS)
                },
            }
            for one in replicates
        ]
    }
    curves = _curves(result)
    result["matched"] = {measure: matched(curves, measure) for measure in _MEASURES}
    result["dpo_less"] = {
        measure: {
            other: differences(result["matched"][measure], "dpo", other) for other in METHODS[1:]
        }
        for measure in _MEASURES
    }
    return result


def _curves(result: Mapping[str, Any]) -> dict[str, list[list[dict[str, Any]]]]:
    """Method -> a curve per replicate, each from the reference on, whose KL to itself is 0."""
    return {
        method: [
            [{**one["points"]["reference"][0], "kl": 0.0}, *one["points"][method]]
            for one in result["replicates"]
        ]
        for method in METHODS
    }


def _guesses(demo: Path) -> dict[str, float]:
    """Seconds of each kind of work, from the demo's own times; DPO takes about three times the reward model's."""
    path = demo / "timings.json"
    took = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    ppo = took.get("ppo", 150.0)
    return {
        **_FIRST_GUESS,
        "dpo": 3 * took.get("reward", 60.0),
        "ppo": ppo,
        "ppo_ptx": took.get("ppo_ptx", ppo),
    }


def _say_plan(steps: Sequence[Step], clock: Clock, say: Callable[[str], None]) -> None:
    seeds = len({step.replicate.folder for step in steps})
    to_train = [step for step in steps if step.needs_training()]
    to_measure = [step for step in steps if not step.is_done()]
    say(
        f"{seeds} {'seed' if seeds == 1 else 'seeds'}, {len(steps)} steps: {len(to_train)} policies to train, "
        f"{len(to_measure)} steps to measure, {_minutes(clock.left(steps))} in all"
    )


def _minutes(seconds: float) -> str:
    return f"about {max(round(seconds / 60), 1)} min" if seconds else "nothing"


def _line(step: Step, row: Mapping[str, Any]) -> str:
    setting = "" if row["setting"] is None else f" {row['setting']:g}"
    where = f"{step.replicate.demo.name} seed {step.replicate.seed}"
    return (
        f"{where}   {step.method + setting:<14} KL {round(row['kl'], 2) + 0.0:6.2f}   "
        f"win rate {row['win_rate']:6.1%}   score {row['score']:+.3f}   tokens {row['length']:.1f}"
    )


def _table(result: Mapping[str, Any]) -> list[str]:
    """Win rates at matched KL, a line per KL."""
    rows = {
        method: {row["kl"]: row for row in found}
        for method, found in result["matched"]["win_rate"].items()
    }
    lines = ["", f"{'KL':>6}" + "".join(f"{method:>22}" for method in rows)]
    for kl in sorted({kl for found in rows.values() for kl in found}):
        cells = [
            f"{row['mean']:.1%} ({row['low']:.1%}, {row['high']:.1%})" if row else "-"
            for row in (found.get(kl) for found in rows.values())
        ]
        lines.append(f"{kl:>6g}" + "".join(f"{cell:>22}" for cell in cells))
    return [*lines, "", "gold win rate against SFT: mean over seeds (lowest, highest)"]
