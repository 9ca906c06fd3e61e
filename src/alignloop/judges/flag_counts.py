"""Agreement on yes/no questions from counts alone: the figures of `agreement_alpha.flag_agreement`, without intervals.

A hundred thousand judgments of nine texts and eleven flags are ten million answers, nearly all of them no. How many
texts were asked about so often and called yes so often is a table of a few dozen rows, and says as much.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Counts = Mapping[tuple[int, int], int]
"""(answers, yes among them) -> texts of which that holds."""


@dataclass(frozen=True, slots=True)
class CountedAgreement:
    """How far people agree on one yes/no question."""

    answers: int
    prevalence: float | None
    """Share of yes among all answers; None without answers."""
    positive: float | None
    """2a / (2a + b + c) over all pairs of raters of a text; None where nobody says yes."""
    alpha: float | None
    """Krippendorff's alpha, nominal; None where all values are equal, or no text has two answers."""


def counted_agreement(counts: Counts) -> CountedAgreement:
    """The three figures.

    Raises:
        ValueError: more say yes than answer, or a count is negative.
    """
    if any(not 0 <= yes <= answers or texts < 0 for (answers, yes), texts in counts.items()):
        raise ValueError("no more can say yes than answer, and no count is negative")
    answers = sum(texts * asked for (asked, _), texts in counts.items())
    said = sum(texts * yes for (_, yes), texts in counts.items())
    both = sum(texts * yes * (yes - 1) / 2 for (_, yes), texts in counts.items())
    one = sum(texts * yes * (asked - yes) for (asked, yes), texts in counts.items())
    return CountedAgreement(
        answers=answers,
        prevalence=said / answers if answers else None,
        positive=2 * both / (2 * both + one) if both or one else None,
        alpha=_alpha(counts),
    )


def _alpha(counts: Counts) -> float | None:
    """1 - D_o / D_e over the texts with two answers or more (Krippendorff 2011), for two values."""
    paired = {key: texts for key, texts in counts.items() if key[0] > 1}
    values = sum(texts * asked for (asked, _), texts in paired.items())
    yes = sum(texts * said for (_, said), texts in paired.items())
    expected = 2 * yes * (values - yes)
    if not expected:
        return None
    observed = sum(
        texts * 2 * said * (asked - said) / (asked - 1) for (asked, said), texts in paired.items()
    )
    return 1 - (values - 1) * observed / expected
