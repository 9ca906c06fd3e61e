"""Texts that no database takes, or that no page shows, on both databases: one replacement, on the way in."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from alignloop.data.records import Completion, Ranking
from alignloop.labeling.export import ExportConfig, each_export
from alignloop.store import (
    campaigns,
    correspondence,
    drafts,
    events,
    flag_sets,
    judgments,
    people,
    prompts,
    transfer,
)
from alignloop.store.database import Store
from alignloop.store.judgments import Rating, WrittenDemonstration
from alignloop.store.schema import (
    given_answers,
    guidelines,
    messages,
    metadata,
    ratings,
    submissions,
    users,
)
from alignloop.store.words import JSON, Text, clean, clean_all
from tests.store.conftest import Lab

BAD = "a\0b\ud800c"
GOOD = "a\ufffdb\ufffdc"

any_text = st.text(st.characters(exclude_categories=()))


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("", ""),
        ("plain", "plain"),
        ("\u4f60\u597d \U0001f600", "\u4f60\u597d \U0001f600"),
        ("\0", "\ufffd"),
        ("x\ud83d", "x\ufffd"),
        ("\ude00x", "\ufffdx"),
        ("\ud83d\ude00", "\U0001f600"),
        (BAD, GOOD),
    ],
)
def test_what_is_replaced(text: str, kept: str) -> None:
    assert clean(text) == kept


@given(any_text)
def test_clean_text_can_be_kept_and_stays(text: str) -> None:
    kept = clean(text)
    kept.encode()
    assert "\0" not in kept
    assert clean(kept) == kept
    if not any(letter == "\0" or "\ud800" <= letter <= "\udfff" for letter in text):
        assert kept == text


@given(
    st.recursive(
        st.none() | st.integers() | any_text,
        lambda inner: st.lists(inner) | st.dictionaries(any_text, inner),
        max_leaves=8,
    )
)
def test_in_json_everything_is_cleaned(value: object) -> None:
    told = events.canonical(clean_all(value))
    told.encode()
    assert "\\u0000" not in told


def test_every_column_of_texts_has_these_types() -> None:
    kinds = {type(column.type) for table in metadata.sorted_tables for column in table.columns}
    assert {Text, JSON} <= kinds
    assert not {kind.__name__ for kind in kinds - {Text, JSON}} & {"Text", "String", "JSON"}


def test_prompts_and_outputs_are_shown_and_exported_as_they_are_stored(lab: Lab) -> None:
    campaign, user = lab.campaign([], opened=False, k=(2, 9)), lab.labeler()
    new = prompts.NewPrompt(
        author=f"author {BAD}",
        split="train",
        kind="customer",
        text=f"prompt {BAD}",
        text_digest=uuid.uuid4().bytes,
        history=[("user", BAD), ("assistant", BAD)],
        examples=[(BAD, BAD)],
        use_case=BAD,
        details={"context": BAD, BAD: [BAD]},
        answers=[(BAD, 1, BAD, BAD)],
    )
    with lab.store.write() as connection:
        [prompt] = prompts.add_prompts(connection, lab.now, [new])
        policy = prompts.add_policy(connection, lab.now, name=BAD, sha256="x", sampling={})
        texts = [Completion(text=f"{n} a\0b", model="m", finished=True, tokens=3) for n in range(4)]
        ids = prompts.add_completions(connection, prompt, policy, texts)
        campaigns.add_task(connection, campaign, prompt_id=prompt, completion_ids=ids)
        opened = campaigns.set_state(connection, lab.now, "test", campaign, "open")
    task = lab.claim(user, opened)
    assert task is not None
    lab.rank(user, task, [1, 2, 3, 4])

    with lab.store.read() as connection:
        shown = campaigns.items_of(connection, task.task_id)
        said = campaigns.task_of(connection, task.task_id)
        [row] = prompts.each_prompt(connection)
        record = prompts.prompt_record(row)
        assert prompts.find_policy(connection, BAD) == policy
        answer = connection.execute(select(given_answers)).one()
        [leaving] = each_export(connection, ExportConfig(kind="rankings"))
    assert shown == {n + 1: f"{n} a\ufffdb" for n in range(4)}
    assert said.text == record.text == f"prompt {GOOD}"
    assert said.history == [["user", GOOD], ["assistant", GOOD]]
    assert [turn.text for turn in record.history] == [GOOD, GOOD]
    assert (row.author, row.use_case, row.examples) == (f"author {GOOD}", GOOD, [[GOOD, GOOD]])
    assert row.details == {"context": GOOD, GOOD: [GOOD]}
    assert (answer.text, answer.model, answer.labeler) == (GOOD, GOOD, GOOD)
    assert isinstance(leaving.record, Ranking)
    assert {one.text for one in leaving.record.completions} == set(shown.values())
    assert leaving.record.prompt == record


def test_what_people_write(lab: Lab, tmp_path: Path) -> None:
    ann, boss = lab.labeler(), lab.researcher()
    campaign = lab.campaign(form="demonstrate", asks_ratings=False)
    task = lab.claim(ann, campaign)
    assert task is not None
    with lab.store.write() as connection:
        now = lab.now
        people.change_user(connection, now, "test", ann, name=BAD)
        correspondence.write_message(connection, now, ann, boss, BAD)
        correspondence.add_guideline(
            connection, now, BAD, purpose="training", version=7, locale="en", body=BAD
        )
        payload = {"fields": {"response": [BAD]}, "visits": {}}
        drafts.save_draft(connection, now, ann, task.public_id, payload, rev=0)
        kept = drafts.draft_of(connection, task)
        judgments.submit(
            connection,
            now,
            ann,
            task.public_id,
            WrittenDemonstration(BAD, (("user", BAD),)),
            client_uuid=BAD,
            payload=payload,
            comment=BAD,
        )
    assert kept is not None and kept.payload["fields"] == {"response": [GOOD]}

    ranking = lab.campaign(asks_ratings=True)
    task = lab.claim(ann, ranking)
    assert task is not None
    flags = dict.fromkeys(flag_sets.TABLE_3_FLAGS, False)
    lab.rank(ann, task, [1, 2, 3, 4], ratings=[Rating(4, flags, notes=BAD)] * 4)

    with lab.store.read() as connection:
        assert connection.execute(select(users.c.name).where(users.c.id == ann.id)).scalar() == GOOD
        assert connection.execute(select(messages.c.body)).scalar_one() == GOOD
        assert connection.execute(select(guidelines.c.body)).scalar_one() == GOOD
        first = connection.execute(select(submissions).order_by(submissions.c.id)).first()
        assert first is not None
        assert (first.comment, first.payload["fields"]) == (GOOD, {"response": [GOOD]})
        assert set(connection.execute(select(ratings.c.notes)).scalars()) == {GOOD}
        assert events.audit(connection).findings == ()
    copied = Store.open(tmp_path / "copy.db")
    try:  # it passes the audit, and every table is the same
        assert transfer.copy(lab.store, copied)
    finally:
        copied.close()
