"""`alignloop prompts export`: what leaves, on which side, and that the trainers read it."""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from alignloop.data.formatter import Formatter
from alignloop.data.jsonl import read_records
from alignloop.data.records import Demonstration, Prompt, Ranking
from alignloop.data.split import draw
from alignloop.errors import ConfigError, DataError, StoreError
from alignloop.runs.artifact import Artifact, open_artifact
from alignloop.store import campaigns, prompts
from alignloop.store.log import all_exports
from alignloop.store.project import open_project
from alignloop.store.schema import prompts as prompts_table
from tests.helpers import REWARD, SFT, contents, metrics, run, tiny_tokenizer, write_model
from tests.workflow.prompts.helpers import NOW, asked, imported, rows, some, write


def exported(lab: Path, kind: str, folder: Path | None = None, **values: Any) -> Artifact:
    folder = folder or lab.parent / f"run-{kind}"
    return run("prompts_export", folder, {"kind": kind, **values}, project=lab)


def read(artifact: Artifact, file: str, record: type) -> list[Any]:
    return read_records(artifact.file(f"{file}.jsonl.gz"), record, allow_empty=True)


def import_of(tmp_path: Path, given: list[Any], *overrides: str) -> Path:
    imported(tmp_path / "lab", write(tmp_path / "a.jsonl", given), overrides=overrides)
    return tmp_path / "lab"


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """Prompts of sixty customers and some labelers, some with answers."""
    return import_of(tmp_path, some(600, users=59))


# --- prompts ---


def test_prompts_are_shared_out_by_author_as_data_import_does(lab: Path) -> None:
    artifact = exported(lab, "prompts", exclude=[])

    found = {name: read(artifact, name, Prompt) for name in ("rankings", "rl", "valid", "test")}

    kept = {row["id"]: row for row in rows(lab)["prompts"]}
    assert sum(map(len, found.values())) == len(kept)
    assert artifact.facts["rows"] == {name: len(some_of) for name, some_of in found.items()}
    groups = {name: {one.group for one in some_of} for name, some_of in found.items()}
    customers = {
        name: {one.group for one in some_of if one.source == "customer"}
        for name, some_of in found.items()
    }
    assert not groups["valid"] & groups["test"] | (groups["valid"] | groups["test"]) & groups["rl"]
    assert all(draw("purpose", group) >= 0.4 for group in groups["rl"])
    assert all(draw("purpose", group) < 0.4 for group in customers["rankings"])
    assert {one.source for one in found["rl"]} == {"customer"}
    assert {one.source for one in found["rankings"]} == {
        *("customer", "labeler_plain", "labeler_fewshot"),
    }


def test_labelers_prompts_join_rl_where_that_is_asked_for(lab: Path) -> None:
    artifact = exported(lab, "prompts", labelers_in_rl=True, exclude=[])

    assert "labeler_plain" in {one.source for one in read(artifact, "rl", Prompt)}


def test_rl_asks_nothing_that_earlier_steps_learned_from(tmp_path: Path) -> None:
    given: list[dict[str, Any]] = []
    for number in range(120):
        row: dict[str, Any] = {"prompt": asked(number), "user": f"u{number}"}
        if number % 3 == 0:
            row |= {"response": "Yes."}
        if number % 3 == 1:
            row = {**row, "candidates": ["A.", "B."], "ranks": [1, 2]}
        given.append(row)
    files = [
        write(tmp_path / "a.jsonl", [row for row in given if "ranks" not in row]),
        write(tmp_path / "b.jsonl", [row for row in given if "ranks" in row]),
    ]
    lab = tmp_path / "lab"
    imported(lab, *files)
    plain = {asked(number) for number in range(120) if number % 3 == 2}
    rated = {asked(number) for number in range(120) if number % 3 == 1}
    shown = {asked(number) for number in range(120) if number % 3 == 0}

    def rl(**values: Any) -> set[str]:
        folder = Path(tempfile.mkdtemp(dir=tmp_path))
        artifact = exported(lab, "prompts", folder, rankings=0.1, **values)
        return {one.text for one in read(artifact, "rl", Prompt)}

    assert rl() <= plain
    assert rl(exclude=["rankings"]) & shown and not rl(exclude=["rankings"]) & rated
    everything = rl(exclude=[])
    assert everything & plain and everything & rated and everything & shown
    assert rl() == everything & plain


