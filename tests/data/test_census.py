from __future__ import annotations

import pytest
import torch

from multiloss.core.errors import DataError
from multiloss.data.baseline import trivial_prediction
from multiloss.data.census import label_census
from multiloss.data.columns import OutputColumn

NAN = float("nan")


def sparse(rows: int, labels: int) -> torch.Tensor:
    """`rows` values of which only the first `labels` are labels."""
    return torch.where(torch.arange(rows) < labels, 1.5, NAN)


def test_counts_by_output_split_and_class() -> None:
    train = {
        "price": sparse(6, 4),
        "kind": torch.tensor([0, 1, 1, -100, 2, 1]),
        "sold": torch.tensor([0, 1, NAN, 1, 1, 1]),
    }
    test = {"price": sparse(2, 1), "kind": torch.tensor([2, 1]), "sold": torch.tensor([0.0, 1.0])}
    census = label_census({"train": train, "test": test}, batch_size=3)
    assert census.rows == {"train": 6, "test": 2}
    assert census.labels["price"] == {"train": 4, "test": 1}
    assert census.classes["kind"] == {
        "0": {"train": 1, "test": 0},
        "1": {"train": 3, "test": 1},
        "2": {"train": 1, "test": 1},
    }
    assert census.classes["sold"]["1"] == {"train": 4, "test": 1}
    assert "price" not in census.classes
    assert census.per_batch == {"price": 2.0, "kind": 2.5, "sold": 2.5}
    assert census.warnings == ["output 'kind': class 0 absent among the test rows"]


def test_a_batch_that_holds_too_few() -> None:
    targets = {"melting_point": sparse(3200, 30), "price": sparse(3200, 3200)}
    census = label_census({"train": targets}, batch_size=32)
    assert census.warnings == [
        "output 'melting_point': a batch of 32 holds 0.3 labels on average; use a batch size of at least 256"
    ]
    assert label_census({"train": targets}, batch_size=256).warnings == []
    assert "use one batch of all 40 rows" in label_census({"train": {"y": sparse(40, 1)}}, 32).warnings[0]


def test_outputs_without_labels_and_names_of_classes() -> None:
    kind = OutputColumn("kind", "multiclass", 3, classes=("cat", "dog", "eel"))
    price = OutputColumn("price", "regression")
    census = label_census(
        {
            "train": {"kind": torch.tensor([0, 1, 2]), "price": torch.tensor([0.0, 1.0, 1.0])},
            "validation": {"kind": torch.tensor([1, -100]), "price": torch.tensor([NAN, NAN])},
            "test": {"kind": torch.tensor([1, 2])},
        },
        batch_size=3,
        outputs=[kind, price],
    )
    assert "price" not in census.classes
    assert census.warnings == [
        "output 'kind': classes cat, eel absent among the validation rows",
        "output 'kind': class cat absent among the test rows",
        "output 'price': no label among the validation rows",
        "output 'price': no label among the test rows",
    ]
    lines = str(census).splitlines()
    assert lines[0].split() == ["output", "train", "validation", "test", "in", "a", "batch", "of", "3"]
    assert lines[3].split() == ["cat", "1", "0", "0"]
    assert len({len(line) for line in (lines[0], lines[1], lines[2])}) <= 2
    assert lines[-1] == census.warnings[-1]


def test_many_classes_are_cut_short() -> None:
    shown = str(label_census({"train": {"kind": torch.arange(50)}}, batch_size=50))
    assert "and 30 more classes" in shown
    assert len(shown.splitlines()) == 24


def test_multilabel_counts_rows() -> None:
    labels = torch.tensor([[1.0, 0.0], [NAN, NAN], [NAN, 1.0]])
    census = label_census({"train": {"tags": labels}}, batch_size=3)
    assert census.labels["tags"] == {"train": 2}
    assert census.classes == {}


@pytest.mark.parametrize(
    ("output", "target", "expected"),
    [
        (OutputColumn("y", "regression", mean=10.0, scale=4.0), [-1.0, NAN, 2.0], [12.0]),
        (OutputColumn("y", "count"), [0.0, 3.0, NAN], [1.5]),
        (OutputColumn("y", "binary", classes=("a", "b")), [0.0, 1.0, 1.0, NAN, 1.0], [0.75]),
        (OutputColumn("y", "ordinal", 4, classes=("a", "b", "c", "d")), [0, 2, 2, -100, 1], [[0.25, 0.25, 0.5, 0]]),
        (OutputColumn("y", "multilabel", 2, classes=("a", "b")), [[1.0, 0.0], [NAN, NAN], [1.0, 1.0]], [[1.0, 0.5]]),
    ],
)
def test_trivial_prediction(output: OutputColumn, target: list[float], expected: list[float]) -> None:
    found = trivial_prediction(output, torch.tensor(target), rows=3)
    torch.testing.assert_close(found, torch.tensor(expected * 3))
    assert len(output.decode(found)["y"]) == 3


def test_trivial_prediction_needs_a_label() -> None:
    for output, target in (
        (OutputColumn("y", "regression"), torch.tensor([NAN])),
        (OutputColumn("y", "multiclass", 2, classes=("a", "b")), torch.tensor([-100])),
    ):
        with pytest.raises(DataError, match="output 'y': expected labels among the training rows, found none"):
            trivial_prediction(output, target)
