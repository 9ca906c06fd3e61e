"""Numbers that carry their own proof: cards, bank accounts, Chinese resident ids."""

from __future__ import annotations

from datetime import date

_IBAN_LENGTHS = {
    pair[:2]: int(pair[2:])
    for pair in (
        "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 EG29 "
        "ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 "
        "LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 "
        "PT25 QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 "
        "YE30"
    ).split()
}
_PROVINCES = frozenset(
    "11 12 13 14 15 21 22 23 31 32 33 34 35 36 37 41 42 43 44 45 46 50 51 52 53 54 61 62 63 64 65 71 81 82 83".split()
)
_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_CHECKS = "10X98765432"
_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)
_BRANDS: tuple[tuple[range, tuple[int, ...]], ...] = (
    (range(4000, 5000), (13, 16, 19)),  # Visa
    (range(5100, 5600), (16,)),  # Mastercard
    (range(2221, 2721), (16,)),
    (range(3400, 3500), (15,)),  # American Express
    (range(3700, 3800), (15,)),
    (range(3000, 3060), (14,)),  # Diners Club
    (range(3600, 3700), (14,)),
    (range(3800, 4000), (14,)),
    (range(3528, 3590), (16, 17, 18, 19)),  # JCB
    (range(6011, 6012), (16,)),  # Discover
    (range(6440, 6600), (16,)),
    (range(6200, 6300), (16, 17, 18, 19)),  # UnionPay
)


def luhn(digits: str) -> bool:
    """Whether the last digit is the check digit of the others (ISO/IEC 7812)."""
    total = sum(map(int, digits[-1::-2])) + sum(_DOUBLED[int(digit)] for digit in digits[-2::-2])
    return total % 10 == 0


def is_card(digits: str) -> bool:
    """Whether a payment card may have this number: a brand's first digits and length, and Luhn's check."""
    if not 13 <= len(digits) <= 19:
        return False
    first = int(digits[:4])
    return any(first in firsts and len(digits) in lengths for firsts, lengths in _BRANDS) and luhn(
        digits
    )


def iban_length(country: str) -> int | None:
    """Characters of an account number of that country, without spaces; None where the country has none."""
    return _IBAN_LENGTHS.get(country)


def is_iban(text: str) -> bool:
    """Whether capital letters and digits, without spaces, are an account number (ISO 13616, remainder 1 modulo 97)."""
    if len(text) != _IBAN_LENGTHS.get(text[:2]):
        return False
    moved = text[4:] + text[:4]
    return int("".join(str(int(sign, 36)) for sign in moved)) % 97 == 1


def is_resident_id(text: str) -> bool:
    """Whether 18 characters are a Chinese resident id: a province, a date of birth, and the check (GB 11643)."""
    if len(text) != 18 or text[:2] not in _PROVINCES or not text[:17].isdecimal():
        return False
    try:
        date(int(text[6:10]), int(text[10:12]), int(text[12:14]))
    except ValueError:
        return False
    total = sum(int(digit) * weight for digit, weight in zip(text[:17], _WEIGHTS, strict=True))
    return _CHECKS[total % 11] == text[17].upper()
