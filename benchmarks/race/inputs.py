"""What both sides read: paths and settings, prompts as tokens in one order, and texts to compare their scores on."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from alignloop.data.formatter import Formatter
from alignloop.data.jsonl import read_records
from alignloop.data.records import Prompt
from alignloop.generation.answers import answer
from alignloop.generation.engine import SamplingConfig
from alignloop.models.loading import load_causal_lm, load_tokenizer
from alignloop.models.reward_model import ScalarModel, reward_scores
from alignloop.ppo.prompts import asked_in
from alignloop.runs.artifact import Artifact, Kind, open_artifact
from benchmarks.job import reply
from benchmarks.ours.stage import PACKAGES
from benchmarks.race.plan import Shared

TEXTS = 200
PARTS: dict[str, tuple[str, Kind]] = {
    "policy": ("rl_init", "policy"),
    "reward_model": ("reward", "reward-model"),
    "prompts": ("prompts", "prompts"),
    "lexicon": ("lexicon", "lexicon"),
}
"""What is read of a finished demo, and where it lies there."""


def prepare(demo: Path, folder: Path, seeds: list[int], iterations: int) -> dict[str, Any]:
    """Write `given.json`, `prompts-SEED.json` and `texts.json`; returns what is given.

    The texts are answers of the policy that both sides start from, scored by us; most of them end, some are cut off.
    """
    parts = {role: open_artifact(demo / name, kind) for role, (name, kind) in PARTS.items()}
    ppo = json.loads((demo / "ppo" / "config.json").read_text(encoding="utf-8"))
    shared = Shared.of(ppo)
    given = {
        **{role: str(part.path.resolve()) for role, part in parts.items()},
        "shared": asdict(shared),
        "hashes": {role: part.sha256 for role, part in parts.items()},
    }
    formatter = Formatter.of(load_tokenizer(parts["policy"].path))
    records = read_records(parts["prompts"].file("rl.jsonl.gz"), Prompt)
    encoded = formatter.prompts(records)
    for seed in seeds:
        rows = [
            row
            for iteration in range(iterations)
            for row in asked_in(iteration, len(records), shared.batch_size, seed)
        ]
        order = {"ids": [records[i].id for i in rows], "tokens": [encoded[i] for i in rows]}
        _write(folder / f"prompts-{seed}.json", order)
    _write(folder / "texts.json", _texts(parts, records[:TEXTS], formatter, shared))
    _write(folder / "given.json", given)
    return given


def _texts(
    parts: dict[str, Artifact], prompts: list[Prompt], formatter: Formatter, shared: Shared
) -> dict[str, Any]:
    """Answers to prompts, as tokens, and our scores of them."""
    model = load_causal_lm(parts["policy"].path)
    sampling = SamplingConfig(max_new_tokens=shared.max_new_tokens, temperature=shared.temperature)
    answers = [one for (one,) in answer(model, formatter, prompts, sampling, 1, "scored texts")]
    responses = [one.tokens for one in answers]
    judge = ScalarModel.load(parts["reward_model"].path).eval()
    return {
        "texts": list(zip(formatter.prompts(prompts), responses, strict=True)),
        "scores": reward_scores(judge, formatter, prompts, responses),
        "ended": sum(one.completion.finished for one in answers),
    }


def _write(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def main() -> None:
    """Prepare as the command line says, as JSON."""
    told = json.loads(sys.argv[1])
    given = prepare(Path(told["demo"]), Path(told["folder"]), told["seeds"], told["iterations"])
    reply({"given": given}, PACKAGES)


if __name__ == "__main__":
    main()
