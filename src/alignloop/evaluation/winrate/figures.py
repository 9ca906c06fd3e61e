"""Everything that a report says, from verdicts, answers and ratings alone: the files that it leaves give it again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from alignloop.data.records import Prompt
from alignloop.errors import DataError
from alignloop.evaluation.winrate.config import WinRateConfig
from alignloop.evaluation.winrate.contestants import Answered
from alignloop.evaluation.winrate.panel import Bench, length_of
from alignloop.evaluation.winrate.people import Polled, Rated
from alignloop.judges.bradley_terry import bradley_terry
from alignloop.judges.length_controlled import length_controlled
from alignloop.judges.measure import Measure, ratio
from alignloop.judges.preference_votes import WinRate, tally
from alignloop.judges.verdicts import (
    ByPrompt,
    OnPrompt,
    Pair,
    Verdict,
    gathered,
    of_like_length,
    rate,
    seen_from,
)

NO_USE_CASE = "not given"
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Setting:
    """What all figures of a report share."""

    baseline: str
    prompts: Mapping[str, Prompt]
    """By id."""
    seed: int
    resamples: int
    like_length: int

    @classmethod
    def of(cls, config: WinRateConfig, baseline: str, prompts: Sequence[Prompt]) -> Setting:
        """The setting of a run."""
        by_id = {prompt.id: prompt for prompt in prompts}
        return cls(baseline, by_id, config.seed, config.resamples, config.like_length)

    def use_case(self, prompt: str) -> str:
        """What a prompt is for."""
        return self.prompts[prompt].use_case or NO_USE_CASE

    @property
    def groups(self) -> dict[str, str] | None:
        """Prompt -> its user or title; None where no two prompts share one."""
        found = {id_: one.group or one.opening_id for id_, one in self.prompts.items()}
        return found if len(set(found.values())) < len(found) else None


def interval(measure: Measure) -> Json:
    """A measure as the report has it: `mean`, `low`, `high`, `n`; and `reason` where one of them is missing."""
    found: Json = {
        "mean": measure.value,
        "low": measure.low,
        "high": measure.high,
        "n": measure.clusters,
    }
    return found | ({"reason": measure.reason} if measure.reason else {})


# --- verdicts ---------------------------------------------------------------------------------------------------


def figures_of(verdicts: Sequence[Verdict], setting: Setting) -> Json:
    """All figures of one judge: against the baseline, by kind of prompt and cohort, for every pair, and strengths."""
    pairs = gathered(verdicts)
    others = [name for name in names_in(pairs) if name != setting.baseline]
    against = {
        name: found for name in others if (found := seen_from(pairs, name, setting.baseline))
    }
    cohorts = sorted({one.cohort for one in verdicts if one.cohort})
    of_cohort = {c: gathered(v for v in verdicts if v.cohort == c) for c in cohorts}
    found: Json = {
        "win_rate": {name: _rate(one, setting) for name, one in against.items()},
        "win_rate_by_use_case": {
            name: _parts(one, setting.use_case, setting) for name, one in against.items()
        },
        "win_rate_length_matched": {name: _matched(one, setting) for name, one in against.items()},
        "win_rate_length_controlled": {
            name: _controlled(one, setting) for name, one in against.items()
        },
        "pairs": _matrix(pairs, setting),
    }
    try:
        strengths = bradley_terry(
            pairs, setting.baseline, seed=setting.seed, resamples=setting.resamples
        )
        found["bradley_terry"] = {name: interval(one) for name, one in strengths.items()}
    except DataError as error:  # the win rates stand all the same
        found["bradley_terry"], found["bradley_terry_missing"] = {}, str(error)
    if (groups := setting.groups) is not None:
        found["win_rate_over_groups"] = {
            name: _rate(one, setting, groups) for name, one in against.items()
        }
    if len(cohorts) > 1:
        found["win_rate_by_cohort"] = {
            name: {
                cohort: _rate(of_name, setting)
                for cohort, of_pairs in of_cohort.items()
                if (of_name := seen_from(of_pairs, name, setting.baseline))
            }
            for name in against
        }
    return found


def names_in(pairs: Iterable[Pair]) -> list[str]:
    """Every policy of some pairs, in the order in which they come."""
    return list(dict.fromkeys(name for pair in pairs for name in pair))


def _rate(found: ByPrompt, setting: Setting, clusters: Mapping[str, str] | None = None) -> Json:
    return interval(rate(found, clusters, seed=setting.seed, resamples=setting.resamples))


def _parts(found: ByPrompt, part_of: Callable[[str], str], setting: Setting) -> Json:
    parts: dict[str, dict[str, OnPrompt]] = {}
    for prompt, one in found.items():
        parts.setdefault(part_of(prompt), {})[prompt] = one
    return {name: _rate(parts[name], setting) for name in sorted(parts)}


def _matched(found: ByPrompt, setting: Setting) -> Json:
    """Among answers of nearly the same length: with the band of lengths, and of how many prompts these are."""
    near, band = of_like_length(found, setting.like_length)
    return _rate(near, setting) | {"band": band, "of": len(found)}


def _controlled(found: ByPrompt, setting: Setting) -> Json:
    outcomes, ours, theirs = _columns(found)
    fit = length_controlled(outcomes, ours, theirs, seed=setting.seed, resamples=setting.resamples)
    return interval(fit.rate) | {"effect": interval(fit.effect), "longer": interval(fit.longer)}


def _columns(found: ByPrompt) -> tuple[list[float], list[float], list[float]]:
    seen = list(found.values())
    return (
        [one.outcome for one in seen],
        [one.length_a for one in seen],
        [one.length_b for one in seen],
    )


def _matrix(pairs: Mapping[Pair, ByPrompt], setting: Setting) -> Json:
    """Row against column, both ways round; the lower half is the upper half turned."""
    names = names_in(pairs)
    matrix: Json = {name: {} for name in names}
    for at, row in enumerate(names):
        for column in names[at + 1 :]:
            found = seen_from(pairs, row, column)
            if found:
                cell = _rate(found, setting)
                matrix[row][column], matrix[column][row] = cell, _turned(cell)
    return matrix


def _turned(cell: Json) -> Json:
    """A win rate as the other policy sees it."""
    ends = {"mean": cell["mean"], "low": cell["high"], "high": cell["low"]}
    return cell | {key: None if value is None else 1.0 - value for key, value in ends.items()}


def agreement_of(said: Mapping[str, Sequence[Verdict]], setting: Setting) -> Json:
    """Judge -> another -> of the pairs of answers on which both prefer one, on how many they prefer the same."""
    found: Json = {}
    leaning = {judge: _leanings(verdicts) for judge, verdicts in said.items() if verdicts}
    for judge, other in combinations(leaning, 2):
        ours, theirs = leaning[judge], leaning[other]
        both = [item for item in ours if ours[item] and theirs.get(item)]
        same = ratio(
            [float(ours[item] == theirs[item]) for item in both],
            [1.0] * len(both),
            [prompt for _, prompt in both],
            seed=setting.seed,
            resamples=setting.resamples,
        )
        found.setdefault(judge, {})[other] = interval(same)
    return found


def _leanings(verdicts: Sequence[Verdict]) -> dict[tuple[Pair, str], int]:
    """(pair, prompt) -> 1 where the first name of the pair is preferred, -1 where the second is, 0 for a tie."""
    found: dict[tuple[Pair, str], int] = {}
    for pair, of_pair in gathered(verdicts).items():
        is_turned = pair[0] > pair[1]
        names = (pair[1], pair[0]) if is_turned else pair
        for prompt, one in of_pair.items():
            ahead = (one.outcome > 0.5) - (one.outcome < 0.5)
            found[names, prompt] = -ahead if is_turned else ahead
    return found


# --- answers and ratings ----------------------------------------------------------------------------------------


def policies_table(answered: Mapping[str, Answered], setting: Setting) -> Json:
    """Every policy: how it was asked, and how long its answers are."""
    found: Json = {}
    for name, one in answered.items():
        prompts = list(one.answers)
        texts = [one.answers[prompt] for prompt in prompts]

        def mean(values: Sequence[float], prompts: Sequence[str], is_share: bool) -> Json:
            measure = ratio(
                values,
                [1.0] * len(values),
                prompts,
                seed=setting.seed,
                resamples=setting.resamples,
                is_share=is_share,
            )
            return interval(measure)

        found[name] = {
            "sha256": one.sha256,
            **one.how,
            "answers": len(texts),
            "prompts_cut": one.cut_prompts,
            "characters": mean([length_of(a.text) for a in texts], prompts, False),
            "finished": mean([float(a.finished) for a in texts], prompts, True),
            "empty": sum(not a.text for a in texts),
        }
    return found


def ratings_figures(rated: Sequence[Rated], setting: Setting) -> Json:
    """Likert and the flags of Table 3 by policy, of all labelers together and by cohort; each prompt counts once."""
    if not rated:
        return {}
    cohorts = sorted({one.cohort for one in rated if one.cohort})
    parts: dict[str, list[Rated]] = {"all": list(rated)}
    if len(cohorts) > 1:
        parts |= {cohort: [one for one in rated if one.cohort == cohort] for cohort in cohorts}
    names = list(dict.fromkeys(one.policy for one in rated))
    flags = list(dict.fromkeys(flag for one in rated for flag in one.flags))

    def table(value: Callable[[Rated], float | None], is_share: bool) -> Json:
        return {
            name: {
                part: interval(_over_prompts(of_part, name, value, is_share, setting))
                for part, of_part in parts.items()
            }
            for name in names
        }

    return {
        "likert": table(lambda one: float(one.likert), False),
        "flags": {flag: table(lambda one, f=flag: _flag(one, f), True) for flag in flags},
    }


def _flag(one: Rated, flag: str) -> float | None:
    return float(one.flags[flag]) if flag in one.flags else None


def _over_prompts(
    rated: Sequence[Rated],
    policy: str,
    value: Callable[[Rated], float | None],
    is_share: bool,
    setting: Setting,
) -> Measure:
    """Mean over prompts of the mean over what was said of each."""
    of_prompt: dict[str, list[float]] = {}
    for one in rated:
        said = value(one)
        if one.policy == policy and said is not None:
            of_prompt.setdefault(one.prompt, []).append(said)
    means = [sum(values) / len(values) for values in of_prompt.values()]
    return ratio(
        means,
        [1.0] * len(means),
        list(of_prompt),
        seed=setting.seed,
        resamples=setting.resamples,
        is_share=is_share,
    )


def people_figures(polled: Polled, config: WinRateConfig) -> Json:
    """What belongs beside people's win rates: ties, the side that answers stood on, lengths, other labelers."""
    found: Json = {}
    for (a, b), votes in polled.votes.items():
        one = tally(votes, both_bad=config.both_bad, seed=config.seed, resamples=config.resamples)
        found[f"{a} against {b}"] = {"a": a, "b": b, **_tally(one)}
    return found


