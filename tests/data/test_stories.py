"""The bundled stories as they are: one side per title, no shared text, tasks that their own responses satisfy.

The library is read once for all tests here. The search for shared text is written anew, with sets of strings, so that
it shares nothing with the hashes that the code splits by.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignloop.config import load_config
from alignloop.data import split
from alignloop.data.constraints import describe
from alignloop.data.formatter import Formatter
from alignloop.data.jsonl import read_records
from alignloop.data.publish import TasksConfig
from alignloop.data.records import Demonstration, Prompt, Text, texts_sha256
from alignloop.data.tasks import story_tasks
from alignloop.models.loading import load_tokenizer
from alignloop.resources import asset, recipe
from alignloop.runs.artifact import open_artifact
from alignloop.workflow.stages import config_class
from tests.helpers import run

WIDTH = 60
PIECE = WIDTH // 2
"""Of pieces of this length, one after another, a window holds one whole, wherever it begins."""
PURPOSES = ("rankings", "rl", "valid", "test")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artefacts of the three data stages, as the demo makes them."""
    folder = tmp_path_factory.mktemp("project")
    run("stories", folder / "stories", {})
    for stage in ("demonstrations", "prompts"):
        config = load_config(config_class(stage), recipe("demo", "tasks.toml"))
        run(stage, folder / stage, config.model_dump(), text=folder / "stories")
    return folder


@pytest.fixture(scope="module")
def texts(project: Path) -> dict[str, list[Text]]:
    folder = project / "stories" / "artifact"
    return {side: read_records(folder / f"{side}.jsonl.gz", Text) for side in split.SIDES}


@pytest.fixture(scope="module")
def demonstrations(project: Path) -> dict[str, list[Demonstration]]:
    folder = project / "demonstrations" / "artifact"
    return {side: read_records(folder / f"{side}.jsonl.gz", Demonstration) for side in split.SIDES}


@pytest.fixture(scope="module")
def prompts(project: Path) -> dict[str, list[Prompt]]:
    folder = project / "prompts" / "artifact"
    return {name: read_records(folder / f"{name}.jsonl.gz", Prompt) for name in PURPOSES}


def folded(text: str) -> str:
    """Letters and digits, lower case, single spaces."""
    return " ".join(re.findall("[a-z0-9]+", text.lower()))


def windows(text: str, width: int = WIDTH) -> Iterator[str]:
    flat = folded(text)
    return (flat[at : at + width] for at in range(len(flat) - width + 1))


def shared_windows(text: str, known: set[str], known_pieces: set[str]) -> list[str]:
    """All windows of a text that are known; only where a piece of it is known need any be looked up."""
    flat = folded(text)
    found: dict[int, str] = {}
    for at in range(0, len(flat) - PIECE + 1, PIECE):
        if flat[at : at + PIECE] in known_pieces:
            for start in range(max(at - WIDTH + PIECE, 0), min(at, len(flat) - WIDTH) + 1):
                if flat[start : start + WIDTH] in known:
                    found[start] = flat[start : start + WIDTH]
    return [found[start] for start in sorted(found)]


@pytest.fixture(scope="module")
def passages(
    texts: dict[str, list[Text]], demonstrations: dict[str, list[Demonstration]]
) -> list[str]:
    """Every held-out response, what is shown with it, and every paragraph."""
    found: list[str] = []
    for side in ("valid", "test"):
        for task in demonstrations[side]:
            found.append(task.response)
            if task.prompt.use_case != "question":
                found.append(task.prompt.context)
        for text in texts[side]:
            found += text.text.split("\n\n")
    return found


@pytest.fixture(scope="module")
def held_out(passages: list[str]) -> set[str]:
    """Windows of all of them."""
    return {window for passage in passages for window in windows(passage)}


def test_every_title_lies_on_one_side(texts: dict[str, list[Text]]) -> None:
    groups = {side: {text.group for text in rows} for side, rows in texts.items()}
    names = {
        side: {split.title_key(text.title) for text in rows} - {""} for side, rows in texts.items()
    }

    for one, other in (("train", "valid"), ("train", "test"), ("valid", "test")):
        assert not groups[one] & groups[other]
        assert not names[one] & names[other]
    assert all(len(groups[side]) > 50 for side in groups), "held-out text has many titles"
    assert all(text.text.strip() and text.title for rows in texts.values() for text in rows)


