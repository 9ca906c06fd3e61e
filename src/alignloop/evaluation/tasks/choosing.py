"""What several choice tasks measure alike."""

from __future__ import annotations

from alignloop.evaluation.tasks.task import Item, Metric, Output, mean_of


def accuracy(name: str = "accuracy", meaning: str = "share of right choices") -> Metric:
    """Share of items whose right choice (`about["label"]`) has the highest mean log-probability per token."""

    def right(item: Item, output: Output) -> float:
        return float(output.chosen() == item.about["label"])

    return mean_of(name, meaning, right, chance=one_of_the_choices)


def one_of_the_choices(item: Item) -> float:
    """Chance of a blind pick."""
    return 1 / len(item.choices)
