"""The live page of a real training process that is killed and goes on, while the server stays."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from live_runs import News, Server

import multiloss as ml
from multiloss.core.run_records import RunRecords
from multiloss.report import viewers
from multiloss.report.view import build_view

pytestmark = pytest.mark.slow
ENTRY = "from multiloss.cli.main import run; run()"
EPOCHS = 100


@pytest.fixture
def config(tmp_path: Path) -> Path:
    draw = random.Random(0)
    rows = [(draw.gauss(0, 1), draw.gauss(0, 1)) for _ in range(120)]
    table = "a,b,sum,sign\n" + "".join(f"{a},{b},{a + b},{'up' if a > b else 'down'}\n" for a, b in rows)
    (tmp_path / "table.csv").write_text(table)
    text = "table: table.csv\noutputs: {sum: {}, sign: {}}\nmodel: {trunk: [16]}\n"
    training = f"training: {{epochs: {EPOCHS}, batch_size: 16, checkpoint_seconds: 0.2}}\n"
    (tmp_path / "run.yaml").write_text(text + training)
    return tmp_path / "run.yaml"


def fit(*words: str, at: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(ml.__file__).parents[1])}
    quiet = subprocess.DEVNULL
    return subprocess.Popen(
        [sys.executable, "-c", ENTRY, "fit", *words], cwd=at, env=environment, stdout=quiet, stderr=quiet
    )


def texts(news: News) -> Iterator[str]:
    while True:
        yield news.next()["text"]


def epoch_of(text: str) -> int:
    """The epoch that is under way, 0 where none is."""
    return int(text.split()[2]) if text.startswith("live: epoch") else 0


def test_the_page_outlives_a_killed_trainer_and_follows_the_one_that_goes_on(
    tmp_path: Path, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(viewers, "EVERY", 0.1)
    folder = tmp_path / "run"
    with Server(folder) as server:
        news = server.news()
        said = texts(news)
        assert next(said) == "waiting for a run to begin in run"
        process = fit(config.name, "--out", "run", at=tmp_path)
        before = next(epoch for epoch in map(epoch_of, said) if epoch > 5 and (folder / "checkpoint").exists())
        process.send_signal(signal.SIGKILL)
        assert process.wait(30) == -signal.SIGKILL
        assert server.get("/report").code == 200 and server.get("/view").code == 200

        process = fit("run", "--resume", at=tmp_path)
        for text in said:
            if text.startswith("finished"):
                break
        assert process.wait(60) == 0 and text.startswith(f"finished after epoch {EPOCHS}") and before < EPOCHS
        shown = json.loads(server.get("/view").body)
        assert shown == json.loads(json.dumps(build_view([RunRecords.read(folder)])))
        news.close()
