"""Sizes and CPUs: tables, and Kubernetes' own client as the judge."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils import _quantity
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._quantity import quantity, to_bytes, to_millicpu
from hypothesis import given
from hypothesis import strategies as st
from kubernetes.utils.quantity import parse_quantity

SUFFIXES = ["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"]
EXPONENTS = ["e3", "E3", "e+3", "E-3", "e09", "E18", "e-9"]
NUMBERS = st.from_regex(r"\+?(0|[1-9][0-9]{0,8})(\.[0-9]{0,6})?", fullmatch=True)
NONSENSE: list[Any] = [
    None,
    True,
    False,
    "",
    " ",
    "1 2",
    "ten",
    "-",
    "-1",
    -1,
    -0.5,
    "nan",
    "inf",
    float("nan"),
    float("inf"),
    float("-inf"),
    [],
    {},
]
NONSENSE += [
    "1e",
    "1ki",
    "1KI",
    "1MI",
    "1gb",
    "8GBs",
    "1e1k",
    "1e3Mi",
    "0x10",
    "1_000",
    "1,5",
    "1/2",
    "\u0661",
    "1e999",
    "9" * 41,
    "1  GB",
    ".",
]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, 0),
        (8, 8),
        (0.5, Fraction(1, 2)),
        (0.1, Fraction(1, 10)),
        (1e22, 10**22),
        ("8", 8),
        (" 8GB ", 8 * 10**9),
        ("8 GB", 8 * 10**9),
        ("8GiB", 8 * 2**30),
        ("8 GiB", 8 * 2**30),
        ("7.5Gi", 7.5 * 2**30),
        ("1500m", Fraction(3, 2)),
        ("1E", 10**18),
        ("1E3", 1000),
        ("1e3", 1000),
        ("1e-3", Fraction(1, 1000)),
        ("1E+2", 100),
        ("1Ei", 2**60),
        ("1kB", 1000),
        ("1KB", 1000),
        ("1KiB", 1024),
        ("12B", 12),
        ("1.92TB", 1920 * 10**9),
        ("3PiB", 3 * 2**50),
        ("2PB", 2 * 10**15),
        ("+1Ki", 1024),
        (".5Ki", 512),
        ("5.", 5),
        ("100u", Fraction(1, 10**4)),
        ("1n", Fraction(1, 10**9)),
    ],
    ids=repr,
)
def test_quantities(value: Any, expected: Any) -> None:
    assert quantity(value) == expected


@pytest.mark.parametrize("value", NONSENSE, ids=repr)
@pytest.mark.parametrize("parse", [quantity, to_bytes, to_millicpu, _quantity.whole], ids=lambda parse: parse.__name__)
def test_nonsense_is_told(parse: Callable[[Any], Any], value: Any) -> None:
    with pytest.raises(ValueError, match=r"found .+, expected a (quantity|number|whole number)"):
        parse(value)


def test_the_error_says_what_would_be_right() -> None:
    with pytest.raises(ValueError) as told:
        quantity("ten")
    assert str(told.value) == "found 'ten', expected a quantity such as 8GB, 7.5Gi or 1500m"


@pytest.mark.parametrize(
    ("value", "millis"),
    [
        (2, 2000),
        ("2", 2000),
        ("1500m", 1500),
        ("0.5", 500),
        (0.1, 100),
        (0, 0),
        ("1u", 1),
        ("100.5m", 101),
        ("1e1", 10000),
    ],
    ids=repr,
)
def test_cpus(value: Any, millis: int) -> None:
    assert to_millicpu(value) == millis


@pytest.mark.parametrize("value", ["2GB", "1Ki", "2k", "2B", "1E", "8 GiB"])
def test_a_size_is_no_number_of_cpus(value: str) -> None:
    with pytest.raises(ValueError, match=f"found '{value}', expected a number of CPUs such as 2 or 1500m"):
        to_millicpu(value)


@pytest.mark.parametrize(("value", "expected"), [("1500m", 2), ("0.1", 1), ("1n", 1), ("0", 0), ("1.5Ki", 1536)])
def test_part_of_a_byte_is_a_byte(value: str, expected: int) -> None:
    assert to_bytes(value) == expected


@pytest.mark.parametrize(("value", "expected"), [(2, 2), ("3", 3), (4.0, 4), ("1e2", 100)], ids=repr)
def test_whole_numbers(value: Any, expected: int) -> None:
    assert _quantity.whole(value) == expected


@pytest.mark.parametrize("value", ["1.5", "1500m", 0.5])
def test_half_a_thing(value: Any) -> None:
    with pytest.raises(ValueError, match="expected a whole number such as 2"):
        _quantity.whole(value)


@pytest.mark.parametrize(
    ("value", "expected"), [("60%", Fraction(3, 5)), ("0%", 0), (" 100 % ", 1), ("2.5%", Fraction(1, 40))]
)
def test_percentages(value: str, expected: Any) -> None:
    assert _quantity.percentage(value) == expected


@pytest.mark.parametrize("value", ["101%", "-1%", "%", "60", "1k%", "60%%", "nan%"])
def test_percentages_that_are_none(value: str) -> None:
    with pytest.raises(ValueError, match="expected a share between 0% and 100%"):
        _quantity.percentage(value)


def test_an_error_says_where_it_stands() -> None:
    with pytest.raises(ValueError, match=r"^plan\.engine\.memory: found 'lots', expected a quantity"):
        _quantity.at("plan.engine.memory", to_bytes, "lots")


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (1536, "1.5 KiB"),
        (512 * 2**20, "512.0 MiB"),
        (7945689497, "7.4 GiB"),
        (1788 * 2**30, "1788.0 GiB"),
    ],
)
def test_bytes_for_people(size: int, text: str) -> None:
    assert _quantity.show_bytes(size) == text


@pytest.mark.parametrize(("millis", "text"), [(0, "0"), (2000, "2"), (1500, "1500m"), (512000, "512"), (1, "1m")])
def test_cpus_for_people(millis: int, text: str) -> None:
    assert _quantity.show_cpu(millis) == text


@given(NUMBERS, st.sampled_from(SUFFIXES + EXPONENTS))
def test_kubernetes_reads_the_same(number: str, suffix: str) -> None:
    # The client multiplies decimals of 28 digits: a little rounding is its own.
    expected = Fraction(parse_quantity(number + suffix))
    assert abs(quantity(number + suffix) - expected) <= expected / 10**20


@given(st.integers(0, 10**15))
def test_shown_cpus_are_read_again(millis: int) -> None:
    assert to_millicpu(_quantity.show_cpu(millis)) == millis


@given(st.integers(0, 2**60))
def test_shown_bytes_are_read_again_within_what_is_shown(size: int) -> None:
    text = _quantity.show_bytes(size)
    unit = next((unit for name, unit in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)) if name in text), 1)
    assert abs(quantity(text.replace(" bytes", "")) - size) <= Fraction(unit, 20)


@given(st.integers(0, 2**60), st.integers(0, 2**60))
def test_more_is_never_shown_as_less(one: int, other: int) -> None:
    low, high = (quantity(_quantity.show_bytes(size).replace(" bytes", "")) for size in sorted((one, other)))
    assert low <= high


@given(st.integers(0, 10**12), st.integers(0, 10**12), st.sampled_from(SUFFIXES))
def test_more_is_more(one: int, other: int, suffix: str) -> None:
    assert (quantity(f"{one}{suffix}") < quantity(f"{other}{suffix}")) == (one < other)
    assert to_bytes(f"{min(one, other)}{suffix}") <= to_bytes(f"{max(one, other)}{suffix}")


@given(
    st.integers(0, 10**15)
    | st.floats(0, 10**15, allow_subnormal=False).filter(lambda number: number == 0 or number > 1e-90)
)
def test_numbers_mean_themselves(number: float) -> None:
    assert float(quantity(number)) == number
    assert to_bytes(number) == math.ceil(Fraction(repr(number)))


@given(
    st.text()
    | st.from_regex(r"[-+. ]{0,2}[0-9]{0,4}[.e ]?[0-9]{0,3} ?[a-zA-Z%]{0,4}")
    | st.floats()
    | st.integers()
    | st.none()
)
def test_anything_is_a_number_or_a_value_error(value: Any) -> None:
    for parse in (quantity, to_bytes, to_millicpu, _quantity.whole, _quantity.percentage):
        if parse is _quantity.percentage and not isinstance(value, str):
            continue
        try:
            assert parse(value) >= 0
        except ValueError as error:
            assert "found" in str(error) and "expected" in str(error)