@pytest.mark.full
def test_the_shipped_models_learned_from_the_train_side_of_their_collection(
    texts: dict[str, list[Text]], tmp_path: Path
) -> None:
    """So today's held-out titles were held out from the base model, and the outside judge knows none of the stories."""
    run("stories", tmp_path / "others", {"collection": "other_stories"})
    others = read_records(tmp_path / "others" / "artifact" / "train.jsonl.gz", Text)

    for name, learned_from in {"base": texts["train"], "outside_judge": others}.items():
        facts = open_artifact(asset(name), "policy").facts
        assert facts["train_text_sha256"] == texts_sha256(learned_from), name
    assert not {text.group for text in others} & {t.group for side in texts.values() for t in side}


def test_no_held_out_text_stands_in_what_is_trained_on(
    texts: dict[str, list[Text]], passages: list[str], held_out: set[str]
) -> None:
    """Pretraining text, and with it ptx, the tokenizer, and every story task made from it."""
    assert len(held_out) > 100_000
    pieces = {piece for passage in passages for piece in windows(passage, PIECE)}

    leaks = {text.id: shared_windows(text.text, held_out, pieces) for text in texts["train"]}

    assert not {key: found for key, found in leaks.items() if found}


@given(before=st.integers(0, 140), length=st.integers(1, 130), at=st.integers(0, 200))
def test_a_search_by_pieces_finds_what_a_search_by_windows_finds(
    before: int, length: int, at: int
) -> None:
    """Wherever a copied passage lies: just too short to count, just long enough, at either end, whole."""
    random = np.random.default_rng(5)
    letters = list("abcdefghijklmnopqrstuvwxyz")
    long, own = ("".join(random.choice(letters, size)) for size in (330, 140))
    copied = long[at : at + length]
    text = own[:before] + copied + own[before:]
    for passage in (long, copied):
        known = set(windows(passage))

        found = shared_windows(text, known, set(windows(passage, PIECE)))

        assert found == [window for window in windows(text) if window in known]
        assert len(found) >= max(length - WIDTH + 1, 0)


def test_no_held_out_text_stands_in_demonstrations_and_prompts_to_train_on(
    demonstrations: dict[str, list[Demonstration]],
    prompts: dict[str, list[Prompt]],
    held_out: set[str],
) -> None:
    """What a question quotes included: it comes from another file than the pretraining text."""
    shown = {
        task.prompt.id: f"{task.prompt.text} {task.response}" for task in demonstrations["train"]
    }
    shown |= {prompt.id: prompt.text for name in ("rankings", "rl") for prompt in prompts[name]}

    leaks = {
        key: window for key, text in shown.items() for window in windows(text) if window in held_out
    }

    assert len(shown) > 5000
    assert not leaks


def test_the_search_would_find_a_leak(texts: dict[str, list[Text]], held_out: set[str]) -> None:
    """A held-out paragraph among training text, with other punctuation and other breaks."""
    paragraph = max(texts["test"][0].text.split("\n\n"), key=len)

    planted = "An own beginning. " + paragraph.replace(",", " --").replace(". ", ".\n\n").upper()

    assert any(window in held_out for window in windows(planted))


# --- tasks ---


def test_every_story_task_is_human_text_that_does_what_is_asked(
    texts: dict[str, list[Text]], demonstrations: dict[str, list[Demonstration]]
) -> None:
    """Constraints are read anew here: sentence counts by their end marks, words by plain search."""
    by_group: dict[str, str] = {}
    for rows in texts.values():
        for text in rows:
            by_group[text.group] = by_group.get(text.group, "") + "\n\n" + text.text
    kinds: dict[str, int] = {}
    for rows in demonstrations.values():
        for task in (row for row in rows if row.prompt.use_case != "question"):
            prompt, answer = task.prompt, task.response
            assert answer in by_group[prompt.group], "copied from the story as it stands"
            assert answer not in prompt.text, "and not given away"
            assert prompt.constraints
            for constraint in prompt.constraints:
                assert "'" not in constraint.value, "a contraction is nobody's name"
                kinds[constraint.kind] = kinds.get(constraint.kind, 0) + 1
                assert f"{describe(constraint)}." in prompt.text
                assert holds(constraint.kind, constraint.value, answer), (prompt.id, answer)
            assert (task.labeler, task.instructions) == ("author", "templated")
    assert kinds.keys() == {"sentences", "mentions", "last_word", "speech", "no_speech"}
    assert min(kinds.values()) > 50


