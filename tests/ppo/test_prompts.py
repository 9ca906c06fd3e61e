"""Which prompts PPO asks, and which it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from alignloop.data.jsonl import write_records
from alignloop.data.records import Prompt
from alignloop.errors import ArtifactError, ConfigError, DataError
from alignloop.ppo.prompts import without
from alignloop.runs.artifact import write_artifact
from tests.helpers import PPO, prompt, run, write_rankings


def write(folder: Path, prompts: list[Prompt]) -> Path:
    def files(inside: Path) -> None:
        for name in ("rl", "rankings", "valid", "test"):
            write_records(inside / f"{name}.jsonl.gz", prompts)

    write_artifact(folder, "prompts", files, parents=[], facts={})
    return folder


def test_labelers_prompts_are_refused_unless_allowed(
    inputs: dict[str, Path], tmp_path: Path
) -> None:
    rows = [prompt(i, source="labeler_fewshot" if i == 2 else "customer") for i in range(6)]
    mixed = inputs | {"prompts": write(tmp_path / "prompts", rows)}

    with pytest.raises(
        ConfigError, match=r"1 of 6 prompts were written by labelers \('prompt-2': .*allow_labeler"
    ):
        run("ppo", tmp_path / "refused", PPO, **mixed)

    run("ppo", tmp_path / "allowed", PPO | {"allow_labeler_prompts": True}, **mixed)


def test_prompts_of_earlier_stages_are_left_out_and_counted(
    inputs: dict[str, Path], tmp_path: Path
) -> None:
    """The rankings' ten prompts hold the six of the prompts artefact, by id; three others are new."""
    new = [prompt(i, text=f"Count to {i}.") for i in (20, 21, 22)]
    rows = [prompt(0), prompt(3), *new]
    asked = inputs | {"prompts": write(tmp_path / "prompts", rows)}
    excluded = [write_rankings(tmp_path / "rankings"), write(tmp_path / "more", new[:1])]

    artifact = run(
        "ppo",
        tmp_path / "run",
        PPO | {"samples_every": 1},
        exclude_prompts_from=excluded,  # type: ignore[arg-type]
        **asked,
    )

    assert artifact.facts["excluded_prompts"] == {
        "exclude_prompts_from-1": 2,
        "exclude_prompts_from-2": 1,
    }
    samples = "".join(path.read_text() for path in (tmp_path / "run" / "samples").iterdir())
    assert '"prompt-21"' in samples
    assert all(f'"prompt-{i}"' not in samples for i in (0, 3, 20))


def test_a_prompt_is_the_same_by_id_or_by_its_text() -> None:
    asked = [
        Prompt(id="a", text="Tell  me\na story."),
        Prompt(id="b", text="Tell me a joke."),
        Prompt(id="c", text="Count to ten."),
    ]
    earlier = {
        "sft": [Prompt(id="x", text="tell me a Story.")],
        "rm": [Prompt(id="b", text="quite another")],
    }

    kept, overlap = without(asked, earlier)

    assert [one.id for one in kept] == ["c"]
    assert overlap == {"sft": 1, "rm": 1}


def test_nothing_left_to_ask_and_nothing_to_exclude_from_are_errors(
    inputs: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="all 2 prompts are among those to exclude"):
        without([prompt(0), prompt(1)], {"sft": [prompt(1), prompt(0)]})
    with pytest.raises(ArtifactError, match="is a 'pretraining-text' artefact; prompts can be"):
        run(
            "ppo",
            tmp_path / "run",
            PPO,
            exclude_prompts_from=[inputs["text"]],  # type: ignore[arg-type]
            **inputs,
        )
