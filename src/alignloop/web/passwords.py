"""Passwords: argon2id, at least twelve characters, none of those that everybody tries."""

from __future__ import annotations

import re
import string
import threading
import unicodedata
from collections.abc import Sequence

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

SHORTEST = 12
"""Characters. Length is what counts (NIST SP 800-63B); no rule asks for signs or capitals."""
LONGEST = 256
"""More would be work for the hash and no safety."""

# Stems of the passwords that lists of leaks have at their top, and that twelve characters are made from by repeating
# or counting on; and what a finger draws on the keyboard.
_COMMON = (
    "password qwerty qwertz azerty letmein welcome iloveyou admin administrator monkey dragon sunshine "
    "princess football baseball master shadow superman batman trustno login changeme secret default abc123 "
    "alignloop labeler researcher"
).split()
_DRAWN = (
    *("qwertyuiopasdfghjklzxcvbnm", "qwertzuiopasdfghjklyxcvbnm", "azertyuiopqsdfghjklmwxcvbn"),
    *("abcdefghijklmnopqrstuvwxyz", "01234567890123456789"),
    *("1qaz2wsx3edc4rfv5tgb6yhn7ujm", "qazwsxedcrfvtgbyhnujm", "1q2w3e4r5t6y7u8i9o0p"),
    *("q1w2e3r4t5y6u7i8o9p0", "zaq12wsxcde34rfvbgt56yhn", "1a2b3c4d5e6f7g8h9i0j"),
    *("asdfghjkl", "zxcvbnm"),
)

_DISGUISES = str.maketrans("@40135$7!", "aaoiessti")

_hasher = PasswordHasher()
# A hash takes 64 MiB for a third of a second: two at a time, and the rest wait.
_at_once = threading.BoundedSemaphore(2)


def complaint(password: str, *known: str) -> str | None:
    """`short`, `long` or `common`, or None where it will do.

    Args:
        known: what everybody knows of its owner, the name and the address: neither is a password, nor nearly one.
    """
    if len(password) < SHORTEST:
        return "short"
    if len(password) > LONGEST:
        return "long"
    said = unicodedata.normalize("NFKC", password).casefold()
    if len(set(said)) < 4 or said.isdigit():
        return "common"
    word = said.strip(string.digits + string.punctuation + " ").translate(_DISGUISES)
    for letters in {_letters(said), _letters(word)} - {""}:
        if any(letters == (stem * len(letters))[: len(letters)] for stem in _COMMON):
            return "common"
    rest = said
    for drawn in (*_DRAWN, *(drawn[::-1] for drawn in _DRAWN), *_names(known)):
        rest = _without(rest, drawn)
    return "common" if len(rest) < 4 else None


def _letters(text: str) -> str:
    return "".join(char for char in text if char.isalpha())


def _names(known: Sequence[str]) -> set[str]:
    """The parts of a name and an address that are long enough to tell."""
    parts = {
        part for one in known for part in re.split(r"[\W_]+", one.casefold()) if len(part) >= 3
    }
    return parts | {one.casefold() for one in known if one}


def _without(password: str, drawn: str) -> str:
    """A password without every run of it, four characters or more, that stands in `drawn`."""
    kept, at = "", 0
    while at < len(password):
        run = 0
        while at + run < len(password) and password[at : at + run + 1] in drawn:
            run += 1
        if run >= min(4, len(drawn)):
            at += run
        else:
            kept += password[at]
            at += 1
    return kept


def hash_password(password: str) -> str:
    """An argon2id hash with its salt and settings."""
    with _at_once:
        return _hasher.hash(_typed(password))


def is_right(password_hash: str | None, password: str) -> bool:
    """Whether it is the password; where there is no account, as much time is spent on saying no."""
    with _at_once:
        try:
            is_same = _hasher.verify(password_hash or _NOBODY, _typed(password))
        except (VerificationError, InvalidHashError):
            return False
    return is_same and password_hash is not None and len(password) <= LONGEST


def is_outdated(password_hash: str) -> bool:
    """Whether it was made with weaker settings than today's, and is to be made anew at this sign-in."""
    return _hasher.check_needs_rehash(password_hash)


def _typed(password: str) -> str:
    """In one form, whatever keyboard it was typed on (NIST SP 800-63B): some write é as one character, some as two."""
    return unicodedata.normalize("NFKC", password[: LONGEST + 1])


_NOBODY = (
    "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHRzb21lc2FsdA$"
    "C4TWUs9rDEvq7w3+J4umqA32aWKB1+DSiRuBfYxFj94"
)
