"""The panel of judges, and what each makes of one model against another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alignloop.data.records import Prompt
from alignloop.evaluation.config import EvaluationConfig
from alignloop.evaluation.outcome import Answers
from alignloop.judges.gold import Gold
from alignloop.judges.intervals import length_matched as matched_by_length
from alignloop.judges.intervals import win_rate
from alignloop.judges.labelers import SimulatedLabeler
from alignloop.judges.pairwise import Judge, ScoreJudge, compare, compare_by_criterion


@dataclass(frozen=True, slots=True)
class Panel:
    """Gold, the held-out simulated labelers (their verdicts averaged per prompt), and the outside judge."""

    gold: Gold
    judges: dict[str, tuple[Judge, ...]]
    """Name in the report -> the judges whose verdicts are averaged under it."""

    @classmethod
    def of(
        cls,
        gold: Gold,
        heldout: Sequence[SimulatedLabeler],
        likelihood: Mapping[tuple[str, str], float],
    ) -> Panel:
        """Seat them."""
        return cls(
            gold,
            {
                "gold": (gold,),
                "heldout_labelers": tuple(heldout),
                "outside_judge": (ScoreJudge("outside judge", likelihood),),
            },
        )

    def verdicts(
        self, test: Sequence[Prompt], a: Answers, b: Answers, seed: int
    ) -> dict[str, NDArray[np.float64]]:
        """By name, one number per prompt: the share of these judges who prefer `a`, ties one half."""
        return {
            name: np.mean(
                [compare(judge, test, a.texts, b.texts, seed=seed) for judge in judges], axis=0
            )
            for name, judges in self.judges.items()
        }


def win_rates(
    verdicts: Mapping[str, NDArray[np.float64]], config: EvaluationConfig
) -> dict[str, Any]:
    """Win rate by every judge, with its interval."""
    return {
        name: asdict(win_rate(one, seed=config.seed, resamples=config.resamples))
        for name, one in verdicts.items()
    }


def win_rates_at_like_length(
    verdicts: Mapping[str, NDArray[np.float64]], a: Answers, b: Answers, config: EvaluationConfig
) -> dict[str, Any]:
    """The same among answers of about equal length, with the band of lengths; None where there are none."""
    return {name: _matched(one, a, b, config) for name, one in verdicts.items()}


def criteria_rates(
    panel: Panel, test: Sequence[Prompt], a: Answers, b: Answers, config: EvaluationConfig
) -> dict[str, Any]:
    """Per gold criterion: on what share of the prompts `a` has more of it than `b`, ties one half."""
    rates = compare_by_criterion(
        panel.gold.lexicon, test, a.texts, b.texts, seed=config.seed, resamples=config.resamples
    )
    return {name: asdict(estimate) for name, estimate in rates.items()}


def _matched(
    verdicts: NDArray[np.float64], a: Answers, b: Answers, config: EvaluationConfig
) -> dict[str, float] | None:
    """Win rate among answers of about equal length, with the band of lengths; None where there are none."""
    lengths = [[completion.tokens for completion in one.completions] for one in (a, b)]
    try:
        matched = matched_by_length(
            verdicts, *lengths, seed=config.seed, resamples=config.resamples
        )
    except ValueError:
        return None
    return {**asdict(matched.estimate), "band": matched.band, "share": matched.share}
