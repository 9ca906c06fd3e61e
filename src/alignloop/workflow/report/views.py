"""The figures of `report.json` as the page shows them: sentences, table rows, sample cards. No HTML here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from alignloop.pages import Table
from alignloop.workflow.report.data import (
    DASH,
    JUDGES,
    Interval,
    between,
    duration,
    in_order,
    model_name,
    number,
    percent,
    spaced,
    whole,
)

Results = Mapping[str, Any]

MOST_SAMPLES = 8
SHOWN_SIDE_BY_SIDE = ("sft", "ppo", "ppo_ptx")
MOST_TAX = 0.03
"""Share of the RL init's pretraining loss by which PPO-ptx may exceed it: the demo's target."""


@dataclass(frozen=True, slots=True)
class Band:
    """An interval on a scale from 0 to 100 per cent."""

    label: str
    mean: float
    low: float
    high: float
    text: str


@dataclass(frozen=True, slots=True)
class Headline:
    """The result in a sentence, what it means in another, and each judge's interval."""

    sentence: str
    meaning: str
    bands: Sequence[Band]


def headline(results: Results) -> Headline:
    """PPO-ptx against SFT, by the first judge of the page that was asked."""
    rates = results.get("win_rate", {}).get("ppo_ptx", {})
    if results.get("smoke"):
        return Headline("Every step of the loop ran, once and small.", "", [])
    if not rates:
        return Headline("From children's stories to an aligned model.", "", [])
    judge = next(iter(in_order(rates, JUDGES)))
    rate = rates[judge]
    who = {
        "heldout_labelers": "Simulated labelers preferred PPO-ptx to SFT",
        "gold": "The gold utility preferred PPO-ptx to SFT",
    }.get(judge, f"{JUDGES.get(judge, spaced(judge))} preferred PPO-ptx to SFT")
    sentence = f"{who} in {percent(rate['mean'], 0)} of {whole(rate['n'])} held-out prompts."
    bands = [
        Band(
            label=JUDGES.get(name, spaced(name)),
            mean=round(100.0 * rates[name]["mean"], 2),
            low=round(100.0 * rates[name]["low"], 2),
            high=round(100.0 * rates[name]["high"], 2),
            text=f"{percent(rates[name]['mean'])} ({between(rates[name])})",
        )
        for name in in_order(rates, JUDGES)
    ]
    return Headline(
        sentence, f"95 % interval {between(rate)} %, ties count half. {_meaning(rate)}", bands
    )


def _meaning(rate: Interval) -> str:
    if rate["low"] > 0.5:
        return "The whole interval lies above 50 %: chance is a poor explanation."
    if rate["high"] < 0.5:
        return "The whole interval lies below 50 %: PPO-ptx lost."
    return "The interval contains 50 %: this run shows no difference."


def win_tables(results: Results) -> list[Table]:
    """Every win rate of the report: against SFT, length-matched, and against other models."""
    found = [
        ("Against SFT", results.get("win_rate", {})),
        ("Against SFT, among answers of like length", results.get("win_rate_length_matched", {})),
    ]
    against = results.get("win_rate_against", {})
    found += [(f"Against {model_name(other)}", against[other]) for other in in_order(against)]
    return [_win_table(title, rates) for title, rates in found if rates]


def _win_table(title: str, rates: Mapping[str, Mapping[str, Interval]]) -> Table:
    judges = in_order({judge: None for by_judge in rates.values() for judge in by_judge}, JUDGES)
    rows: list[list[str]] = []
    for model in in_order(rates):
        cells = [rates[model].get(judge) for judge in judges]
        prompts = sorted({whole(cell["n"]) for cell in cells if cell})
        shown = [f"{percent(cell['mean'])} ({between(cell)})" if cell else DASH for cell in cells]
        rows.append([model_name(model), *shown, " / ".join(prompts)])
    columns = ["Model", *(JUDGES.get(judge, spaced(judge)) for judge in judges), "Prompts"]
    return Table(title, columns, rows, "PPO-ptx")


def length_band(results: Results) -> str:
    """How many times as long as the shorter the longer answer of a length-matched pair may be, or nothing."""
    matched = results.get("win_rate_length_matched", {})
    cells = [cell for model in ("ppo", "ppo_ptx") for cell in matched.get(model, {}).values()]
    bands = [cell["band"] for cell in cells if "band" in cell]
    return f"{max(bands):g}" if bands else ""


def interval_table(title: str, first: str, rates: Mapping[str, Mapping[str, Interval]]) -> Table:
    """Win rates by criterion (or the like): a row each, a column per model."""
    models = in_order(rates)
    names = list(dict.fromkeys(name for model in models for name in rates[model]))
    rows = [
        [
            spaced(name),
            *(
                f"{percent(cell['mean'])} ({between(cell)})"
                if (cell := rates[model].get(name))
                else DASH
                for model in models
            ),
        ]
        for name in names
    ]
    return Table(title, [first, *map(model_name, models)], rows)


def pretraining_table(results: Results) -> Table | None:
    """Loss on held-out stories, and how far from the RL init's."""
    losses = results.get("pretrain_loss", {})
    if not losses:
        return None
    start = losses.get("rl_init")
    rows = [
        [
            model_name(model),
            number(losses[model], 3),
            f"{number(100.0 * (losses[model] / start - 1.0), 1, signed=True)} %" if start else DASH,
        ]
        for model in in_order(losses)
    ]
    columns = ["Model", "Nats per token", "Against RL init"]
    return Table("Loss on held-out stories", columns, rows, "PPO-ptx")


