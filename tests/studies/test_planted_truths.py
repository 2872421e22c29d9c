"""Tables whose truth is known by construction: the command that judges them, with fewer repeats."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
REPEATS = 3


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_planted_truths_are_found() -> None:
    """Where something is planted, every study finds it; where nothing is, 2 of 3 are silent.

    A procedure whose level is 5 % claims something in 2 or more of 3 studies with a chance of 0.7 %.
    """
    if not (ROOT / "benchmarks" / "planted_truths.py").is_file():
        pytest.skip("benchmarks are not part of this distribution")
    command = [sys.executable, "-m", "benchmarks.planted_truths", "--repeats", str(REPEATS), "--workers", "2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "PYTHONWARNINGS": ""})
    found = {own["truth"]: own for own in map(json.loads, filter(_is_json, done.stdout.splitlines()))}
    assert done.returncode == 0, done.stdout + done.stderr
    assert {name: own["needed"] for name, own in found.items()} == {"helps": 3, "hurts": 3, "nothing": 2}
    assert all(own["right"] >= own["needed"] for own in found.values())


def _is_json(line: str) -> bool:
    return line.startswith("{")
