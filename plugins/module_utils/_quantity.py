# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sizes and numbers of CPUs, as Kubernetes and as people write them. No I/O. Private to the collection."""

from __future__ import annotations

import math
import re
from fractions import Fraction
from typing import Any, Callable, TypeVar

EXPECTED = "a quantity such as 8GB, 7.5Gi or 1500m"
EXPECTED_CPU = "a number of CPUs such as 2 or 1500m"
EXPECTED_API = "a quantity of Kubernetes such as 8Gi, 500M or 1500m"

_SMALL = {"n": Fraction(1, 1000**3), "u": Fraction(1, 1000**2), "m": Fraction(1, 1000)}
_LARGE = {letter: (1000**power, 1024**power) for power, letter in enumerate("KMGTPE", 1)}
_SUFFIXES = {
    **_SMALL,
    **{suffix: Fraction(1) for suffix in ("", "B")},
    **{suffix: Fraction(1000) for suffix in ("k", "kB")},
    **{letter + ending: Fraction(decimal) for letter, (decimal, _binary) in _LARGE.items() for ending in ("", "B")},
    **{letter + ending: Fraction(binary) for letter, (_decimal, binary) in _LARGE.items() for ending in ("i", "iB")},
}
# The bounds keep a typing error from becoming a number that takes minutes to make.
_NUMBER = r"[+]?(?:[0-9]{1,40}(?:\.[0-9]{0,40})?|\.[0-9]{1,40})"
_EXPONENT = r"[eE]([+-]?[0-9]{1,2})"
_QUANTITY = re.compile(rf"({_NUMBER})(?:{_EXPONENT}| ?([A-Za-z]{{0,3}}))")
# What the API takes unchanged: no B, no K, no blank.
_API = re.compile(rf"(?:{_NUMBER})(?:[eE][+-]?[0-9]{{1,2}}|[numkMGTPE]|[KMGTPE]i)?")
_T = TypeVar("_T")


def _parse(value: Any) -> tuple[Fraction, str]:
    """The number in base units, and the suffix that it was written with."""
    # A float means what it prints: 0.1 is a tenth here, and not the binary fraction beside it.
    text = repr(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value
    match = _QUANTITY.fullmatch(text.strip()) if isinstance(text, str) else None
    if not match or (match[3] or "") not in _SUFFIXES:
        raise ValueError(f"found {value!r}, expected {EXPECTED}")
    if match[2]:
        return Fraction(match[1]) * Fraction(10) ** int(match[2]), ""
    return Fraction(match[1]) * _SUFFIXES[match[3]], match[3]


def quantity(value: Any) -> Fraction:
    """The exact value of 8GB, 7.5Gi, 1500m, 1e3 or a plain number; raises ValueError with the reason."""
    return _parse(value)[0]


def kubernetes(value: Any) -> Fraction:
    """The value of what is handed to the API or to the kubelet as it is. They take fewer forms than people write, and
    none below zero.
    """
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not _API.fullmatch(repr(value) if number else value if isinstance(value, str) else ""):
        raise ValueError(f"found {value!r}, expected {EXPECTED_API}")
    return quantity(value)


def kubernetes_cpu(value: Any) -> Fraction:
    """The same for CPUs, of which a size is none."""
    number = kubernetes(value)
    to_millicpu(value)
    return number


def to_bytes(value: Any) -> int:
    """Bytes of a size. Part of a byte counts as a whole one, as in Kubernetes."""
    return math.ceil(quantity(value))


def to_millicpu(value: Any) -> int:
    """Thousandths of a CPU, rounded up to one. A size is none: 2GB of CPUs is a mistake."""
    try:
        number, suffix = _parse(value)
    except ValueError:
        number, suffix = Fraction(0), "none"
    if suffix and suffix not in _SMALL:
        raise ValueError(f"found {value!r}, expected {EXPECTED_CPU}")
    return math.ceil(number * 1000)


def whole(value: Any) -> int:
    """A number of things."""
    try:
        number = quantity(value)
    except ValueError:
        number = Fraction(1, 2)
    if number.denominator != 1:
        raise ValueError(f"found {value!r}, expected a whole number such as 2")
    return int(number)


def percentage(value: str) -> Fraction:
    """The share that 60% means, from 0 to 1."""
    match = re.fullmatch(rf"({_NUMBER})\s*%", value.strip())
    if not match or Fraction(match[1]) > 100:
        raise ValueError(f"found {value!r}, expected a share between 0% and 100%")
    return Fraction(match[1]) / 100


def at(path: str, parse: Callable[[Any], _T], value: Any) -> _T:
    """A parsed value; what is wrong with it says where it stands."""
    try:
        return parse(value)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def show_bytes(size: int) -> str:
    """Bytes for people: 7.4 GiB, 512.0 MiB."""
    for unit, name in ((1024**3, "GiB"), (1024**2, "MiB"), (1024, "KiB")):
        if size >= unit:
            tenths = (size * 10 + unit // 2) // unit
            return f"{tenths // 10}.{tenths % 10} {name}"
    return f"{size} bytes"


def show_cpu(millis: int) -> str:
    """CPUs as Kubernetes writes them: 2, 1500m."""
    return f"{millis}m" if millis % 1000 else str(millis // 1000)
