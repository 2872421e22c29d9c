"""What training loops print, small and by hand, with the numbers that must come out."""

from __future__ import annotations

import json

import pytest
from log_reading import numbers, read


@pytest.mark.parametrize("quote", ["", "'"])
def test_dictionaries_that_the_hugging_face_trainer_prints(quote: str) -> None:
    q = quote  # from version 5 on, numbers stand in quotes
    log = read(
        f" 10%|█         | 50/500 [00:10<01:30]{{'loss': {q}2.119{q}, 'a_loss': {q}1.5{q}, 'grad_norm': {q}nan{q}, "
        f"'learning_rate': {q}4.58e-05{q}, 'epoch': {q}0.25{q}}}          \n"
        f"{{'loss': {q}2.019{q}, 'a_loss': {q}1.25{q}, 'epoch': {q}0.5{q}}}\n"
        f"{{'eval_loss': {q}1.25{q}, 'eval_a_loss': {q}0.5{q}, 'eval_runtime': {q}3.0{q}, 'epoch': {q}0.5{q}}}\n"
        f"{{'train_runtime': {q}9.1{q}, 'train_loss': {q}2.0{q}, 'epoch': {q}0.5{q}}}\n"
    )
    assert log.format == "Hugging Face Trainer output"
    assert numbers(log.train) == [(0.25, 2.119, {"a": 1.5}), (0.5, 2.019, {"a": 1.25})]
    assert log.train[0].metrics["learning_rate"] == 4.58e-05
    assert numbers(log.validation) == [(0.5, 1.25, {"a": 0.5})]


def test_detectron2_json_lines() -> None:
    log = read(
        '{"data_time": 0.0096, "iteration": 1919, "loss_box_reg": 0.06653541326522827, '
        '"loss_cls": 0.025953871197998524, "lr": 0.01, "time": 0.4, "total_loss": 0.10340066681965254}\n'
        '{"bbox/AP": 31.5}\n'
        '{"data_time": 0.0097, "iteration": 1939, "loss_box_reg": 0.06629104167222977, '
        '"loss_cls": 0.027744458056986332, "lr": 0.01, "time": 0.4, "total_loss": 0.1074084369756747}\n'
    )
    assert (log.format, log.total, log.unit) == ("detectron2 metrics.json", "total_loss", "step")
    assert numbers(log.train)[1] == (
        1939.0,
        0.1074084369756747,
        {"box_reg": 0.06629104167222977, "cls": 0.027744458056986332},
    )
    assert log.train[0].total.half == 0.0
    assert "median" in log.notes[0]


def test_detectron2_text_has_four_significant_digits() -> None:
    log = read(
        "[08/14 10:55:40 d2.engine.train_loop]: Starting training from iteration 0\n"
        "[08/14 10:55:40 d2.utils.events]:  eta: 0:15:25  iter: 9999  total_loss: 0.4392  loss_cls: 0.07271  "
        "loss_box_reg: 0.05102  loss_mask: 0.1391  time: 0.4585  data_time: 0.0497  lr: 0.0003  max_mem: 1962M\n"
        "[08/14 10:55:59 d2.utils.events]:  eta: 0:15:09  iter: 10039  total_loss: 0.424  loss_cls: 0.06758  "
        "loss_box_reg: 0.047  loss_mask: 0.1604  time: 0.4586  data_time: 0.0410  lr: 0.0003  max_mem: 1962M\n"
    )
    assert (log.format, log.unit) == ("detectron2 text", "step")
    assert numbers(log.train) == [
        (9999.0, 0.4392, {"cls": 0.07271, "box_reg": 0.05102, "mask": 0.1391}),
        (10039.0, 0.424, {"cls": 0.06758, "box_reg": 0.047, "mask": 0.1604}),
    ]
    assert log.train[1].total.half == 5e-05  # 0.424 is 0.4240
    assert log.train[1].parts["box_reg"].half == 5e-06  # 0.047 is 0.04700