def models_table(results: Results) -> Table | None:
    """One row per model, one column per figure that the report has."""
    kl = results.get("kl", {})
    distinct = results.get("distinct", {})
    columns: list[tuple[str, dict[str, str]]] = [
        ("Gold utility", {m: number(v, 3) for m, v in results.get("gold_utility", {}).items()}),
        (
            "Pretraining loss",
            {m: number(v, 3) for m, v in results.get("pretrain_loss", {}).items()},
        ),
        ("KL to RL init", {m: number(v.get("reference"), 2) for m, v in kl.items()}),
        ("KL to SFT", {m: number(v.get("sft"), 2) for m, v in kl.items()}),
        ("Ended by itself", {m: percent(v) for m, v in results.get("eos_rate", {}).items()}),
        ("Tokens", {m: number(v, 1) for m, v in results.get("length", {}).items()}),
        ("Distinct-1", {m: number(v.get("1"), 3) for m, v in distinct.items()}),
        ("Distinct-2", {m: number(v.get("2"), 3) for m, v in distinct.items()}),
    ]
    columns = [(title, cells) for title, cells in columns if cells]
    if not columns:
        return None
    models = in_order({model: None for _, cells in columns for model in cells})
    rows = [[model_name(m), *(cells.get(m, DASH) for _, cells in columns)] for m in models]
    return Table(
        "Means over the test prompts", ["Model", *(t for t, _ in columns)], rows, "PPO-ptx"
    )


def reward_table(results: Results) -> Table | None:
    """Pair accuracies, of all pairs and of pairs of like length, beside baselines and ceiling."""
    accuracy = results.get("rm", {}).get("pair_accuracy", {})
    matched = results.get("rm", {}).get("pair_accuracy_length_matched", {})
    if not accuracy:
        return None
    names = {
        "train_labelers": "Reward model, against the training simulated labelers",
        "heldout_labelers": "Reward model, against the held-out simulated labelers",
        "gold": "Reward model, against the gold utility",
        "longer_wins": "Baseline: the longer one wins",
        "bag_of_words": "Baseline: a bag of words",
        "ceiling": "Ceiling: gold utility, against one noisy simulated labeler",
    }
    rows = [
        [names.get(key, spaced(key)), percent(accuracy.get(key)), percent(matched.get(key))]
        for key in in_order({**accuracy, **matched}, names)
    ]
    if not matched:
        rows = [row[:2] for row in rows]
    columns = ["In the right order", "All pairs", "Pairs of like length"][: len(rows[0])]
    return Table(
        "Pairs in the right order, on held-out prompts", columns, rows, names["train_labelers"]
    )


def bytes_table(results: Results) -> Table | None:
    """Bits per byte of the base model, a 5-gram model and gzip, by source."""
    bits = results.get("bits_per_byte", {})
    if not bits:
        return None
    names = {"model": "Base model", "five_gram": "5-gram model", "gzip": "gzip"}
    sources = {"All held-out text": bits}
    sources |= {spaced(source): row for source, row in bits.get("by_source", {}).items()}
    rows = [
        [source, *(number(row.get(key), 2) for key in names)] for source, row in sources.items()
    ]
    return Table(
        "Bits per byte on held-out titles", ["Source", *names.values()], rows, "All held-out text"
    )


def epochs_table(results: Results) -> Table | None:
    """The epochs of SFT, and which one was chosen."""
    sft = results.get("sft", {})
    if not sft.get("epochs"):
        return None
    rows = [
        [
            str(epoch["epoch"]),
            number(epoch.get("valid_loss"), 3),
            number(epoch.get("rm_score"), 3),
            "chosen" if epoch["epoch"] == sft.get("chosen") else "",
        ]
        for epoch in sft["epochs"]
    ]
    columns = ["Epoch", "Validation loss", "Reward-model score", ""]
    return Table("SFT epochs, on validation prompts", columns, rows, str(sft.get("chosen")))


def timing_rows(
    timings: Mapping[str, float], budget: Mapping[str, float]
) -> list[tuple[str, str, str, float]]:
    """Stage, its time and its budget as text, its share of the longest in per cent."""
    longest = max(timings.values(), default=0.0) or 1.0
    return [
        (
            model_name(stage),
            duration(seconds),
            duration(budget[stage]) if stage in budget else "",
            round(100.0 * seconds / longest, 2),
        )
        for stage, seconds in timings.items()
    ]


def sample_cards(samples: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The first samples, each with its answers side by side.

    Gold's choice is the best of the answers shown. Where nobody checked the constraints, the prompt lists them.
    """
    cards: list[dict[str, Any]] = []
    for sample in samples[:MOST_SAMPLES]:
        responses: Mapping[str, Mapping[str, Any]] = sample.get("responses", {})
        models = [m for m in SHOWN_SIDE_BY_SIDE if m in responses] or in_order(responses)
        constraints = list(sample.get("constraints") or ())
        golds = {model: responses[model].get("gold") or 0.0 for model in models}
        winner = sample.get("gold_winner")
        if winner not in models and winner is not None:
            winner = max(models, key=lambda model: golds[model])
        answers = [
            {
                "key": model,
                "name": model_name(model),
                "text": responses[model]["text"],
                "finished": responses[model].get("finished", True),
                "gold": number(responses[model].get("gold"), 2),
                "is_winner": winner == model,
                "checks": _checks(constraints, responses[model].get("satisfied")),
            }
            for model in models
        ]
        cards.append(
            {
                "prompt": sample["prompt"],
                "constraints": [] if any(answer["checks"] for answer in answers) else constraints,
                "human": sample.get("human", ""),
                "answers": answers,
            }
        )
    return cards


def _checks(constraints: Sequence[str], satisfied: Sequence[bool] | None) -> list[tuple[str, bool]]:
    return list(zip(constraints, satisfied, strict=True)) if satisfied is not None else []
