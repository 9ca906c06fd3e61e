"""SFT's settings through its real loop: packed rows, all turns of a conversation."""

from __future__ import annotations

from pathlib import Path

import pytest

from alignloop.data.formatter import Formatter
from alignloop.data.jsonl import write_records
from alignloop.data.records import Demonstration, Turn
from alignloop.errors import Interrupted
from alignloop.runs.artifact import write_artifact
from alignloop.runs.run import Run
from tests.helpers import (
    SENTENCES,
    SFT,
    metrics,
    prompt,
    results,
    run,
    signal_at,
    tiny_tokenizer,
    write_demonstrations,
    write_model,
    write_text,
)

PACKED = SFT | {"packing": "packed"}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("inputs")
    return {
        "model": write_model(folder / "model"),
        "demonstrations": write_demonstrations(folder / "demonstrations"),
        "text": write_text(folder / "text"),
    }


def test_packed_rows_learn_what_padded_ones_learn(inputs: dict[str, Path], tmp_path: Path) -> None:
    """Losses, validation losses and gradient norms, over two epochs with pretraining text mixed in."""
    common = {"residual_dropout": 0.0, "micro_batch_tokens": 150}
    run("sft", tmp_path / "padded", SFT | common, **inputs)
    run("sft", tmp_path / "packed", PACKED | common, **inputs)

    padded, packed = metrics(tmp_path / "padded"), metrics(tmp_path / "packed")
    assert len(padded) == len(packed) == 8
    for one, other in zip(packed, padded, strict=True):
        assert one == pytest.approx(other, rel=2e-4, abs=2e-6)
    assert packed != padded, "rounding at least, or the setting does nothing"


def test_packed_runs_repeat_and_resume_to_the_same_bytes(
    inputs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With dropout."""
    run("sft", tmp_path / "whole", PACKED, **inputs)
    with monkeypatch.context() as patch:
        patch.setattr(Run, "log", signal_at(5))
        with pytest.raises(Interrupted):
            run("sft", tmp_path / "cut", PACKED, **inputs)
    assert len(metrics(tmp_path / "cut")) == 5

    run("sft", tmp_path / "cut", PACKED, resume=True, **inputs)

    assert results(tmp_path / "cut") == results(tmp_path / "whole")


def test_all_turns_of_a_conversation_are_learned_where_asked(
    inputs: dict[str, Path], tmp_path: Path
) -> None:
    said = (Turn(role="user", text=SENTENCES[0]), Turn(role="assistant", text=SENTENCES[1]))
    rows = [
        Demonstration(prompt=prompt(i, text="And?", history=said), response=SENTENCES[i])
        for i in range(2, 6)
    ]

    def write(inside: Path) -> None:
        for side in ("train", "valid"):
            write_records(inside / f"{side}.jsonl.gz", rows)

    write_artifact(tmp_path / "rows", "demonstrations", write, parents=[], facts={})
    given = {"model": inputs["model"], "demonstrations": tmp_path / "rows"}
    common = SFT | {"pretraining_mix": 0.0, "epochs": 1, "batch_size": 4}
    run("sft", tmp_path / "last", common, **given)
    run("sft", tmp_path / "all", common | {"learn_turns": "all"}, **given)

    formatter = Formatter.of(tiny_tokenizer())
    [last], [both] = metrics(tmp_path / "last"), metrics(tmp_path / "all")
    assert last["tokens"] == sum(len(formatter.response(row.response)) for row in rows)
    assert both["tokens"] == last["tokens"] + 4 * len(formatter.response(SENTENCES[1]))
    assert both["loss"] != last["loss"]
    assert both["valid_loss"] != last["valid_loss"]