def test_rl_asks_nothing_that_labelers_answered_here(tmp_path: Path) -> None:
    lab = import_of(tmp_path, [{"prompt": asked(n), "user": f"u{n}"} for n in range(60)])
    before = {one.id for one in read(exported(lab, "prompts", tmp_path / "1"), "rl", Prompt)}
    answered = sorted(before)[0]
    demonstrate(lab, answered)

    after = exported(lab, "prompts", tmp_path / "2")

    assert {one.id for one in read(after, "rl", Prompt)} == before - {answered}
    assert after.facts["left_out"] == {"rl_with_demonstrations": 1}


def demonstrate(lab: Path, prompt_id: str) -> None:
    """A labeler writes a demonstration of a prompt, in a campaign."""
    from alignloop.store import judgments, people, queue

    store = open_project(lab).open()
    with store.write() as connection:
        query = select(prompts_table.c.id).where(
            prompts_table.c.text_digest.between(
                bytes.fromhex(prompt_id[7:]) + bytes(8), bytes.fromhex(prompt_id[7:]) + b"\xff" * 8
            )
        )
        row_id = connection.execute(query).scalar_one()
        campaign = campaigns.add_campaign(
            connection, NOW, "test", name="c", form="demonstrate", asks_ratings=False
        )
        campaigns.add_task(connection, campaign, prompt_id=row_id)
        campaign = campaigns.set_state(connection, NOW, "test", campaign, "open")
        user = people.add_user(
            connection,
            NOW,
            "test",
            email="ann@x.org",
            name="ann",
            cohort="training",
            state="active",
            standing="qualified",
        )
        assignment = queue.claim(connection, NOW, user, campaign)
        assert assignment is not None
        judgments.submit(
            connection,
            NOW,
            user,
            assignment.public_id,
            judgments.WrittenDemonstration("Once upon a time."),
            client_uuid="1",
            payload={},
        )
    store.close()


def test_a_flagged_prompt_never_trains_and_leaves_with_valid_and_test_unless_told_otherwise(
    tmp_path: Path,
) -> None:
    mail = "Mail bob@example.com."
    given = [{"prompt": f"{asked(n)} {mail}", "user": f"u{n}"} for n in range(60)]
    given += [{"prompt": asked(n), "user": f"u{n}"} for n in range(60, 120)]
    lab = import_of(tmp_path, given)
    # A labeler's prompt may have been flagged and kept on the training side.
    store = open_project(lab).open()
    one = prompts.NewPrompt(
        "labeler/1", "train", "labeler_plain", f"Mine: {mail}", bytes(16), pii=["email"]
    )
    with store.write() as connection:
        prompts.add_prompts(connection, NOW, [one])
    store.close()

    usual = exported(lab, "prompts", tmp_path / "usual")
    strict = exported(lab, "prompts", tmp_path / "strict", flagged=False)

    def holding(artifact: Artifact, *files: str) -> int:
        return sum(mail in one.text for f in files for one in read(artifact, f, Prompt))

    assert holding(usual, "rankings", "rl") == 0
    assert holding(usual, "valid") and holding(usual, "test")
    assert usual.facts["left_out"] == {"personal_data": 1}
    assert holding(strict, "rankings", "rl", "valid", "test") == 0
    flagged = holding(usual, "valid", "test")
    assert strict.facts["left_out"] == {"personal_data": 1 + flagged}


def test_only_the_sources_that_are_named_leave(lab: Path) -> None:
    artifact = exported(lab, "prompts", sources=["labeler_plain", "labeler_fewshot"])

    names = ("rankings", "valid", "test")
    assert {one.source for name in names for one in read(artifact, name, Prompt)} == {
        *("labeler_plain", "labeler_fewshot"),
    }
    assert read(artifact, "rl", Prompt) == []


