"""The sum of contributions is the total, at every level; an epoch's value is the value of the whole set."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from multiloss.core.losses import Losses
from multiloss.core.records import LedgerRecord, StepRecord, StepTerm
from multiloss.objective import L1, L2, CustomPenalty, Ledger, Objective, Progress, ramp
from multiloss.objective.missing import Reduction

NAN = float("nan")
ROUNDING = {torch.float64: 1e-14, torch.float32: 5e-7, torch.bfloat16: 5e-7, torch.float16: 5e-7}


def adds_up(record: LedgerRecord, relative: float) -> None:
    """Contributions and shares make the total, and nothing is left to explain."""
    size = sum(abs(term.contribution) for term in record)
    assert [term.name for term in record if term.kind == "unexplained"] == []
    assert math.fsum(term.contribution for term in record) == pytest.approx(record.total, abs=relative * size + 1e-300)
    if record.total and all(term.share is not None for term in record):
        shares = [term.share or 0.0 for term in record]
        assert math.fsum(shares) == pytest.approx(1, abs=relative * size / abs(record.total) + 1e-12)


# ------------------------------------------------------------------------------------------- any values at all

SIZES = st.floats(-8, 8).map(lambda x: 10**x)
ADDENDS = st.lists(
    st.tuples(st.sampled_from([0.0, 0.3, 1.0]) | SIZES, st.builds(lambda s, x: s * x, st.sampled_from([-1, 1]), SIZES)),
    min_size=1,
    max_size=20,
)
STEPS = st.lists(ADDENDS, min_size=1, max_size=6)
DTYPES = st.sampled_from(list(ROUNDING))


@settings(max_examples=60, deadline=None)
@given(STEPS, st.lists(DTYPES, min_size=1, max_size=3), st.integers(0, 9))
def test_every_step_and_epoch_adds_up(
    steps: list[list[tuple[float, float]]], dtypes: list[torch.dtype], gap: int
) -> None:
    ledger, worst = Ledger(), max(ROUNDING[dtype] for dtype in dtypes)
    for i, addends in enumerate(steps):
        terms = []
        for j, (weight, value) in enumerate(addends):
            dtype = dtypes[(i + j) % len(dtypes)]
            value = max(-6e4, min(value, 6e4)) if dtype == torch.float16 else value
            kind: Any = "penalty" if j % 5 == 4 else "loss"
            if gap and (i + j) % gap == 0:
                continue
            terms.append(StepTerm(f"t{j}", kind, torch.tensor(value, dtype=dtype), weight, 1.0, j, float(j + 1)))
        losses = Losses(
            tuple(terms), tuple(f"t{j}" for j in range(len(addends)) if f"t{j}" not in {t[0] for t in terms})
        )
        single = Ledger()
        single.add(losses.record())
        adds_up(single.peek(), 25 * worst)
        adds_up(single.whole(), 1e-14)
        ledger.add(losses.record())
    adds_up(ledger.peek(), 25 * worst)
    assert math.fsum(t.contribution for t in ledger.whole()) != math.inf


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_cancelling_steps_are_no_remainder(dtype: torch.dtype) -> None:
    ledger = Ledger()
    for i in range(400):
        sign = 1.0 if i % 2 else -1.0
        ledger(a=torch.tensor(sign / 3, dtype=dtype), b=(0.7, torch.tensor(sign * 12345.678, dtype=dtype)))
    adds_up(ledger.epoch(), 5e-7)


def test_long_epochs_in_double_precision_leave_no_remainder() -> None:
    values = [torch.tensor(value, dtype=torch.float64) for value in (0.1, 0.3, 0.7)]
    step = Losses(tuple(StepTerm(f"t{i}", "loss", value, 1.0) for i, value in enumerate(values))).record()
    ledger = Ledger()
    for _ in range(20_000):  # one rounding of our own sums at every step, always in the same direction
        ledger.add(step)
    adds_up(ledger.epoch(), 1e-11)


def test_many_small_terms_lost_in_a_large_one_are_rounding() -> None:
    ledger = Ledger()
    ledger({f"l2/{i}": (0.5, torch.tensor(2.0)) for i in range(300)} | {"a": torch.tensor(1.0)})
    adds_up(ledger.epoch(), 1e-7)
    total = ledger({"a": torch.tensor(2.0**24)}, **{f"b{i}": torch.tensor(1.0) for i in range(300)})
    assert total.item() == 2.0**24  # float32 has no room for any of them
    adds_up(ledger.epoch(), 2e-5)


@settings(max_examples=60, deadline=None)
@given(
    ADDENDS,
    st.floats(1e-4, 1.0),
    st.sampled_from([-1, 1]),
    st.sampled_from([torch.float32, torch.float64]),
    st.integers(1, 4),
)
def test_a_planted_remainder_is_found(
    addends: list[tuple[float, float]], part: float, sign: int, dtype: torch.dtype, steps: int
) -> None:
    terms = tuple(
        StepTerm(f"t{i}", "loss", torch.tensor(v, dtype=dtype), w) for i, (w, v) in enumerate([*addends, (1.0, 1.0)])
    )
    step = Losses(terms).record()
    assert step.total is not None
    size = sum(abs(term.weight * float(term.value)) for term in terms)
    planted = sign * part * size
    ledger = Ledger()
    for _ in range(steps):
        ledger.add(StepRecord(terms, step.total.double() + planted))
    for record in (ledger.peek(), ledger.peek(moving=False)):
        found = record["unexplained"].contribution
        assert found == pytest.approx(planted, abs=2e-6 * size)
        assert math.fsum(t.contribution for t in record) == pytest.approx(record.total, abs=1e-12 * size)


# ----------------------------------------------------------------------------------- an objective, many epochs


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Linear(3, 4)
        self.heads = nn.ModuleDict({"a": nn.Linear(4, 1), "b": nn.Linear(4, 3)})

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        hidden = self.trunk(x).tanh()
        return {"a": self.heads["a"](hidden)[:, 0], "b": self.heads["b"](hidden)}


def data(rows: int, missing: float, seed: int, dtype: torch.dtype) -> tuple[Tensor, dict[str, Tensor]]:
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, 3, generator=g, dtype=dtype)
    a, b = torch.randn(rows, generator=g, dtype=dtype), torch.randint(0, 3, (rows,), generator=g)
    a[torch.rand(rows, generator=g) < missing] = NAN
    b[torch.rand(rows, generator=g) < missing] = -100
    return x, {"a": a, "b": b}


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 23),
    st.integers(1, 9),
    st.sampled_from([0.0, 0.3, 0.9, 1.0]),
    st.sampled_from(["labelled", "batch"]),
    st.sampled_from([torch.float32, torch.float64]),
    st.booleans(),
    st.integers(0, 99),
)
def test_training_adds_up(
    rows: int, size: int, missing: float, reduction: Reduction, dtype: torch.dtype, weighted: bool, seed: int
) -> None:
    torch.manual_seed(seed)
    model = Two().to(dtype)
    objective = Objective(
        {"a": "huber", "b": "cross_entropy"},
        loss_weights={"a": ramp(0, 2, epochs=2), "b": 0.2},
        penalties=[
            L2(0.01, on="trunk"),
            L1(1e-3, on="heads"),
            CustomPenalty("own", lambda m: -m.get_parameter("trunk.bias").sum()),
        ],
        reduction=reduction,
    )
    x, targets = data(rows, missing, seed, dtype)
    weight = {"a": torch.rand(rows, dtype=dtype)} if weighted else None
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    starts = range(0, rows, size)
    for epoch in range(2):
        ledger = Ledger(reduction=reduction)
        for i, start in enumerate(starts):
            cut = slice(start, start + size)
            losses = objective(
                model(x[cut]),
                {name: target[cut] for name, target in targets.items()},
                model=model,
                sample_weight=None if weight is None else {"a": weight["a"][cut]},
                progress=Progress(epoch, epoch * len(starts) + i, len(starts), 2),
            )
            adds_up(losses.ledger(), 10 * ROUNDING[dtype])
            optimizer.zero_grad()
            losses.total.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            ledger.add(losses.record())
        record = ledger.epoch()
        adds_up(record, 10 * ROUNDING[dtype])
        assert record["a"].count == int((~targets["a"].isnan()).sum())
        assert record["b"].count == int((targets["b"] != -100).sum())
        assert record.steps == len(starts) and record.reduction == reduction
        for term in record:
            product = term.weight * (term.value or 0)
            assert term.note is not None or product == pytest.approx(term.contribution, rel=1e-5, abs=1e-12)


# ----------------------------------------------------------------------------- a set, however it is cut

CASES: list[tuple[str, dict[str, Any], Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = [
    ("regression", {"loss": "mse"}, lambda r: r[:, 0], lambda r: r[:, 1]),
    ("vector", {"loss": "mae"}, lambda r: r[:, :3], lambda r: r[:, 3:6]),
    ("cosine", {"loss": "cosine"}, lambda r: r[:, :3], lambda r: r[:, 3:6]),
    ("soft classes", {"loss": "cross_entropy"}, lambda r: r[:, :3], lambda r: r[:, 3:6].sigmoid()),
    ("multilabel", {"loss": "binary_cross_entropy"}, lambda r: r[:, :3], lambda r: r[:, 3:6].sigmoid()),
    ("gaussian", {"loss": "gaussian_nll"}, lambda r: r[:, :2], lambda r: r[:, 3]),
    ("quantiles", {"loss": {"name": "quantile", "quantiles": [0.1, 0.5]}}, lambda r: r[:, :2], lambda r: r[:, 3]),
    ("own scalar", {"loss": lambda p, y: (p - y).square().mean()}, lambda r: r[:, 0], lambda r: r[:, 1]),
    ("own rows", {"loss": lambda p, y: (p - y).abs().sum(1)}, lambda r: r[:, :3], lambda r: r[:, 3:6]),
    ("own values", {"loss": lambda p, y: (p - y).abs()}, lambda r: r[:, :3], lambda r: r[:, 3:6]),
]


def account(objective: Objective, pred: Tensor, target: Tensor, weight: Tensor | None, size: int) -> LedgerRecord:
    ledger = Ledger(reduction=objective.reduction)
    for start in range(0, len(pred), size):
        cut = slice(start, start + size)
        losses = objective(
            {"y": pred[cut]}, {"y": target[cut]}, sample_weight=None if weight is None else {"y": weight[cut]}
        )
        ledger.add(losses.record())
    return ledger.whole()


@pytest.mark.parametrize("reduction", ["labelled", "batch"])
@pytest.mark.parametrize(
    ("name", "given", "pred", "target", "weighted"),
    [(*case, weighted) for case in CASES for weighted in (False, True) if (case[0], weighted) != ("own scalar", True)],
)
def test_an_evaluation_does_not_depend_on_the_cut(
    name: str,
    given: dict[str, Any],
    pred: Callable[[Tensor], Tensor],
    target: Callable[[Tensor], Tensor],
    weighted: bool,
    reduction: Reduction,
) -> None:
    raw = torch.randn(24, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    outputs, targets = pred(raw), target(raw).clone()
    own = name.startswith("own") and reduction == "batch"  # never sees a batch without labels: each gets some
    targets[13 : 17 if own else 18] = NAN
    if not own:
        targets[12] = NAN
    targets[[3, 5, 9, 22]] = NAN
    if targets.dim() > 1 and name != "soft classes":
        targets[7, 1] = NAN
    weight = torch.rand(24, dtype=torch.float64, generator=torch.Generator().manual_seed(2)) if weighted else None
    objective = Objective(**given, loss_weights=0.7, reduction=reduction)
    records = [account(objective, outputs, targets, weight, size) for size in (24, 10, 6, 5, *(() if own else (4, 1)))]
    assert records[0].total == pytest.approx(0.7 * (records[0]["y"].value or NAN), rel=1e-14)
    for record in records[1:]:
        assert record["y"].value == pytest.approx(records[0]["y"].value, rel=1e-12)
        assert record.total == pytest.approx(records[0].total, rel=1e-12)
        assert record["y"].count == records[0]["y"].count and record["y"].note is None
        adds_up(record, 1e-14)


def test_ten_samples_batch_four_labels_seven_and_two() -> None:
    g = torch.Generator().manual_seed(0)
    outputs = {name: torch.randn(10, dtype=torch.float64, generator=g) for name in "ab"}
    targets = {name: torch.randn(10, dtype=torch.float64, generator=g) for name in "ab"}
    targets["a"][[1, 4, 8]] = NAN
    targets["b"][:8] = NAN  # two labels, both in the short last batch
    objective = Objective({"a": "mse", "b": "mae"}, loss_weights={"a": 2.0, "b": 0.5})
    ledger = Ledger()
    for cut in (slice(0, 4), slice(4, 8), slice(8, 10)):
        losses = objective({k: v[cut] for k, v in outputs.items()}, {k: v[cut] for k, v in targets.items()})
        assert ("b" in losses.absent) == (cut.stop <= 8)
        ledger.add(losses.record())
    record = ledger.epoch()
    mask = ~targets["a"].isnan()
    assert record["a"].value == pytest.approx((outputs["a"] - targets["a"])[mask].square().mean().item(), rel=1e-14)
    assert record["b"].value == pytest.approx((outputs["b"] - targets["b"])[8:].abs().mean().item(), rel=1e-14)
    assert (record["a"].count, record["b"].count) == (7, 2)
    assert record["b"].note is not None and "2 of 3 steps had no label" in record["b"].note
    assert record["a"].note is not None and "steps hold different numbers of labels" in record["a"].note
    adds_up(record, 1e-14)
