"""The schema of a table: learnt from the training rows, saved with the model, applied to every raw table after."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, TypedDict, cast

import torch
from torch import Tensor

from multiloss.core.errors import DataError, listed, nearest
from multiloss.core.text_table import aligned
from multiloss.core.types import Kind
from multiloss.data.columns import FIRST_VALUE, InputColumn, OutputColumn, floats, negative_problems
from multiloss.data.plan import WEIGHT_SUFFIX, ColumnPlan
from multiloss.data.table import to_polars
from multiloss.data.values import bad_cells, number_problems, numbers

if TYPE_CHECKING:
    import polars as pl

VERSION = 1


class EncoderArguments(TypedDict):
    """Arguments of the model's encoder of table columns."""

    numbers: int
    cardinalities: list[int]
    mean: list[float]
    scale: list[float]
    missing: list[int]


@dataclass(frozen=True)
class EncodedTable:
    """A table as tensors.

    Args:
        inputs: "numbers", float32 `[n, p]`, raw values with NaN where missing; "categories", int64 `[n, q]`, 0 for a
            value never seen in training and 1 for a missing one. A key is absent where there is no such column.
        targets: One tensor for each output found; NaN or -100 where a label is missing.
        sample_weight: Float32 `[n]` for each output with a column `<output>__weight`.
        unknown: How many cells of each input column held a value never seen in training, where any did.
        rows: n.
    """

    inputs: dict[str, Tensor]
    targets: dict[str, Tensor]
    sample_weight: dict[str, Tensor]
    unknown: dict[str, int]
    rows: int


