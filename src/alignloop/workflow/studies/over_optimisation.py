"""Reward-model score and gold along one long PPO run without a KL penalty, and of best of n: Gao et al.'s curves.

What the run wrote of its answers while it learned is cut into stretches of as many iterations. Gold peaks in the
stretch that the even iterations name, and every effect is measured on the odd ones alone: the highest of several noisy
means would else look like a peak where there is none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np

from alignloop.judges.gold import Gold
from alignloop.judges.intervals import RESAMPLES, Estimate
from alignloop.judges.lexicon import Lexicon
from alignloop.judges.measure import bootstrap
from alignloop.pages import Table
from alignloop.runs.artifact import open_artifact
from alignloop.workflow.samples import prompts_by_id, read_samples
from alignloop.workflow.studies.best_of_n import best_of_cell, most_of, policy_of
from alignloop.workflow.studies.cells import Cell, Done
from alignloop.workflow.studies.claims import Claim, Effect, judge
from alignloop.workflow.studies.effects import Floats, effect_of
from alignloop.workflow.studies.foundation import BaseName
from alignloop.workflow.studies.policies import Policies
from alignloop.workflow.studies.seen import MEASURES, WHO_JUDGED, Seen, over_seeds, written
from alignloop.workflow.studies.study import Bench, Findings, Study
from alignloop.workflow.studies.wording import of_seeds

ITERATIONS = 100
"""Four times the demo's run."""
SMOKE_ITERATIONS = 8
STRETCHES = 10
"""Parts that the run is cut into; each needs an even and an odd iteration."""
LONG = "long_ppo"

RISES = Claim(
    "long-gold-rises",
    "Gold rises at first.",
    "Gao et al. 2022, Figure 1",
    "gold utility at its peak less that of the first tenth",
    "above",
)
FALLS = Claim(
    "long-gold-falls",
    "Without a KL penalty gold falls again after a peak.",
    "section 3.5; Gao et al. 2022, Figure 1",
    "gold utility of the last tenth less that at its peak",
    "below",
)
GOES_ON = Claim(
    "long-score-goes-on",
    "The reward-model score goes on rising where gold has passed its peak.",
    "section 3.5; Gao et al. 2022, Figure 1",
    "score of the last tenth less that where gold peaked",
    "above",
)

Answers = Mapping[str, Sequence[float]]
"""`iteration`, `kl`, `score` and `gold` of every answer of a run."""


def cells(bench: Bench, base: BaseName, seed: int) -> list[Cell]:
    """The long run, and best of n from the same start."""
    policies = Policies(bench.foundation(base, seed))
    iterations = SMOKE_ITERATIONS if bench.smoke else ITERATIONS

    def long_run() -> list[dict[str, Any]]:
        return [{"policy": LONG, **answers_of_long_run(policies, iterations)}]

    return [
        policies.cell(LONG, long_run, 280.0, iterations=iterations, kl_coef=0.0),
        best_of_cell(policies, most_of(bench)),
    ]


def answers_of_long_run(policies: Policies, iterations: int) -> dict[str, list[float]]:
    """Train, and gather what every answer of the run was worth."""
    foundation = policies.foundation
    folder = policies.folder / "rl" / f"ppo_kl_0_long_{iterations}"
    episodes = iterations * policies.usual("ppo").batch_size
    policies.train_ppo(folder, "kl_coef=0", f"episodes={episodes}", "samples_every=1")
    lexicon = open_artifact(foundation.path("lexicon"), "lexicon").file("lexicon.json.gz")
    prompts = prompts_by_id(foundation.path("prompts"))
    samples = read_samples(folder, prompts, Gold(Lexicon.load(lexicon)))
    return {
        "iteration": [float(one.iteration) for one in samples],
        "kl": [one.kl for one in samples],
        "score": [one.score for one in samples],
        "gold": [round(one.gold, 6) for one in samples],
    }


# --- along the run ---


