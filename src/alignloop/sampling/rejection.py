"""Rejection sampling: the answers that the reward model likes become demonstrations, for SFT to learn from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from alignloop.data.jsonl import write_records
from alignloop.data.records import Demonstration
from alignloop.errors import DataError
from alignloop.runs.artifact import Artifact
from alignloop.runs.run import Run
from alignloop.sampling.config import RejectionConfig
from alignloop.sampling.scored import Scored, ScoringSampler, open_prompts, read_prompts


def reject(
    config: RejectionConfig,
    run: Run,
    *,
    model: Path,
    reward_model: Path,
    prompts: Path,
    file: str,
    name: str,
) -> Artifact:
    """Sample `n` answers per prompt and keep the best; leaves a `demonstrations` artefact (train, valid).

    Args:
        file: which of the prompts artefact's files gives the train side; `valid` gives the other.
        name: the demonstrations' labeler.
    """
    sampler = ScoringSampler.open(run, model, reward_model, name)
    source = open_prompts(run, prompts)
    drawn = {
        side: sampler.scored(read_prompts(source, where, config.limit, config.seed), config)
        for side, where in (("train", file), ("valid", "valid"))
    }
    kept = {side: kept_answers(rows, config.min_score) for side, rows in drawn.items()}
    for side, chosen in kept.items():
        if not any(chosen):
            raise DataError(
                f"{prompts}: no answer to a prompt for '{side}' ended by itself"
                + (
                    ""
                    if config.min_score is None
                    else f" with a score of {config.min_score:g} or more"
                )
                + "; raise n or sampling.max_new_tokens, or lower min_score"
            )

    def write(folder: Path) -> None:
        for side, rows in drawn.items():
            write_records(
                folder / f"{side}.jsonl.gz",
                [
                    Demonstration(prompt=row.prompt, response=row.completions[i].text, labeler=name)
                    for row, chosen in zip(rows, kept[side], strict=True)
                    for i in chosen
                ],
            )

    every = [score for row in drawn["train"] for score in row.scores]
    liked = [
        row.scores[i]
        for row, chosen in zip(drawn["train"], kept["train"], strict=True)
        for i in chosen
    ]
    return run.finish(
        "demonstrations",
        write,
        {
            "n": config.n,
            "rows": {side: sum(map(len, chosen)) for side, chosen in kept.items()},
            "dropped_prompts": {
                side: sum(not some for some in chosen) for side, chosen in kept.items()
            },
            "mean_score": math.fsum(every) / len(every),
            "mean_score_kept": math.fsum(liked) / len(liked),
        },
    )


def kept_answers(rows: Sequence[Scored], min_score: float | None) -> list[list[int]]:
    """Per prompt the indices of the answers that are kept, best first; of the same text one.

    Truncated answers are never kept [RS-01]: SFT would teach an end where the policy had not come to one.
    """
    kept: list[list[int]] = []
    for row in rows:
        by_text: dict[str, int] = {}
        for i in sorted(range(len(row.scores)), key=lambda i: -row.scores[i]):
            if row.completions[i].finished and row.completions[i].text:
                by_text.setdefault(row.completions[i].text, i)
        ended = list(by_text.values())
        if min_score is None:
            kept.append(ended[:1])
        else:
            kept.append([i for i in ended if row.scores[i] >= min_score])
    return kept
