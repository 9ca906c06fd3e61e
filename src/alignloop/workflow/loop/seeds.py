"""The same rounds under several seeds: each in a project of its own, and their figures side by side."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from alignloop.config import Config
from alignloop.errors import ConfigError
from alignloop.files import write_bytes, write_json
from alignloop.judges.seeds import over_seeds
from alignloop.runs.artifact import Artifact
from alignloop.runs.run import Run
from alignloop.store.project import Project, open_project
from alignloop.workflow.loop import names
from alignloop.workflow.loop.config import LoopConfig
from alignloop.workflow.loop.drive import look, loop
from alignloop.workflow.loop.steps import Done, Wait, arm_of

Json = dict[str, Any]


class SeedsConfig(Config):
    """Nothing is set: the interval over seeds is Student's."""


def loop_seeds(
    project: Project,
    config: LoopConfig,
    *,
    rounds: int,
    seeds: int,
    say: Callable[[str], None],
) -> Wait | Done:
    """The loop on the bundled stories under several seeds, by simulated labelers; a killed call is taken up.

    The first seed's runs are the project's own, the others' lie in `seeds/N`, each with a store of its own. The report
    on them is the project's run `rounds-N-of-K-seeds`.

    Raises:
        ConfigError: the project has prompts of its own, which no seed could draw anew.
        AlignloopError: as `drive.loop`.
    """
    facts = look(project)
    if not (facts.is_empty or facts.has_story_tasks):
        raise ConfigError(
            "--seeds repeats all of it, prompts and labels included, which a project with prompts of its own cannot; "
            "make a project for each seed, and call `alignloop loop --set seed=N` on each"
        )
    arm = arm_of(config, rounds)
    reports: dict[str, Path] = {}
    for number in range(seeds):
        seed = config.seed + number
        place = project.folder if number == 0 else project.folder / "seeds" / str(seed)
        own = open_project(place)
        say(f"seed {seed} ({number + 1} of {seeds}), in {place}")
        end = loop(
            own,
            config.model_copy(update={"seed": seed}),
            rounds=rounds,
            simulated=True,
            say=say,
        )
        if isinstance(end, Wait):
            return end
        reports[f"seed-{seed}"] = place / "runs" / names.rounds(rounds, arm)
    _put_together(project, config, reports, rounds, seeds, arm)
    return Done(rounds)


def report_seeds(config: SeedsConfig, run: Run, *, reports: Mapping[str, Path]) -> Artifact:
    """Every figure that all of some reports on rounds have: by seed, their mean, and its interval over seeds.

    Args:
        reports: `seed-N` -> `evaluation-report` of the stage `rounds`.
    """
    from alignloop.workflow.loop.view import seeds_page

    found = {
        name.removeprefix("seed-"): json.loads(
            (run.input(name, path, "evaluation-report").path / "report.json").read_text()
        )
        for name, path in reports.items()
    }
    by_seed = {seed: dict(figures_of(report)) for seed, report in found.items()}
    first = next(iter(by_seed.values()))
    shared = [name for name in first if all(name in figures for figures in by_seed.values())]
    report: Json = {
        "kind": "rounds_over_seeds",
        "schema": 1,
        "seeds": list(found),
        "simulated": any(one["simulated"] for one in found.values()),
        "control": all(one["control"] for one in found.values()),
        "figures": [
            _figure(name, {seed: figures[name] for seed, figures in by_seed.items()})
            for name in shared
        ],
    }

    def write(folder: Path) -> None:
        write_json(folder / "report.json", report)
        write_bytes(folder / "report.html", seeds_page(report).encode())

    return run.finish(
        "evaluation-report", write, {"seeds": len(found), "simulated": report["simulated"]}
    )


def figures_of(report: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], float]]:
    """(what it is, value) of the figures of a report on rounds; what has no value is left out."""
    for row in report["rounds"]:
        place = f"round {row['round']}"
        for arm in row["arms"].values():
            pair = f"{arm['policy']} against {row['against']}"
            yield from _cells((place, "win rate", pair), arm["win_rate"])
        if "head_to_head" in row:
            pair = " against ".join(arm["policy"] for arm in row["arms"].values())
            yield from _cells((place, "win rate", pair), row["head_to_head"])
        for what, by_judge in (
            ("accuracy", row.get("reward_models", {}).get("accuracy", {})),
            ("difference of accuracies", row.get("reward_models", {}).get("gain", {})),
        ):
            for judge, cells in by_judge.items():
                for name, cell in cells.items():
                    yield from _cells((place, what, name), {judge: cell})
        for policy, one in row["policies"].items():
            yield from _cells((place, "score", policy), one["score"])
            for what in ("worth", "kl", "tokens"):
                if what in one:
                    yield from _cells((place, what, policy), {"": one[what]})


# --- inside -----------------------------------------------------------------------------------------------------


def _cells(
    place: tuple[str, ...], by_judge: Mapping[str, Mapping[str, Any]]
) -> Iterator[tuple[tuple[str, ...], float]]:
    for judge, cell in by_judge.items():
        if cell["mean"] is not None:
            yield (*place, judge), float(cell["mean"])


def _figure(name: tuple[str, ...], by_seed: Mapping[str, float]) -> Json:
    measure = over_seeds(list(by_seed.values()))
    found: Json = dict(zip(("round", "what", "of", "by"), name, strict=True))
    found |= {"by_seed": dict(by_seed), "mean": measure.value}
    found |= {"low": measure.low, "high": measure.high, "n": measure.clusters}
    return found | ({"reason": measure.reason} if measure.reason else {})


def _put_together(
    project: Project,
    config: LoopConfig,
    reports: Mapping[str, Path],
    rounds: int,
    seeds: int,
    arm: names.Arm,
) -> None:
    from alignloop.workflow.stages import run_stage

    folder = project.folder / "runs" / names.seeds(rounds, seeds, arm)
    run_stage("rounds_over_seeds", folder, SeedsConfig(), resume=True, reports=reports)
