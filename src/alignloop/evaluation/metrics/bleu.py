"""Corpus BLEU by sacrebleu, kept as counts per sentence so that a bootstrap can add them up again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from alignloop.errors import MissingExtraError

COUNTS = 10
"""Numbers per sentence: matches of 1 to 4 words, all runs of 1 to 4 words, both lengths."""


def sentence_counts(answer: str, references: Sequence[str]) -> tuple[float, ...]:
    """What one sentence adds to a corpus: see `COUNTS`. Tokenised as sacrebleu does by default (13a), with case.

    Raises:
        MissingExtraError: sacrebleu is not installed.
    """
    found = _sacrebleu().BLEU(effective_order=True).sentence_score(answer, list(references))
    return (*found.counts, *found.totals, found.sys_len, found.ref_len)


def corpus_bleu(counts: Sequence[float]) -> float:
    """BLEU in [0, 100] of counts that were added up over sentences, smoothed as sacrebleu does by default (exp).

    Raises:
        MissingExtraError: sacrebleu is not installed.
    """
    whole = [round(count) for count in counts]
    found = _sacrebleu().BLEU.compute_bleu(
        whole[:4], whole[4:8], whole[8], whole[9], smooth_method="exp"
    )
    return float(found.score)


def signature() -> str:
    """Which BLEU this is, in sacrebleu's own notation.

    Raises:
        MissingExtraError: sacrebleu is not installed.
    """
    import importlib.metadata

    _sacrebleu()
    return f"case:mixed|eff:no|tok:13a|smooth:exp|version:{importlib.metadata.version('sacrebleu')}"


def _sacrebleu() -> Any:
    try:
        import sacrebleu
    except ModuleNotFoundError:
        raise MissingExtraError(
            "BLEU needs the package 'sacrebleu': pip install 'alignloop[eval]'"
        ) from None
    return sacrebleu
