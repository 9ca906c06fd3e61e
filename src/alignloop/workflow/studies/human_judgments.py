"""Reward models on people's judgments: five public data sets, split by who asked, beside two simple rivals.

What an earlier call in the same folder finished is taken up again.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from alignloop import progress
from alignloop.data.cutting import Fitted, fit
from alignloop.data.formatter import Formatter
from alignloop.data.human_judgments import JUDGMENTS, read_judgments, split_judgments
from alignloop.data.jsonl import write_records
from alignloop.data.records import Demonstration, Ranking
from alignloop.data.split import SIDES, Side
from alignloop.errors import ConfigError
from alignloop.evaluation.baselines import Scorer, longer_wins
from alignloop.evaluation.bigrams import bag_of_bigrams
from alignloop.evaluation.reward_metrics import Scores, judged_pairs
from alignloop.evaluation.reward_scores import score_rankings
from alignloop.files import write_json
from alignloop.judges.agreement import Agreement, agreement_of
from alignloop.judges.intervals import pooled
from alignloop.models.loading import attention_window, load_causal_lm, load_tokenizer
from alignloop.progress import each
from alignloop.resources import asset
from alignloop.reward.config import RewardConfig
from alignloop.runs.artifact import Artifact, open_artifact, write_artifact
from alignloop.workflow.report.sheet import write_sheet
from alignloop.workflow.stages import run_stage
from alignloop.workflow.studies.human_table import sheet_of, table_of

TOGETHER = "all_together"
"""Folder of the model that learns from all sets at once."""
ANSWER_SHARE = 0.375
"""Of the context that an answer may take: 96 of 256 tokens, for time and to leave room for the prompt."""
LEAST_UPDATES = 60
"""A set whose epochs bring fewer updates is passed over more often."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Prepared:
    """One data set, split and fitted to the model."""

    name: str
    sides: dict[Side, list[Fitted]]
    left_out: dict[str, int]

    def rankings(self, side: Side, *, whole: bool = False) -> list[Ranking]:
        """Those of one side, as the model reads them or whole."""
        return [one.whole if whole else one.cut for one in self.sides[side]]


@dataclass(frozen=True, slots=True)
class Settings:
    """What is trained on what."""

    model: Path
    reward: RewardConfig
    sets: Sequence[str] = field(default_factory=lambda: list(JUDGMENTS))
    seeds: int = 3
    together: bool = False
    """Whether a model of one seed learns from all the sets as well."""
    source: Path = field(default_factory=lambda: asset("human_judgments"))


def human_judgments(settings: Settings, out: Path, say: Say) -> dict[str, Any]:
    """Train reward models on each data set, and one on all of them if asked, and test them on held-out prompts.

    Returns:
        What `out/human_judgments.json` holds: a row per data set; the same as a page in `human_judgments.html`.

    Raises:
        ConfigError: an unknown data set, or one given twice.
        DataError: a data set cannot be read, or a side of it has no pair.
    """
    unknown = [name for name in settings.sets if name not in JUDGMENTS]
    if unknown or len(set(settings.sets)) < len(settings.sets) or not settings.sets:
        raise ConfigError(
            f"data sets are {', '.join(JUDGMENTS)}, each once at most; given: {', '.join(settings.sets)}"
        )
    prepared = prepare(settings)
    seeds = range(settings.reward.seed, settings.reward.seed + settings.seeds)
    plan = [(name, seed) for name in settings.sets for seed in seeds]
    if settings.together:
        # One seed: it costs as much as a seed of all the others.
        plan.append((TOGETHER, seeds[0]))
    for name in dict.fromkeys(name for name, _ in plan):
        _write_inputs(out / name, [p for p in prepared if name in (p.name, TOGETHER)])
    runs: dict[str, dict[int, _Trained]] = {}
    for name, seed in each(plan, "reward models", "model"):
        tested = [p for p in prepared if name in (p.name, TOGETHER)]
        runs.setdefault(name, {})[seed] = found = _train(settings, out / name, seed, tested)
        for one in tested:
            shown = pooled(*_right(one.rankings("test"), found.scores[one.name]))
            progress.say(f"{name}, seed {seed}: {shown.mean:.1%} of {one.name}'s test pairs")
    together = runs[TOGETHER][seeds[0]] if TOGETHER in runs else None
    rows = [
        _row(one, [*runs[one.name].values()], together)
        for one in each(prepared, "rivals", "data set")
    ]
    results: dict[str, Any] = {
        "schema": 1,
        "seeds": list(seeds),
        "settings": settings.reward.model_dump(mode="json"),
        "together": together.facts if together else None,
        "sets": rows,
    }
    write_json(out / "human_judgments.json", results)
    write_sheet(out / "human_judgments.html", sheet_of(results))
    say(table_of(results))
    return json.loads((out / "human_judgments.json").read_text(encoding="utf-8"))


