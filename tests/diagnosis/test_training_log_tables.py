"""Logs in CSV, JSON and tables of every framework, small and by hand, with the numbers that must come out."""

from __future__ import annotations

import json
import math

import pytest
from log_reading import numbers, read

from multiloss.core.errors import DataError
from multiloss.diagnosis.training_log import Printed


def test_the_puzzle_in_its_compact_form() -> None:
    log = read(
        "The log says, epoch: loss / dense_1_loss / dense_2_loss: 2: 9.2902/0.0801/0.0717; 3: 8.2261/0.0251/0.0199; "
        "4: 7.3107/0.0595/0.0048; 5: 6.4586/0.0560/0.0025; 6: 5.9463/0.1964/0.0653; 7: 5.3730/0.1722/0.0447; "
        "8: 4.8407/0.1396/0.0169; 9: 4.4465/0.1614/0.0124; 10: 3.9898/0.0588/0.0119; 11: 3.6347/0.0302/0.0085."
    )
    assert [epoch.epoch for epoch in log.train] == [2, 3, 4, 5, 6, 7, 8, 9, 10, 11]
    assert log.train[0].total == Printed(9.2902, 5e-05)
    assert numbers(log.train)[-1] == (11.0, 3.6347, {"dense_1": 0.0302, "dense_2": 0.0085})
    assert log.validation == ()


def test_tickets_as_a_sentence_needs_the_names() -> None:
    text = "Log: loss 1.2723, priority 0.7062, department 2.8304 (0.7062·1.0 + 2.8304·0.2 = 1.2723)"
    log = read(text, "loss", ["priority", "department"])
    assert numbers(log.train) == [(1.0, 1.2723, {"priority": 0.7062, "department": 2.8304})]


@pytest.mark.parametrize(
    "text",
    [
        "epoch loss dense_1_loss dense_2_loss\n2 9.2902 0.0801 0.0717\n3 8.2261 0.0251 0.0199\n",
        "| epoch | loss | dense_1_loss | dense_2_loss |\n|---|---:|---|---|\n"
        "| 2 | 9.2902 | 0.0801 | 0.0717 |\n| 3 | 8.2261 | 0.0251 | 0.0199 |\n",
        "my log:\n\nepoch | loss | dense_1_loss | dense_2_loss\n2 | 9.2902 | 0.0801 | 0.0717\n3|8.2261|0.0251|0.0199\n",
        "epoch\tloss\tdense_1_loss\tdense_2_loss\r\n2\t9.2902\t0.0801\t0.0717\r\n3\t8.2261\t0.0251\t0.0199\r\n",
        "epoch;loss;dense_1_loss;dense_2_loss\n2;9,2902;0,0801;0,0717\n3;8,2261;0,0251;0,0199\n",
    ],
)
def test_tables_however_their_cells_are_parted(text: str) -> None:
    assert numbers(read(text).train) == [
        (2.0, 9.2902, {"dense_1": 0.0801, "dense_2": 0.0717}),
        (3.0, 8.2261, {"dense_1": 0.0251, "dense_2": 0.0199}),
    ]


def test_a_data_frame_in_print_has_an_index_without_a_name() -> None:
    log = read("     loss  a_loss\n0  9.2902  0.0801\n1  8.2261  0.0251\n")
    assert numbers(log.train) == [(0.0, 9.2902, {"a": 0.0801}), (1.0, 8.2261, {"a": 0.0251})]


def test_keras_csvlogger() -> None:
    log = read(
        "epoch,a_accuracy,a_loss,b_loss,loss,val_a_loss,val_b_loss,val_loss\n"
        "0,0.5,0.7061999440193176,2.830399990081787,1.2722799777984619,0.71,2.9,1.29\n"
        "1,0.6,0.5,2.5,1.0,NA,NA,NA\n"
    )
    assert log.format == "Keras CSVLogger"
    assert numbers(log.train)[1] == (1.0, 1.0, {"a": 0.5, "b": 2.5})
    assert log.train[0].metrics == {"a_accuracy": 0.5}
    assert log.train[1].total.half == 0.0  # its column shows floats written whole
    assert numbers(log.validation) == [(0.0, 1.29, {"a": 0.71, "b": 2.9})]


def test_a_csvlogger_without_validation_may_say_nan_for_it() -> None:
    log = read("epoch,a_loss,loss,val_a_loss,val_loss\n0,0.5,1.5,nan,nan\n1,0.4,1.4,nan,nan\n")
    assert numbers(log.train) == [(0.0, 1.5, {"a": 0.5}), (1.0, 1.4, {"a": 0.4})]
    assert log.validation == () and log.notes == (
        "The losses of validation are NaN in every epoch; they were left out",
    )


