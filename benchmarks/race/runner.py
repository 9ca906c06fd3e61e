"""One training after the other: each in a process of its own, measured by ours, and kept."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import measuring
from benchmarks.race.plan import MEASURING_GUESS, SCRIPTS, Order, Shared, Side, Training
from benchmarks.race.summary import Result, objective, seconds_per_iteration

MOST_SECONDS = 24 * 3600
"""What one process may take."""


def ours(script: str, told: dict[str, Any], threads: int) -> dict[str, Any]:
    """A script of ours in a process of its own, whose failure ends the comparison."""
    done = measuring.run(Path(sys.executable), script, json.dumps(told), threads, MOST_SECONDS)
    if "error" in done:
        raise SystemExit(f"{script} failed: {done['error']}")
    return done


def write(path: Path, value: Any) -> None:
    """Write JSON whole or not at all."""
    aside = path.with_name(f".{path.name}")
    aside.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
    aside.replace(path)


@dataclass(slots=True)
class Runner:
    """Trains and measures, or reads what was trained and measured before, and knows the time left."""

    out: Path
    shared: Shared
    given: dict[str, Any]
    """What `benchmarks.race.inputs` wrote."""
    threads: int
    copies: int
    peer: Path | None
    """Python of the peer's environment."""
    say: Callable[[str], None]
    _rates: dict[tuple[Side, int], list[float]] = field(default_factory=dict)
    """Seconds per iteration of what was trained, by side and inner epochs."""
    _measured: list[float] = field(default_factory=list)
    """Seconds per point of what was measured."""
    _start: dict[str, float] = field(default_factory=dict)
    """Figures of the policy that both sides start from."""

    def run(self, what: str, trainings: Sequence[Training], later: float) -> list[Result]:
        """Results in the order of the trainings.

        Args:
            later: seconds that come after them, for the time left.
        """
        found: list[Result] = []
        for number, training in enumerate(trainings):
            known = self._known(training)
            result = known or self._do(training)
            found.append(result)
            self._rates.setdefault((training.side, training.inner_epochs), []).append(
                seconds_per_iteration(result["seconds"])
            )
            left = sum(map(self.seconds_left, trainings[number + 1 :])) + later
            self.say(
                f"[{what} {number + 1}/{len(trainings)}] {described(result)}"
                f"{' (was there)' if known else ''}; {minutes(left)} left"
            )
        return found

    def seconds_left(self, training: Training) -> float:
        """What a training and its measuring should still take."""
        if self._known(training):
            return 0.0
        rates = self._rates.get((training.side, training.inner_epochs))
        seconds = training.guess()
        if rates:
            seconds = training.iterations * sum(rates) / len(rates)
        point = sum(self._measured) / len(self._measured) if self._measured else MEASURING_GUESS
        return seconds + point * len(training.steps)

    def _known(self, training: Training) -> Result | None:
        """What was found before, if it was with the same settings and inputs."""
        path = self.out / "runs" / training.name / "result.json"
        found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        return found if found.get("made_with") == self._hash(training) else None

    def _hash(self, training: Training) -> str:
        """Of everything but the machine that decides the figures of a training."""
        shared = asdict(self.shared)
        told = [asdict(training), shared, self.given["hashes"], self.threads, self.copies]
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()

    def _do(self, training: Training) -> Result:
        folder = self.out / "runs" / training.name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        trained = self._train(training, folder)
        result = {
            "made_with": self._hash(training),
            "training": asdict(training),
            "points": self._points(training, folder, trained["seconds"]),
            **trained,
        }
        write(folder / "result.json", result)
        shutil.rmtree(folder / "points", ignore_errors=True)  # a whole model each
        return result

    def _train(self, training: Training, folder: Path) -> dict[str, Any]:
        python = Path(sys.executable) if training.side == "ours" else self.peer
        assert python is not None, "the peer was left out"
        order = Order(training, str(self.out / "inputs"), str(folder / "points"), self.threads)
        script = SCRIPTS[training.side]
        done = measuring.run(python, script, order.as_json(), self.threads, MOST_SECONDS)
        if "error" in done:
            raise SystemExit(f"{training.name} failed: {done['error']}")
        assert len(done["seconds"]) == training.iterations, done["seconds"]
        return done

    def _points(
        self, training: Training, folder: Path, seconds: Sequence[float]
    ) -> list[dict[str, Any]]:
        """The start and every saved policy, with the seconds of training until then."""
        if not training.steps:
            return []
        if not self._start:
            start = {0: Path(self.given["policy"])}
            self._start = self._measure(start, self.out / "start")[0]
        order = Order(training, "", str(folder / "points"), self.threads)
        began = time.perf_counter()
        figures = self._measure({n: order.point(n) for n in training.steps}, folder / "measured")
        self._measured.append((time.perf_counter() - began) / len(training.steps))
        return [
            {
                "step": step,
                "episodes": step * self.shared.batch_size,
                "seconds": sum(seconds[:step]),
                **found,
                "objective": objective(found, self.shared),
            }
            for step, found in ({0: self._start} | figures).items()
        ]

    def _measure(self, policies: dict[int, Path], folder: Path) -> dict[int, dict[str, float]]:
        told = {
            "given": self.given,
            "policies": {step: str(path) for step, path in policies.items()},
            "folder": str(folder),
            "copies": self.copies,
            "threads": self.threads,
        }
        found = ours("benchmarks.race.measure", told, self.threads)["figures"]
        return {int(step): figures for step, figures in found.items()}


def described(result: Result) -> str:
    """A training in a line."""
    told = result["training"]
    speed = " ".join(f"{name} {value}" for name, value in told["speed"].items())
    text = (
        f"{told['side']} {told['precision']} seed {told['seed']}, rate {told['learning_rate']:g}, "
        f"{told['inner_epochs']} inner epochs, {speed}: "
        f"{seconds_per_iteration(result['seconds']):.1f} s an iteration"
    )
    if result["points"]:
        first, last = result["points"][0], result["points"][-1]
        text += ", " + ", ".join(
            f"{name} {first[name]:.3f} to {last[name]:.3f}"
            for name in ("score", "objective", "gold")
        )
        text += f", KL {last['kl']:.1f}"
    return text


def minutes(seconds: float) -> str:
    """A time to be read."""
    whole = round(seconds / 60)
    return f"{whole // 60} h {whole % 60:02} min" if whole >= 60 else f"{whole} min"
