"""Numbers as they stand in logs, with what their digits leave open."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence

from multiloss.diagnosis.logs.records import Printed

NUMBER = r"[-+]?(?:(?:\d++(?:\.\d*+)?|\.\d++)(?:[eE][-+]?\d++)?+|(?:nan|inf(?:inity)?|NaN|Inf(?:inity)?|NAN|INF))"
ALL_DIGITS = 15
"""A float printed with this many significant digits was printed whole."""
SINGLE = 7
"""From this many on, the digits are those of a float in single precision."""

_WHOLE = re.compile(NUMBER, re.ASCII)


def is_number(text: str) -> bool:
    """Say whether the text is one number, NaN and infinity included.

    Examples:
        >>> is_number("1.2e-05"), is_number("nan"), is_number("1/2"), is_number("1_000")
        (True, True, False, False)
    """
    return _WHOLE.fullmatch(text) is not None


def printed(token: str) -> Printed:
    """Return the number and half a unit of its last digit.

    Examples:
        >>> printed("0.0801"), printed("1.20e-05"), printed("0.10340066681965254")
        (Printed(value=0.0801, half=5e-05), Printed(value=1.2e-05, half=5e-08),
         Printed(value=0.10340066681965254, half=0.0))
    """
    decimals, significant = _digits(token)
    return _printed(float(token), decimals, significant, significant >= ALL_DIGITS)


def printed_columns(columns: Mapping[str, Sequence[str]]) -> dict[str, Iterator[Printed]]:
    """Return the numbers of columns whose writer drops trailing zeros: 0.5 beside 0.1234 is 0.5000.

    The digits of each are taken as the most that the columns show, counted after the point and in all, so that
    columns rounded to a number of decimals and columns of so many significant digits both keep what they say. A
    column with floats written whole is whole, and says nothing of the others.

    Examples:
        >>> columns = printed_columns({"a": ["0.5", "0.25"], "b": ["0.1234"], "c": ["0.5", "0.10340066681965254"]})
        >>> [(name, [number.half for number in numbers]) for name, numbers in columns.items()]
        [('a', [5e-05, 5e-05]), ('b', [5e-05]), ('c', [0.0, 0.0])]
    """
    digits = {name: [_digits(token) for token in tokens] for name, tokens in columns.items()}
    whole = {name for name, own in digits.items() if any(significant >= ALL_DIGITS for _, significant in own)}
    pairs = [pair for name, own in digits.items() if name not in whole for pair in own]
    decimals = max((after for after, _ in pairs), default=0)
    significant = max((count for _, count in pairs), default=0)
    result = {}
    for name, tokens in columns.items():
        numbers = []
        for token, (own, _) in zip(tokens, digits[name], strict=True):
            value = float(token)
            after = significant - 1 - math.floor(math.log10(abs(value))) if 0 < abs(value) < math.inf else decimals
            numbers.append(_printed(value, max(own, min(decimals, after)), significant, name in whole))
        result[name] = iter(numbers)
    return result


def _printed(value: float, decimals: int, significant: int, whole: bool) -> Printed:
    if whole or not math.isfinite(value):
        return Printed(value, 0.0)
    half = float(f"5e{-decimals - 1}")
    return Printed(value, max(half, abs(value) * 2**-24) if significant >= SINGLE else half)


def _digits(token: str) -> tuple[int, int]:
    """Return how many digits stand after the point, exponent included, and how many are significant."""
    mantissa, _, exponent = token.lower().partition("e")
    if not mantissa or not any(map(str.isdigit, mantissa)):
        return 0, 0
    power = max(-400.0, min(400.0, float(exponent or 0)))  # a float has no more; int() refuses thousands of digits
    digits = sum(map(str.isdigit, mantissa.lstrip("+-0.")))
    return len(mantissa.partition(".")[2]) - int(power), digits
