"""What the chat page keeps: nothing before somebody agrees, and then until they take it back or erase it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner
from sqlalchemy import Connection, event

from alignloop.cli.main import app
from alignloop.data.curation.config import CurationConfig
from alignloop.data.curation.spans import KINDS
from alignloop.errors import BusyError
from alignloop.labeling.config import ExportConfig
from alignloop.labeling.export import each_export
from alignloop.serving.page import notice
from alignloop.serving.page.keeping import Keeping
from alignloop.serving.policy import ServedPolicy
from alignloop.store import events, prompts, transfer
from alignloop.store.chats import Chats
from alignloop.store.curation import settle
from alignloop.store.database import Store
from tests.helpers import write_model
from tests.serving.visiting import DAY, Served, Visitor, visited
from tests.store.fresh import fresh_store
from tests.store.test_chats import rows


@pytest.fixture(scope="module")
def policies(tmp_path_factory: pytest.TempPathFactory) -> list[ServedPolicy]:
    return [
        ServedPolicy.load(name, write_model(tmp_path_factory.mktemp(name), seed=seed))
        for name, seed in (("tiny", 3), ("other", 7))
    ]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = fresh_store(tmp_path / "project")
    yield opened
    opened.close()


@pytest.fixture
def served(policies: list[ServedPolicy], store: Store) -> Iterator[Served]:
    with visited(policies, store) as found:
        yield found


@pytest.fixture
def on_the_training_side(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names are drawn, and by them the side: here all are of the training side."""
    monkeypatch.setattr("alignloop.data.curation.examine.side_of", lambda *_: "train")


def kept(store: Store) -> list[str]:
    with store.read() as connection:
        return [row.text for row in prompts.each_prompt(connection)]


def test_without_agreement_nothing_is_kept(served: Served, store: Store) -> None:
    before = rows(store)
    served.lot.side_by_side = True
    visitor = served.visit()

    address = visitor.say("Tell me of a fox.")
    visitor.choose(address, "a")
    visitor.post("/notice", next=address)
    visitor.say("And of a hare.", address)
    visitor.get("/data")

    assert rows(store) == before
    assert "Nothing is kept of you" in visitor.html


def test_what_was_said_before_is_not_kept_nor_what_follows_it(served: Served, store: Store) -> None:
    visitor = served.visit()
    address = visitor.say("Tell me of a fox.")

    visitor.agree()
    visitor.say("Tell me of a hare.", address)

    assert kept(store) == []
    assert "from the next one on" in visitor.html
    visitor.say("Tell me of a bear.")
    assert kept(store) == ["Tell me of a bear."]


def test_what_is_said_after_is_kept_with_its_conversation(served: Served, store: Store) -> None:
    visitor = served.visit()
    visitor.agree()

    address = visitor.say("Tell me of a fox.")
    visitor.say("And of a hare.", address)
    visitor.post(f"{address}/again")
    visitor.post(f"{address}/edit", turn="1", text="And of a bear.")

    assert kept(store) == ["Tell me of a fox.", "And of a hare.", "And of a bear."]
    turns = served.site.conversations._found[address.rpartition("/")[2]].before(1)
    with store.read() as connection:
        _, second, third = prompts.each_prompt(connection)
        assert events.audit(connection).findings == ()
    assert second.history == third.history == [list(turn) for turn in turns]


def test_a_message_is_kept_with_what_its_answer_was_drawn_from(
    served: Served, store: Store
) -> None:
    visitor = served.visit()
    visitor.agree()
    address = visitor.say("Tell me of a fox.")
    policy = served.worker().policy
    served.worker().policy = replace(policy, remembers=False)

    visitor.say("And of a hare.", address)
    served.worker().policy = policy
    for number in range(4):  # until the first turns leave no room
        visitor.say(f"And of bear number {number}, who lives in a wood by a river.", address)

    with store.read() as connection:
        rows = list(prompts.each_prompt(connection))
    assert rows[1].history == [], "it read the last message alone"
    conversation = served.site.conversations._found[address.rpartition("/")[2]]
    for number, row in enumerate(rows):
        said = [list(turn) for turn in conversation.before(number)]
        assert row.history == said[len(said) - len(row.history) :], "the latest of it"
    assert len(rows[-1].history) < 2 * (len(rows) - 1), "old turns were not read any more"


