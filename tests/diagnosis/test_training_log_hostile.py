"""Whatever is given in the place of a log: a clear error, or what can be read of it, in little time and memory."""

from __future__ import annotations

import contextlib
import io
import time
import zipfile
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from log_reading import numbers, read

from multiloss.core.errors import DataError
from multiloss.diagnosis.training_log import read_log

KERAS = "Epoch 1/1\n9/9 [====] - 1s - loss: 2.0000 - größe_loss: 1.0000 - b_loss: 0.5000\n"


def archive() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        made.writestr("archive/data.pkl", b"\x80\x02}q\x00.")
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", "found an empty file"),
        (b" \r\n\t\n", "found an empty file"),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "found a PNG image"),
        (archive(), "found a zip archive, such as a PyTorch checkpoint"),
        (bytes(range(256)) * 40, "found bytes that are no text"),
        (b"Hello,\nthis is no log.\n" * 9, "with losses by name, found none"),
        (b"epoch,accuracy\n0,0.5\n", "no column that is one among the columns accuracy"),
        (b'{"accuracy": [0.5, 0.6]}', "no column that is one among the columns accuracy"),
        (b"[" * 200_000, "nested too deep"),
        (b'{"a":' * 200_000 + b"1" + b"}" * 200_000, "nested too deep"),
        (b"epoch,loss,a_loss\n", "found none in it"),
        (b'epoch,loss,a_loss\n0,"1.5,0.5\n' + b"x" * 200_000, "found one that cannot be read"),
    ],
)
def test_what_is_no_log_gets_an_error_that_says_so(data: bytes, found: str) -> None:
    with pytest.raises(DataError) as error:
        read(data)
    assert found in str(error.value)
    assert "standard input: expected" in str(error.value)


