"""`alignloop prompts import`: what is kept, what is not and where it goes, in one command or in several."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alignloop.data.curation.config import CurationConfig
from alignloop.data.curation.keys import digests
from alignloop.errors import ConfigError, DataError, StoreError
from alignloop.store import prompts
from alignloop.store.project import open_project
from alignloop.workflow.prompts import folder as people
from alignloop.workflow.prompts import reading, sources
from alignloop.workflow.prompts.intake import Imported
from tests.helpers import contents, full_disk
from tests.workflow.prompts.helpers import (
    NOW,
    asked,
    everything,
    files_for_people,
    imported,
    imported_with_report,
    lines,
    read_report,
    rows,
    some,
    texts,
    tried,
    write,
)

Rows = list[dict[str, Any]]


def of(tmp_path: Path, name: str, rows_of: Rows) -> Path:
    return write(tmp_path / name, rows_of)


# --- what becomes of rows ---


def test_every_row_that_was_read_is_kept_rejected_or_dropped_and_can_be_found(
    tmp_path: Path,
) -> None:
    given_rows = some(240)
    file = of(tmp_path, "a.jsonl", given_rows)

    imported(tmp_path / "lab", file)

    report = read_report(tmp_path / "lab")
    assert report["read"] == 240
    assert report["read"] == report["kept"] + report["rejected"] + sum(report["dropped"].values())
    assert report["kept"] == sum(report["splits"].values()) == len(texts(tmp_path / "lab"))
    assert all(report["splits"].values())
    found = {"consent": 20, "exact_duplicate": 20, "empty": 20, "too_long": 20}
    assert report["dropped"] == {
        **dict.fromkeys(("language", "common_prefix", "user_cap"), 0),
        **found,
        "pii": report["dropped"]["pii"],
    }
    assert report["rejected"] == 20

    people_folder = tmp_path / "lab" / "prompts"
    places = {line["line"] for line in lines(people_folder / "rejected.jsonl")}
    assert places == {number + 1 for number in range(240) if number % 12 == 4}
    for reason, count in report["dropped"].items():
        told = lines(people_folder / "dropped" / f"{reason}.jsonl")
        assert len(told) == count
        assert all(line["reason"] == reason and line["file"] == str(file) for line in told)
        for line in told:
            assert line["row"]["text"] == given_rows[line["line"] - 1]["prompt"]


def test_a_rejected_row_is_told_with_its_place_its_reason_and_itself(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", [{"prompt": asked(1)}, "no json", {"prompt": 3}])

    imported(tmp_path / "lab", file)

    first, second = lines(tmp_path / "lab/prompts/rejected.jsonl")
    assert (first["file"], first["line"], first["raw"]) == (str(file), 2, "no json")
    assert "not JSON" in first["reason"]
    assert second["line"] == 3 and "not text" in second["reason"]


def test_files_with_peoples_texts_are_private(tmp_path: Path) -> None:
    imported(tmp_path / "lab", of(tmp_path, "a.jsonl", some(48)))

    folder = tmp_path / "lab" / "prompts"
    private = [folder / "rejected.jsonl", *(folder / "dropped").iterdir()]
    assert len(private) > 3
    assert {stat.S_IMODE(path.stat().st_mode) for path in private} == {0o600}
    assert stat.S_IMODE((folder / "dropped").stat().st_mode) == 0o700


def test_a_demonstration_and_a_comparison_are_kept_with_their_prompts(tmp_path: Path) -> None:
    shown = {"prompt": asked(1), "response": "Once.", "labeler": "ann", "model": ""}
    compared = {
        "prompt": asked(2),
        "candidates": ["A wren.", "A fish.", "An owl."],
        "ranks": [1, 2, 1],
        "models": ["m", "n", "m"],
        "labeler": "bob",
    }
    imported(tmp_path / "lab", of(tmp_path, "a.jsonl", [shown]))
    imported(tmp_path / "lab", of(tmp_path, "b.jsonl", [compared]))

    found = [tuple(row.values()) for row in rows(tmp_path / "lab")["given_answers"]]

    assert found == [
        (1, 1, "Once.", None, "", "ann"),
        (2, 1, "A wren.", 1, "m", "bob"),
        (2, 2, "A fish.", 2, "n", "bob"),
        (2, 3, "An owl.", 1, "m", "bob"),
    ]


def compared(number: int, *ranks: int, labeler: str = "ann") -> dict[str, Any]:
    """A comparison of answers to prompt `number`, which repeat where their number does."""
    texts = [f"Answer {place}." for place in range(len(ranks))]
    return {"prompt": asked(number), "candidates": texts, "ranks": list(ranks), "labeler": labeler}


def test_answers_of_rows_that_ask_the_same_stay_with_the_prompt_that_stands(tmp_path: Path) -> None:
    """As in data sets of comparisons, which ask one thing many times."""
    first = [
        compared(1, 1, 2),
        compared(1, 2, 1),
        compared(2, 1, 1, 2),
        compared(1, 1, 2, labeler="bob"),
    ]
    second = [compared(1, 1, 2), compared(1, 1, 2, 3), compared(3, 1, 2)]
    third = [
        {"prompt": asked(1), "response": "So."},
        {"prompt": asked(1).upper(), "response": " so. "},
    ]
    files = [
        of(tmp_path, f"{n}.jsonl", rows_of) for n, rows_of in enumerate([first, second, third])
    ]

    done = [imported(tmp_path / "lab", file)[0] for file in files]

    found: dict[int, list[Any]] = {}
    for row in rows(tmp_path / "lab")["given_answers"]:
        sets = found.setdefault(row["prompt_id"], [])
        if row["answer_no"] % 1_000_000 == 1:
            sets.append([])
        sets[-1].append(row["rank"])
    assert found == {1: [[1, 2], [2, 1], [1, 2], [1, 2, 3], [None]], 2: [[1, 1, 2]], 3: [[1, 2]]}
    assert [one.counts["dropped"]["exact_duplicate"] for one in done] == [2, 2, 2]
    joined = [one.counts.get("joined", {}) for one in done]
    assert [one.get("comparisons", {}).get("rankings", 0) for one in joined] == [2, 1, 0]
    assert joined[2]["demonstrations"] == {"checked": 1, "fit": 1}
    report = read_report(tmp_path / "lab")
    assert report["comparisons"]["rankings"] == 6
    assert report["comparisons"]["by_k"] == {"2": 4, "3": 2}
    assert report["demonstrations"]["checked"] == 1
    imported(tmp_path / "at once", *files)
    assert everything(tmp_path / "at once") == everything(tmp_path / "lab")


def test_answers_that_were_not_looked_at_for_personal_data_do_not_join(tmp_path: Path) -> None:
    given_rows = [{"prompt": asked(1), "response": f"Mail bob{n}@example.com."} for n in range(2)]

    imported(tmp_path / "lab", of(tmp_path, "a.jsonl", given_rows), overrides=["pii_action=scrub"])

    assert [row["text"] for row in rows(tmp_path / "lab")["given_answers"]] == ["Mail [EMAIL]."]


def test_personal_data_never_stays_on_the_training_side_and_is_flagged_elsewhere(
    tmp_path: Path,
) -> None:
    given_rows = [
        {"prompt": f"{asked(n)} Mail bob@example.com.", "user": f"u{n}"} for n in range(60)
    ]

    imported(tmp_path / "lab", of(tmp_path, "a.jsonl", given_rows))

    kept = rows(tmp_path / "lab")["prompts"]
    assert {row["split"] for row in kept} == {"valid", "test"}
    assert all(row["pii"] == ["email"] for row in kept)
    report = read_report(tmp_path / "lab")
    assert report["dropped"]["pii"] + len(kept) == 60
    assert report["personal_data"]["dropped"] == {"email": report["dropped"]["pii"]}
    assert sum(report["personal_data"]["flagged"].values()) == len(kept)


def test_scrubbing_keeps_the_prompt_without_the_data_and_notes_none(tmp_path: Path) -> None:
    given_rows = [{"prompt": f"{asked(n)} Mail bob@example.com.", "user": "u1"} for n in range(3)]
    done = imported(
        tmp_path / "lab", of(tmp_path, "a.jsonl", given_rows), overrides=["pii_action=scrub"]
    )

    kept = rows(tmp_path / "lab")["prompts"]
    assert [row["text"] for row in kept] == [f"{asked(n)} Mail [EMAIL]." for n in range(3)]
    assert {(row["split"], tuple(row["pii"])) for row in kept} == {("train", ())}
    assert done[0].counts["scrubbed"] == 3


def test_a_folder_is_one_import_known_by_what_is_in_it(tmp_path: Path) -> None:
    write(tmp_path / "set/train.jsonl", some(24))
    write(tmp_path / "set/test.jsonl", some(24, start=24))

    [first] = imported(tmp_path / "lab", tmp_path / "set")
    [again] = imported(tmp_path / "lab", tmp_path / "set")
    write(tmp_path / "set/test.jsonl", some(30, start=24))
    [grown] = imported(tmp_path / "lab", tmp_path / "set")

    assert first.counts["read"] == 48
    assert again.earlier == str(tmp_path / "set")
    assert grown.earlier is None and grown.counts["read"] == 54
    told = lines(tmp_path / "lab/prompts/rejected.jsonl")
    assert {line["file"] for line in told} == {
        str(tmp_path / "set/train.jsonl"),
        str(tmp_path / "set/test.jsonl"),
    }


def test_the_word_examples_stands_for_the_bundled_prompts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundled = of(tmp_path, "somewhere/examples.jsonl", some(24))
    monkeypatch.setattr(sources, "asset", lambda *parts: bundled)

    imported(tmp_path / "lab", "examples")

    assert read_report(tmp_path / "lab")["imports"][0]["file"] == "examples"
    assert {line["file"] for line in lines(tmp_path / "lab/prompts/rejected.jsonl")} == {"examples"}


# --- several imports ---


@pytest.fixture
def three(tmp_path: Path) -> list[Path]:
    """Files that share prompts, users and beginnings."""
    return [
        of(tmp_path, "a.jsonl", some(60)),
        of(tmp_path, "b.jsonl", some(60, start=30, users=7)),
        of(tmp_path, "c.jsonl", some(50, start=100, users=3)),
    ]


def test_one_command_or_several_leave_the_same_project(tmp_path: Path, three: list[Path]) -> None:
    imported(tmp_path / "at once", *three, overrides=["cap=9", "prefix_characters=30"])
    for number, file in enumerate(three):
        overrides = ["cap=9", "prefix_characters=30"] if number == 0 else []
        imported(tmp_path / "one by one", file, overrides=overrides)

    assert everything(tmp_path / "at once") == everything(tmp_path / "one by one")
    report = read_report(tmp_path / "at once")
    assert report["dropped"]["user_cap"] and report["dropped"]["common_prefix"]


row = st.fixed_dictionaries(
    {
        "prompt": st.integers(0, 12).map(asked) | st.sampled_from(["", "x@example.com"]),
        "user": st.sampled_from(["u1", "u2", "u3", "u4"]),
    },
    optional={
        "consent": st.booleans(),
        "response": st.sampled_from(["Yes.", "No.", "yes."]),
        "user_id": st.just([]),
    },
)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(row, min_size=1, max_size=12), min_size=2, max_size=3))
def test_one_command_or_several_whatever_is_in_the_files(
    tmp_path_factory: pytest.TempPathFactory, all_rows: list[Rows]
) -> None:
    folder = tmp_path_factory.mktemp("property")
    always = {"prompt": "Always here.", "user": "u9"}  # so that no file is without a row to read
    files = [
        of(folder, f"{n}.jsonl", [always | {"number": n}, *some_rows])
        for n, some_rows in enumerate(all_rows)
    ]

    imported(folder / "at once", *files, overrides=["cap=2"], shape="plain")
    for file in files:
        imported(folder / "one by one", file, overrides=["cap=2"], shape="plain")

    assert everything(folder / "at once") == everything(folder / "one by one")
    report = read_report(folder / "at once")
    assert report["read"] == report["kept"] + report["rejected"] + sum(report["dropped"].values())
    assert report["read"] == sum(1 + len(some_rows) for some_rows in all_rows)


@pytest.mark.parametrize("workers", [1, 2])
def test_the_number_of_processes_changes_nothing(tmp_path: Path, workers: int) -> None:
    file = of(tmp_path, "a.jsonl", some(1100))
    imported(tmp_path / "one", file)

    imported(tmp_path / "other", file, workers=workers)

    assert everything(tmp_path / "one") == everything(tmp_path / "other")


def test_a_second_import_of_the_same_bytes_changes_no_byte(
    tmp_path: Path, three: list[Path]
) -> None:
    imported(tmp_path / "lab", *three)
    before = contents(tmp_path / "lab")
    renamed = tmp_path / "renamed.jsonl"
    renamed.write_bytes(three[1].read_bytes())

    done = imported(tmp_path / "lab", *reversed(three), renamed, now=NOW + 1)

    assert contents(tmp_path / "lab") == before
    assert [one.earlier for one in done] == [
        *(str(file) for file in reversed(three)),
        str(three[1]),
    ]


def test_the_old_rows_of_a_grown_file_are_exact_duplicates(tmp_path: Path) -> None:
    kept_rows = [{"prompt": asked(n), "user": f"u{n}"} for n in range(20)]
    file = of(tmp_path, "log.jsonl", kept_rows)
    imported(tmp_path / "lab", file)
    before = lines(tmp_path / "lab/prompts/dropped/exact_duplicate.jsonl")
    of(tmp_path, "log.jsonl", [*kept_rows, {"prompt": asked(99), "user": "u1"}])

    [grown] = imported(tmp_path / "lab", file)

    assert before == []
    assert grown.counts["dropped"]["exact_duplicate"] == 20
    assert texts(tmp_path / "lab") == [*(asked(n) for n in range(20)), asked(99)]
    told = lines(tmp_path / "lab/prompts/dropped/exact_duplicate.jsonl")
    digest, _ = digests(asked(0), (), (), 100)
    assert told[0]["prompt"] == f"prompt-{digest.hex()[:16]}"


def test_the_cap_counts_prompts_of_earlier_imports(tmp_path: Path) -> None:
    files = [
        of(tmp_path, f"{n}.jsonl", [{"prompt": asked(5 * n + i), "user": "u1"} for i in range(5)])
        for n in range(2)
    ]

    imported(tmp_path / "lab", files[0], overrides=["cap=7"])
    [second] = imported(tmp_path / "lab", files[1])

    assert second.counts["kept"] == 2 and second.counts["dropped"]["user_cap"] == 3


# --- settings ---


def test_the_first_import_settles_how_prompts_are_curated(
    tmp_path: Path, three: list[Path]
) -> None:
    imported(tmp_path / "lab", three[0], overrides=["cap=5", 'languages=["en"]'])

    imported(tmp_path / "lab", three[1])  # without a word: the project's
    imported(tmp_path / "lab", three[1], overrides=["cap=5"])  # the same once more

    settled = {row["key"]: row["value"] for row in rows(tmp_path / "lab")["settings"]}["curation"]
    assert settled == CurationConfig(cap=5, languages=("en",)).model_dump(mode="json")


def test_other_settings_are_refused_and_named(tmp_path: Path, three: list[Path]) -> None:
    imported(tmp_path / "lab", three[0], overrides=["cap=5"])
    before = contents(tmp_path / "lab")
    config = tmp_path / "c.toml"
    config.write_text('cap = "none"\nvalid = 0.05\nmax_tokens = 500\n')

    with pytest.raises(ConfigError) as error:
        imported(tmp_path / "lab", three[1], config=config)

    assert "cap (5 there, none here), max_tokens (1000 there, 500 here)" in str(error.value)
    assert "--project" in str(error.value) and "valid" not in str(error.value)
    assert contents(tmp_path / "lab") == before


def test_a_misspelt_setting_makes_no_project(tmp_path: Path, three: list[Path]) -> None:
    with pytest.raises(ConfigError, match="did you mean 'cap'"):
        imported(tmp_path / "lab", three[0], overrides=["capp=5"])

    assert not (tmp_path / "lab").exists()


def test_the_path_of_a_tokenizer_holds_wherever_the_next_import_is_started(
    tmp_path: Path, three: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.helpers import tiny_tokenizer

    tiny_tokenizer().backend_tokenizer.save(str(tmp_path / "tokenizer.json"))
    monkeypatch.chdir(tmp_path)
    imported(tmp_path / "lab", three[0], overrides=["tokenizer=tokenizer.json"])
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")

    imported(tmp_path / "lab", three[1])
    imported(tmp_path / "lab", three[2], overrides=["tokenizer=../tokenizer.json"])

    assert len(read_report(tmp_path / "lab")["imports"]) == 3


# --- a dry run ---


def test_a_dry_run_says_what_an_import_says_and_writes_nothing(
    tmp_path: Path, three: list[Path]
) -> None:
    dry = tried(tmp_path / "lab", *three, three[0], overrides=["cap=9"])

    assert not (tmp_path / "lab").exists()
    real = imported(tmp_path / "lab", *three, three[0], overrides=["cap=9"])
    assert said(dry) == said(real)


def said(done: list[Imported]) -> list[tuple[Any, str | None]]:
    """What both say: only the store can tell which answers it has already."""
    return [({k: n for k, n in one.counts.items() if k != "joined"}, one.earlier) for one in done]


def test_a_dry_run_into_a_project_compares_with_what_is_there(
    tmp_path: Path, three: list[Path]
) -> None:
    imported(tmp_path / "lab", three[0], overrides=["cap=9"])
    before = contents(tmp_path / "lab")

    dry = tried(tmp_path / "lab", *three)

    assert contents(tmp_path / "lab") == before
    real = imported(tmp_path / "lab", *three)
    assert said(dry) == said(real)


# --- what can go wrong ---


def test_a_file_that_cannot_be_read_stops_all_before_the_first(
    tmp_path: Path, three: list[Path]
) -> None:
    with pytest.raises(DataError, match="no such file"):
        imported(tmp_path / "lab", three[0], tmp_path / "misspelt.jsonl")

    assert not (tmp_path / "lab").exists()


def test_a_file_of_which_no_row_can_be_read_is_not_taken_for_imported(tmp_path: Path) -> None:
    file = of(tmp_path, "a.jsonl", [{"prompt": asked(n)} for n in range(3)])

    with pytest.raises(DataError, match=r"none of its 3 rows .* 'hh' .*--shape"):
        imported(tmp_path / "lab", file, shape="hh")

    assert files_for_people(tmp_path / "lab") == {".lock": b""}
    [done] = imported(tmp_path / "lab", file)
    assert done.earlier is None and done.counts["kept"] == 3


def test_a_file_that_grows_while_it_is_read_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = of(tmp_path, "a.jsonl", some(24))
    curate = reading.curate

    def growing(*given: Any, **named: Any) -> Any:
        yield from curate(*given, **named)
        with file.open("a") as lines_of:
            lines_of.write(json.dumps({"prompt": asked(99)}) + "\n")

    monkeypatch.setattr(reading, "curate", growing)

    with pytest.raises(DataError, match="changed while it was read"):
        imported(tmp_path / "lab", file)

    assert rows(tmp_path / "lab")["imports"] == []
    assert files_for_people(tmp_path / "lab") == {".lock": b""}


def test_two_imports_into_one_project_wait_for_one_another(
    tmp_path: Path, three: list[Path]
) -> None:
    with (
        people.alone(tmp_path / "lab" / "prompts"),
        pytest.raises(DataError, match="another import is under way"),
    ):
        imported(tmp_path / "lab", three[0])


def test_a_prompt_that_a_labeler_wrote_meanwhile_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = of(tmp_path, "a.jsonl", [{"prompt": asked(n), "user": f"u{n}"} for n in range(5)])
    digest, prefix = digests(asked(3), (), (), 100)
    written: list[int] = []
    seal = people.Staging.seal

    def sealing(self: people.Staging) -> None:
        if not written:
            store = open_project(tmp_path / "lab").open()
            with store.write() as connection:
                one = prompts.NewPrompt(
                    author="labeler/1",
                    split="train",
                    kind="labeler_plain",
                    text=asked(3),
                    text_digest=digest,
                    prefix_digest=prefix,
                )
                written.extend(prompts.add_prompts(connection, NOW, [one]))
            store.close()
        seal(self)

    monkeypatch.setattr(people.Staging, "seal", sealing)

    [done] = imported(tmp_path / "lab", file)

    assert done.counts["dropped"]["exact_duplicate"] == 1
    assert sorted(texts(tmp_path / "lab")) == sorted(asked(n) for n in range(5))
    assert len(lines(tmp_path / "lab/prompts/dropped/exact_duplicate.jsonl")) == 1


@pytest.mark.parametrize(("bytes_per_file", "error"), [(100_000, DataError), (420_000, StoreError)])
def test_a_full_disk_leaves_no_half_and_the_next_import_mends_the_rest(
    tmp_path: Path, bytes_per_file: int, error: type[Exception]
) -> None:
    """The first limit is met by a scratch file, the second by the database."""
    simple = [{"prompt": asked(number), "user": f"u{number}"} for number in range(100, 1700)]
    files = [of(tmp_path, "a.jsonl", some(12)), of(tmp_path, "b.jsonl", simple)]
    imported(tmp_path / "whole", *files)
    imported(tmp_path / "lab", files[0])
    before = rows(tmp_path / "lab")

    with pytest.raises(error), full_disk(bytes_per_file):
        imported(tmp_path / "lab", files[1])
    assert rows(tmp_path / "lab") == before
    imported(tmp_path / "lab", files[1])

    assert everything(tmp_path / "lab") == everything(tmp_path / "whole")


def test_a_failure_after_the_commit_is_mended_by_the_next_import(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = of(tmp_path, "a.jsonl", some(48))
    imported(tmp_path / "whole", file)

    def failing(*_: Any) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as patch, pytest.raises(OSError):
        patch.setattr(people, "publish", failing)
        imported(tmp_path / "lab", file)
    assert len(rows(tmp_path / "lab")["imports"]) == 1
    assert not (tmp_path / "lab/prompts/rejected.jsonl").exists()

    _, report = imported_with_report(tmp_path / "lab", file)

    assert everything(tmp_path / "lab") == everything(tmp_path / "whole")
    assert report["read"] == 48