def test_personal_data_is_withheld_and_the_conversation_goes_on(
    served: Served, store: Store, on_the_training_side: None
) -> None:
    visitor = served.visit()
    visitor.agree()

    visitor.say("Write to ann.smith@example.com for me.")

    assert "ann.smith@example.com" in visitor.html
    assert kept(store) == []


def test_taking_it_back_counts_at_once_and_for_the_conversation_under_way(
    served: Served, store: Store
) -> None:
    visitor = served.visit()
    visitor.agree()
    address = visitor.say("Tell me of a fox.")

    visitor.post("/data/withdraw", next="/")
    visitor.say("And of a hare.", address)
    visitor.agree()
    visitor.say("And of a bear.", address)

    assert kept(store) == ["Tell me of a fox."]
    with store.read() as connection:
        said = [row.verb for row in events.each_event(connection, newest_first=False)]
    assert said == ["agree", "withdraw", "agree"]


def test_another_notice_asks_again(
    served: Served, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    visitor = served.visit()
    visitor.agree()
    visitor.post("/notice", next="/")
    monkeypatch.setattr(notice, "WORDING", notice.WORDING + 1)

    visitor.get("/")
    assert "May what you say here be kept?" in visitor.html
    visitor.say("Tell me of a fox.")

    assert kept(store) == []


def test_the_notice_comes_at_first_with_each_conversation_and_again(served: Served) -> None:
    visitor = served.visit()
    in_full = "May what you say here be kept?"
    assert in_full in visitor.html
    assert "checked" not in visitor.html

    visitor.post("/notice", next="/")
    visitor.get("/")
    assert in_full not in visitor.html
    assert "What you say here is not kept, unless you agree." in visitor.html
    address = visitor.say("Tell me of a fox.")
    assert "unless you agree" not in visitor.html

    served.now += 29 * DAY
    visitor.get("/")
    assert in_full not in visitor.html
    served.now += DAY
    visitor.get("/")
    assert in_full in visitor.html
    assert visitor.get(address).status_code == 404, "a day without a word"


@pytest.mark.parametrize(
    ("settings", "says", "says_not"),
    [
        ({}, "is not kept for training where any of these", "takes its place"),
        ({"pii_action": "scrub"}, "a word for its kind takes its place", "is not kept for training where"),
        ({"pii": ["email"]}, "before it: e-mail addresses. Nor", "phone numbers"),
        ({"pii": []}, "Nobody looks for personal data", "Names and postal addresses"),
    ],
)  # fmt: skip
def test_the_notice_says_what_is_done_with_personal_data(
    policies: list[ServedPolicy], store: Store, settings: dict[str, Any], says: str, says_not: str
) -> None:
    with store.write() as connection:
        settle(connection, CurationConfig(**settings))
    with visited(policies[:1], store) as served:
        visitor = served.visit()

        assert says in visitor.html
        assert says_not not in visitor.html
        chinese = served.visit(**{"Accept-Language": "zh"})
        assert ("电话号码" in chinese.html) == ("phone numbers" in visitor.html)


def test_settings_that_change_what_the_notice_says_ask_again(served: Served, store: Store) -> None:
    visitor, slow = served.visit(), served.visit()
    visitor.agree()
    shown = re.search(r'name="notice" value="(\d+)"', slow.html)
    assert shown is not None
    with store.write() as connection:  # the first import of prompts, meanwhile
        settle(connection, CurationConfig(pii_action="scrub"))

    visitor.say("Tell me of a fox.")
    assert kept(store) == []
    visitor.get("/")
    assert "May what you say here be kept?" in visitor.html
    assert slow.post("/data/agree", next="/", notice=shown[1]).status_code == 303
    assert "takes its place" in slow.get("/").text
    slow.say("Tell me of a hare.")
    assert kept(store) == [], "they agreed to what was another notice"
    visitor.agree()
    visitor.say("Tell me of a bear.")
    assert kept(store) == ["Tell me of a bear."]


def test_every_notice_has_a_version_of_its_own() -> None:
    subsets = [
        [kind for at, kind in enumerate(KINDS) if bits >> at & 1] for bits in range(1 << len(KINDS))
    ]
    notices = {
        notice.Notice.of(CurationConfig(pii=tuple(kinds), pii_action=action))
        for kinds in subsets
        for action in ("drop", "scrub")
    }

    assert len({one.version for one in notices}) == len(notices) == 2 * len(subsets) - 1


def test_what_a_form_did_is_told_once_and_by_no_link(served: Served) -> None:
    visitor = served.visit()
    everything = "Everything is erased"

    for query in ("told=erased_all", "told=agreed&told=erased_all"):
        assert everything not in visitor.get(f"/?{query}").text
    visitor.agree()
    assert "You agreed. What you say" in visitor.html
    visitor.get("/")
    assert "You agreed. What you say" not in visitor.html
    visitor.http.cookies.set("alignloop_chat_told", "whatever", path="/")
    assert 'role="status"><' not in visitor.get("/").text


# --- choices ---


@pytest.mark.parametrize("swaps", [False, True])
@pytest.mark.parametrize(("preference", "winner"), [("a", 0), ("b", 1), ("tie", None)])
def test_a_choice_is_a_comparison_that_trainers_get(
    served: Served,
    store: Store,
    on_the_training_side: None,
    preference: str,
    winner: int | None,
    swaps: bool,
) -> None:
    visitor = served.visit()
    visitor.agree()
    served.lot.side_by_side, served.lot.swaps = True, swaps
    address = visitor.say("Tell me of a fox.")
    [turn] = served.site.conversations._found[address.rpartition("/")[2]].turns

    answer = visitor.choose(address, preference)

    assert answer.headers["location"] == address
    visitor.get(address)
    assert "Your choice is kept." in visitor.html
    with store.read() as connection:
        [one] = each_export(connection, ExportConfig(kind="rankings"))
        assert events.audit(connection).findings == ()
    ranking = one.record
    assert [c.model for c in ranking.completions] == ["tiny", "other"]
    assert {c.text for c in ranking.completions} == {a.text for a in turn.answers}
    assert ranking.cohort == "users"
    best = [
        c.model for c, rank in zip(ranking.completions, ranking.ranks, strict=True) if rank == 1
    ]
    assert best == (["tiny", "other"] if winner is None else [turn.answers[winner].model])


def test_two_draws_of_one_policy_can_be_compared(
    policies: list[ServedPolicy], store: Store, on_the_training_side: None
) -> None:
    with visited(policies[:1], store) as served:
        visitor = served.visit()
        visitor.agree()
        served.lot.side_by_side = True
        address = visitor.say("Tell me of a fox.")
        visitor.choose(address, "b")

    with store.read() as connection:
        [one] = each_export(connection, ExportConfig(kind="rankings"))
    assert one.record.ranks == (2, 1)
    assert [c.model for c in one.record.completions] == ["tiny", "tiny"]


def test_a_choice_after_taking_it_back_is_not_kept(served: Served, store: Store) -> None:
    visitor = served.visit()
    visitor.agree()
    served.lot.side_by_side = True
    address = visitor.say("Tell me of a fox.")
    visitor.post("/data/withdraw", next="/")

    visitor.choose(address, "a")

    assert "submissions" not in rows(store)


# --- a database that takes nothing ---


@contextmanager
def that_takes_nothing(store: Store) -> Iterator[None]:
    """Within the block nothing can be written, as on a disk that is full."""
    is_only = [True]

    def begun(connection: Connection) -> None:
        connection.exec_driver_sql(f"PRAGMA query_only={'ON' if is_only[0] else 'OFF'}")

    event.listen(store.engine, "begin", begun)
    yield
    is_only[0] = False


def test_what_cannot_be_kept_is_answered_all_the_same(
    served: Served, store: Store, capfd: pytest.CaptureFixture[str]
) -> None:
    visitor = served.visit()
    visitor.agree()
    with that_takes_nothing(store):
        address = visitor.say("Tell me of a fox.")
        unkept = "The server could not keep this message."
        assert unkept in visitor.html
        assert "said-model" in visitor.html
        visitor.post(f"{address}/again")
        assert unkept in visitor.get(address).text, "the same message"
        with visitor.stream(f"{address}/say", text="And of a hare.") as found:
            *_, last = found
        assert last["html"].count(unkept) == 2
        assert last["problem"] is None

    visitor.say("And of a bear.", address)
    assert kept(store) == ["And of a bear."]
    assert visitor.html.count(unkept) == 2
    counted = 'alignloop_page_not_kept_total{kind="message"} 2.0'
    assert counted in visitor.http.get("/metrics").text
    lines = [line for line in capfd.readouterr().err.splitlines() if "was not kept" in line]
    assert len(lines) == 1
    assert "readonly database" in lines[0]


def test_a_choice_that_cannot_be_kept_counts_for_its_conversation(
    served: Served, store: Store, on_the_training_side: None
) -> None:
    visitor = served.visit()
    visitor.agree()
    served.lot.side_by_side = True
    address = visitor.say("Tell me of a fox.")
    with that_takes_nothing(store):
        answer = visitor.choose(address, "b")

    visitor.get(answer.headers["location"])
    assert "Your choice counts for this conversation, and is not kept." in visitor.html
    assert "your choice: B" in visitor.html
    counted = 'alignloop_page_not_kept_total{kind="choice"} 1.0'
    assert counted in visitor.http.get("/metrics").text
    assert "submissions" not in rows(store)


def test_taking_it_back_counts_even_where_it_cannot_be_noted(served: Served, store: Store) -> None:
    visitor = served.visit()
    visitor.agree()
    address = visitor.say("Tell me of a fox.")
    with that_takes_nothing(store):
        assert visitor.post("/data/withdraw", next="/").status_code == 503

    visitor.say("And of a hare.", address)

    assert kept(store) == ["Tell me of a fox."]


# --- your data ---


def test_what_is_kept_can_be_read_and_taken_along(served: Served, store: Store) -> None:
    visitor = served.visit()
    visitor.agree()
    visitor.say("Tell me of a <fox>.")

    visitor.get("/data")
    found = visitor.get("/data.json")

    assert "Tell me of a &lt;fox&gt;." in visitor.html
    assert "1 message is kept" in visitor.html
    assert found.headers["content-disposition"].startswith("attachment")
    [conversation] = found.json()["conversations"]
    assert conversation["messages"][0]["text"] == "Tell me of a <fox>."
    assert found.json()["user"] in visitor.html
    other = served.visit()
    assert other.get("/data.json").status_code == 404


def erase(visitor: Visitor, **what: str) -> None:
    assert visitor.post("/data/erase", **what).status_code == 303
    visitor.get("/data")


def test_one_conversation_is_erased_and_stays_erased(served: Served, store: Store) -> None:
    visitor = served.visit()
    visitor.agree()
    address = visitor.say("Tell me of a fox.")
    visitor.say("Tell me of a bear.")

    erase(visitor, conversation=address.rpartition("/")[2])
    visitor.say("And of a hare.", address)

    assert kept(store) == ["Tell me of a bear."]


def test_a_message_under_way_does_not_bring_back_what_is_erased(
    served: Served, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    visitor = served.visit()
    visitor.agree()
    address = visitor.say("Tell me of a fox.")
    keep = Chats.keep

    def after_an_erasure(self: Chats, *given: Any) -> Any:
        """Another window erases the conversation while the message waits for the database."""
        other = httpx.post(
            f"{served.url}/data/erase",
            data={"csrf_token": visitor.token, "conversation": address.rpartition("/")[2]},
            cookies=dict(visitor.http.cookies),
            headers={"Origin": served.url},
        )
        assert other.status_code == 303
        return keep(self, *given)

    monkeypatch.setattr(Chats, "keep", after_an_erasure)
    visitor.say("And of a hare.", address)

    assert kept(store) == []


def test_everything_is_erased_from_the_file_and_exports_and_the_browser(
    served: Served, store: Store, tmp_path: Path, on_the_training_side: None
) -> None:
    before = rows(store)
    visitor = served.visit()
    visitor.agree()
    token = visitor.http.cookies["alignloop_chat_visitor"]
    served.lot.side_by_side = True
    address = visitor.say("Tell me of a zyxwvut fox.")
    visitor.choose(address, "a")
    name = visitor.get("/data.json").json()["user"]

    visitor.get("/data")
    erase(visitor, everything="1")

    assert "Nothing is kept of you" in visitor.html
    assert visitor.http.cookies["alignloop_chat_visitor"] != token
    assert visitor.get(address).status_code == 404
    with store.read() as connection:
        assert [*each_export(connection, ExportConfig(kind="rankings"))] == []
        assert events.audit(connection).findings == ()
        log = {row.verb: row for row in events.each_event(connection)}
    detail = json.loads(log["erase"].detail)
    assert log["erase"].object == name
    assert (detail["rows"]["prompts"], detail["rows"]["completions"]) == (1, 2)
    after = rows(store)
    left = {table: after[table] for table in after if after[table] != before.get(table)}
    assert left.keys() == {"campaigns", "events", "policies", "settings"}
    files = b"".join(path.read_bytes() for path in (tmp_path / "project").iterdir())
    assert b"zyxwvut" not in files
    transfer.backup(store, tmp_path / "backup.db")
    assert b"zyxwvut" not in (tmp_path / "backup.db").read_bytes()


def test_an_operator_erases_for_whoever_lost_the_cookie(
    served: Served, store: Store, tmp_path: Path
) -> None:
    visitor = served.visit()
    visitor.agree()
    visitor.say("Tell me of a fox.")
    name = visitor.get("/data.json").json()["user"]
    project = ["--project", str(tmp_path / "project")]

    nobody = CliRunner().invoke(app, ["label", "erase", *project, "user-nobody"])
    erased = CliRunner().invoke(app, ["label", "erase", *project, name])
    audited = CliRunner().invoke(app, ["label", "audit", *project])

    assert nobody.exit_code != 0
    assert erased.exit_code == 0, erased.output
    assert "1 messages and 0 choices erased" in erased.output
    assert audited.exit_code == 0, audited.output
    visitor.get("/data")
    assert "Nothing is kept of you" in visitor.html


def test_a_project_is_for_the_page(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["serve", str(tmp_path), "--project", str(tmp_path)])

    assert done.exit_code == 2
    assert "say --page too" in done.output
    without = ["serve", str(tmp_path), "--page", "--database", "postgresql://localhost/mylab"]
    assert "say --project too" in CliRunner().invoke(app, without).output


def test_a_database_that_is_busy_is_no_bug(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(*_: object) -> None:
        raise BusyError("another transaction came first")

    visitor = served.visit()
    monkeypatch.setattr(Keeping, "find", busy)

    assert visitor.get("/").status_code == 503


def test_the_database_knows_no_token(served: Served, store: Store, tmp_path: Path) -> None:
    visitor = served.visit()
    visitor.agree()
    visitor.say("Tell me of a fox.")

    files = b"".join(path.read_bytes() for path in (tmp_path / "project").iterdir())
    assert visitor.http.cookies["alignloop_chat_visitor"].encode() not in files
    assert re.search(rb"user-[0-9a-f]{32}", files)
