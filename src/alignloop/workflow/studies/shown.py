"""Plots that the studies of policies share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from alignloop.workflow.report.plots import (
    LOOKS,
    OTHER,
    Captioned,
    Look,
    Row,
    Series,
    interval_plot,
    line_plot,
)
from alignloop.workflow.studies.seen import MEASURES, Seen

LABELS = {"ppo": "PPO", "ppo_ptx": "PPO-ptx", "dpo": "DPO", "best_of_n": "best of n"}
"""Method -> its name."""
_LOOKS: Mapping[str, Look] = {**LOOKS, "dpo": OTHER, "best_of_n": LOOKS["sft"]}
_SEEDS = (LOOKS["ppo_ptx"], LOOKS["ppo"], LOOKS["sft"], OTHER)


def curve_over_kl(
    study: str, seen: Seen, curves: Mapping[str, Sequence[str]], measure: str, text: str
) -> Captioned:
    """A measure over the square root of the KL: a line per method through its policies, means over seeds.

    Args:
        curves: method -> its policies; drawn in the order of their KL.
    """
    series: list[Series] = []
    for method, policies in curves.items():
        points = sorted(
            (
                max(seen.average(policy, "kl"), 0.0) ** 0.5,
                seen.average(policy, measure),
            )
            for policy in policies
        )
        xs, ys = zip(*points, strict=True)
        series.append(Series(LABELS[method], xs, ys, _LOOKS[method], is_smoothed=False))
    title = f"{MEASURES[measure]} over KL"
    svg = line_plot(
        f"{study}-{measure.replace('_', '-')}",
        series,
        "square root of the KL to the start, nats",
        f"{title}.",
        in_percent=measure == "win_rate",
        reference=0.5 if measure == "win_rate" else None,
        marks_start=True,
    )
    return Captioned(title, f"{text} Means over seeds; the table has the intervals.", svg)


def wins_by_size(
    seen: Seen,
    sizes: Sequence[str],
    methods: Mapping[str, str],
    name_of: Callable[[str, str], str],
) -> Captioned:
    """Win rates with their intervals, size by size."""
    looks = {"ppo": LOOKS["ppo"], "ppo_ptx": LOOKS["ppo_ptx"], "sft": LOOKS["sft"]}
    rows: list[Row] = []
    for size in sizes:
        rows.append(Row(size, None))
        for method, called in methods.items():
            interval = seen.interval(name_of(size, method), "win_rate").as_row()
            rows.append(Row(called, interval, looks.get(method, OTHER)))
    title = "Gold win rate against SFT of the largest size"
    text = "Means with 95 % intervals: over seeds, or with one seed over its prompts."
    return Captioned(title, text, interval_plot("sizes-wins", rows, f"{title}."))


def by_coefficient(
    study: str, seen: Seen, policies: Mapping[float, str], measure: str, x_label: str
) -> Captioned:
    """A measure over a coefficient above 0, on a scale of factors: a line per seed."""
    title = MEASURES[measure]
    series = [
        Series(
            f"seed {seed}",
            list(policies),
            [seen.mean(seed, policy, measure) for policy in policies.values()],
            _SEEDS[at % len(_SEEDS)],
            is_smoothed=False,
        )
        for at, seed in enumerate(seen.seeds)
    ]
    name = f"{study}-{measure.replace('_', '-')}"
    svg = line_plot(name, series, x_label, f"{title} by {x_label}.", is_geometric=True)
    return Captioned(title, "A line per seed; the table has 0 as well, and the intervals.", svg)


def along_and_best_of(
    runs: Sequence[Mapping[str, Sequence[float]]], seen: Seen, best: Sequence[str]
) -> list[Captioned]:
    """Score and gold over the root of the KL: stretches of the long run, and best of n; means over seeds."""
    from alignloop.workflow.studies.over_optimisation import means_along

    drawn: list[Captioned] = []
    for measure in ("score", "gold"):
        kls, values = (
            [
                sum(at) / len(runs)
                for at in zip(*(means_along(run, key) for run in runs), strict=True)
            ]
            for key in ("kl", measure)
        )
        roots = [max(kl, 0.0) ** 0.5 for kl in kls]
        points = [(seen.average(one, "kl") ** 0.5, seen.average(one, measure)) for one in best]
        xs, ys = zip(*points, strict=True)
        title = f"{MEASURES[measure]} over KL"
        svg = line_plot(
            f"over-optimisation-{measure}",
            [
                Series("PPO", roots, values, LOOKS["ppo"], is_smoothed=False),
                Series("best of n", xs, ys, LOOKS["sft"], is_smoothed=False),
            ],
            "square root of the KL to the start, nats",
            f"{title}.",
            marks_start=True,
        )
        text = "PPO by stretches of the run, on RL prompts; best of n on validation prompts. The tables have intervals."
        drawn.append(Captioned(title, text, svg))
    return drawn
