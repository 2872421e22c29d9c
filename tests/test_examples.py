"""The examples run, and show what they say."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_tickets(capsys: pytest.CaptureFixture[str]) -> None:
    history = load("tickets").main()
    last = history.ledger()
    assert last["department"].weight == 0.2
    assert abs(sum(term.contribution for term in last) - last.total) < 1e-6 * last.total
    assert max(history["val_priority_accuracy"]) > 0.85
    assert max(history["val_department_accuracy"]) > 0.9
    assert "+ 0.2 x department" in capsys.readouterr().out