def holds(kind: str, value: str, answer: str) -> bool:
    # An apostrophe has a letter before it, or begins a clipped word.
    marks = re.sub(
        r"(?i)(?<=\w)['’]|['’](?=(?:t(?:is|was|will|were)|em|d|round|bout)\b)", "", answer
    )
    spoken = any(mark in marks for mark in "\"“”'‘’")
    heard = re.findall(r"[a-z]+(?:[-'][a-z]+)*", answer.lower().replace("'s", ""))
    match kind:
        case "sentences":
            # At least so many end marks; exactly so many where none is inside an abbreviation or a quotation.
            ends = len(re.findall(r"[.!?]+[\"')]*(?=\s|$)", answer))
            plain = not re.search(
                r"\b(?:[A-Z]|(?i:Mr|Mrs|Dr|St))\.|[.!?][\"')]*\s+[\"'(]*[^A-Z\"'(]", answer
            )
            return ends == int(value) if plain else ends >= int(value)
        case "mentions":
            return value.lower() in heard
        case "last_word":
            return heard[-1] == value
        case "speech":
            return spoken
        case "no_speech":
            return not spoken
    raise AssertionError(kind)


def test_a_prompt_serves_one_purpose_and_has_an_id_of_its_own(
    demonstrations: dict[str, list[Demonstration]], prompts: dict[str, list[Prompt]]
) -> None:
    """No prompt is demonstrated, ranked and asked in RL; valid and test are demonstrated, to compare with."""
    stories = [t.prompt.id for t in demonstrations["train"] if t.prompt.use_case != "question"]
    questions = [t.prompt.id for t in demonstrations["train"] if t.prompt.use_case == "question"]
    named = {name: [prompt.id for prompt in rows] for name, rows in prompts.items()}
    every = [*stories, *questions, *(key for ids in named.values() for key in ids)]

    assert len(set(every)) == len(every)

    total = len(stories) + len(named["rankings"]) + len(named["rl"])
    shares = [len(ids) / total for ids in (stories, named["rankings"])]
    config = load_config(TasksConfig, recipe("demo", "tasks.toml"))
    assert shares == pytest.approx([config.demonstrations, config.rankings], abs=0.03)
    for side in ("valid", "test"):
        asked = {t.prompt.id for t in demonstrations[side] if t.prompt.use_case != "question"}
        assert asked == set(named[side])


def test_a_title_is_begun_where_it_begins_and_nowhere_else(
    texts: dict[str, list[Text]],
    demonstrations: dict[str, list[Demonstration]],
    prompts: dict[str, list[Prompt]],
) -> None:
    """Later stretches of a book, and stretches whose opening was cut, have no beginning to write."""
    later = {text.id for side in texts.values() for text in side if not text.starts}
    asked = [task.prompt for rows in demonstrations.values() for task in rows]
    asked += [prompt for rows in prompts.values() for prompt in rows]
    begun = {prompt.id.rsplit(":", 1)[0] for prompt in asked if prompt.use_case == "begin"}

    assert any("#" in key and not key.split("#")[1].startswith("0000") for key in later)
    assert begun
    assert not begun & later


def test_tasks_depend_on_their_own_text_and_the_seed_alone(texts: dict[str, list[Text]]) -> None:
    some = texts["valid"][:12]

    alone = [task for text in reversed(some) for task in story_tasks([text], seed=1)]

    together = story_tasks(some, seed=1)
    assert sorted(alone, key=lambda task: task.prompt.id) == sorted(
        together, key=lambda task: task.prompt.id
    )
    assert together != story_tasks(some, seed=2)


def test_the_demo_has_room_for_99_answers_in_100_and_enough_prompts_to_judge(
    demonstrations: dict[str, list[Demonstration]], prompts: dict[str, list[Prompt]]
) -> None:
    formatter = Formatter.of(load_tokenizer(asset("base")))
    room = load_config(config_class("ppo"), recipe("demo", "ppo.toml")).sampling.max_new_tokens

    lengths = sorted(len(formatter.response(d.response)) for d in demonstrations["train"])

    assert lengths[int(0.99 * len(lengths))] <= room
    assert len(prompts["test"]) >= 300


def test_questions_belong_to_titles_of_their_side(
    texts: dict[str, list[Text]], demonstrations: dict[str, list[Demonstration]]
) -> None:
    for side, rows in demonstrations.items():
        groups = {text.group for text in texts[side] if text.source == "fairytale"}
        questions = [row for row in rows if row.prompt.use_case == "question"]
        assert questions
        assert {task.prompt.group for task in questions} <= groups
        assert all(task.response and task.labeler == "annotator" for task in questions)
