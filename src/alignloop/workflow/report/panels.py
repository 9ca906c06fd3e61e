"""The plots of report.json: who wins, what became better, the alignment tax, the reward model's calibration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from alignloop.workflow.report import plots
from alignloop.workflow.report.data import JUDGES, Interval, in_order, model_name, spaced

Rates = Mapping[str, Mapping[str, Interval]]
"""Model -> judge (or criterion) -> win rate."""

_WHO = {
    "heldout_labelers": "Simulated labelers who ranked nothing that the reward model learned from.",
    "gold": "A fixed formula without noise: what the simulated labelers like on the whole.",
    "outside_judge": "A language model trained on other titles; no simulated labeler uses it.",
}


def judges_of(rates: Rates) -> list[str]:
    """Every judge of a table of win rates, in the order of the page."""
    return in_order({judge: None for by_judge in rates.values() for judge in by_judge}, JUDGES)


def win_bars(rates: Rates) -> list[plots.Captioned]:
    """A plot per judge: every model against SFT."""
    drawn: list[plots.Captioned] = []
    for judge in judges_of(rates):
        title = JUDGES.get(judge, spaced(judge))
        rows = [
            _row(model, rates[model][judge]) for model in in_order(rates) if judge in rates[model]
        ]
        svg = plots.interval_plot(
            f"win-{judge}",
            rows,
            f"Bar chart: win rate against SFT by {title}.",
            as_bars=True,
            span=(0.0, 1.0),
        )
        drawn.append(plots.Captioned(title, _WHO.get(judge, ""), svg))
    return drawn


def fair_wins(results: Mapping[str, Any]) -> list[plots.Captioned]:
    """A plot per judge: PPO-ptx and PPO at like length, and against rivals that a fair look must include."""
    against: Mapping[str, Rates] = results.get("win_rate_against", {})
    matched: Rates = results.get("win_rate_length_matched", {})
    if not matched and not against:
        return []
    rivals: dict[str, Rates] = {
        "vs SFT, all answers": results.get("win_rate", {}),
        "vs SFT, like length": matched,
        **{f"vs {model_name(other)}": against[other] for other in in_order(against)},
    }
    by_judge: dict[str, list[plots.Row]] = {}
    for judge in JUDGES:
        for model in ("ppo_ptx", "ppo"):
            found = {name: rates.get(model, {}).get(judge) for name, rates in rivals.items()}
            rows = [plots.Row(name, it, plots.LOOKS[model]) for name, it in found.items() if it]
            if rows:
                by_judge.setdefault(judge, []).extend([plots.Row(model_name(model), None), *rows])
    span = _span(row.interval for rows in by_judge.values() for row in rows if row.interval)
    return [
        plots.Captioned(
            JUDGES[judge],
            "",
            plots.interval_plot(
                f"fair-{judge}",
                rows,
                f"Win rates by {JUDGES[judge]}; PPO-ptx, then PPO.",
                span=span,
            ),
        )
        for judge, rows in by_judge.items()
    ]


def by_criterion(criteria: Rates) -> list[plots.Captioned]:
    """A plot for each policy of step 3: its win rate against SFT by each criterion. The table has all models."""
    criteria = {model: criteria[model] for model in ("ppo_ptx", "ppo") if criteria.get(model)}
    span = _span(interval for rates in criteria.values() for interval in rates.values())
    return [
        plots.Captioned(
            f"{model_name(model)}, by criterion",
            "",
            plots.interval_plot(
                f"criteria-{model}",
                [
                    plots.Row(spaced(name), interval, plots.LOOKS.get(model, plots.OTHER))
                    for name, interval in criteria[model].items()
                ],
                f"Win rate of {model_name(model)} against SFT, by criterion.",
                span=span,
            ),
        )
        for model in criteria
    ]


def tax_bars(taxes: Mapping[str, Interval]) -> plots.Captioned | None:
    """Pretraining loss less the RL init's."""
    if not taxes:
        return None
    svg = plots.interval_plot(
        "tax",
        [_row(model, taxes[model]) for model in in_order(taxes)],
        "Bar chart: loss on held-out stories less the RL init's, in nats per token.",
        as_bars=True,
        in_percent=False,
    )
    return plots.Captioned("Loss less the RL init's", "Nats per token; less is better.", svg)


def calibration(bins: Sequence[Mapping[str, float]]) -> plots.Captioned | None:
    """Predicted against observed share of wins; bins without pairs say nothing."""
    points = [(row["predicted"], row["observed"], row["pairs"]) for row in bins if row.get("pairs")]
    if not points:
        return None
    svg = plots.calibration_plot(
        "calibration", points, "Predicted against observed share of wins, with the diagonal."
    )
    text = (
        "The gap between two scores predicts how often the higher one wins: sigmoid(gap). On the dashed line, "
        "prediction and outcome agree. Larger dots stand for more pairs."
    )
    return plots.Captioned("Calibration", text, svg)


def _row(model: str, interval: Interval) -> plots.Row:
    return plots.Row(model_name(model), interval, plots.LOOKS.get(model, plots.OTHER))


def _span(intervals: Iterable[Interval]) -> tuple[float, float]:
    """Round shares around all intervals and 50 %, with a little room."""
    ends = [0.5] + [interval[key] for interval in intervals for key in ("low", "mean", "high")]
    return max(0.0, min(ends) // 0.05 * 0.05 - 0.02), min(1.0, max(ends) // 0.05 * 0.05 + 0.07)
