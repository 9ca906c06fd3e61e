"""`/compare`: both answer, blind; the choice is kept as a ranking that the importer and the trainers read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from alignloop.data.importing import ImportConfig
from alignloop.data.jsonl import read_records
from alignloop.data.records import Ranking
from alignloop.errors import DataError
from alignloop.generation.engine import SamplingConfig
from alignloop.serving.compare import Comparison
from alignloop.serving.terminal import Chat, Speaker, converse
from alignloop.workflow.stages import run_stage
from tests.helpers import write_model

SAMPLING = SamplingConfig(max_new_tokens=8)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two policies that draw differently."""
    folder = tmp_path_factory.mktemp("two")
    return write_model(folder / "first"), write_model(folder / "second", seed=9)


def comparison_of(folders: tuple[Path, Path], choices: Path, seed: int = 5) -> Comparison:
    first, second = folders
    return Comparison(Chat(first, SAMPLING, seed), Speaker(second, SAMPLING), "ann", choices)


def answering(*answers: str) -> Callable[[str], str]:
    given: Iterator[str] = iter(answers)
    return lambda _: next(given)


@pytest.mark.parametrize(
    ("typed", "ranks"),
    [
        (("a",), (1, 2)),
        (("b",), (2, 1)),
        (("t",), (1, 1)),
        (("x", "", "a"), None),
        (("no", " B "), (2, 1)),
    ],
)
def test_a_choice_is_a_ranking_of_two(
    folders: tuple[Path, Path],
    tmp_path: Path,
    typed: tuple[str, ...],
    ranks: tuple[int, int] | None,
) -> None:
    choices, shown = tmp_path / "choices.jsonl", list[str]()
    comparison = comparison_of(folders, choices)

    found = comparison("The king\nslept", answering(*typed), shown.append)

    if ranks is None:
        assert found is None
        assert not choices.exists()
        assert comparison.chat.history == ()
        return
    assert found is not None
    assert read_records(choices, Ranking) == [found]
    assert (found.ranks, found.labeler, found.prompt.text) == (ranks, "ann", "The king\nslept")
    a, b = found.completions
    assert {a.model, b.model} == {"first", "second"}
    assert "".join(shown).startswith(
        f"A: {a.text}\n\nB: {b.text}\n\n(A was {a.model}, B was {b.model}"
    )
    assert str(choices) in shown[-1]
    assert comparison.chat.history[-1].text == (b.text if ranks == (2, 1) else a.text)


def test_names_are_told_after_the_choice_and_the_order_is_drawn_by_lot(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    first_shown: set[str] = set()
    for seed in range(12):
        shown: list[str] = []

        def question(_: str, shown: list[str] = shown) -> str:
            assert not any("first" in piece or "second" in piece for piece in shown)
            return "a"

        found = comparison_of(folders, tmp_path / "c.jsonl", seed)("Go", question, shown.append)
        assert found is not None
        first_shown.add(found.completions[0].model)

    assert first_shown == {"first", "second"}
    assert len(read_records(tmp_path / "c.jsonl", Ranking)) == 12


def test_the_tokens_are_those_that_were_drawn(folders: tuple[Path, Path], tmp_path: Path) -> None:
    """So a reward model learns from what the policy writes, and not from the text tokenised anew."""
    found = comparison_of(folders, tmp_path / "c.jsonl")("Go", answering("a"), lambda _: None)

    assert found is not None
    for one in found.completions:
        assert len(one.token_ids) == one.tokens <= SAMPLING.max_new_tokens
        assert one.finished == (one.token_ids[-1] == 1)


def test_two_policies_of_one_name_can_be_told_apart(tmp_path: Path) -> None:
    first, second = write_model(tmp_path / "a/ppo"), write_model(tmp_path / "b/ppo", seed=9)

    found = comparison_of((first, second), tmp_path / "c.jsonl")(
        "Go", answering("t"), lambda _: None
    )

    assert found is not None
    assert {one.model for one in found.completions} == {"ppo", "ppo (--against)"}


def test_both_read_what_was_said_and_the_conversation_goes_on(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    comparison = comparison_of(folders, tmp_path / "c.jsonl")
    chat, shown = comparison.chat, list[str]()
    asked = iter(["The king", "/compare", "/compare  The hen ", "/new", "/compare The fox", ""])

    def compare(prompt: str) -> None:
        comparison(prompt, lambda _: "a", shown.append)

    converse(chat, lambda: next(asked), shown.append, compare)

    first, second = read_records(tmp_path / "c.jsonl", Ranking)
    assert first.prompt.history[0].text == "The king"
    assert first.prompt.text == "The hen"
    assert second.prompt.history == ()
    assert "write the prompt behind it" in "".join(shown)
    assert chat.history[0].text == "The fox"


def test_without_another_policy_there_is_nothing_to_compare(folders: tuple[Path, Path]) -> None:
    shown: list[str] = []
    asked = iter(["/compare The fox", ""])

    converse(Chat(folders[0], SAMPLING, 5), lambda: next(asked), shown.append)

    assert "start with --against PATH" in "".join(shown)


def test_choices_are_imported_as_rankings(folders: tuple[Path, Path], tmp_path: Path) -> None:
    choices = tmp_path / "choices.jsonl"
    comparison = comparison_of(folders, choices)
    for number in range(12):
        comparison.chat.forget()
        comparison(f"Tell me of fox {number}.", answering("ab"[number % 2]), lambda _: None)

    config = ImportConfig.model_validate({"kind": "rankings", "valid": 0.3})
    artifact = run_stage("import", tmp_path / "run", config, resume=False, source=choices)

    kept = [
        r
        for side in ("train", "valid")
        for r in read_records(artifact.file(f"{side}.jsonl.gz"), Ranking)
    ]
    assert artifact.kind == "rankings"
    assert 0 < len(kept) <= 12
    assert {one.labeler for one in kept} == {"ann"}


def test_a_file_that_cannot_be_written_is_told_of(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    comparison = comparison_of(folders, tmp_path / "no such folder" / "c.jsonl")

    with pytest.raises(DataError, match="give another file with --choices"):
        comparison("Go", answering("a"), lambda _: None)
