"""Strengths of many policies from comparisons of two: the Bradley-Terry model, ties as half a win for each.

P(i beats j) = sigmoid(s_i - s_j) (Bradley and Terry 1952). A strength is the log-odds of a win against the baseline,
whose own is 0. The likelihood is concave, and Newton's method finds its maximum for all bootstrap resamples at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import cast

import numpy as np

from alignloop.errors import DataError
from alignloop.judges.intervals import RESAMPLES
from alignloop.judges.measure import (
    ONE_CLUSTER,
    Floats,
    Measure,
    bootstrap,
    numbered,
    undefined,
)
from alignloop.judges.verdicts import ByPrompt, Pair

ONE_WAY = "no finite strength: between it and the baseline everything went one way"
OPEN_END = "no interval: in some resamples everything went one way"
LIMIT = 15.0
"""Largest strength that is looked for, in nats; one chance in three million. What reaches it has no finite value."""

_STEPS = 80
_LONGEST_STEP = 2.0
_CLOSE = 1e-10


def bradley_terry(
    outcomes: Mapping[Pair, ByPrompt],
    baseline: str,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> dict[str, Measure]:
    """Policy -> strength in log-odds, with a 95 % bootstrap over prompts; the baseline's is 0 by definition.

    Raises:
        DataError: the comparisons fall into parts that share no policy, so their strengths cannot be compared.
    """
    names = list(dict.fromkeys([baseline, *(name for pair in outcomes for name in pair)]))
    place = {name: at for at, name in enumerate(names)}
    size = len(names)
    rows, prompts = numbered(prompt for found in outcomes.values() for prompt in found)
    wins = np.zeros((len(prompts), size, size), dtype=np.float64)
    flat = iter(rows.tolist())
    for (a, b), found in outcomes.items():
        for one in found.values():
            row = next(flat)
            wins[row, place[a], place[b]] += one.outcome
            wins[row, place[b], place[a]] += 1.0 - one.outcome
    total = wins.sum(axis=0)
    _check_connected(names, total)
    values, low, high = bootstrap(
        wins.reshape(len(prompts), size * size),
        lambda sums: strengths(sums.reshape(-1, size, size)),
        seed=seed,
        resamples=resamples,
    )
    is_bound = _reachable(total, 0) & _reachable(total.T, 0)
    judged = total + total.T
    measures: dict[str, Measure] = {}
    for at, name in enumerate(names):
        cases, clusters = (
            float(judged[at].sum()),
            int((wins[:, at].sum(axis=1) + wins[:, :, at].sum(axis=1) > 0).sum()),
        )
        value, least, most = float(values[at]), float(low[at]), float(high[at])
        if not is_bound[at]:
            measures[name] = undefined(ONE_WAY, cases, clusters)
        elif len(prompts) < 2:
            measures[name] = Measure(value, None, None, cases, clusters, ONE_CLUSTER)
        elif max(abs(least), abs(most)) > LIMIT - 1.0:
            measures[name] = Measure(value, None, None, cases, clusters, OPEN_END)
        else:
            measures[name] = Measure(value, least, most, cases, clusters)
    return measures


def strengths(wins: Floats) -> Floats:
    """Maximum-likelihood strengths, the first policy's fixed at 0: wins [..., i, j] of i over j -> [..., policies].

    Where a maximum lies at infinity the search ends at `LIMIT`.
    """
    games = wins + wins.swapaxes(-1, -2)
    size = wins.shape[-1]
    found = np.zeros((len(wins), size), dtype=np.float64)
    if size < 2:
        return found
    diagonal = list(range(size - 1))
    for _ in range(_STEPS):
        chance = 1.0 / (1.0 + np.exp(found[:, None, :] - found[:, :, None]))
        gradient = (wins - games * chance).sum(axis=2)
        weight = games * chance * (1.0 - chance)
        hessian = -weight[:, 1:, 1:]
        # A crumb keeps the system solvable where a resample says nothing of a policy.
        hessian[:, diagonal, diagonal] += weight.sum(axis=2)[:, 1:] + 1e-9
        step = cast(Floats, np.linalg.solve(hessian, gradient[:, 1:, None]))[:, :, 0]
        longest = np.abs(step).max(axis=1, keepdims=True)
        step *= np.minimum(1.0, _LONGEST_STEP / np.maximum(longest, 1e-300))
        before = found[:, 1:].copy()
        found[:, 1:] = np.clip(before + step, -LIMIT, LIMIT)
        if np.abs(found[:, 1:] - before).max() < _CLOSE:
            break
    return found


def _check_connected(names: Sequence[str], wins: Floats) -> None:
    games = wins + wins.T
    left, parts = set(range(len(names))), list[list[str]]()
    while left:
        part = set(np.flatnonzero(_reachable(games, min(left))).tolist())
        parts.append([names[at] for at in sorted(part)])
        left -= part
    if len(parts) > 1:
        told = " and ".join(_listed(part) for part in parts)
        raise DataError(
            f"{told} were never compared with one another, directly or through others: their strengths cannot be put "
            "on one scale; compare one of each"
        )


def _reachable(edges: Floats, start: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which nodes can be reached over edges above 0, the start among them."""
    seen = np.zeros(len(edges), dtype=np.bool_)
    seen[start] = True
    waiting = [start]
    while waiting:
        for node in np.flatnonzero((edges[waiting.pop()] > 0) & ~seen).tolist():
            seen[node] = True
            waiting.append(node)
    return seen


def _listed(names: Iterable[str]) -> str:
    return "{" + ", ".join(names) + "}"
