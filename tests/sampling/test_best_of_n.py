"""Best of n and rejection sampling: the estimator against all choices, and the stages on a tiny policy."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from alignloop.data.formatter import Formatter
from alignloop.data.jsonl import read_objects, read_records
from alignloop.data.records import Completion, Completions, Demonstration, Prompt
from alignloop.errors import DataError
from alignloop.models.reward_model import ScalarModel, reward_scores
from alignloop.runs.artifact import open_artifact
from alignloop.sampling.objective import best_of_k, best_of_k_kl, doublings
from alignloop.sampling.rejection import kept_answers
from alignloop.sampling.scored import Scored
from tests.helpers import (
    REWARD,
    SFT,
    metrics,
    prompt,
    results,
    run,
    tiny_tokenizer,
    write_demonstrations,
    write_model,
    write_prompts,
    write_rankings,
)

# --- the estimator ---


@given(
    st.lists(st.integers(-5, 5).map(float), min_size=2, max_size=7, unique=True), st.integers(1, 7)
)
def test_best_of_k_is_the_mean_over_all_choices_of_k(scores: list[float], k: int) -> None:
    """What is averaged is another judge's value of the answer that the scores choose."""
    k = min(k, len(scores))
    values = [math.cos(score) for score in scores]

    found = best_of_k(
        torch.tensor([scores], dtype=torch.float64), torch.tensor([values], dtype=torch.float64), k
    )

    best = [
        values[max(choice, key=lambda i: scores[i])]
        for choice in itertools.combinations(range(len(scores)), k)
    ]
    assert float(found) == pytest.approx(sum(best) / len(best))


def test_best_of_two_of_three_by_hand() -> None:
    """Scores 1, 2, 4: of the pairs (1,2), (1,4), (2,4) the best are 2, 4, 4."""
    scores = torch.tensor([[4.0, 1.0, 2.0]], dtype=torch.float64)

    assert [float(best_of_k(scores, scores, k)) for k in (1, 2, 3)] == pytest.approx(
        [7 / 3, 10 / 3, 4]
    )


@pytest.mark.parametrize(("answers", "k"), [(200, 2), (1000, 4)])
def test_the_kl_is_that_of_the_best_of_k_among_equally_likely_answers(answers: int, k: int) -> None:
    """The j-th of N answers is the best of k with probability (j^k - (j-1)^k)/N^k: exact KL by summing."""
    chances = [(j**k - (j - 1) ** k) / answers**k for j in range(1, answers + 1)]
    exact = sum(p * math.log(p * answers) for p in chances)

    assert exact == pytest.approx(best_of_k_kl(k), rel=0.01)
    assert exact < best_of_k_kl(k), "a bound where answers can be drawn twice"
    assert best_of_k_kl(1) == 0


@pytest.mark.parametrize(
    ("n", "ks"), [(1, [1]), (2, [1, 2]), (6, [1, 2, 4, 6]), (16, [1, 2, 4, 8, 16])]
)
def test_doublings_end_at_n(n: int, ks: list[int]) -> None:
    assert doublings(n) == ks


# --- the stages ---


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    write_model(folder / "model")
    write_prompts(folder / "prompts")
    write_rankings(folder / "rankings")
    write_demonstrations(folder / "demonstrations")
    inputs = {name: folder / name for name in ("model", "rankings", "demonstrations")}
    run("reward", folder / "reward", REWARD | {"epochs": 1}, **inputs)
    return folder


def verb(stage: str, folder: Path, out: Path, **options: Any) -> Path:
    where = {"files": ("valid", "rl")} if stage == "best_of_n" else {"file": "rl"}
    values = {"n": 6, "sampling": {"max_new_tokens": 10}} | options
    run(
        stage,
        out,
        values,
        model=folder / "model",
        reward_model=folder / "reward",
        prompts=folder / "prompts",
        name="tiny",  # type: ignore[arg-type]
        **where,  # type: ignore[arg-type]
    )
    return out


