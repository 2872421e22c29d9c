"""Checkpoints: whole or not at all, the same bits back, and no pickle."""

from __future__ import annotations

import errno
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from training_tasks import make_data, make_model, make_trainer, same, state

import multiloss as ml
from multiloss.training import checkpoint

LAST = Path("checkpoint", "last.safetensors")
numbers = st.one_of(st.none(), st.booleans(), st.integers(-(2**60), 2**60), st.floats(allow_nan=False), st.text())
kinds = (torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.uint8, torch.bool)
tensors = st.builds(
    lambda shape, kind, seed: (torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 3).to(kind),
    st.lists(st.integers(0, 3), max_size=3),
    st.sampled_from(kinds),
    st.integers(0, 99),
)
keys = st.one_of(st.integers(0, 9), st.sampled_from(["a", "b", "a/b", "tensor", "dict", "b/a/b", ""]))
trees = st.dictionaries(
    keys,
    st.recursive(
        st.one_of(numbers, tensors),
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=4)),
        max_leaves=12,
    ),
    max_size=4,
)


def equal(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor):
        return isinstance(b, Tensor) and a.dtype == b.dtype and a.shape == b.shape and bool((a == b).all())
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return isinstance(b, list) and len(a) == len(b) and all(map(equal, a, b))
    return bool(type(a) is type(b) and a == b)


@settings(deadline=None, max_examples=80)
@given(trees)
def test_any_tree_comes_back(tmp_path_factory: pytest.TempPathFactory, tree: dict[Any, Any]) -> None:
    path = tmp_path_factory.getbasetemp() / "tree"
    checkpoint.save(path, tree)
    assert equal(tree, checkpoint.load(path))


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "state"
    checkpoint.save(path, {"model": {"weight": torch.arange(40.0), "bias": torch.zeros(3)}, "epoch": 3, "note": "x"})
    return path


def test_every_truncation_and_every_changed_byte_is_noticed(saved: Path) -> None:
    whole = saved.read_bytes()
    for length in range(0, len(whole), 7):
        saved.write_bytes(whole[:length])
        with pytest.raises(ml.RunError, match="damaged"):
            checkpoint.load(saved)
    for at in range(len(whole)):
        changed = bytearray(whole)
        changed[at] ^= 1
        saved.write_bytes(bytes(changed))
        try:
            tree = checkpoint.load(saved)
        except ml.RunError:
            continue
        assert tree["model"]["weight"].tolist() == list(range(40)), at  # a blank of the header, at most
        assert tree["epoch"] == 3 and tree["note"] == "x"


@pytest.mark.parametrize("content", [b"", b"garbage" * 40, b"\x80\x04\x95", b"\xff" * 100, b"{}", b"\0" * 4096])
def test_garbage_is_one_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "last.safetensors"
    path.write_bytes(content)
    with pytest.raises(ml.RunError, match=r"last\.safetensors is damaged or no multiloss checkpoint"):
        checkpoint.load(path)
    with pytest.raises(ml.RunError, match="no checkpoint at"):
        checkpoint.load(tmp_path / "absent")


def test_another_version_and_another_programs_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "state"
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "VERSION", 2)
        checkpoint.save(path, {"a": 1})
    with pytest.raises(ml.RunError, match="expected version 1, found 2"):
        checkpoint.load(path)
    save_file({"weight": torch.zeros(3)}, path)
    with pytest.raises(ml.RunError, match="no multiloss checkpoint"):
        checkpoint.load(path)


def test_what_cannot_be_written_leaves_the_old_file(saved: Path) -> None:
    before = saved.read_bytes()
    with pytest.raises(ml.RunError, match="expected tensors and plain values"):
        checkpoint.save(saved, {"model": object()})
    assert saved.read_bytes() == before and [path.name for path in saved.parent.iterdir()] == ["state"]


@pytest.mark.parametrize("fails", ["os.fsync", "Path.replace"])
@pytest.mark.parametrize(("number", "words"), [(errno.ENOSPC, "the disk is full"), (errno.EACCES, "Permission denied")])
def test_a_full_disk_leaves_the_old_file(
    saved: Path, monkeypatch: pytest.MonkeyPatch, fails: str, number: int, words: str
) -> None:
    before = saved.read_bytes()

    def full(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    if fails == "os.fsync":
        monkeypatch.setattr(os, "fsync", full)
    else:
        monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(ml.RunError, match=f"could not write .*state: {words}. What was there before is unchanged"):
        checkpoint.save(saved, {"model": {"weight": torch.zeros(4)}})
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == ["state"]


def test_a_full_disk_in_a_fit_is_one_error_and_the_last_checkpoint_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = os.fsync, []

    def fills_up(file: int) -> None:
        calls.append(file)
        if len(calls) > 5:
            raise OSError(errno.ENOSPC, "full")
        real(file)

    data, folder = make_data(), tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fills_up)
        with pytest.raises(ml.RunError, match="the disk is full"):
            make_trainer(make_model(), out=folder, checkpoint_seconds=0.0).fit(data, epochs=3, batch_size=8)
    assert not list(folder.rglob("*.tmp"))
    expected, resumed = make_model(), make_model(seed=5)
    make_trainer(expected).fit(data, epochs=3, batch_size=8)
    make_trainer(resumed, out=folder).fit(data, epochs=3, batch_size=8, resume=True)
    assert same(state(expected), state(resumed))


