"""How often something may be asked, and how long a wrong password has to wait."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignloop.web.limits import RateLimit, login_wait_ms


def test_so_many_and_no_more_for_each_key() -> None:
    limit = RateLimit(3, 3600)

    assert [limit.allows("ann") for _ in range(5)] == [True, True, True, False, False]
    assert limit.allows("bob")


@pytest.mark.parametrize(
    ("failures", "seconds"),
    [
        (0, 0),
        (4, 0),
        (5, 1),
        (6, 2),
        (7, 4),
        (10, 32),
        (14, 512),
        (15, 900),
        (1000, 900),
        (10**9, 900),
    ],
)
def test_each_failure_doubles_the_wait(failures: int, seconds: int) -> None:
    assert login_wait_ms(failures, 50_000, 50_000) == seconds * 1000


def test_the_wait_is_from_the_last_failure_and_passes() -> None:
    assert login_wait_ms(7, 10_000, 11_000) == 3000
    assert login_wait_ms(7, 10_000, 14_000) == 0
    assert login_wait_ms(7, 10_000, 20_000) == 0


def test_more_may_be_free() -> None:
    assert login_wait_ms(19, 0, 0, free=20) == 0
    assert login_wait_ms(20, 0, 0, free=20) == 1000


@given(st.integers(0, 10**6), st.integers(0, 10**13), st.integers(0, 10**13), st.integers(1, 50))
def test_no_wait_is_negative_or_longer_than_a_quarter_of_an_hour(
    failures: int, last: int, later: int, free: int
) -> None:
    now = last + later
    wait = login_wait_ms(failures, last, now, free)

    assert 0 <= wait <= 900_000
    assert wait <= login_wait_ms(failures + 1, last, now, free)
