"""Simulated labelers at work: the lexicon they read with, and their rankings as an artefact."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from alignloop.data.jsonl import read_records, write_records
from alignloop.data.records import Completions, Ranking, Text
from alignloop.judges.agreement import Agreement, agreement_of
from alignloop.judges.labelers import SimulatedLabeler, assign, training_labelers
from alignloop.judges.lexicon import Lexicon
from alignloop.labeling.config import LexiconConfig, SimulationConfig
from alignloop.progress import progress
from alignloop.runs.artifact import Artifact
from alignloop.runs.run import Run

LEXICON_FILE = "lexicon.json.gz"


def make_lexicon(config: LexiconConfig, run: Run, *, text: Path) -> Artifact:
    """Count the words of the train titles; leaves a `lexicon` artefact."""
    source = run.input("text", text, "pretraining-text")
    texts = read_records(source.file("train.jsonl.gz"), Text)
    if config.max_texts is not None:
        texts = texts[:: max(-(-len(texts) // config.max_texts), 1)]
    lexicon = Lexicon.from_texts(text.text for text in texts)
    return run.finish(
        "lexicon",
        lambda folder: lexicon.save(folder / LEXICON_FILE),
        {"passages": lexicon.passages},
    )


def rank(config: SimulationConfig, run: Run, *, completions: Path, lexicon: Path) -> Artifact:
    """The five training labelers rank the completions; leaves a `rankings` artefact (train, valid).

    Each prompt is ranked by one of them, and `shared_share` of the training prompts by all five. The `train` file
    holds one ranking per prompt; what the others said of a shared prompt is in `shared`, for agreement alone.
    """
    source = run.input("completions", completions, "completions")
    words = Lexicon.load(run.input("lexicon", lexicon, "lexicon").file(LEXICON_FILE))
    labelers = training_labelers(words, config.noise, config.tie_margin)
    train = read_records(source.file("rankings.jsonl.gz"), Completions)
    valid = read_records(source.file("valid.jsonl.gz"), Completions)
    with progress(len(train) + len(valid), "simulated labelers", "prompt") as bar:
        train_rankings = _rank_all(labelers, train, config.shared_share, config.seed, bar.update)
        valid_rankings = _rank_all(labelers, valid, 0.0, config.seed, bar.update)
    agreement = sum(agreement_of(train_rankings).values(), Agreement())
    used = _one_each(train_rankings, config.seed)

    def write(folder: Path) -> None:
        write_records(folder / "train.jsonl.gz", used)
        write_records(folder / "shared.jsonl.gz", train_rankings)
        write_records(folder / "valid.jsonl.gz", valid_rankings)

    return run.finish(
        "rankings",
        write,
        {
            "simulated": True,
            "labelers": [labeler.name for labeler in labelers],
            "noise": config.noise,
            "tie_margin": config.tie_margin,
            "rankings": len(used),
            "comparisons": sum(len(ranking.pairs()) for ranking in used),
            "ties": sum(
                len(r.completions) * (len(r.completions) - 1) // 2 - len(r.pairs()) for r in used
            ),
            "agreement": _share(agreement.ordered_share),
            "agreement_with_ties": _share(agreement.three_way_share),
            "agreement_pairs": agreement.ordered,
        },
    )


def _rank_all(
    labelers: Sequence[SimulatedLabeler],
    items: Sequence[Completions],
    shared_share: float,
    seed: int,
    advance: Callable[[int], object],
) -> list[Ranking]:
    by_name = {labeler.name: labeler for labeler in labelers}
    chosen = assign(
        (item.prompt for item in items), list(by_name), shared_share=shared_share, seed=seed
    )
    rankings: list[Ranking] = []
    for item in items:
        rankings += [by_name[name].rank(item) for name in chosen[item.prompt.id]]
        advance(1)
    return rankings


def _one_each(rankings: Sequence[Ranking], seed: int) -> list[Ranking]:
    """One ranking per prompt, so that a shared prompt weighs no more than another."""
    by_prompt: dict[str, list[Ranking]] = {}
    for ranking in rankings:
        by_prompt.setdefault(ranking.prompt.id, []).append(ranking)
    return [group[(at + seed) % len(group)] for at, group in enumerate(by_prompt.values())]


def _share(value: float) -> float | None:
    """A share for JSON, which knows no NaN: None where nothing could be compared."""
    return round(value, 6) if value == value else None
