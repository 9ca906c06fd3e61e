"""`alignloop reward score`: a file of answers in, the same with scores out."""

from __future__ import annotations

from pathlib import Path

from alignloop.data.jsonl import read_objects, read_records, write_objects
from alignloop.data.records import Completion, Demonstration
from alignloop.models.reward_scorer import RewardScorer
from alignloop.runs.artifact import open_artifact


def score_answers(model: Path, answers: Path, out: Path) -> list[float]:
    """Write every line of a JSON Lines file again with a `score`, and return the scores.

    Args:
        model: a `reward-model` artefact or run folder, or a plain folder of a sequence-classification model.
        answers: lines as `alignloop data import --set kind=demonstrations` takes them.

    Raises:
        ArtifactError, ModelError: there is no reward model.
        DataError: a line is no prompt with a response, or does not fit the context.
    """
    rows = read_records(answers, Demonstration)
    completions = [Completion(text=row.response, model="", finished=True, tokens=0) for row in rows]
    scorer = RewardScorer(open_artifact(model, "reward-model").path)
    scores = scorer.scores([row.prompt for row in rows], completions)
    given = (row for _, row in read_objects(answers))
    write_objects(out, [{**row, "score": s} for row, s in zip(given, scores, strict=True)])
    return scores
