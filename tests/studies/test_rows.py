from __future__ import annotations

import math
from pathlib import Path

import polars as pl
import pytest
import torch
from study_tables import frame, make_config, write_table
from torch import Tensor, tensor

from multiloss.config.build import Experiment, prepare
from multiloss.core.errors import NonFiniteError, RunError
from multiloss.core.types import Kind
from multiloss.studies.rows import PARTS, ROWS, held_out_scores, read_rows, read_score, row_scores, write_rows

nan = math.nan


def equal(found: Tensor, expected: list[float]) -> None:
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, tensor(expected, dtype=torch.float64), equal_nan=True)


@pytest.mark.parametrize("kind", ["regression", "count"])
def test_numbers_are_scored_by_their_distance(kind: Kind) -> None:
    scores = row_scores(kind, tensor([1.0, 5.0, 2.0]), tensor([4.0, 5.0, nan]))
    assert list(scores) == ["mae", "mse"]
    equal(scores["mae"], [3.0, 0.0, nan])
    equal(scores["mse"], [9.0, 0.0, nan])


def test_a_class_of_two_by_the_probability_of_the_positive_one() -> None:
    scores = row_scores("binary", tensor([0.8, 0.8, 0.5, 0.1]), tensor([1.0, 0.0, 1.0, nan]))
    equal(scores["accuracy"], [1.0, 0.0, 0.0, nan])  # 0.5 is not above 0.5, as the metric has it
    equal(scores["log_loss"], [-math.log(0.8), -math.log(0.2), math.log(2), nan])


@pytest.mark.parametrize("kind", ["multiclass", "ordinal"])
def test_a_class_of_several_by_the_probability_of_the_right_one(kind: Kind) -> None:
    chances = tensor([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7], [1.0, 0.0, 0.0]])
    scores = row_scores(kind, chances, tensor([0, 1, -100]))
    equal(scores["accuracy"], [1.0, 0.0, nan])
    equal(scores["log_loss"], [math.log(2), math.log(5), nan])


def test_several_labels_by_their_mean_over_those_that_are_there() -> None:
    chances, labels = tensor([[0.9, 0.4], [0.9, 0.4], [0.5, 0.5]]), tensor([[1.0, 1.0], [nan, 0.0], [nan, nan]])
    scores = row_scores("multilabel", chances, labels)
    equal(scores["accuracy"], [0.5, 1.0, nan])
    equal(scores["log_loss"], [-(math.log(0.9) + math.log(0.4)) / 2, -math.log(0.6), nan])


def test_a_probability_of_zero_costs_much_and_not_infinitely_much() -> None:
    for scores in (
        row_scores("binary", tensor([0.0]), tensor([1.0])),
        row_scores("multiclass", tensor([[1.0, 0.0]]), tensor([1])),
    ):
        equal(scores["log_loss"], [52 * math.log(2)])
        equal(scores["accuracy"], [0.0])


def test_rows_come_back_from_the_folder_or_an_error_says_why(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"could not read .*No such file.*and the study trains this run again"):
        read_rows(tmp_path)
    rows = {f"test/{name}/mae": torch.arange(3, dtype=torch.float64) / 7 for name in ("b", "a price")}
    write_rows(tmp_path, rows)
    found = read_rows(tmp_path)
    assert list(found) == ["test/a price/mae", "test/b/mae"]
    assert all(torch.equal(found[name], values) for name, values in rows.items())
    (tmp_path / ROWS).write_bytes(b"nothing")
    with pytest.raises(RunError, match="is damaged"):
        read_rows(tmp_path)


def test_one_score_or_an_error_that_names_it(tmp_path: Path) -> None:
    values = torch.arange(3, dtype=torch.float64) / 7
    write_rows(tmp_path, {"test/y/mae": values})
    assert torch.equal(read_score(tmp_path, "test", "y", "mae"), values)
    with pytest.raises(RunError) as raised:
        read_score(tmp_path, "test", "y", "mse")
    assert str(raised.value) == (
        f"{tmp_path / ROWS} is damaged: it has no test/y/mse. Delete the folder {tmp_path}, and the study trains this "
        "run again"
    )


def test_a_prediction_that_is_no_number_is_no_missing_label() -> None:
    chances, labels = tensor([[nan, 0.4], [nan, 0.4]]), tensor([[1.0, 1.0], [nan, 0.0]])
    equal(row_scores("multilabel", chances, labels)["log_loss"], [nan, -math.log(0.6)])


# ------------------------------------------------------------------ scores that are not finite


@pytest.fixture
def trained(tmp_path: Path) -> Experiment:
    """A run that is ready; a price, how many visits, and a kind, each with rows without a label."""
    visits = pl.Series("visits", [None if row % 7 == 0 else row % 5 for row in range(96)])
    table = write_table(tmp_path, frame().with_columns(visits))
    outputs = {"price": {}, "visits": {"kind": "count"}, "kind": {}}
    return prepare(make_config(table, outputs=outputs), tmp_path / "run", progress=False)


def spoil(experiment: Experiment, output: str, value: float) -> None:
    """Let a head predict one value everywhere."""
    with torch.no_grad():
        for parameter in experiment.model.heads[output].parameters():
            parameter.fill_(value if parameter.dim() == 1 else 0.0)


@pytest.mark.parametrize(("output", "value"), [("price", nan), ("kind", nan), ("visits", nan), ("visits", 1e4)])
def test_rows_whose_scores_are_not_finite_are_counted_and_the_first_is_named(
    trained: Experiment, output: str, value: float
) -> None:
    spoil(trained, output, value)
    table = pl.read_csv(trained.config.table)
    rows = trained.rows["validation"].tolist()
    labelled = [row for row in rows if table[output][row] is not None]
    assert 0 < len(labelled) < len(rows)
    with pytest.raises(NonFiniteError) as raised:
        held_out_scores(trained, list(trained.config.outputs))
    assert raised.value.names == (output,)
    assert str(raised.value).startswith(
        f"the held-out scores of {output} are not finite in {len(labelled)} of {len(rows)} validation rows, row "
        f"{labelled[0] + 1} of the table first."
    )


def test_a_loss_that_overflows_though_the_scores_do_not_counts_too(trained: Experiment) -> None:
    """exp(200) is a number in float64, in which rows are scored, and infinite in float32, in which losses are."""
    spoil(trained, "visits", 200.0)
    with pytest.raises(NonFiniteError, match=r"scores of visits are not finite in \d+ of \d+ validation rows"):
        held_out_scores(trained, ["visits"])


def test_an_output_that_is_not_asked_for_and_rows_without_a_label_do_not_count(trained: Experiment) -> None:
    spoil(trained, "visits", nan)
    assert {name.split("/")[1] for name in held_out_scores(trained, ["price", "kind"])} == {"price", "kind"}
    spoil(trained, "visits", 0.0)
    for part in PARTS:
        trained.parts[part].inputs["numbers"][trained.parts[part].targets["visits"].isnan()] = math.inf
    found = held_out_scores(trained, ["visits"])["test/visits/mae"]
    assert torch.equal(found.isnan(), trained.parts["test"].targets["visits"].isnan())