LIGHTNING = (
    "epoch,step,train_a_loss_epoch,train_a_loss_step,train_loss_epoch,train_loss_step,val_a_loss,val_loss\n"
    "0,49,,0.5,,1.5,,\n0,99,,0.4,,1.4,,\n0,99,,,,,0.45,1.3\n0,99,0.46,,1.46,,,\n"
    "1,149,,0.3,,1.2,,\n1,199,,,,,0.35,1.1\n1,199,0.31,,1.21,,,\n"
)


def test_lightning_csv_by_epoch_where_it_has_both() -> None:
    log = read(LIGHTNING)
    assert (log.format, log.total, log.unit) == ("Lightning CSV", "train_loss_epoch", "epoch")
    assert numbers(log.train) == [(0.0, 1.46, {"a": 0.46}), (1.0, 1.21, {"a": 0.31})]
    assert numbers(log.validation) == [(0.0, 1.3, {"a": 0.45}), (1.0, 1.1, {"a": 0.35})]
    assert log.notes == ("The log has values by step and by epoch: those by epoch were read (train_loss_epoch)",)


def test_lightning_csv_with_nan_for_empty_cells() -> None:
    filled = "\n".join(",".join(cell or "nan" for cell in row.split(",")) for row in LIGHTNING.splitlines())
    assert read(filled) == read(LIGHTNING)


def test_lightning_csv_by_step() -> None:
    log = read(
        "a_loss,epoch,loss,step,val_a_loss,val_loss\n0.5,0,1.5,49,,\n0.4,0,1.4,99,,\n,0,,99,0.45,1.3\n"
        "0.3,1,1.3,149,,\n0.2,1,1.2,199,,\n,1,,199,0.40,1.2\n"
    )
    assert log.unit == "step"
    assert [epoch[:2] for epoch in numbers(log.train)] == [(49.0, 1.5), (99.0, 1.4), (149.0, 1.3), (199.0, 1.2)]
    assert numbers(log.validation) == [(99.0, 1.3, {"a": 0.45}), (199.0, 1.2, {"a": 0.4})]


def test_a_mean_over_the_epoch_beside_parts_of_a_step_is_said() -> None:
    log = read("epoch,step,a_loss_step,loss_epoch,loss_step\n0,49,0.5,,1.5\n0,99,0.3,,1.2\n0,99,,1.35,\n")
    assert numbers(log.train) == [(0.0, 1.35, {"a": 0.3})]
    assert "averaged over different windows" in log.notes[0]


def test_ultralytics_has_parts_and_no_total() -> None:
    log = read(
        "         epoch,   train/box_loss,  train/cls_loss,  metrics/mAP50(B),  val/box_loss,  val/cls_loss,  lr/pg0\n"
        "             1,           2.2611,          4.4612,           0.02061,        2.3607,        3.5587, 0.00033\n"
    )
    assert (log.format, log.total) == ("Ultralytics results.csv", "")
    (epoch,) = log.train
    assert math.isnan(epoch.total.value)
    assert epoch.parts == {"box": Printed(2.2611, 5e-05), "cls": Printed(4.4612, 5e-05)}
    assert epoch.metrics == {"metrics/mAP50(B)": 0.02061, "lr/pg0": 0.00033}
    assert [part.value for part in log.validation[0].parts.values()] == [2.3607, 3.5587]
    assert "no total for training (train/box_loss, train/cls_loss)" in log.notes[0]


HISTORY = {"loss": [9.2902, 8.2261], "a_loss": [0.08, 0.0251], "val_loss": [9.0, 8.0], "val_a_loss": [0.1, 0.2]}


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(HISTORY),
        json.dumps({"history": HISTORY, "epoch": [0, 1]}, indent=2),
        json.dumps({name: {str(i): value for i, value in enumerate(own)} for name, own in HISTORY.items()}),
        json.dumps([{name: own[i] for name, own in HISTORY.items()} for i in range(2)]),
        str(HISTORY),
        str(HISTORY).replace("9.2902", "np.float64(9.2902)"),
    ],
)
def test_history_in_json_and_as_python_prints_it(text: str) -> None:
    log = read(text)
    assert numbers(log.train) == [(1.0, 9.2902, {"a": 0.08}), (2.0, 8.2261, {"a": 0.0251})]
    assert log.train[0].parts["a"].half == 5e-05  # 0.08 is 0.0800 where others have four decimals
    assert numbers(log.validation) == [(1.0, 9.0, {"a": 0.1}), (2.0, 8.0, {"a": 0.2})]