# --- few-shot ---

FEW = {
    "prompt": "Give the opposite.",
    "kind": "few_shot",
    "user": "ann",
    "examples": [["hot", "cold"], ["up", "down"], ["big", "small"]],
}


def few_shot_lab(tmp_path: Path, **changes: Any) -> Path:
    others = [{"prompt": asked(n), "user": f"u{n}", "response": "Yes."} for n in range(40)]
    return import_of(tmp_path, [FEW | changes, *others])


def of_few(artifact: Artifact) -> list[Demonstration]:
    found = [d for f in ("train", "valid", "test") for d in read(artifact, f, Demonstration)]
    return [one for one in found if one.prompt.text.startswith("Give the opposite.")]


def test_a_few_shot_prompt_is_one_row_and_k_demonstrations(tmp_path: Path) -> None:
    lab = few_shot_lab(tmp_path)

    found = of_few(exported(lab, "demonstrations"))

    assert sum(bool(row["examples"]) for row in rows(lab)["prompts"]) == 1
    assert [(one.prompt.text, one.response) for one in found] == [
        (
            "Give the opposite.\n\nInput: up\nOutput: down\n\nInput: big\nOutput: small\n\nInput: hot\nOutput:",
            "cold",
        ),
        (
            "Give the opposite.\n\nInput: hot\nOutput: cold\n\nInput: big\nOutput: small\n\nInput: up\nOutput:",
            "down",
        ),
        (
            "Give the opposite.\n\nInput: hot\nOutput: cold\n\nInput: up\nOutput: down\n\nInput: big\nOutput:",
            "small",
        ),
    ]
    first = found[0].prompt.id.partition(".")[0]
    assert [one.prompt.id for one in found] == [f"{first}.{n}" for n in (1, 2, 3)]
    assert {one.prompt.group for one in found} == {"ann"}
    assert {one.prompt.source for one in found} == {"labeler_fewshot"}


def test_further_sets_of_examples_make_further_demonstrations(tmp_path: Path) -> None:
    lab = few_shot_lab(tmp_path)

    def with_sets(name: str, **values: Any) -> list[tuple[str, str]]:
        found = of_few(exported(lab, "demonstrations", tmp_path / name, **values))
        return [(one.prompt.text, one.response) for one in found]

    usual = with_sets("usual")
    more = with_sets("more", few_shot_sets=4, few_shot_size=1)

    assert more[:3] == usual and len(set(more)) == len(more) == 7
    assert all(text.count("Input:") == 2 for text, _ in more[3:])
    assert more == with_sets("again", few_shot_sets=4, few_shot_size=1)
    assert more != with_sets("another seed", few_shot_sets=4, few_shot_size=1, seed=2)


def test_as_a_prompt_to_be_answered_a_few_shot_prompt_asks_its_last_query(tmp_path: Path) -> None:
    lab = few_shot_lab(tmp_path)
    artifact = exported(lab, "prompts")
    found = [one for f in ("rankings", "valid", "test") for one in read(artifact, f, Prompt)]

    [asked_of] = [one for one in found if one.source == "labeler_fewshot"]

    shown = of_few(exported(lab, "demonstrations"))
    assert asked_of == shown[-1].prompt


def test_a_few_shot_prompt_with_an_answer_of_its_own_shows_all_its_examples(tmp_path: Path) -> None:
    lab = few_shot_lab(
        tmp_path, prompt="Give the opposite. Of red?", response="Green.", labeler="bob"
    )

    found = of_few(exported(lab, "demonstrations"))

    assert len(found) == 4
    assert (found[0].response, found[0].labeler) == ("Green.", "bob")
    assert found[0].prompt.text == (
        "Give the opposite. Of red?\n\nInput: hot\nOutput: cold\n\nInput: up\nOutput: down\n\n"
        "Input: big\nOutput: small"
    )


# --- demonstrations ---


