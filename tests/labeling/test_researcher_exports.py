"""Exports: made beside the requests, what is in them, and that nothing else can be had by their address."""

from __future__ import annotations

import gzip
import json
import os
import re
import stat
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from sqlalchemy import select, update

from alignloop.data.records import Demonstration, Ranking
from alignloop.errors import DataError
from alignloop.labeling import downloads
from alignloop.labeling.app.routes import exports as routes
from alignloop.runs.artifact import open_artifact
from alignloop.store import campaigns, events, log, prompts, queue
from alignloop.store.people import User
from alignloop.store.schema import exports
from alignloop.store.schema import prompts as prompts_table
from tests.labeling.client import NOW, ORIGIN
from tests.labeling.research import SECRET_MODELS, Desk, desk, errors_in


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Desk]:
    with desk(tmp_path) as found:
        yield found


@pytest.fixture
def ann(lab: Desk) -> User:
    return lab.site.labeler("Ann")


def export(lab: Desk, **given: str) -> tuple[str, dict[str, bytes]]:
    """Make an export; its public id and the files that the page offers, by name."""
    sent = {
        "kind": "rankings",
        "format": "jsonl",
        "campaign": "",
        "split": "all",
        "seed": "1",
        **given,
    }
    response = lab.browser.post("exports", {"include_ties": "1", "include_surplus": "1", **sent})
    assert response.status_code == 303, errors_in(response.text)
    lab.site.lab.memory.exports.wait()
    with lab.site.store.read() as connection:
        rows = log.all_exports(connection)
    assert rows, lab.browser.get("exports").text
    row = rows[0]
    html = lab.browser.get("exports").text
    names = re.findall(rf'href="/exports/{row.public_id}/([^"]+)"', html)
    files = {
        name: lab.browser.get("export_file", export=row.public_id, file=name) for name in names
    }
    assert all(answer.status_code == 200 for answer in files.values())
    return row.public_id, {name: answer.content for name, answer in files.items()}


def failed(lab: Desk, **given: str) -> str:
    """What went wrong with an export, as the page tells it."""
    sent = {
        "kind": "rankings",
        "format": "jsonl",
        "campaign": "",
        "split": "all",
        "seed": "1",
        **given,
    }
    assert lab.browser.post("exports", sent).status_code == 303
    lab.site.lab.memory.exports.wait()
    found = re.search(r'<p class="field-error">(.*?)</p>', lab.browser.get("exports").text)
    assert found is not None
    return found[1]


def lines(content: bytes) -> list[dict[str, Any]]:
    text = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    return [json.loads(line) for line in text.splitlines()]


def ranked_on_both_sides(lab: Desk, ann: User) -> None:
    for split in ("train", "valid"):
        one = lab.campaign([4, 4], split=split)
        lab.rank(ann, one, [1, 2, 2, 3])
        lab.rank(ann, one, [4, 3, 2, 1])


# --- what is in them --------------------------------------------------------------------------------------------


def test_rankings_are_an_artefact_that_trainers_read(lab: Desk, ann: User) -> None:
    ranked_on_both_sides(lab, ann)

    public_id, files = export(lab)

    assert set(files) == {
        "train.jsonl.gz",
        "valid.jsonl.gz",
        "export.json",
        "artifact.json",
        "README.md",
    }
    records = [Ranking.model_validate(line) for line in lines(files["train.jsonl.gz"])]
    assert [record.ranks for record in records] == [(1, 2, 2, 3), (4, 3, 2, 1)]
    assert {record.labeler for record in records} == {"Ann"}
    artifact = open_artifact(lab.site.lab.folder / "exports" / public_id, "rankings")
    assert artifact.facts == {"rows": {"train": 2, "valid": 2}}
    manifest = json.loads(files["export.json"])
    assert manifest["counts"] == {"train": 2, "valid": 2}
    assert len(manifest["rows"]) == 4
    assert set(manifest["files"]) == {"train.jsonl.gz", "valid.jsonl.gz"}
    with lab.site.store.read() as connection:
        row = log.get_export(connection, public_id)
        [logged] = [one for one in events.each_event(connection) if one.verb == "export"]
    assert row.rows_sha256 == manifest["rows_sha256"]
    assert set(row.files_sha256) == set(files)
    assert (row.by_id, logged.actor, logged.object) == (lab.boss.id, lab.boss.public_id, public_id)


