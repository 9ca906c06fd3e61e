"""Simulated labelers at work: the lexicon they read with, and their rankings, through the store that people use.

They are accounts of a project in the run's folder; each task is assigned, ranked and submitted as a person's would be,
and the artefact is read back from the store.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from sqlalchemy import Connection

from alignloop.data.jsonl import read_records, write_records
from alignloop.data.records import Completions, Ranking, Text
from alignloop.errors import DataError
from alignloop.judges.agreement import Agreement, agreement_of
from alignloop.judges.labelers import INSTRUCTIONS, SimulatedLabeler, assign, training_labelers
from alignloop.judges.lexicon import Lexicon
from alignloop.labeling.config import LexiconConfig, SimulationConfig
from alignloop.labeling.export import ranking_of
from alignloop.labeling.filling import add_completions
from alignloop.progress import progress
from alignloop.runs.artifact import Artifact
from alignloop.runs.run import Run
from alignloop.store import campaigns, judgments, labels, people, queue
from alignloop.store.campaigns import Campaign
from alignloop.store.database import FILE, Store
from alignloop.store.judgments import RankedOutputs
from alignloop.store.people import User
from alignloop.store.tallies import SIMULATED

LEXICON_FILE = "lexicon.json.gz"
_BATCH = 200
"""Tasks per transaction: code needs no answer after each."""


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
    store = _fresh_store(run.folder)
    try:
        lab = _Lab(store, labelers, config.seed, source.sha256)
        with progress(len(train) + len(valid), "simulated labelers", "prompt") as bar:
            train_rankings = lab.rank_all(train, "train", config.shared_share, bar.update)
            valid_rankings = lab.rank_all(valid, "valid", 0.0, bar.update)
    finally:
        store.close()
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


class _Lab:
    """The store with the simulated labelers' accounts in it."""

    def __init__(
        self, store: Store, labelers: Sequence[SimulatedLabeler], seed: int, source: str
    ) -> None:
        self._store = store
        self._labelers = {labeler.name: labeler for labeler in labelers}
        self._seed = seed
        self._source = source
        with store.write() as connection:
            self._accounts = {
                labeler.name: people.add_user(
                    connection,
                    _now(),
                    "simulation",
                    email=f"{labeler.name}{SIMULATED}",
                    name=labeler.name,
                    state="active",
                    standing="qualified",
                )
                for labeler in labelers
            }

    def rank_all(
        self,
        items: Sequence[Completions],
        split: str,
        shared_share: float,
        advance: Callable[[int], object],
    ) -> list[Ranking]:
        """Every item ranked by those it is assigned to, and read back in that order."""
        chosen = assign(
            (item.prompt for item in items),
            list(self._labelers),
            shared_share=shared_share,
            seed=self._seed,
        )
        sizes = [len(item.completions) for item in items]
        with self._store.write() as connection:
            campaign = campaigns.add_campaign(
                connection,
                _now(),
                "simulation",
                name=f"rankings, {split}",
                form="rank",
                k=(min(sizes), max(sizes)),
                overlap=len(self._labelers) if shared_share else 1,
                asks_ratings=False,
                seed=self._seed,
            )
            tasks, filled = add_completions(
                connection, _now(), campaign, items, split=split, policy_sha256=self._source
            )
            if filled.merged or filled.too_few:
                raise DataError(
                    f"{filled.merged} completions repeat another one of their prompt; "
                    "`alignloop sample` draws distinct ones"
                )
            campaign = campaigns.set_state(connection, _now(), "simulation", campaign, "open")
        work = list(zip(tasks, items, strict=True))
        for start in range(0, len(work), _BATCH):
            with self._store.write() as connection:
                for task, item in work[start : start + _BATCH]:
                    for name in chosen[item.prompt.id]:
                        self._rank(connection, campaign, task, item, name)
                    advance(1)
        with self._store.read() as connection:
            found = labels.each_label(connection, "rank", campaign_ids=[campaign.id])
            return [_read_back(connection, label) for label in found]

    def _rank(
        self, connection: Connection, campaign: Campaign, task: int, item: Completions, name: str
    ) -> None:
        account: User = self._accounts[name]
        assignment = queue.assign_to(connection, _now(), account, campaign, task)
        ranking = self._labelers[name].rank(item)
        judgments.submit(
            connection,
            _now(),
            account,
            assignment.public_id,
            RankedOutputs(dict(enumerate(ranking.ranks, start=1)), {}),
            client_uuid=assignment.public_id,
        )


def _read_back(connection: Connection, label: labels.Label) -> Ranking:
    ranking = ranking_of(connection, label)
    if ranking is None:
        raise AssertionError("simulated labelers rank every output")
    # Their instructions are code, with a version of its own.

    return ranking.model_copy(update={"instructions": INSTRUCTIONS, "cohort": ""})


def _fresh_store(folder: Path) -> Store:
    """A new store in the run's folder; a run that was stopped begins its labeling anew."""
    for suffix in ("", "-wal", "-shm"):
        (folder / f"{FILE}{suffix}").unlink(missing_ok=True)
    return Store.open(folder / FILE)


def _one_each(rankings: Sequence[Ranking], seed: int) -> list[Ranking]:
    """One ranking per prompt, so that a shared prompt weighs no more than another."""
    by_prompt: dict[str, list[Ranking]] = {}
    for ranking in rankings:
        by_prompt.setdefault(ranking.prompt.id, []).append(ranking)
    return [group[(at + seed) % len(group)] for at, group in enumerate(by_prompt.values())]


def _share(value: float) -> float | None:
    """A share for JSON, which knows no NaN: None where nothing could be compared."""
    return round(value, 6) if value == value else None


def _now() -> int:
    return time.time_ns() // 1_000_000