def test_demonstrations_leave_with_their_side_and_their_labeler_and_without_faults(
    tmp_path: Path,
) -> None:
    given: list[dict[str, Any]] = [
        {"prompt": asked(n), "user": f"u{n}", "response": f"Answer {n}.", "labeler": "ann"}
        for n in range(60)
    ]
    given[0] |= {"response": " \n "}
    given[1] |= {"response": "long " * 2000}
    given[2] |= {"model": "m"}
    lab = import_of(tmp_path, given)

    artifact = exported(lab, "demonstrations", model_answers=False)

    sides = {row["text"]: row["split"] for row in rows(lab)["prompts"]}
    found = {
        one.prompt.text: (side, one.response, one.labeler)
        for side in ("train", "valid", "test")
        for one in read(artifact, side, Demonstration)
    }
    assert found == {asked(n): (sides[asked(n)], f"Answer {n}.", "ann") for n in range(3, 60)}
    assert artifact.facts["left_out"] == {"empty": 1, "too_long": 1, "by_models": 1}


def test_the_last_turn_of_a_conversation_is_learned_after_its_history(tmp_path: Path) -> None:
    talk = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Say hello."},
        {"role": "assistant", "content": "Hello."},
        {"role": "user", "content": "And in French?"},
        {"role": "assistant", "content": "Bonjour."},
    ]
    others = [
        {
            "messages": [
                {"role": "user", "content": asked(n)},
                {"role": "assistant", "content": "Yes."},
            ]
        }
        for n in range(60)
    ]
    lab = import_of(tmp_path, [{"messages": talk}, *others])

    artifact = exported(lab, "demonstrations")

    found = [d for f in ("train", "valid", "test") for d in read(artifact, f, Demonstration)]
    [one] = [one for one in found if one.prompt.history]
    assert [(turn.role, turn.text) for turn in one.prompt.history] == [
        ("system", "Be brief."),
        ("user", "Say hello."),
        ("assistant", "Hello."),
    ]
    assert (one.prompt.text, one.response) == ("And in French?", "Bonjour.")


# --- rankings ---


def ranked(number: int, ranks: list[int], **more: Any) -> dict[str, Any]:
    texts = [f"Answer {number} {place}." for place in range(len(ranks))]
    return {
        "prompt": asked(number),
        "user": f"u{number}",
        "candidates": texts,
        "ranks": ranks,
        "models": [f"m{place}" for place in range(len(ranks))],
        "labeler": "ann",
        **more,
    }


def test_comparisons_leave_as_rankings_with_their_ties(tmp_path: Path) -> None:
    sizes = [[1, 2], [2, 1, 2, 3], list(range(1, 10)), [1, 1], list(range(1, 11))]
    given = [ranked(n, sizes[n % 5]) for n in range(100)]
    lab = import_of(tmp_path, given)

    artifact = exported(lab, "rankings")

    sides = {row["text"]: row["split"] for row in rows(lab)["prompts"]}
    expected = {
        asked(n): (sides[asked(n)], tuple(sizes[n % 5]))
        for n in range(100)
        if sides[asked(n)] != "test" and n % 5 != 4
    }
    found = {
        one.prompt.text: (side, one.ranks)
        for side in ("train", "valid")
        for one in read(artifact, side, Ranking)
    }
    assert found == expected
    of_test = sum(side == "test" for side in sides.values())
    assert artifact.facts["left_out"] == {
        "test": of_test,
        "too_many": 20 - sum(sides[asked(n)] == "test" for n in range(4, 100, 5)),
    }
    pairs = sum(len(one.pairs()) for s in ("train", "valid") for one in read(artifact, s, Ranking))
    assert artifact.facts["comparisons"] == pairs
    one = read(artifact, "train", Ranking)[0]
    assert one.labeler == "ann" and [c.model for c in one.completions][:2] == ["m0", "m1"]
    assert one.completions[0].tokens == len(one.completions[0].text) // 4 + 2


