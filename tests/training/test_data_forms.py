"""Every form of data gives the same training as tensors do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from training_tasks import make_data, make_model, make_objective, make_trainer, same, state, without_time

import multiloss as ml
from multiloss.training.intake import intake_both

NAMES = ["price", "kind", "sold"]


class Rows(Dataset[Any]):
    """Rows of inputs and targets by name, as a user's own Dataset yields them."""

    def __init__(self, x: Tensor, y: dict[str, Tensor], weight: Tensor | None = None) -> None:
        self.x, self.y, self.weight = x, y, weight

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> Any:
        item = self.x[index], {name: target[index] for name, target in self.y.items()}
        return item if self.weight is None else (*item, dict.fromkeys(self.y, self.weight[index]))


def nullable(y: dict[str, Tensor]) -> dict[str, list[float | None]]:
    """Return targets as columns of a table, missing labels as None."""
    return {
        name: [None if value != value or value == -100 else value for value in target.tolist()]
        for name, target in y.items()
    }


FORMS: dict[str, Callable[[Tensor, dict[str, Tensor]], Any]] = {
    "arrays": lambda x, y: (x.numpy(), {name: t.numpy() for name, t in y.items()}),
    "float64 arrays": lambda x, y: (
        x.numpy().astype(np.float64),
        {name: t.numpy().astype(np.float64) if t.is_floating_point() else t.numpy() for name, t in y.items()},
    ),
    "small integers": lambda x, y: (x, {**y, "kind": y["kind"].to(torch.int16)}),
    "targets in order": lambda x, y: (x, [y[name] for name in NAMES]),
    "lists": lambda x, y: (x.tolist(), {name: t.tolist() for name, t in y.items()}),
    "series": lambda x, y: (x, {name: pd.Series(t.numpy()) for name, t in y.items()}),
    "frames": lambda x, y: (
        pl.DataFrame(x.numpy(), schema=[f"x{i}" for i in range(5)], orient="row"),
        pl.DataFrame(nullable(y)),
    ),
    "one polars frame": lambda x, y: pl.DataFrame({**{f"x{i}": x[:, i].numpy() for i in range(5)}, **nullable(y)}),
    "one pandas frame": lambda x, y: pd.DataFrame({**{f"x{i}": x[:, i].numpy() for i in range(5)}, **nullable(y)}),
    "frame and mapping": lambda x, y: (pd.DataFrame(x.numpy()), y),
}


@pytest.mark.parametrize("missing", [0.0, 0.4])
@pytest.mark.parametrize("form", FORMS)
def test_forms_in_memory_are_the_same_training(form: str, missing: float) -> None:
    x, y = make_data(40, missing)
    model, other = make_model(), make_model()
    expected = make_trainer(model).fit((x, y), validation=0.25, epochs=2, batch_size=8)
    found = make_trainer(other).fit(FORMS[form](x, y), validation=0.25, epochs=2, batch_size=8)
    assert without_time(found) == without_time(expected)
    assert same(state(model), state(other))


@pytest.mark.parametrize("missing", [0.0, 0.4])
@pytest.mark.parametrize("kind", ["dataset", "loader"])
def test_a_loader_in_order_is_the_loop_over_its_batches(kind: str, missing: float) -> None:
    """The loader keeps the user's order, so the same as tensors whose epoch is not shuffled."""
    x, y = make_data(40, missing)
    model, other = make_model(), make_model()
    data: Any = DataLoader(Rows(x, y), batch_size=40) if kind == "loader" else Rows(x, y)
    found = make_trainer(model).fit(data, epochs=1, batch_size=40)
    expected = make_trainer(other).fit((x, y), epochs=1, batch_size=40)
    assert found["loss"] == pytest.approx(expected["loss"], rel=1e-6)
    assert found.ledger(1)["kind"].count == expected.ledger(1)["kind"].count
    for name, value in state(other).items():
        assert torch.allclose(value, state(model)[name], atol=1e-7)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_shuffled_loader_gives_the_same_numbers_again(workers: int) -> None:
    x, y = make_data(30, missing=0.2)
    runs = []
    for _ in range(2):
        loader = DataLoader(Rows(x, y), batch_size=7, shuffle=True, num_workers=workers)
        model = make_model(dropout=0.2)
        history = make_trainer(model).fit(loader, validation=(x, y), epochs=2 if workers else 3, seed=4)
        runs.append((without_time(history), state(model)))
    assert runs[0][0] == runs[1][0]
    assert same(runs[0][1], runs[1][1])


