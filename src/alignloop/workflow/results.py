"""From the demo's artefacts to what its report shows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

from alignloop import __version__
from alignloop.data.constraints import describe, is_satisfied
from alignloop.data.jsonl import read_objects, read_records
from alignloop.data.records import Demonstration, Prompt
from alignloop.judges.gold import GOLD_VERSION, Gold
from alignloop.judges.labelers import HELD_OUT_TASTES, TRAINING_TASTES
from alignloop.judges.lexicon import Lexicon
from alignloop.resources import asset
from alignloop.runs.metrics import MetricsLog
from alignloop.workflow.report.data import ReportData
from alignloop.workflow.samples import prompts_by_id, read_samples
from alignloop.workflow.targets import judge_targets

RUNS = ("sft", "rl_init", "sft_more", "reward", "ppo", "ppo_ptx")
SHOWN = 8
"""Samples in the report: those of the first prompts by id."""


def collect_results(
    folder: Path,
    evaluation: Path,
    *,
    seed: int,
    smoke: bool,
    budget: Mapping[str, float],
    chat_command: str,
) -> ReportData:
    """Everything that the report shows, from the finished stages of a demo folder."""
    facts = {
        path.parent.parent.name: json.loads(path.read_text())["facts"]
        for path in sorted(folder.glob("*/artifact/artifact.json"))
    }
    metrics = {name: MetricsLog(folder / name).read() for name in RUNS}
    report: dict[str, Any] = json.loads((evaluation / "report.json").read_text())
    lexicon = Lexicon.load(folder / "lexicon" / "artifact" / "lexicon.json.gz")
    test_prompts = report.pop("test_prompts")
    report["rm"]["bias"] = facts["reward"]["reward_bias"]
    results: dict[str, Any] = {
        "schema": 1,
        "seed": seed,
        "smoke": smoke,
        "version": __version__,
        "gold_version": GOLD_VERSION,
        "counts": {
            "titles": facts["stories"]["titles"],
            "demonstrations": facts["sft"]["demonstrations"],
            "dropped_long_prompts": facts["sft"]["dropped_long_prompts"],
            "ranked_prompts": facts["rankings"]["rankings"],
            "completions": facts["completions"]["completions"]["rankings"],
            "comparisons": facts["rankings"]["comparisons"],
            "ties": facts["rankings"]["ties"],
            "dropped_prompts": facts["completions"]["dropped_prompts"]["rankings"],
            "rl_prompts": facts["prompts"]["rows"]["rl"],
            "episodes": facts["ppo_ptx"]["episodes"],
            "updates": facts["ppo_ptx"]["updates"],
            "test_prompts": test_prompts,
        },
        "labelers": {
            "agreement": facts["rankings"]["agreement"],
            "agreement_with_ties": facts["rankings"]["agreement_with_ties"],
            "pairs": facts["rankings"]["agreement_pairs"],
            "noise": facts["rankings"]["noise"],
            "train": sorted(TRAINING_TASTES),
            "heldout": sorted(HELD_OUT_TASTES),
        },
        "sft": _epochs(metrics["sft"], facts["baseline"]),
        **report,
        "gold_against_kl": {
            name: _gold_against_kl(folder / name, folder / "prompts", Gold(lexicon))
            for name in ("ppo", "ppo_ptx")
        },
    }
    bits = asset("bits_per_byte.json")
    if bits.is_file():
        results["bits_per_byte"] = json.loads(bits.read_text())
    results["targets"] = judge_targets(results)
    timings: dict[str, float] = json.loads((folder / "timings.json").read_text())
    return ReportData(
        results,
        metrics,
        _samples(folder, evaluation),
        timings,
        budget=dict(budget),
        chat_command=chat_command,
    )


def _epochs(rows: list[dict[str, Any]], selected: dict[str, Any]) -> dict[str, Any]:
    losses = [row["valid_loss"] for row in rows if "valid_loss" in row]
    return {
        "epochs": [
            {"epoch": number, "valid_loss": loss, "rm_score": score}
            for number, (loss, score) in enumerate(
                zip(losses, selected["mean_scores"], strict=False), start=1
            )
        ],
        "chosen": selected["chosen"],
    }


def _gold_against_kl(run: Path, prompts: Path, gold: Gold) -> list[dict[str, float]]:
    """Means over each file of training samples: KL, score, and gold utility."""
    rows = read_samples(run, prompts_by_id(prompts), gold)
    return [
        {
            "iteration": iteration,
            "kl_reference": sum(row.kl for row in group) / len(group),
            "score": sum(row.score for row in group) / len(group),
            "gold": sum(row.gold for row in group) / len(group),
        }
        for iteration, found in groupby(rows, key=lambda row: row.iteration)
        if (group := list(found))
    ]


def _samples(folder: Path, evaluation: Path) -> list[dict[str, Any]]:
    """The first test prompts by id, with every model's answer: a fixed rule, nobody picks."""
    human = _human(folder)
    rows = sorted(
        (row for _, row in read_objects(evaluation / "answers.jsonl.gz")),
        key=lambda row: row["prompt"]["id"],
    )
    # Every n-th prompt, so that one title does not fill the page.
    step = max(len(rows) // SHOWN, 1)
    shown: list[dict[str, Any]] = []
    for row in rows[::step][:SHOWN]:
        prompt = Prompt.model_validate(row["prompt"])
        answers = {
            name: {
                "text": a["text"],
                "finished": a["finished"],
                "gold": a["gold"],
                "satisfied": [is_satisfied(c, a["text"]) for c in prompt.constraints],
            }
            for name, a in row["answers"].items()
        }
        shown.append(
            {
                "prompt": prompt.transcript,
                "constraints": [describe(constraint) for constraint in prompt.constraints],
                "human": human.get(prompt.id, ""),
                "responses": answers,
                "gold_winner": max(answers, key=lambda name: answers[name]["gold"]),
            }
        )
    return shown


def _human(folder: Path) -> dict[str, str]:
    path = folder / "demonstrations" / "artifact" / "test.jsonl.gz"
    return {d.prompt.id: d.response for d in read_records(path, Demonstration)}
