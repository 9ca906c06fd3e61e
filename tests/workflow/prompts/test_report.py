"""`alignloop prompts report`: every figure against counting by hand, the paper beside it, a page that needs nothing."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

from alignloop.data.incoming import ANNOTATIONS, USE_CASES
from alignloop.data.records import Prompt
from alignloop.errors import DataError, StoreError
from alignloop.store import prompts
from alignloop.store.project import open_project
from alignloop.workflow.prompts import paper
from alignloop.workflow.prompts.bars import length_bars
from alignloop.workflow.prompts.page import render
from alignloop.workflow.prompts.report import write_report
from alignloop.workflow.prompts.tally import added
from tests.helpers import contents, tiny_tokenizer
from tests.workflow.prompts.helpers import (
    NOW,
    asked,
    imported,
    read_report,
    rows,
    some,
    write,
)


def reported(folder: Path, out: Path, tokenizer: str | None = None) -> dict[str, Any]:
    store = open_project(folder).open(create=False)
    try:
        return write_report(store, out, tokenizer)
    finally:
        store.close()


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """Two imports, with some of everything."""
    given = [
        {"prompt": "One two three four.", "user": "u1", "use_case": "chat", "closed_domain": True},
        {"prompt": "Five six.", "user": "u1", "use_case": "chat", "language": "de"},
        {"prompt": "Seven eight nine.", "user": "u2", "use_case": "extract"},
        {"prompt": "Nobody's.", "language": "zh"},
        {"prompt": "Plain it is.", "kind": "plain", "user": "ann", "use_case": "rewrite"},
        {"prompt": "Translate.", "kind": "few_shot", "examples": [["a", "b"], ["c", "d" * 5000]]},
        {"prompt": "Shown.", "response": "An answer.", "user": "u3", "language": "en"},
        {"prompt": "Shown by a model.", "response": "It.", "model": "m", "user": "u3"},
        {"prompt": "Shown, but nothing.", "completion": "   ", "user": "u3"},
    ]
    compared = [
        {"prompt": "Name a bird.", "candidates": ["A.", "B.", "C."], "ranks": [1, 2, 1]},
        {"prompt": "Name a fish.", "candidates": ["A.", "B."], "ranks": [2, 1]},
    ]
    # Some texts are longer than a prompt may be: not these.
    files = write(tmp_path / "a.jsonl", given), write(tmp_path / "b.jsonl", compared)
    imported(tmp_path / "lab", *files, overrides=["max_tokens=4000"])
    return tmp_path / "lab"


def test_the_figures_are_those_of_the_prompts_that_are_there(lab: Path) -> None:
    report = read_report(lab)
    kept = rows(lab)["prompts"]

    assert report["kept"] == len(kept) == 11
    for side in ("train", "valid", "test"):
        of_side = [row for row in kept if row["split"] == side]
        by_kind = report["sources"][side]
        assert sum(by_kind.values()) == len(of_side)
        assert report["lengths"]["split"][side]["count"] == len(of_side)
        assert report["sizes"][side] == {
            "labeler": sum(n for kind, n in by_kind.items() if kind != "customer"),
            "customer": by_kind["customer"],
        }
        assert report["annotations"][side]["closed_domain"] == sum(
            "closed_domain" in row["annotations"] for row in of_side
        )
        assert sum(report["length_bins"][side].values()) == len(of_side)
    assert sum(side["closed_domain"] for side in report["annotations"].values()) == 1
    assert {k: n for k, n in report["use_cases"].items() if n} == {
        "chat": 2,
        "extract": 1,
        "rewrite": 1,
        "not_given": 7,
    }
    assert report["languages"]["de"] == 1 and report["languages"]["zh"] == 1
    assert sum(report["languages"].values()) == 11


def test_lengths_by_use_case_and_source_are_described(lab: Path) -> None:
    lengths = read_report(lab)["lengths"]

    # "One two three four." has 19 bytes, "Five six." has 9: 5 and 3 tokens by the estimate.
    assert lengths["use_case"]["chat"] == {
        "count": 2,
        "mean": 4.0,
        "std": pytest.approx(math.sqrt(2)),
        "min": 3,
        "p25": 3.5,
        "p50": 4.0,
        "p75": 4.5,
        "max": 5,
    }
    assert lengths["prompt"]["labeler"]["count"] == 2
    assert lengths["prompt"]["customer"]["count"] == 9
    # Of the few-shot prompt both examples, "b" and 5,000 letters; of customers' prompts the three answers.
    assert [lengths["demonstration"]["labeler"][k] for k in ("count", "min", "max")] == [2, 1, 1250]
    assert lengths["demonstration"]["customer"]["count"] == 3


def test_answers_that_came_along_are_checked_and_counted(lab: Path) -> None:
    report = read_report(lab)

    assert report["demonstrations"] == {
        "checked": 5,
        "fit": 3,
        "empty": 1,
        "duplicate": 0,
        "too_long": 1,
        "by_models": 1,
    }
    assert report["few_shot"] == {"prompts": 1, "examples": 2}
    assert report["comparisons"] == {
        "rankings": 2,
        "pairs": 3,
        "ties": 1,
        "unranked": 0,
        "by_k": {"2": 1, "3": 1},
    }


def test_customers_are_whom_rows_name(tmp_path: Path) -> None:
    given = [{"prompt": asked(n), "user": f"u{n % 7}"} for n in range(70)]
    given += [{"prompt": asked(100)}, {"prompt": asked(101), "user": "ann", "kind": "plain"}]
    imported(tmp_path / "lab", write(tmp_path / "a.jsonl", given))

    found = read_report(tmp_path / "lab")["per_customer"]

    assert sum(side["prompts"] for side in found.values()) == 70
    assert sum(side["customers"] for side in found.values()) == 7
    assert all(side["mean"] == 10.0 for side in found.values())


def test_prompts_that_labelers_wrote_here_are_in_the_tables_and_not_among_the_imported(
    tmp_path: Path,
) -> None:
    files = [write(tmp_path / f"{n}.jsonl", some(60, start=60 * n)) for n in range(2)]
    imported(tmp_path / "lab", files[0])
    before = read_report(tmp_path / "lab")
    write_here(tmp_path / "lab", "A prompt of a labeler.")
    # One that came back as a record of an artefact is counted where it came from.
    store = open_project(tmp_path / "lab").open()
    with store.write() as connection:
        prompts.add_record(connection, NOW, Prompt(id="from-elsewhere", text="Elsewhere."), "train")
    store.close()

    after = reported(tmp_path / "lab", tmp_path / "lab/prompts/report.html")

    assert after["beside_imports"] == {"prompts": 1, "demonstrations": 0}
    assert [after[key] for key in ("read", "kept", "splits")] == [
        before[key] for key in ("read", "kept", "splits")
    ]
    grown = before["sources"]["train"]["labeler_user_based"] + 1
    assert after["sources"]["train"]["labeler_user_based"] == grown
    assert after["languages"]["en"] == before["languages"]["en"] + 1
    imported(tmp_path / "lab", files[1])
    assert read_report(tmp_path / "lab")["beside_imports"]["prompts"] == 1


def write_here(folder: Path, text: str) -> None:
    one = prompts.NewPrompt(
        author="labeler/x",
        split="train",
        kind="labeler_user_based",
        text=text,
        text_digest=text.encode()[:16].ljust(16),
        language="en",
        counted_for="labeler/x",
    )
    store = open_project(folder).open()
    with store.write() as connection:
        prompts.add_prompts(connection, NOW, [one])
    store.close()


def test_with_a_tokenizer_every_length_is_counted_anew_and_nothing_else_changes(
    tmp_path: Path, lab: Path
) -> None:
    tokenizer = tiny_tokenizer().backend_tokenizer
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    before, files = read_report(lab), contents(lab)

    anew = reported(lab, tmp_path / "out.html", str(tmp_path / "tokenizer.json"))

    assert contents(lab) == files
    assert json.loads((tmp_path / "out.json").read_text()) == anew
    changed = {key for key in before if before[key] != anew[key]}
    assert changed == {"tokens_by", "lengths", "length_bins"} | (changed & {"demonstrations"})
    lengths = [
        len(tokenizer.encode(text, add_special_tokens=False).ids)
        for text in ("One two three four.", "Five six.")
    ]
    chat = anew["lengths"]["use_case"]["chat"]
    assert (chat["min"], chat["max"]) == (min(lengths), max(lengths))


def test_a_tokenizer_that_is_not_there_is_named(lab: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such tokenizer"):
        reported(lab, tmp_path / "out.html", "nowhere.json")


def test_a_project_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no such database"):
        reported(tmp_path / "lab", tmp_path / "out.html")

    assert not (tmp_path / "lab").exists()


# --- the page ---


def test_the_page_has_every_table_beside_the_papers_and_needs_no_other_file(lab: Path) -> None:
    page = (lab / "prompts/report.html").read_text(encoding="utf-8")

    for number in (1, 6, 7, 8, 9, 10, 11):
        assert f"(Table {number})" in page
    for figure in ("45.6", "26,584", "19.4", "27.96", "12,725", "21,684", "12,845", "96"):
        assert figure in page
    assert not re.findall(r"(?:src|href)\s*=\s*[\"'](?!#)", page)
    assert "<script" not in page and "@import" not in page
    assert "names and addresses are not detected" in page
    assert not re.findall(r"\bNone\b|\bnan\b|\{\{|\}\}|&lt;", page.partition("</style>")[2])


def test_names_from_files_are_text_on_the_page(tmp_path: Path) -> None:
    name = tmp_path / "<script>alert(1)<"
    imported(tmp_path / "lab", write(name / "a.jsonl", [{"prompt": asked(1)}]))

    page = (tmp_path / "lab/prompts/report.html").read_text(encoding="utf-8")

    assert "&lt;script&gt;alert" in page and "<script" not in page


def test_an_empty_project_has_a_page_too(tmp_path: Path) -> None:
    open_project(tmp_path / "lab").open().close()

    results = reported(tmp_path / "lab", tmp_path / "out.html")

    assert results["read"] == 0 and results["diversity"] is None
    assert "0 prompts kept of 0 read" in render(results)


def test_the_same_project_gives_the_same_bytes(lab: Path, tmp_path: Path) -> None:
    reported(lab, tmp_path / "again.html")

    assert (tmp_path / "again.html").read_bytes() == (lab / "prompts/report.html").read_bytes()
    assert (tmp_path / "again.json").read_bytes() == (lab / "prompts/report.json").read_bytes()


def test_bars_are_as_high_as_their_shares() -> None:
    picture = length_bars({"train": {"1": 1, "8": 3}, "valid": {}, "test": {"2": 4}})

    assert picture is not None
    heights = [float(h) for h in re.findall(r'class="train"[^>]*height="([\d.]+)"/>', picture.svg)]
    assert heights[1:] == pytest.approx(
        [39.0, 0.0, 0.0, 117.0]
    )  # of 156, the first is the legend's
    assert "valid" not in picture.svg
    assert length_bars({"train": {}}) is None


def test_plain_prompts_of_labelers_have_their_diversity_measured(tmp_path: Path) -> None:
    given = [{"prompt": asked(n), "kind": "plain", "use_case": "chat"} for n in range(20)]
    imported(
        tmp_path / "lab", write(tmp_path / "a.jsonl", given), overrides=["prefix_characters=none"]
    )

    found = read_report(tmp_path / "lab")["diversity"]

    assert found["prompts"] == 20 and found["use_case_bits"] == 0.0
    assert found["common_openings"]["1"] == [["write", 1.0]]


# --- sums ---


def test_sums_of_two_imports_are_those_of_both() -> None:
    one = {"a": 1, "b": {"x": 2, "y": {"z": 1}}}
    two = {"a": 2, "b": {"y": {"z": 3, "w": 1}}, "c": {"v": 5}}

    assert added(one, two) == {"a": 3, "b": {"x": 2, "y": {"z": 4, "w": 1}}, "c": {"v": 5}}
    assert one == {"a": 1, "b": {"x": 2, "y": {"z": 1}}}


# --- the paper ---


def test_the_papers_tables_agree_with_one_another() -> None:
    assert tuple(paper.USE_CASES) == USE_CASES
    assert sum(paper.USE_CASES.values()) == pytest.approx(100.0, abs=0.2)
    assert tuple(paper.ANNOTATIONS) == ANNOTATIONS
    assert set(paper.LENGTHS_BY_USE_CASE) == set(USE_CASES)
    for model in ("sft", "rm", "ppo"):
        for side in ("train", "valid"):
            sizes = paper.SIZES[side]
            total = sum(by.get(model, 0) for by in sizes.values())
            assert paper.LENGTHS[f"{model}_{side}"]["count"] == total
    for source in ("labeler", "customer"):
        demonstrated = sum(paper.SIZES[side][source]["sft"] for side in ("train", "valid"))
        for what in ("prompt", "demonstration"):
            assert paper.LENGTHS_BY_SOURCE[what][source]["count"] == demonstrated
    assert paper.LENGTHS["test"]["count"] == paper.TEST_SET
    for table in (paper.LENGTHS, paper.LENGTHS_BY_USE_CASE, *paper.LENGTHS_BY_SOURCE.values()):
        for row in table.values():
            assert row["min"] <= row["p25"] <= row["p50"] <= row["p75"] <= row["max"]
