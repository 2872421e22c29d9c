"""The ledger alone: what it takes, what it returns, what it refuses, and what it remembers."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from multiloss.core.errors import ObjectiveError
from multiloss.core.records import LedgerRecord, StepRecord, StepTerm
from multiloss.objective import Ledger
from multiloss.objective.ledger import WINDOW

NAN, INF = float("nan"), float("inf")


def t(value: float, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.tensor(value, dtype=dtype)


def step(total: Tensor | None, *terms: StepTerm, absent: tuple[str, ...] = ()) -> StepRecord:
    return StepRecord(terms, total, absent)


def test_a_loop_of_ones_own() -> None:
    a, b, w = (torch.tensor(x, requires_grad=True) for x in (0.5, 2.0, 3.0))
    ledger = Ledger(penalties=["l2"])
    total = ledger(a=a * 1, b=(0.3, b * 1), l2=(1e-4, w**2))
    total.backward()  # type: ignore[no-untyped-call]
    assert [g.item() for g in (a.grad, b.grad, w.grad) if g is not None] == pytest.approx([1.0, 0.3, 6e-4])
    assert total.item() == pytest.approx(0.5 + 0.6 + 9e-4)
    record = ledger.epoch(epoch=1, split="train", outside=["weight decay 0.01"])
    assert [(x.name, x.kind, x.weight, x.count) for x in record] == [
        ("a", "loss", 1.0, None),
        ("b", "loss", 0.3, None),
        ("l2", "penalty", 1e-4, None),
    ]
    assert [x.contribution for x in record] == pytest.approx([0.5, 0.6, 9e-4])
    assert record.total == pytest.approx(1.1009) and record.steps == 1
    assert (record.epoch, record.split, record.outside) == (1, "train", ("weight decay 0.01",))
    assert sum(x.share or 0 for x in record) == pytest.approx(1)


def test_names_that_are_no_identifiers_come_in_a_mapping() -> None:
    ledger = Ledger()
    ledger({"a/ce": (2.0, t(1.0)), "a/kl": t(3.0)}, b=t(1.0))
    assert [(x.name, x.contribution) for x in ledger.epoch()] == [("a/ce", 2.0), ("a/kl", 3.0), ("b", 1.0)]


def test_counts_weigh_the_epoch() -> None:
    ledger = Ledger()
    ledger(a=(1.0, t(1.0), 8))
    ledger(a=(1.0, t(5.0), torch.tensor(2)))
    line = ledger.epoch()["a"]
    assert line.value == pytest.approx(1.8) and (line.count, line.contribution) == (10, 3.0)
    assert line.note == "mean over steps; weight x value is 1.8: steps hold different numbers of labels"


def test_without_counts_every_step_is_one() -> None:
    ledger = Ledger()
    for value in (1.0, 5.0):
        ledger(a=t(value))
    line = ledger.epoch()["a"]
    assert (line.value, line.count, line.contribution, line.note) == (3.0, None, 3.0, None)


@pytest.mark.parametrize("value", [NAN, 0.0, 7.0])
def test_no_label_is_no_value_and_no_part_of_the_total(value: float) -> None:
    ledger = Ledger()
    w = torch.tensor(1.0, requires_grad=True)
    ledger(a=(1.0, w * value, 0), b=(0.5, w * 2, 3)).backward()  # type: ignore[no-untyped-call]
    assert w.grad is not None and w.grad.item() == 1.0
    ledger(a=(0.25, w * value, 0)).backward()  # type: ignore[no-untyped-call]  # nothing at all: no crash, no movement
    record = ledger.epoch()
    assert (record.total, record.steps) == (0.5, 2)
    a = record["a"]
    assert (a.value, a.weight, a.contribution, a.share, a.count, a.note) == (None, 0.25, 0.0, 0.0, 0, None)
    assert record["b"].note == "mean over steps; weight x value is 1: 1 of 2 steps had no label"


def test_moved_weights_are_said() -> None:
    ledger = Ledger(penalties=["p"])
    for weight, value in ((1.0, 4.0), (3.0, 2.0)):
        ledger(a=(weight, t(value)))
    ledger(a=(2.0, t(3.0)), p=(0.1, t(1.0)))
    record = ledger.epoch()
    a = record["a"]
    assert (a.weight, a.value) == (2.0, 3.0) and a.contribution == pytest.approx(16 / 3)
    assert a.note == "mean over steps; weight x value is 6: the weight moved"
    assert record["p"].note == "mean over steps; weight x value is 0.1: 2 of 3 steps had no such term"
    assert math.fsum(x.contribution for x in record) == pytest.approx(record.total, rel=1e-7)


def test_epoch_begins_anew_and_peek_does_not() -> None:
    ledger = Ledger()
    ledger(a=t(1.0))
    assert ledger.peek() == ledger.peek() == ledger.epoch()
    empty = ledger.epoch()
    assert (empty.total, empty.terms, empty.steps) == (0.0, (), 0)
    assert str(empty) == "total 0.0000 = 0 (no term had a label)"
    ledger(a=t(9.0))
    assert ledger.epoch().total == 9.0


def test_to_dict_has_keras_names() -> None:
    ledger = Ledger(penalties=["l2", "l1"])
    ledger(a=t(1.0), b=(0.5, t(2.0)), l2=(0.1, t(10.0)), l1=(0.1, t(5.0)))
    assert ledger.to_dict() == pytest.approx({"loss": 3.5, "a_loss": 1.0, "b_loss": 2.0, "penalty": 1.5})
    assert list(Ledger().to_dict()) == ["loss"]
    assert ledger.epoch().steps == 1


BAD: list[tuple[Any, str]] = [
    (0.5, "expected a scalar tensor of floats.*found float"),
    (torch.ones(2), r"found torch.float32 of shape \(2,\)"),
    (torch.tensor(1), "found torch.int64"),
    ((torch.tensor(0.5), torch.tensor(1.0)), "expected a finite weight >= 0, found tensor"),
    ((-1.0, torch.tensor(1.0)), "found -1.0"),
    ((NAN, torch.tensor(1.0)), "found nan"),
    ((INF, torch.tensor(1.0)), "found inf"),
    ((True, torch.tensor(1.0)), "found True"),
    (("1", torch.tensor(1.0)), "found '1'"),
    ((1.0, torch.tensor(1.0), -1), "whole number of labels >= 0, found -1"),
    ((1.0, torch.tensor(1.0), 2.5), "found 2.5"),
    ((1.0, torch.tensor(1.0), torch.ones(2)), r"one number of labels, found shape \(2,\)"),
    ((1.0,), "found 1 entries"),
    ((1.0, torch.tensor(1.0), 3, 4), "found 4 entries"),
    (None, "found NoneType"),
]


@pytest.mark.parametrize(("addend", "words"), BAD)
def test_bad_addends(addend: Any, words: str) -> None:
    ledger = Ledger()
    with pytest.raises(ObjectiveError, match=f"a: .*{words}"):
        ledger(a=addend, b=t(1.0))
    assert ledger.epoch().steps == 0


def test_all_bad_addends_at_once() -> None:
    ledger = Ledger()
    with pytest.raises(ObjectiveError, match="3 problems") as caught:
        ledger({"a": t(1.0)}, a=t(1.0), b=(-1.0, torch.ones(3)))
    assert "a: expected every addend once" in str(caught.value)
    with pytest.raises(ObjectiveError, match="at least one loss"):
        ledger()


def test_one_element_is_a_scalar() -> None:
    ledger = Ledger()
    assert ledger(a=torch.tensor([2.0]), b=torch.tensor([[1.0]])).shape == ()
    assert ledger.epoch().total == 3.0


def test_a_remainder_is_a_line_of_its_own() -> None:
    ledger = Ledger()
    ledger.add(step(t(1.25), StepTerm("a", "loss", t(1.0), 1.0)))
    record = ledger.peek()
    line = record["unexplained"]
    assert (line.kind, line.value, line.contribution, line.share, line.count) == ("unexplained", None, 0.25, 0.2, None)
    assert str(record).endswith("+ unexplained 0.2500 (20.0 %)")
    whole = ledger.whole()
    assert whole.total == 1.25 and whole["unexplained"].contribution == 0.25


def test_infinite_losses_are_recorded_not_thrown() -> None:
    ledger = Ledger()
    ledger(a=t(INF), b=t(-INF), c=t(1.0))
    record = ledger.epoch()
    assert math.isnan(record.total) and [x.name for x in record] == ["a", "b", "c"]
    assert [x.share for x in record] == [None] * 3 and "total nan" in str(record)
    ledger.add(step(t(INF), StepTerm("a", "loss", t(1.0), 1.0)))  # the sum overflowed, no addend did
    assert ledger.epoch()["unexplained"].contribution == INF


@pytest.mark.parametrize("bad", [NAN, INF])
@pytest.mark.parametrize("read", ["epoch", "whole"])
def test_a_loss_of_weight_zero_adds_nothing_even_if_it_is_not_finite(bad: float, read: str) -> None:
    ledger = Ledger()
    ledger(a=(0.0, t(bad)), b=t(2.0))
    record: LedgerRecord = getattr(ledger, read)()
    assert record.total == 2.0 and record["a"].contribution == 0.0 and [x.name for x in record] == ["a", "b"]
    assert record["a"].value is not None and not math.isfinite(record["a"].value)


def test_steps_without_labels_of_a_loss_with_parts_leave_no_empty_line() -> None:
    ledger = Ledger()
    ledger.add(StepRecord((), None, ("a",), (1.0,)))
    assert [x.name for x in ledger.peek()] == ["a"]
    ledger.add(step(t(3.0), StepTerm("a/ce", "loss", t(1.0), 1.0), StepTerm("a/kl", "loss", t(2.0), 1.0)))
    record = ledger.epoch()
    assert [x.name for x in record] == ["a/ce", "a/kl"] and record.total == 1.5
    assert record["a/ce"].note is not None and "1 of 2 steps had no label" in record["a/ce"].note


Steps = list[dict[str, tuple[float, float, int]]]
STEPS: st.SearchStrategy[Steps] = st.lists(
    st.dictionaries(
        st.sampled_from(["a", "b", "c"]),
        st.tuples(st.sampled_from([0.0, 0.3, 1.0, 2.5]), st.floats(-1e3, 1e3, width=32), st.integers(0, 9)),
        min_size=1,
    ),
    min_size=1,
    max_size=9,
)


def feed(ledger: Ledger, steps: Steps) -> Ledger:
    for terms in steps:
        ledger({name: (weight, t(value), count) for name, (weight, value, count) in terms.items()})
    return ledger


@settings(max_examples=40, deadline=None)
@given(STEPS, st.data())
def test_saved_through_json_at_any_moment_it_goes_on_with_the_same_digits(steps: Steps, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(steps)))
    saved = feed(Ledger(), steps[:cut]).state_dict()
    resumed = Ledger()
    resumed(a=t(99.0))  # is forgotten
    resumed.load_state_dict(json.loads(json.dumps(saved)))
    resumed, straight = feed(resumed, steps[cut:]), feed(Ledger(), steps)
    assert resumed.peek() == straight.peek() and resumed.state_dict() == straight.state_dict()
    assert resumed.whole() == straight.whole()


@settings(max_examples=30, deadline=None)
@given(STEPS, st.integers(1, 4))
def test_windows_of_any_size_read_the_same(steps: Steps, size: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        straight = feed(Ledger(), steps).epoch()
        patch.setattr("multiloss.objective.ledger.WINDOW", size)
        assert feed(Ledger(), steps).epoch() == straight
    ledger = Ledger()
    for terms in steps:
        feed(ledger, [terms]).peek()
    assert ledger.epoch() == straight


def test_a_full_window_is_read_and_let_go() -> None:
    ledger = Ledger()
    for _ in range(WINDOW + 1):
        ledger(a=t(0.1))
    assert len(ledger._window) == 1
    record = ledger.epoch()
    assert record.steps == WINDOW + 1 and record.total == pytest.approx(0.1, rel=1e-7) and record["a"].note is None


def test_counts_on_the_device_equal_counts_on_the_host() -> None:
    def run(where: Any) -> LedgerRecord:
        ledger = Ledger()
        for value, count in ((1.5, 4), (2.5, 0), (0.25, 3)):
            term = StepTerm("a", "loss", t(value if count else 0.0), 0.5, 1.0, where(count), where(float(count)))
            ledger.add(step(0.5 * term.value, term))
        return ledger.epoch()

    assert run(torch.tensor) == run(lambda x: x)
    line = run(torch.tensor)["a"]
    assert line.count == 7 and line.note is not None and "1 of 3 steps had no label" in line.note


def test_records_of_mixed_precision_are_read_together() -> None:
    ledger = Ledger()
    for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16):
        ledger(a=t(0.5, dtype), b=(2.0, t(0.25)))
    record = ledger.epoch()
    assert record.total == 1.0 and [x.contribution for x in record] == [0.5, 0.5]


def test_to_dict_after_epoch_is_the_epoch_that_was_closed() -> None:
    ledger = Ledger()
    ledger(a=torch.tensor(2.0))
    before = ledger.to_dict()
    ledger.epoch()
    assert ledger.to_dict() == before == {"loss": 2.0, "a_loss": 2.0}
    ledger(a=torch.tensor(4.0))
    assert ledger.to_dict()["loss"] == 4.0
