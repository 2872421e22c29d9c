"""The records of a run are read as they grow, each byte once, and anew where a file was replaced."""

from __future__ import annotations

import itertools
import os
import random
import time
from pathlib import Path

import pytest
from live_runs import Trainer

from multiloss.core.run_files import CONFIG, FACTS, GRADIENTS, HISTORY, LEDGER, json_line
from multiloss.core.run_records import RunRecords
from multiloss.report.follow import Follower

COUNTER = Path("/proc/self/io")


@pytest.fixture
def trainer(tmp_path: Path) -> Trainer:
    return Trainer(tmp_path / "run").begin(epochs=100)


def epochs(follower: Follower) -> list[int]:
    return [row["epoch"] for row in follower.records.history]


def read_so_far() -> int:
    """Bytes that this process has read, as the system counts them."""
    return int(COUNTER.read_text().split()[1])


def test_what_was_appended_is_what_a_fresh_reader_sees(trainer: Trainer) -> None:
    follower = Follower(trainer.folder)
    for epoch in range(1, 6):
        trainer.add()
        assert follower.look()
        assert follower.records == RunRecords.read(trainer.folder)
        assert len(follower.records.ledgers) == 2 * epoch and len(follower.records.flows) == epoch
        assert not follower.look()


def test_lines_cut_anywhere_are_read_when_they_end(trainer: Trainer) -> None:
    texts = [trainer.lines(epoch)[LEDGER] for epoch in range(1, 8)]
    whole = "".join(texts).replace("price", "prix é").encode()
    draw = random.Random(0)
    cuts = sorted(draw.sample(range(1, len(whole)), 60))
    follower = Follower(trainer.folder)
    for start, end in itertools.pairwise([0, *cuts, len(whole)]):
        with (trainer.folder / LEDGER).open("ab") as file:
            file.write(whole[start:end])
        follower.look()
        assert follower.problem is None
        assert len(follower.records.ledgers) == whole[:end].count(b"\n")
    assert follower.records == RunRecords.read(trainer.folder)


@pytest.mark.skipif(not COUNTER.exists(), reason="this system does not count the bytes that a process reads")
def test_a_long_run_is_read_once(trainer: Trainer) -> None:
    line = trainer.lines(1)[LEDGER]
    (trainer.folder / LEDGER).write_text(line * 10_000)
    size = (trainer.folder / LEDGER).stat().st_size
    follower = Follower(trainer.folder)
    before = read_so_far()
    assert follower.look()
    assert size <= read_so_far() - before < 1.1 * size
    with (trainer.folder / LEDGER).open("a") as file:
        file.write(line)
    before = read_so_far()
    assert follower.look()
    assert len(line) <= read_so_far() - before < len(line) + 5000
    assert len(follower.records.ledgers) == 20_002
    before = read_so_far()
    assert not follower.look()
    assert read_so_far() - before < 1000, "the count itself"


def test_a_resumed_run_is_read_anew(trainer: Trainer) -> None:
    follower = Follower(trainer.add(7).folder)
    follower.look()
    trainer.rewind(4)
    assert follower.look() and epochs(follower) == [1, 2, 3, 4]
    trainer.add(2)
    assert follower.look() and epochs(follower) == [1, 2, 3, 4, 5, 6]
    assert follower.records == RunRecords.read(trainer.folder)


def test_a_file_that_was_replaced_and_outgrew_the_old_one_is_read_anew(trainer: Trainer) -> None:
    follower = Follower(trainer.add(3).folder)
    follower.look()
    trainer.rewind(2).add(5)
    assert follower.look() and epochs(follower) == [1, 2, 3, 4, 5, 6, 7]


def test_a_file_written_over_in_its_place_is_read_anew(trainer: Trainer) -> None:
    follower = Follower(trainer.add(3).folder)
    follower.look()
    path = trainer.folder / HISTORY
    inode = path.stat().st_ino
    path.write_text("".join(json_line({"epoch": epoch, "loss": 0.25}) for epoch in range(1, 40)))
    assert path.stat().st_ino == inode
    assert follower.look() and epochs(follower) == list(range(1, 40))
    path.write_text(json_line({"epoch": 1, "loss": 0.125}))
    assert follower.look() and follower.records.history == [{"epoch": 1, "loss": 0.125}]


def test_files_that_are_taken_away_are_forgotten_when_the_run_begins_anew(trainer: Trainer) -> None:
    follower = Follower(trainer.add(3).folder)
    follower.look()
    for name in (HISTORY, LEDGER, GRADIENTS):
        (trainer.folder / name).unlink()
    assert follower.look()
    assert follower.records.history == [] and follower.records.ledgers == [] and follower.records.flows == []


