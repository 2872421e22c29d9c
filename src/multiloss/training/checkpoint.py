"""Checkpoints: tensors and their JSON in one safetensors file, replaced whole or not at all. No pickle."""

from __future__ import annotations

import contextlib
import json
import random
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from multiloss.core.errors import RunError, listed
from multiloss.core.run_files import write_whole

VERSION = 1
LAST = Path("checkpoint/last.safetensors")
"""Where a run folder keeps its checkpoint."""


def save(path: Path, tree: dict[str, Any]) -> None:
    """Write nested dicts and lists of tensors and plain values."""
    from safetensors.torch import save as to_bytes

    tensors: dict[str, Tensor] = {}
    try:
        text = json.dumps(_pack(tree, "", tensors))
    except TypeError as error:
        raise RunError(f"could not write {path}: expected tensors and plain values in the state ({error})") from error
    facts = {"version": str(VERSION), "checksum": _checksum(text, tensors), "tree": text}
    write_whole(path, to_bytes(tensors, metadata=facts))


def load(path: Path) -> dict[str, Any]:
    """Read what `save` wrote.

    Raises:
        RunError: If the file is absent, damaged, of another version or not ours.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise RunError(f"no checkpoint at {path}. Start the run without resuming")
    try:
        with safe_open(path, framework="pt") as file:
            facts = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        version, checksum, text = facts["version"], facts["checksum"], facts["tree"]
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise RunError(f"{path} is damaged or no multiloss checkpoint ({error}). Start the run anew") from error
    if version != str(VERSION):
        raise RunError(f"{path}: expected version {VERSION}, found {version}. Use the multiloss that wrote it")
    if checksum != _checksum(text, tensors):
        raise RunError(f"{path} is damaged: its content does not fit its checksum. Start the run anew")
    tree: dict[str, Any] = _unpack(json.loads(text), tensors)
    return tree


def _checksum(text: str, tensors: dict[str, Tensor]) -> str:
    value = zlib.crc32(text.encode())
    for name in sorted(tensors):
        value = zlib.crc32(tensors[name].reshape(-1).view(torch.uint8).numpy().data, zlib.crc32(name.encode(), value))
    return f"{value:08x}"


def _pack(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        path = path if path not in tensors else f"{path}#{len(tensors)}"  # "a/b" is a key, and b a key below a
        tensors[path] = value.detach().cpu().contiguous().clone()
        return {"tensor": path}
    if isinstance(value, dict):
        return {"dict": [[key, _pack(item, f"{path}/{key}", tensors)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        return [_pack(item, f"{path}/{i}", tensors) for i, item in enumerate(value)]
    return value


def _unpack(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, dict):
        if "tensor" in value:
            return tensors[value["tensor"]]
        return {key: _unpack(item, tensors) for key, item in value["dict"]}
    return [_unpack(item, tensors) for item in value] if isinstance(value, list) else value


def random_state() -> dict[str, Any]:
    """Return the state of every generator that training may draw from."""
    kind, keys, *rest = np.random.get_state()
    version, internal, gauss = random.getstate()
    state: dict[str, Any] = {
        "torch": torch.get_rng_state(),
        "numpy": [kind, torch.tensor(np.asarray(keys, dtype=np.int64)), *rest],
        "python": [version, torch.tensor(internal), gauss],
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def set_random_state(state: dict[str, Any]) -> None:
    """Restore what `random_state` returned."""
    torch.set_rng_state(state["torch"])
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal.tolist()), gauss))
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch (all devices), numpy and random inside the block, and put their states back after it."""
    before = random_state()
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)
    try:
        yield
    finally:
        set_random_state(before)


def load_model(model: nn.Module, state: dict[str, Tensor], source: object) -> None:
    """Load parameters and buffers, or say every name and shape that does not fit.

    Raises:
        RunError: If the state is another model's.
    """
    own = model.state_dict()
    problems = [f"{name} is missing" for name in own if name not in state]
    problems += [f"{name} is not in the model" for name in state if name not in own]
    problems += [
        f"{name}: expected shape {tuple(own[name].shape)}, found {tuple(value.shape)}"
        for name, value in state.items()
        if name in own and own[name].shape != value.shape
    ]
    if problems:
        raise RunError(listed(problems, f"{source} holds another model"))
    model.load_state_dict(state)
