"""The paper's released samples in their layout, made by hand: what is scored, and what it is held against."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest
from scipy import stats

from alignloop.errors import DataError
from alignloop.evaluation.suite.published import MODELS, PRINTED, check, correlation, told


def write(folder: Path, name: str, rows: list[dict[str, Any]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}_samples.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["", *rows[0]])
        writer.writeheader()
        writer.writerows({"": i, **row} for i, row in enumerate(rows))


def qa(model: str, sample: str, references: str, setting: str = "fewshot") -> dict[str, str]:
    return {
        "model_type": model,
        "prompt_type": setting,
        "context": 'Q: "Who", then?\nA:',
        "ref_text": references,
        "sample": sample,
    }


def by_model(found: dict[str, Any], file: str, metric: str) -> dict[str, dict[str, Any]]:
    [one] = [f for f in found["found"] if (f["file"], f["metric"]) == (file, metric)]
    return {row["model"]: row for row in one["models"]}


def test_f1_takes_the_nearest_alternative_and_means_are_of_a_model(tmp_path: Path) -> None:
    rows = [
        qa("gpt-xl", "the red fox", "fox|red fox"),
        qa("gpt-xl", "hen", "fox"),
        qa("sft-xl", "Not in background", "Not in background."),
        qa("sft-xl", "in the background", "Not in background."),
    ]
    write(tmp_path, "squadv2", rows)

    found = check(tmp_path)

    models = by_model(found, "squadv2", "f1")
    assert models["gpt-xl"]["value"] == pytest.approx(50.0)
    assert models["sft-xl"]["value"] == pytest.approx(100 * (1 + 2 * 2 / 5) / 2)
    assert models["gpt-xl"]["n"] == 2
    assert models["gpt-xl"]["printed"] == 58.86
    assert models["gpt-xl"]["low"] <= 50.0 <= models["gpt-xl"]["high"]
    assert found["found"][0]["pearson"] is None  # of two models
    assert "drop_samples.csv" in found["missing"]
    assert "squadv2_samples.csv" not in found["missing"]


def test_drop_is_scored_twice_and_translations_by_bleu(tmp_path: Path) -> None:
    folder = tmp_path / "automatic-eval-samples"
    write(
        folder,
        "drop",
        [qa("gpt-xl", "12 yards", "10 yards|12"), qa("gpt-xl", "3 yards", "4 yards")],
    )
    write(folder, "fr_to_en", [qa("gpt-xl", "Good day to you", "Good day to you")] * 2)

    found = check(tmp_path)

    # numbers that differ count nothing for DROP, and for SQuAD the shared word does
    assert by_model(found, "drop", "f1")["gpt-xl"]["value"] == pytest.approx(100 * 0.67 / 2)
    squad = by_model(found, "drop", "squad_f1")["gpt-xl"]
    assert squad["value"] == pytest.approx(100 * (2 / 3 + 1 / 2) / 2)
    assert squad["printed"] == 25.43
    # two sentences that score alike give no interval, and so no figure
    assert "value" not in by_model(found, "fr_to_en", "bleu")["gpt-xl"]


def test_toxicity_truth_and_summaries(tmp_path: Path) -> None:
    common = {"model_type": "ppo-ptx-175b", "prompt_type": "biased prompt", "context": "x"}
    write(
        tmp_path,
        "real_toxicity",
        [{**common, "sample": "y", "toxicity": value} for value in ("0.1", "0.5")],
    )
    judged = {"model_type": "gpt-xl", "prompt_type": "QA prompt", "adversarial": "True"}
    answers = [("0.9", "0.8"), ("0.7", "0.1"), ("0.2", "0.9"), ("0.5", "0.5")]
    write(
        tmp_path,
        "truthful_qa",
        [{**judged, "question": "q", "answer": "a", "true": t, "info": i} for t, i in answers],
    )
    summary = {
        "model_type": "gpt-xl",
        "context": "x",
        "ref_text": "the old fox",
        "sample": "old fox",
    }
    write(tmp_path, "tldr", [summary, {**summary, "sample": "hen"}])

    found = check(tmp_path)

    toxic = by_model(found, "real_toxicity", "toxicity")["ppo-ptx-175b"]
    assert (toxic["value"], toxic["printed"]) == (pytest.approx(0.3), 0.4)
    assert by_model(found, "truthful_qa", "true")["gpt-xl"]["value"] == 0.75
    informative = by_model(found, "truthful_qa", "true_and_informative")["gpt-xl"]
    assert (informative["value"], informative["printed"]) == (0.5, 0.193)
    short = by_model(found, "tldr", "rouge_l")["gpt-xl"]
    assert (short["value"], short["printed"]) == (pytest.approx(0.4), None)
    assert any("mislabelled" in note for note in found["notes"])
    assert any("TL;DR" in note for note in found["notes"])
    page = "\n".join(told(found))
    assert "real_toxicity, biased prompt" in page
    assert "not there: squadv2_samples.csv" in page


def test_the_printed_table_is_whole() -> None:
    assert len(MODELS) == 12
    for row in PRINTED.values():
        assert list(row) == list(MODELS)
    # alignment tax and its cure, as the paper tells them (section 4.2)
    few = PRINTED["squadv2", "fewshot", "f1"]
    assert (few["gpt-175b"], few["ppo-noptx-175b"], few["ppo-ptx-175b"]) == (69.75, 51.95, 69.93)


def test_correlations() -> None:
    pairs = [(1.0, 2.0), (2.0, 1.0), (3.0, 4.0), (4.0, 4.0), (5.0, 7.0)]
    first, second = np.array(pairs).T

    pearson, spearman = correlation(pairs), correlation(pairs, by_rank=True)

    assert pearson is not None
    assert spearman is not None
    assert pearson["value"] == pytest.approx(stats.pearsonr(first, second).statistic)
    interval = stats.pearsonr(first, second).confidence_interval(0.95)
    assert (pearson["low"], pearson["high"]) == pytest.approx((interval.low, interval.high))
    assert spearman["value"] == pytest.approx(stats.spearmanr(first, second).statistic)
    assert spearman["low"] < spearman["value"] < spearman["high"] < 1
    assert correlation(pairs[:3]) is None
    assert correlation([(1.0, 2.0)] * 5) is None


def test_twelve_models_that_agree_with_the_table_correlate(tmp_path: Path) -> None:
    rows = []
    for model, printed in PRINTED["squadv2", "fewshot", "f1"].items():
        right = round(printed)
        rows += [qa(model, "fox" if i < right else "hen", "fox") for i in range(100)]
    write(tmp_path, "squadv2", rows)

    [one] = check(tmp_path)["found"]

    assert one["pearson"]["value"] > 0.99
    assert one["pearson"]["n"] == 12
    assert [row["model"] for row in one["models"]] == list(MODELS)


def test_bad_files_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        check(tmp_path / "none")
    with pytest.raises(DataError, match=r"none of squadv2_samples\.csv"):
        check(tmp_path)
    write(
        tmp_path,
        "real_toxicity",
        [{"model_type": "a", "context": "c", "sample": "s", "toxicity": "2"}],
    )
    with pytest.raises(
        DataError, match=r"real_toxicity_samples\.csv, line 2: field 'toxicity' is '2'"
    ):
        check(tmp_path)


def test_the_command(tmp_path: Path, run_cli: Callable[..., CompletedProcess[str]]) -> None:
    write(tmp_path, "squadv2", [qa("gpt-xl", "fox", "fox"), qa("gpt-xl", "fox", "hen")])

    done = run_cli("evaluate", "published", tmp_path, "--out", tmp_path / "found.json")

    assert done.returncode == 0, done.stderr
    assert "gpt-xl" in done.stdout
    written = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    assert written["found"][0]["models"][0]["value"] == 50.0
