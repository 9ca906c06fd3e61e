"""Chance-corrected agreement of labelers: alpha on Likert scores, on pair relations, and flag by flag."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from alignloop.judges import relations
from alignloop.judges.intervals import RESAMPLES
from alignloop.judges.judgment import Judgment, by_task, without_repeats
from alignloop.judges.kappa import positive_agreement
from alignloop.judges.krippendorff import alpha
from alignloop.judges.measure import Measure, listed, ratio

_Item = tuple[str, str, int]
"""Prompt (or what stands for it), task, place in the task."""


@dataclass(frozen=True, slots=True)
class FlagAgreement:
    """How far labelers agree on one yes/no question about an answer."""

    prevalence: Measure
    """Share of yes among all answers. Where it is near 0 or 1, alpha falls although people agree: read the next too."""
    positive: Measure
    """2a / (2a + b + c) over all pairs of raters of an item: who says yes, does the other? Ignores shared noes."""
    alpha: Measure
    """Krippendorff's alpha, nominal."""


def likert_alpha(
    judgments: Iterable[Judgment], *, seed: int = 0, resamples: int = RESAMPLES
) -> Measure:
    """Krippendorff's alpha, ordinal, of the 1 to 7 scores; unit = (task, item), interval over tasks."""
    units: list[tuple[str, int]] = []
    values: list[float] = []
    clusters: list[str] = []
    for judgment in without_repeats(judgments):
        for item, score in enumerate(judgment.likert):
            if score is not None:
                units.append((judgment.task, item))
                values.append(score)
                clusters.append(judgment.cluster)
    return alpha(units, values, "ordinal", clusters=clusters, seed=seed, resamples=resamples)


def pair_alpha(
    judgments: Iterable[Judgment], *, seed: int = 0, resamples: int = RESAMPLES
) -> Measure:
    """Krippendorff's alpha, ordinal, of pair relations -1, 0, +1; unit = (task, pair), interval over tasks.

    Never of raw ranks: the ranks of a task are not independent, and those of two tasks mean different things. Which
    item of a pair comes first is drawn by a hash of seed, task and pair. Were it the order in the task, a model that
    always stands first and always wins would make +1 the common value, agreement on it the work of chance, and alpha
    fall. With both signs equally common, a tie is half as far from an order as an order from its opposite.
    """
    units: list[tuple[str, int]] = []
    values: list[int] = []
    clusters: list[str] = []
    for task, of_task in by_task(without_repeats(judgments)).items():
        if len(of_task) < 2:
            continue
        ranks = np.array([judgment.ranks for judgment in of_task], dtype=np.int64)
        signs = relations.by_rank(ranks)
        turned = signs * np.array(
            [_orientation(seed, task, pair) for pair in range(signs.shape[1])]
        )
        units += [(task, pair) for _ in of_task for pair in range(signs.shape[1])]
        values += listed(turned.ravel())
        clusters += [of_task[0].cluster] * turned.size
    return alpha(units, values, "ordinal", clusters=clusters, seed=seed, resamples=resamples)


def flag_agreement(
    judgments: Iterable[Judgment], *, seed: int = 0, resamples: int = RESAMPLES
) -> dict[str, FlagAgreement]:
    """Agreement on each flag; unit = (task, item), intervals over tasks. An unanswered flag is left out."""
    answers: dict[str, dict[_Item, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for judgment in without_repeats(judgments):
        for flag, of_items in judgment.flags.items():
            for item, answer in enumerate(of_items):
                if answer is not None:
                    answers[flag][judgment.cluster, judgment.task, item].append(answer)
    return {flag: _flag(answers[flag], seed=seed, resamples=resamples) for flag in sorted(answers)}


def _flag(of_unit: dict[_Item, list[bool]], *, seed: int, resamples: int) -> FlagAgreement:
    clusters = [item[0] for item in of_unit]
    yes = [sum(answers) for answers in of_unit.values()]
    asked = [len(answers) for answers in of_unit.values()]
    both = [said * (said - 1) / 2 for said in yes]
    one = [said * (all_ - said) for said, all_ in zip(yes, asked, strict=True)]
    rows = [(unit, answer) for unit, answers in of_unit.items() for answer in answers]
    units = [unit for unit, _ in rows]
    return FlagAgreement(
        prevalence=ratio(yes, asked, clusters, seed=seed, resamples=resamples),
        positive=positive_agreement(both, one, clusters, seed=seed, resamples=resamples),
        alpha=alpha(
            units,
            [float(answer) for _, answer in rows],
            "nominal",
            clusters=[unit[0] for unit in units],
            seed=seed,
            resamples=resamples,
        ),
    )


def _orientation(seed: int, task: str, pair: int) -> int:
    """+1 or -1, for each pair of a task on its own."""
    byte = hashlib.sha256(f"pair/{seed}/{task}/{pair}".encode()).digest()[0]
    return 1 if byte % 2 else -1