def test_trainer_state_of_hugging_face() -> None:
    history = [
        {"epoch": 0.5, "loss": 1.2345, "a_loss": 0.5, "learning_rate": 5e-05, "step": 10},
        {"epoch": 1.0, "loss": 1.1, "a_loss": 0.4, "learning_rate": 0.0, "step": 20},
        {"epoch": 1.0, "eval_loss": 1.2490781545639038, "eval_a_loss": 0.30000001192092896, "step": 20},
        {"epoch": 1.0, "train_loss": 1.16725, "train_runtime": 99.0, "step": 20},
    ]
    log = read(json.dumps({"best_metric": None, "epoch": 1.0, "log_history": history, "max_steps": 20}, indent=2))
    assert (log.format, log.unit) == ("Hugging Face trainer_state.json", "step")
    assert numbers(log.train) == [(10.0, 1.2345, {"a": 0.5}), (20.0, 1.1, {"a": 0.4})]
    assert [e.total.half for e in log.train] == [5e-05, 5e-05]  # rounded to four decimals, whatever validation has
    assert log.train[0].metrics == {"learning_rate": 5e-05}
    assert log.validation[0].total == Printed(1.2490781545639038, 0.0)


def test_resumed_training_keeps_the_later_epochs() -> None:
    rows = [(5, 3.0), (6, 2.0), (7, 1.9), (6, 1.8), (7, 1.5), (8, 1.2)]
    log = read("epoch,loss,a_loss\n" + "".join(f"{epoch},{total},0.5\n" for epoch, total in rows))
    assert [epoch[:2] for epoch in numbers(log.train)] == [(5.0, 3.0), (6.0, 1.8), (7.0, 1.5), (8.0, 1.2)]
    assert "resumed" in log.notes[0]


def test_any_columns_by_name() -> None:
    text = "epoch,objective,kl,mse\n1,3.5,1.5,2.0\n2,2.5,1.0,1.5\n"
    log = read(text, "objective", ["kl", "mse"])
    assert (log.total, numbers(log.train)[0]) == ("objective", (1.0, 3.5, {"kl": 1.5, "mse": 2.0}))
    lines = (
        '{"epoch": 1, "losses": {"a": 1.5, "b": 2.0}, "loss": 3.5}\n'
        '{"epoch": 2, "losses": {"a": 1.0, "b": 1.5}, "loss": 2.5}\n'
    )
    assert numbers(read(lines).train) == [(1.0, 3.5, {"a": 1.5, "b": 2.0}), (2.0, 2.5, {"a": 1.0, "b": 1.5})]


def test_an_output_called_test_is_no_split() -> None:
    log = read("epoch,loss,test_score_loss,train_delay_loss\n1,3.5,1.5,2.0\n")
    assert numbers(log.train) == [(1.0, 3.5, {"test_score": 1.5, "train_delay": 2.0})]


@pytest.mark.parametrize(
    ("names", "form"),
    [
        ("epoch,loss,a_loss,b_loss", "CSV"),
        ("epoch,a_loss,loss,val_a_loss,val_loss", "Keras CSVLogger"),
        ("epoch,loss,a_loss,val_loss,train/speed", "CSV"),
        ("epoch,loss,a_loss,val_loss", "CSV"),
    ],
)
def test_a_csv_is_of_keras_only_with_its_names_of_validation(names: str, form: str) -> None:
    row = ",".join(["1.5"] * len(names.split(",")))
    assert read(f"{names}\n{row}\n").format == form


def test_the_columns_of_the_parts_are_remembered() -> None:
    log = read("epoch,train/loss,train/a_loss,valid/loss,valid/a_loss\n1,1.5,0.5,1.6,0.6\n")
    assert (log.columns, log.validation_total) == ({"a": "train/a_loss"}, "valid/loss")
    assert log.validation_columns == {"a": "valid/a_loss"}


def test_a_total_without_parts_says_which_columns_may_be_them_or_that_there_are_none() -> None:
    with pytest.raises(DataError, match=r"it logs no parts\. Log each addend of loss under a name of its own"):
        read("epoch,loss,accuracy,val_loss,val_accuracy,lr\n1,1.0,0.5,1.1,0.4,0.01\n")
    with pytest.raises(DataError, match=r"Name its parts: --total loss --parts cls,box$"):
        read("epoch,loss,cls,box,lr\n1,1.0,0.5,0.5,0.01\n")
