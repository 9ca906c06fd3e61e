"""Prompts in bulk: the same rows on SQLite's own path as on SQLAlchemy's, one after the other, whole or not at all."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, Integer, LargeBinary, MetaData, Table, select

from alignloop.errors import StoreError
from alignloop.store import bulk, given, prompt_figures, prompts
from alignloop.store.database import Store
from alignloop.store.prompts import NewPrompt
from alignloop.store.schema import authors, given_answers
from alignloop.store.schema import imports as imports_table
from alignloop.store.schema import prompts as prompts_table
from alignloop.store.words import JSON, Text
from tests.store.conftest import NOW
from tests.workflow.prompts.helpers import everything, imported, some, write


def new(number: int, author: str = "", **changes: Any) -> NewPrompt:
    given: dict[str, Any] = {
        "split": "train",
        "kind": "customer",
        "text": f"Prompt {number} \N{SNOWMAN} \N{GRINNING FACE}",
        "text_digest": number.to_bytes(16, "big"),
        "prefix_digest": None if number % 3 else (number + 2**64).to_bytes(16, "big"),
        "counted_for": author,
    }
    return NewPrompt(author=author or f"author {number}", **(given | changes))


FULL = new(
    7,
    "ann",
    history=(("system", "Be brief."), ("user", "Hi \N{SNOWMAN}"), ("assistant", "Hello.")),
    examples=(("a", "b"),),
    use_case="chat",
    language="en",
    annotations=("ambiguous",),
    details={"id": "x", "group": "g"},
    tokens=12,
    consent=True,
    pii=("email",),
    answers=(("One.", 1, "m", "bob"), ("Two.", 2, "", "bob"), ("Shown.", None, "", "")),
)


def add(store: Store, some: list[NewPrompt], name: str = "a", **counts: Any) -> int:
    with bulk.large_write(store) as connection:
        return prompts.add_import(
            connection,
            NOW,
            "test",
            file=name,
            sha256=name.encode().ljust(32),
            shape="plain",
            new=iter(some),
            counts=counts,
        )


def test_a_prompt_comes_back_with_all_that_was_said_of_it(store: Store) -> None:
    add(store, [FULL, new(8)])

    with store.read() as connection:
        row, other = connection.execute(select(prompts_table).order_by(prompts_table.c.id)).all()
        answers = connection.execute(select(given_answers)).all()

    assert row.history == [
        ["system", "Be brief."],
        ["user", "Hi \N{SNOWMAN}"],
        ["assistant", "Hello."],
    ]
    assert (row.examples, row.annotations, row.pii) == ([["a", "b"]], ["ambiguous"], ["email"])
    assert (row.details, row.consent, row.tokens) == ({"id": "x", "group": "g"}, True, 12)
    assert (row.text, row.text_digest, row.import_id) == (FULL.text, FULL.text_digest, 1)
    assert (other.history, other.details, other.consent) == ([], {}, None)
    assert [tuple(answer) for answer in answers] == [
        (1, 1, "One.", 1, "m", "bob"),
        (1, 2, "Two.", 2, "", "bob"),
        (1, 3, "Shown.", None, "", ""),
    ]
    assert len({row.public_id, other.public_id}) == 2


def test_what_is_known_is_read_up_to_a_prompt_and_after_it(store: Store) -> None:
    add(store, [new(n, "ann" if n < 4 else "bob") for n in range(1, 7)])

    with store.read() as connection:
        assert prompts.last_id(connection) == 6
        texts = set(prompts.text_digests(connection, up_to=4))
        prefixes = set(prompts.prefix_digests(connection, up_to=4))
        counts = prompts.prompts_counted_for(connection, up_to=4)
        later = prompts.digests_after(connection, 4)

    assert texts == {new(n).text_digest for n in range(1, 5)}
    assert prefixes == {new(3).prefix_digest}
    assert counts == {"ann": 3, "bob": 1}
    assert later == {new(5).text_digest, new(6).text_digest, new(6).prefix_digest}


def test_an_import_notes_where_its_prompts_begin_and_reads_its_counts_last(store: Store) -> None:
    add(store, [new(1), new(2)])
    counts: dict[str, Any] = {"kept": 0}

    def counted() -> Iterator[NewPrompt]:
        for number in range(3, 8):
            counts["kept"] += 1
            yield new(number)

    with store.write() as connection:
        about: dict[str, Any] = {"file": "b", "sha256": b"b" * 32, "shape": "plain"}
        prompts.add_import(connection, NOW, "test", new=counted(), counts=counts, **about)

    with store.read() as connection:
        row = prompts.find_import(connection, b"b" * 32)
        assert row is not None and row.counts == {"kept": 5, "first_id": 3}
        ids = connection.execute(select(prompts_table.c.id).where(prompts_table.c.import_id == 2))
        assert sorted(ids.scalars()) == [3, 4, 5, 6, 7]


def test_answers_join_the_prompt_that_stands_once(store: Store) -> None:
    ann, bob = ("A.", 1, "m", "ann"), ("B.", 2, "", "bob")
    shown = ("Yes, it is.", None, "", "")
    add(store, [new(1, answers=[ann, bob]), new(2), new(3, answers=[shown])])
    digest = {n: new(n).text_digest for n in (1, 2, 3, 4)}
    more: list[tuple[bytes, list[given.Answer]]] = [
        (digest[1], [ann, bob]),  # the same
        (digest[1], [bob, ann]),
        (digest[2], [ann, bob]),
        (digest[1], [bob, ann]),  # the same as before
        (digest[3], [("yes,  it IS.", None, "", "bob")]),  # the same, spelled otherwise
        (digest[3], [("No.", None, "", "")]),
        (digest[4], [ann, bob]),  # to a prompt that is not there
    ]

    with store.write() as connection:
        joined = [(row.id, list(answers)) for row, answers in given.join(connection, more)]
    with store.write() as connection:
        again = list(given.join(connection, more))

    assert joined == [(1, [bob, ann]), (2, [ann, bob]), (3, [("No.", None, "", "")])]
    assert again == []
    with store.read() as connection:
        found = {row.id: sets for row, sets in prompt_figures.each_with_answers(connection)}
    assert found == {
        1: [[ann, bob], [bob, ann]],
        2: [[ann, bob]],
        3: [[shown], [("No.", None, "", "")]],
    }


def test_authors_are_written_once_over_blocks_and_imports(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prompts, "_BLOCK", 4)
    monkeypatch.setattr(prompts, "_MOST_AUTHORS", 2)
    some = [new(n, f"author {n % 5}") for n in range(1, 24)]

    add(store, some[:12])
    add(store, some[12:], "b")

    with store.read() as connection:
        keys = connection.execute(select(authors.c.key)).scalars().all()
        rows = connection.execute(
            select(prompts_table.c.text, authors.c.key).join(
                authors, authors.c.id == prompts_table.c.author_id
            )
        ).all()
    assert sorted(keys) == [f"author {n}" for n in range(5)]
    assert {text: key for text, key in rows} == {one.text: one.author for one in some}


def test_an_import_is_whole_or_not_there(store: Store) -> None:
    def breaking() -> Iterator[NewPrompt]:
        yield from (new(n) for n in range(1, 5000))
        raise RuntimeError("the file is broken")

    with pytest.raises(RuntimeError), bulk.large_write(store) as connection:
        prompts.add_import(
            connection, NOW, "x", file="a", sha256=bytes(32), shape="s", new=breaking(), counts={}
        )

    with store.read() as connection:
        assert prompts.last_id(connection) == 0
        assert connection.execute(select(imports_table)).all() == []


def test_writers_of_prompts_take_turns(store: Store) -> None:
    """Ids are the last one's and one more: two at once would take the same."""
    begun, failed = threading.Event(), []

    def slowly() -> Iterator[NewPrompt]:
        yield from (new(n) for n in range(1, 2100))
        begun.set()
        other.join(timeout=0.5)
        yield new(3000)

    def labeler() -> None:
        begun.wait()
        try:
            with store.write() as connection:
                prompts.add_prompts(connection, NOW, [new(4000)])
        except Exception as error:
            failed.append(error)

    other = threading.Thread(target=labeler)
    other.start()
    add(store, slowly())  # type: ignore[arg-type]
    other.join()

    assert failed == []
    with store.read() as connection:
        assert prompts.last_id(connection) == 2101


