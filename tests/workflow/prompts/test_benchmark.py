"""The benchmark of imports: a small run of the whole, and its picture."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.full
def test_a_small_run_of_the_whole(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.prompts_import", "--rows", "700", "1500"]
    out = ["--json", str(tmp_path / "out.json"), "--picture", str(tmp_path / "out.svg")]
    done = subprocess.run(
        [*command, *out, "--scratch", str(tmp_path)], cwd=ROOT, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "out.json").read_text())
    assert [one["rows"] for one in found["sizes"]] == [700, 1500]
    for one in found["sizes"]:
        assert 0 < one["kept"] < one["rows"]
        assert one["peak_mib"] > 50 and one["cpu_seconds"] > 0
        assert set(one["others"]) == {"report", "again", "export"}
    assert "growth_of_seconds" in found and "growth_of_cpu_seconds" in found
    assert ElementTree.parse(tmp_path / "out.svg").getroot().tag.endswith("svg")