def test_an_iterable_dataset_without_a_length_trains() -> None:
    class Stream(torch.utils.data.IterableDataset[Any]):
        def __iter__(self) -> Any:
            x, y = make_data(20)
            yield from ((x[i], {name: t[i] for name, t in y.items()}) for i in range(20))

    objective = make_objective({"price": ml.ramp(0, 1, epochs=2)}, metrics=False)
    history = make_trainer(make_model(), objective).fit(Stream(), epochs=3, batch_size=8)
    assert history.ledger(2)["price"].count == 20
    assert history.ledger(2).steps == 3
    assert [history.ledger(epoch)["price"].weight for epoch in (1, 2, 3)] == [0.0, 0.5, 1.0]  # by whole epochs


def test_batches_of_single_outputs_train_those_outputs() -> None:
    """A key absent from the targets of a batch is an output without labels in it, also in the first batch."""
    x, y = make_data(24)
    batches = [(x[i : i + 8], {NAMES[i // 8]: y[NAMES[i // 8]][i : i + 8]}) for i in (0, 8, 16)]
    loader: Any = DataLoader(batches, batch_size=None)  # type: ignore[arg-type]
    history = make_trainer(make_model(), make_objective(metrics=False)).fit(loader, epochs=1)
    record = history.ledger(1)
    assert [record[name].count for name in NAMES] == [8, 8, 8]
    assert sum(term.contribution for term in record) == pytest.approx(record.total, rel=1e-6)


class TwoInputs(nn.Module):
    """Inputs by keyword."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(3, 8), nn.Linear(10, 1)

    def forward(self, left: Tensor, right: Tensor) -> dict[str, Tensor]:
        return {"y": self.head(torch.cat([self.body(left).relu(), right], 1)).squeeze(1)}


def test_inputs_by_keyword_by_position_and_from_a_loader_are_the_same() -> None:
    g = torch.Generator().manual_seed(0)
    left, right, y = torch.randn(20, 3, generator=g), torch.randn(20, 2, generator=g), torch.randn(20, generator=g)
    stacked = torch.utils.data.StackDataset(
        torch.utils.data.StackDataset(left=left, right=right),  # type: ignore[arg-type]
        torch.utils.data.StackDataset(y=y),  # type: ignore[arg-type]
    )
    forms: list[Any] = [
        ({"right": right, "left": left}, {"y": y}),
        ((left, right), y),
        ({"left": left.numpy(), "right": right.numpy()}, [y]),
        DataLoader(stacked, batch_size=20),
    ]
    ends = []
    for data in forms:
        torch.manual_seed(1)
        model = TwoInputs()
        make_trainer(model, ml.Objective({"y": "mse"})).fit(data, batch_size=20)
        ends.append(state(model))
        predicted = make_trainer(model, ml.Objective({"y": "mse"})).predict(data)
        with torch.no_grad():
            assert torch.allclose(predicted["y"], model(left=left, right=right)["y"], atol=1e-6)
    for end in ends[1:]:
        assert all(torch.allclose(end[name], ends[0][name], atol=1e-7) for name in end)


def test_integer_targets_serve_float_losses() -> None:
    x = torch.randn(30, 2, generator=torch.Generator().manual_seed(0))
    counts = torch.arange(30) % 4
    model = ml.HardSharing(ml.MLP(2, [4]), {"a": ml.CountHead(4), "b": ml.BinaryHead(4), "c": ml.RegressionHead(4)})
    objective = ml.Objective({"a": "poisson", "b": "binary_cross_entropy", "c": "mse"})
    whole = {"a": counts, "b": counts > 1, "c": counts.masked_fill(counts == 0, -100)}
    history = make_trainer(model, objective).fit((x, whole), epochs=1)
    assert history.ledger(1)["a"].count == 30
    assert history.ledger(1)["c"].count == int((counts != 0).sum())


def test_an_ignore_index_of_the_users_own_reaches_losses_counts_and_metrics() -> None:
    x, y = make_data(40, missing=0.3)
    model, other = make_model(), make_model()
    losses, metrics = {"kind": "cross_entropy"}, {"kind": ["accuracy"]}
    own = ml.Objective(losses, metrics=metrics, ignore_index=-1)
    usual = ml.Objective(losses, metrics=metrics)
    renamed = {"kind": y["kind"].masked_fill(y["kind"] == -100, -1)}
    found = make_trainer(model, own).fit((x, renamed), validation=0.25, epochs=2, batch_size=8)
    expected = make_trainer(other, usual).fit((x, {"kind": y["kind"]}), validation=0.25, epochs=2, batch_size=8)
    assert without_time(found) == without_time(expected)
    assert same(state(model), state(other))
    loader = DataLoader(Rows(x, renamed), batch_size=8)
    assert make_trainer(make_model(), own).fit(loader).ledger(1)["kind"].count == int((y["kind"] != -100).sum())


def test_a_schema_reads_tables_and_pairs_of_tables() -> None:
    n = 60
    rng = np.random.default_rng(0)
    frame = pl.DataFrame(
        {
            "size": rng.normal(100, 20, n),
            "colour": rng.choice(["red", "green"], n),
            "price": rng.normal(1000, 100, n),
            "sold": rng.choice(["yes", "no"], n),
        }
    )
    columns = ["price", "sold"]
    forms: list[Any] = [
        frame,
        pd.DataFrame(frame.to_dict(as_series=False)),
        (frame.drop(columns), frame.select(columns)),
    ]
    ends = []
    for data in forms:
        torch.manual_seed(0)
        model = ml.table_model(frame, outputs=columns, trunk=[8])
        objective = ml.Objective(
            {"price": "mse", "sold": "binary_cross_entropy"}, metrics={"price": ["mae"], "sold": ["accuracy"]}
        )
        trainer = make_trainer(model, objective)
        history = trainer.fit(data, validation=0.2, epochs=2)
        ends.append((without_time(history), state(model), trainer.predict(frame.drop(columns))))
    assert ends[0][0] == ends[1][0] == ends[2][0]
    assert same(ends[0][1], ends[1][1]) and same(ends[0][1], ends[2][1])
    assert 500 < ends[0][2]["price"].mean() < 1500  # the user's units
    with pytest.raises(ml.DataError, match="same number of rows, found 60 and 59"):
        trainer.fit((frame.drop(columns), frame.select(columns).head(59)))


@pytest.mark.parametrize("form", ["one", "by name", "third of the tuple", "dataset", "held out"])
def test_sample_weights(form: str) -> None:
    """A weight of 0 leaves a row out; whole weights repeat it."""
    x, y = make_data(24)
    weight = (torch.arange(24) % 3).float()
    repeated = torch.arange(24).repeat_interleave(weight.long())
    model, other = make_model(), make_model()
    objective, expected = make_objective(metrics=False), make_objective(metrics=False)
    by_name = dict.fromkeys(y, weight)
    trainer = make_trainer(model, objective, optimizer="sgd", lr=0.1)
    if form == "one":
        history = trainer.fit((x, y), batch_size=24, sample_weight=weight)
    elif form == "by name":
        history = trainer.fit((x.numpy(), y), batch_size=24, sample_weight={k: w.numpy() for k, w in by_name.items()})
    elif form == "third of the tuple":
        history = trainer.fit((x, y, weight.tolist()), batch_size=24)
    elif form == "dataset":
        history = trainer.fit(Rows(x, y, weight), batch_size=24)
    else:
        history = trainer.fit((x, y), batch_size=24, sample_weight=by_name, validation=0.25)
        kept = trainer.fit((x, y), batch_size=24, sample_weight=weight, validation=0.25)
        assert kept.ledger(1)["price"].count == history.ledger(1)["price"].count == 18
        return
    hand = make_trainer(other, expected, optimizer="sgd", lr=0.1)
    wanted = hand.fit((x[repeated], {k: t[repeated] for k, t in y.items()}), batch_size=len(repeated))
    assert history["loss"] == pytest.approx(wanted["loss"], rel=1e-5)
    for name, value in state(other).items():
        assert torch.allclose(value, state(model)[name], atol=1e-6)


def test_validation_keeps_every_class_and_every_output() -> None:
    x, y = make_data(60)
    rare = torch.zeros(60, dtype=torch.long)
    rare[:2], rare[2:4] = 1, 2
    few = torch.full((60,), torch.nan)
    few[[5, 17]] = 1.0
    trainer = make_trainer(make_model())
    data = x, {"price": few, "kind": rare, "sold": y["sold"]}
    train, held = intake_both(data, 0.3, 0, batch_size=8, sample_weight=None, **trainer._intake_options())
    assert held is not None and train.rows is not None and held.rows is not None
    assert train.rows + held.rows == 60
    for source in (train, held):
        batches = list(source.batches(None))
        assert set(torch.cat([b.targets["kind"] for b in batches]).tolist()) == {0, 1, 2}
        assert sum(b.counts["price"] for b in batches) == 1


def test_a_fraction_of_a_dataset_is_held_out() -> None:
    x, y = make_data(40)
    history = make_trainer(make_model()).fit(Rows(x, y), validation=0.25, batch_size=8)
    assert history.ledger(1)["price"].count == 30
    assert history.ledger(1, "validation")["price"].count == 10


@pytest.mark.parametrize("data", ["tensors", "dataset", "frame", "loader"])
def test_validation_data_of_any_form(data: str) -> None:
    x, y = make_data(40, missing=0.3)
    held_x, held_y = make_data(30, missing=0.3, seed=1)
    forms: dict[str, Any] = {
        "tensors": (held_x, held_y),
        "dataset": Rows(held_x, held_y),
        "frame": FORMS["one polars frame"](held_x, held_y),
        "loader": DataLoader(Rows(held_x, held_y), batch_size=7, shuffle=True),
    }
    trainer = make_trainer(make_model())
    history = trainer.fit((x, y), validation=forms[data], batch_size=8)
    expected = trainer.evaluate((held_x, held_y))
    for key, value in expected.items():
        assert history[f"val_{key}"] == [pytest.approx(value, rel=1e-5)], key


@pytest.mark.parametrize(
    ("data", "options", "words"),
    [
        (lambda x, y: x, {}, "expected .inputs, targets., a data frame"),
        (lambda x, y: (x, {**y, "prize": y["price"]}), {}, "Did you mean 'price'"),
        (lambda x, y: (x[:-1], y), {}, "same number of rows"),
        (lambda x, y: (x[:-1], y), {"validation": 0.2}, "same number of rows"),
        (lambda x, y: (x, y), {"batch_size": 0}, "batch_size"),
        (lambda x, y: (x, y), {"sample_weight": torch.ones(3)}, "same number of rows"),
        (lambda x, y: (x, y), {"sample_weight": torch.ones(3), "validation": 0.2}, "same number of rows"),
        (lambda x, y: (x, y), {"sample_weight": {"prices": torch.ones(40)}}, "Did you mean 'price'"),
        (lambda x, y: (x, y), {"validation": torch.zeros(4, 5)}, "expected .inputs, targets."),
        (lambda x, y: (x, y), {"validation": True}, "found bool"),
        (lambda x, y: DataLoader(Rows(x, y), 4), {"validation": 0.2}, "Give a second loader"),
        (lambda x, y: Rows(x, y), {"sample_weight": torch.ones(40)}, "sample_weight with a Dataset"),
        (lambda x, y: pl.DataFrame({"x": ["a", "b"], "price": [1.0, 2.0]}), {}, "found text in 'x'"),
        (lambda x, y: "table.csv", {}, "found str"),
    ],
)  # fmt: skip
def test_wrong_data_is_one_data_error(data: Any, options: dict[str, Any], words: str) -> None:
    model = make_model()
    before = state(model)
    x, y = make_data(40)
    with pytest.raises(ml.DataError, match=words):
        make_trainer(model).fit(data(x, y), **options)
    assert same(before, state(model))
