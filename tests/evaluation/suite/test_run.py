"""The whole command on tiny files and tiny models: what is written, and that its figures can be counted again."""

from __future__ import annotations

import gzip
import json
import math
import re
from collections import defaultdict
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from alignloop.data.formatter import encode_texts
from alignloop.data.jsonl import write_records
from alignloop.data.records import Text
from alignloop.errors import ArtifactError, ConfigError, DataError
from alignloop.evaluation.suite import asking
from alignloop.evaluation.suite.choosing import choose
from alignloop.evaluation.suite.files import bundled_tasks, task_files
from alignloop.evaluation.tasks.catalogue import TASKS
from alignloop.files import sha256_of
from alignloop.models.loading import load_causal_lm
from alignloop.models.scoring import document_nll
from alignloop.runs.artifact import write_artifact
from tests.helpers import SENTENCES, run, tiny_tokenizer, write_model

CONFIG = {"seed": 3, "resamples": 200, "shots": [0, 1], "plain": ["base"]}


def lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A file for a task of each sort, and a list of words that the tiny models write."""
    folder = tmp_path_factory.mktemp("files")
    stories = [
        {
            "story": f"tale {i // 2}",
            "context": SENTENCES[i],
            "question": f"Who is in sentence {i}?",
            "answers": [SENTENCES[i].split()[1], SENTENCES[i]],
            "type": "explicit" if i % 3 else "implicit",
        }
        for i in range(8)
    ]
    films = [{"sentence": one, "label": i % 2} for i, one in enumerate(SENTENCES[:7])]
    pairs = [
        {"id": str(i), "sent_more": one, "sent_less": other, "bias_type": "age"}
        for i, (one, other) in enumerate(pairwise(SENTENCES[:5]))
    ]
    prompts = [{"id": str(i), "prompt": one[:-1]} for i, one in enumerate(SENTENCES[:5])]
    french = [{"fr": one, "en": other} for one, other in pairwise(SENTENCES[:7])]
    words = folder / "words.txt"
    words.write_text("the\na\nfox\n", encoding="utf-8")
    return {
        "words": words,
        "fairytale_qa": lines(folder / "fairytale.jsonl", stories),
        "sst": lines(folder / "sst.jsonl", films),
        "crows_pairs": lines(folder / "crows.jsonl", pairs),
        "real_toxicity": lines(folder / "prompts.jsonl", prompts),
        "translation": lines(folder / "wmt.jsonl", french),
    }


@pytest.fixture(scope="module")
def policies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("policies")
    context = {"context": 192}
    return {
        "base": write_model(folder / "base", seed=4, **context),
        "sft": write_model(folder / "sft", seed=5, **context),
    }


TASK_NAMES = ("fairytale_qa", "sst", "crows_pairs", "real_toxicity", "translation")


@pytest.fixture(scope="module")
def finished(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, Path], policies: dict[str, Path]
) -> Path:
    """A run over everything, `sft` against `base`."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    tasks = task_files({name: files[name] for name in TASK_NAMES})
    run(
        "evaluate_tasks", folder, CONFIG, policies=policies, tasks=tasks, before="base",
        toxic_words=files["words"],
    )  # fmt: skip
    return folder


def report_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "artifact" / "report.json").read_text(encoding="utf-8"))


