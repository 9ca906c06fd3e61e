"""Passwords: argon2id, long, none that everybody tries, and as slow for nobody as for somebody."""

from __future__ import annotations

import random
import string
import unicodedata

import pytest
from argon2 import PasswordHasher, extract_parameters
from argon2.low_level import Type
from hypothesis import given
from hypothesis import strategies as st

from alignloop.web import passwords
from alignloop.web.passwords import (
    LONGEST,
    SHORTEST,
    complaint,
    hash_password,
    is_outdated,
    is_right,
)

FINE = "a horse that staples batteries"


def test_a_hash_is_argon2id_with_a_salt_and_opens_for_its_password_alone() -> None:
    first, second = hash_password(FINE), hash_password(FINE)

    assert first != second
    assert extract_parameters(first).type is Type.ID
    assert is_right(first, FINE)
    assert not is_right(first, FINE + " ")
    assert not is_right(first, "")


def test_nobody_s_password_costs_what_anybody_s_does(monkeypatch: pytest.MonkeyPatch) -> None:
    hashed = hash_password(FINE)
    spent: list[object] = []

    class Counted(PasswordHasher):
        def verify(self, hash: str | bytes, password: str | bytes) -> bool:
            spent.append(extract_parameters(str(hash)))
            return super().verify(hash, password)

    monkeypatch.setattr(passwords, "_hasher", Counted())
    assert is_right(hashed, FINE)
    assert not is_right(hashed, "wrong")
    assert not is_right(None, "wrong")
    assert not is_right("", "wrong")

    assert len(spent) == 4
    assert len(set(map(str, spent))) == 1


def test_nobody_has_no_password() -> None:
    for tried in ("", "password", FINE, "x" * 1000):
        assert not is_right(None, tried)


@pytest.mark.parametrize(
    "broken", ["", "not a hash", "$argon2id$v=19$m=65536", "$2b$12$" + "x" * 53]
)
def test_a_broken_hash_opens_for_nothing(broken: str) -> None:
    assert not is_right(broken, FINE)


def test_a_weaker_hash_is_outdated() -> None:
    weak = PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1).hash(FINE)

    assert is_outdated(weak)
    assert is_right(weak, FINE)
    assert not is_outdated(hash_password(FINE))


def test_one_password_typed_on_two_keyboards_is_one() -> None:
    typed = "zwölf Boxkämpfer é"
    decomposed = unicodedata.normalize("NFD", typed)
    assert typed != decomposed

    assert is_right(hash_password(typed), decomposed)


def test_longer_ones_than_are_taken_are_never_right_and_cost_no_more() -> None:
    assert not is_right(hash_password("a" * (LONGEST + 1)), "a" * (LONGEST + 1))
    assert not is_right(hash_password("a" * (LONGEST + 1)), "a" * 1_000_000)


@pytest.mark.parametrize(
    ("password", "problem"),
    [
        ("", "short"),
        ("elevenchars", "short"),
        ("你好世界你好世界你好世", "short"),
        ("x" * (LONGEST + 1), "long"),
        ("password1234", "common"),
        ("Password1234!", "common"),
        ("P@ssw0rd2027", "common"),
        ("passwordpassword", "common"),
        ("administrator1", "common"),
        ("alignloop2027!", "common"),
        ("123456789012", "common"),
        ("000000000000", "common"),
        ("aaaaaaaaaaab", "common"),
        ("abababababab", "common"),
        (" " * 12, "common"),
        ("qwertyuiop12", "common"),
        ("asdfghjkl123", "common"),
        ("1q2w3e4r5t6y", "common"),
        ("zaq12wsxcde3", "common"),
        ("abcdefghijkl", "common"),
        ("lkjihgfedcba", "common"),
        ("ann@example.org", "common"),
        ("AnnExample.org", "common"),
        ("ann.example1", "common"),
        (FINE, None),
        ("tr0ub4dor&3xyz", None),
        ("今天天气很好我们去公园吧", None),
        ("J7#kq9!mZp2x", None),
        ("annual horses in rain", None),
    ],
)
def test_complaints(password: str, problem: str | None) -> None:
    assert complaint(password, "Ann", "ann@example.org") == problem


@given(st.text(max_size=60), st.text(max_size=30), st.emails())
def test_any_text_is_judged(password: str, name: str, email: str) -> None:
    found = complaint(password, name, email)

    assert found in (None, "short", "long", "common")
    if len(password) < SHORTEST:
        assert found == "short"


@given(st.integers(0, 2**63), st.integers(20, 60))
def test_a_long_one_by_chance_will_do(seed: int, length: int) -> None:
    letters = string.ascii_lowercase + string.digits
    # By chance, and not by hypothesis, which tries the runs of keys that it finds in the code.
    assert complaint("".join(random.Random(seed).choices(letters, k=length))) is None
