from __future__ import annotations

import gzip
import subprocess
import sys
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from multiloss.core.errors import DataError
from multiloss.data.table import read_table, to_polars
from multiloss.data.values import MISSING, labels


def written(folder: Path, text: str, name: str = "table.csv") -> Path:
    file = folder / name
    file.write_bytes(text.encode())
    return file


def test_import_loads_nothing_heavy() -> None:
    code = (
        "import sys, multiloss.data; print([m for m in ('polars', 'sklearn', 'pandas', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_separator_is_found(tmp_path: Path, separator: str) -> None:
    rows = [["a", "b", "c"], ["1", "x y", "2.5"], ["2", "z", "-1e3"]]
    frame = read_table(written(tmp_path, "\n".join(separator.join(row) for row in rows) + "\n", "table.dat"))
    assert frame.rows() == [(1, "x y", 2.5), (2, "z", -1000.0)]


def test_decimal_commas_do_not_hide_the_semicolon(tmp_path: Path) -> None:
    assert read_table(written(tmp_path, "a;b\n1,5;x\n2,5;y\n")).columns == ["a", "b"]


@pytest.mark.parametrize("missing", MISSING)
def test_missing_words(tmp_path: Path, missing: str) -> None:
    frame = read_table(written(tmp_path, f"a, b ,c\n1, {missing} ,x\n2, 3, {missing}\n"))
    assert frame.rows() == [(1, None, "x"), (2, 3, None)]


def test_types_of_text(tmp_path: Path) -> None:
    text = "code,flag,day,time,name,big\n007,True,2024-02-29,2024-02-29 06:00:00,x,1e5\n012,false,,2024-03-01,y,2\n"
    frame = read_table(written(tmp_path, text))
    assert frame.dtypes == [pl.String, pl.Boolean, pl.Date, pl.Datetime("us"), pl.String, pl.Float64]
    assert frame["day"].to_list() == [date(2024, 2, 29), None]


def test_quotes_blank_lines_and_a_byte_order_mark(tmp_path: Path) -> None:
    frame = read_table(written(tmp_path, '\ufeffa,b\r\n"x, ""y""\nz",1\r\n\r\nq,\r\n  \r\n'))
    assert frame.rows() == [('x, "y"\nz', 1), ("q", None)]


def test_one_column_keeps_its_empty_rows(tmp_path: Path) -> None:
    assert read_table(written(tmp_path, "a\n1\n?\n3\n"))["a"].to_list() == [1, None, 3]


def test_an_unnamed_column_gets_a_name(tmp_path: Path) -> None:
    assert read_table(written(tmp_path, ",a\n0,x\n1,y\n")).columns == ["unnamed_1", "a"]


def test_gzip_and_parquet(tmp_path: Path) -> None:
    packed = tmp_path / "table.csv.gz"
    packed.write_bytes(gzip.compress(b"a, b\n1, x\n"))
    pl.DataFrame({" a": [1], "b": [" x "]}).write_parquet(tmp_path / "table.parquet")
    assert read_table(packed).equals(read_table(tmp_path / "table.parquet"))


def test_real_tables(shared: Path) -> None:
    adult = read_table(shared / "adult" / "adult.data")
    assert adult.shape == (32561, 15)
    assert adult["label"].unique().sort().to_list() == ["<=50K", ">50K"]
    assert adult["workclass"].null_count() == 1836
    assert adult["hours-per-week"].dtype == pl.Int64
    tox21 = read_table(shared / "tox21" / "tox21.csv.gz")
    assert tox21["NR-AR"].drop_nulls().unique().sort().to_list() == [0, 1]
    assert 0 < tox21["SR-p53"].null_count() < tox21.height
    assert read_table(shared / "energy_efficiency" / "ENB2012_data.csv").shape == (768, 10)


def test_no_such_file_offers_the_nearest(tmp_path: Path) -> None:
    written(tmp_path, "a\n1\n", "homes.csv")
    with pytest.raises(DataError, match=r"home\.csv: .*found no such file\. Did you mean 'homes\.csv'\?"):
        read_table(tmp_path / "home.csv")
    with pytest.raises(DataError, match="found no folder"):
        read_table(tmp_path / "nowhere" / "home.csv")
    with pytest.raises(DataError, match="found a folder"):
        read_table(tmp_path)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "found an empty file"),
        (b"\n \n", "found an empty file"),
        (b"a,b\n", r"found an empty table \(2 columns, 0 rows\)"),
        (b"a,b\n\n\n", "found an empty table"),
        (b"\na,b\n1,2\n", "line 1: expected column names, found a blank line"),
        (b"a,b, a\n1,2,3\n", "expected distinct column names, found 'a' 2 times"),
        (b"a,b,c\n1,2,3\n4,5\n", "table.csv: line 3: expected 3 columns as in line 1, found 2"),
        (b"a,b,c\n1,2,3\n4,5,6,7\n", "table.csv: line 3: expected 3 columns as in line 1, found 4"),
        (b"a,b\n1\n" + b"1,2\n" * 9 + b"1,2,3\n", r"(?s)2 problems.*line 2: .*found 1.*line 12: .*found 3"),
        (b"a,b\n" + b"1\n" * 9, "and 4 more lines like these"),
        (b"a,b\n1,\xff\n", "found another encoding in line 2; save it as UTF-8"),
        (b"PK\x03\x04\x00\x00", "found a binary file"),
        (b"PAR1 and nothing more", "found a damaged one"),
        (b"\x1f\x8b\x08broken", "expected a gzip file, found a damaged one"),
    ],
)
def test_bad_files(tmp_path: Path, data: bytes, message: str) -> None:
    file = tmp_path / "table.csv"
    file.write_bytes(data)
    with pytest.raises(DataError, match=message) as caught:
        read_table(file)
    assert str(file) in str(caught.value)


