"""Case numbers, CPFs and registrations at the bar: found by their form, verified by their check digits."""

import random

import pytest

from worker_client.formats.identifiers import find_identifiers, is_cnj, is_cpf


def cnj(sequence: int, year: int = 2021, branch: int = 8, court: int = 6, origin: int = 1, *, dots: bool = True) -> str:
    """A case number with the check digits of CNJ Resolution 65/2008: 98 - (number * 100 mod 97)."""
    rest = f"{year:04d}{branch}{court:02d}{origin:04d}"
    check = 98 - int(f"{sequence:07d}{rest}00") % 97
    if not dots:
        return f"{sequence:07d}{check:02d}{rest}"
    return f"{sequence:07d}-{check:02d}.{year:04d}.{branch}.{court:02d}.{origin:04d}"


def cpf(nine: str) -> str:
    digits = [int(digit) for digit in nine]
    for _ in range(2):
        rest = sum((len(digits) + 1 - i) * digit for i, digit in enumerate(digits)) % 11
        digits.append(0 if rest < 2 else 11 - rest)
    return "".join(map(str, digits))


def dotted(number: str) -> str:
    return f"{number[:3]}.{number[3:6]}.{number[6:9]}-{number[9:]}"


def test_a_published_case_number_is_verified() -> None:
    # The example of CNJ Resolution 65/2008's manuals, a case of the state court of Ceará of our own data.
    assert is_cnj("00008323520184013202")
    assert not is_cnj("00008323520184013203")


@pytest.mark.parametrize("dash", ["-", "\u2013", "\u2011", "\u0096", ""])
def test_a_case_number_is_found_with_any_dash(dash: str) -> None:
    number = cnj(1234567)
    assert find_identifiers(f"Processo nº {number.replace('-', dash)}, em apenso.").cnj == (
        number.replace("-", "").replace(".", ""),
    )


def test_a_case_number_is_found_without_punctuation_and_at_the_end_of_a_sentence() -> None:
    plain, dotted_one = cnj(7, dots=False), cnj(8)
    assert find_identifiers(f"({plain}) e {dotted_one}.").cnj == (plain, cnj(8, dots=False))


def test_every_wrong_check_digit_is_refused() -> None:
    number = cnj(42, dots=False)
    wrong = [number[:7] + f"{check:02d}" + number[9:] for check in range(100) if f"{check:02d}" != number[7:9]]
    assert not any(is_cnj(other) for other in wrong)


def test_a_case_number_inside_a_longer_number_is_none() -> None:
    assert find_identifiers(f"1{cnj(7, dots=False)} {cnj(7, dots=False)}9").cnj == ()


def test_cpfs_are_counted_when_both_check_digits_are_right() -> None:
    rng = random.Random(5)
    good = [cpf(f"{rng.randrange(10**9):09d}") for _ in range(50)]
    assert all(is_cpf(number) for number in good)
    assert not any(is_cpf(number[:10] + str((int(number[10]) + 1) % 10)) for number in good)
    assert find_identifiers(f"CPF {dotted(good[0])} e {good[1]}; 12345678901").cpf == 2


def test_eleven_equal_digits_are_no_cpf() -> None:
    assert find_identifiers("111.111.111-11 e 000.000.000-00").cpf == 0


def test_a_case_number_holds_no_cpf() -> None:
    numbers = " ".join(cnj(n) for n in range(1, 400))
    found = find_identifiers(numbers)
    assert (len(found.cnj), found.cpf) == (399, 0)


@pytest.mark.parametrize(
    "text",
    [
        "OAB/SP 123.456", "OAB/CE nº 12.345", "OAB-RJ 123456", "(OAB/MG 98.765)", "OAB/SP sob o nº 123.456",
        "inscrito na OAB sob o nº 12.345/PA", "OAB: 123456/SP", "OAB 1.234-A/DF", "oab/sp n. 123456",
        "OAB nº 54.321/RS",
        "OAB : 1234567SP",
    ],
)  # fmt: skip
def test_a_registration_at_the_bar_is_counted_in_its_usual_forms(text: str) -> None:
    assert find_identifiers(f"Adv. Fulano, {text}, pelo autor.").oab == 1


@pytest.mark.parametrize("text", ["a OAB decidiu", "OAB/SP", "OAB/XX 123.456", "SOAB/SP 123.456", "OAB em 2019"])
def test_the_bar_alone_is_no_registration(text: str) -> None:
    assert find_identifiers(text).oab == 0


def test_ordinary_text_holds_nothing() -> None:
    assert find_identifiers("Art. 5º, LV, da CF/88; R$ 1.234,56 em 12/03/2021.") == ((), 0, 0)
