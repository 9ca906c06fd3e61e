"""One's own records become artefacts, split by group."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from alignloop.data.importing import ImportConfig, import_records
from alignloop.data.jsonl import read_records
from alignloop.data.records import Demonstration, Prompt, Ranking
from alignloop.errors import DataError
from alignloop.runs.artifact import Artifact
from alignloop.runs.run import Run


def imported(tmp_path: Path, kind: str, rows: list[dict[str, Any]]) -> Artifact:
    source = tmp_path / "mine.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = ImportConfig.model_validate({"kind": kind, "valid": 0.2, "test": 0.2})
    with Run.open(tmp_path / f"run-{kind}", "import", config, resume=False) as run:
        return import_records(config, run, source=source)


def test_a_group_stays_on_one_side_and_nothing_is_lost(tmp_path: Path) -> None:
    rows = [
        {"prompt": {"text": f"Question {i}", "group": f"user-{i % 30}"}, "response": f"Answer {i}"}
        for i in range(120)
    ]
    artifact = imported(tmp_path, "demonstrations", rows)
    sides = {
        side: read_records(artifact.file(f"{side}.jsonl.gz"), Demonstration)
        for side in ("train", "valid", "test")
    }
    groups = [{d.prompt.group for d in records} for records in sides.values()]
    assert sum(map(len, sides.values())) == 120
    assert sum(map(len, groups)) == len(set().union(*groups)) == 30


def test_a_bare_string_is_a_prompt_and_gets_an_id_of_its_own(tmp_path: Path) -> None:
    rows = [{"prompt": f"Question {i}", "response": "Yes."} for i in range(60)]
    artifact = imported(tmp_path, "demonstrations", rows)
    train = read_records(artifact.file("train.jsonl.gz"), Demonstration)
    assert len({d.prompt.id for d in train}) == len(train)


def test_prompts_are_shared_out_between_rankings_and_rl(tmp_path: Path) -> None:
    artifact = imported(tmp_path, "prompts", [{"text": f"Question {i}"} for i in range(200)])
    files = {p.name: read_records(p, Prompt) for p in sorted(artifact.path.glob("*.jsonl.gz"))}
    assert set(files) == {"rankings.jsonl.gz", "rl.jsonl.gz", "valid.jsonl.gz", "test.jsonl.gz"}
    assert sum(map(len, files.values())) == 200


def test_rankings_of_held_out_groups_are_left_out_and_counted(tmp_path: Path) -> None:
    completion = {"model": "m", "finished": True, "tokens": 2}
    rows = [
        {
            "prompt": f"Question {i}",
            "completions": [{"text": "a", **completion}, {"text": "b", **completion}],
            "ranks": [1, 2],
            "labeler": "me",
        }
        for i in range(60)
    ]
    artifact = imported(tmp_path, "rankings", rows)
    kept = [
        r
        for side in ("train", "valid")
        for r in read_records(artifact.file(f"{side}.jsonl.gz"), Ranking)
    ]
    prompts = imported(tmp_path, "prompts", [{"text": f"Question {i}"} for i in range(60)])
    held_out = {p.text for p in read_records(prompts.file("test.jsonl.gz"), Prompt)}
    assert held_out
    assert not held_out & {r.prompt.text for r in kept}
    assert artifact.facts["left_out_of_held_out_groups"] == 60 - len(kept) == len(held_out)


def test_too_few_groups_are_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="leave nothing for"):
        imported(tmp_path, "demonstrations", [{"prompt": "One", "response": "Yes."}])


def test_conversations_come_as_messages_and_keep_their_turns_on_one_side(tmp_path: Path) -> None:
    opening = [
        [{"role": "user", "content": f"Question {i}"}, {"role": "assistant", "content": "Yes."}]
        for i in range(60)
    ]
    further = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}]
    rows = [{"messages": [*start, *more]} for start in opening for more in ([], further)]
    artifact = imported(tmp_path, "demonstrations", rows)
    sides = [
        read_records(artifact.file(f"{side}.jsonl.gz"), Demonstration)
        for side in ("train", "valid", "test")
    ]

    assert sum(map(len, sides)) == 120
    assert {len(d.prompt.history) for side in sides for d in side} == {0, 2}
    for side in sides:
        asked = [d.prompt.history[0].text if d.prompt.history else d.prompt.text for d in side]
        assert all(asked.count(text) == 2 for text in asked)