def test_a_run_is_waited_for(tmp_path: Path) -> None:
    folder = tmp_path / "later"
    follower = Follower(folder)
    assert not follower.look() and follower.status() == ("waiting", "waiting for a run to begin in later")
    folder.mkdir()
    (folder / CONFIG).write_text("table: a.csv\n")
    assert not follower.look() and follower.status().state == "waiting"
    Trainer(folder).begin()
    assert follower.look() and follower.status() == ("live", "live: epoch 1 under way")
    assert follower.records.config == "table: a.csv\n" and follower.records.facts["rows"] == 64


def test_a_damaged_line_leaves_the_last_good_records_and_is_named(trainer: Trainer) -> None:
    follower = Follower(trainer.add(3).folder)
    follower.look()
    good = follower.records
    text = (trainer.folder / LEDGER).read_text()
    with (trainer.folder / LEDGER).open("a") as file:
        file.write('{"epoch": 4, "spl\n')
    trainer.add(1)
    assert not follower.look() and follower.records is good
    assert follower.status().state == "damaged"
    assert follower.status().text.startswith("ledger.jsonl, line 7: expected a record (JSONDecodeError: ")
    trainer.add(1)
    assert not follower.look() and follower.records is good and "line 7" in follower.status().text
    mended = trainer.folder / "mended"
    mended.write_text(text)
    mended.replace(trainer.folder / LEDGER)
    assert follower.look() and follower.status().state == "live"
    assert len(follower.records.ledgers) == 6 and epochs(follower) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("line", ["[1, 2]", "null", '{"epoch": 1}', '{"terms": 3, "outside": 0}', "\0\0\0", ""])
def test_a_line_that_is_no_record_is_a_damaged_line(trainer: Trainer, line: str) -> None:
    (trainer.folder / LEDGER).write_text(line + "\n")
    follower = Follower(trainer.folder)
    follower.look()
    assert follower.status().state == "damaged" and "ledger.jsonl, line 1: expected a record" in follower.status().text


@pytest.mark.parametrize("text", ["{", "[]", '{"version": 99}'])
def test_facts_that_cannot_be_read_are_tried_again(trainer: Trainer, text: str) -> None:
    follower = Follower(trainer.add(2).folder)
    follower.look()
    good = (trainer.folder / FACTS).read_text()
    (trainer.folder / FACTS).write_text(text)
    for _ in range(2):
        assert not follower.look()
        assert follower.status().state == "damaged" and str(trainer.folder) in follower.status().text
        assert epochs(follower) == [1, 2]
    (trainer.folder / FACTS).write_text(good)
    assert follower.look() and follower.status().state == "live"


def test_a_folder_that_cannot_be_one_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    follower = Follower(tmp_path / "file")
    assert not follower.look() and follower.status().state == "damaged"


def test_how_a_run_stands(trainer: Trainer) -> None:
    def said(**facts: object) -> tuple[str, str]:
        trainer.begin(**facts)
        follower.look()
        return follower.status()

    follower = Follower(trainer.add(7).folder)
    assert said() == ("live", "live: epoch 8 under way")
    assert said(epochs=9) == ("live", "live: epoch 8 of 9 under way")
    assert said(epochs=7) == ("finished", "all 7 epochs are done")
    kept = {"epoch": 5, "why": "best val_task_loss"}
    assert said(epochs=7, finished=True, stopped=None, kept=kept) == (
        *("finished", "finished after epoch 7; epoch 5 is kept"),
    )
    assert said(finished=True, stopped="no better for 3 epochs", kept=kept) == (
        *("finished", "finished after epoch 7: no better for 3 epochs; epoch 5 is kept"),
    )
    advice = f"Go on with: multiloss fit {trainer.folder} --resume"
    assert said(epochs=7, finished=False, stopped="SIGINT in epoch 8 after 30 steps") == (
        *("interrupted", f"interrupted after epoch 7: SIGINT in epoch 8 after 30 steps. {advice}"),
    )
    assert said(epochs=9) == ("live", "live: epoch 8 of 9 under way"), "it was resumed"


def test_a_run_that_writes_nothing_is_called_quiet_in_time(trainer: Trainer) -> None:
    def say_after(seconds: float) -> tuple[str, str]:
        return follower.status(now=last + seconds)

    follower = Follower(trainer.add(7).folder)
    last = time.time() - 10_000
    for path in trainer.folder.iterdir():
        os.utime(path, (last, last))
    follower.look()
    assert say_after(119)[0] == "live"
    assert say_after(121) == ("quiet", "no new line for 2 minutes; 7 epochs are done")
    assert say_after(3 * 3600) == ("quiet", "no new line for 3 hours; 7 epochs are done")
    assert say_after(2 * 86400) == ("quiet", "no new line for 2 days; 7 epochs are done")
    with (trainer.folder / HISTORY).open("a") as file:
        file.write(json_line({"epoch": 8, "seconds": 100.0}))
    os.utime(trainer.folder / HISTORY, (last, last))
    follower.look()
    assert say_after(299)[0] == "live", "an epoch takes 100 s; nothing is missed before three of them"
    assert say_after(301) == ("quiet", "no new line for 5 minutes; 8 epochs are done")
