"""Keras' progress output of every version is read back, whatever a terminal or a page did to it."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from log_reading import numbers, read

from multiloss.core.errors import DataError
from multiloss.diagnosis.training_log import LogEpoch, Printed

BAR = "[==============================]"


def test_bars_of_keras_2_with_validation() -> None:
    log = read(
        "Train on 8448 samples, validate on 100 samples\n"
        "Epoch 1/2\n"
        f"264/264 {BAR} - 5s 17ms/step - loss: 9.2902 - dense_1_loss: 0.0801 - dense_2_loss: 0.0717 - "
        "dense_1_acc: 0.9500 - val_loss: 9.1000 - val_dense_1_loss: 0.0901 - val_dense_2_loss: 1.2000e-05\n"
        "Epoch 2/2\n"
        f"264/264 {BAR} - 5s 17ms/step - loss: 8.2261 - dense_1_loss: 0.0251 - dense_2_loss: 0.0199 - "
        "dense_1_acc: 0.9600 - val_loss: 8.1000 - val_dense_1_loss: 0.0401 - val_dense_2_loss: 0.0300\n"
    )
    assert (log.format, log.source, log.total, log.unit, log.notes) == (
        "Keras progress output",
        "standard input",
        "loss",
        "epoch",
        (),
    )
    assert numbers(log.train) == [
        (1.0, 9.2902, {"dense_1": 0.0801, "dense_2": 0.0717}),
        (2.0, 8.2261, {"dense_1": 0.0251, "dense_2": 0.0199}),
    ]
    assert numbers(log.validation) == [
        (1.0, 9.1, {"dense_1": 0.0901, "dense_2": 1.2e-05}),
        (2.0, 8.1, {"dense_1": 0.0401, "dense_2": 0.03}),
    ]
    assert [epoch.metrics for epoch in log.train] == [{"dense_1_acc": 0.95}, {"dense_1_acc": 0.96}]
    assert log.train[0].total == Printed(9.2902, 5e-05)  # four decimals: half of 0.0001
    assert log.validation[0].parts["dense_2"].half == 5e-10  # 1.2000e-05: half of the ninth decimal


def test_tickets_in_keras_3_with_colours_and_updates_over_each_other() -> None:
    bar = "\x1b[32m━━━━━━━━━━\x1b[0m\x1b[37m━━━━━━━━━━\x1b[0m"
    back = "\b" * 90 + "\r"
    log = read(
        "Epoch 1/2\n"
        f"{back}\x1b[1m 1/40\x1b[0m {bar} \x1b[1m9s\x1b[0m 250ms/step - department_loss: 2.9 - loss: 3.1"
        f"{back}\x1b[1m40/40\x1b[0m {bar} \x1b[1m0s\x1b[0m 12ms/step - department_loss: 2.8304 - loss: 1.2723 - "
        "priority_loss: 0.7062"
        f"{back}\x1b[1m40/40\x1b[0m {bar} \x1b[1m1s\x1b[0m 14ms/step - department_loss: 2.8304 - loss: 1.2723 - "
        "priority_loss: 0.7062 - val_department_loss: 2.7000 - val_loss: 1.2000 - val_priority_loss: 0.6600\n"
    )
    assert numbers(log.train) == [(1.0, 1.2723, {"department": 2.8304, "priority": 0.7062})]
    assert numbers(log.validation) == [(1.0, 1.2, {"department": 2.7, "priority": 0.66})]


def test_keras_3_in_a_file_has_a_line_for_every_update() -> None:
    log = read(
        "Epoch 1/2\n\n 1/40 ━━━━━━━ 9s 250ms/step - a_loss: 0.9000 - loss: 3.1000\n"
        "40/40 ━━━━━━━ 0s 12ms/step - a_loss: 0.5000 - loss: 2.0000\n"
        "40/40 ━━━━━━━ 1s 14ms/step - a_loss: 0.5000 - loss: 2.0000 - val_a_loss: 0.6000 - val_loss: 2.1000\n"
        "Epoch 2/2\n\n40/40 ━━━━━━━ 0s 12ms/step - a_loss: 0.4000 - loss: 1.9000\n"
    )
    assert numbers(log.train) == [(1.0, 2.0, {"a": 0.5}), (2.0, 1.9, {"a": 0.4})]
    assert numbers(log.validation) == [(1.0, 2.1, {"a": 0.6})]


def test_colours_that_lost_their_escape_on_a_page() -> None:
    log = read(
        "Epoch 1/2\n[1m40/40[0m [32m━━━━━━━━━━━━━━━━━━━━[0m[37m[0m [1m3s[0m 22ms/step - a_loss: 0.5000 - loss: 2.0000\n"
    )
    assert numbers(log.train) == [(1.0, 2.0, {"a": 0.5})]


@pytest.mark.parametrize(
    "line",
    [
        " - 5s - loss: 2.0000 - a_loss: 0.5000",
        "264/264 - 5s - loss: 2.0000 - a_loss: 0.5000",
        "264/264 - 5s - 17ms/step - loss: 2.0000 - a_loss: 0.5000",
        "5s - loss: 2.0000 - a_loss: 0.5000",
    ],
)
def test_a_line_an_epoch(line: str) -> None:
    log = read(
        f"Epoch 1/2\n{line}\nEpoch 00001: val_loss improved from inf to 0.12345, saving model to best.h5\n"
        f"Epoch 2/2\n{line.replace('2.0000', '1.0000')}\n"
    )
    assert numbers(log.train) == [(1.0, 2.0, {"a": 0.5}), (2.0, 1.0, {"a": 0.5})]


def test_lines_broken_in_keys_numbers_and_exponents_are_joined() -> None:
    log = read(
        "Epoch 5/10\n264/264 [=========\n=====] - 5s 17m\ns/step - loss: 9.29\n02 - dense_1_\nloss: 0.0801 -\n"
        "dense_2_loss: 7.1700e\n-02 - val_loss: 1.5000 - val_den\nse_1_loss: 0.5000\n- val_dense_2_loss: 1.0000\n"
        "2024-01-01 10:00:00.123 I tensorflow: something else 3\nRestoring model weights from the best epoch: 3.\n"
        f"Epoch 6/10\n264/264 {BAR} - 5s - loss: 8.0000 - dense_1_loss: 0.0700 - dense_2_loss: 0.0600\n"
    )
    assert numbers(log.train) == [
        (5.0, 9.2902, {"dense_1": 0.0801, "dense_2": 0.0717}),
        (6.0, 8.0, {"dense_1": 0.07, "dense_2": 0.06}),
    ]
    assert numbers(log.validation) == [(5.0, 1.5, {"dense_1": 0.5, "dense_2": 1.0})]


def test_evaluation_after_training_does_not_overwrite_the_last_epoch() -> None:
    log = read(
        f"Epoch 1/1\n264/264 {BAR} - 5s 17ms/step - loss: 2.0000 - a_loss: 0.5000\n"
        "  1/264 [..............................] - ETA: 0s - loss: 7.0000 - a_loss: 7.0000\r"
        f"264/264 {BAR} - 1s 2ms/step - loss: 3.0000 - a_loss: 3.0000\n"
        f"10/10 {BAR} - 0s 2ms/step\nTest loss: 3.0000\n"
    )
    assert numbers(log.train) == [(1.0, 2.0, {"a": 0.5})]
    assert "left out" in log.notes[0]


def test_epochs_without_headers() -> None:
    lines = "".join(f"9/9 {BAR} - 1s 2ms/step - loss: {n}.5000 - a_loss: 0.5000\n" for n in (3, 2, 1))
    assert [epoch[:2] for epoch in numbers(read(lines).train)] == [(1.0, 3.5), (2.0, 2.5), (3.0, 1.5)]
    bare = "loss: 3.5000 - a_loss: 0.5000\n\nloss: 2.5000 - a_loss: 0.4000\n"
    assert [epoch[:2] for epoch in numbers(read(f"I get\n{bare}").train)] == [(1.0, 3.5), (2.0, 2.5)]


@pytest.mark.parametrize("bar", ["????????", "â”â”â”", "########"])
def test_bars_whose_characters_were_lost(bar: str) -> None:
    log = read(
        f"Epoch 1/2\n 1/40 {bar} 9s 250ms/step - a_loss: 0.9000 - loss: 3.1000\n"
        f"40/40 {bar} 1s 14ms/step - a_loss: 0.5000 - loss: 2.0000\n"
    )
    assert numbers(log.train) == [(1.0, 2.0, {"a": 0.5})]


def test_everything_in_one_line() -> None:
    log = read(
        "Epoch 1/2 1/9 [>....] - ETA: 9s - loss: 7.0000 - a_loss: 7.0000 "
        f"9/9 {BAR} - 1s - loss: 2.0000 - a_loss: 0.5000 "
        f"Epoch 2/2 9/9 {BAR} - 1s 5ms/step - loss: 1.0000 - a_loss: 0.2500"
    )
    assert numbers(log.train) == [(1.0, 2.0, {"a": 0.5}), (2.0, 1.0, {"a": 0.25})]


def test_an_epoch_that_was_interrupted_is_left_out_and_said() -> None:
    log = read(
        f"Epoch 1/9\n9/9 {BAR} - 1s - loss: 2.0000 - a_loss: 0.5000\n"
        "Epoch 2/9\n4/9 [====>....] - ETA: 3:35 - loss: 1.0000 - a_loss: 0.1000^C\nKeyboardInterrupt\n"
    )
    assert numbers(log.train) == [(1.0, 2.0, {"a": 0.5})]
    assert log.notes == ("The last epoch is not finished; it was left out",)


def test_of_several_fits_the_longest_is_read_and_the_rest_named() -> None:
    def fit(epochs: int, first: float) -> str:
        return "".join(
            f"Epoch {n}/{epochs}\n9/9 {BAR} - 1s - loss: {first - n:.4f} - a_loss: 0.5000\n"
            for n in range(1, epochs + 1)
        )

    log = read(">>> model.fit(x, y)\n" + fit(1, 90) + fit(3, 50) + fit(2, 20))
    assert [epoch[:2] for epoch in numbers(log.train)] == [(1.0, 49.0), (2.0, 48.0), (3.0, 47.0)]
    assert log.notes == (
        "3 fits follow each other (1, 3, 2 epochs): number 2 is read. Give another one alone to see it",
    )


def test_nan_and_infinite_totals_are_kept() -> None:
    log = read(
        f"Epoch 1/2\n9/9 {BAR} - 1s - loss: inf - a_loss: 0.5000\nEpoch 2/2\n9/9 {BAR} - 1s - loss: nan - a_loss: nan\n"
    )
    assert log.train[0].total == Printed(math.inf, 0.0)
    assert math.isnan(log.train[1].total.value) and math.isnan(log.train[1].parts["a"].value)


def test_a_log_of_one_loss_names_the_way_out() -> None:
    with pytest.raises(DataError, match=r"the total loss among the columns loss: it logs no parts\. Log each"):
        read("Epoch 1/2\n40/40 ━━━━━━━ 1s 12ms/step - loss: 1.2673\n")


NUMBERS = st.one_of(
    st.floats(0.0011, 1e6).map(lambda value: f"{value:.4f}"),
    st.floats(1e-30, 0.0009).map(lambda value: f"{value:.4e}"),
    st.sampled_from(["nan", "inf"]),
)
OUTPUTS = st.lists(
    st.from_regex(r"[a-z][a-z0-9]{0,6}(_[1-9])?", fullmatch=True).filter(
        lambda name: (
            name not in {"val", "dev", "loss", "total", "best", "min", "lowest", "ema", "avg", "mean"}
            and part_is_plain(name)
        )
    ),
    min_size=1,
    max_size=3,
    unique=True,
)


def part_is_plain(name: str) -> bool:
    splits = ("train", "val", "eval", "test", "dev", "sum", "all", "joint", "overall", "combined", "average", "running")
    words = ("smooth", "reg")
    return name.split("_")[0] not in (*splits, *words, "losses", "smoothed", "epoch")


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[str], list[dict[str, str]]]:
    outputs = draw(OUTPUTS)
    keys = ["loss", *(f"{name}_loss" for name in outputs)]
    if draw(st.booleans()):
        keys += [f"val_{key}" for key in keys]
    epochs = draw(st.lists(st.fixed_dictionaries(dict.fromkeys(keys, NUMBERS)), min_size=1, max_size=4))
    return outputs, epochs


def rendered(epochs: list[dict[str, str]], modern: bool, colours: bool, back: str, updates: int) -> str:
    """Return what a small Keras would print; `back` stands before each update."""
    text = ""
    for number, logs in enumerate(epochs, 1):
        text += f"Epoch {number}/{len(epochs)}\n"
        for step in [*range(1, updates + 1), updates]:
            last = text.endswith("\x00")
            bar = "━" * step + "━" * (updates - step) if modern else f"[{'=' * step}{'.' * (updates - step)}]"
            bar = f"\x1b[32m{bar}\x1b[0m" if colours else bar
            keys = sorted(logs) if modern else list(logs)
            shown = [key for key in keys if last or not key.startswith("val_")]
            text = text.rstrip("\x00")
            pairs = "".join(f" - {key}: {logs[key]}" for key in shown)
            text += f"{back}{step}/{updates} {bar} {'' if modern else '- '}2s 5ms/step{pairs}"
            text += "\x00" if step == updates and not last else ""
        text += "\n"
    return text


@given(
    histories(),
    st.booleans(),
    st.booleans(),
    st.sampled_from(["\r", "\b\b\b\b\r", "\x1b[2K\x1b[1G"]),
    st.integers(2, 4),
)
def test_what_a_small_keras_prints_is_read_back(
    history: tuple[list[str], list[dict[str, str]]], modern: bool, colours: bool, back: str, updates: int
) -> None:
    outputs, epochs = history
    log = read(rendered(epochs, modern, colours, back, updates))

    def texts(prefix: str) -> list[list[str]]:
        keys = [f"{prefix}loss", *(f"{prefix}{name}_loss" for name in outputs)]
        return [[str(float(logs[key])) for key in keys] for logs in epochs if keys[0] in logs]

    def found(split: tuple[LogEpoch, ...]) -> list[list[str]]:
        return [[str(number.value) for number in (e.total, *(e.parts[name] for name in outputs))] for e in split]

    assert found(log.train) == texts("")
    assert found(log.validation) == texts("val_")


@pytest.mark.parametrize("bar", ["40/40 - 1s - loss", "40/40 [======] - 1s 3ms/step - loss", " - 1s - loss"])
def test_a_printed_line_between_header_and_bar_is_not_the_epoch(bar: str) -> None:
    said = "lr is now 0.001, best val_loss: 0.5123"
    text = "".join(
        f"Epoch {i}/2\n{said}\n{said}\n{bar}: {i}.5 - a_loss: {i}.0 - b_loss: 0.5\nloss: 7.0 - a_loss: 7.0\n"
        for i in (1, 2)
    )
    log = read(text)
    assert numbers(log.train) == [(1.0, 1.5, {"a": 1.0, "b": 0.5}), (2.0, 2.5, {"a": 2.0, "b": 0.5})]


def test_a_printed_line_is_the_epoch_where_there_is_no_bar() -> None:
    log = read("Epoch 1/2\nloss: 1.5 - a_loss: 1.0 - b_loss: 0.5\nEpoch 2/2\nloss: 2.5 - a_loss: 2.0 - b_loss: 0.5\n")
    assert [epoch.total.value for epoch in log.train] == [1.5, 2.5]
