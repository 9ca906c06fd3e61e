"""The bundled probes and the three ways of asking through the whole command, by a tiny model."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from alignloop.evaluation.suite.files import task_files
from tests.helpers import run, write_model


def test_pairs_stay_together_and_differences_are_those_of_their_parts(tmp_path: Path) -> None:
    policy = write_model(tmp_path / "policy", context=512)
    tasks = task_files({"ways": None, "probes_premises": None, "probes_code": None})
    config = {"seed": 3, "resamples": 100, "limit": 5, "format": "plain"}

    run("evaluate_tasks", tmp_path / "run", config, policies={"p": policy}, tasks=tasks)

    folder = tmp_path / "run" / "artifact"
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    with gzip.open(folder / "outputs.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    assert {name: one["asked"] for name, one in report["tasks"].items()} == {
        "ways": 6,
        "probes_premises": 6,
        "probes_code": 5,
    }
    cells = {(c["task"], c["metric"]): c for c in report["cells"] if "kind" not in c}
    assert cells["ways", "cloze"]["n"] == cells["ways", "instruction"]["n"] == 2
    assert cells["probes_premises", "doubts_false"]["n"] == 3
    for whole, later, earlier in [
        ("instruction_less_cloze", "instruction", "cloze"),
        ("prompt_less_cloze", "prompt", "cloze"),
    ]:
        parts = [cells["ways", name] for name in (whole, later, earlier)]
        if all("value" in part for part in parts):
            difference, one, other = (part["value"] for part in parts)
            assert difference == pytest.approx(one - other)
    assert report["tasks"]["probes_code"]["sampling"]["cut"] == "nowhere"
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "not cut at a newline" in page
    written = [row["answer"] for row in rows if row["task"] == "probes_code"]
    assert len(written) == 5
    assert all(row["choices"] for row in rows if row["task"] == "ways")
