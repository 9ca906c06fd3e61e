"""Learning against the peer: our PPO and TRL's from one start, towards one reward, on the same prompts and seeds.

    python -m benchmarks.learning --demo demo --out learning

Every training that is finished is kept, so the same command goes on after an interruption. docs/performance.md says
what is equal on both sides, what is tuned, and how it is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import environments, measuring
from benchmarks.job import PRECISIONS, Precision
from benchmarks.race.plan import (
    ENVIRONMENT,
    EPOCHS,
    MEASURING_GUESS,
    PEER,
    RATES,
    SIDES,
    SPEEDS,
    Race,
    Shared,
    Side,
    Speeds,
    Training,
)
from benchmarks.race.runner import Runner, minutes, ours, write
from benchmarks.race.summary import best_trial, quickest, summary, table

DTYPES: Mapping[str, Sequence[Precision]] = {
    "fp32": ("float32",),
    "bf16": ("bfloat16",),
    "best": PRECISIONS,
}
SAME_SCORE = 1e-3
"""How far the scores that both sides read of a text may lie apart."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parsed = argparse.ArgumentParser(
        prog="python -m benchmarks.learning", description=(__doc__ or "").splitlines()[0]
    )
    parsed.add_argument("--demo", type=Path, required=True, help="a finished demo")
    parsed.add_argument("--out", type=Path, required=True, help="trainings, JSON and pictures")
    parsed.add_argument("--seeds", type=int, default=3, help="trainings in full per side")
    parsed.add_argument("--iterations", type=int, help="of a training in full; else the demo's")
    parsed.add_argument("--every", type=int, default=2, help="iterations between two points")
    parsed.add_argument("--rates", type=float, nargs="+", default=RATES, help="learning rates")
    parsed.add_argument("--epochs", type=int, nargs="+", default=EPOCHS, help="inner epochs")
    parsed.add_argument("--copies", type=int, default=2, help="answers per validation prompt")
    parsed.add_argument("--dtype", choices=DTYPES, default="best", help="of both sides")
    parsed.add_argument("--threads", type=int, default=2, help="of both sides")
    parsed.add_argument("--ours-only", action="store_true", help="leave the peer out")
    parsed.add_argument("--plan", action="store_true", help="say what there is to do, and stop")
    parsed.add_argument("--venvs", type=Path, default=environments.FOLDER, help="of the peer")
    return parsed


def main() -> None:
    """Prepare, compare the scores, try settings, race, sum up."""
    told = parser().parse_args()
    out, demo, load = told.out.resolve(), told.demo.resolve(), os.getloadavg()
    race, shared = race_of(demo, told)
    say(plan(race))
    if told.plan:
        return
    python = None if told.ours_only else environments.python_of(ENVIRONMENT, told.venvs)
    out.mkdir(parents=True, exist_ok=True)
    inputs = {
        "demo": str(demo),
        "folder": str(out / "inputs"),
        "seeds": list(race.seeds),
        "iterations": race.longest,
    }
    given = ours("benchmarks.race.inputs", inputs, told.threads)["given"]
    same = check_scores(given, out, python, told.threads)
    runner = Runner(out, shared, given, told.threads, told.copies, python, say)
    result = {
        "peer": PEER,
        "shared": asdict(shared),
        "hashes": given["hashes"],
        "same_scores": same,
        **raced(race, runner),
        "machine": {**measuring.measured_on(load), "threads": told.threads},
    }
    write(out / "learning.json", result)
    pictures(out, result)
    print(table(result))


def say(text: str) -> None:
    """Progress, beside the table."""
    print(text, file=sys.stderr, flush=True)


def race_of(demo: Path, told: argparse.Namespace) -> tuple[Race, Shared]:
    """What is to be compared, from a finished demo and the command line."""
    try:
        seed = json.loads((demo / "demo.json").read_text(encoding="utf-8"))["seed"]
        ppo = json.loads((demo / "ppo" / "config.json").read_text(encoding="utf-8"))
    except FileNotFoundError as missing:
        raise SystemExit(
            f"{demo}: no finished demo ({missing.filename} is missing); run './alignloop demo' first"
        ) from None
    shared = Shared.of(ppo)
    sides: tuple[Side, ...] = ("ours",) if told.ours_only else SIDES
    seeds = range(seed, seed + told.seeds)
    iterations = told.iterations or ppo["episodes"] // shared.batch_size
    dtypes = DTYPES[told.dtype]
    return Race(sides, dtypes, seeds, iterations, told.every, told.rates, told.epochs), shared