def test_pandas_polars_and_mappings_agree() -> None:
    columns = {
        "whole": [1, None, 3],
        "real": [0.5, float("nan"), 2.0],
        "text": [" x", "?", "y "],
        "flag": [True, None, False],
        "day": [date(2024, 1, 1), None, date(2024, 1, 3)],
    }
    expected = to_polars(pl.DataFrame(columns, strict=False))
    frame = pd.DataFrame(columns)
    frame["whole"] = frame["whole"].astype("Int64")
    found = to_polars(frame)
    assert to_polars(columns).equals(expected)
    assert found.equals(expected)
    assert expected["text"].to_list() == ["x", None, "y"]
    assert expected["real"].null_count() == 1


def test_pandas_types() -> None:
    frame = pd.DataFrame(
        {
            "kind": pd.Categorical(["a", None, "b"]),
            "time": pd.to_datetime(["2024-01-01", None, "2024-01-02"]),
            "mixed": [1, "x", None],
            3: np.array([1, 2, 3], dtype=np.int8),
        }
    )
    found = to_polars(frame)
    assert found.columns == ["kind", "time", "mixed", "3"]
    assert found["kind"].to_list() == ["a", None, "b"]
    assert found["time"].dtype.is_temporal()
    assert found["mixed"].to_list() == ["1", "x", None]


def test_polars_categoricals_decimals_and_lazy_frames() -> None:
    frame = pl.DataFrame({"a": ["x", "y"], "b": ["1.5", "2"]}).with_columns(
        pl.col("a").cast(pl.Categorical), pl.col("b").cast(pl.Decimal(5, 1))
    )
    assert to_polars(frame.lazy()).rows() == [("x", 1.5), ("y", 2.0)]


def test_bad_frames() -> None:
    with pytest.raises(DataError, match=r"expected columns of one length, found {'a': 1, 'b': 2}"):
        to_polars({"a": [1], "b": [1, 2]})
    with pytest.raises(DataError, match=r"column 'a': expected one dimension, found shape \(2, 2\)"):
        to_polars({"a": torch.zeros(2, 2)})
    with pytest.raises(DataError, match="found list"):
        to_polars([1, 2])
    with pytest.raises(DataError, match="found 'a' 2 times"):
        to_polars(pd.DataFrame([[1, 2]], columns=["a", "a "]))
    with pytest.raises(DataError, match="empty table"):
        to_polars(pl.DataFrame({"a": []}))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.one_of(st.text(), st.integers(), st.floats(), st.booleans(), st.none()), min_size=1, max_size=20))
def test_a_label_does_not_depend_on_its_neighbours(cells: list[object]) -> None:
    series = pl.Series([None if cell is None else str(cell) for cell in cells], dtype=pl.String)
    alone = [labels(series[i : i + 1]).item() for i in range(len(series))]
    assert labels(series).to_list() == alone