def test_more_memory_is_given_back(store: Store) -> None:
    if store.dialect != "sqlite":
        with bulk.large_write(store) as connection:
            assert prompts.last_id(connection) == 0
        return

    def cache(connection: Any) -> int:
        return connection.exec_driver_sql("PRAGMA cache_size").scalar_one()

    with store.read() as connection:
        before = cache(connection)
    with bulk.large_write(store) as connection:
        assert cache(connection) < before
    with store.read() as connection:
        assert cache(connection) == before


def test_the_log_of_a_large_transaction_is_cut_even_while_others_have_the_store_open(
    store: Store,
) -> None:
    add(store, [new(n) for n in range(1, 3000)])
    if store.dialect == "sqlite":
        log = f"{store.url.database}-wal"
        with open(log, "rb") as file:
            assert file.seek(0, 2) > 0

    bulk.shrink_log(store)

    if store.dialect == "sqlite":
        with open(log, "rb") as file:
            assert file.seek(0, 2) == 0
    with store.read() as connection:
        assert prompts.last_id(connection) == 2999


def test_a_database_that_cannot_be_written_is_an_error_of_one_line(store: Store) -> None:
    failing = {
        "sqlite": "select no_such_function_(1)",
        "postgresql": "select pg_terminate_backend(pg_backend_pid())",
    }

    with pytest.raises(StoreError) as error, bulk.large_write(store) as connection:
        connection.exec_driver_sql(failing[store.dialect])

    assert "cannot be written" in str(error.value) and "\n" not in str(error.value)