def test_what_a_killed_process_left_is_written_over(tmp_path: Path) -> None:
    (tmp_path / ".state.tmp").write_bytes(b"half")
    checkpoint.save(tmp_path / "state", {"a": 1})
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


class Tied(nn.Module):
    """One weight under two names, a buffer, and states of every type."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(5, 5), nn.Linear(5, 5)
        self.second.weight = self.first.weight
        self.norm = nn.BatchNorm1d(5)
        self.price = nn.Linear(5, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"price": self.price(self.norm(self.second(self.first(x).relu()))).squeeze(1)}


SPECS: dict[str, Any] = {
    "sgd": "sgd",
    "momentum": {"name": "sgd", "momentum": 0.9},
    "dampening": {"name": "sgd", "momentum": 0.9, "dampening": 0.1},
    "adam": "adam",
    "amsgrad": {"name": "adam", "amsgrad": True},
    "adamw": {"name": "adamw", "weight_decay": 0.1},
    "rmsprop": {"name": "rmsprop", "momentum": 0.5, "centered": True},
    "adagrad": "adagrad",
    "nadam": "nadam",
}


@pytest.mark.parametrize("name", SPECS)
def test_optimizers_and_tied_weights_go_on_bit_for_bit(tmp_path: Path, name: str) -> None:
    x, y = make_data()
    ends = []
    for epochs in ([4], [1, 2, 4]):
        for number, until in enumerate(epochs):
            torch.manual_seed(number)  # a resumed model may begin anywhere
            model = Tied()
            if number == 0:
                torch.manual_seed(0)
                model = Tied()
            folder = tmp_path / str(len(epochs))
            trainer = make_trainer(model, ml.Objective({"price": "mse"}), optimizer=SPECS[name], lr=0.02, out=folder)
            trainer.fit((x, {"price": y["price"]}), epochs=until, batch_size=8, resume=number > 0)
        assert model.first.weight is model.second.weight
        ends.append(state(model))
    assert same(ends[0], ends[1])


def test_a_checkpoint_of_another_fit_is_refused_with_every_difference(tmp_path: Path) -> None:
    x, y = make_data()
    make_trainer(make_model(), out=tmp_path).fit((x, y), epochs=1, batch_size=8, seed=1)
    with pytest.raises(ml.RunError) as error:
        make_trainer(make_model(), out=tmp_path, optimizer="sgd").fit(
            (x[:40], {k: t[:40] for k, t in y.items()}), epochs=2, batch_size=16, seed=2, resume=True
        )
    text = str(error.value)
    assert "4 problems" in text
    for words in ("seed: expected 1, found 2", "rows: expected 53, found 40", "steps_per_epoch: expected 7, found 3",
                  "optimizer: expected 'Adam', found 'SGD'"):  # fmt: skip
        assert words in text
    other = ml.HardSharing(ml.MLP(5, [9]), {"price": ml.RegressionHead(9), "size": ml.RegressionHead(9, hidden=[4])})
    with pytest.raises(ml.RunError, match="holds another model") as error:
        checkpoint.load_model(other, checkpoint.load(tmp_path / LAST)["model"], "it")
    for words in ("trunk.0.weight: expected shape (9, 5), found (8, 5)", "heads.size.layers.0.weight is missing",
                  "heads.kind.layers.0.weight is not in the model"):  # fmt: skip
        assert words in str(error.value)


def test_random_numbers_go_on_and_come_back(tmp_path: Path) -> None:
    def draw() -> list[float]:
        return [torch.rand(1).item(), float(np.random.rand()), random.random(), float(np.random.randn())]

    draw()
    checkpoint.save(tmp_path / "random", checkpoint.random_state())
    first = draw()
    with checkpoint.seeded(3):
        inside = draw()
    second = draw()
    with checkpoint.seeded(3):
        assert draw() == inside
    checkpoint.set_random_state(checkpoint.load(tmp_path / "random"))
    assert draw() == first != inside
    assert draw() == second  # what was drawn between, under a seed, took nothing from it
