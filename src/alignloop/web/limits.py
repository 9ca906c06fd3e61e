"""How often something may be asked: a moving window per key, in memory. Sign-ins have their own, in the database."""

from __future__ import annotations

import limits
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter


class RateLimit:
    """At most so many in so many seconds, for each key."""

    def __init__(self, amount: int, seconds: int) -> None:
        self._item = limits.RateLimitItemPerSecond(amount, seconds)
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    def allows(self, key: str) -> bool:
        """Count one more; False where that is one too many."""
        return self._limiter.hit(self._item, key)

    def seconds_left(self, key: str, now: float) -> int:
        """Until the next one is allowed, at least 1."""
        reset = self._limiter.get_window_stats(self._item, key).reset_time
        return max(1, round(reset - now))


def login_wait_ms(failures: int, last_at: int, now: int, free: int = 5) -> int:
    """How long to wait after so many failed sign-ins: nothing for the free ones, then twice as long each time.

    At most a quarter of an hour, in milliseconds.
    """
    if failures < free:
        return 0
    wait = min(2 ** min(failures - free, 10), 900) * 1000
    return max(0, last_at + wait - now)