def test_rows_in_bulk_are_encoded_as_sqlalchemy_does(tmp_path: Any) -> None:
    store = Store.open(str(tmp_path / "x.db"))
    table = Table(
        "scratch",
        MetaData(),
        Column("id", Integer, primary_key=True),
        Column("order", JSON),  # a word of SQL's
        Column("text", Text),
        Column("blob", LargeBinary),
    )
    values: list[Any] = [[], {}, (), "", 0, None, [["\N{SNOWMAN} \0", None]], {"a": [1.5, True]}]
    with store.write() as connection:
        table.create(connection)
        rows = [(n, value, f"{n}\0", bytes([n])) for n, value in enumerate(values)]
        bulk.insert_many(connection, table, ("id", "order", "text", "blob"), rows)
        bulk.insert_many(connection, table, ("id", "order"), [])
        as_bulk = connection.exec_driver_sql("select * from scratch order by id").all()
        connection.execute(table.delete())
        connection.execute(
            table.insert(),
            [dict(zip(("id", "order", "text", "blob"), row, strict=True)) for row in rows],
        )
        as_usual = connection.exec_driver_sql("select * from scratch order by id").all()
    store.close()

    assert as_bulk == as_usual


def test_a_project_on_either_database_takes_in_the_same(place: str, tmp_path: Path) -> None:
    files = [
        write(tmp_path / "a.jsonl", some(120)),
        write(tmp_path / "b.jsonl", some(60, start=60, users=5)),
    ]
    imported(tmp_path / "usual", *files, overrides=["cap=9"])

    if place.startswith("postgresql"):
        imported(tmp_path / "lab", *files, overrides=["cap=9"], database=place)
        imported(tmp_path / "lab", *files)
        assert (tmp_path / "lab/project.toml").exists()
    else:
        imported(tmp_path / "lab", files[0], overrides=["cap=9"])
        imported(tmp_path / "lab", files[1])

    assert everything(tmp_path / "lab") == everything(tmp_path / "usual")


# --- figures ---


def test_prompts_outside_of_imports_are_found_in_every_gap(store: Store) -> None:
    with store.write() as connection:
        prompts.add_prompts(connection, NOW, [new(1)])
    add(store, [new(n) for n in range(2, 5)], kept=3)
    with store.write() as connection:
        prompts.add_prompts(connection, NOW, [new(5), new(6, details={"id": "a record's"})])
    add(store, [], "empty", kept=0)
    add(store, [new(7)], "b", kept=1)
    with store.write() as connection:
        prompts.add_prompts(connection, NOW, [new(8)])

    with store.read() as connection:
        ranges = [
            (row.counts["first_id"], row.counts["kept"]) for row in prompts.all_imports(connection)
        ]
        found = [row.text for row in prompt_figures.outside_imports(connection, ranges)]

    assert ranges == [(2, 3), (7, 0), (7, 1)]
    assert found == [new(n).text for n in (1, 5, 8)]


def test_customers_are_counted_by_side(store: Store) -> None:
    add(
        store,
        [
            *(new(n, f"user {n % 3}") for n in range(1, 8)),
            new(20, "other", split="test"),
            new(21, counted_for=""),
            new(22, "ann", kind="labeler_plain"),
        ],
    )

    with store.read() as connection:
        found = prompt_figures.customers(connection)

    assert found == {
        "train": prompt_figures.Customers(7, 3),
        "test": prompt_figures.Customers(1, 1),
    }


def test_each_prompt_comes_with_its_answers_and_no_others(store: Store) -> None:
    def answered(number: int, count: int, **changes: Any) -> NewPrompt:
        return new(
            number, answers=[(f"{number} {n}", n, "", "") for n in range(1, count + 1)], **changes
        )

    add(
        store,
        [answered(n, n % 4, kind="customer" if n % 2 else "labeler_plain") for n in range(1, 30)],
    )

    with store.read() as connection:
        found = list(prompt_figures.each_with_answers(connection))
        customers = list(prompt_figures.each_with_answers(connection, kinds=["customer"]))

    assert {row.id: [[a[0] for a in one] for one in answers] for row, answers in found} == {
        n: [[f"{n} {k}" for k in range(1, n % 4 + 1)]] if n % 4 else [] for n in range(1, 30)
    }
    assert {row.id: sum(map(len, answers)) for row, answers in customers} == {
        n: n % 4 for n in range(1, 30, 2)
    }


def test_a_kind_is_looked_at_in_full_or_thinned_out(store: Store) -> None:
    add(store, [new(n, kind="labeler_plain", use_case="chat") for n in range(1, 21)])
    add(store, [new(n) for n in range(21, 30)], "b")

    with store.read() as connection:
        everything = prompt_figures.of_kind(connection, "labeler_plain", most=20)
        some = prompt_figures.of_kind(connection, "labeler_plain", most=7)
        none = prompt_figures.of_kind(connection, "labeler_fewshot", most=7)

    assert everything == [(new(n).text, "chat") for n in range(1, 21)]
    assert some == [everything[n - 1] for n in range(3, 21, 3)]
    assert none == []
