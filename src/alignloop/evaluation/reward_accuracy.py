"""How often the reward model agrees with labelers on held-out prompts, beside simpler rivals and the ceiling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from alignloop.data.records import Completion, Completions, Prompt, Ranking
from alignloop.evaluation.baselines import Scorer, accuracy, bag_of_words, longer_wins
from alignloop.evaluation.reward_metrics import calibration
from alignloop.judges.gold import Gold
from alignloop.judges.labelers import SimulatedLabeler, assign


def reward_accuracy(
    scores: Mapping[tuple[str, str], float],
    candidates: Sequence[Completions],
    training: Sequence[SimulatedLabeler],
    heldout: Sequence[SimulatedLabeler],
    gold: Gold,
    train: Sequence[Ranking],
    valid: Sequence[Ranking],
    seed: int,
) -> dict[str, Any]:
    """Pair accuracy on held-out prompts, ties left out; overall, and on pairs of about equal length.

    Args:
        scores: (prompt id, text) -> the reward model's score of every candidate, as it was drawn.

    `train_labelers`, `heldout_labelers` and `gold`: the reward model against each of them. `ceiling`: gold, without
    noise, against the same noisy training labelers: nobody who learns from them can be expected to do much better.
    `longer_wins` and `bag_of_words`: the two rivals against the training labelers.
    """

    def model(prompt: Prompt, completion: Completion) -> float:
        return scores[prompt.id, completion.text]

    by_training, by_heldout = (
        _ranked(training, candidates, seed),
        _ranked(heldout, candidates, seed),
    )
    by_gold = [gold_ranking(gold, item) for item in candidates]
    words = bag_of_words(train, valid)

    def ceiling(prompt: Prompt, completion: Completion) -> float:
        return gold.utility(prompt, completion.text)

    rows: dict[str, tuple[Scorer, Sequence[Ranking]]] = {
        "train_labelers": (model, by_training),
        "heldout_labelers": (model, by_heldout),
        "gold": (model, by_gold),
        "ceiling": (ceiling, by_training),
        "longer_wins": (longer_wins, by_training),
        "bag_of_words": (words, by_training),
    }
    return {
        "pair_accuracy": {name: accuracy(*row) for name, row in rows.items()},
        "pair_accuracy_length_matched": {
            name: accuracy(*row, length_matched=True) for name, row in rows.items()
        },
        "pairs": sum(len(ranking.pairs()) for ranking in by_training),
        "calibration": calibration(
            scores[ranking.prompt.id, ranking.completions[better].text]
            - scores[ranking.prompt.id, ranking.completions[worse].text]
            for ranking in by_training
            for better, worse in ranking.pairs()
        ),
    }


def _ranked(
    labelers: Sequence[SimulatedLabeler], candidates: Sequence[Completions], seed: int
) -> list[Ranking]:
    """Each prompt ranked by one of the labelers."""
    by_name = {labeler.name: labeler for labeler in labelers}
    chosen = assign(
        (item.prompt for item in candidates), list(by_name), shared_share=0.0, seed=seed
    )
    return [by_name[chosen[item.prompt.id][0]].rank(item) for item in candidates]


def gold_ranking(gold: Gold, item: Completions) -> Ranking:
    """The completions of a prompt in gold's order, without noise."""
    utilities = [gold.utility(item.prompt, completion.text) for completion in item.completions]
    order = sorted(set(utilities), reverse=True)
    return Ranking(
        prompt=item.prompt,
        completions=item.completions,
        ranks=tuple(order.index(utility) + 1 for utility in utilities),
        labeler=gold.name,
    )
