"""In-memory batches: every row once, counts that are right, and cuts that change nothing."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from multiloss.core.errors import DataError
from multiloss.core.labels import labelled
from multiloss.data import batch as batch_module
from multiloss.data.arrays import as_inputs, as_named, as_targets, as_weights
from multiloss.data.batch import Batch, TensorSource
from multiloss.data.loader import LoaderSource, make_source


def order(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rows_of(batches: Iterable[Batch]) -> list[int]:
    return [int(row) for batch in batches if batch.rows is not None for row in batch.rows]


@st.composite
def sources(draw: st.DrawFn) -> tuple[TensorSource, dict[str, Tensor], int]:
    rows, size = draw(st.integers(1, 40)), draw(st.integers(1, 50))
    g = torch.Generator().manual_seed(draw(st.integers(0, 1000)))
    share = draw(st.sampled_from([0.0, 0.3, 0.9, 1.0]))

    def gone(*shape: int) -> Tensor:
        return torch.rand(shape, generator=g) < share

    targets = {
        "number": torch.randn(rows, generator=g).masked_fill(gone(rows), torch.nan),
        "class": torch.randint(0, 4, (rows,), generator=g).masked_fill(gone(rows), -100),
        "labels": torch.rand(rows, 3, generator=g).masked_fill(gone(rows, 3), torch.nan),
        "yes": torch.rand(rows, generator=g) > 0.5,
    }
    kept = {name: targets[name] for name in draw(st.sets(st.sampled_from(sorted(targets)), min_size=1))}
    return TensorSource(torch.arange(rows), kept, batch_size=size), kept, rows


@settings(deadline=None, max_examples=60)
@given(sources(), st.integers(0, 10), st.sampled_from([1, 64, 2**26]))
def test_every_row_once_with_its_labels_counted(
    made: tuple[TensorSource, dict[str, Tensor], int], seed: int, block: int
) -> None:
    source, targets, rows = made
    source._block = max(1, block // source.batch_size) * source.batch_size
    batches = list(source.batches(order(seed)))
    assert rows_of(batches) == torch.randperm(rows, generator=order(seed)).tolist()
    assert source.steps == len(batches) and source.rows == rows
    for batch in batches:
        assert batch.rows is not None and isinstance(batch.inputs, Tensor)
        assert torch.equal(batch.inputs, batch.rows)  # the inputs number the rows
        for name, target in targets.items():
            assert torch.equal(batch.targets[name].nan_to_num(7.7), target[batch.rows].nan_to_num(7.7))
            assert batch.counts[name] == int(labelled(target[batch.rows]).sum())
            assert isinstance(batch.counts[name], int)


@pytest.mark.parametrize("block", [1, 8, 100, 10_000])
@pytest.mark.parametrize("skip", [0, 1, 4])
def test_where_blocks_end_changes_nothing(monkeypatch: pytest.MonkeyPatch, block: int, skip: int) -> None:
    x = torch.randn(37, 3, generator=order(0))
    y = {"a": torch.randn(37, generator=order(1)).masked_fill(torch.rand(37, generator=order(2)) < 0.5, torch.nan)}
    weight = {"a": torch.rand(37, generator=order(3))}
    whole = list(TensorSource(x, y, sample_weight=weight, batch_size=5).batches(order(9)))
    monkeypatch.setattr(batch_module, "BLOCK_BYTES", block)
    cut = list(TensorSource(x, y, sample_weight=weight, batch_size=5).batches(order(9), skip))
    assert len(cut) == len(whole) - skip == 8 - skip
    for a, b in zip(whole[skip:], cut, strict=True):
        assert isinstance(a.inputs, Tensor) and isinstance(b.inputs, Tensor)
        assert torch.equal(a.inputs, b.inputs) and a.counts == b.counts
        assert torch.equal(a.targets["a"].nan_to_num(9.0), b.targets["a"].nan_to_num(9.0))
        assert a.sample_weight is not None and b.sample_weight is not None
        assert torch.equal(a.sample_weight["a"], b.sample_weight["a"])


def test_without_an_order_rows_keep_theirs_and_skipping_all_leaves_none() -> None:
    source = TensorSource(torch.zeros(10, 1), {"y": torch.zeros(10)}, batch_size=4)
    assert rows_of(source.batches(None)) == list(range(10))
    assert list(source.batches(None, skip=3)) == []


def test_batches_keep_the_form_of_the_inputs() -> None:
    x = torch.zeros(4, 1)
    forms = [x, (x, x + 1), {"left": x, "right": x + 1}]
    for form in forms:
        (batch,) = TensorSource(form, {"y": x[:, 0]}, batch_size=100).batches(None)  # type: ignore[arg-type]
        assert type(batch.inputs) is type(form)
        assert len(batch.inputs) == len(form)
    assert isinstance(batch.inputs, dict) and list(batch.inputs) == ["left", "right"]


def test_numbers_of_rows_are_the_users() -> None:
    numbers = torch.tensor([3, 1, 4, 15, 9])
    source = TensorSource(numbers.float(), {"y": numbers.float()}, batch_size=2, numbers=numbers)
    for batch in source.batches(order(0)):
        assert isinstance(batch.inputs, Tensor) and batch.rows is not None
        assert torch.equal(batch.inputs, batch.rows.float())


@pytest.mark.parametrize("ignore_index", [-1, -100, 0])
def test_another_missing_label_is_counted_as_missing(ignore_index: int) -> None:
    y = torch.tensor([1, ignore_index, 2, ignore_index])
    (batch,) = TensorSource(torch.zeros(4), {"y": y}, batch_size=4, ignore_index=ignore_index).batches(None)
    assert batch.counts == {"y": 2}
    targets = as_targets({"y": y, "z": y}, ["y", "z"], ["y"], ignore_index)
    assert targets["y"].tolist() == y.tolist()
    assert targets["z"].isnan().tolist() == [False, True, False, True]


@pytest.mark.parametrize("size", [0, -1, 2.5, True, "8", None])
def test_a_batch_size_that_means_nothing(size: object) -> None:
    for data in ((torch.zeros(4, 1), {"y": torch.zeros(4)}), torch.utils.data.TensorDataset(torch.zeros(4, 1))):
        with pytest.raises(DataError, match="batch_size: expected a whole number of at least 1"):
            make_source(data, outputs=["y"], integer=(), batch_size=size)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ((torch.zeros(4, 1), {"y": torch.zeros(3)}), "same number of rows, found input 'inputs' 4, target 'y' 3"),
        ((torch.zeros(0, 1), {"y": torch.zeros(0)}), "at least one row"),
        ((torch.tensor(1.0), {"y": torch.zeros(3)}), "a single number as input 'inputs'"),
        ((torch.zeros(3, 1), {"y": 1.0}), "a single number as target 'y'"),
        (({}, {"y": torch.zeros(3)}), "at least one input"),
        ((torch.zeros(4, 1), {"yy": torch.zeros(4)}), "Did you mean 'y'"),
        ((torch.zeros(4, 1), [torch.zeros(4), torch.zeros(4)]), "one array for each of 1 outputs"),
        ((torch.zeros(4, 1), None), "targets: expected arrays"),
        ((torch.zeros(4, 1), 3.0), "targets: expected arrays"),
        ((torch.zeros(4, 1), "price"), "targets: expected arrays"),
        ((np.array(["a", "b"]), {"y": torch.zeros(2)}), "inputs: expected numbers"),
        ((None, {"y": torch.zeros(2)}), "inputs: expected numbers"),
        (([[1.0], [1.0, 2.0]], {"y": torch.zeros(2)}), "inputs: expected numbers"),
        (([[1.0], [2.0]], {"y": [object(), object()]}), "targets 'y': expected numbers"),
        (torch.zeros(4, 1), "expected .inputs, targets., a data frame, a Dataset or a DataLoader, found Tensor"),
        ([torch.zeros(4, 1), torch.zeros(4)], "found list of 2"),
        (7, "found int"),
        (None, "found NoneType"),
        ((torch.zeros(4, 1), torch.zeros(4), {"z": torch.ones(4)}), "sample_weight: no output 'z'"),
        ((torch.zeros(4, 1), torch.zeros(4), -torch.ones(4)), "sample_weight of y: expected finite numbers >= 0"),
        ((torch.zeros(4, 1), torch.zeros(4), [1.0, 1.0, 1.0, float("nan")]), "sample_weight of y"),
        ((torch.zeros(4, 1), torch.zeros(4), torch.ones(3)), "sample_weight 'y' 3"),
    ],
)  # fmt: skip
def test_what_is_no_data_is_one_error(data: object, words: str) -> None:
    with pytest.raises(DataError, match=words):
        make_source(data, outputs=["y"], integer=(), batch_size=2)


def test_arrays_of_every_kind_become_tensors() -> None:
    assert as_inputs(np.zeros((2, 3))).dtype == torch.float32  # type: ignore[union-attr]
    assert as_inputs(np.zeros((2, 3), np.float16)).dtype == torch.float32  # type: ignore[union-attr]
    assert as_inputs(np.zeros(2, np.int32)).dtype == torch.int32  # type: ignore[union-attr]
    assert as_inputs(torch.zeros(2, dtype=torch.float64)).dtype == torch.float64  # type: ignore[union-attr]
    assert torch.equal(as_inputs(np.arange(4.0)[::-1]), torch.tensor([3.0, 2.0, 1.0, 0.0]))  # type: ignore[arg-type]
    fixed = np.arange(3.0, dtype=np.float32)
    fixed.flags.writeable = False
    assert as_inputs(fixed).tolist() == [0, 1, 2]  # type: ignore[union-attr]
    assert as_inputs([[1, 2], [3, 4]]).shape == (2, 2)  # type: ignore[union-attr]
    assert [type(part) for part in as_inputs((np.zeros(2), torch.zeros(2)))] == [Tensor, Tensor]


def test_targets_take_the_type_that_their_loss_needs() -> None:
    given = {"float": [1, 2, -100], "class": np.array([1, 2, -100], np.int32), "yes": np.array([True, False, True])}
    targets = as_targets(given, ["float", "class", "yes"], ["class"])
    assert targets["float"].dtype == torch.float32 and targets["float"].isnan().tolist() == [False, False, True]
    assert targets["class"].dtype == torch.int64 and targets["class"].tolist() == [1, 2, -100]
    assert targets["yes"].dtype == torch.float32 and targets["yes"].tolist() == [1.0, 0.0, 1.0]
    shares = as_targets({"class": torch.rand(2, 3)}, ["class"], ["class"])
    assert shares["class"].dtype == torch.float32  # class probabilities are left as they are


def test_targets_by_name_in_order_or_alone() -> None:
    a, b = torch.zeros(2), torch.ones(2)
    assert list(as_named({"b": b}, ["a", "b"], "targets")) == ["b"]
    assert list(as_named((a, b), ["a", "b"], "targets")) == ["a", "b"]
    assert as_named([0.5, 1.5], ["a"], "targets")["a"].tolist() == [0.5, 1.5]
    assert as_weights(a, ["a", "b"]).keys() == {"a", "b"}
    assert as_weights({"b": b}, ["a", "b"]).keys() == {"b"}


def test_a_loader_gives_what_the_tensors_give() -> None:
    x = torch.randn(11, 2, generator=order(0))
    y = torch.tensor([1.0, torch.nan] * 5 + [2.0])
    dataset = torch.utils.data.TensorDataset(x, y)
    tensors = TensorSource(x, {"y": y}, batch_size=4)
    loader = make_source(dataset, outputs=["y"], integer=(), batch_size=4)
    assert isinstance(loader, LoaderSource) and (loader.rows, loader.steps) == (11, 3)
    for skip in (0, 2, 3):
        pairs = zip(tensors.batches(None, skip), loader.batches(None, skip), strict=True)
        for a, b in pairs:
            assert torch.equal(a.inputs, b.inputs) and a.counts == b.counts  # type: ignore[arg-type]
            assert torch.equal(a.targets["y"].nan_to_num(5.0), b.targets["y"].nan_to_num(5.0))


def test_a_loader_is_shuffled_by_the_order_of_the_epoch() -> None:
    dataset = torch.utils.data.TensorDataset(torch.arange(20.0)[:, None], torch.arange(20.0))
    source = make_source(dataset, outputs=["y"], integer=(), batch_size=3, shuffle=True)

    def seen(seed: int, skip: int = 0) -> list[list[float]]:
        return [batch.targets["y"].tolist() for batch in source.batches(order(seed), skip)]

    assert sorted(value for part in seen(0) for value in part) == list(range(20))
    assert seen(0) == seen(0) != seen(1)
    assert seen(0, skip=4) == seen(0)[4:]


def test_a_sampler_with_a_generator_of_its_own_is_seeded_too() -> None:
    dataset = torch.utils.data.TensorDataset(torch.arange(20.0)[:, None], torch.arange(20.0))
    sampler = torch.utils.data.WeightedRandomSampler(torch.ones(20).tolist(), 20, generator=torch.Generator())
    source = make_source(
        torch.utils.data.DataLoader(dataset, 5, sampler=sampler), outputs=["y"], integer=(), batch_size=5
    )
    first, again, other = ([b.targets["y"].tolist() for b in source.batches(order(seed))] for seed in (0, 0, 1))
    assert first == again != other


def test_batches_that_are_left_out_are_drawn_before_batches_returns() -> None:
    drawn: list[int] = []

    class Counting(torch.utils.data.Dataset[tuple[Tensor, Tensor]]):
        def __len__(self) -> int:
            return 8

        def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
            drawn.append(index)
            return torch.zeros(1), torch.zeros(())

    source = make_source(Counting(), outputs=["y"], integer=(), batch_size=2)
    batches = source.batches(None, skip=2)
    assert drawn == [0, 1, 2, 3]
    next(batches)
    assert drawn == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("item", "words"),
    [
        (torch.zeros(3), "expected batches of .inputs, targets., found Tensor"),
        ((torch.zeros(3, 1),), "found list of 1|found tuple of 1"),
        ((torch.zeros(3, 1), {"z": torch.zeros(3)}), "no output 'z'"),
        ((torch.zeros(3, 1), torch.zeros(3), -torch.ones(3)), "sample_weight of y"),
    ],
)
def test_batches_of_another_form_are_one_error(item: object, words: str) -> None:
    loader = torch.utils.data.DataLoader([item], batch_size=None)  # type: ignore[arg-type, var-annotated]
    source = make_source(loader, outputs=["y"], integer=(), batch_size=1)
    with pytest.raises(DataError, match=words):
        next(source.batches(None))


def test_empty_loaders_are_one_error() -> None:
    empty = torch.utils.data.TensorDataset(torch.zeros(0, 1), torch.zeros(0))
    few = torch.utils.data.TensorDataset(torch.zeros(3, 1), torch.zeros(3))
    with pytest.raises(DataError, match="empty Dataset"):
        make_source(empty, outputs=["y"], integer=(), batch_size=1)
    with pytest.raises(DataError, match="drop_last leaves out all 3 rows"):
        make_source(torch.utils.data.DataLoader(few, 8, drop_last=True), outputs=["y"], integer=(), batch_size=1)
    with pytest.raises(DataError, match="sample_weight with a Dataset"):
        make_source(few, outputs=["y"], integer=(), batch_size=1, sample_weight=torch.ones(3))


@pytest.mark.parametrize("alone", ["tensor", "list of one", "mapping", "with targets"])
def test_inputs_alone_are_enough_where_no_targets_are_needed(alone: str) -> None:
    x = torch.arange(6.0)[:, None]
    items = {
        "tensor": list(x),
        "list of one": [(row,) for row in x],
        "mapping": [{"x": row} for row in x],
        "with targets": [(row, torch.zeros(())) for row in x],
    }[alone]
    loader = torch.utils.data.DataLoader(items, batch_size=4)  # type: ignore[arg-type, var-annotated]
    source = make_source(loader, outputs=["y"], integer=(), batch_size=1, targets_needed=False)
    found = [batch.inputs["x"] if isinstance(batch.inputs, dict) else batch.inputs for batch in source.batches(None)]
    assert torch.equal(torch.cat(found), x)  # type: ignore[arg-type]
