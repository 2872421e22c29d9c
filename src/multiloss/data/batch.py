"""Batches: in-memory tensors sliced by index, or any Dataset or DataLoader, as one kind of iterator."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from typing import Any, NamedTuple, TypeAlias, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from multiloss.core.errors import DataError, listed, nearest
from multiloss.core.labels import labelled
from multiloss.core.types import IGNORE_INDEX

Inputs: TypeAlias = "Tensor | tuple[Tensor, ...] | dict[str, Tensor]"

BLOCK_BYTES = 64 * 2**20  # what one gather of shuffled rows may copy
RESIDENT_BYTES = 2 * 2**30  # in-memory data up to this size moves to the device once


class Batch(NamedTuple):
    """One batch on its device. `counts` are labels per output, known to the host; `rows` index the data."""

    inputs: Inputs
    targets: dict[str, Tensor]
    sample_weight: dict[str, Tensor] | None
    counts: dict[str, int]
    rows: Tensor | None


class Source(ABC):
    """Where batches come from.

    Attributes:
        rows: Samples in the set, or `None` where nobody knows.
        steps: Batches in an epoch, or `None` where nobody knows.
    """

    rows: int | None
    steps: int | None

    @abstractmethod
    def batches(self, order: torch.Generator | None, skip: int = 0) -> Iterator[Batch]:
        """Yield the batches of one epoch.

        Args:
            order: Source of the shuffle, seeded for this epoch; `None` keeps the order of the data.
            skip: Batches to leave out at the start, when an interrupted epoch goes on.
        """


class TensorSource(Source):
    """Tensors in memory, gathered block by block in the epoch's order and cut into views.

    Counts of labels are known before a batch is used, without asking the device in the step: outputs with no missing
    label are counted by arithmetic, the others with one transfer a block.

    Args:
        inputs: A tensor `[n, ...]`, or several in a tuple or by name.
        targets: Labels by output, `[n]` or `[n, ...]`.
        sample_weight: Weights by output, `[n]` or the target's shape.
        batch_size: Rows in a batch; the last may be shorter.
        device: Where batches are wanted.

    Raises:
        DataError: If there are no rows, the tensors differ in length, or the batch size is below 1.
    """

    def __init__(
        self,
        inputs: Inputs,
        targets: Mapping[str, Tensor],
        *,
        sample_weight: Mapping[str, Tensor] | None = None,
        batch_size: int = 32,
        device: torch.device | str = "cpu",
    ) -> None:
        if batch_size < 1:
            raise DataError(f"batch_size: expected a whole number of at least 1, found {batch_size}")
        named = _named_inputs(inputs)
        lengths = {f"input {k!r}": len(v) for k, v in named.items()} | {
            f"target {k!r}": len(v) for k, v in targets.items()
        }
        lengths |= {f"sample_weight {k!r}": len(v) for k, v in (sample_weight or {}).items()}
        if len(set(lengths.values())) != 1:
            shown = ", ".join(f"{name} {length}" for name, length in lengths.items())
            raise DataError(f"expected inputs and targets with the same number of rows, found {shown}")
        self.rows = next(iter(lengths.values()))
        if self.rows == 0:
            raise DataError("expected at least one row, found none")
        self.batch_size, self.steps = batch_size, -(-self.rows // batch_size)
        self._inputs, self._names = list(named.values()), list(named)
        self._shape = type(inputs) if not isinstance(inputs, Tensor) else Tensor
        self._targets, self._weights = dict(targets), dict(sample_weight or {})
        self._partial = [name for name, target in targets.items() if not bool(labelled(target).all())]
        self._slots = {name: target[0].numel() for name, target in targets.items()}
        self.device = torch.device(device)
        tensors = [*self._inputs, *self._targets.values(), *self._weights.values()]
        size = sum(t.numel() * t.element_size() for t in tensors)
        if size <= RESIDENT_BYTES:
            self._inputs = [t.to(self.device) for t in self._inputs]
            self._targets = {k: t.to(self.device) for k, t in self._targets.items()}
            self._weights = {k: t.to(self.device) for k, t in self._weights.items()}
        self._block = max(1, BLOCK_BYTES // max(1, size // self.rows) // batch_size) * batch_size

    def batches(self, order: torch.Generator | None, skip: int = 0) -> Iterator[Batch]:
        """Yield the batches of one epoch."""
        rows, size = self.rows or 0, self.batch_size
        index = torch.randperm(rows, generator=order) if order is not None else torch.arange(rows)
        for start in range(skip * size, rows, self._block):
            yield from self._cut(index[start : start + self._block])

    def tensors(self) -> dict[str, Tensor]:
        """Return everything held, by name."""
        inputs = {f"inputs/{name}": t for name, t in zip(self._names, self._inputs, strict=True)}
        return inputs | {f"targets/{name}": t for name, t in self._targets.items()}

    def _cut(self, index: Tensor) -> Iterator[Batch]:
        size, on_device = self.batch_size, index.to(self._inputs[0].device)
        inputs = [torch.split(t[on_device].to(self.device), size) for t in self._inputs]
        blocks = {name: t[on_device].to(self.device) for name, t in self._targets.items()}
        names, weighted = list(blocks), list(self._weights)
        targets = [torch.split(block, size) for block in blocks.values()]
        weights = [torch.split(t[on_device].to(self.device), size) for t in self._weights.values()]
        lengths = [len(part) for part in torch.split(index, size)]
        counts = [
            self._counts(blocks[name], lengths) if name in self._partial else [n * self._slots[name] for n in lengths]
            for name in names
        ]
        for i, rows in enumerate(torch.split(index, size)):
            yield Batch(
                self._assemble([parts[i] for parts in inputs]),
                {name: parts[i] for name, parts in zip(names, targets, strict=True)},
                {name: parts[i] for name, parts in zip(weighted, weights, strict=True)} if weighted else None,
                {name: count[i] for name, count in zip(names, counts, strict=True)},
                rows,
            )

    @staticmethod
    def _counts(target: Tensor, lengths: Sequence[int]) -> list[int]:
        mask = labelled(target).reshape(len(target), -1).sum(1)
        return torch.stack([part.sum() for part in torch.split(mask, list(lengths))]).tolist()

    def _assemble(self, tensors: list[Tensor]) -> Inputs:
        if self._shape is Tensor:
            return tensors[0]
        return dict(zip(self._names, tensors, strict=True)) if issubclass(self._shape, dict) else tuple(tensors)


class LoaderSource(Source):
    """A DataLoader, or a Dataset given to one, that yields `(inputs, targets)` or `(inputs, targets, weights)`.

    Args:
        loader: The loader.
        outputs: Names of the outputs, in the order of the model, for targets that come as a tuple.
        integer: Outputs whose targets are class indices.
        device: Where batches are wanted.
    """

    def __init__(
        self,
        loader: DataLoader[Any],
        outputs: Sequence[str],
        integer: Iterable[str],
        device: torch.device | str = "cpu",
    ) -> None:
        self.loader, self.outputs, self.integer = loader, list(outputs), frozenset(integer)
        self.device = torch.device(device)
        sized = hasattr(loader.dataset, "__len__")
        self.rows = len(cast(Sized, loader.dataset)) if sized else None
        self.steps = len(loader) if sized else None
        if self.rows == 0:
            raise DataError("expected at least one row, found an empty Dataset")

    def batches(self, order: torch.Generator | None, skip: int = 0) -> Iterator[Batch]:
        """Yield the batches of one epoch. The loader keeps its own order; its own generator is seeded by `order`."""
        if order is not None and isinstance(self.loader.generator, torch.Generator):
            self.loader.generator.manual_seed(order.initial_seed())
        for i, item in enumerate(self.loader):
            if i >= skip:
                yield self._batch(item)

    def _batch(self, item: Any) -> Batch:
        if not isinstance(item, tuple | list) or len(item) not in (2, 3):
            raise DataError(f"expected batches of (inputs, targets), found {_shown(item)}")
        targets = as_targets(item[1], self.outputs, self.integer)
        weights = as_named(item[2], list(targets), "sample_weight") if len(item) == 3 else None
        counts = {name: int(labelled(target).sum()) for name, target in targets.items()}  # still on the host
        inputs = as_inputs(item[0])
        moved: Inputs
        if isinstance(inputs, Tensor):
            moved = self._move(inputs)
        elif isinstance(inputs, dict):
            moved = {name: self._move(t) for name, t in inputs.items()}
        else:
            moved = tuple(self._move(t) for t in inputs)
        on_device = {name: self._move(t) for name, t in targets.items()}
        weighted = None if weights is None else {name: self._move(t.float()) for name, t in weights.items()}
        return Batch(moved, on_device, weighted, counts, None)

    def _move(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.device, non_blocking=True)


def as_inputs(data: Any) -> Inputs:
    """Return inputs as tensors: arrays and tensors as they are, float64 and float16 arrays as float32."""
    if isinstance(data, Mapping):
        return {str(name): _tensor(value, f"input {name!r}") for name, value in data.items()}
    if isinstance(data, tuple | list) and data and all(isinstance(part, Tensor | np.ndarray) for part in data):
        return tuple(_tensor(part, f"input {i}") for i, part in enumerate(data))
    return _tensor(data, "inputs")


def as_targets(data: Any, outputs: Sequence[str], integer: Iterable[str] = ()) -> dict[str, Tensor]:
    """Return targets by output name.

    Args:
        data: A mapping, a sequence in the order of the outputs, or one array for one output.
        outputs: Names of the outputs.
        integer: Outputs whose targets are class indices. Other targets become floats, a missing integer label NaN.

    Raises:
        DataError: If names or numbers of targets do not fit the outputs.
    """
    named, whole = as_named(data, outputs, "targets"), frozenset(integer)
    return {name: t if name in whole else _float_target(t) for name, t in named.items()}


def _float_target(target: Tensor) -> Tensor:
    if target.is_floating_point():
        return target
    values = target.float()
    return values if target.dtype == torch.bool else values.masked_fill(target == IGNORE_INDEX, torch.nan)


def as_named(data: Any, outputs: Sequence[str], what: str) -> dict[str, Tensor]:
    """Return tensors by output name from a mapping, a sequence in the order of the outputs, or one array."""
    if isinstance(data, Mapping):
        unknown = [name for name in data if name not in outputs]
        if unknown and outputs:
            raise DataError(listed([f"no output {name!r}. {nearest(name, outputs)}" for name in unknown], what))
        return {str(name): _tensor(value, f"{what} {name!r}") for name, value in data.items()}
    parts = [data] if isinstance(data, Tensor | np.ndarray) else list(data)
    if len(parts) != len(outputs):
        names = ", ".join(outputs)
        raise DataError(f"{what}: expected one array for each of {len(outputs)} outputs ({names}), found {len(parts)}")
    return {name: _tensor(part, f"{what} {name!r}") for name, part in zip(outputs, parts, strict=True)}


def make_source(
    data: Any,
    *,
    outputs: Sequence[str],
    integer: Iterable[str],
    batch_size: int,
    device: torch.device | str = "cpu",
    sample_weight: Any = None,
    targets_needed: bool = True,
    shuffle: bool = False,
) -> Source:
    """Return batches from whatever the user has.

    Args:
        data: `(inputs, targets)` of arrays, tensors or mappings of them; a Dataset; a DataLoader; inputs alone where
            no targets are needed.
        outputs: Names of the outputs.
        integer: Outputs whose targets are class indices.
        batch_size: Rows in a batch; a DataLoader keeps its own.
        device: Where batches are wanted.
        sample_weight: Weights by output, or one array for all outputs.
        targets_needed: Whether inputs without targets are an error.
        shuffle: Whether a Dataset is drawn in random order; tensors are when `batches` is given an order.

    Raises:
        DataError: If the data is none of these.
    """
    if isinstance(data, DataLoader | Dataset):
        if sample_weight is not None:
            raise DataError("sample_weight with a Dataset: yield (inputs, targets, sample_weight) from it instead")
        if batch_size < 1:
            raise DataError(f"batch_size: expected a whole number of at least 1, found {batch_size}")
        loader = data if isinstance(data, DataLoader) else _loader(data, batch_size, shuffle)
        return LoaderSource(loader, outputs, integer, device)
    pair = isinstance(data, tuple) and len(data) in (2, 3)
    if targets_needed and not pair:
        raise DataError(f"expected (inputs, targets), a Dataset or a DataLoader, found {_shown(data)}")
    if not targets_needed and not (pair and isinstance(data[1], Mapping)):
        return TensorSource(as_inputs(data), {}, batch_size=batch_size, device=device)
    if len(data) == 3:
        sample_weight = data[2]
    targets = as_targets(data[1], outputs, integer)
    weights = None
    if sample_weight is not None:
        one = not isinstance(sample_weight, Mapping | tuple | list)
        named = dict.fromkeys(targets, sample_weight) if one else sample_weight
        weights = {name: w.float() for name, w in as_named(named, list(targets), "sample_weight").items()}
        bad = [name for name, w in weights.items() if not bool((w >= 0).all()) or not bool(w.isfinite().all())]
        if bad:
            raise DataError(
                f"sample_weight of {', '.join(bad)}: expected finite numbers >= 0. Use 0 to leave a row out"
            )
    return TensorSource(as_inputs(data[0]), targets, sample_weight=weights, batch_size=batch_size, device=device)


def _loader(dataset: Dataset[Any], batch_size: int, shuffle: bool) -> DataLoader[Any]:
    return DataLoader(dataset, batch_size, shuffle=shuffle, generator=torch.Generator())


def _named_inputs(inputs: Inputs) -> dict[str, Tensor]:
    if isinstance(inputs, Tensor):
        return {"inputs": inputs}
    return dict(inputs) if isinstance(inputs, dict) else {str(i): part for i, part in enumerate(inputs)}


def _tensor(value: Any, what: str) -> Tensor:
    if isinstance(value, Tensor):
        return value
    try:
        array = np.asarray(value)
        if array.dtype in (np.float64, np.float16):
            array = array.astype(np.float32)
        return torch.as_tensor(array)
    except (TypeError, ValueError) as error:
        raise DataError(f"{what}: expected numbers in an array or a tensor, found {_shown(value)} ({error})") from error


def _shown(value: object) -> str:
    length = f" of {len(value)}" if isinstance(value, tuple | list) else ""
    return f"{type(value).__name__}{length}"
