"""The rounds of a project in one report: labels, win rates, reward models, score, KL and length, with a page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from alignloop.data.jsonl import read_objects
from alignloop.data.records import Prompt
from alignloop.evaluation.winrate.figures import interval
from alignloop.files import write_bytes, write_json
from alignloop.judges.measure import ratio
from alignloop.runs.artifact import Artifact
from alignloop.runs.run import Run
from alignloop.workflow.loop import names
from alignloop.workflow.loop.config import JudgingConfig
from alignloop.workflow.loop.names import CONTROL, Arm
from alignloop.workflow.loop.view import rounds_page

Json = dict[str, Any]


def report_rounds(
    config: JudgingConfig,
    run: Run,
    *,
    reports: Mapping[str, Path],
    policies: Mapping[str, Path],
    rankings: Mapping[str, Path],
    reference: Path,
    rounds: int,
    ptx: bool,
    control: bool,
) -> Artifact:
    """Put together what every round left, and measure what none of them did: KL to the reference, and length.

    Args:
        reports: `evaluation-report` artefacts by the names of their runs.
        policies, rankings: the same of policies that were compared, and of what reward models learned from.
        reference: the policy that KL is measured to.
        rounds: how many.
        ptx: whether PPO mixed in pretraining gradients.
        control: whether rounds after the first have a control.
    """
    found = {
        name: run.input(name, path, "evaluation-report").path for name, path in reports.items()
    }
    learned = {
        name: dict(run.input(name, path, "rankings").facts) for name, path in rankings.items()
    }
    opened = {name: run.input(name, path, "policy").path for name, path in policies.items()}
    origin = run.input("reference", reference, "policy").path
    read = {name: json.loads((path / "report.json").read_text()) for name, path in found.items()}
    measured = _Measured(config, opened, origin)
    judges = {
        name: {"who": judge["who"], "simulated": judge["simulated"]}
        for one in read.values()
        for name, judge in one.get("judges", {}).items()
    }
    report: Json = {
        "kind": "rounds",
        "schema": 1,
        "seed": config.seed,
        "resamples": config.resamples,
        "simulated": any(judge["simulated"] for judge in judges.values()),
        "control": control,
        "judges": judges,
        "reference": names.RL_INIT if ptx else names.BASELINE,
        "rounds": [],
    }
    for number in range(1, rounds + 1):
        arms: tuple[Arm, ...] = ("", CONTROL) if control and number > 1 else ("",)
        row = _round(number, arms, ptx, read, learned)
        row["policies"] = _policies(
            read[names.judged(number, arms[-1])],
            measured.of(found[names.judged(number, arms[-1])]),
        )
        report["rounds"].append(row)

    def write(folder: Path) -> None:
        write_json(folder / "report.json", report)
        write_bytes(folder / "report.html", rounds_page(report).encode())

    facts = {"rounds": rounds, "control": control, "simulated": report["simulated"]}
    return run.finish("evaluation-report", write, facts)


# --- inside -----------------------------------------------------------------------------------------------------


def _round(
    number: int,
    arms: tuple[Arm, ...],
    ptx: bool,
    read: Mapping[str, Json],
    learned: Mapping[str, Mapping[str, Any]],
) -> Json:
    """Labels, win rates and reward models of a round.

    Args:
        read: run -> its report.
        learned: run -> facts of the rankings that it left.
    """
    # The control's report, where there is one, has every policy and reward model of the round.
    last = arms[-1]
    report, votes = read[names.judged(number, last)], read.get(names.votes(number, last))
    row: Json = {
        "round": number,
        "against": report["baseline"],
        "prompts": report["prompts"],
        "arms": {},
    }
    for arm in arms:
        policy = names.ppo(number, ptx=ptx, arm=arm)
        row["arms"][arm or "loop"] = {
            "policy": policy,
            "labels": _labels(learned[names.rankings(number, arm)]),
            "win_rate": _win_rates(report, read.get(names.votes(number, arm)), policy),
        }
    if last:
        ours, theirs = (names.ppo(number, ptx=ptx, arm=arm) for arm in arms)
        row["head_to_head"] = {
            judge: cell
            for one in (report, votes or {})
            for judge, pairs in one.get("pairs", {}).items()
            if (cell := pairs.get(ours, {}).get(theirs)) is not None
        }
    if number > 1:
        check = read[names.reward_check(number, last)]
        row["reward_models"] = {key: check[key] for key in ("prompts", "pairs", "accuracy", "gain")}
    return row


def _labels(facts: Mapping[str, Any]) -> Json:
    """What a reward model learned from, all rounds so far together."""
    return {"rankings": facts["rows"]["train"], "comparisons": facts["comparisons"]}


def _win_rates(judged: Json, votes: Json | None, policy: str) -> Json:
    found = dict(judged.get("win_rate", {}).get(policy, {}))
    return found | (votes or {}).get("win_rate", {}).get(policy, {})


_SCORE, _WORTH = "mean score of ", "mean worth of "


def _policies(report: Json, measured: Mapping[str, Json]) -> Json:
    """Every policy of a round: mean score by reward model, worth by gold, KL, lengths."""
    found: Json = {}
    for name, one in report["policies"].items():
        scores = {
            judge.removeprefix("reward/"): of_judge["checks"][_SCORE + name]
            for judge, of_judge in report["judges"].items()
            if _SCORE + name in of_judge["checks"]
        }
        worth = [
            of_judge["checks"][_WORTH + name]
            for of_judge in report["judges"].values()
            if _WORTH + name in of_judge["checks"]
        ]
        found[name] = {
            "score": scores,
            **({"worth": worth[0]} if worth else {}),
            **measured[name],
            "characters": one["characters"],
            "finished": one["finished"],
        }
    return found


class _Measured:
    """KL and tokens of answers that a win rate has drawn."""

    def __init__(
        self, config: JudgingConfig, policies: Mapping[str, Path], reference: Path
    ) -> None:
        from alignloop.models.loading import check_same_tokens

        self._config, self._policies, self._reference = config, policies, reference
        check_same_tokens(reference, *policies.values())

    def of(self, judged: Path) -> dict[str, Json]:
        """Policy -> its mean log-ratio to the reference per answer, in nats, and its tokens per answer."""
        from alignloop.data.formatter import Formatter
        from alignloop.evaluation.respond import sequence_log_probs
        from alignloop.models.loading import load_causal_lm, load_tokenizer

        rows = [row for _, row in read_objects(judged / "answers.jsonl.gz")]
        formatter = Formatter.of(load_tokenizer(self._reference))
        reference = load_causal_lm(self._reference)
        found: dict[str, Json] = {}
        for name in rows[0]["answers"]:
            answered = [row for row in rows if name in row["answers"]]
            prompts = [Prompt.model_validate(row["prompt"]) for row in answered]
            answers = [row["answers"][name] for row in answered]
            tokens = [one["token_ids"] for one in answers]
            temperature = float(answers[0]["sampling"]["temperature"])
            model = load_causal_lm(self._policies[name])
            ours, theirs = (
                sequence_log_probs(one, formatter, prompts, tokens, temperature)
                for one in (model, reference)
            )
            units = [prompt.id for prompt in prompts]
            found[name] = {
                "kl": self._mean([a - b for a, b in zip(ours, theirs, strict=True)], units),
                "tokens": self._mean([float(one["tokens"]) for one in answers], units),
            }
        return found

    def _mean(self, values: Sequence[float], prompts: Sequence[str]) -> Json:
        measure = ratio(
            values,
            [1.0] * len(values),
            prompts,
            seed=self._config.seed,
            resamples=self._config.resamples,
            is_share=False,
        )
        return interval(measure)