@dataclass(frozen=True)
class TableSchema:
    """What the columns of a table mean, with statistics of the training rows alone.

    Args:
        inputs: Input columns, in the order of their tensors' columns.
        outputs: Output columns.

    Examples:
        >>> from multiloss.data.infer import infer_columns
        >>> table = {"rooms": [2, 3, 4, 5], "town": ["a", "b", "a", "b"], "price": [1.0, 2.0, 2.0, 3.0]}
        >>> schema = TableSchema.fit(table, infer_columns(table, ["price"]))
        >>> encoded = schema.encode({"rooms": [3, None], "town": ["b", "c"]}, targets=False)
        >>> encoded.inputs["numbers"].tolist(), encoded.inputs["categories"].tolist(), encoded.unknown
        ([[3.0], [nan]], [[3], [0]], {'town': 1})
        >>> TableSchema.from_dict(schema.to_dict()) == schema
        True
    """

    inputs: tuple[InputColumn, ...]
    outputs: tuple[OutputColumn, ...]

    @classmethod
    def fit(
        cls, train_frame: object, plans: Iterable[ColumnPlan], orders: Mapping[str, Sequence[object]] | None = None
    ) -> TableSchema:
        """Learn statistics, categories and classes from the training rows.

        Args:
            train_frame: The training rows only.
            plans: From `infer_columns`.
            orders: Classes of an output in their order, for ordinal outputs and for the positive class (the last) of
                binary ones; sorted by default.

        Raises:
            DataError: If cells do not fit their kind; lists all such columns.
        """
        frame, orders, plans = to_polars(train_frame, "training rows"), orders or {}, list(plans)
        outputs = [plan.name for plan in plans if plan.role == "output"]
        problems = [
            f"orders: unknown output {name!r}. {nearest(name, outputs)}" for name in orders if name not in outputs
        ]
        raise_problems(problems, "training rows")
        schema = cls(
            tuple(InputColumn.fit(frame[p.name], p.kind == "category") for p in plans if p.role == "input"),
            tuple(
                OutputColumn.fit(frame[p.name], cast(Kind, p.kind), orders.get(p.name))
                for p in plans
                if p.role == "output"
            ),
        )
        found = [text for column in schema.outputs for text in column.training_problems(frame[column.name])]
        raise_problems(found + schema._problems(frame, targets=True), "training rows")
        return schema

    def encode(self, frame: object, *, targets: bool = True) -> EncodedTable:
        """Turn a raw table into tensors.

        Args:
            frame: A polars or pandas frame or a mapping of columns. Columns that the schema does not know are ignored;
                an output column that is absent is left out of the targets.
            targets: Whether to read the outputs; False at prediction.

        Raises:
            DataError: If an input column is absent, a number column holds text, or an output holds a class that no
                training row had; lists all problems.
        """
        table = to_polars(frame)
        raise_problems(self._problems(table, targets), "table")
        encoded = {column.name: column.encode(table[column.name]) for column in self.inputs}
        categories = [column.name for column in self.inputs if column.kind == "category"]
        numeric = [column.name for column in self.inputs if column.kind != "category"]
        found = [column for column in self.outputs if targets and column.name in table.columns]
        weights = [column.name for column in found if column.name + WEIGHT_SUFFIX in table.columns]
        unknown = {name: int((encoded[name] == 0).sum()) for name in categories}
        groups = {"numbers": numeric, "categories": categories}
        return EncodedTable(
            inputs={key: torch.stack([encoded[name] for name in names], 1) for key, names in groups.items() if names},
            targets={column.name: column.encode(table[column.name]) for column in found},
            sample_weight={name: floats(numbers(table[name + WEIGHT_SUFFIX])) for name in weights},
            unknown={name: count for name, count in unknown.items() if count},
            rows=table.height,
        )

    def _problems(self, table: pl.DataFrame, targets: bool) -> list[str]:
        absent = [column.name for column in self.inputs if column.name not in table.columns]
        problems = [f"expected input column {name!r}, found none. {nearest(name, table.columns)}" for name in absent]
        columns: list[InputColumn | OutputColumn] = [*self.inputs, *(self.outputs if targets else ())]
        for column in columns:
            if column.name in table.columns:
                problems += column.problems(table[column.name])
        names = [column.name for column in self.outputs]
        if targets:
            for weight in (name + WEIGHT_SUFFIX for name in names if name + WEIGHT_SUFFIX in table.columns):
                problems += weight_problems(table[weight])
            if not set(names) & set(table.columns):
                problems.append(f"expected output columns {names}, found none of them")
        return problems

    def decode(self, name: str, prediction: Tensor) -> dict[str, pl.Series]:
        """Turn predictions into columns of a table.

        Args:
            name: An output.
            prediction: As `multiloss.core.decode.decode` gives it: values in the user's units `[n]`, the probability of
                the positive class `[n]`, or probabilities `[n, K]`.

        Returns:
            regression, count: `{name: values}`; binary, multiclass, ordinal: the most likely class under `name` and
            one column of probabilities for each class, `name:class`; multilabel: the labels of at least 0.5, joined by
            semicolons, and their probabilities.

        Raises:
            DataError: If there is no such output.
        """
        for column in self.outputs:
            if column.name == name:
                return column.decode(prediction)
        raise DataError(f"unknown output {name!r}. {nearest(name, [column.name for column in self.outputs])}")

    def encoder_arguments(self) -> EncoderArguments:
        """Return what the model's encoder of table columns is built from; `missing` are indices among the numbers."""
        numeric = [column for column in self.inputs if column.kind != "category"]
        return {
            "numbers": len(numeric),
            "cardinalities": [len(c.values) + FIRST_VALUE for c in self.inputs if c.kind == "category"],
            "mean": [column.mean for column in numeric],
            "scale": [column.scale for column in numeric],
            "missing": [i for i, column in enumerate(numeric) if column.missing],
        }

    def describe(self) -> str:
        """Return the columns as an aligned table: column, role, kind, what was learnt."""
        rows: list[tuple[str, str, str, str]] = [("column", "role", "kind", "learnt")]
        columns: list[tuple[Literal["input", "output"], InputColumn | OutputColumn, tuple[str, ...]]] = [
            *(("input", column, column.values) for column in self.inputs),
            *(("output", column, column.classes) for column in self.outputs),
        ]
        for role, column, values in columns:
            more = f", ... ({len(values)})" if len(values) > 5 else ""
            spread = "" if column.kind == "count" else f"mean {column.mean:.6g}, scale {column.scale:.6g}"
            rows.append((column.name, role, column.kind, ", ".join(values[:5]) + more if values else spread))
        return aligned(rows)

    def to_dict(self) -> dict[str, Any]:
        """Return the schema as JSON values, with the version of its layout."""
        return {
            "version": VERSION,
            "inputs": [{**asdict(column), "values": list(column.values)} for column in self.inputs],
            "outputs": [{**asdict(column), "classes": list(column.classes)} for column in self.outputs],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TableSchema:
        """Return the schema that `to_dict` wrote.

        Raises:
            DataError: If it was written in another version.
        """
        if data.get("version") != VERSION:
            raise DataError(
                f"schema: expected version {VERSION}, found {data.get('version')!r}; use the multiloss that wrote it."
            )
        return cls(
            tuple(InputColumn(**{**column, "values": tuple(column["values"])}) for column in data["inputs"]),
            tuple(OutputColumn(**{**column, "classes": tuple(column["classes"])}) for column in data["outputs"]),
        )


def weight_problems(series: pl.Series) -> list[str]:
    """Return what keeps a column from being used as sample weights: text, missing, negative or infinite cells."""
    problems = number_problems(series) or negative_problems(series)
    if not problems and series.null_count():
        problems = [bad_cells(series, series.is_null(), "a weight", "write 0 to leave the row out")]
    return problems


def raise_problems(problems: list[str], source: str) -> None:
    """Raise all problems as one `DataError`, if there are any."""
    if problems:
        raise DataError(listed(problems, source))