def test_one_side_alone(lab: Desk, ann: User) -> None:
    ranked_on_both_sides(lab, ann)

    _, files = export(lab, split="valid")

    assert set(files) == {
        "valid.jsonl.gz",
        "export.json",
    }  # no artefact: a trainer needs both sides


def test_demonstrations_of_one_campaign(lab: Desk, ann: User) -> None:
    first, second = (lab.campaign(form="demonstrate") for _ in range(2))
    lab.demonstrate(ann, first, "Mine.")
    lab.demonstrate(ann, second, "Another.")

    _, files = export(lab, kind="demonstrations", campaign=second.public_id)

    [line] = lines(files["train.jsonl.gz"])
    assert Demonstration.model_validate(line).response == "Another."
    assert second.name in lab.browser.get("exports").text


@pytest.mark.parametrize(("ties", "count"), [("1", 6), ("", 5)])
def test_pairs_with_and_without_ties(lab: Desk, ann: User, ties: str, count: int) -> None:
    lab.rank(ann, lab.campaign([4]), [1, 2, 2, 3])

    _, files = export(lab, kind="pairs", include_ties=ties)

    found = lines(files["train.jsonl.gz"])
    assert len(found) == count
    assert sum(pair["rank_chosen"] == pair["rank_rejected"] for pair in found) == count - 5
    assert all(pair["rank_chosen"] <= pair["rank_rejected"] for pair in found)
    assert found[0]["chosen"][0]["role"] == "assistant"
    assert len({pair["ranking"] for pair in found}) == 1


def test_surplus_is_left_out_where_it_is_not_wanted(lab: Desk, ann: User) -> None:

    bob, one = lab.site.labeler("Bob"), lab.campaign([4])
    now = lab.site.clock.now
    with lab.site.store.write() as connection:
        slow = queue.claim(connection, now, ann, one)
    lab.site.clock.pass_(one.lease_ms)
    lab.rank(bob, one, [1, 2, 3, 4])
    assert slow is not None
    lab.bench.rank(ann, slow, [4, 3, 2, 1])
    lab.browser = lab.site.sign_in(lab.boss)

    _, with_it = export(lab)
    _, without = export(lab, include_surplus="")

    assert len(lines(with_it["train.jsonl.gz"])) == 2
    assert [line["labeler"] for line in lines(without["train.jsonl.gz"])] == ["Bob"]


def test_prompts_by_side(lab: Desk) -> None:
    lab.prompts("train", 3)
    lab.prompts("test", 2)

    _, every = export(lab, kind="prompts")
    _, held = export(lab, kind="prompts", split="test")

    assert len(lines(every["train.jsonl.gz"])) == 3 and len(lines(every["test.jsonl.gz"])) == 2
    assert set(held) == {"test.jsonl.gz", "export.json"}
    assert {"id", "text"} <= set(lines(held["test.jsonl.gz"])[0])


def closed_evaluation(lab: Desk, ann: User) -> str:
    lab.prompts("test", 3)
    given = {
        "title": "Blind", "kind": "eval", "purpose": "evaluation", "cohort": "pilot", "prompt_set": "test:all",
        "policies": [*lab.policies.values()], "planned": "3", "overlap": "1", "shared_percent": "0",
        "gold_percent": "0", "repeat_percent": "0", "lease_minutes": "60",
    }  # fmt: skip
    assert lab.browser.post("new_campaign", given).status_code == 303
    one = lab.find("Blind")
    lab.browser.post("campaign_state", {"state": "open"}, campaign=one.public_id)
    for verdict in ("item_1", "item_2", "tie"):
        lab.vote(ann, lab.again(one), verdict)
    return one.public_id


