"""The files of a run: readable, complete, and never written over silently."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from training_tasks import make_data, make_model, make_objective, make_trainer, without_time

import multiloss as ml
from multiloss.core.run_files import finite, read_lines, read_run_json
from multiloss.training import checkpoint
from multiloss.training.run_log import fingerprint, write_run_json


def lines(path: Path) -> list[dict[str, Any]]:
    """Return the objects of a file of JSON lines, read strictly."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    return [json.loads(line, parse_constant=refuse) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("missing", [0.0, 0.3])
@pytest.mark.parametrize("weights", [None, {"price": ml.ramp(0, 2), "kind": 0.3}])
def test_every_line_of_the_ledger_adds_up(tmp_path: Path, missing: float, weights: Any) -> None:
    trainer = make_trainer(make_model(), make_objective(weights, penalty=0.02), out=tmp_path, lr=0.05)
    history = trainer.fit(make_data(90, missing), validation=0.3, epochs=4, batch_size=7)
    found = lines(tmp_path / "ledger.jsonl")
    assert [(line["epoch"], line["split"]) for line in found] == [
        (epoch, split) for epoch in (1, 2, 3, 4) for split in ("train", "validation")
    ]
    for line in found:
        contributions = [term["contribution"] for term in line["terms"]]
        assert math.fsum(contributions) == pytest.approx(line["total"], rel=1e-6)
        assert math.fsum(term["share"] for term in line["terms"]) == pytest.approx(1.0, rel=1e-6)
        assert not any(term["kind"] == "unexplained" for term in line["terms"])
        assert {term["name"] for term in line["terms"]} == {"price", "kind", "sold", "l2/trunk.0.weight"}
        for term in line["terms"]:
            assert {"name", "kind", "value", "weight", "balancing_weight", "contribution", "share", "count"} <= set(
                term
            )
        held = line["split"] == "validation"
        row = history.rows[line["epoch"] - 1]
        assert row["val_loss" if held else "loss"] == line["total"]
        counts = {term["name"]: term["count"] for term in line["terms"] if term["kind"] == "loss"}
        assert sum(counts.values()) <= 3 * (27 if held else 63)
        if not missing:
            assert set(counts.values()) == {27 if held else 63}
    assert without_time(lines(tmp_path / "history.jsonl")) == without_time(history)
    assert [record.to_dict() for record in history.ledgers] == found


def test_what_is_outside_the_sum_stands_beside_it(tmp_path: Path) -> None:
    model = make_model()
    model.heads["sold"].requires_grad_(False)
    objective = ml.Objective({"price": "mse", "kind": "cross_entropy"})
    x, y = make_data()
    trainer = make_trainer(model, objective, optimizer={"name": "adamw", "weight_decay": 0.1}, clip=0.01, out=tmp_path)
    trainer.fit((x, {"price": y["price"], "kind": y["kind"]}), epochs=2, batch_size=8)
    outside = lines(tmp_path / "ledger.jsonl")[-1]["outside"]
    text = "\n".join(outside)
    assert "weight_decay 0.1 of AdamW (decoupled): moves parameters, is in no loss" in text
    assert "gradient clipping at norm 0.01: 14 of 14 steps so far" in text
    assert "frozen parameters: 4 (heads.sold" in text
    assert "no loss for sold: predicted, not trained" in text


def test_run_json_says_how_the_run_was_made(tmp_path: Path) -> None:
    data = make_data()
    make_trainer(make_model(), out=tmp_path, threads=2).fit(data, epochs=1, seed=9)
    record = read_run_json(tmp_path)
    assert record["seed"] == 9 and record["rows"] == 53 and record["device"] == "cpu" and record["precision"] == "no"
    assert record["threads"] == 2 and record["threads_because"] == "given"
    assert record["parameters"] == sum(p.numel() for p in make_model().parameters())
    assert record["versions"]["torch"] == torch.__version__ and record["versions"]["multiloss"] == ml.__version__
    x, y = data
    tensors = {"inputs/inputs": x, **{f"targets/{name}": t for name, t in y.items()}}
    assert record["data_fingerprint"] == fingerprint(tensors)
    y["price"][3] += 1e-3
    assert record["data_fingerprint"] != fingerprint(tensors)


def test_an_existing_run_is_not_written_over(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    trainer = make_trainer(make_model(), out=folder)
    trainer.fit(make_data(), epochs=1)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for again in (trainer, make_trainer(make_model(), out=folder)):
        with pytest.raises(ml.RunError, match="already holds a run"):
            again.fit(make_data(), epochs=1)
    (folder / "history.jsonl").unlink()  # a checkpoint alone is a run as well
    with pytest.raises(ml.RunError, match="already holds a run"):
        trainer.fit(make_data(), epochs=1)
    del before[folder / "history.jsonl"]
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_no_file_is_a_pickle(tmp_path: Path) -> None:
    callbacks = [ml.BestCheckpoint("loss"), ml.EarlyStopping("loss"), ml.LRSchedule(
        lambda o: torch.optim.lr_scheduler.StepLR(o, 1))]  # fmt: skip
    make_trainer(make_model(norm="batch"), out=tmp_path, callbacks=callbacks, clip=1.0).fit(make_data(), epochs=2)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.relative_to(tmp_path).as_posix() for path in files} == {
        "run.json", "history.jsonl", "ledger.jsonl", "checkpoint/last.safetensors",
    }  # fmt: skip
    for path in files:
        content = path.read_bytes()
        assert not content.startswith((b"\x80", b"PK")) and b"ctorch" not in content and b"pickle" not in content


