"""Several at once: threads, browsers of one person, and processes, on SQLite and on PostgreSQL at READ COMMITTED."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from alignloop.errors import BusyError, JudgmentError
from alignloop.store import (
    correspondence,
    database,
    drafts,
    events,
    judgments,
    people,
    prompts,
    queue,
    visitors,
)
from alignloop.store.database import Store
from alignloop.store.judgments import RankedOutputs
from tests.store import crowd
from tests.store.conftest import MINUTE, Lab

ROOT = Path(__file__).resolve().parents[2]
RANKING = RankedOutputs({1: 1, 2: 2, 3: 3, 4: 4}, {})


class Beside(threading.Thread):
    """Something that is done at the same time; its error is raised where it is waited for."""

    def __init__(self, what: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self._what = what
        self.result: object = None
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self.result = self._what()
        except BaseException as error:
            self._error = error

    def wait(self) -> object:
        self.join(60)
        assert not self.is_alive(), "it waits for ever"
        if self._error is not None:
            raise self._error
        return self.result


def test_whose_lease_ran_out_and_who_hands_in_at_that_moment_keeps_the_slot(lab: Lab) -> None:
    slow, quick, campaign = lab.labeler(), lab.labeler(), lab.campaign()
    task = lab.claim(slow, campaign)
    assert task is not None

    with lab.store.write() as connection:
        held = queue.get_assignment(connection, slow, task.public_id, to_change=True)
        other = Beside(lambda: lab.claim(quick, campaign, after=61 * MINUTE))
        if lab.store.dialect == "postgresql":
            assert other.wait() is None  # at once: nobody waits for another's assignment
        done = judgments.submit(
            connection, lab.now + 61 * MINUTE, slow, held.public_id, RANKING, client_uuid="a"
        )

    assert done.is_surplus is False
    assert other.wait() is None


def test_a_claim_passes_over_a_slot_whose_owner_is_at_it(lab: Lab) -> None:
    slow, quick, campaign = lab.labeler(), lab.labeler(), lab.campaign([4, 5])
    first = lab.claim(slow, campaign)
    assert first is not None
    if lab.store.dialect == "sqlite":
        return  # one writer: there is no such moment

    with lab.store.write() as connection:
        queue.get_assignment(connection, slow, first.public_id, to_change=True)
        other = lab.claim(quick, campaign, after=61 * MINUTE)

    assert other is not None
    assert other.task_id != first.task_id


def test_late_work_leaves_a_slot_to_an_owner_who_is_at_it(lab: Lab) -> None:
    late, owner, campaign = lab.labeler(), lab.labeler(), lab.campaign()
    lost = lab.claim(late, campaign)
    taken = lab.claim(owner, campaign, after=61 * MINUTE)
    assert lost is not None
    assert taken is not None

    def hand_in() -> judgments.Submitted:
        return lab.rank(late, lost, [1, 2, 3, 4], after=130 * MINUTE)

    with lab.store.write() as connection:
        queue.get_assignment(connection, owner, taken.public_id, to_change=True)
        other = Beside(hand_in)
        if lab.store.dialect == "postgresql":
            assert other.wait().is_surplus is True  # type: ignore[attr-defined]
        done = judgments.submit(
            connection, lab.now + 130 * MINUTE, owner, taken.public_id, RANKING, client_uuid="a"
        )

    other.wait()
    assert done.is_surplus is False


def test_two_browsers_of_one_person_hand_in_and_claim_without_waiting_for_ever(lab: Lab) -> None:
    user, campaign = lab.labeler(), lab.campaign([4] * 3)
    task = lab.claim(user, campaign)
    assert task is not None

    with lab.store.write() as connection:
        judgments.submit(connection, lab.now, user, task.public_id, RANKING, client_uuid="a")
        other = Beside(lambda: lab.claim(user, campaign))
        other.join(0.2)  # it is in line by now, or will be: both have to end
        following = queue.claim(connection, lab.now, user, campaign)

    assert following is not None
    assert other.wait().public_id == following.public_id  # type: ignore[attr-defined]


def test_an_autosave_and_a_submission_at_once(lab: Lab) -> None:
    user, campaign = lab.labeler(), lab.campaign()
    task = lab.claim(user, campaign)
    assert task is not None

    def save() -> int:
        with lab.store.write() as connection:
            return drafts.save_draft(connection, lab.now, user, task.public_id, {}, rev=0)

    with lab.store.write() as connection:
        people.in_line(connection, user)
        queue.get_assignment(connection, user, task.public_id, to_change=True)
        other = Beside(save)
        other.join(0.2)
        judgments.submit(connection, lab.now, user, task.public_id, RANKING, client_uuid="a")

    with pytest.raises(Exception, match="submitted already"):
        other.wait()


def test_one_acknowledgement_of_two_clicks(lab: Lab) -> None:
    user = lab.labeler()
    with lab.store.write() as connection:
        version = correspondence.add_guideline(
            connection, lab.now, "test", purpose="training", version=1, locale="en", body="Be kind."
        )

    def acknowledge() -> None:
        with lab.store.write() as connection:
            correspondence.acknowledge(connection, lab.now, user, version)

    for clicks in [[Beside(acknowledge) for _ in range(6)]]:
        for click in clicks:
            click.wait()
    with lab.store.read() as connection:
        noted = [row.verb for row in events.each_event(connection)].count("acknowledge")
    assert noted == 1


def test_one_of_two_clicks_on_an_invitation(lab: Lab) -> None:
    user = lab.labeler(state="invited")
    with lab.store.write() as connection:
        token = people.invite(connection, lab.now, "test", user)

    def accept() -> object:
        with lab.store.write() as connection:
            return people.accept_invitation(
                connection, lab.now, token, name="Ann", password_hash="x"
            )

    clicks = [Beside(accept) for _ in range(6)]
    assert sum(click.wait() is not None for click in clicks) == 1


def test_one_agreement_of_two_clicks_and_one_withdrawal(lab: Lab) -> None:
    met = threading.Barrier(6, timeout=30)

    def agree() -> visitors.Visitor:
        met.wait()
        with lab.store.write() as connection:
            return visitors.agree(connection, lab.now, "a token", 1, "en")

    users = [click.wait() for click in [Beside(agree) for _ in range(6)]]
    assert isinstance(users[0], visitors.Visitor)
    assert {one.user.public_id for one in users} == {users[0].user.public_id}  # type: ignore[attr-defined]
    user = users[0]

    def withdraw() -> None:
        met.wait()
        with lab.store.write() as connection:
            visitors.withdraw(connection, lab.now, user)

    for click in [Beside(withdraw) for _ in range(6)]:
        click.wait()
    with lab.store.read() as connection:
        noted = [row.verb for row in events.each_event(connection, newest_first=False)]
    assert noted == ["agree", "withdraw"]


def test_prompts_written_at_once_are_all_kept(lab: Lab) -> None:
    def write(number: int) -> int:
        new = prompts.NewPrompt(
            author=f"labeler/{number % 2}",
            split="train",
            kind="labeler_plain",
            text=f"number {number}",
            text_digest=number.to_bytes(16, "big"),
        )
        with lab.store.write() as connection:
            [found] = prompts.add_prompts(connection, lab.now, [new])
            return found

    writers = [Beside(lambda number=number: write(number)) for number in range(8)]
    assert len({writer.wait() for writer in writers}) == 8


def test_the_log_of_many_writers_is_one_chain(lab: Lab) -> None:
    def note() -> None:
        for _ in range(10):
            with lab.store.write() as connection:
                events.append(connection, lab.now, "test", "note", "x")

    for writer in [Beside(note) for _ in range(6)]:
        writer.wait()
    with lab.store.read() as connection:
        found = events.audit(connection)
    assert (found.entries, found.findings) == (60, ())


@pytest.mark.parametrize("overlap", [1, 2])
def test_a_crowd_in_one_process_loses_and_doubles_nothing(lab: Lab, overlap: int) -> None:
    _prepare(lab, overlap)
    told = crowd.crowd(str(lab.store.url.render_as_string(hide_password=False)), overlap)

    assert told.problems == []
    _check(lab, told.acknowledged, dict(told.done))


@pytest.mark.full
@pytest.mark.parametrize("seed", range(5))
def test_crowds_in_two_processes_lose_and_double_nothing(lab: Lab, seed: int) -> None:
    _prepare(lab, 1 + seed % 3)
    place = lab.store.url.render_as_string(hide_password=False)
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.store.crowd", place, str(2 * seed + number)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    told = [json.loads(process.communicate()[0]) for process in started]

    assert [one["problems"] for one in told] == [[], []]
    _check(lab, [*told[0]["acknowledged"], *told[1]["acknowledged"]], told[0]["done"])


def _prepare(lab: Lab, overlap: int) -> None:
    for _ in range(4):
        lab.labeler()
    lab.campaign([4] * 40, overlap=overlap)


def _check(lab: Lab, acknowledged: list[str], done: dict[str, int]) -> None:
    """Nothing is wrong, and everything that can happen has happened."""
    with lab.store.read() as connection:
        assert crowd.problems_of(connection, acknowledged) == []
    assert {"claim", "submit", "draft", "reopen", "skip", "refused"} <= set(done)


def test_reopened_work_that_is_skipped_is_withdrawn_and_wanted_again(lab: Lab) -> None:
    user, other, campaign = lab.labeler(), lab.labeler(), lab.campaign()
    task = lab.claim(user, campaign)
    assert task is not None
    done = lab.rank(user, task, [1, 2, 3, 4])
    with lab.store.write() as connection:
        again = queue.reopen(connection, lab.now, user, task.public_id)
        queue.skip(connection, lab.now, user, again.public_id, "unclear: on second thoughts")

    with lab.store.read() as connection:
        assert crowd.problems_of(connection, [done.public_id]) == []
    taken = lab.claim(other, campaign)
    assert taken is not None
    assert lab.rank(other, taken, [1, 1, 1, 1]).is_surplus is False
    with pytest.raises(JudgmentError, match="ten minutes"), lab.store.write() as connection:
        queue.reopen(connection, lab.now, user, task.public_id)


def test_a_new_database_is_its_owner_s_alone(tmp_path: Path) -> None:
    Store.open(tmp_path).close()

    assert {path.stat().st_mode & 0o777 for path in tmp_path.glob("alignloop.db*")} == {0o600}


def test_one_store_is_served_once_whatever_links_lead_to_it(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    first = Store.open(tmp_path / "real")
    lock = first.alone()
    (tmp_path / "file.db").symlink_to(tmp_path / "real" / "alignloop.db")
    (tmp_path / "folder").symlink_to(tmp_path / "real")

    for place in ("file.db", "folder"):
        second = Store.open(tmp_path / place)
        with pytest.raises(Exception, match="served by another process"):
            second.alone()
        second.close()
    assert lock is not None
    lock.release()
    first.close()


def test_errors_of_the_database_quote_nothing(store: Store) -> None:
    from sqlalchemy import text

    with pytest.raises(Exception, match="no_such_table") as caught, store.write() as connection:
        connection.execute(text("select * from no_such_table where x = :x"), {"x": "a secret"})

    assert "a secret" not in str(caught.value)


def test_a_writer_that_another_process_keeps_waiting_is_told_to_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_BUSY_MS", 10)
    first, second = Store.open(tmp_path), Store.open(tmp_path)
    with first.write() as connection:
        events.append(connection, 0, "test", "note", "x")
        with pytest.raises(BusyError, match="try again") as caught, second.write() as _:
            pass
        with second.read() as reading:  # readers need not wait
            assert events.audit(reading).entries == 0

    assert caught.value.at_once is False


def test_a_deadlock_asks_for_the_same_again(lab: Lab) -> None:
    if lab.store.dialect == "sqlite":
        return  # one writer at a time cannot have any
    users, met = [lab.labeler(), lab.labeler()], threading.Barrier(2, timeout=30)

    def lock(first: int, second: int) -> None:
        with lab.store.write() as connection:
            people.in_line(connection, users[first])
            met.wait()
            people.in_line(connection, users[second])

    both = [Beside(lambda: lock(0, 1)), Beside(lambda: lock(1, 0))]
    errors: list[BaseException] = []
    for one in both:
        try:
            one.wait()
        except BusyError as error:
            errors.append(error)

    assert [error.at_once for error in errors if isinstance(error, BusyError)] == [True]


def test_the_log_keeps_no_names(lab: Lab) -> None:
    user = lab.labeler()
    with lab.store.write() as connection:
        token = people.invite(connection, lab.now, "test", user)
        people.accept_invitation(
            connection, lab.now, token, name="Wilhelmina Secret", password_hash="x"
        )
        people.change_user(
            connection, lab.now, "test", user, name="Other Secret", topics=["Secret topic"]
        )
        told = " ".join(f"{row.object} {row.detail}" for row in events.each_event(connection))

    assert "change user" in {row.verb for row in _events(lab)}
    assert "Secret" not in told


def _events(lab: Lab) -> list[object]:
    with lab.store.read() as connection:
        return list(events.each_event(connection))