def plan(race: Race) -> str:
    """What there is to do, and about how long it takes if nothing is there yet."""
    speeds, trials, full = race.speed_trials(), *later(race)
    every = [*speeds, *trials, *full]
    seconds = sum(one.guess() + MEASURING_GUESS * len(one.steps) for one in every)
    each = len(race.sides)
    return (
        f"for each of {', '.join(race.sides)}: {len(speeds) // each} speed trials, {len(trials) // each} trials of "
        f"{race.trial_iterations} iterations, {len(full) // each} trainings of {race.iterations} iterations with a "
        f"point every {race.every}; about {minutes(seconds)} on two cores that nothing else uses"
    )


def later(race: Race) -> tuple[list[Training], list[Training]]:
    """Trials and trainings in full as far as they can be known before the trials: for the time left."""
    speeds: Speeds = {(side, p): SPEEDS[side, p][0] for side in race.sides for p in race.precisions}
    chosen = dict.fromkeys(race.sides, (race.rates[0], max(race.epochs)))
    return race.trials(speeds), race.full(speeds, chosen)


def check_scores(
    given: Mapping[str, Any], out: Path, python: Path | None, threads: int
) -> dict[str, Any] | None:
    """Both sides have to read the same score from the same text, or there is nothing to compare.

    Raises:
        SystemExit: they do not.
    """
    if python is None:
        return None
    texts = out / "inputs" / "texts.json"
    told = {"folder": given["reward_model"], "policy": given["policy"], "texts": str(texts)}
    done = measuring.run(python, "benchmarks.peer.reward_model", json.dumps(told), threads)
    if "error" in done:
        raise SystemExit(f"the peer could not score the texts: {done['error']}")
    mine = json.loads(texts.read_text(encoding="utf-8"))
    apart = max(abs(a - b) for a, b in zip(mine["scores"], done["scores"], strict=True))
    say(f"scores of {len(mine['scores'])} texts ({mine['ended']} of them end): {apart:.1e} apart")
    if not apart <= SAME_SCORE:
        raise SystemExit(f"both sides read scores that are {apart:.1e} apart, above {SAME_SCORE:g}")
    return {"texts": len(mine["scores"]), "ended": mine["ended"], "largest_difference": apart}


def raced(race: Race, runner: Runner) -> dict[str, Any]:
    """Every training: trials of speed, trials of settings, and in full."""
    trials, full = later(race)
    after = [sum(map(runner.seconds_left, rest)) for rest in ([*trials, *full], full)]
    tried = runner.run("speed", race.speed_trials(), after[0])
    speeds: dict[tuple[Side, Precision], Mapping[str, Any]] = {}
    for side in race.sides:
        for precision in race.precisions:
            wanted = {"side": side, "precision": precision}
            own = [r for r in tried if wanted.items() <= r["training"].items()]
            speeds[side, precision] = quickest(own)["training"]["speed"]

    learned = runner.run("trial", race.trials(speeds), after[1])
    chosen: dict[Side, tuple[float, int]] = {}
    for side in race.sides:
        best = best_trial([r for r in learned if r["training"]["side"] == side])["training"]
        chosen[side] = best["learning_rate"], best["inner_epochs"]
        say(f"{side}: learning rate {chosen[side][0]:g}, {chosen[side][1]} inner epochs")

    runs = runner.run("full", race.full(speeds, chosen), 0.0)
    return {
        "chosen": {
            side: {"learning_rate": rate, "inner_epochs": epochs}
            for side, (rate, epochs) in chosen.items()
        },
        "speeds": {f"{side} {precision}": speed for (side, precision), speed in speeds.items()},
        "speed_trials": tried,
        "trials": learned,
        "runs": runs,
        "summary": summary(runs),
    }


def pictures(out: Path, result: Mapping[str, Any]) -> None:
    """`learning-PAIR.svg` for each pair of precisions; without a peer, one of each precision."""
    from benchmarks.race.draw import draw

    pairs = {name: pair["precisions"] for name, pair in result["summary"].items()}
    if not pairs:
        dtypes = dict.fromkeys(run["training"]["precision"] for run in result["runs"])
        pairs = {precision: {"ours": precision} for precision in dtypes}
    for name, precisions in pairs.items():
        draw(out / f"learning-{name}.svg", result["runs"], precisions)


if __name__ == "__main__":
    main()
