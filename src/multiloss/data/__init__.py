"""Floor 2: tables in, named tensors out, and back.

A table passes through five steps. `read_table` reads a file, or `to_polars` a frame. `infer_columns` plans what each
column is used for and says why. `split_rows` chooses training, validation and test rows with every class in each.
`TableSchema.fit` learns means, scales, categories and classes from the training rows. `TableSchema.encode` turns any
raw table into tensors, and `TableSchema.decode` turns predictions back into columns in the user's units.

Example:
    >>> from multiloss import data
    >>> table = data.to_polars({
    ...     "rooms": [2, 3, 4, 5] * 5, "town": ["a", "b"] * 10,
    ...     "price": [1.0, 2.0, 2.5, 4.0] * 5, "sold": ["no", "yes", None, "yes"] * 5,
    ... })
    >>> plans = data.infer_columns(table, outputs=["price", "sold"])
    >>> print(data.describe_plans(plans))
    column  role    kind        reason
    rooms   input   number      numbers: 4 distinct values
    town    input   category    2 distinct values in 20 rows
    price   output  regression  numbers: 4 distinct values
    sold    output  binary      2 distinct texts: no, yes
    >>> split = data.split_rows(table, plans, validation=0.2, test=0.2)
    >>> schema = data.TableSchema.fit(table[split.train], plans)
    >>> train = schema.encode(table[split.train])
    >>> {name: tuple(values.shape) for name, values in {**train.inputs, **train.targets}.items()}
    {'numbers': (12, 1), 'categories': (12, 1), 'price': (12,), 'sold': (12,)}
    >>> print(data.label_census({"train": train.targets}, batch_size=4, outputs=schema.outputs))
    output  train  in a batch of 4
    rows       12
    price      12              4.0
    sold        9              3.0
      no        3
      yes       6
"""

from multiloss.data.baseline import trivial_prediction
from multiloss.data.census import Census, label_census
from multiloss.data.columns import InputColumn, OutputColumn
from multiloss.data.infer import infer_columns
from multiloss.data.plan import ColumnPlan, describe_plans, output_kinds
from multiloss.data.schema import EncodedTable, EncoderArguments, TableSchema
from multiloss.data.split import Split, split_rows
from multiloss.data.table import read_table, to_polars

__all__ = [
    "Census",
    "ColumnPlan",
    "EncodedTable",
    "EncoderArguments",
    "InputColumn",
    "OutputColumn",
    "Split",
    "TableSchema",
    "describe_plans",
    "infer_columns",
    "label_census",
    "output_kinds",
    "read_table",
    "split_rows",
    "to_polars",
    "trivial_prediction",
]