def outputs_of(folder: Path) -> list[dict[str, Any]]:
    with gzip.open(folder / "artifact" / "outputs.jsonl.gz", "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def test_every_figure_can_be_counted_again_from_the_outputs(finished: Path) -> None:
    from sacrebleu import corpus_bleu

    groups: dict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
    for row in outputs_of(finished):
        groups[row["policy"], row["task"], row["setting"]].append(row)
    report = report_of(finished)

    assert len({key[1] for key in groups}) == len(TASK_NAMES)
    checked = 0
    for cell in report["cells"]:
        rows = groups[cell["policy"], cell["task"], cell["setting"]]
        rows = [row for row in rows if row["kind"] == cell.get("kind", row["kind"])]
        scores = [row["scores"].get(cell["metric"]) for row in rows]
        counted = [score for score in scores if score is not None]
        assert cell["n"] == len(counted)
        if "value" not in cell:
            continue
        assert cell["low"] <= cell["value"] <= cell["high"]
        if cell["metric"] == "bleu":
            answers = [row["answer"] for row in rows]
            references = [row["about"]["reference"] for row in rows]
            assert cell["value"] == pytest.approx(corpus_bleu(answers, [references]).score)
        else:
            assert cell["value"] == pytest.approx(sum(s[0] for s in counted) / len(counted))
        checked += 1
    assert checked > 20


def test_differences_are_those_of_the_cells(finished: Path) -> None:
    report = report_of(finished)
    cells = {
        (c["policy"], c["task"], c["setting"], c["metric"]): c
        for c in report["cells"]
        if "kind" not in c
    }

    assert {(row["policy"]) for row in report["tax"]} == {"sft"}
    assert {row["task"] for row in report["tax"]} == set(TASK_NAMES)
    seen = 0
    for row in report["tax"]:
        key = row["task"], row["setting"], row["metric"]
        own, other = cells["sft", *key], cells["base", *key]
        if all("value" in one for one in (row, own, other)):
            assert row["value"] == pytest.approx(own["value"] - other["value"])
            assert row["low"] <= row["value"] <= row["high"]
            seen += 1
    assert seen > 5
    assert not [row for row in report["tax"] if row["metric"] == "prefers_stereotype"]


def test_the_report_says_how_it_was_made(finished: Path, files: dict[str, Path]) -> None:
    report = report_of(finished)

    assert report["seed"] == 3
    assert {name: one["format"] for name, one in report["policies"].items()} == {
        "base": "plain",
        "sft": "chat",
    }
    fairytale = report["tasks"]["fairytale_qa"]
    assert fairytale["sha256"] == sha256_of(files["fairytale_qa"])
    # one example takes its story of two questions out
    assert (fairytale["in_file"], fairytale["asked"], fairytale["examples"]) == (8, 6, 1)
    assert fairytale["sampling"]["temperature"] == 0
    assert report["tasks"]["sst"]["sampling"]["temperature"] == 1
    assert "3 words" in report["tasks"]["real_toxicity"]["judge"]
    [film] = [
        cell
        for cell in report["cells"]
        if (cell["policy"], cell["task"], cell["setting"]) == ("sft", "sst", "1-shot")
    ]
    assert film["chance"] == 0.5
    assert film["at_chance"] == (film["low"] <= 0.5 <= film["high"])


def test_held_out_text_by_domain(tmp_path: Path, policies: dict[str, Path]) -> None:
    # One document is longer than the context of 192 tokens; two of a title are one unit.
    long = " ".join(SENTENCES * 8)
    texts = [
        Text(id=str(i), text=text, group=f"title {i // 2}", source="tales" if i < 4 else "news")
        for i, text in enumerate([long, *SENTENCES[:5]])
    ]
    write_artifact(
        tmp_path / "text",
        "pretraining-text",
        lambda inside: write_records(inside / "test.jsonl.gz", texts),
        parents=[],
        facts={},
    )
    tasks = task_files({"text": None}, tmp_path / "text")

    run(
        "evaluate_tasks", tmp_path / "run", CONFIG, policies=policies, tasks=tasks,
        text=tmp_path / "text", before="base",
    )  # fmt: skip

    report = report_of(tmp_path / "run")
    start = tiny_tokenizer().eos_token_id
    for name, folder in policies.items():  # `sft` is asked in the chat format, and reads plain text
        encoded = encode_texts(tiny_tokenizer(), [text.text for text in texts])
        nats = document_nll(load_causal_lm(folder), encoded, start=start)
        for kind, rows in (("tales", range(4)), ("news", range(4, 6)), (None, range(6))):
            size = sum(len(texts[i].text.encode()) for i in rows)
            expected = sum(nats[i] for i in rows) / math.log(2) / size
            [cell] = [
                one for one in report["cells"] if one["policy"] == name and one.get("kind") == kind
            ]
            if kind == "news":  # of one title
                assert "one task gives no interval" in cell["reason"]
            else:
                assert cell["value"] == pytest.approx(expected, rel=1e-5)
                assert cell["clusters"] == (2 if kind else 3)
    whole = {c["policy"]: c["value"] for c in report["cells"] if "kind" not in c}
    changes = {one.get("kind"): one for one in report["tax"]}
    assert changes[None]["value"] == pytest.approx(whole["sft"] - whole["base"])
    assert changes.keys() == {None, "tales", "news"}
    assert "value" not in changes["news"]
    assert (tmp_path / "run/artifact/report.html").read_text().count(
        "Held-out text, plain text, "
    ) == 2
    with pytest.raises(ConfigError, match="--task text=FILE, or give --text"):
        task_files({"text": None})


def test_prompts_are_as_the_setting_says(finished: Path) -> None:
    rows = outputs_of(finished)
    films = [row for row in rows if (row["policy"], row["task"]) == ("base", "sst")]
    none = [row for row in films if row["setting"] == "0-shot"]
    one = [row for row in films if row["setting"] == "1-shot"]

    assert [row["id"] for row in none] == [row["id"] for row in one]
    assert len(none) == 6
    for row in none:
        assert re.fullmatch(r"Label the sentiment of .*\n\nText: .*\nLabel:", row["prompt"])
    for row in one:
        assert re.search(
            r"\n\nText: .*\nLabel: (?:posi|nega)tive\n\nText: .*\nLabel:$", row["prompt"]
        )
        assert row["choices"] == ["negative", "positive"]
    shown = {row["prompt"].split("Text: ")[1] for row in one}
    assert len(shown) == 1
    assert not [row for row in one if row["prompt"].count(shown.copy().pop().split("\n")[0]) > 1]
    instructions = {
        row["prompt"].split("\n\n")[0] for row in rows if row["setting"] == "respectful"
    }
    assert any("polite, respectful, and unbiased" in one for one in instructions)


def test_the_page_is_whole_and_says_what_it_shows(finished: Path) -> None:
    page = (finished / "artifact" / "report.html").read_text(encoding="utf-8")

    assert "What changed since base" in page
    for name in TASK_NAMES:
        assert TASKS[name].title in page
    assert "seed 3" in page
    assert not re.search(r'(?:src|href)="(?!#)', page)
    for cell in report_of(finished)["cells"]:
        assert cell["metric"] in page


def test_a_repeat_is_the_same_to_the_byte_and_asks_nothing_again(
    tmp_path: Path,
    finished: Path,
    files: dict[str, Path],
    policies: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a model was asked again")

    monkeypatch.setattr(asking, "greedy", refuse)
    monkeypatch.setattr(asking, "log_probs", refuse)
    tasks = task_files({name: files[name] for name in TASK_NAMES})

    run(
        "evaluate_tasks", tmp_path / "run", CONFIG, policies=policies, tasks=tasks, before="base",
        toxic_words=files["words"], cache=finished / "cache",
    )  # fmt: skip

    for name in ("report.json", "outputs.jsonl.gz", "report.html"):
        assert (tmp_path / "run/artifact" / name).read_bytes() == (
            finished / "artifact" / name
        ).read_bytes()
    assert not (tmp_path / "run" / "cache").exists()


@pytest.mark.parametrize("changed", ["toxic_words", "task"])
def test_a_finished_run_is_not_taken_for_one_of_other_files(
    tmp_path: Path, files: dict[str, Path], policies: dict[str, Path], finished: Path, changed: str
) -> None:
    words, prompts = tmp_path / "words.txt", tmp_path / "prompts.jsonl"
    words.write_bytes(files["words"].read_bytes())
    prompts.write_bytes(files["real_toxicity"].read_bytes())

    def again(resume: bool) -> None:
        run(
            "evaluate_tasks", tmp_path / "run", CONFIG, resume=resume, policies=policies,
            tasks=task_files({"real_toxicity": prompts}), cache=finished / "cache", toxic_words=words,
        )  # fmt: skip

    again(resume=False)
    again(resume=True)
    with (words if changed == "toxic_words" else prompts).open("a", encoding="utf-8") as file:
        file.write("\n")

    with pytest.raises(ArtifactError, match="changed since"):
        again(resume=True)


def test_without_a_scorer_continuations_are_written_and_not_scored(
    tmp_path: Path, files: dict[str, Path], policies: dict[str, Path], finished: Path
) -> None:
    run(
        "evaluate_tasks", tmp_path / "run", {**CONFIG, "plain": [], "limit": 2},
        policies={"sft": policies["sft"]},
        tasks=task_files({"real_toxicity": files["real_toxicity"]}), cache=finished / "cache",
    )  # fmt: skip
    report = report_of(tmp_path / "run")

    assert report["cells"] == []
    assert "no scorer" in report["tasks"]["real_toxicity"]["judge"]
    assert len(outputs_of(tmp_path / "run")) == 3 * 2  # three tones, two prompts


# --- what is asked ---


def test_few_shot_without_a_single_example_is_left_out(
    tmp_path: Path, policies: dict[str, Path]
) -> None:
    long = " ".join(SENTENCES)
    films = [{"sentence": f"{long} {i}", "label": i % 2} for i in range(4)]

    run(
        "evaluate_tasks", tmp_path / "run", CONFIG, policies=policies, before="base",
        tasks=task_files({"sst": lines(tmp_path / "sst.jsonl", films)}),
    )  # fmt: skip
    report = report_of(tmp_path / "run")

    assert {cell["setting"] for cell in report["cells"]} == {"0-shot"}
    assert {row["setting"] for row in report["tax"]} == {"0-shot"}
    assert report["without_examples"] == [
        {"policy": name, "task": "sst", "setting": "1-shot"} for name in ("base", "sft")
    ]
    assert all(row["cut"] == 3 for row in report["asked"])
    page = (tmp_path / "run/artifact/report.html").read_text(encoding="utf-8")
    assert "No example fitted the context in 1-shot (base, sft)" in page


def test_items_and_examples_do_not_meet_and_depend_on_the_seed(files: dict[str, Path]) -> None:
    task, path = TASKS["fairytale_qa"], files["fairytale_qa"]

    chosen = choose(task, path, 1, None, [0, 2])
    shown = {item.cluster for item in chosen.examples}

    assert len(chosen.examples) == len(shown) == 2
    assert shown.isdisjoint(item.cluster for item in chosen.items)
    assert len(chosen.items) == 4
    assert choose(task, path, 1, None, [0, 2]) == chosen
    assert len({tuple(i.id for i in choose(task, path, s, 3, [0]).items) for s in range(9)}) > 3
    ids = [item.id for item in choose(task, path, 5, 3, [0]).items]
    assert ids == sorted(ids)


def test_stories_that_were_learned_from_are_left_out(
    tmp_path: Path, files: dict[str, Path], policies: dict[str, Path]
) -> None:
    """Questions name a story as its file does, a text by its title."""
    sides = {"train": ["tale 0", "tale 1"], "valid": ["tale 2"], "test": ["tale 3", "Tale 9"]}

    def write(folder: Path) -> None:
        for side, titles in sides.items():
            texts = [Text(id=t, text="x", title=t, source="fairytale") for t in titles]
            write_records(folder / f"{side}.jsonl.gz", texts)

    text = tmp_path / "text"
    write_artifact(text, "pretraining-text", write, parents=[], facts={})
    common = {"policies": {"sft": policies["sft"]}, "text": text}
    tasks = task_files({name: files[name] for name in ("fairytale_qa", "sst")})

    run(
        "evaluate_tasks",
        tmp_path / "run",
        {**CONFIG, "plain": [], "shots": [0]},
        tasks=tasks,
        **common,
    )

    asked = [row for row in outputs_of(tmp_path / "run") if row["task"] == "fairytale_qa"]
    assert {row["cluster"] for row in asked} == {"tale 3"}
    assert len(outputs_of(tmp_path / "run")) == len(asked) + 7  # films are all asked
    assert report_of(tmp_path / "run")["tasks"]["fairytale_qa"]["in_file"] == 8
    with pytest.raises(DataError, match="none of its stories"):
        choose(TASKS["fairytale_qa"], files["fairytale_qa"], 1, None, [0], lambda story: False)


def test_too_few_examples_or_items_are_told(tmp_path: Path, files: dict[str, Path]) -> None:
    task, path = TASKS["fairytale_qa"], files["fairytale_qa"]
    with pytest.raises(DataError, match="9 examples are wanted, but there are 4"):
        choose(task, path, 1, None, [9])
    with pytest.raises(DataError, match="nothing is left to ask"):
        choose(task, path, 1, None, [4])
    twice = lines(tmp_path / "a.jsonl", [{"id": "x", "prompt": "a"}, {"id": "x", "prompt": "b"}])
    with pytest.raises(DataError, match="two items are called 'x'"):
        choose(TASKS["real_toxicity"], twice, 1, None, None)


# --- refusals ---


@pytest.mark.parametrize(
    ("arguments", "values", "error", "told"),
    [
        ({"before": "gpt"}, {}, ConfigError, "no policy 'gpt' to compare with"),
        ({}, {"plain": ["gpt"]}, ConfigError, "plain: there is no policy 'gpt'"),
        ({"policies": {"task sst": Path("x")}}, {}, ArtifactError, "cannot be called 'task sst'"),
        ({"policies": {"text": Path("x")}}, {}, ArtifactError, "cannot be called 'text'"),
        ({"tasks": {}}, {}, ConfigError, "at least one policy and one task"),
        ({"toxic_words": True, "toxicity_url": "http://x"}, {}, ConfigError, "several"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_asked(
    tmp_path: Path,
    files: dict[str, Path],
    policies: dict[str, Path],
    arguments: dict[str, Any],
    values: dict[str, Any],
    error: type[Exception],
    told: str,
) -> None:
    given = {"policies": {"sft": policies["sft"]}, "tasks": task_files({"sst": files["sst"]})}
    if "toxic_words" in arguments:
        arguments = arguments | {"toxic_words": files["words"]}

    with pytest.raises(error, match=told):
        run("evaluate_tasks", tmp_path / "run", {"shots": [0], **values}, **(given | arguments))


def test_a_task_without_a_bundled_file_needs_one() -> None:
    assert set(bundled_tasks()) >= {"truthfulqa", "crows_pairs", "fairytale_qa"}
    with pytest.raises(ConfigError, match="--task quac=FILE"):
        task_files({"quac": None})


@pytest.mark.parametrize("shots", [[], [-1], [2, 2]])
def test_numbers_of_examples_are_checked(tmp_path: Path, shots: list[int]) -> None:
    with pytest.raises(ValueError, match="numbers of examples"):
        run("evaluate_tasks", tmp_path / "run", {"shots": shots})


def test_the_command(
    tmp_path: Path,
    files: dict[str, Path],
    policies: dict[str, Path],
    run_cli: Callable[..., CompletedProcess[str]],
    run_here: Callable[..., CompletedProcess[str]],
) -> None:
    done = run_here(
        "evaluate", "tasks", "--policy", f"base={policies['base']}", "--task", f"sst={files['sst']}",
        "--run", tmp_path / "run", "--set", "limit=2", "--set", "shots=[0]", "--set", "format=plain",
        "--cache", tmp_path / "cache",
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("evaluation-report in ")
    assert len(outputs_of(tmp_path / "run")) == 2
    assert len([path for path in (tmp_path / "cache").rglob("*.json")]) == 2
    wrong = run_cli(
        "evaluate", "tasks", "--policy", f"base={policies['base']}", "--task", "hellaswagg",
        "--run", tmp_path / "other",
    )  # fmt: skip
    assert wrong.returncode == 2
    assert "did you mean 'hellaswag'" in wrong.stderr
    assert "Traceback" not in wrong.stderr
