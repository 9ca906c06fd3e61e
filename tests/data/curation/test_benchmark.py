"""The benchmark of curation: its prompts are the same each time, its arithmetic, and a small run of the whole."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from itertools import islice
from pathlib import Path
from xml.etree import ElementTree

import pytest

from alignloop.data.curation.outcomes import REASONS
from benchmarks import prompt_curation

ROOT = Path(__file__).resolve().parents[3]


def test_prompts_repeat_by_seed() -> None:
    one, same, other = (list(islice(prompt_curation.Prompts(500, seed), 500)) for seed in (1, 1, 2))

    assert one == same != other
    lengths = [len(candidate.text) for candidate in one]
    assert 300 < sum(lengths) / len(lengths) < 1200
    assert any(candidate.history for candidate in one)


def test_the_exponent_is_a_slope_of_logarithms() -> None:
    assert prompt_curation.exponent([10, 100, 1000], [3, 30, 300]) == pytest.approx(1.0)
    assert prompt_curation.exponent([1, 2, 4], [1, 4, 16]) == pytest.approx(2.0)


def test_a_small_run_of_the_whole(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.prompt_curation", "--rows", "600", "1500"]
    out = ["--json", str(tmp_path / "out.json"), "--picture", str(tmp_path / "out.svg")]
    done = subprocess.run([*command, *out], cwd=ROOT, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "out.json").read_text())
    assert [one["rows"] for one in found["sizes"]] == [600, 1500]
    for one in found["sizes"]:
        assert one["outcomes"]["rows"] == one["rows"]
        assert one["peak_mib"] > 50 and one["cpu_seconds"] > 0
    dropped = found["sizes"][1]["outcomes"]["dropped"]
    assert set(dropped) == set(REASONS) and dropped["exact_duplicate"] and dropped["common_prefix"]
    assert math.isfinite(found["growth_exponent_seconds"])
    assert ElementTree.parse(tmp_path / "out.svg").getroot().tag.endswith("svg")
