"""The study of human judgments, small: the whole of it from a few bundled rows, and again after an interruption."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from alignloop.cli.study import command
from alignloop.data.jsonl import read_records
from alignloop.data.records import Ranking
from alignloop.errors import ConfigError, DataError, Interrupted
from alignloop.resources import asset
from alignloop.reward.config import RewardConfig
from alignloop.runs.run import Run
from alignloop.workflow.studies import human_judgments as study
from alignloop.workflow.studies.human_table import table_of, verdict
from tests.helpers import contents, signal_at, write_model

ROWS = {"pandalm_3annotators": 60, "squality_rankings_workers": 40}
CONFIG = {
    "seed": 5,
    "batch_size": 8,
    "bias_demonstrations": 4,
    "checkpoint_every": 2,
    "optimizer": {"learning_rate": 1e-3},
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    write_model(folder / "model")
    (folder / "source").mkdir()
    for name, count in ROWS.items():
        lines = gzip.decompress(asset("human_judgments", f"{name}.jsonl.gz").read_bytes())
        rows = b"".join(lines.splitlines(keepends=True)[:count])
        (folder / "source" / f"{name}.jsonl.gz").write_bytes(gzip.compress(rows, mtime=0))
    (folder / "recipe.json").write_text(json.dumps(CONFIG))
    return folder


def run(made: Path, out: Path, said: list[str] | None = None, **fields: Any) -> dict[str, Any]:
    settings = study.Settings(
        **{
            "model": made / "model",
            "reward": RewardConfig.model_validate(CONFIG),
            "sets": list(ROWS),
            "seeds": 2,
            "together": True,
            "source": made / "source",
            **fields,
        }
    )
    return study.human_judgments(settings, out, (said if said is not None else []).append)


@pytest.fixture(scope="module")
def done(made: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], str]:
    out, said = tmp_path_factory.mktemp("study"), list[str]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study, "LEAST_UPDATES", 4)
        results = run(made, out, said)
    return out, results, said[-1]


def test_every_figure_is_there_and_counts_the_same_pairs(
    done: tuple[Path, dict[str, Any], str],
) -> None:
    out, results, table = done

    assert [row["set"] for row in results["sets"]] == list(ROWS)
    for row in results["sets"]:
        ordered = row["counts"]["test"]["pairs"]
        assert row["pairs"] == ordered > 0
        assert len(row["reward_model_seeds"]) == 2
        assert row["reward_model"]["mean"] == pytest.approx(sum(row["reward_model_seeds"]) / 2)
        for name in ("reward_model", "longer_wins", "bigrams_whole", "together"):
            assert 0 <= row[name]["low"] <= row[name]["mean"] <= row[name]["high"] <= 1
        ahead = row["reward_model"]["mean"] - row["longer_wins"]["mean"]
        assert row["ahead_of"]["longer_wins"]["mean"] == pytest.approx(ahead)
        assert 0.5 < row["agreement"]["share"] <= 1
        assert row["set"] in table
    page = (out / "human_judgments.html").read_text(encoding="utf-8")
    assert "Reward models on people" in page and "<svg" in page and "http-equiv" not in page


def test_no_test_prompt_was_learned_from(done: tuple[Path, dict[str, Any], str]) -> None:
    out, _, _ = done
    for name in (*ROWS, study.TOGETHER):
        ids = [
            {
                r.prompt.id
                for r in read_records(out / name / "rankings" / f"{side}.jsonl.gz", Ranking)
            }
            for side in ("train", "valid", "test")
        ]
        assert not (ids[0] & ids[1] or ids[0] & ids[2] or ids[1] & ids[2])
        demonstrations = (out / name / "demonstrations" / "train.jsonl.gz").read_bytes()
        text = gzip.decompress(demonstrations).decode()
        assert not [held for held in ids[2] if f'"{held}"' in text]


def test_an_interrupted_study_ends_with_the_same_bytes(
    made: Path,
    done: tuple[Path, dict[str, Any], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(study, "LEAST_UPDATES", 4)
    with monkeypatch.context() as patch:
        patch.setattr(Run, "log", signal_at(3))
        with pytest.raises(Interrupted):
            run(made, tmp_path)
    assert not (tmp_path / "human_judgments.json").exists()

    run(made, tmp_path)

    by_clock = {"manifest.json", "timings.jsonl", "log.txt"}

    def repeats(path: Path) -> bool:
        return path.name not in by_clock and "tensorboard" not in path.parts

    assert contents(tmp_path, repeats) == contents(done[0], repeats)


def test_a_finished_study_trains_nothing_again(
    made: Path, done: tuple[Path, dict[str, Any], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study, "LEAST_UPDATES", 4)
    monkeypatch.setattr(study, "score_rankings", None)
    monkeypatch.setattr(Run, "log", None)

    assert run(made, done[0]) == done[1]


def test_what_cannot_be_done_is_refused(made: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="data sets are hh_harmless"):
        run(made, tmp_path, sets=["no_such"])
    with pytest.raises(ConfigError, match="once at most"):
        run(made, tmp_path, sets=["pandalm_3annotators"] * 2)
    with pytest.raises(DataError, match="no such file"):
        run(made, tmp_path, sets=["hh_harmless"])


def test_a_small_set_is_passed_over_more_often() -> None:
    config = RewardConfig(epochs=1, batch_size=8)

    assert study.epochs_of(config, 914) == 1
    assert study.epochs_of(config, 79) == 6
    assert study.epochs_of(config.model_copy(update={"epochs": 9}), 79) == 9


def estimate(low: float, high: float) -> dict[str, float]:
    return {"mean": (low + high) / 2, "low": low, "high": high, "n": 9}


@pytest.mark.parametrize(
    ("own", "longer", "bigrams", "said"),
    [
        (
            estimate(0.48, 0.6),
            estimate(0.1, 0.2),
            estimate(0.1, 0.2),
            "weak: no better than chance",
        ),
        (estimate(0.52, 0.6), estimate(-0.2, -0.1), estimate(0.1, 0.2), "weak: worse than a rival"),
        (estimate(0.52, 0.6), estimate(-0.1, 0.1), estimate(0.1, 0.2), "weak: no clear lead"),
        (estimate(0.52, 0.6), estimate(0.01, 0.1), estimate(0.1, 0.2), "better than both"),
    ],
)
def test_weak_is_called_weak(
    own: dict[str, float], longer: dict[str, float], bigrams: dict[str, float], said: str
) -> None:
    row = {
        "reward_model": own,
        "ahead_of": {"longer_wins_whole": longer, "bigrams_whole": bigrams},
    }

    assert verdict(row).startswith(said)


def test_the_command_runs_one_set(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study, "LEAST_UPDATES", 2)
    name = "squality_rankings_workers"
    arguments = ["human-judgments", "--out", str(tmp_path), "--only", name, "--seeds", "1"]
    arguments += ["--model", str(made / "model"), "--config", str(made / "recipe.json")]

    done = CliRunner().invoke(command, arguments, catch_exceptions=False)

    assert done.exit_code == 0, done.output
    results = json.loads((tmp_path / "human_judgments.json").read_text())
    assert table_of(results) in done.output
    assert [row["set"] for row in results["sets"]] == [name]
    assert "together" not in results["sets"][0]
    assert results["sets"][0]["counts"]["test"] == {
        "rankings": 60,
        "prompts": 20,
        "groups": 4,
        "labelers": 4,
        "pairs": 180,
        "ties": 0,
    }
