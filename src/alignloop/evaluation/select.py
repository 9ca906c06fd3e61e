"""Model selection as the paper does it: not by validation loss, by reward-model score on validation prompts."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from alignloop.data.formatter import Formatter
from alignloop.data.jsonl import read_records
from alignloop.data.records import Prompt
from alignloop.evaluation.config import SelectionConfig
from alignloop.generation.answers import answer
from alignloop.models.loading import check_same_tokens, load_causal_lm, load_tokenizer
from alignloop.models.reward_model import ScalarModel, reward_scores
from alignloop.runs.artifact import Artifact
from alignloop.runs.run import Run


def select(
    config: SelectionConfig,
    run: Run,
    *,
    candidates: Sequence[Path],
    reward_model: Path,
    prompts: Path,
) -> Artifact:
    """Leave the candidate with the highest mean score on validation prompts, as a `policy` artefact of its own."""
    judge = run.input("reward_model", reward_model, "reward-model")
    asked = run.input("prompts", prompts, "prompts")
    scorer = ScalarModel.load(judge.path).eval()
    valid = read_records(asked.file("valid.jsonl.gz"), Prompt)
    opened = [
        run.input(f"candidates-{number}", path, "policy")
        for number, path in enumerate(candidates, start=1)
    ]
    means: list[float] = []
    check_same_tokens(judge.path, *(artifact.path for artifact in opened))
    for number, artifact in enumerate(opened, start=1):
        formatter = Formatter.of(load_tokenizer(artifact.path))
        answers = answer(
            load_causal_lm(artifact.path),
            formatter,
            valid,
            config.sampling,
            config.seed,
            f"candidate-{number}",
            copies=config.copies,
        )
        repeated = [prompt for prompt in valid for _ in range(config.copies)]
        scores = reward_scores(
            scorer, formatter, repeated, [a.tokens for group in answers for a in group]
        )
        means.append(sum(scores) / len(scores))
    chosen = max(range(len(means)), key=lambda i: means[i])

    def write(folder: Path) -> None:
        ignore = shutil.ignore_patterns("artifact.json")
        shutil.copytree(opened[chosen].path, folder, ignore=ignore, dirs_exist_ok=True)

    return run.finish(
        "policy", write, {"stage": "select", "mean_scores": means, "chosen": chosen + 1}
    )
