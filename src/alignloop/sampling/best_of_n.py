"""Best of n: the answer that the reward model likes best, and what the best of any k <= n would have scored."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from alignloop.data.jsonl import write_objects, write_records
from alignloop.data.records import Completions
from alignloop.runs.artifact import Artifact
from alignloop.runs.run import Run
from alignloop.sampling.config import BestOfNConfig
from alignloop.sampling.objective import best_of_k, best_of_k_kl, doublings
from alignloop.sampling.scored import Scored, ScoringSampler, open_prompts, read_prompts


def best_of_n(
    config: BestOfNConfig,
    run: Run,
    *,
    model: Path,
    reward_model: Path,
    prompts: Path,
    files: Sequence[str],
    name: str,
) -> Artifact:
    """Keep the best of `n` answers to each prompt; leaves a `completions` artefact with one completion per prompt.

    Args:
        files: which of the prompts artefact's files, without suffix.
        name: what the completions call the model that wrote them.
    """
    sampler = ScoringSampler.open(run, model, reward_model, name)
    source = open_prompts(run, prompts)
    drawn = {
        file: sampler.scored(read_prompts(source, file, config.limit, config.seed), config)
        for file in files
    }

    def write(folder: Path) -> None:
        for file, rows in drawn.items():
            write_records(
                folder / f"{file}.jsonl.gz",
                [
                    Completions(prompt=row.prompt, completions=(row.completions[row.best()],))
                    for row in rows
                ],
            )
            write_objects(
                folder / f"{file}_scores.jsonl.gz",
                [
                    {"prompt": row.prompt.id, "best": row.best(), "scores": row.scores}
                    for row in rows
                ],
            )

    return run.finish(
        "completions",
        write,
        {
            "n": config.n,
            "prompts": {file: len(rows) for file, rows in drawn.items()},
            "score": {file: expected_scores(rows, config.n) for file, rows in drawn.items()},
            "kl_bound": {str(k): best_of_k_kl(k) for k in doublings(config.n)},
        },
    )


def expected_scores(rows: Sequence[Scored], n: int) -> dict[str, float]:
    """k -> mean over prompts of what the best of k scores, from all n answers."""
    scores = torch.tensor([row.scores for row in rows], dtype=torch.float64)
    return {str(k): float(best_of_k(scores, scores, k).mean()) for k in doublings(n)}
