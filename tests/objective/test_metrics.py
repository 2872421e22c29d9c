"""Metrics against scikit-learn, over labelled samples only, in the user's units."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sklearn.metrics as sk
import torch
import torchmetrics
from scipy import stats
from torch import Tensor

from multiloss.core.errors import ObjectiveError
from multiloss.core.types import KINDS, Kind, Units
from multiloss.objective.defaults import DEFAULT_LOSSES, DEFAULT_METRICS, default_losses, default_metrics
from multiloss.objective.losses import loss
from multiloss.objective.metric_registry import METRICS, metric_keys, metric_name, row_of
from multiloss.objective.metrics import ALIASES, OutputMetrics, build_metric, higher_is_better

NAN = float("nan")
B, K, D = 60, 4, 3
Numbers = Callable[[Any, Any], float]


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def classes(high: int, *shape: int, seed: int = 1) -> Tensor:
    return torch.randint(0, high, shape, generator=torch.Generator().manual_seed(seed))


KEEP = torch.rand(B, generator=torch.Generator().manual_seed(9)) < 0.7


def blanked(target: Tensor, mask: Tensor = KEEP) -> Tensor:
    target = target.clone()
    target[~mask] = NAN if target.is_floating_point() else -100
    return target


def measured(
    kind: Kind, specs: Any, pred: Tensor, target: Tensor, size: int = 1, units: Units | None = None, batch: int = 7
) -> dict[str, float | None]:
    metrics = OutputMetrics({"y": specs}, {"y": kind}, {"y": size}, {} if units is None else {"y": units})
    for start in range(0, len(pred), batch):
        metrics.add({"y": pred[start : start + batch]}, {"y": target[start : start + batch]})
    return {key.removeprefix("y_"): value for key, value in metrics.compute().items()}


def agree(found: dict[str, float | None], expected: dict[str, float], rel: float = 2e-5) -> None:
    assert found == {key: pytest.approx(float(value), rel=rel, abs=1e-6) for key, value in expected.items()}


def spearman(target: Any, pred: Any) -> float:
    return float(stats.spearmanr(target, pred).statistic)


def pearson(target: Any, pred: Any) -> float:
    return float(stats.pearsonr(target, pred).statistic)


REGRESSION: dict[str, Numbers] = {
    "mae": sk.mean_absolute_error, "mse": sk.mean_squared_error, "rmse": sk.root_mean_squared_error,
    "r2": sk.r2_score, "mape": sk.mean_absolute_percentage_error, "pearson": pearson, "spearman": spearman,
}  # fmt: skip


def test_every_metric_is_tested_here() -> None:
    assert set(METRICS) == {*REGRESSION, *HARD, *SOFT}


@pytest.mark.parametrize("units", [None, Units(torch.tensor(1000.0), torch.tensor(20.0))])
def test_regression(units: Units | None) -> None:
    raw = random(B, seed=2)
    pred = raw + 0.5 * random(B, seed=3)
    scale, mean = (1.0, 0.0) if units is None else (20.0, 1000.0)
    t, p = (x[KEEP].double().numpy() * scale + mean for x in (raw, pred))
    agree(
        measured("regression", list(REGRESSION), pred, blanked(raw), units=units),
        {n: f(t, p) for n, f in REGRESSION.items()},
    )


def test_count_is_measured_as_a_count() -> None:
    raw, counts = random(B, seed=2), classes(9, B)
    t, p = counts[KEEP].double().numpy(), raw[KEEP].double().exp().numpy()
    names = ["mae", "mse", "rmse", "r2", "pearson", "spearman"]
    for target in (blanked(counts), blanked(counts.float())):
        agree(measured("count", names, raw, target), {n: REGRESSION[n](t, p) for n in names})


@pytest.mark.parametrize("offset", [1e4, 1e6])
def test_targets_far_from_zero_keep_their_digits(offset: float) -> None:
    """In float32 the R2 of torchmetrics is 0.99 where it should be 0.88."""
    raw = random(B, seed=2)
    pred = raw + 0.3 * random(B, seed=3)
    units = Units(torch.tensor(offset), torch.tensor(1.0))
    t, p = raw.double().numpy() + offset, pred.double().numpy() + offset
    names = ["mae", "rmse", "r2", "pearson"]
    agree(measured("regression", names, pred, raw, units=units), {n: REGRESSION[n](t, p) for n in names}, rel=1e-4)


def test_several_columns_in_their_own_units() -> None:
    raw, pred = random(B, D, seed=2), random(B, D, seed=3)
    units = Units(torch.tensor([0.0, 100.0, 1e4]), torch.tensor([1.0, 5.0, 100.0]))
    holes = raw.clone()
    holes[KEEP.logical_not(), 1] = NAN
    holes[3] = NAN
    mask = ~holes.isnan()
    t, p = ((x.double() * units.scale + units.mean).numpy() for x in (raw, pred))
    rows = mask.all(1).numpy()
    expected = {name: REGRESSION[name](t[mask.numpy()], p[mask.numpy()]) for name in ("mae", "mse", "rmse", "mape")}
    for name in ("r2", "pearson", "spearman"):
        expected[name] = float(np.mean([REGRESSION[name](t[rows, i], p[rows, i]) for i in range(D)]))
    agree(measured("regression", list(REGRESSION), pred, holes, D, units), expected)
    assert expected["r2"] == pytest.approx(sk.r2_score(t[rows], p[rows]))
    own = torchmetrics.R2Score(multioutput="raw_values")
    with pytest.raises(ObjectiveError, match="'r2score' of 'y': expected one number"):
        measured("regression", [own], pred, raw, D)
    one = measured("regression", ["r2"], pred[:, :1], raw[:, :1], 1)
    agree(one, {"r2": sk.r2_score(raw[:, 0].numpy(), pred[:, 0].numpy())})


HARD: dict[str, Numbers] = {
    "accuracy": sk.accuracy_score, "balanced_accuracy": sk.balanced_accuracy_score,
    "precision": lambda t, p: sk.precision_score(t, p, average="macro", zero_division=0),
    "recall": lambda t, p: sk.recall_score(t, p, average="macro", zero_division=0),
    "f1": lambda t, p: sk.f1_score(t, p, average="macro", zero_division=0),
    "kappa": sk.cohen_kappa_score, "mcc": sk.matthews_corrcoef,
}  # fmt: skip
SOFT = ("auroc", "average_precision")


def one_against_rest(name: str, target: Any, probabilities: Any) -> float:
    function = sk.roc_auc_score if name == "auroc" else sk.average_precision_score
    return float(np.mean([function(target == k, probabilities[:, k]) for k in np.unique(target)]))


@pytest.mark.parametrize("target", ["zero and one", "probabilities", "minus one and one", "integers", "booleans"])
def test_binary(target: str) -> None:
    logits, y = random(B, seed=2), classes(2, B)
    given = {
        "zero and one": y.float(), "probabilities": y * 0.8 + 0.1, "minus one and one": 2.0 * y - 1,
        "integers": y, "booleans": y.bool(),
    }[target]  # fmt: skip
    keep = torch.ones(B, dtype=torch.bool) if target == "booleans" else KEEP
    t, p = y[keep].numpy(), logits[keep].sigmoid().numpy()
    plain: dict[str, Numbers] = {
        **HARD, "precision": sk.precision_score, "recall": sk.recall_score, "f1": sk.f1_score
    }  # fmt: skip
    expected = {name: function(t, p > 0.5) for name, function in plain.items()}
    expected |= {"auroc": sk.roc_auc_score(t, p), "average_precision": sk.average_precision_score(t, p)}
    found = measured("binary", list(expected), logits, given if target == "booleans" else blanked(given))
    agree(found, expected)


@pytest.mark.parametrize("seen", [K, K - 1], ids=["all classes", "one class without a label"])
def test_multiclass(seen: int) -> None:
    logits, y = random(B, K, seed=2) + 2 * torch.eye(K)[classes(seen, B)], classes(seen, B)
    logits[:, -1] -= 0.0 if seen == K else 5.0
    t, p = y[KEEP].numpy(), logits[KEEP].softmax(1).numpy()
    expected = {name: function(t, p.argmax(1)) for name, function in HARD.items()}
    expected |= {name: one_against_rest(name, t, p) for name in SOFT}
    agree(measured("multiclass", list(expected), logits, blanked(y), K), expected)


def test_a_class_that_is_predicted_and_never_seen_is_no_recall() -> None:
    logits = torch.eye(3)[torch.tensor([0, 1, 2, 1])] * 9
    y = torch.tensor([0, 1, 1, 1])
    with pytest.warns(UserWarning, match="y_pred contains classes not in y_true"):
        expected = sk.balanced_accuracy_score(y.numpy(), [0, 1, 2, 1])
    assert measured("multiclass", ["balanced_accuracy"], logits, y, 3)["balanced_accuracy"] == pytest.approx(expected)


def test_class_probabilities_as_labels() -> None:
    logits, soft = random(B, K, seed=2), random(B, K, seed=3).softmax(1)
    found = measured("multiclass", ["accuracy", "f1"], logits, blanked(soft), K)
    t, p = soft.argmax(1)[KEEP].numpy(), logits.argmax(1)[KEEP].numpy()
    agree(found, {"accuracy": HARD["accuracy"](t, p), "f1": HARD["f1"](t, p)})


def test_ordinal() -> None:
    logits, y = random(B, K - 1, seed=2).sort(1, descending=True).values, classes(K, B)
    above = np.pad(logits[KEEP].double().sigmoid().numpy(), ((0, 0), (1, 1)), constant_values=((0, 0), (1, 0)))
    p = above[:, :-1] - above[:, 1:]
    t = y[KEEP].numpy()
    expected = {name: function(t, p.argmax(1)) for name, function in HARD.items() if name != "kappa"}
    expected |= {name: one_against_rest(name, t, p) for name in SOFT}
    expected["kappa"] = sk.cohen_kappa_score(t, p.argmax(1), weights="quadratic")
    agree(measured("ordinal", list(expected), logits, blanked(y), K), expected)


def test_multilabel_with_labels_missing_one_by_one() -> None:
    logits, y = random(B, D, seed=2), classes(2, B, D)
    mask = torch.rand(B, D, generator=torch.Generator().manual_seed(5)) < 0.7
    mask[4] = False
    columns = [(y[mask[:, i], i].numpy(), logits[mask[:, i], i].sigmoid().numpy()) for i in range(D)]

    def macro(function: Numbers, hard: bool) -> float:
        return float(np.mean([function(t, p > 0.5 if hard else p) for t, p in columns]))

    flat, guessed = y[mask].numpy(), logits[mask].numpy() > 0
    expected = {
        "accuracy": sk.accuracy_score(flat, guessed), "mcc": sk.matthews_corrcoef(flat, guessed),
        "precision": macro(sk.precision_score, True), "recall": macro(sk.recall_score, True),
        "f1": macro(sk.f1_score, True), "auroc": macro(sk.roc_auc_score, False),
        "average_precision": macro(sk.average_precision_score, False),
    }  # fmt: skip
    for target in (blanked(y, mask), blanked(y.float(), mask), blanked(y * 0.8 + 0.1, mask)):
        agree(measured("multilabel", list(expected), logits, target, D), expected)
    only = y.clone()
    only[:, 1] = 1  # a label without a no says nothing about the order
    rest = [i for i in range(D) if i != 1]
    auroc = np.mean([sk.roc_auc_score(y[mask[:, i], i], logits[mask[:, i], i]) for i in rest])
    agree(measured("multilabel", ["auroc"], logits, blanked(only, mask), D), {"auroc": float(auroc)})


# ----------------------------------------------------------------------------------------- too little to say

SPARSE: list[tuple[Kind, list[str], Tensor, Tensor, int, list[float | None]]] = [
    ("regression", ["mae", "r2", "pearson"], torch.ones(3), torch.tensor([2.0, NAN, NAN]), 1, [1.0, None, None]),
    ("regression", ["mae"], torch.ones(3), torch.full((3,), NAN), 1, [None]),
    ("regression", ["r2", "mae"], torch.ones(3, 2), torch.tensor([[0.0, NAN]] * 3), 2, [None, 1.0]),
    ("binary", ["auroc", "average_precision", "accuracy"], torch.ones(3), torch.ones(3), 1, [None, None, 1.0]),
    ("binary", ["auroc", "accuracy", "balanced_accuracy"], torch.ones(3), torch.full((3,), NAN), 1, [None] * 3),
    ("multiclass", ["auroc", "accuracy"], torch.eye(3), torch.tensor([0, -100, -100]), 3, [None, 1.0]),
    ("multiclass", ["balanced_accuracy"], torch.eye(3), torch.full((3,), -100), 3, [None]),
    ("multilabel", ["auroc", "accuracy"], torch.ones(3, 2), torch.ones(3, 2), 2, [None, 1.0]),
    ("multilabel", ["f1"], torch.ones(3, 2), torch.full((3, 2), NAN), 2, [None]),
    ("ordinal", ["auroc"], torch.zeros(3, 2), torch.tensor([1, 1, 1]), 3, [None]),
]


@pytest.mark.parametrize(("kind", "specs", "pred", "target", "size", "values"), SPARSE)
def test_where_there_is_nothing_to_say_the_value_is_none(
    kind: Kind, specs: list[str], pred: Tensor, target: Tensor, size: int, values: list[float | None]
) -> None:
    assert measured(kind, specs, pred, target, size) == dict(zip(specs, values, strict=True))


def test_an_epoch_without_the_target_and_the_next_one_with_it() -> None:
    metrics = OutputMetrics({"y": ["mae"], "z": []}, {"y": "regression", "z": "binary"}, {"y": 1, "z": 1})
    metrics.add({"y": torch.ones(2), "z": torch.ones(2)}, {"z": torch.ones(2)})
    assert metrics.compute() == {"y_mae": None}
    metrics.add({"y": torch.ones(2)}, {"y": torch.zeros(2)})
    assert metrics.compute() == {"y_mae": 1.0} and metrics.compute() == {"y_mae": None}


def test_a_value_that_is_not_finite_is_none() -> None:
    assert measured("regression", ["mae"], torch.tensor([math.inf]), torch.ones(1)) == {"mae": None}


# ------------------------------------------------------------------------------ flushing, saving, resuming

EVERY: list[tuple[Kind, Tensor, Tensor, int]] = [
    ("regression", random(B), blanked(random(B, seed=4)), 1),
    ("regression", random(B, D), blanked(random(B, D, seed=4)), D),
    ("binary", random(B), blanked(classes(2, B).float()), 1),
    ("multiclass", random(B, K), blanked(classes(K, B)), K),
    ("ordinal", random(B, K - 1), blanked(classes(K, B)), K),
    ("multilabel", random(B, D), blanked(classes(2, B, D)), D),
    ("count", random(B), blanked(classes(5, B)), 1),
]


@pytest.mark.parametrize("flush", [0, 50, 10**9])
@pytest.mark.parametrize(("kind", "pred", "target", "size"), EVERY)
def test_flushed_saved_and_resumed_give_the_same(
    kind: Kind, pred: Tensor, target: Tensor, size: int, flush: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    specs: list[Any] = [name for name, row in METRICS.items() if row.fits(kind)]
    specs.append(torchmetrics.MeanSquaredError() if kind in ("regression", "count") else "acc")
    straight = measured(kind, specs, pred, target, size, batch=B)
    monkeypatch.setattr("multiloss.objective.metrics.FLUSH", flush)

    def made() -> OutputMetrics:
        return OutputMetrics({"y": specs}, {"y": kind}, {"y": size})

    one, through = made(), made()
    for cut in (20, 40, B):
        for start in range(cut - 20, cut, 5):
            for metrics in (one, through):
                metrics.add({"y": pred[start : start + 5]}, {"y": target[start : start + 5]})
        saved = {key: value.clone() for key, value in one.state_dict().items()}
        one = made()
        one.add({"y": pred[:9]}, {"y": target[:9]})  # is forgotten
        one.load_state_dict(saved)
        assert one.state_dict().keys() == saved.keys()
        for key, value in one.state_dict().items():
            torch.testing.assert_close(value, saved[key], rtol=0, atol=0, equal_nan=True)
    found = {key.removeprefix("y_"): value for key, value in one.compute().items()}
    assert found == {key.removeprefix("y_"): value for key, value in through.compute().items()}
    assert found == {key: pytest.approx(value, rel=1e-5, abs=1e-7) for key, value in straight.items()}
    assert None not in straight.values()


def test_the_state_is_plain_tensors_also_before_anything_was_seen() -> None:
    metrics = OutputMetrics(
        {"y": ["auroc", "spearman"][:1], "z": ["spearman"]}, {"y": "binary", "z": "regression"}, {"y": 1, "z": 1}
    )
    state = metrics.state_dict()
    assert all(isinstance(value, Tensor) for value in state.values())
    metrics.load_state_dict(state)
    assert metrics.compute() == {"y_auroc": None, "z_spearman": None}


def test_gathering_holds_no_graph_and_asks_nothing() -> None:
    metrics = OutputMetrics({"y": ["mae"]}, {"y": "regression"}, {"y": 1})
    pred = torch.ones(3, requires_grad=True) * 2
    metrics.add({"y": pred}, {"y": torch.zeros(3)})
    assert not metrics._gathered["y"][0][0].requires_grad


def test_what_was_gathered_is_let_go_when_it_is_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("multiloss.objective.metrics.FLUSH", 10)
    metrics = OutputMetrics({"y": ["mae"]}, {"y": "regression"}, {"y": 1})
    held = []
    for _ in range(5):
        metrics.add({"y": torch.ones(4)}, {"y": torch.zeros(4)})
        held.append(len(metrics._gathered["y"]))
    assert held == [1, 2, 0, 1, 2] and metrics.compute() == {"y_mae": 1.0}


def test_sums_of_many_flushes_are_in_double_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("multiloss.objective.metrics.FLUSH", 0)
    pred = torch.cat([torch.tensor([1e4]), torch.full((99,), 0.5)])  # 1e8 + 0.25 is 1e8 in float32
    assert measured("regression", ["mse"], pred, torch.zeros(100), batch=1)["mse"] == (1e8 + 99 * 0.25) / 100


def test_half_precision_predictions_are_measured_in_full() -> None:
    pred = torch.full((5000,), 1.0, dtype=torch.bfloat16)
    assert measured("regression", ["mae"], pred, torch.zeros(5000), batch=5000)["mae"] == 1.0
    assert measured("binary", ["accuracy"], pred, torch.ones(5000), batch=5000)["accuracy"] == 1.0


# ------------------------------------------------------------------------------------- names and mistakes


@pytest.mark.parametrize(("alias", "name"), ALIASES.items())
def test_aliases_measure_the_same(alias: str, name: str) -> None:
    kind: Kind = "regression" if METRICS[name].regression else "binary"
    pred, target = random(B), classes(2, B).float()
    found = measured(kind, [alias, name], pred, target)
    assert list(found) == [alias, name] and found[alias] == found[name] is not None
    assert higher_is_better(alias) is higher_is_better(name) is METRICS[name].rising


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", METRICS)
def test_a_metric_that_does_not_fit_names_those_that_do(kind: Kind, name: str) -> None:
    if METRICS[name].fits(kind):
        assert hasattr(build_metric(name, kind, 3), "update")
        return
    with pytest.raises(
        ObjectiveError, match=f"metric '{name}' does not fit a {kind} output. Metrics that do: "
    ) as caught:
        build_metric(name, kind, 3)
    offered = str(caught.value).split("do: ")[1].split(", ")
    assert offered == [other for other, row in METRICS.items() if row.fits(kind)]


def test_all_metrics_that_do_not_fit_are_named_at_once() -> None:
    with pytest.raises(ObjectiveError, match="3 problems") as caught:
        OutputMetrics(
            {"a": ["mae", "acuracy"], "b": ["auroc", torchmetrics.MeanMetric]},  # type: ignore[list-item]
            {"a": "binary", "b": "binary"},
            {"a": 1, "b": 1},
        )
    text = str(caught.value)
    assert (
        "a: metric 'mae' does not fit" in text and "Did you mean 'accuracy'" in text and "call it: MeanMetric" in text
    )


def test_objects_of_torchmetrics_are_copied_and_two_of_a_class_kept_apart() -> None:
    one, two = torchmetrics.FBetaScore("binary", beta=0.5), torchmetrics.FBetaScore("binary", beta=2.0)
    assert metric_keys(["accuracy", one, two, "accuracy"]).keys() == {
        "accuracy",
        "binary_fbeta_score",
        "binary_fbeta_score_2",
    }
    logits, y = random(B), classes(2, B)
    found = measured("binary", [one, two, "f1"], logits, blanked(y))
    t, p = y[KEEP].numpy(), logits[KEEP].numpy() > 0
    agree(
        found,
        {
            "binary_fbeta_score": sk.fbeta_score(t, p, beta=0.5),
            "binary_fbeta_score_2": sk.fbeta_score(t, p, beta=2.0),
            "f1": sk.f1_score(t, p),
        },
    )
    assert one.update_count == 0 and higher_is_better("binary_fbeta_score_2", [one, two]) is True
    assert metric_name(torchmetrics.MeanMetric()) == "mean_metric"


def test_directions() -> None:
    assert [name for name in METRICS if higher_is_better(name) is False] == ["mae", "mse", "rmse", "mape"]
    assert higher_is_better("no such metric") is None and row_of(3) is None
    assert higher_is_better("mean_metric", [torchmetrics.MeanMetric()]) is None


def test_defaults_fit_their_kind() -> None:
    assert set(DEFAULT_LOSSES) == set(DEFAULT_METRICS) == set(KINDS)
    for kind in KINDS:
        assert loss(default_losses({"y": kind})["y"]).kind in (kind, "binary")
        for name in default_metrics({"y": kind})["y"]:
            assert METRICS[name].fits(kind)
    default_metrics({"y": "binary"})["y"].append("own")
    assert default_metrics({"y": "binary"}) == {"y": ["accuracy"]}
