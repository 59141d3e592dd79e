"""Numbers that name a case or a person in Brazil, found in running text. They are counted, never told."""

from __future__ import annotations

import re
from typing import NamedTuple

CNJ_DIGITS, CPF_DIGITS, OAB_DIGITS = 20, 11, 3
# Any dash, because word processors turn the hyphen into others; U+0096 is the dash of a badly decoded Windows text.
DASHES = "\u2010-\u2015\u2212\u0096-"
DASH = f"[{DASHES}]"
# Looked for first: a search that begins with a plain set of characters passes over text ten times as fast.
RUN = re.compile(rf"[0-9][0-9.{DASHES}]{{9,}}[0-9]")
CNJ = re.compile(rf"(?<!\d)\d{{7}}{DASH}?\d\d\.?\d{{4}}\.?\d\.?\d\d\.?\d{{4}}(?!\d)", re.ASCII)
CPF = re.compile(rf"(?<!\d)\d{{3}}\.?\d{{3}}\.?\d{{3}}{DASH}?\d\d(?!\d)", re.ASCII)
_STATE = r"(?:A[CLMP]|BA|CE|DF|ES|GO|M[AGST]|P[ABEIR]|R[JNORS]|S[CEP]|TO)"
_NUMBER = r"(?:\d{1,3}\.\d{3}|\d{3,7})(?!\d)"
_SIGN = r"(?:n\s?(?:[.º°o]{1,3}|úmero)?\s?:?\s?)?"
# OAB/SP 123.456, OAB-SP nº 123456, (OAB: 12.345/CE), inscrito na OAB sob o nº 1.234/PA.
OAB = re.compile(
    rf"\bOAB\s?(?:[/:({DASHES}]\s?)?(?:{_STATE}\b\W{{0,3}}(?:sob\s(?:o\s)?)?{_SIGN}{_NUMBER}"
    rf"|(?:sob\s(?:o\s)?)?{_SIGN}{_NUMBER}(?:{DASH}?[A-Z]\b)?\s?[/{DASHES}]?\s?{_STATE}\b)",
    re.IGNORECASE | re.ASCII,
)


class Identifiers(NamedTuple):
    """What one text holds. cnj: the verified case numbers, 20 digits each; cpf, oab: how many."""

    cnj: tuple[str, ...]
    cpf: int
    oab: int


def find_identifiers(text: str, digits: int = CNJ_DIGITS) -> Identifiers:
    """Case numbers and CPFs whose check digits are right, and registrations at the bar, each as often as it is there.

    digits: how many are in the text, where that is known: most texts hold too few for a long number.
    """
    oab = sum(1 for _ in OAB.finditer(text)) if "OAB" in text or "oab" in text else 0
    runs = RUN.findall(text) if digits >= CPF_DIGITS else []
    return Identifiers(_cnj(runs), sum(is_cpf(_digits(found)) for run in runs for found in CPF.findall(run)), oab)


def _cnj(runs: list[str]) -> tuple[str, ...]:
    return tuple(
        number
        for run in runs
        if len(run) >= CNJ_DIGITS
        for found in CNJ.findall(run)
        if is_cnj(number := _digits(found))
    )


def is_cnj(number: str) -> bool:
    """Whether 20 digits NNNNNNN DD AAAA J TR OOOO bear the right DD.

    With DD moved to the end the number leaves 1 when divided by 97. Source: CNJ Resolution 65/2008, annex VIII
    (ISO 7064:2003, mod 97 base 10). J = 0 names no branch of justice.
    """
    return number[13] != "0" and int(number[:7] + number[9:] + number[7:9]) % 97 == 1


def is_cpf(number: str) -> bool:
    """Whether 11 digits bear the two right check digits; eleven equal digits do, but no one has such a number."""
    digits = [int(digit) for digit in number]
    return len(set(digits)) > 1 and all(
        sum((length + 1 - i) * digits[i] for i in range(length)) * 10 % 11 % 10 == digits[length] for length in (9, 10)
    )


def _digits(found: str) -> str:
    return "".join(c for c in found if c.isdigit())