def test_prompts_of_the_training_side_with_personal_data_stay_and_are_counted(lab: Desk) -> None:
    def new(name: str, split: str, pii: list[str]) -> prompts.NewPrompt:
        return prompts.NewPrompt(
            author=name,
            split=split,
            kind="customer",
            text=f"I am {name}.",
            text_digest=name.encode().ljust(16),
            pii=pii,
        )

    assert "may hold personal data" not in lab.browser.get("exports").text
    with lab.site.store.write() as connection:
        given = [("ann", "train", ["name"]), ("bob", "train", []), ("cyd", "test", ["email"])]
        prompts.add_prompts(connection, NOW, [new(*one) for one in given])

    assert "1 prompt of the training side may hold" in lab.browser.get("exports").text
    _, files = export(lab, kind="prompts")
    left = b"".join(gzip.decompress(files[name]) for name in files if name.endswith(".gz"))
    assert b"I am bob." in left and b"I am cyd." in left
    assert b"I am ann." not in left


def test_labels_of_a_prompt_with_personal_data_stay_too(lab: Desk, ann: User) -> None:
    ranked_on_both_sides(lab, ann)
    one = lab.campaign([4, 4])
    lab.rank(ann, one, [1, 2, 2, 3])
    lab.rank(ann, one, [4, 3, 2, 1])
    with lab.site.store.write() as connection:
        ids = sorted(campaigns.prompts_in(connection, one))
        flagged = prompts_table.c.id == ids[0]
        connection.execute(update(prompts_table).where(flagged).values(pii=["name"]))

    _, files = export(lab)
    assert json.loads(files["export.json"])["counts"] == {"train": 3, "valid": 2}


def test_an_evaluation_leaves_when_it_is_closed_and_not_before(lab: Desk, ann: User) -> None:
    campaign = closed_evaluation(lab, ann)
    assert "is not closed" in failed(lab, kind="evaluation", campaign=campaign)
    assert "nothing to export" in failed(lab, kind="evaluation")
    lab.browser.post("campaign_state", {"state": "paused"}, campaign=campaign)
    assert "is not closed" in failed(lab, kind="evaluation", campaign=campaign)
    assert "nothing to export" in failed(lab, kind="evaluation")
    assert not list((lab.site.lab.folder / "exports").iterdir())

    lab.browser.post("campaign_state", {"state": "closed"}, campaign=campaign)
    _, files = export(lab, kind="evaluation", campaign=campaign)
    _, decided = export(lab, kind="evaluation", include_ties="")

    votes = lines(files["test.jsonl.gz"])
    assert len(votes) == 3 and len(lines(decided["test.jsonl.gz"])) == 2
    assert all(sorted(vote["models"]) == sorted(SECRET_MODELS) for vote in votes)
    for vote in votes:
        assert vote["verdict"] in ("item_1", "item_2", "tie") and vote["labeler"] == "Ann"
        assert len(set(vote["answers"])) == 2


