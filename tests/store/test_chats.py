"""What users of the chat page say: kept where they agree and curation does, chosen between, erased to the last byte."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, text

from alignloop.data.curation.config import CurationConfig
from alignloop.data.records import Completion
from alignloop.data.split import side_of
from alignloop.errors import JudgmentError
from alignloop.labeling.config import ExportConfig
from alignloop.labeling.export import each_export
from alignloop.store import (
    campaigns,
    chats,
    erasure,
    events,
    oversight,
    prompts,
    transfer,
    visitors,
)
from alignloop.store.chats import Chats, Drawn, Said
from alignloop.store.curation import settle
from alignloop.store.database import Store
from alignloop.store.schema import metadata
from alignloop.store.visitors import Visitor
from tests.store.conftest import NOW, Lab

NOTICE = 1


def agree(store: Store, token: str, side: str = "train") -> Visitor:
    """A user who agrees, on a side of the split; the token is theirs."""
    config = CurationConfig()
    while True:
        with store.write() as connection:
            found = visitors.agree(connection, NOW, token, NOTICE, "en")
        if side_of(found.user.public_id, config.valid, config.test) == side:
            return found
        erasure.erase(store, NOW, "test", found)


def drawn(said: str, policy: str = "ppo") -> Drawn:
    completion = Completion(text=said, model=policy, finished=True, tokens=3)
    return Drawn(policy, f"sha-{policy}", {"temperature": 1.0, "top_p": 1.0}, completion)


def rows(store: Store) -> dict[str, int]:
    """Table -> rows, of those that have any."""
    with store.read() as connection:
        found = {
            table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in metadata.sorted_tables
        }
    return {name: count for name, count in found.items() if count}


def kept(chat: Chats, visitor: Visitor, said: str, conversation: str = "c1", **given: Any) -> int:
    found = chat.keep(NOW, visitor, Said(conversation, said, **given))
    assert isinstance(found, int), found
    return found


def choose(
    chat: Chats,
    visitor: Visitor,
    prompt: int,
    preference: chats.Preference = "first",
    texts: Sequence[str] = ("A fox ran.", "No."),
    uuid: str = "once",
    conversation: str = "c1",
) -> str:
    answers = (drawn(texts[0], "ppo"), drawn(texts[1], "sft"))
    return chat.choose(
        NOW, visitor, conversation, prompt, answers, preference, shown=(2, 1), client_uuid=uuid
    )


@pytest.fixture
def chat(store: Store) -> Chats:
    return Chats(store)


def test_a_token_finds_its_user_and_the_store_has_not_the_token(store: Store) -> None:
    token = "a" * 43
    visitor = agree(store, token)

    with store.read() as connection:
        assert visitors.find(connection, token) == visitor
        assert visitors.find(connection, token + "x") is None
        assert visitors.get(connection, visitor.user.public_id) == visitor
        held = [
            str(row)
            for table in metadata.sorted_tables
            for row in connection.execute(select(table))
        ]
        assert not [row for row in held if token in row]
        with pytest.raises(JudgmentError, match="there is no user 'user-none'"):
            visitors.get(connection, "user-none")


def test_agreeing_and_taking_it_back_are_entries_of_the_log(store: Store) -> None:
    visitor = agree(store, "token")
    with store.write() as connection:
        again = visitors.agree(connection, NOW + 1, "token", NOTICE, "en")
        withdrawn = visitors.withdraw(connection, NOW + 2, visitor)
        newer = visitors.agree(connection, NOW + 3, "token", NOTICE + 1, "en")

    assert again == visitor
    assert withdrawn.notice is None
    assert newer.notice == NOTICE + 1
    with store.read() as connection:
        log = [
            (row.actor, row.verb, row.detail)
            for row in events.each_event(connection, newest_first=False)
            if row.object == visitor.user.public_id
        ]
        assert log == [
            (visitor.user.public_id, "agree", '{"notice":1}'),
            (visitor.user.public_id, "withdraw", '{"notice":1}'),
            (visitor.user.public_id, "agree", '{"notice":2}'),
        ]
        assert events.audit(connection).findings == ()


def test_a_message_becomes_a_customer_s_prompt_with_its_conversation(
    store: Store, chat: Chats
) -> None:
    visitor = agree(store, "token")
    history = (("user", "Tell me of a fox."), ("assistant", "There was a fox in the wood."))

    number = kept(chat, visitor, "And then, what did the fox do?", history=history)

    with store.read() as connection:
        [row] = prompts.each_prompt(connection)
    assert row.id == number
    assert (row.kind, row.split, row.consent, row.language) == ("customer", "train", True, "en")
    assert row.author == row.counted_for == visitor.user.public_id
    assert row.history == [list(turn) for turn in history]
    assert row.details == {"conversation": "c1"}
    record = prompts.prompt_record(row)
    assert record.source == "customer"
    assert record.group == visitor.user.public_id


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("Write to ann.smith@example.com for me.", "pii"),
        ("word " * 1100, "too_long"),
        ("  \n ", "empty"),
    ],
)
def test_what_curation_withholds_is_not_kept(
    store: Store, chat: Chats, said: str, reason: str
) -> None:
    visitor = agree(store, "token")
    before = rows(store)

    assert chat.keep(NOW, visitor, Said("c1", said)) == reason
    assert rows(store) == before


def test_personal_data_in_an_earlier_turn_withholds_what_follows(store: Store, chat: Chats) -> None:
    visitor = agree(store, "token")
    history = (("user", "I am ann.smith@example.com"), ("assistant", "Hello."))

    assert chat.keep(NOW, visitor, Said("c1", "Who am I?", history)) == "pii"


def test_on_the_other_sides_personal_data_is_flagged_as_an_import_does(
    store: Store, chat: Chats
) -> None:
    visitor = agree(store, "token", "valid")

    kept(chat, visitor, "Write to ann.smith@example.com for me.")

    with store.read() as connection:
        [row] = prompts.each_prompt(connection)
    assert (row.split, row.pii) == ("valid", ["email"])


def test_a_project_that_scrubs_keeps_the_message_without_it(store: Store, chat: Chats) -> None:
    with store.write() as connection:  # an import, after the page was begun
        settle(connection, CurationConfig(pii_action="scrub"))
    visitor = agree(store, "token")

    kept(chat, visitor, "Write to ann.smith@example.com for me.")

    with store.read() as connection:
        [row] = prompts.each_prompt(connection)
    assert (row.text, row.pii) == ("Write to [EMAIL] for me.", [])


def test_repetitions_are_dropped_but_a_conversation_keeps_its_own_opening(
    store: Store, chat: Chats
) -> None:
    one, other = agree(store, "one"), agree(store, "other")
    opening = "Here is the opening of a long story about a fox who lived in the wood. " * 3
    kept(chat, one, opening, "c1")

    assert chat.keep(NOW, other, Said("c2", opening)) == "exact_duplicate"
    assert chat.keep(NOW, other, Said("c2", opening + " Go on.")) == "common_prefix"
    kept(chat, one, "Go on.", "c1", history=(("user", opening), ("assistant", "It ran.")))


def test_a_user_gives_no_more_than_the_cap(store: Store) -> None:
    with store.write() as connection:
        settle(connection, CurationConfig(cap=2))
    chat, visitor = Chats(store), agree(store, "token")
    kept(chat, visitor, "Tell me of a fox.")
    kept(chat, visitor, "Tell me of a hare.")

    assert chat.keep(NOW, visitor, Said("c1", "Tell me of a bear.")) == "user_cap"


def test_whoever_took_it_back_is_not_kept_whatever_another_window_knows(
    store: Store, chat: Chats
) -> None:
    visitor = agree(store, "token")
    prompt = kept(chat, visitor, "Tell me of a fox.")
    with store.write() as connection:
        visitors.withdraw(connection, NOW, visitor)
    before = rows(store)

    assert chat.keep(NOW, visitor, Said("c1", "Tell me of a hare.")) == "agreement"
    assert choose(chat, visitor, prompt) == "agreement"
    assert rows(store) == before


def test_who_took_it_back_and_agreed_anew_gives_nothing_of_what_was_under_way(
    store: Store, chat: Chats
) -> None:
    visitor = agree(store, "token")
    with store.write() as connection:
        visitors.withdraw(connection, NOW, visitor)
        visitors.agree(connection, NOW + 1, "token", NOTICE, "en")

    assert chat.keep(NOW, visitor, Said("c1", "Tell me of a hare.")) == "agreement"


def test_an_erased_user_is_not_taken_for_who_came_next(store: Store, chat: Chats) -> None:
    visitor = agree(store, "token")
    erasure.erase(store, NOW, "test", visitor)
    agree(store, "other")  # SQLite gives the number of a row that is gone to the next one

    assert chat.keep(NOW, visitor, Said("c1", "Tell me of a hare.")) == "agreement"
    with store.read() as connection:
        assert [*prompts.each_prompt(connection)] == []


def test_a_message_of_a_conversation_that_was_erased_meanwhile_is_not_kept(
    store: Store, chat: Chats
) -> None:
    visitor = agree(store, "token")
    prompt = kept(chat, visitor, "Tell me of a fox.")
    before = rows(store)

    assert chat.keep(NOW, visitor, Said("c1", "A hare."), lambda: False) == "agreement"
    answers = (drawn("A fox ran."), drawn("No.", "sft"))
    chosen = chat.choose(
        NOW, visitor, "c1", prompt, answers, "tie",
        shown=(1, 2), client_uuid="late", still=lambda: False,
    )  # fmt: skip

    assert chosen == "agreement"
    assert rows(store) == before


def test_an_erasure_waits_for_a_message_that_is_being_kept(
    store: Store, chat: Chats, monkeypatch: pytest.MonkeyPatch
) -> None:
    visitor = agree(store, "token")
    kept(chat, visitor, "Tell me of a fox.")
    before = rows(store)
    eraser = threading.Thread(target=erasure.erase, args=(store, NOW, "test", visitor))
    curated = chats._curated

    def slowly(*given: Any) -> Any:
        eraser.start()
        eraser.join(0.3)
        return curated(*given)

    monkeypatch.setattr(chats, "_curated", slowly)
    kept(chat, visitor, "Tell me of a hare.")
    eraser.join()

    after = rows(store)
    assert "prompts" not in after
    assert "authors" not in after
    assert after["events"] == before["events"] + 1


def test_the_database_refuses_what_no_user_agrees_to(store: Store) -> None:
    visitor = agree(store, "token")
    with store.write() as connection:
        visitors.withdraw(connection, NOW, visitor)
    new = prompts.NewPrompt(
        author=visitor.user.public_id,
        split="train",
        kind="customer",
        text="A",
        text_digest=b"1" * 16,
    )

    with pytest.raises(JudgmentError, match="only while they agree"), store.write() as connection:
        prompts.add_prompts(connection, NOW, [new])


@pytest.mark.parametrize(
    ("preference", "ranks"), [("first", (1, 2)), ("second", (2, 1)), ("tie", (1, 1))]
)
def test_a_choice_is_a_ranking_of_two_that_the_trainers_get(
    store: Store, chat: Chats, preference: chats.Preference, ranks: tuple[int, int]
) -> None:
    visitor = agree(store, "token")
    prompt = kept(chat, visitor, "Tell me of a fox.")

    name = choose(chat, visitor, prompt, preference)

    assert choose(chat, visitor, prompt, preference) == name, "a double click is one choice"
    with store.read() as connection:
        [one] = each_export(connection, ExportConfig(kind="rankings"))
        order = connection.execute(text("select display_order from assignments")).scalar_one()
        policies = connection.execute(
            text("select name, sha256, sampling from policies order by name")
        ).all()
        assert events.audit(connection).findings == ()
    ranking: Any = one.record
    assert ranking.ranks == ranks
    assert [c.text for c in ranking.completions] == ["A fox ran.", "No."]
    assert [c.model for c in ranking.completions] == ["ppo", "sft"]
    assert (ranking.cohort, ranking.labeler) == ("users", visitor.user.public_id)
    assert order in ([2, 1], "[2, 1]")
    settings = '{"temperature": 1.0, "top_p": 1.0}'
    assert [tuple(row) for row in policies] == [
        ("ppo", "sha-ppo", settings),
        ("sft", "sha-sft", settings),
    ]


def test_choices_that_may_not_train_are_not_kept(store: Store, chat: Chats) -> None:
    tester, visitor = agree(store, "tester", "test"), agree(store, "token")
    tested = kept(chat, tester, "Tell me of a hare.")
    prompt = kept(chat, visitor, "Tell me of a fox.")
    before = rows(store)

    assert choose(chat, tester, tested) == "test"
    assert choose(chat, tester, prompt) == "there", "somebody else's"
    assert choose(chat, visitor, prompt, conversation="c2") == "there", "of another conversation"
    assert choose(chat, visitor, prompt, texts=("Ask ann.smith@example.com", "No.")) == "pii"
    assert rows(store) == before


def test_a_campaign_that_was_paused_takes_no_choices(lab: Lab, chat: Chats) -> None:
    visitor = agree(lab.store, "token")
    first, second = (kept(chat, visitor, f"Tell me of a {one}.") for one in ("fox", "hare"))
    choose(chat, visitor, first)
    with lab.store.write() as connection:
        theirs = campaigns.get_campaign(connection, name=chats.CAMPAIGN)
        oversight.pause(connection, NOW, "test", theirs)

    assert choose(chat, visitor, second, uuid="later") == "closed"


def test_users_are_no_labelers(lab: Lab, chat: Chats) -> None:
    visitor = agree(lab.store, "token")
    with lab.store.write() as connection:
        made = campaigns.add_campaign(
            connection, NOW, "test", name="any", form="rank", cohort="any", purpose="practice",
            asks_ratings=False,
        )  # fmt: skip
        policy = prompts.add_policy(connection, NOW, name="m", sha256="x", sampling={})
        lab._task(connection, made, policy, 4, "train")
        opened = campaigns.set_state(connection, NOW, "test", made, "open")

    with pytest.raises(JudgmentError, match="only active labelers"):
        lab.claim(visitor.user, opened)
    prompt = kept(chat, visitor, "Tell me of a fox.")
    choose(chat, visitor, prompt)
    with lab.store.read() as connection:
        theirs = campaigns.get_campaign(connection, name=chats.CAMPAIGN)
    assert lab.claim(lab.labeler(), theirs) is None


def test_what_is_kept_of_a_user_can_be_read(store: Store, chat: Chats) -> None:
    visitor, other = agree(store, "token"), agree(store, "other")
    prompt = kept(chat, visitor, "Tell me of a fox.")
    kept(chat, visitor, "Tell me of a bear.", "c2")
    kept(chat, other, "Tell me of a hare.", "c3")
    choose(chat, visitor, prompt, "second")

    with store.read() as connection:
        found = chats.kept_of(connection, visitor)

    assert found["user"] == visitor.user.public_id
    assert [one["id"] for one in found["conversations"]] == ["c1", "c2"]
    [said] = found["conversations"][0]["messages"]
    assert said["text"] == "Tell me of a fox."
    assert said["choices"] == [
        {
            "chosen_at": NOW,
            "answers": [
                {"text": "A fox ran.", "model": "ppo", "rank": 2},
                {"text": "No.", "model": "sft", "rank": 1},
            ],
        }
    ]


# --- erased ---


def test_a_conversation_is_erased_and_the_others_stay(store: Store, chat: Chats) -> None:
    visitor, other = agree(store, "token"), agree(store, "other")
    for user, conversation, said in (
        (visitor, "c1", "Tell me of a fox."),
        (visitor, "c2", "Tell me of a hare."),
        (other, "c1", "Tell me of a bear."),
    ):
        prompt = kept(chat, user, said, conversation)
        choose(chat, user, prompt, uuid=said, conversation=conversation)

    erased = erasure.erase(store, NOW, visitor.user.public_id, visitor, "c1")

    assert (erased.prompts, erased.choices) == (1, 1)
    assert erased.rows == {
        **{"assignments": 1, "completions": 2, "prompts": 1, "rank_entries": 2, "slots": 1},
        **{"submissions": 1, "task_items": 2, "tasks": 1},
    }
    with store.read() as connection:
        assert [row.text for row in prompts.each_prompt(connection)] == [
            "Tell me of a hare.",
            "Tell me of a bear.",
        ]
        assert len([*each_export(connection, ExportConfig(kind="rankings"))]) == 2
        assert events.audit(connection).findings == ()


def test_everything_of_a_user_is_erased_with_what_labelers_said_of_it(
    lab: Lab, chat: Chats
) -> None:
    store, labeler = lab.store, lab.labeler("ann")
    mine = lab.campaign([4])
    before = rows(store)
    visitor = agree(store, "token")
    prompt = kept(chat, visitor, "Tell me of a fox.")
    choose(chat, visitor, prompt)
    with store.write() as connection:
        campaign = campaigns.add_campaign(
            connection, NOW, "test", name="theirs", form="rank", asks_ratings=False
        )
        policy = prompts.add_policy(connection, NOW, name="m", sha256="x", sampling={})
        texts = [Completion(text=f"{n}", model="m", finished=True, tokens=1) for n in range(4)]
        ids = prompts.add_completions(connection, prompt, policy, texts)
        campaigns.add_task(connection, campaign, prompt_id=prompt, completion_ids=ids)
        campaign = campaigns.set_state(connection, NOW, "test", campaign, "open")
    task = lab.claim(labeler, campaign)
    assert task is not None
    lab.rank(labeler, task, [1, 2, 3, 4])
    from alignloop.store import queue

    with store.write() as connection:
        queue.reopen(connection, NOW, labeler, task.public_id)
    lab.rank(labeler, task, [4, 3, 2, 1])
    own = lab.claim(labeler, mine)
    assert own is not None
    lab.rank(labeler, own, [1, 2, 3, 4])

    erased = erasure.erase(store, NOW, "command", visitor)

    assert (erased.prompts, erased.choices) == (1, 1)
    assert erased.rows["submissions"] == 3
    after = rows(store)
    assert after["submissions"] == 1
    for table in ("prompts", "authors", "completions", "tasks", "users"):
        assert after[table] == before[table], table
    assert "visitors" not in after
    assert "erasing" not in after
    with store.read() as connection:
        assert visitors.find(connection, "token") is None
        assert events.audit(connection).findings == ()
        last = next(events.each_event(connection))
    assert (last.actor, last.verb, last.object) == ("command", "erase", visitor.user.public_id)
    assert "fox" not in last.detail
    assert f'"work_ms":{{"{labeler.public_id}":0}}' in last.detail


def test_nobody_erases_what_is_no_user_s_of_the_chat_page(lab: Lab, chat: Chats) -> None:
    lab.campaign([4])

    with pytest.raises(JudgmentError, match="and no other prompt"), lab.store.write() as connection:
        connection.execute(text("insert into erasing (prompt_id) values (1)"))
    visitor = agree(lab.store, "token")
    prompt = kept(chat, visitor, "Tell me of a fox.")
    choose(chat, visitor, prompt)
    for statement, rule in (
        ("delete from submissions", "never deleted"),
        ("delete from rank_entries", "never changed"),
        ("delete from completions", "written once"),
        (f"delete from prompts where id = {prompt}", "is kept unless"),
    ):
        with pytest.raises(JudgmentError, match=rule), lab.store.write() as connection:
            connection.execute(text(statement))


def test_a_submission_that_only_went_missing_is_still_found(store: Store, chat: Chats) -> None:
    visitor = agree(store, "token")
    choose(chat, visitor, kept(chat, visitor, "Tell me of a fox."))
    with store.write() as connection, store.without_guards(connection):
        connection.execute(text("delete from rank_entries"))
        connection.execute(text("delete from submissions"))

    with store.read() as connection:
        [finding] = events.audit(connection).findings
    assert "is gone" in finding.problem


def test_no_byte_of_what_was_erased_is_left_in_the_file(tmp_path: Path) -> None:
    """Texts of all lengths, among others that stay: pages are split, filled and emptied on the way."""
    store = Store.open(tmp_path)
    chat, visitor, other = Chats(store), agree(store, "token"), agree(store, "other")
    secret = "zyxwvut"
    for number in range(24):
        said = f"{secret} number {number} " + "and so on " * (number * 17 % 300)
        prompt = kept(chat, visitor, said, f"c{number}")
        if number % 3 == 0:
            choose(
                chat,
                visitor,
                prompt,
                texts=(f"{secret} a {said}", "No."),
                uuid=str(number),
                conversation=f"c{number}",
            )
        kept(chat, other, f"Stays {number} " + "as it is " * (number * 11 % 100))
    assert secret.encode() in _bytes(tmp_path)

    for number in range(0, 24, 2):
        erasure.erase(store, NOW, "test", visitor, f"c{number}")
    erasure.erase(store, NOW, "test", visitor)

    assert secret.encode() not in _bytes(tmp_path), "while the store is open"
    store.close()
    assert secret.encode() not in _bytes(tmp_path)


def test_an_erasure_says_whether_traces_may_be_left_and_can_be_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alignloop.store.database._BUSY_MS", 50)
    store = Store.open(tmp_path)
    chat, visitor = Chats(store), agree(store, "token")
    name = visitor.user.public_id
    kept(chat, visitor, "zyxwvut fox")
    with store.read() as reading:  # an export, say
        assert [*prompts.each_prompt(reading)]
        held = erasure.erase_named(store, NOW, "command", name)

    again = erasure.erase_named(store, NOW, "command", name)

    assert (held.prompts, held.is_rebuilt) == (1, False)
    assert (again.prompts, again.is_rebuilt) == (0, True)
    assert b"zyxwvut" not in _bytes(tmp_path)
    with pytest.raises(JudgmentError, match="there is no user"):
        erasure.erase_named(store, NOW, "command", "user-nobody")
    store.close()


def test_the_log_takes_no_name_of_a_conversation_that_is_not_there(
    store: Store, chat: Chats
) -> None:
    visitor = agree(store, "token")
    kept(chat, visitor, "Tell me of a fox.")
    before = rows(store)

    assert erasure.erase(store, NOW, "test", visitor, "whatever somebody sends").prompts == 0
    assert rows(store) == before


def test_a_copy_knows_its_users_and_their_agreement(
    store: Store, chat: Chats, tmp_path: Path
) -> None:
    visitor = agree(store, "token")
    choose(chat, visitor, kept(chat, visitor, "Tell me of a fox."))
    transfer.backup(store, tmp_path / "backup.db")
    restored = Store.open(tmp_path / "restored")
    transfer.restore(tmp_path / "backup.db", restored)

    with restored.read() as connection:
        again = visitors.find(connection, "token")
    assert again == visitor
    erasure.erase(restored, NOW, "test", visitor)
    with restored.read() as connection:
        assert [*prompts.each_prompt(connection)] == []
        assert events.audit(connection).findings == ()
    restored.close()


def _bytes(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir() if path.is_file())
