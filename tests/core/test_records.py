"""The ledger's lines: written, read back, and printed as people read them."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multiloss.core.records import LedgerRecord, TermKind, TermRecord, digits, exact_sum
from multiloss.core.run_files import json_line

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
NAMES = st.text(min_size=1, max_size=8)
TERMS = st.builds(
    TermRecord,
    name=NAMES,
    kind=st.sampled_from(["loss", "penalty", "unexplained"]),
    value=st.none() | NUMBERS,
    weight=NUMBERS,
    balancing_weight=NUMBERS,
    contribution=NUMBERS,
    share=st.none() | NUMBERS,
    count=st.none() | st.integers(0, 10**12),
    note=st.none() | st.text(max_size=20),
)
RECORDS = st.builds(
    LedgerRecord,
    total=NUMBERS,
    terms=st.lists(TERMS, max_size=4).map(tuple),
    steps=st.integers(0, 10**9),
    outside=st.lists(st.text(max_size=9), max_size=3).map(tuple),
    reduction=st.sampled_from(["labelled", "batch"]),
    epoch=st.none() | st.integers(0, 999),
    split=st.none() | st.sampled_from(["train", "validation"]),
)


@given(RECORDS)
def test_round_trip_through_json_loses_nothing(record: LedgerRecord) -> None:
    assert LedgerRecord.from_dict(json.loads(json.dumps(record.to_dict()))) == record


def line(
    name: str, kind: TermKind = "loss", value: float | None = 1.0, weight: float = 1.0, **more: object
) -> TermRecord:
    fields = {"balancing_weight": 1.0, "contribution": weight * (value or 0), "share": None, "count": None, **more}
    return TermRecord(name=name, kind=kind, value=value, weight=weight, **fields)  # type: ignore[arg-type]


def test_the_keys_of_ledger_jsonl() -> None:
    plain = LedgerRecord(1.0, (line("a"),), 1, epoch=3, split="train").to_dict()
    assert list(plain) == ["epoch", "split", "total", "terms", "outside", "reduction", "steps"]
    keys = ["name", "kind", "value", "weight", "balancing_weight", "contribution", "share", "count"]
    assert list(plain["terms"][0]) == keys
    assert list(line("a", note="why").to_dict()) == [*keys, "note"]


def test_lines_by_name_and_the_sum_of_penalties() -> None:
    record = LedgerRecord(3.5, (line("a"), line("l2/x", "penalty", 2.0), line("l2/y", "penalty", 0.5)), 1)
    assert record["l2/x"].value == 2.0 and [term.name for term in record] == ["a", "l2/x", "l2/y"]
    assert record.penalty == 2.5
    with pytest.raises(KeyError, match="b"):
        record["b"]


PRINTED = [
    ((line("a", value=0.5, weight=2.0, share=1.0),), "1.0", "total 1.0000 = 2.0 x a 0.5000 (100.0 %)"),
    ((line("a", value=None),), "0.0", "total 0.0000 = a 0 (no label)"),
    ((), "0.0", "total 0.0000 = 0 (no term had a label)"),
    ((line("a", value=0.5, weight=0.05),), "0.025", "total 0.0250 = 0.05 x a 0.5000"),
    (
        (line("a", balancing_weight=0.25, contribution=0.25, share=1.0),),
        "0.25",
        "total 0.2500 = 1.0 x 0.25 x a 1.0000 (100.0 %)",
    ),
    (
        (line("a", contribution=0.75, share=1.0, note="moved"),),
        "0.75",
        "total 0.7500 = a 0.7500 [1.0 x 1.0000] (100.0 %)",
    ),
    (
        (line("l2/x", "penalty", 2.0, 0.1, share=0.5), line("l2/y", "penalty", 2.0, 0.1, share=0.5)),
        "0.4",
        "total 0.4000 = penalty 0.4000 (100.0 %)",
    ),
    (
        (line("a", value=1.0, share=0.5), line("unexplained", "unexplained", None, contribution=1.0, share=0.5)),
        "2.0",
        "total 2.0000 = 1.0 x a 1.0000 (50.0 %) + unexplained 1.0000 (50.0 %)",
    ),
]


@pytest.mark.parametrize(("terms", "total", "text"), PRINTED)
def test_printed(terms: tuple[TermRecord, ...], total: str, text: str) -> None:
    assert str(LedgerRecord(float(total), terms, 1)) == text


def test_printed_with_its_place() -> None:
    assert str(LedgerRecord(0.0, (), 0, epoch=2, split="validation")).startswith("epoch 2  validation  total 0.0000")
    assert str(LedgerRecord(0.0, (), 0, epoch=2, split="train")).startswith("epoch 2  total")


def test_printing_survives_what_is_not_finite() -> None:
    terms = (line("l2/x", "penalty", math.inf), line("l2/y", "penalty", -math.inf))
    assert str(LedgerRecord(math.nan, terms, 1)) == "total nan = penalty nan"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.0000"), (-0.0, "-0.0000"), (1.27228, "1.2723"), (-1.27228, "-1.2723"), (0.001, "0.0010"),
        (0.000999, "9.990e-04"), (99999.0, "99999.0000"), (1e5, "1.000e+05"), (-2e-8, "-2.000e-08"),
        (math.nan, "nan"), (math.inf, "inf"), (None, "-"),
    ],
)  # fmt: skip
def test_digits(value: float | None, text: str) -> None:
    assert digits(value) == text


@given(st.floats(1e-300, 1e300))
def test_digits_never_hide_a_number(value: float) -> None:
    assert float(digits(value)) == pytest.approx(value, rel=0.06 if value < 0.01 else 6e-3)
    assert digits(-value) == f"-{digits(value)}"


@given(st.lists(st.floats(-1e12, 1e12), max_size=20))
def test_exact_sum_is_rounded_once(numbers: list[float]) -> None:
    assert exact_sum(numbers) == math.fsum(numbers)


@pytest.mark.parametrize(
    ("numbers", "finite"), [([math.inf, 1.0], False), ([math.nan], False), ([math.inf, -math.inf], False), ([], True)]
)
def test_exact_sum_of_what_is_not_finite(numbers: list[float], finite: bool) -> None:
    assert math.isfinite(exact_sum(numbers)) == finite


def test_a_total_that_was_not_finite_comes_back_as_nan() -> None:
    line = TermRecord("a", "loss", math.inf, 1.0, 1.0, math.nan, None, 3)
    record = LedgerRecord(math.inf, (line,), 1, split="train")
    back = LedgerRecord.from_dict(json.loads(json_line(record.to_dict())))
    assert math.isnan(back.total) and math.isnan(back["a"].contribution) and math.isnan(back["a"].value or 0.0)
