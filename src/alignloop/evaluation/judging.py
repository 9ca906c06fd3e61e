"""The panel of judges, and what each makes of one model against another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
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
    given: dict[tuple[str, str, str, int], NDArray[np.float64]] = field(default_factory=dict)
    """The verdicts so far, by judge, the two models and the seed: every question is put once."""

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
        self, name: str, test: Sequence[Prompt], a: Answers, b: Answers, seed: int
    ) -> NDArray[np.float64]:
        """One number per prompt: the share of these judges who prefer `a`, ties one half."""
        key = (name, a.name, b.name, seed)
        if key not in self.given:
            self.given[key] = np.mean(
                [compare(judge, test, a.texts, b.texts, seed=seed) for judge in self.judges[name]],
                axis=0,
            )
        return self.given[key]


def against(
    panel: Panel,
    test: Sequence[Prompt],
    a: Answers,
    b: Answers,
    config: EvaluationConfig,
    *,
    length_matched: bool = False,
) -> dict[str, Any]:
    """Win rate of `a` over `b` by every judge; on prompts whose two answers are about equally long, if asked."""
    found: dict[str, Any] = {}
    for name in panel.judges:
        verdicts = panel.verdicts(name, test, a, b, config.seed)
        found[name] = (
            _matched(verdicts, a, b, config) if length_matched else _estimate(verdicts, config)
        )
    return found


def criteria_rates(
    panel: Panel, test: Sequence[Prompt], a: Answers, b: Answers, config: EvaluationConfig
) -> dict[str, Any]:
    """Per gold criterion: on what share of the prompts `a` has more of it than `b`, ties one half."""
    rates = compare_by_criterion(
        panel.gold.lexicon, test, a.texts, b.texts, seed=config.seed, resamples=config.resamples
    )
    return {name: asdict(estimate) for name, estimate in rates.items()}


def _estimate(verdicts: NDArray[np.float64], config: EvaluationConfig) -> dict[str, float]:
    return asdict(win_rate(verdicts, seed=config.seed, resamples=config.resamples))


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