def test_every_set_of_answers_to_a_prompt_leaves(tmp_path: Path) -> None:
    given = [ranked(n, [1, 2]) for n in range(40)]
    given += [ranked(n, [2, 1], labeler="bob") for n in range(40)]
    shown = [
        {"prompt": asked(n), "user": f"u{n}", "response": f"{n} {k}."}
        for n in range(40)
        for k in (1, 2)
    ]
    lab = tmp_path / "lab"
    imported(lab, write(tmp_path / "a.jsonl", given), write(tmp_path / "b.jsonl", shown))

    rankings = exported(lab, "rankings")
    demonstrations = exported(lab, "demonstrations")

    of_first = [
        (one.labeler, one.ranks)
        for side in ("train", "valid")
        for one in read(rankings, side, Ranking)
        if one.prompt.text == read(rankings, "train", Ranking)[0].prompt.text
    ]
    assert of_first == [("ann", (1, 2)), ("bob", (2, 1))]
    found = [d for s in ("train", "valid", "test") for d in read(demonstrations, s, Demonstration)]
    assert sorted(one.response for one in found) == sorted(
        f"{n} {k}." for n in range(40) for k in (1, 2)
    )
    anew = exported(lab, "prompts")
    assert anew.facts["rows"]["rl"] == 0  # all of them have answers


def test_an_answer_without_text_is_not_ranked(tmp_path: Path) -> None:
    given = [ranked(n, [1, 2, 3]) for n in range(60)]
    given[0]["candidates"][1] = " "
    given[1]["candidates"] = ["", " ", "A."]
    lab = import_of(tmp_path, given)

    artifact = exported(lab, "rankings")

    found = {r.prompt.text: r for s in ("train", "valid") for r in read(artifact, s, Ranking)}
    sides = {row["text"]: row["split"] for row in rows(lab)["prompts"]}
    if sides[asked(0)] != "test":
        assert found[asked(0)].ranks == (1, 3)
    assert asked(1) not in found


# --- the artefact ---


def test_the_manifest_says_what_left_and_the_store_remembers(lab: Path) -> None:
    artifact = exported(lab, "prompts", flagged=False)

    manifest = json.loads(artifact.file("export.json").read_text())
    assert manifest["query"]["kind"] == "prompts" and manifest["query"]["flagged"] is False
    assert manifest["counts"] == artifact.facts["rows"]
    for name, sha256 in manifest["files"].items():
        assert hashlib.sha256(artifact.file(name).read_bytes()).hexdigest() == sha256
    ids = [row["id"] for row in rows(lab)["prompts"] if not row["pii"]]
    left = sum(
        artifact.facts["left_out"].get(k, 0) for k in artifact.facts["left_out"] if "rl" in k
    )
    assert sum(manifest["counts"].values()) == len(ids) - left
    store = open_project(lab).open()
    with store.read() as connection:
        [noted] = all_exports(connection)
    store.close()
    assert noted.rows_sha256 == manifest["rows_sha256"]
    assert noted.files_sha256 == {"artifact.json": artifact.sha256}
    assert noted.query == manifest["query"] and noted.name == "run-prompts"


def test_the_digest_of_the_rows_is_of_their_ids_in_order(tmp_path: Path) -> None:
    lab = import_of(tmp_path, [{"prompt": asked(n), "user": f"u{n}"} for n in range(40)])

    artifact = exported(lab, "prompts")

    ids = ",".join(str(row["id"]) for row in rows(lab)["prompts"])
    manifest = json.loads(artifact.file("export.json").read_text())
    assert manifest["rows_sha256"] == hashlib.sha256(ids.encode()).hexdigest()


@pytest.mark.parametrize("kind", ["prompts", "demonstrations"])
def test_the_same_project_gives_the_same_bytes(lab: Path, tmp_path: Path, kind: str) -> None:
    first = exported(lab, kind, tmp_path / "1")
    second = exported(lab, kind, tmp_path / "2")

    assert contents(first.path) == contents(second.path)