def test_the_best_of_n_is_the_answer_with_the_highest_score(folder: Path, tmp_path: Path) -> None:
    artifact = open_artifact(verb("best_of_n", folder, tmp_path / "run"), "completions")

    scorer, formatter = (
        ScalarModel.load(folder / "reward" / "artifact"),
        Formatter.of(tiny_tokenizer()),
    )
    for file, count in (("valid", 4), ("rl", 6)):
        rows = read_records(artifact.file(f"{file}.jsonl.gz"), Completions)
        scored = [row for _, row in read_objects(artifact.file(f"{file}_scores.jsonl.gz"))]
        assert len(rows) == len(scored) == count
        best = [row.completions[0] for row in rows]
        ours = reward_scores(
            scorer, formatter, [row.prompt for row in rows], [list(c.token_ids) for c in best]
        )
        assert ours == pytest.approx([max(row["scores"]) for row in scored], abs=1e-5)
        assert [row["scores"].index(max(row["scores"])) for row in scored] == [
            row["best"] for row in scored
        ]
        assert artifact.facts["score"][file]["6"] == pytest.approx(sum(ours) / count, abs=1e-5)
        every = [score for row in scored for score in row["scores"]]
        assert artifact.facts["score"][file]["1"] == pytest.approx(sum(every) / len(every))
    by_k = list(artifact.facts["score"]["rl"].values())
    assert by_k == sorted(by_k)
    assert list(artifact.facts["kl_bound"]) == ["1", "2", "4", "6"]


def test_rejection_sampling_leaves_what_sft_learns_from(folder: Path, tmp_path: Path) -> None:
    kept = open_artifact(verb("reject", folder, tmp_path / "kept", n=12), "demonstrations")

    rows = read_records(kept.file("train.jsonl.gz"), Demonstration)
    assert kept.facts["rows"]["train"] == len(rows) == 6 - kept.facts["dropped_prompts"]["train"]
    assert {row.labeler for row in rows} == {"tiny"}
    assert kept.facts["mean_score_kept"] > kept.facts["mean_score"]
    run(
        "sft",
        tmp_path / "sft",
        SFT | {"pretraining_mix": 0.0},
        model=folder / "model",
        demonstrations=tmp_path / "kept",
    )
    assert metrics(tmp_path / "sft")[-1]["loss"] > 0


def test_a_threshold_keeps_every_answer_that_reaches_it(folder: Path, tmp_path: Path) -> None:
    low, high = (
        open_artifact(
            verb("reject", folder, tmp_path / str(least), n=12, min_score=least), "demonstrations"
        ).facts
        for least in (-1e9, -0.05)
    )

    assert low["rows"]["train"] > high["rows"]["train"] > 0
    assert high["mean_score_kept"] >= -0.05
    with pytest.raises(DataError, match="with a score of 1e\\+09 or more"):
        verb("reject", folder, tmp_path / "none", min_score=1e9)


@pytest.mark.parametrize("stage", ["best_of_n", "reject"])
def test_both_repeat_byte_for_byte_and_take_a_limit(
    folder: Path, tmp_path: Path, stage: str
) -> None:
    first, second, fewer = (
        verb(stage, folder, tmp_path / name, n=12, **more)
        for name, more in (("a", {}), ("b", {}), ("c", {"limit": 3}))
    )

    assert results(first) == results(second)
    name = "rl" if stage == "best_of_n" else "train"
    kind = Completions if stage == "best_of_n" else Demonstration
    rows, some = (
        {r.prompt.id for r in read_records(out / "artifact" / f"{name}.jsonl.gz", kind)}
        for out in (first, fewer)
    )
    assert some < rows


def test_truncated_and_empty_answers_are_never_kept_and_a_text_is_kept_once() -> None:
    def said(text: str, finished: bool = True) -> Completion:
        return Completion(text=text, model="m", finished=finished, tokens=3)

    texts = [said("a"), said("cut", finished=False), said("b"), said("a"), said("")]
    rows = [
        Scored(prompt(0), texts, [1.0, 9.0, 2.0, 1.5, 8.0]),
        Scored(Prompt.model_validate("no end"), texts[1:2], [3.0]),
    ]

    assert kept_answers(rows, None) == [[2], []]
    assert kept_answers(rows, 1.2) == [[2, 3], []]
    assert kept_answers(rows, 3.0) == [[], []]
