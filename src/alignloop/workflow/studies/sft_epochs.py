"""SFT for sixteen epochs: does validation loss get worse while the reward model likes the answers no less?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alignloop.data.formatter import Formatter
from alignloop.data.jsonl import read_records, write_records
from alignloop.data.records import Demonstration, Prompt
from alignloop.evaluation.config import SelectionConfig
from alignloop.evaluation.respond import sequence_log_probs
from alignloop.generation.answers import answer
from alignloop.generation.engine import SamplingConfig
from alignloop.judges.intervals import paired_bootstrap, pooled
from alignloop.judges.measure import ratio
from alignloop.models.loading import load_causal_lm, load_tokenizer
from alignloop.models.reward_scorer import RewardScorer
from alignloop.pages import Table
from alignloop.runs.artifact import open_artifact, write_artifact
from alignloop.sft.config import SFTConfig
from alignloop.workflow.epochs import sft_epochs
from alignloop.workflow.studies.cells import Cell, Done, Row
from alignloop.workflow.studies.claims import Claim, Effect, judge
from alignloop.workflow.studies.examined import effect_of
from alignloop.workflow.studies.foundation import BaseName, Foundation
from alignloop.workflow.studies.study import Bench, Findings, Study
from alignloop.workflow.studies.wording import interval

EPOCHS = 16
EXAMINED = (1, 2, 4, 8, 16)
COPIES = 2
"""Answers per validation prompt."""
SMOKE_EPOCHS, SMOKE_EXAMINED, SMOKE_DEMONSTRATIONS = 2, (1, 2), 32

LOSS_WORSE = Claim(
    key="loss-is-worse",
    text="Sixteen epochs of SFT leave a higher validation loss than one.",
    source="section 3.5, C.1",
    effect="validation loss per token after the last epoch less after the first",
    expected="above",
    unit="nats",
)
SCORE_NOT_WORSE = Claim(
    key="score-is-no-worse",
    text="Sixteen epochs of SFT leave a reward-model score that is no worse than after one.",
    source="section 3.5, C.1",
    effect="score after the last epoch less after the first",
    expected="above",
    margin=-0.1,
)
"""A tenth of a unit of reward is 2.5 points of preference between two answers of near worth."""
QUESTION = (
    "One run of SFT over 16 epochs, every epoch kept: loss on validation demonstrations, and the mean score that "
    "the reward model of the two-epoch SFT model gives to answers to validation prompts. The paper saw the loss "
    "overfit after one epoch, and more epochs help both score and preference."
)


def _cells(bench: Bench, base: BaseName, seed: int) -> list[Cell]:
    foundation = bench.foundation(base, seed)
    epochs = SMOKE_EPOCHS if bench.smoke else EPOCHS
    at = SMOKE_EXAMINED if bench.smoke else EXAMINED
    setting = {"epochs": epochs, "examined": list(at), "copies": COPIES}
    # 65 seconds an epoch with the demo's base, and 35 to examine one.
    guess = foundation.scaled(65.0 * epochs + 35.0 * len(at))
    return [
        Cell(
            "epochs",
            base,
            seed,
            setting,
            lambda folder: _work(foundation, folder, epochs, at),
            guess,
        )
    ]


def _work(
    foundation: Foundation, folder: Path, epochs: int, examined: Sequence[int]
) -> Sequence[Row]:
    demonstrations = foundation.path("demonstrations")
    if foundation.demo.smoke:
        demonstrations = _first(demonstrations, folder / "demonstrations", SMOKE_DEMONSTRATIONS)
    overrides = [f"epochs={epochs}", "response_tokens=none"]
    foundation.run(
        folder / "sft",
        "sft",
        "sft",
        *overrides,
        model=foundation.base,
        demonstrations=demonstrations,
    )
    trained = foundation.config("sft", "sft")
    assert isinstance(trained, SFTConfig)
    selection = foundation.config("select", "select")
    assert isinstance(selection, SelectionConfig)
    asked = open_artifact(foundation.path("prompts"), "prompts").file("valid.jsonl.gz")
    tested = open_artifact(demonstrations, "demonstrations").file("valid.jsonl.gz")
    scorer = RewardScorer(foundation.path("reward"))
    prompts, tests = read_records(asked, Prompt), read_records(tested, Demonstration)
    if foundation.demo.smoke:
        prompts = prompts[:12]
    return [
        {
            "epoch": epoch.number,
            **_losses(open_artifact(epoch.path, "policy").path, tests, trained.max_prompt_tokens),
            **_scores(epoch.path, prompts, scorer, selection.sampling, foundation.seed),
        }
        for epoch in sft_epochs(folder / "sft")
        if epoch.number in examined
    ]


def _first(source: Path, folder: Path, count: int) -> Path:
    """An artefact of the first demonstrations of each side, for a smoke run."""
    opened = open_artifact(source, "demonstrations")

    def write(inside: Path) -> None:
        for side in ("train", "valid"):
            rows = read_records(opened.file(f"{side}.jsonl.gz"), Demonstration)
            write_records(inside / f"{side}.jsonl.gz", rows[:count])

    parents = [{"role": "demonstrations", "kind": opened.kind, "sha256": opened.sha256}]
    return write_artifact(folder, "demonstrations", write, parents=parents, facts={}).path


def _losses(
    policy: Path, tests: Sequence[Demonstration], longest: int | None
) -> dict[str, list[Any]]:
    """Per validation demonstration that SFT would learn: whose prompt, nats, and tokens of the response."""
    formatter = Formatter.of(load_tokenizer(policy))
    lengths = map(len, formatter.prompts([one.prompt for one in tests]))
    kept = [
        one
        for one, length in zip(tests, lengths, strict=True)
        if longest is None or length <= longest
    ]
    responses = [formatter.response(one.response) for one in kept]
    asked = [one.prompt for one in kept]
    sums = sequence_log_probs(load_causal_lm(policy), formatter, asked, responses, 1.0)
    return {
        "demonstrations": [prompt.id for prompt in asked],
        "nats": [-total for total in sums],
        "tokens": [len(tokens) for tokens in responses],
    }


def _scores(
    policy: Path,
    prompts: Sequence[Prompt],
    scorer: RewardScorer,
    sampling: SamplingConfig,
    seed: int,
) -> dict[str, list[Any]]:
    """Per validation prompt the mean score of its answers; every epoch draws with the same seeds."""
    formatter = Formatter.of(load_tokenizer(policy))
    model = load_causal_lm(policy)
    groups = answer(model, formatter, prompts, sampling, seed, "sft-epochs", copies=COPIES)
    flat = [one.completion for group in groups for one in group]
    repeated = [prompt for prompt in prompts for _ in range(COPIES)]
    scores = scorer.scores_of_drawn(repeated, flat, formatter.tokenizer)
    return {
        "prompts": [prompt.id for prompt in prompts],
        "scores": [
            math.fsum(scores[at : at + COPIES]) / COPIES for at in range(0, len(scores), COPIES)
        ],
    }


def loss_effect(seed: int, last: Row, first: Row) -> Effect:
    """Nats per token of one epoch less those of another, over the same demonstrations."""
    more = [a - b for a, b in zip(last["nats"], first["nats"], strict=True)]
    return effect_of(
        seed, ratio(more, last["tokens"], last["demonstrations"], seed=0, is_share=False)
    )


def _findings(cells: Sequence[Done]) -> Findings:
    from alignloop.workflow.studies.figures import curves_by_seed, effects_plot

    ends = {cell.seed: (cell.rows[-1], cell.rows[0]) for cell in cells}
    losses = [loss_effect(seed, last, first) for seed, (last, first) in ends.items()]
    scores = [
        Effect.of(seed, paired_bootstrap(last["scores"], first["scores"], last["prompts"]))
        for seed, (last, first) in ends.items()
    ]
    judged = [judge(LOSS_WORSE, losses), judge(SCORE_NOT_WORSE, scores)]
    epochs = [row["epoch"] for row in cells[0].rows]
    curves = [
        curves_by_seed(
            f"sft-epochs-{key}",
            title,
            text,
            epochs,
            {cell.seed: [of(row) for row in cell.rows] for cell in cells},
            "epochs",
            is_geometric=True,
        )
        for key, title, text, of in (
            ("loss", "Validation loss", "Per response token of validation demonstrations.", _loss),
            ("score", "Reward-model score", "Mean over answers to validation prompts.", _score),
        )
    ]
    effects = [effects_plot(f"sft-epochs-{one.claim.key}", one) for one in judged]
    return Findings(judged, [_table(cells)], [*curves, *effects])


def _loss(row: Row) -> float:
    return math.fsum(row["nats"]) / sum(row["tokens"])


def _score(row: Row) -> float:
    return math.fsum(row["scores"]) / len(row["scores"])


def _table(cells: Sequence[Done]) -> Table:
    rows: list[list[str]] = []
    for cell in cells:
        for row in cell.rows:
            loss = effect_of(
                cell.seed,
                ratio(row["nats"], row["tokens"], row["demonstrations"], seed=0, is_share=False),
            )
            score = pooled(row["scores"], row["prompts"])
            rows.append(
                [
                    str(row["epoch"]),
                    str(cell.seed),
                    interval(loss.value, loss.low, loss.high, "nats", signed=False),
                    str(loss.n),
                    interval(score.mean, score.low, score.high, "number"),
                    str(score.n),
                ]
            )
    columns = ["Epoch", "Seed", "Validation loss", "Prompts", "Reward-model score", "Prompts"]
    return Table("Every epoch that was examined", columns, rows)


STUDY = Study(
    name="sft-epochs",
    title="Epochs of SFT",
    question=QUESTION,
    bases=("medium",),
    quick_bases=("small",),
    needs=("sft", "reward"),
    cells=_cells,
    findings=_findings,
)