def test_mmdetection_text() -> None:
    start = "2020-05-08 18:56:16,649 - mmdet - INFO - Epoch"
    log = read(
        f"{start} [1][7450/7517]\tlr: 0.00125, eta: 1 day, 16:21:05, time: 0.595, memory: 6836, s0.loss_cls: 0.1939, "
        "s0.acc: 93.4961, loss_rpn_bbox: 0.0477, loss: 0.2416\n"
        f"{start} [1][7500/7517]\tlr: 0.00125, eta: 4:33:09, time: 0.595, s0.loss_cls: 0.1900, loss_rpn_bbox: 0.0470, "
        "loss: 0.2370\n"
        f"{start} [2][50/7517]\tlr: 0.00125, eta: 4:32:10, time: 0.594, s0.loss_cls: 0.1800, loss_rpn_bbox: 0.0460, "
        "loss: 0.2260\n"
    )
    assert (log.format, log.unit) == ("mmdetection text", "step")
    assert numbers(log.train) == [
        (7450.0, 0.2416, {"s0_cls": 0.1939, "rpn_bbox": 0.0477}),
        (7500.0, 0.237, {"s0_cls": 0.19, "rpn_bbox": 0.047}),
        (7550.0, 0.226, {"s0_cls": 0.18, "rpn_bbox": 0.046}),
    ]
    assert log.train[1].total.half == 5e-05
    assert log.train[0].metrics == {"lr": 0.00125, "time": 0.595, "memory": 6836.0, "s0.acc": 93.4961}


def test_mmengine_text_and_validation_losses() -> None:
    start = "2024/06/16 20:02:03 - mmengine - INFO -"
    log = read(
        f"{start} Epoch(train)  [1][ 50/7330]  base_lr: 2.0e-02 lr: 1.9e-03  eta: 1 day, 6:54  loss: 1.5000  "
        "loss_rpn_cls: 0.6000  loss_bbox: 0.9000\n"
        f"{start} Epoch(train)  [1][100/7330]  lr: 3.9e-03  loss: 1.4000  loss_rpn_cls: 0.5000  loss_bbox: 0.9000\n"
        f"{start} Epoch(val) [1][50/50]    loss: 1.7000  loss_rpn_cls: 0.8000  loss_bbox: 0.9000\n"
    )
    assert log.format == "mmengine text"
    assert [epoch[:2] for epoch in numbers(log.train)] == [(50.0, 1.5), (100.0, 1.4)]
    assert numbers(log.validation) == [(100.0, 1.7, {"rpn_cls": 0.8, "bbox": 0.9})]


def test_mmdetection_json_lines() -> None:
    log = read(
        '{"env_info": "sys.platform: linux", "seed": 0}\n'
        '{"mode": "train", "epoch": 1, "iter": 50, "lr": 0.1, "loss_cls": 0.5, "loss_bbox": 0.25312, "loss": 0.75312}\n'
        '{"mode": "train", "epoch": 1, "iter": 100, "lr": 0.01, "loss_cls": 0.4, "loss_bbox": 0.25, "loss": 0.65}\n'
        '{"mode": "val", "epoch": 1, "iter": 20, "lr": 0.01, "loss_cls": 0.45, "loss_bbox": 0.3, "loss": 0.75}\n'
        '{"mode": "train", "epoch": 2, "iter": 50, "lr": 0.01, "loss_cls": 0.3, "loss_bbox": 0.25, "loss": 0.55}\n'
    )
    assert (log.format, log.unit) == ("mmdetection JSON lines", "step")
    assert [epoch[:2] for epoch in numbers(log.train)] == [(50.0, 0.75312), (100.0, 0.65), (150.0, 0.55)]
    assert numbers(log.validation) == [(100.0, 0.75, {"cls": 0.45, "bbox": 0.3})]
    assert log.train[1].total.half == 5e-06


def test_validation_named_at_the_end_as_mmsegmentation_does() -> None:
    log = read(
        "2022-11-12 21:28:32,346 - mmseg - INFO - Iter [2600/120000]\tlr: 9.807e-03, eta: 4:17:15, "
        "decode.loss_ce: 0.1195, decode.acc_seg: 97.6243, aux.loss_ce: 0.0479, loss: 0.1675, "
        "decode.loss_ce_val: 0.1237, aux.loss_ce_val: 0.0568, loss_val: 0.1805\n"
    )
    assert numbers(log.train) == [(2600.0, 0.1675, {"decode_ce": 0.1195, "aux_ce": 0.0479})]
    assert numbers(log.validation) == [(2600.0, 0.1805, {"decode_ce": 0.1237, "aux_ce": 0.0568})]


