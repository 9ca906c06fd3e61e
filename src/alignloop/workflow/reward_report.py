"""`alignloop reward report`: any reward model, or several as one, on any rankings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignloop.data.jsonl import read_records
from alignloop.data.records import Ranking
from alignloop.errors import DataError
from alignloop.evaluation.baselines import accuracy, bag_of_words
from alignloop.evaluation.reward_metrics import (
    JudgedPair,
    disagreement,
    judged_pairs,
    mean_scores,
    reward_metrics,
    summary,
    violated_pairs,
)
from alignloop.evaluation.reward_scores import score_rankings
from alignloop.files import write_bytes, write_json
from alignloop.runs.artifact import open_artifact
from alignloop.workflow.report.reward_page import render_reward

MOST_VIOLATED = 20
"""Violated pairs in the report, unless told otherwise."""


@dataclass(frozen=True, slots=True)
class Learned:
    """The rankings that a reward model learned from: what tells own labelers from others, and seen prompts."""

    train: list[Ranking]
    valid: list[Ranking]

    @classmethod
    def read(cls, path: Path) -> Learned:
        """Both sides of a `rankings` artefact."""
        found = open_artifact(path, "rankings")
        return cls(
            *(read_records(found.file(f"{s}.jsonl.gz"), Ranking) for s in ("train", "valid"))
        )

    @property
    def prompts(self) -> set[str]:
        """Ids of the prompts that were trained on."""
        return {ranking.prompt.id for ranking in self.train}

    @property
    def labelers(self) -> set[str]:
        """Whose rankings were trained on."""
        return {ranking.labeler for ranking in self.train}


def reward_report(
    models: Sequence[Path],
    rankings: Path,
    out: Path,
    *,
    side: str = "valid",
    learned_from: Path | None = None,
    most_violated: int = MOST_VIOLATED,
) -> dict[str, Any]:
    """Score the rankings, and write `report.json` and `report.html` into `out`. The same inputs give the same bytes.

    Args:
        models: reward models; several are examined as one whose score is the mean of theirs, and beside one another.
        side: `train` or `valid`: which file of the rankings.
        learned_from: the rankings that the models were trained on. Their prompts are left out, labelers count as own
            or held out, and a bag of words learns from them as a rival.

    Returns:
        What `report.json` holds.

    Raises:
        DataError: no pair is left.
        ArtifactError, ModelError: an input cannot be used.
    """
    given = read_records(open_artifact(rankings, "rankings").file(f"{side}.jsonl.gz"), Ranking)
    learned = Learned.read(learned_from) if learned_from else None
    seen = learned.prompts if learned else set[str]()
    rows = [ranking for ranking in given if ranking.prompt.id not in seen]
    if not any(ranking.pairs() for ranking in rows):
        raise DataError(
            f"{rankings}: no pair of '{side}' is left "
            f"({len(given) - len(rows)} of {len(given)} rankings are of prompts that were learned from)"
        )
    judges = [open_artifact(path, "reward-model") for path in models]
    members = [score_rankings(judge.path, rows) for judge in judges]
    scores = mean_scores(members) if len(members) > 1 else members[0]
    pairs = judged_pairs(rows, scores)
    violated = [pair for pair in pairs if pair.ahead < 0]
    results: dict[str, Any] = {
        "schema": 1,
        "models": [
            {
                "sha256": judge.sha256,
                **{
                    k: judge.facts[k] for k in ("epochs", "overfits_from_epoch") if k in judge.facts
                },
                **summary(judged_pairs(rows, own)),
            }
            for judge, own in zip(judges, members, strict=True)
        ],
        "side": side,
        "rankings": len(rows),
        "left_out": len(given) - len(rows),
        "all": reward_metrics(pairs),
        "violated": {"pairs": len(violated), "share": len(violated) / len(pairs)},
        "violated_pairs": violated_pairs(pairs, scores, most_violated),
    }
    if len(members) > 1:
        results["disagreement"] = disagreement(rows, members)
    if learned:
        results |= _own_and_heldout(pairs, learned)
        results["bag_of_words"] = accuracy(bag_of_words(learned.train, learned.valid), rows)
    write_json(out / "report.json", results)
    write_bytes(out / "report.html", render_reward(results).encode("utf-8"))
    return results


def _own_and_heldout(pairs: Sequence[JudgedPair], learned: Learned) -> dict[str, Any]:
    """The figures once more for labelers that were learned from, and for the others; absent where there are none."""
    own = [pair for pair in pairs if pair.ranking.labeler in learned.labelers]
    other = [pair for pair in pairs if pair.ranking.labeler not in learned.labelers]
    groups = {"own_labelers": own, "heldout_labelers": other}
    return {name: reward_metrics(group) for name, group in groups.items() if group}