def stretch_of(answers: Answers, count: int = STRETCHES) -> Floats:
    """Each answer's stretch, from 0: as many iterations in each, two or more.

    Raises:
        ValueError: the run is too short for two stretches.
    """
    iterations = np.array(answers["iteration"])
    last = int(iterations.max())
    count = min(count, last // 2)
    if count < 2:
        raise ValueError(f"{last} iterations are too few to look for a peak")
    return np.floor((iterations - 1) * count / last)


def peak_of(answers: Answers) -> int:
    """The stretch in which gold is highest, by the even iterations alone."""
    stretches, gold = stretch_of(answers), np.array(answers["gold"])
    is_even = np.array(answers["iteration"]) % 2 == 0
    means = [gold[is_even & (stretches == at)].mean() for at in range(int(stretches.max()) + 1)]
    return int(np.argmax(means))


def change(answers: Answers, measure: str, start: int, end: int, *, seed: int) -> Estimate:
    """A measure's mean in stretch `end` less that in `start`, on odd iterations; bootstrap over these answers."""
    stretches, values = stretch_of(answers), np.array(answers[measure])
    is_odd = np.array(answers["iteration"]) % 2 == 1
    used = is_odd & ((stretches == start) | (stretches == end))
    chosen, value = stretches[used], values[used]
    if start == end:
        return Estimate(0.0, 0.0, 0.0, len(value))
    is_start, is_end = (chosen == start).astype(float), (chosen == end).astype(float)
    table = np.column_stack([value * is_end, is_end, value * is_start, is_start])

    def difference(sums: Floats) -> Floats:
        # A resample without an answer of one of the two stretches has no difference: `bootstrap` leaves it out.
        counts = sums[:, 1::2]
        means = np.full_like(counts, np.nan)
        np.divide(sums[:, ::2], counts, out=means, where=counts > 0)
        return means[:, :1] - means[:, 1:]

    found, low, high = bootstrap(table, difference, seed=seed, resamples=RESAMPLES)
    return Estimate(float(found[0]), float(low[0]), float(high[0]), len(value))


def means_along(answers: Answers, measure: str) -> list[float]:
    """The measure's mean in each stretch, over all of its answers."""
    stretches, values = stretch_of(answers), np.array(answers[measure])
    return [float(values[stretches == at].mean()) for at in range(int(stretches.max()) + 1)]


# --- findings ---


def findings(done: Sequence[Done]) -> Findings:
    """Verdicts on the long run; its curves beside those of best of n."""
    from alignloop.workflow.studies.shown import along_and_best_of

    runs = {cell.seed: cell.rows[0] for cell in done if cell.name == LONG}
    best = [cell for cell in done if cell.name != LONG]
    seen = Seen.of(best)

    def changes(measure: str, pick: str) -> list[Effect]:
        return [
            Effect.of(seed, _between(run, measure, pick, seed), "answers")
            for seed, run in runs.items()
        ]

    judged = [
        judge(RISES, changes("gold", "rise")),
        judge(FALLS, changes("gold", "fall")),
        judge(GOES_ON, changes("score", "fall")),
    ]
    ns = cast(Sequence[int], best[0].setting["ns"])
    peaks = ", ".join(f"{peak_of(run) + 1} (seed {seed})" for seed, run in runs.items())
    count = int(stretch_of(next(iter(runs.values()))).max()) + 1
    figures = along_and_best_of(list(runs.values()), seen, [policy_of(n) for n in ns])
    note = (
        f"The run is cut into {count} stretches. By its even iterations gold peaks in stretch {peaks}; all "
        "effects are measured on the odd ones. Its answers are those that it drew while it learned, to RL "
        "prompts, under the weights of the moment and not their average."
    )
    return Findings(judged, [_along(runs), _best_of(seen, ns)], figures, [note, WHO_JUDGED])


def _between(run: Answers, measure: str, pick: str, seed: int) -> Estimate:
    peak, last = peak_of(run), int(stretch_of(run).max())
    start, end = (0, peak) if pick == "rise" else (peak, last)
    return change(run, measure, start, end, seed=seed)


def _along(runs: Mapping[int, Answers]) -> Table:
    measures = ("kl", "score", "gold")
    counts = [int((stretch_of(run) == 0).sum()) for run in runs.values()]
    count = int(stretch_of(next(iter(runs.values()))).max()) + 1
    rows: list[list[str]] = []
    for at in range(count):
        cells = [
            written(
                over_seeds(
                    [
                        Effect.of(
                            seed,
                            effect_of(
                                [np.array(run[measure])[stretch_of(run) == at].tolist()],
                                lambda means: means[:, 0],
                                seed=seed,
                            ),
                        )
                        for seed, run in runs.items()
                    ]
                ),
                measure,
            )
            for measure in measures
        ]
        rows.append([str(at + 1), *cells, of_seeds(counts, "answers")])
    columns = ["Stretch", *(MEASURES[measure] for measure in measures), "n"]
    return Table("Along PPO without a KL penalty", columns, rows)


def _best_of(seen: Seen, ns: Sequence[int]) -> Table:
    labels = {policy_of(n): str(n) for n in ns}
    return seen.table("Best of n", labels, ("score", "gold"))


STUDY = Study(
    name="over-optimisation",
    title="Over-optimisation: reward and gold against KL",
    question="One PPO run four times as long as the demo's, without a KL penalty, and best of n from the same "
    "start: the reward-model score and gold against the square root of the KL. Gao et al. found that the score "
    "goes on rising while gold, which the reward model only stands in for, peaks and falls. It is why the paper "
    "has the penalty.",
    bases=("medium",),
    quick_bases=("medium",),
    needs=("baseline", "rl_init"),
    cells=cells,
    findings=findings,
)