def prepare(settings: Settings) -> list[Prepared]:
    """Read, split and fit the data sets."""
    start = open_artifact(settings.model, "policy")
    formatter = Formatter.of(load_tokenizer(start.path))
    # One token is left free: a cut answer that serves as a demonstration gets its end token back.
    context = attention_window(load_causal_lm(start.path)) - 1
    longest = math.floor((context + 1) * ANSWER_SHARE)
    prepared: list[Prepared] = []
    for name in each(settings.sets, "reading judgments", "data set"):
        found = read_judgments(name, settings.source)
        sides = split_judgments(found.rankings)
        fitted: dict[Side, list[Fitted]] = {
            side: fit(sides[side], formatter, context, longest) for side in SIDES
        }
        prepared.append(Prepared(name, fitted, found.left_out))
    return prepared


def epochs_of(config: RewardConfig, rankings: int) -> int:
    """The config's, or as many as make `LEAST_UPDATES`: a small set would end before it began."""
    updates = -(-rankings // config.batch_size)
    return max(config.epochs, -(-LEAST_UPDATES // updates))


# --- training ---


@dataclass(frozen=True, slots=True)
class _Trained:
    facts: dict[str, Any]
    """Epochs, validation loss and accuracy."""
    scores: dict[str, Scores]
    """Data set -> scores of its test rankings."""


def _write_inputs(folder: Path, sets: Sequence[Prepared]) -> None:
    """The rankings, and the best answers of the train side as the demonstrations that set the scale."""

    def write_rankings(inside: Path) -> None:
        for side in SIDES:
            rows = [ranking for one in sets for ranking in one.rankings(side)]
            write_records(inside / f"{side}.jsonl.gz", rows)

    def write_demonstrations(inside: Path) -> None:
        best = {
            (ranking.prompt.id, text := ranking.completions[ranking.ranks.index(1)].text): (
                Demonstration(prompt=ranking.prompt, response=text)
            )
            for one in sets
            for ranking in one.rankings("train")
            if 1 in ranking.ranks
        }
        write_records(inside / "train.jsonl.gz", best.values())

    facts = {"sets": [one.name for one in sets]}
    write_artifact(folder / "rankings", "rankings", write_rankings, parents=[], facts=facts)
    write_artifact(
        folder / "demonstrations", "demonstrations", write_demonstrations, parents=[], facts=facts
    )


def _train(settings: Settings, folder: Path, seed: int, tested: Sequence[Prepared]) -> _Trained:
    rankings = sum(len(one.sides["train"]) for one in tested)
    epochs = epochs_of(settings.reward, rankings)
    model = run_stage(
        "reward",
        folder / f"seed_{seed}",
        settings.reward.model_copy(update={"seed": seed, "epochs": epochs}),
        resume=True,
        model=settings.model,
        rankings=folder / "rankings",
        demonstrations=folder / "demonstrations",
    )
    place = folder / f"scores_seed_{seed}.json"
    scores = {
        one.name: _scored(model, one, place.with_name(f"{one.name}_{place.name}")) for one in tested
    }
    curve = model.facts.get("epochs")
    facts = {key: model.facts[key] for key in ("valid_loss", "valid_pair_accuracy")}
    facts |= {"seed": seed, "epochs": epochs, "rankings": rankings}
    return _Trained(facts | ({"curve": curve} if curve else {}), scores)


def _scored(model: Artifact, one: Prepared, place: Path) -> Scores:
    """Scores of the test rankings: read where this model's were written before."""
    if place.is_file():
        found = json.loads(place.read_text(encoding="utf-8"))
        if found["model"] == model.sha256:
            return found["test"]
    scores = score_rankings(model.path, one.rankings("test"))
    write_json(place, {"model": model.sha256, "test": scores})
    return scores


# --- what came of it ---


def _right(rankings: Sequence[Ranking], scores: Scores) -> tuple[list[float], list[str]]:
    """Per ordered pair whether the scores agree, and the prompt that it belongs to."""
    pairs = judged_pairs(rankings, scores)
    return [pair.right for pair in pairs], [pair.ranking.prompt.id for pair in pairs]


def _by(scorer: Scorer, rankings: Sequence[Ranking]) -> Scores:
    return [[scorer(r.prompt, completion) for completion in r.completions] for r in rankings]


def _row(one: Prepared, trained: Sequence[_Trained], together: _Trained | None) -> dict[str, Any]:
    """Everything about one data set, every rival on the same pairs of the test side."""
    cut, whole = one.rankings("test"), one.rankings("test", whole=True)
    right = [_right(cut, found.scores[one.name])[0] for found in trained]
    prompts = _right(cut, trained[0].scores[one.name])[1]
    model = [math.fsum(seeds) / len(seeds) for seeds in zip(*right, strict=True)]
    rivals: dict[str, list[float]] = {}
    strengths: dict[str, float] = {}
    for suffix, test in (("", cut), ("_whole", whole)):
        train, valid = (one.rankings(s, whole=suffix != "") for s in ("train", "valid"))
        bigrams = bag_of_bigrams(train, valid)
        strengths[f"bigrams{suffix}"] = bigrams.strength
        rivals[f"longer_wins{suffix}"] = _right(test, _by(longer_wins, test))[0]
        rivals[f"bigrams{suffix}"] = _right(test, _by(bigrams, test))[0]
    row: dict[str, Any] = {
        "set": one.name,
        "counts": {side: _counts([f.whole for f in one.sides[side]]) for side in SIDES},
        "left_out": one.left_out,
        "cut": _cut([f for side in SIDES for f in one.sides[side]]),
        "pairs": len(model),
        "reward_model": asdict(pooled(model, prompts)),
        "reward_model_seeds": [math.fsum(seed) / len(seed) for seed in right],
        "training": [found.facts for found in trained],
        **{name: asdict(pooled(values, prompts)) for name, values in rivals.items()},
        "bigrams_strength": strengths,
        "ahead_of": {
            name: asdict(pooled([m - v for m, v in zip(model, values, strict=True)], prompts))
            for name, values in rivals.items()
        },
        "agreement": _agreement(whole),
    }
    if together is not None:
        row["together"] = asdict(pooled(*_right(cut, together.scores[one.name])))
    return row


def _counts(rankings: Sequence[Ranking]) -> dict[str, int]:
    pairs = sum(len(r.ranks) * (len(r.ranks) - 1) // 2 for r in rankings)
    ordered = sum(len(r.pairs()) for r in rankings)
    return {
        "rankings": len(rankings),
        "prompts": len({r.prompt.id for r in rankings}),
        "groups": len({r.prompt.group for r in rankings}),
        "labelers": len({r.labeler for r in rankings}),
        "pairs": ordered,
        "ties": pairs - ordered,
    }


def _cut(fitted: Sequence[Fitted]) -> dict[str, int]:
    """How many rankings' prompts and how many answers were shortened, of how many."""
    return {
        "prompts": sum(one.is_prompt_cut for one in fitted),
        "of_prompts": len(fitted),
        "answers": sum(one.cut_answers for one in fitted),
        "of_answers": sum(len(one.cut.ranks) for one in fitted),
    }


def _agreement(rankings: Sequence[Ranking]) -> dict[str, Any] | None:
    """How often two people who ordered the same two answers ordered them alike; None where nobody did so."""
    total = sum(agreement_of(rankings).values(), Agreement())
    if not total.ordered:
        return None
    return {
        "pairs": total.ordered,
        "share": total.ordered_share,
        "three_way_share": total.three_way_share,
    }