def test_a_folder_for_hugging_face_datasets(lab: Desk, ann: User, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    ranked_on_both_sides(lab, ann)

    public_id, files = export(lab, format="datasets")

    assert set(files) == {"train.jsonl", "validation.jsonl", "README.md", "export.json"}
    loaded = datasets.load_dataset(
        str(lab.site.lab.folder / "exports" / public_id), cache_dir=str(tmp_path / "cache")
    )
    assert {name: len(split) for name, split in loaded.items()} == {"train": 11, "validation": 11}
    assert {"prompt", "chosen", "rejected", "ranking"} <= set(loaded["train"].column_names)


@pytest.mark.parametrize("kind", ["rankings", "prompts", "evaluation"])
def test_parquet(lab: Desk, ann: User, tmp_path: Path, kind: str) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    ranked_on_both_sides(lab, ann)
    if kind == "evaluation":
        lab.browser.post(
            "campaign_state", {"state": "closed"}, campaign=closed_evaluation(lab, ann)
        )

    public_id, files = export(lab, format="parquet", kind=kind)

    name = "test.parquet" if kind == "evaluation" else "train.parquet"
    assert name in files
    table = parquet.read_table(lab.site.lab.folder / "exports" / public_id / name)
    assert len(table) == {"rankings": 11, "prompts": 2, "evaluation": 3}[kind]


def test_an_export_made_twice_is_the_same_bytes(lab: Desk, ann: User) -> None:
    ranked_on_both_sides(lab, ann)
    first, second = export(lab)[1], export(lab)[1]

    assert first == second


# --- files ------------------------------------------------------------------------------------------------------


def test_files_are_their_owners_and_written_once(lab: Desk, ann: User) -> None:
    ranked_on_both_sides(lab, ann)

    public_id, files = export(lab)

    root = lab.site.lab.folder / "exports"
    assert stat.S_IMODE((root / public_id).stat().st_mode) == 0o700
    for name in files:
        assert stat.S_IMODE((root / public_id / name).stat().st_mode) == 0o600
    wish = downloads.Wish("rankings")
    problem = downloads.make_export(
        lab.site.store, lab.site.lab.folder, wish, lab.boss, public_id, 0
    )
    assert "cannot be written" in problem
    assert {name: (root / public_id / name).read_bytes() for name in files} == files
    assert [path.name for path in root.iterdir()] == [public_id]


def test_only_what_is_listed_is_handed_out(lab: Desk, ann: User, tmp_path: Path) -> None:
    ranked_on_both_sides(lab, ann)
    public_id, files = export(lab)
    folder = lab.site.lab.folder / "exports" / public_id
    (folder / "stranger.txt").write_text("not listed")
    (tmp_path / "secret.txt").write_text("outside")
    answer = lab.browser.get("export_file", export=public_id, file="train.jsonl.gz")
    assert answer.headers["content-disposition"] == 'attachment; filename="train.jsonl.gz"'
    assert answer.headers["x-content-type-options"] == "nosniff"

    for export_id, name in (
        (public_id, "stranger.txt"),
        (public_id, "../../secret.txt"),
        (public_id, "..%2F..%2Fsecret.txt"),
        (public_id, "%2e%2e/%2e%2e/secret.txt"),
        (public_id, "/etc/passwd"),
        (public_id, ""),
        ("..", "secret.txt"),
        ("nothing", "train.jsonl.gz"),
    ):
        path = f"/exports/{quote(export_id)}/{name}"
        assert lab.browser.http.get(f"{ORIGIN}{path}").status_code == 404, path
    (folder / "train.jsonl.gz").unlink()
    assert (
        lab.browser.get("export_file", export=public_id, file="train.jsonl.gz").status_code == 404
    )
    assert "train.jsonl.gz" not in lab.browser.get("exports").text
    assert len(files) == 5


def test_a_link_out_of_the_folder_is_not_followed(lab: Desk, ann: User, tmp_path: Path) -> None:
    ranked_on_both_sides(lab, ann)
    public_id, _ = export(lab)
    (tmp_path / "secret.txt").write_text("outside")
    inside = lab.site.lab.folder / "exports" / public_id / "train.jsonl.gz"
    inside.unlink()
    inside.symlink_to(tmp_path / "secret.txt")

    assert (
        lab.browser.get("export_file", export=public_id, file="train.jsonl.gz").status_code == 404
    )


def test_a_download_is_in_the_log(lab: Desk, ann: User) -> None:
    ranked_on_both_sides(lab, ann)
    public_id, _ = export(lab)

    with lab.site.store.read() as connection:
        downloads = [row for row in events.each_event(connection) if row.verb == "download"]
    assert {row.object for row in downloads} == {public_id}
    assert {json.loads(row.detail)["file"] for row in downloads} >= {
        "train.jsonl.gz",
        "export.json",
    }


def test_an_export_of_the_command_line_is_listed_without_files(lab: Desk) -> None:
    with lab.site.store.write() as connection:
        log.note_export(
            connection,
            lab.site.clock.now,
            "command",
            name="run",
            query={"kind": "ratings", "campaigns": ["One", "Two"], "seed": 1},
            counts={"train": 5, "valid": 2},
            rows_sha256="ab" * 32,
            files_sha256={"artifact.json": "cd" * 32},
            code_version="0",
        )

    html = lab.browser.get("exports").text

    assert "One, Two" in html and "alignloop" in html and ">7<" in html
    assert "artifact.json" not in html


# --- what goes wrong --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ({"kind": "everything"}, "kind"),
        ({"format": "csv"}, "format"),
        ({"split": "half"}, "split"),
        ({"seed": "x"}, "seed"),
        ({"seed": "-1"}, "seed"),
        ({"kind": "", "format": "", "split": ""}, "kind format split"),
    ],
    ids=str,
)
def test_a_wrong_wish_is_told(lab: Desk, given: dict[str, str], wrong: str) -> None:
    sent = {
        "kind": "rankings",
        "format": "jsonl",
        "campaign": "",
        "split": "all",
        "seed": "1",
        **given,
    }

    response = lab.browser.post("exports", sent)

    assert (response.status_code, errors_in(response.text)) == (422, set(wrong.split()))
    assert lab.site.lab.memory.exports.all() == []