def test_mistakes_leave_nothing_half_written(tmp_path: Path) -> None:
    x, y = make_data()
    wrong: list[tuple[Any, dict[str, Any]]] = [
        ((x, {**y, "kind": y["kind"] + 9}), {}),
        ((x, y), {"batch_size": 0}),
        ((x, y), {"resume": True}),
    ]
    for data, options in wrong:
        with pytest.raises(ml.MultilossError):
            make_trainer(make_model(), out=tmp_path / "run").fit(data, **options)
        assert list(tmp_path.iterdir()) == []


def test_resuming_before_the_first_checkpoint_begins_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As after a kill in the first seconds: the records say that a run began, and no checkpoint is there yet."""
    expected = make_trainer(make_model()).fit(make_data(), epochs=2)
    make_trainer(make_model(), out=tmp_path).fit(make_data(), epochs=2)
    (tmp_path / "checkpoint" / "last.safetensors").unlink()
    with (tmp_path / "history.jsonl").open("a") as file:
        file.write('{"epoch": 3, "lo')
    history = make_trainer(make_model(), out=tmp_path).fit(make_data(), epochs=2, resume=True)
    assert "begins anew" in caplog.text
    assert without_time(history) == without_time(expected) == without_time(lines(tmp_path / "history.jsonl"))
    assert len(lines(tmp_path / "ledger.jsonl")) == 2


def test_a_finished_run_can_be_made_longer(tmp_path: Path) -> None:
    """The best epoch's parameters, put back at the end, are not what training goes on from."""
    ends = []
    for parts in ([6], [2, 2, 6]):
        folder = tmp_path / str(len(parts))
        for number, epochs in enumerate(parts):
            best = ml.BestCheckpoint("val_loss", mode="max")  # the first epoch will be the "best"
            model = make_model(seed=number)
            trainer = make_trainer(model, callbacks=[best], out=folder, lr=0.05)
            history = trainer.fit(make_data(), validation=0.3, epochs=epochs, resume=number > 0)
        ends.append((without_time(history), checkpoint.load(folder / "checkpoint" / "last.safetensors")["model"]))
        assert best.epoch == 1
    assert ends[0][0] == ends[1][0]
    assert all(torch.equal(ends[0][1][name], ends[1][1][name]) for name in ends[0][1])


def test_damaged_records_are_named(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    path.write_text('{"epoch": 1}\n{"epoch"\n{"epoch": 3}\n')
    with pytest.raises(ml.RunError, match="line 2: expected a JSON object"):
        read_lines(path)
    path.write_bytes(b'[1]\n{"epoch": "\xff"}\n')
    with pytest.raises(ml.RunError, match="line 1: expected a JSON object"):
        read_lines(path)
    path.write_text('{"epoch": 1}\n{"epo')
    assert read_lines(path) == [{"epoch": 1}]
    assert read_lines(tmp_path / "absent") == []
    with pytest.raises(ml.RunError, match="is no run folder"):
        read_run_json(tmp_path)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(ml.RunError, match=r"run\.json is damaged"):
        read_run_json(tmp_path)
    (tmp_path / "run.json").write_text("[1, 2]")
    with pytest.raises(ml.RunError, match=r"run\.json is damaged"):
        read_run_json(tmp_path)
    (tmp_path / "run.json").write_text('{"version": 99}')
    with pytest.raises(ml.RunError, match="version 99; this multiloss reads version 1"):
        read_run_json(tmp_path)
    with pytest.raises(ml.RunError, match="holds no run to go on with"):
        make_trainer(make_model(), out=tmp_path / "absent").fit(make_data(), resume=True)


plain = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner), st.tuples(inner)),
    max_leaves=10,
)


@given(plain)
def test_what_json_has_no_word_for_becomes_null(value: Any) -> None:
    text = json.dumps(finite(value), allow_nan=False)
    if isinstance(value, float):
        assert json.loads(text) == (value if math.isfinite(value) else None)


def test_a_number_that_is_not_finite_is_null_in_the_records(tmp_path: Path) -> None:
    write_run_json(tmp_path, {"a": float("nan"), "b": [float("inf"), 1.5]})
    assert json.loads((tmp_path / "run.json").read_text())["b"] == [None, 1.5]
    x, y = make_data(20)
    y["sold"] = torch.ones(20)  # one class: its AUROC cannot be said
    make_trainer(make_model(), out=tmp_path / "run").fit((x, y), epochs=1)
    assert lines(tmp_path / "run" / "history.jsonl")[0]["sold_auroc"] is None