def test_files_that_are_not_there_or_hold_no_log(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected a training log, found no file to read"):
        read_log(tmp_path / "nothing.log")
    with pytest.raises(DataError, match=r"expected a run folder, TensorBoard events or one of results\.csv"):
        read_log(tmp_path)
    (tmp_path / "results.csv").write_text("epoch,loss,a_loss\n1,2.0,0.5\n")
    assert read_log(tmp_path).source == "results.csv"
    (tmp_path / "results.csv").unlink()
    (tmp_path / "events.out.tfevents.1").write_bytes(b"\x18\x00\x00\x00\x00\x00\x00\x00damaged file of no events")
    with pytest.raises(DataError):
        read_log(tmp_path)


def test_a_named_column_that_is_not_there_gets_the_nearest() -> None:
    text = "epoch,objective,kl,mse\n1,3.5,1.5,2.0\n"
    with pytest.raises(DataError, match=r"--total: expected a column of the log, found 'objectiv'\. Did you mean 'obj"):
        read(text, "objectiv", ["kl"])
    with pytest.raises(DataError, match="--parts: expected a column of the log, found 'mae'"):
        read(text, "objective", ["kl", "mae"])
    with pytest.raises(DataError, match=r"no column that is one among the columns objective, kl, mse\. Name them"):
        read(text)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_encodings_of_windows(encoding: str) -> None:
    assert numbers(read(KERAS.replace("\n", "\r\n").encode(encoding)).train) == [(1.0, 2.0, {"größe": 1.0, "b": 0.5})]


def test_letters_of_another_encoding_do_not_stop_the_rest() -> None:
    assert read(KERAS.encode("latin-1")).train[0].parts["b"].value == 0.5


def test_damaged_lines_are_left_out_and_counted() -> None:
    log = read("epoch,loss,a_loss\n0,2.0,1.0\n1,1.5\n2,1.8,what\n3,1.0,0.5\n")
    assert numbers(log.train) == [(0.0, 2.0, {"a": 1.0}), (2.0, 1.8, {}), (3.0, 1.0, {"a": 0.5})]
    assert log.notes == ("Left out, since no row of numbers: 1 of the table's lines",)
    lines = read(
        '{"epoch": 1, "loss": 2.0, "a_loss": 1.0}\n{"epoch": 2, "lo\n{"epoch": 3, "loss": 1.0, "a_loss": 0.5}\n'
    )
    assert [epoch.epoch for epoch in lines.train] == [1.0, 3.0]
    assert lines.notes == ("Left out, since no JSON object: 1 of the lines",)


def test_a_log_of_20_mb_takes_little_time_and_memory() -> None:
    update = " - loss: {}.5000 - a_loss: 0.5000 - b_loss: 0.2500"
    bar = "\b" * 100 + "\r{:4d}/1000 [=====>........................] - ETA: 9s"
    epoch = "".join(bar.format(step) + update.format(9) for step in range(1, 1001))
    text = "".join(f"Epoch {n}/115\n{epoch}{' - val_loss: 1.0000 - val_a_loss: 0.2500'}\n" for n in range(1, 116))
    assert len(text) > 20_000_000
    stream = io.BytesIO(text.encode())
    start = time.process_time()
    log = read_log(stream)
    seconds = time.process_time() - start
    assert [epoch.epoch for epoch in log.train] == list(range(1, 116))
    assert numbers(log.validation)[0] == (1.0, 1.0, {"a": 0.25})
    assert seconds < 20  # about 1 s on an idle machine


def test_a_long_log_of_steps_is_thinned() -> None:
    text = "".join(f'{{"iteration": {n}, "total_loss": 2.0, "loss_a": 1.25, "loss_b": 0.75}}\n' for n in range(25_000))
    log = read(text)
    assert 5_000 <= len(log.train) <= 10_000
    assert {b.epoch - a.epoch for a, b in pairwise(log.train)} == {4.0}
    assert "25,000 lines: every 4th was read" in log.notes


SHORT = "a 1 / : - [ { ' a/ 1/ 1/2_ loss_ loss:_ epoch_ epoch[ ::\n 9/9_[==] _-_loss:_1 \x1b] 1:1/ a_loss/ e- \n-\n _"


@pytest.mark.parametrize("piece", [piece.replace("_", " ") for piece in SHORT.split(" ")])
def test_no_repetition_is_slow(piece: str) -> None:
    texts = [piece * (60_000 // len(piece)), f"Epoch 1/2\n9/9 [==] - 1s - loss: 1.0 - a_loss: 1{piece * 10_000}\n!"]
    texts.append(f"epoch {piece * 10_000}!\nloss: {piece * 10_000}!\n{piece * 10_000}step{piece * 10_000}!")
    start = time.process_time()
    for text in texts:
        with contextlib.suppress(DataError):
            read(text)
    assert time.process_time() - start < 10  # well under a second on an idle machine


@given(st.binary(max_size=400) | st.text(max_size=200).map(str.encode))
@example(b"0e99999")
@example(b"loss: 0e999 a_loss: 1e-999\nloss: 9e999 a_loss: 1\n")
@example(b"epoch,loss,a_loss\nnan,1,2\ninf,1,2\n-inf,1,2\n")
@example(b'{"loss": [1e999999999999999999999, 1], "a_loss": [0e9999999999, 2]}')
@example(b'[{"loss": {"loss": 1}, "a_loss": 2}]')
@example(b"Epoch 99999999999999999999/1\n1/9999999999999999999999999 [=] - loss: 1.0 - a_loss: 1.0\n")
def test_arbitrary_bytes_raise_nothing_but_a_data_error(data: bytes) -> None:
    try:
        read(data)
    except DataError as error:
        assert "expected" in str(error)


PIECES = "loss a_loss val_loss epoch step iter:3 nan 1.5 -1e9 0 , | = } [ {'loss':1 ━━ ' (2.0) / ; 12:30:01"
WORDS = st.sampled_from(
    [*PIECES.split(), "Epoch 1/2", " - ", ": ", "9/9 [===]", "\x1b[32m", "\b", "\t", "\r", "\n", " "]
)


@given(st.lists(WORDS, max_size=60).map("".join))
def test_pieces_of_logs_in_any_order_raise_nothing_but_a_data_error(text: str) -> None:
    try:
        log = read(text)
    except DataError as error:
        assert "expected" in str(error)
    else:
        assert log.train or log.validation