def test_a_campaign_that_is_not_there(lab: Desk) -> None:
    sent = {"kind": "rankings", "format": "jsonl", "campaign": "x", "split": "all", "seed": "1"}

    response = lab.browser.post("exports", sent)

    assert (response.status_code, errors_in(response.text)) == (422, {"campaign"})


def test_what_failed_is_told_and_leaves_nothing_behind(lab: Desk) -> None:
    assert "there are no rankings in any campaign yet" in failed(lab)
    html = lab.browser.get("exports").text
    assert "Failed" in html
    with lab.site.store.read() as connection:
        assert connection.execute(select(exports)).all() == []
    assert list((lab.site.lab.folder / "exports").iterdir()) == []


def test_no_more_than_two_at_once(lab: Desk, monkeypatch: pytest.MonkeyPatch) -> None:

    go_on = threading.Event()

    def slow(*_: object) -> str:
        go_on.wait(60)
        return ""

    monkeypatch.setattr(routes, "make_export", slow)
    sent = {"kind": "rankings", "format": "jsonl", "campaign": "", "split": "all", "seed": "1"}
    statuses = [lab.browser.post("exports", sent).status_code for _ in range(3)]
    page = lab.browser.get("exports").text
    go_on.set()
    lab.site.lab.memory.exports.wait()

    assert statuses == [303, 303, 429]
    assert page.count("Being made") == 2
    assert lab.site.lab.memory.exports.all() == []


def test_what_a_killed_server_left_is_cleared_a_day_later(lab: Desk, ann: User) -> None:

    root = lab.site.lab.folder / "exports"
    for name, age in ((".old", 90_000), (".new", 60)):
        (root / name).mkdir(parents=True)
        at = (root / name).stat().st_mtime - age
        os.utime(root / name, (at, at))
    ranked_on_both_sides(lab, ann)

    public_id, _ = export(lab)

    assert {path.name for path in root.iterdir()} == {".new", public_id}


def test_parquet_without_its_package_says_what_to_install(
    lab: Desk, ann: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranked_on_both_sides(lab, ann)
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    assert "alignloop[parquet]" in failed(lab, format="parquet")


def test_a_bug_is_no_half_export(lab: Desk, ann: User, monkeypatch: pytest.MonkeyPatch) -> None:
    ranked_on_both_sides(lab, ann)

    def broken(*_: object, **__: object) -> None:
        raise DataError("a record that cannot be written")

    monkeypatch.setattr(downloads, "_write_jsonl", broken)

    assert "a record that cannot be written" in failed(lab)
    assert list((lab.site.lab.folder / "exports").iterdir()) == []
