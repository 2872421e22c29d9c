"""Every loss against its formula written out, and what missing labels may and may not do."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable
from typing import Any, get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from multiloss.core.errors import ObjectiveError
from multiloss.core.labels import labelled
from multiloss.objective.losses import LOSSES, balanced_class_weight, loss, loss_table, resolve_loss
from multiloss.objective.missing import Reduction, masked_mean

NAN = float("nan")
B, D, K = 7, 3, 4


def make(seed: int = 0, *shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def whole(seed: int, high: int, *shape: int) -> Tensor:
    return torch.randint(0, high, shape, generator=torch.Generator().manual_seed(seed))


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def softmax(row: list[float]) -> list[float]:
    total = sum(math.exp(x) for x in row)
    return [math.exp(x) / total for x in row]


def bce(p: float, t: float) -> float:
    return -t * math.log(sigmoid(p)) - (1 - t) * math.log(1 - sigmoid(p))


def huber(p: float, t: float, delta: float) -> float:
    e = abs(p - t)
    return e * e / 2 if e <= delta else delta * (e - delta / 2)


def cosine(p: list[float], t: list[float]) -> float:
    return 1 - sum(a * b for a, b in zip(p, t, strict=True)) / math.hypot(*p) / math.hypot(*t)


Case = tuple[str, dict[str, Any], Tensor, Tensor, Callable[[Any, Any], float]]
REAL, OTHER = make(1, B), make(2, B)
ROWS, LABELS = make(3, B, K), whole(4, K, B)
YES = whole(5, 2, B)
WEIGHTS = [0.5, 2.0, 0.0, 3.0]

# Name, options, outputs, targets, and the loss of one output and one target in plain Python.
CASES: list[Case] = [
    ("mse", {}, REAL, OTHER, lambda p, t: (p - t) ** 2),
    ("mae", {}, REAL, OTHER, lambda p, t: abs(p - t)),
    ("huber", {"delta": 0.7}, REAL, OTHER, lambda p, t: huber(p, t, 0.7)),
    ("smooth_l1", {"beta": 0.7}, REAL, OTHER, lambda p, t: huber(p, t, 0.7) / 0.7),
    ("log_cosh", {}, REAL, OTHER, lambda p, t: math.log(math.cosh(p - t))),
    ("quantile", {"quantiles": 0.9}, REAL, OTHER, lambda p, t: (0.9 if t > p else 0.1) * abs(t - p)),
    (
        "quantile",
        {"quantiles": (0.1, 0.5, 0.6, 0.9)},
        ROWS,
        OTHER,
        lambda p, t: (
            sum((q if t > x else 1 - q) * abs(t - x) for q, x in zip((0.1, 0.5, 0.6, 0.9), p, strict=True)) / 4
        ),
    ),
    ("poisson", {}, REAL, LABELS, lambda p, t: math.exp(p) - t * p),
    ("poisson", {"log_input": False}, REAL.exp(), LABELS, lambda p, t: p - t * math.log(p + 1e-8)),
    ("gaussian_nll", {}, make(6, B, 2), OTHER, lambda p, t: (p[1] + (t - p[0]) ** 2 * math.exp(-p[1])) / 2),
    (
        "gaussian_nll",
        {"full": True},
        make(6, B, 2),
        OTHER,
        lambda p, t: (
            -math.log(math.exp(-((t - p[0]) ** 2) / 2 / math.exp(p[1])) / math.sqrt(2 * math.pi * math.e ** p[1]))
        ),
    ),
    ("binary_cross_entropy", {}, REAL, YES, bce),
    ("binary_cross_entropy", {"label_smoothing": 0.2}, REAL, YES, lambda p, t: bce(p, 0.8 * t + 0.1)),
    ("binary_cross_entropy", {"pos_weight": 3.0}, REAL, YES, lambda p, t: bce(p, t) * (3 if t else 1)),
    ("cross_entropy", {}, ROWS, LABELS, lambda p, t: -math.log(softmax(p)[t])),
    ("cross_entropy", {"class_weight": WEIGHTS}, ROWS, LABELS, lambda p, t: -WEIGHTS[t] * math.log(softmax(p)[t])),
    (
        "cross_entropy",
        {"class_weight": {1: 5}},
        ROWS,
        LABELS,
        lambda p, t: -(5 if t == 1 else 1) * math.log(softmax(p)[t]),
    ),
    (
        "cross_entropy",
        {"label_smoothing": 0.2},
        ROWS,
        LABELS,
        lambda p, t: -sum((0.8 * (k == t) + 0.05) * math.log(q) for k, q in enumerate(softmax(p))),
    ),
    (
        "cross_entropy",
        {},
        ROWS,
        make(7, B, K).softmax(1),
        lambda p, t: -sum(w * math.log(q) for w, q in zip(t, softmax(p), strict=True)),
    ),
    ("focal", {}, REAL, YES, lambda p, t: (1 - math.exp(-bce(p, t))) ** 2 * bce(p, t)),
    ("focal", {"gamma": 0}, REAL, YES, bce),
    (
        "focal",
        {"gamma": 0.5, "alpha": 0.25},
        REAL,
        YES,
        lambda p, t: (0.25 if t else 0.75) * (1 - math.exp(-bce(p, t))) ** 0.5 * bce(p, t),
    ),
    ("focal", {}, ROWS, LABELS, lambda p, t: -((1 - softmax(p)[t]) ** 2) * math.log(softmax(p)[t])),
    (
        "focal",
        {"gamma": 1, "alpha": WEIGHTS},
        ROWS,
        LABELS,
        lambda p, t: -WEIGHTS[t] * (1 - softmax(p)[t]) * math.log(softmax(p)[t]),
    ),
    ("focal", {"alpha": 0.3}, ROWS, LABELS, lambda p, t: -0.3 * (1 - softmax(p)[t]) ** 2 * math.log(softmax(p)[t])),
    ("hinge", {}, REAL, YES, lambda p, t: max(0, 1 - (1 if t else -1) * p)),
    ("hinge", {}, REAL, 2 * YES - 1, lambda p, t: max(0, 1 - t * p)),
    ("ordinal", {}, make(8, B, K - 1), LABELS, lambda p, t: sum(bce(x, float(t > k)) for k, x in enumerate(p))),
    ("cosine", {}, ROWS, make(9, B, K), cosine),
]
IDS = [f"{name}-{options}" for name, options, *_ in CASES]
# Losses of a value and of a label of the same shape are the same in any shape.
SAME = [case for case in CASES if case[2].shape == case[3].shape and case[2].ndim == 1]


def one_by_one(formula: Callable[[Any, Any], float], pred: Tensor, target: Tensor) -> list[float]:
    return [formula(p, t) for p, t in zip(pred.tolist(), target.tolist(), strict=True)]


def with_gaps(target: Tensor, mask: Tensor) -> Tensor:
    gaps = mask.view(-1, *[1] * (target.ndim - 1))
    return torch.where(gaps, target, NAN if target.is_floating_point() else -100)


@pytest.mark.parametrize(("name", "options", "pred", "target", "formula"), CASES, ids=IDS)
class TestEveryLoss:
    def test_unreduced_is_the_formula(
        self, name: str, options: dict[str, Any], pred: Tensor, target: Tensor, formula: Callable[[Any, Any], float]
    ) -> None:
        found = loss(name, **options).elementwise(pred, target)
        assert found.shape == (B,)
        assert found.tolist() == pytest.approx(one_by_one(formula, pred, target), rel=1e-10)

    def test_mean_is_the_mean_of_the_unreduced(
        self, name: str, options: dict[str, Any], pred: Tensor, target: Tensor, formula: Callable[[Any, Any], float]
    ) -> None:
        built = loss(name, **options)
        torch.testing.assert_close(built.mean(pred, target), built.elementwise(pred, target).mean(), rtol=1e-12, atol=0)

    def test_gradient(
        self, name: str, options: dict[str, Any], pred: Tensor, target: Tensor, formula: Callable[[Any, Any], float]
    ) -> None:
        built = loss(name, **options)
        leaf = pred.clone().requires_grad_()
        assert torch.autograd.gradcheck(lambda p: built.elementwise(p, target), leaf)
        assert torch.autograd.gradcheck(lambda p: built.mean(p, target), leaf)

    def test_its_own_data_pass_the_check(
        self, name: str, options: dict[str, Any], pred: Tensor, target: Tensor, formula: Callable[[Any, Any], float]
    ) -> None:
        assert loss(name, **options).check(pred, with_gaps(target, torch.arange(B) > 0)) == []

    def test_missing_labels_reach_neither_value_nor_gradient(
        self, name: str, options: dict[str, Any], pred: Tensor, target: Tensor, formula: Callable[[Any, Any], float]
    ) -> None:
        built = loss(name, **options)
        mask = torch.tensor([True, False, True, True, False, False, True])
        gaps = with_gaps(target, mask)
        leaf = pred.clone()
        leaf[1] = NAN
        leaf[4] = math.inf
        leaf.requires_grad_()
        value, count = masked_mean(built.elementwise, leaf, gaps, labelled(gaps), built.fill)
        (gradient,) = torch.autograd.grad(value, leaf)
        rows = pred[mask].clone().requires_grad_()
        expected = built.elementwise(rows, target[mask]).mean()
        assert int(count) == 4
        torch.testing.assert_close(value, expected)
        torch.testing.assert_close(gradient[mask], torch.autograd.grad(expected, rows)[0])
        assert gradient[~mask].eq(0).all()

    def test_no_label_at_all_is_zero(
        self, name: str, options: dict[str, Any], pred: Tensor, target: Tensor, formula: Callable[[Any, Any], float]
    ) -> None:
        built = loss(name, **options)
        gaps = with_gaps(target, torch.zeros(B, dtype=torch.bool))
        leaf = pred.clone().requires_grad_()
        value, count = masked_mean(built.elementwise, leaf, gaps, labelled(gaps), built.fill)
        assert value.item() == 0
        assert int(count) == 0
        assert torch.autograd.grad(value, leaf)[0].eq(0).all()

    def test_low_precision_is_computed_in_float32(
        self, name: str, options: dict[str, Any], pred: Tensor, target: Tensor, formula: Callable[[Any, Any], float]
    ) -> None:
        short = target.bfloat16() if target.is_floating_point() else target
        built = loss(name, **options)
        found = built.mean(pred.bfloat16(), short)
        assert found.dtype is torch.float32
        aligned = short.float() if short.is_floating_point() else short
        torch.testing.assert_close(found, built.mean(pred.bfloat16().float(), aligned))

    def test_never_asks_the_host(
        self, name: str, options: dict[str, Any], pred: Tensor, target: Tensor, formula: Callable[[Any, Any], float]
    ) -> None:
        built, output, label = loss(name, **options), pred.to("meta"), target.to("meta")  # no values there to ask for
        weight = torch.ones(B, device="meta")
        assert built.mean(output, label).shape == ()
        for reduction in get_args(Reduction):
            value, _ = masked_mean(built.elementwise, output, label, labelled(label), built.fill, weight, reduction)
            assert value.shape == ()

    def test_survives_pickle_and_copy(
        self, name: str, options: dict[str, Any], pred: Tensor, target: Tensor, formula: Callable[[Any, Any], float]
    ) -> None:
        built = loss(name, **options)
        value = built.mean(pred, target)
        for twin in (pickle.loads(pickle.dumps(built)), copy.deepcopy(built)):
            assert twin.mean(pred, target) == value
        assert built.options == options


@settings(max_examples=60, deadline=None)
@given(
    data=st.data(),
    case=st.sampled_from(SAME),
    rows=st.integers(1, 5),
    columns=st.integers(0, 3),
    reduction=st.sampled_from(["labelled", "batch"]),
    weighted=st.sampled_from(["no", "sample", "label"]),
)
def test_masked_is_plain_on_the_selected(
    data: st.DataObject, case: Case, rows: int, columns: int, reduction: Reduction, weighted: str
) -> None:
    name, options, outputs, targets, _ = case
    shape = (rows, columns) if columns else (rows,)
    pick = whole(data.draw(st.integers(0, 99)), B, *shape)
    pred, target = outputs[pick].clone().requires_grad_(), targets[pick]
    bits = data.draw(st.lists(st.booleans(), min_size=pred.numel(), max_size=pred.numel()))
    mask = torch.tensor(bits).view(shape)
    gaps = torch.where(mask, target, NAN if target.is_floating_point() else -100)
    weight = {"no": None, "sample": make(3, rows).abs(), "label": make(3, *shape).abs()}[weighted]
    built = loss(name, **options)

    value, divided = masked_mean(built.elementwise, pred, gaps, labelled(gaps), built.fill, weight, reduction)
    (gradient,) = torch.autograd.grad(value, pred)

    given = torch.ones(rows) if weight is None else weight
    full = (given[:, None] if given.ndim < len(shape) else given).expand(shape).double()
    chosen = pred.detach()[mask].requires_grad_()
    numerator = (built.elementwise(chosen, target[mask]) * full[mask]).sum()
    denominator = float(full[mask].sum()) if reduction == "labelled" else float(mask.numel())
    assert float(divided) == pytest.approx(denominator)
    plain = numerator / (denominator or 1)
    torch.testing.assert_close(value, plain)
    torch.testing.assert_close(gradient[mask], torch.autograd.grad(plain, chosen)[0])
    assert gradient[~mask].eq(0).all()


def test_known_denominator_is_used() -> None:
    target = torch.tensor([1.0, NAN, 3.0])
    value, divided = masked_mean(loss("mae").elementwise, torch.zeros(3), target, labelled(target), denominator=2)
    assert (value.item(), divided) == (2.0, 2)
    nothing = torch.full((3,), NAN)
    value, divided = masked_mean(loss("mae").elementwise, torch.zeros(3), nothing, labelled(nothing), denominator=0)
    assert (value.item(), divided) == (0.0, 0)


def test_vector_with_one_gap_is_no_label() -> None:
    target = torch.tensor([[1.0, 0.0], [NAN, 1.0]])
    pred = torch.tensor([[0.0, 1.0], [1.0, 1.0]], requires_grad=True)
    value, count = masked_mean(loss("cosine").elementwise, pred, target, labelled(target))
    assert value.item() == pytest.approx(1.0)
    assert int(count) == 1
    assert torch.autograd.grad(value, pred)[0][1].eq(0).all()


def test_dense_classes_with_another_ignore_index() -> None:
    pred, target = make(1, 2, K, 3, 3).requires_grad_(), whole(2, K, 2, 3, 3)
    mask = whole(3, 2, 2, 3, 3).bool()
    gaps = torch.where(mask, target, 255)
    for built in (loss("cross_entropy"), loss("cross_entropy", class_weight=WEIGHTS), loss("focal")):
        value, count = masked_mean(built.elementwise, pred, gaps, labelled(gaps, 255), built.fill)
        assert int(count) == int(mask.sum())
        torch.testing.assert_close(value, built.elementwise(pred, target)[mask].mean())
        torch.testing.assert_close(built.mean(pred, target), built.elementwise(pred, target).mean())
    expected = torch.nn.functional.cross_entropy(pred, gaps, ignore_index=255)
    value, _ = masked_mean(loss("cross_entropy").elementwise, pred, gaps, labelled(gaps, 255))
    torch.testing.assert_close(value, expected)


def test_class_weights_divide_by_samples_not_by_weights() -> None:
    pred, target, weights = torch.zeros(2, 2), torch.tensor([0, 1]), [1.0, 9.0]
    ours = loss("cross_entropy", class_weight=weights).mean(pred, target)
    torchs = torch.nn.functional.cross_entropy(pred, target, weight=torch.tensor(weights))
    assert ours.item() == pytest.approx(5 * math.log(2))
    assert torchs.item() == pytest.approx(math.log(2))


def test_balanced_weights_make_classes_equal() -> None:
    target = torch.tensor([0] * 6 + [1] * 3 + [2] + [-100] * 5)
    weights = balanced_class_weight(target, 3)
    assert weights == pytest.approx([10 / 18, 10 / 9, 10 / 3])
    sums = [weights[k] * int((target == k).sum()) for k in range(3)]
    assert sums == pytest.approx([sums[0]] * 3)
    assert balanced_class_weight(torch.tensor([0, 0]), 2) == [0.5, 1.0]
    with pytest.raises(ObjectiveError, match=r"expected 0\.\.1, found 0\.\.2"):
        balanced_class_weight(torch.tensor([0, 2]), 2)


def test_constants_born_in_inference_mode_train() -> None:
    built = loss("cross_entropy", class_weight=WEIGHTS)
    with torch.inference_mode():
        built.mean(ROWS, LABELS)
    leaf = ROWS.clone().requires_grad_()
    built.mean(leaf, LABELS).backward()
    assert leaf.grad is not None


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_focal_has_finite_slopes_where_it_is_certain(gamma: float) -> None:
    for pred, target in (
        (torch.tensor([200.0, -200.0, 200.0]), torch.tensor([1, 0, 0])),
        (torch.tensor([[200.0, 0.0], [0.0, 200.0]]), torch.tensor([0, 0])),
    ):
        leaf = pred.requires_grad_()
        loss("focal", gamma=gamma).mean(leaf, target).backward()
        assert leaf.grad is not None
        assert leaf.grad.isfinite().all()


def test_float64_targets_do_not_lift_float32_outputs() -> None:
    pred = torch.zeros(3, requires_grad=True)
    value = loss("mse").mean(pred, torch.ones(3, dtype=torch.float64))
    value.backward()
    assert value.dtype is torch.float32


def test_log_cosh_does_not_overflow() -> None:
    error = torch.tensor([1e4, -1e4])
    expected = 1e4 - math.log(2)
    assert loss("log_cosh").elementwise(error, torch.zeros(2)).tolist() == pytest.approx([expected, expected])


ALIASES = {
    "mse": ["mean_squared_error", "MSE", "MeanSquaredError", "l2"],
    "mae": ["mean_absolute_error", "MAE", "l1", "MeanAbsoluteError"],
    "huber": ["Huber", "huber_loss"],
    "log_cosh": ["logcosh", "LogCosh"],
    "poisson": ["Poisson"],
    "binary_cross_entropy": ["binary_crossentropy", "BinaryCrossentropy", "bce"],
    "cross_entropy": [
        "categorical_crossentropy",
        "sparse_categorical_crossentropy",
        "SparseCategoricalCrossentropy",
        "ce",
        "cross-entropy",
    ],
    "focal": ["binary_focal_crossentropy", "CategoricalFocalCrossentropy"],
    "hinge": ["Hinge"],
    "cosine": ["cosine_similarity", "CosineSimilarity"],
}


@pytest.mark.parametrize(("alias", "name"), [(alias, name) for name, many in ALIASES.items() for alias in many])
def test_aliases(alias: str, name: str) -> None:
    assert resolve_loss(alias).name == name


def test_no_alias_means_two_losses() -> None:
    names = [other.lower().replace("_", "") for name, spec in LOSSES.items() for other in {name, *spec.aliases}]
    assert len(names) == len(set(names))


def test_table_has_a_row_for_every_loss() -> None:
    rows = loss_table()
    assert [row["name"] for row in rows] == list(LOSSES)
    assert all(row["formula"] and row["missing"] and row["keras"] and row["kind"] for row in rows)


def test_what_resolves() -> None:
    built = loss("huber", delta=2.0)
    assert resolve_loss(built) is built
    assert resolve_loss({"name": "huber", "delta": 2.0}).mean(torch.zeros(1), torch.full((1,), 3.0)) == 4.0

    def relative(pred: Tensor, target: Tensor) -> dict[str, Tensor]:
        return {"a": (pred - target).abs(), "b": target}

    custom = resolve_loss(relative)
    assert (custom.name, custom.custom, custom.kind) == ("relative", True, None)
    assert custom.check(torch.zeros(1), torch.zeros(2)) == []
    for value in (custom.mean(torch.zeros(1), torch.ones(1)), custom.elementwise(torch.zeros(1), torch.ones(1))):
        assert list(value) == ["a", "b"]
    module = resolve_loss(torch.nn.MSELoss())
    assert (module.name, module.mean(torch.zeros(1), torch.ones(1)).item()) == ("MSELoss", 1.0)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("mean_sqared_error", ["'mean_sqared_error'", "Did you mean 'mse'?", "Known: binary_cross_entropy"]),
        ("zzz", ["found 'zzz'", "Known:"]),
        (
            {"name": "huber", "detla": 1, "delta": -1},
            [
                "2 problems",
                "unknown option 'detla'",
                "delta: a number above 0",
                "delta: expected a number above 0, found -1",
            ],
        ),
        ({"name": "mse", "delta": 1}, ["loss 'mse': unknown option 'delta'; its options: it has none"]),
        ({"name": "bce", "label_smoothing": 1.0}, ["expected a number in [0, 1), found 1.0"]),
        ({"name": "bce", "pos_weight": {1: 2.0}}, ["pos_weight: expected a number of 0 or more, or one per class"]),
        ({"name": "quantile", "quantiles": [0.5, 1.0]}, ["found [0.5, 1.0]"]),
        ({"name": "quantile", "quantiles": []}, ["found []"]),
        ({"name": "focal", "gamma": "2"}, ["gamma", "found '2'"]),
        ({"name": "poisson", "full": 1}, ["full: expected true or false, found 1"]),
        ({"name": "ce", "class_weight": [1, NAN]}, ["class_weight"]),
        ({"delta": 1}, ["expected a loss", "{'delta': 1}"]),
        (3, ["expected a loss", "found 3"]),
        (torch.nn.MSELoss, ["call it: MSELoss()"]),
    ],
)
def test_what_does_not_resolve(spec: object, words: list[str]) -> None:
    with pytest.raises(ObjectiveError) as error:
        resolve_loss(spec)
    assert [word for word in words if word not in str(error.value)] == []


@pytest.mark.parametrize(
    ("spec", "pred", "target", "words"),
    [
        ("mse", REAL, OTHER[:, None], ["(7,)", "found (7, 1)", "broadcast to (7, 7)", "target.reshape(7,)"]),
        ("bce", ROWS, YES, ["expected targets", "(7, 4)", "found (7,)"]),
        ("mse", REAL, torch.full((B,), math.inf), ["7 targets are infinite"]),
        ("mae", REAL, torch.tensor([-100, 1, 2, 3, 4, 5, -100]), ["2 integer targets equal -100"]),
        (
            "bce",
            REAL,
            torch.tensor([0.0, 1, 2, 5, NAN, 1, 0]),
            ["0, 1 or a probability", "found 2 others between 2 and 5"],
        ),
        ({"name": "bce", "pos_weight": [1, 2]}, REAL, YES, ["expected 1 weights, one per class, found 2"]),
        ("focal", REAL, torch.full((B,), 0.5), ["expected targets 0 or 1"]),
        ("poisson", REAL, LABELS - 9, ["counts of 0 or more", "found 7 others between -9 and"]),
        ("hinge", REAL, LABELS + 3, ["-1 and 1, or 0 and 1"]),
        ("cross_entropy", REAL, LABELS, ["expected one logit per class, [B, K], found outputs of shape (7,)"]),
        ("cross_entropy", ROWS, LABELS * 2, ["expected classes 0..3", "from 0 to 6 outside"]),
        ("cross_entropy", ROWS, LABELS.double(), ["expected integer class indices", "torch.float64"]),
        ("cross_entropy", ROWS, LABELS[:, None], ["class indices, shape (7,)", "found (7, 1)", "target.reshape(7,)"]),
        ("cross_entropy", ROWS, 2 + make(1, B, K).abs(), ["probabilities in 0..1"]),
        ("cross_entropy", make(1, 2, K, 3), make(2, 2, K, 3).softmax(1), ["shape [B, K]"]),
        ({"name": "ce", "class_weight": [1, 2]}, ROWS, LABELS, ["expected 4 weights, one per class, found 2"]),
        ({"name": "ce", "class_weight": {9: 2, 1: 1}}, ROWS, LABELS, ["classes 0..3, found weights of [9]"]),
        ("focal", ROWS, LABELS * 2, ["expected classes 0..3"]),
        ("ordinal", ROWS, LABELS + 2, ["expected classes 0..4", "from 2 to 5 outside"]),
        ("ordinal", REAL, LABELS, ["K - 1 cumulative logits"]),
        ("gaussian_nll", REAL, OTHER, ["expected 2 outputs per sample (mean and log variance)"]),
        ({"name": "quantile", "quantiles": [0.1, 0.9]}, ROWS, OTHER, ["2 outputs per sample (one per quantile)"]),
        ("cosine", REAL, OTHER, ["expected vectors [B, d]"]),
    ],
)
def test_checks(spec: object, pred: Tensor, target: Tensor, words: list[str]) -> None:
    problems = resolve_loss(spec).check(pred, target)
    assert len(problems) == 1
    assert [word for word in words if word not in problems[0]] == []


def test_check_reports_everything_at_once() -> None:
    problems = loss("cross_entropy", class_weight=[1.0]).check(ROWS, (LABELS * 2.0)[:, None])
    assert [p.split(",")[0].split(";")[0][:25] for p in problems] == [
        "expected 4 weights",
        "expected targets of class",
        "expected integer class in",
        "expected classes 0..3 fro",
    ]


@pytest.mark.parametrize(
    ("name", "pred", "target", "kind"),
    [
        ("bce", REAL, YES, "binary"),
        ("bce", REAL[:, None], YES[:, None], "binary"),
        ("bce", ROWS, ROWS, "multilabel"),
        ("focal", REAL, YES, "binary"),
        ("focal", ROWS, LABELS, "multiclass"),
        ("focal", ROWS, ROWS, "multilabel"),
        ("cross_entropy", ROWS, LABELS, "multiclass"),
        ("poisson", REAL, LABELS, "count"),
        ("ordinal", ROWS, LABELS, "ordinal"),
        ("mse", ROWS, ROWS, "regression"),
    ],
)
def test_kind(name: str, pred: Tensor, target: Tensor, kind: str) -> None:
    assert loss(name).kind_of(pred, target) == kind


def test_point_is_the_mean_and_the_median() -> None:
    assert torch.equal(loss("gaussian_nll").point(make(1, B, 2)), make(1, B, 2)[:, 0])
    assert torch.equal(loss("quantile", quantiles=[0.9, 0.5, 0.1]).point(ROWS[:, :3]), ROWS[:, 1])
    assert loss("mse").point(REAL) is REAL


def test_errors_of_masked_mean() -> None:
    target = torch.ones(3)
    with pytest.raises(ObjectiveError, match=r"one loss value per label \(3,\) or per sample, found shape \(\)"):
        masked_mean(lambda p, t: (p - t).mean(), target, target, labelled(target))
    with pytest.raises(ObjectiveError, match=r"sample weights of shape \(3,\) or \(3,\), found \(2,\)"):
        masked_mean(loss("mse").elementwise, target, target, labelled(target), weight=torch.ones(2))