def _tally(one: WinRate) -> Json:
    return {
        "counts": dict(one.counts),
        "labelers": one.labelers,
        "over_labelers": interval(one.rate_over_labelers),
        "decided": interval(one.decided),
        "ties": interval(one.ties),
        "both_bad": interval(one.both_bad),
        "left": interval(one.side.left) | {"p_value": one.side.p_value},
        "longer_wins": interval(one.length.longer_wins),
    }


# --- the whole --------------------------------------------------------------------------------------------------

BY_JUDGE = (
    "win_rate",
    "win_rate_over_groups",
    "win_rate_by_cohort",
    "win_rate_by_use_case",
    "win_rate_length_matched",
    "win_rate_length_controlled",
)
"""Figures that the report has by policy and then by judge."""


def report_of(
    benches: Sequence[Bench],
    answered: Mapping[str, Answered],
    setting: Setting,
    polled: Polled | None,
    config: WinRateConfig,
) -> Json:
    """The whole report."""
    report: Json = {
        "kind": "win_rate",
        "schema": 1,
        "seed": setting.seed,
        "resamples": setting.resamples,
        "baseline": setting.baseline,
        "side": config.side if polled is None else "test",
        "campaign": None if polled is None else polled.name,
        "prompts": len(setting.prompts),
        "groups": len({one.group or one.opening_id for one in setting.prompts.values()}),
        "use_cases": dict(Counter(setting.use_case(prompt) for prompt in setting.prompts)),
        "policies": policies_table(answered, setting),
        "judges": {},
    }
    by_policy: dict[str, Json] = {key: {} for key in BY_JUDGE}
    for bench in benches:
        report["judges"][bench.name] = {
            "who": bench.told,
            "simulated": bench.is_simulated,
            "verdicts": len(bench.verdicts),
            "counts": dict(bench.counts),
            "checks": {name: interval(one) for name, one in bench.checks.items()},
        }
        if not bench.verdicts:
            continue
        found = figures_of(bench.verdicts, setting)
        for key in BY_JUDGE:
            for policy, value in found.get(key, {}).items():
                by_policy[key].setdefault(policy, {})[bench.name] = value
        report.setdefault("pairs", {})[bench.name] = found["pairs"]
        report.setdefault("bradley_terry", {})[bench.name] = found["bradley_terry"]
        if "bradley_terry_missing" in found:
            report.setdefault("bradley_terry_missing", {})[bench.name] = found[
                "bradley_terry_missing"
            ]
    report |= {key: value for key, value in by_policy.items() if value}
    if agreement := agreement_of({bench.name: bench.verdicts for bench in benches}, setting):
        report["agreement"] = agreement
    if polled is not None:
        report["people"] = people_figures(polled, config)
        report |= ratings_figures(polled.rated, setting)
    return report