def test_a_finished_export_is_not_made_again(lab: Path, tmp_path: Path) -> None:
    exported(lab, "prompts", tmp_path / "run")

    again = run("prompts_export", tmp_path / "run", {"kind": "prompts"}, resume=True, project=lab)

    assert again == open_artifact(tmp_path / "run", "prompts")
    store = open_project(lab).open()
    with store.read() as connection:
        assert len(all_exports(connection)) == 1
    store.close()


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        ("demonstrations", [{"prompt": asked(1)}], "no demonstrations on the training side"),
        ("rankings", [{"prompt": asked(1)}], "no rankings on the training side"),
        ("prompts", [{"prompt": asked(1), "user": "a"}], "no prompts on the validation side"),
    ],
)
def test_an_export_that_no_trainer_could_use_says_so(
    tmp_path: Path, kind: str, given: list[Any], message: str
) -> None:
    lab = import_of(tmp_path, given)

    with pytest.raises(DataError, match=message):
        exported(lab, kind, tmp_path / "run")

    assert not (tmp_path / "run" / "artifact").exists()


def test_a_project_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no such database"):
        exported(tmp_path / "lab", "prompts", tmp_path / "run")

    assert not (tmp_path / "lab").exists()


# --- and around again ---


def test_what_was_exported_is_known_when_it_comes_back(lab: Path) -> None:
    artifact = exported(lab, "prompts")
    one = read(artifact, "rl", Prompt)[0]
    store = open_project(lab).open()
    with store.write() as connection:
        before = prompts.last_id(connection)
        found = prompts.add_record(connection, NOW, one, "train")
        other = prompts.add_record(
            connection, NOW, one.model_copy(update={"text": "Another text."}), "train"
        )
        assert prompts.last_id(connection) == other == before + 1
        row = connection.execute(select(prompts_table).where(prompts_table.c.id == found)).one()
    store.close()

    assert row.text == one.text and found <= before
    after = exported(lab, "prompts", lab.parent / "again")
    assert after.sha256 == artifact.sha256


# --- the trainers read it ---


def test_sft_and_the_reward_model_learn_from_what_was_exported(tmp_path: Path) -> None:
    shown = [
        {"prompt": f"Say {n}.", "user": f"u{n}", "response": f"{n} it is.", "labeler": "ann"}
        for n in range(60)
    ]
    few = [
        {
            "prompt": f"Go {n}.",
            "user": f"f{n}",
            "kind": "few_shot",
            "examples": [["a", "b"], ["c", "d"]],
        }
        for n in range(4)
    ]
    compared = [
        {
            **ranked(n, [1, 2, 2, 3]),
            "prompt": f"Rank {n}.",
            "candidates": ["A.", "B b.", "C c c.", "D."],
        }
        for n in range(60, 120)
    ]
    lab = tmp_path / "lab"
    files = write(tmp_path / "a.jsonl", [*few, *shown]), write(tmp_path / "b.jsonl", compared)
    imported(lab, *files)
    demonstrations = exported(lab, "demonstrations")
    rankings = exported(lab, "rankings")
    to_rank = exported(lab, "prompts")
    model = write_model(tmp_path / "model")

    given = {"model": model, "demonstrations": demonstrations.path}
    sft = run("sft", tmp_path / "sft", SFT | {"epochs": 1, "pretraining_mix": 0.0}, **given)
    reward = run(
        "reward", tmp_path / "reward", REWARD | {"epochs": 1}, rankings=rankings.path, **given
    )

    assert sft.kind == "policy" and reward.kind == "reward-model"
    assert metrics(tmp_path / "sft")[-1]["epoch"] == 1.0
    assert metrics(tmp_path / "reward")[-1]["epoch"] == 1.0
    formatter = Formatter.of(tiny_tokenizer())
    assert all(formatter.prompts(read(to_rank, "rankings", Prompt)))


def test_a_misspelt_setting_of_an_export_is_refused() -> None:
    from alignloop.config import load_config
    from alignloop.workflow.stages import config_class

    with pytest.raises(ConfigError, match="did you mean 'exclude'"):
        load_config(config_class("prompts_export"), None, ['kind="prompts"', "exclud=[]"])