def test_a_mean_in_brackets_is_read_and_said() -> None:
    line = (
        "Epoch: [0]  [  {}/1000]  eta: 0:10:00  lr: 0.000100  class_error: 98.00 (99.00)  loss: 40.1000 (42.3000)  "
        "loss_ce: 2.0000 (2.1000)  loss_bbox: 38.1000 (40.2000)  time: 0.3  data: 0.01  max mem: 4358\n"
    )
    log = read(line.format(10) + line.format(20))
    assert numbers(log.train)[0] == (10.0, 42.3, {"ce": 2.1, "bbox": 40.2})
    assert "mean stands in brackets" in log.notes[0]


def test_loops_by_hand() -> None:
    log = read(
        "Epoch [1/2]\n  train: box loss: 0.50, class loss: 0.40, total loss: 0.90\n"
        "  val: box loss: 0.60, class loss: 0.50, total loss: 1.10\n"
        "Epoch [2/2]\n  train: box loss: 0.30, class loss: 0.20, total loss: 0.50\n"
    )
    assert numbers(log.train) == [(1.0, 0.9, {"box": 0.5, "class": 0.4}), (2.0, 0.5, {"box": 0.3, "class": 0.2})]
    assert numbers(log.validation) == [(1.0, 1.1, {"box": 0.6, "class": 0.5})]
    steps = (
        "epoch: 1/300, iter: {}/925, mem: 1000Mb, total_loss: 6.1, iou_loss: 4.1, cls_loss: 2.0, lr: 1e-4, ETA: 1:10\n"
    )
    assert numbers(read(steps.format(10) + steps.format(20)).train) == [
        (10.0, 6.1, {"iou": 4.1, "cls": 2.0}),
        (20.0, 6.1, {"iou": 4.1, "cls": 2.0}),
    ]


def test_a_progress_bar_drawn_over_itself() -> None:
    bar = "Epoch 3: {}%|██  | 9/9 [00:05<00:10, 1.9it/s, v_num=0, train_loss={}, train_a_loss=0.300{}]"
    text = bar.format(10, "0.900", "") + "\r" + bar.format(100, "0.500", ", val_loss=1.00, val_a_loss=0.5") + "\n"
    log = read(text)
    assert numbers(log.train) == [(3.0, 0.5, {"a": 0.3})]
    assert numbers(log.validation) == [(3.0, 1.0, {"a": 0.5})]


def test_what_fit_prints_and_its_history() -> None:
    log = read(
        "epoch 1/60  loss 2.0541 a_loss 1.0548 b_loss 0.9896 a_accuracy 0.4000 val_loss 2.1730 val_a_loss 1.0437 "
        "val_b_loss 1.1294 val_task_loss 2.1730  0.08 s\n"
    )
    assert numbers(log.train) == [(1.0, 2.0541, {"a": 1.0548, "b": 0.9896})]
    assert numbers(log.validation) == [(1.0, 2.173, {"a": 1.0437, "b": 1.1294})]
    line = {
        "epoch": 1,
        "loss": 2.5,
        "a_loss": 1.0,
        "b_loss": 1.0,
        "val_loss": 3.0,
        "val_a_loss": 1.0,
        "val_task_loss": 2.0,
    }
    history = read(f"{json.dumps(line)}\n{json.dumps({**line, 'epoch': 2})}\n")
    assert numbers(history.train)[1] == (2.0, 2.5, {"a": 1.0, "b": 1.0})
    assert numbers(history.validation)[0] == (1.0, 3.0, {"a": 1.0})


def test_the_same_names_behind_the_loss_of_validation_are_of_validation() -> None:
    line = "Epoch 1: Train loss = 1.1 (cls = 0.9, reg = 0.2) | Val loss = 1.5 (cls = 1.2, reg = 0.3)\n"
    log = read(line, "Train_loss", ["cls", "reg"])
    assert numbers(log.train) == [(1.0, 1.1, {"cls": 0.9, "reg": 0.2})]
    assert numbers(log.validation) == [(1.0, 1.5, {"cls": 1.2, "reg": 0.3})]
