"""The contest of prefixes: the winner is the one with the highest mean score, and it goes on into a comparison."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from alignloop.data.jsonl import read_objects
from alignloop.errors import ConfigError
from tests.evaluation.winrate.test_win_rate import CONFIG, drawn, judged, policies, world
from tests.helpers import run

__all__ = ["drawn", "world"]  # fixtures

TEMPLATES = ("{prompt}\n\n", "A story. {context} ", "Q: {prompt}\nA:")


@pytest.fixture
def candidates(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"candidate-{n}.txt" for n in range(len(TEMPLATES))]
    for path, template in zip(paths, TEMPLATES, strict=True):
        path.write_text(template)
    return paths


def select(world: Path, folder: Path, candidates: list[Path], **config: object) -> Path:
    return run(
        "select_prefix",
        folder,
        {**CONFIG, **config},
        model=world / "sft",
        reward_model=world / "reward",
        prompts=world / "prompts",
        candidates=candidates,
        cache=folder.parent / "cache",
    ).path


def test_the_winner_has_the_highest_mean_score(
    world: Path, tmp_path: Path, candidates: list[Path]
) -> None:
    folder = select(world, tmp_path / "run", candidates, copies=2)

    report = json.loads((folder / "report.json").read_text())
    scores: dict[str, list[float]] = {}
    for _, row in read_objects(folder / "answers.jsonl.gz"):
        scores.setdefault(row["candidate"], []).append(row["score"])
    assert {name: len(found) for name, found in scores.items()} == {p.name: 6 for p in candidates}
    for row in report["candidates"]:
        found = scores[row["candidate"]]
        assert row["score"]["mean"] == pytest.approx(sum(found) / 6)
        assert row["score"]["n"] == 3  # the validation side has three prompts
        assert row["score"]["low"] <= row["score"]["mean"] <= row["score"]["high"]
    best = max(report["candidates"], key=lambda row: row["score"]["mean"])
    assert report["candidates"][report["chosen"] - 1] == best
    assert (folder / "template.txt").read_text() == best["template"]
    for row in report["candidates"]:
        if row is best:
            assert "behind" not in row
        else:
            behind = best["score"]["mean"] - row["score"]["mean"]
            assert row["behind"]["mean"] == pytest.approx(behind) and behind >= 0
    page = (folder / "report.html").read_text()
    assert f"The prefix: {best['candidate']}" in page and "n\u00a03" in page


def test_the_winner_goes_on_into_a_comparison(
    world: Path, tmp_path: Path, candidates: list[Path]
) -> None:
    folder = select(world, tmp_path / "run", candidates)

    compared = judged(
        world,
        tmp_path / "compared",
        policies=policies(world, "base", "sft"),
        template_files={"template-base": folder / "template.txt"},
    )

    asked = json.loads((compared / "report.json").read_text())["policies"]["base"]["asked"]
    assert asked["template"] == (folder / "template.txt").read_text()


def test_candidates_that_were_tried_are_not_drawn_again(
    world: Path, tmp_path: Path, candidates: list[Path], drawn: list[int]
) -> None:
    select(world, tmp_path / "two", candidates[:2])
    assert sum(drawn) == 2 * 3
    drawn.clear()

    select(world, tmp_path / "three", candidates)

    assert sum(drawn) == 3


def test_all_candidates_draw_with_the_same_seeds(world: Path, tmp_path: Path) -> None:
    """Two ways of writing the same text are answered alike, so that luck favours none."""
    paths = [tmp_path / "a.txt", tmp_path / "b.txt"]
    for path in paths:
        path.write_text("{prompt} ")

    folder = select(world, tmp_path / "run", paths)

    one, other = json.loads((folder / "report.json").read_text())["candidates"]
    assert one["score"] == other["score"]
    assert other["behind"]["mean"] == 0.0


def test_one_candidate_and_one_without_a_place_are_refused(
    world: Path, tmp_path: Path, candidates: list[Path]
) -> None:
    with pytest.raises(ConfigError, match="needs two candidates"):
        select(world, tmp_path / "run", candidates[:1])
    candidates[0].write_text("no place")
    with pytest.raises(ConfigError, match=r"candidate-0\.txt: a template says"):
        select(world, tmp_path / "other", candidates)
