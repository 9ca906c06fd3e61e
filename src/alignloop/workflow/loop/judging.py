"""Did the round help? A closed blind campaign counted, or a reward model's choice; old and new reward model compared.

Each is a stage that leaves an `evaluation-report` with `report.json` (docs/loop.md says what is in it).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from alignloop.data.jsonl import read_records
from alignloop.data.records import Completion, Completions, Prompt, Ranking
from alignloop.errors import DataError
from alignloop.evaluation.winrate.figures import interval
from alignloop.files import write_json
from alignloop.judges.intervals import pooled, win_rate
from alignloop.judges.preference_votes import WinRate, tally, tally_by_cohort
from alignloop.labeling.judged import votes_in
from alignloop.runs.artifact import Artifact
from alignloop.runs.run import Run
from alignloop.store import campaigns, oversight, tallies
from alignloop.store.project import open_project
from alignloop.store.quality import Scope
from alignloop.workflow.loop.config import JudgingConfig


def count_votes(
    config: JudgingConfig,
    run: Run,
    *,
    project: Path,
    campaign: str,
    challenger: Path,
    against: Path,
    challenger_name: str,
    against_name: str,
) -> Artifact:
    """Count the votes of a closed blind comparison of two policies.

    Args:
        campaign: its name in the project's store.
        challenger, against: the two policies, for lineage.
        challenger_name, against_name: what the store calls their answers.

    Raises:
        JudgmentError: the campaign is not closed, or is not there.
        DataError: it compares other policies, or nobody voted.
    """
    run.input("challenger", challenger, "policy")
    run.input("against", against, "policy")
    store = open_project(project).open(create=False)
    try:
        with store.read() as connection:
            asked = campaigns.get_campaign(connection, name=campaign)
            wrote = oversight.authors_of_items(connection, asked)
            named = {name: policy for policy, name in oversight.policies_of(connection, asked)}
            if sorted(named) != sorted((challenger_name, against_name)):
                raise DataError(
                    f"'{campaign}' compares {', '.join(named) or 'nothing'}, not {challenger_name} and {against_name}"
                )
            scope = Scope(purposes=("evaluation",), campaign_id=asked.id)
            votes = votes_in(connection, scope, wrote, named[challenger_name])
            labels, simulated = tallies.simulated_in(connection, asked.id)
    finally:
        store.close()
    if not votes:
        raise DataError(f"nobody voted in '{campaign}': there is nothing to count")
    every = tally(votes, seed=config.seed, resamples=config.resamples)
    cohorts = tally_by_cohort(votes, seed=config.seed, resamples=config.resamples)
    report: dict[str, Any] = {
        "schema": 1,
        "judges": "blind votes",
        "against": against_name,
        "simulated": simulated > 0,
        "simulated_votes": simulated,
        "votes": labels,
        "prompts": every.prompts,
        "labelers": every.labelers,
        "seed": config.seed,
        "win_rate": {
            challenger_name: {
                "all_labelers": interval(every.rate),
                **{f"{cohort}_labelers": interval(found.rate) for cohort, found in cohorts.items()},
            }
        },
        "over_labelers": interval(every.rate_over_labelers),
        "ties": interval(every.ties),
        "both_bad": interval(every.both_bad),
        "left_side": interval(every.side.left),
    }
    return run.finish(
        "evaluation-report",
        lambda folder: write_json(folder / "report.json", report),
        _facts(report, challenger_name, every),
    )


def judge_by_reward(
    config: JudgingConfig,
    run: Run,
    *,
    challenger: Path,
    against: Path,
    answers: Path,
    answers_against: Path,
    reward_model: Path,
    challenger_name: str,
    against_name: str,
) -> Artifact:
    """Let a reward model choose between the first answers of two policies to every test prompt.

    Args:
        answers, answers_against: `completions` artefacts with a `test` file, of the same prompts.

    Raises:
        DataError: they share no prompt.
    """
    from alignloop.models.reward_scorer import RewardScorer

    run.input("challenger", challenger, "policy")
    run.input("against", against, "policy")
    scorer = RewardScorer(run.input("reward_model", reward_model, "reward-model").path)
    new = _firsts(run.input("answers", answers, "completions"))
    old = _firsts(run.input("answers_against", answers_against, "completions"))
    shared = [prompt for prompt in new if prompt in old]
    if not shared:
        raise DataError(f"{answers} and {answers_against} answer no prompt in common")
    scores = [
        scorer.scores([one[key][0] for key in shared], [one[key][1] for key in shared])
        for one in (new, old)
    ]
    outcomes = [1.0 if a > b else 0.5 * (a == b) for a, b in zip(*scores, strict=True)]
    estimate = asdict(win_rate(outcomes, seed=config.seed, resamples=config.resamples))
    report: dict[str, Any] = {
        "schema": 1,
        "judges": "reward model",
        "against": against_name,
        "simulated": False,
        "prompts": len(shared),
        "seed": config.seed,
        "win_rate": {challenger_name: {"reward_model": estimate}},
    }
    return run.finish(
        "evaluation-report",
        lambda folder: write_json(folder / "report.json", report),
        {"judges": "reward model", "win_rate": estimate, "against": against_name},
    )


def check_reward_models(
    config: JudgingConfig, run: Run, *, old: Path, new: Path, rankings: Path
) -> Artifact:
    """How often the reward models of two rounds agree with the newer rankings, and the difference.

    The validation side alone: the newer model learned from the other. Intervals are over prompts.

    Raises:
        DataError: no pair of that side is ordered.
    """
    from alignloop.evaluation.reward_metrics import judged_pairs
    from alignloop.evaluation.reward_scores import score_rankings

    judges = {
        name: run.input(name, path, "reward-model").path
        for name, path in (("old", old), ("new", new))
    }
    source = run.input("rankings", rankings, "rankings")
    rows = read_records(source.file("valid.jsonl.gz"), Ranking)
    if not any(row.pairs() for row in rows):
        raise DataError(f"{rankings}: the labelers ordered no pair of the validation side")
    right = {
        name: [pair.right for pair in judged_pairs(rows, score_rankings(path, rows))]
        for name, path in judges.items()
    }
    prompts = [row.prompt.id for row in rows for _ in row.pairs()]

    def estimate(values: Sequence[float]) -> dict[str, float]:
        return asdict(pooled(values, prompts, seed=config.seed, resamples=config.resamples))

    report: dict[str, Any] = {
        "schema": 1,
        "judges": "labelers of the new rankings",
        "pairs": len(prompts),
        "prompts": len(set(prompts)),
        "seed": config.seed,
        "accuracy": {name: estimate(values) for name, values in right.items()},
        "gain": estimate([b - a for a, b in zip(right["old"], right["new"], strict=True)]),
    }
    return run.finish(
        "evaluation-report",
        lambda folder: write_json(folder / "report.json", report),
        {
            "pairs": len(prompts),
            "old_accuracy": report["accuracy"]["old"],
            "new_accuracy": report["accuracy"]["new"],
            "gain": report["gain"],
        },
    )


# --- inside -----------------------------------------------------------------------------------------------------


def _firsts(source: Artifact) -> dict[str, tuple[Prompt, Completion]]:
    rows = read_records(source.file("test.jsonl.gz"), Completions)
    return {row.prompt.id: (row.prompt, row.completions[0]) for row in rows}


def _facts(report: dict[str, Any], challenger: str, every: WinRate) -> dict[str, Any]:
    return {
        "judges": "SIMULATED labelers" if report["simulated"] else "people",
        "win_rate": interval(every.rate),
        "against": report["against"],
        "votes": report["votes"],
        "challenger": challenger,
    }
