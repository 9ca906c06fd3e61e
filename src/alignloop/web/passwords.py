"""Passwords: argon2id, at least twelve characters, none of those that everybody tries."""

from __future__ import annotations

import threading

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError

SHORTEST = 12
"""Characters. Length is what counts (NIST SP 800-63B); no rule asks for signs or capitals."""
LONGEST = 256
"""More would be work for the hash and no safety."""

# Stems of the passwords that lists of leaks have at their top, and that twelve characters are made from by repeating
# or counting on.
_COMMON = (
    "password passw0rd qwerty qwertz azerty letmein welcome iloveyou admin administrator monkey dragon sunshine "
    "princess football baseball master shadow superman batman trustno login changeme secret default abc123 "
    "alignloop labeler"
).split()

_hasher = PasswordHasher()
# A hash takes 64 MiB for a third of a second: two at a time, and the rest wait.
_at_once = threading.BoundedSemaphore(2)


def complaint(password: str) -> str | None:
    """`short`, `long` or `common`, or None where it will do."""
    if len(password) < SHORTEST:
        return "short"
    if len(password) > LONGEST:
        return "long"
    letters = "".join(char for char in password.lower() if char.isalpha())
    is_stem = any(letters in (stem * 4)[: len(letters)] for stem in _COMMON if letters)
    if len(set(password)) < 4 or is_stem or password.isdigit():
        return "common"
    return None


def hash_password(password: str) -> str:
    """An argon2id hash with its salt and settings."""
    with _at_once:
        return _hasher.hash(password)


def is_right(password_hash: str | None, password: str) -> bool:
    """Whether it is the password; where there is no account, as much time is spent on saying no."""
    with _at_once:
        try:
            return _hasher.verify(password_hash or _NOBODY, password) and password_hash is not None
        except (VerifyMismatchError, InvalidHashError):
            return False


def is_outdated(password_hash: str) -> bool:
    """Whether it was made with weaker settings than today's, and is to be made anew at this sign-in."""
    return _hasher.check_needs_rehash(password_hash)


_NOBODY = (
    "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHRzb21lc2FsdA$"
    "C4TWUs9rDEvq7w3+J4umqA32aWKB1+DSiRuBfYxFj94"
)
