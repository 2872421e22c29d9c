"""What a person sees: a bar and a table on a terminal, one plain line per epoch elsewhere."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from rich.console import Console
from training_tasks import make_data, make_model, make_objective, make_trainer

import multiloss as ml
from multiloss.training.callbacks import ProgressDisplay, progress
from multiloss.training.history import Logs

ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def shown(terminal: bool, monkeypatch: pytest.MonkeyPatch, **options: Any) -> tuple[str, ml.History]:
    monkeypatch.setattr(progress, "REDRAW_SECONDS", 0.0)
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=80, color_system="standard" if terminal else None)
    display = ProgressDisplay(console)
    trainer = make_trainer(
        make_model(), make_objective(penalty=0.01), callbacks=[display], watch_gradients="every 2 steps"
    )
    history = trainer.fit(make_data(40, missing=0.1), epochs=3, batch_size=8, **options)
    return out.getvalue(), history


def test_without_a_terminal_one_plain_line_an_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    text, history = shown(False, monkeypatch, validation=0.25)
    lines = text.splitlines()
    assert len(lines) == 3 and not ANSI.search(text) and "\r" not in text
    for epoch, (line, row) in enumerate(zip(lines, history, strict=True), 1):
        assert line.startswith(f"epoch {epoch}/3  loss ")
        for key in ("loss", "price_loss", "kind_accuracy", "val_sold_auroc", "val_task_loss"):
            assert f" {key} {row[key]:.4f}" in line
        assert line.endswith(" s")


@pytest.mark.parametrize("validation", [None, 0.25])
def test_on_a_terminal_a_bar_and_a_table_that_fits(monkeypatch: pytest.MonkeyPatch, validation: float | None) -> None:
    text, history = shown(True, monkeypatch, validation=validation)
    assert "\x1b[?25l" in text and text.rstrip().endswith("\x1b[?25h") is False
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1  # the cursor comes back
    plain = ANSI.sub("", text)
    last = plain[plain.rindex("epoch 3/3, ") :].splitlines()
    row = history.rows[-1]
    assert all(len(line) <= 80 for line in last)
    table = {line.split()[0]: line for line in last[1:] if line.strip()}
    assert "…" not in "".join(last)
    assert set(table) >= {"price", "kind", "sold", "penalty", "total"}
    assert f"{row['price_loss']:.4f}" in table["price"] and f"mae {row['price_mae']:.4f}" in table["price"]
    assert f"accuracy {row['kind_accuracy']:.4f}" in table["kind"]
    assert table["total"].split()[1] == f"{row['loss']:.4f}"
    if validation:
        assert f"{row['val_price_loss']:.4f}" in table["price"]
        assert f"mae {row['price_mae']:.4f} / {row['val_price_mae']:.4f}" in table["price"]
        assert f"without penalty {row['val_task_loss']:.4f}" in table["total"]
    steps = 3 * (5 if validation is None else 4)
    assert f"/{steps} steps" in plain and "epoch 1/3 " in plain


def test_the_table_is_readable_in_80_columns() -> None:
    outputs = ("price", "department", "a_rather_long_name_of_an_output", "churn")
    logs: Logs = {"epoch": 12, "loss": 7.406, "val_loss": 6.292, "penalty": 0.0075, "val_penalty": 0.0075,
                  "val_task_loss": 6.2845, "lr": 3e-4, "seconds": 12.345}  # fmt: skip
    for name in outputs:
        for metric in ("loss", "mae", "accuracy", "auroc"):
            logs |= {f"{name}_{metric}": 1234.5678, f"val_{name}_{metric}": 0.000012}
    out = io.StringIO()
    Console(file=out, width=80).print(progress.logs_table(logs, outputs, 100))
    lines = [line.rstrip() for line in out.getvalue().splitlines()]
    assert lines[0] == "epoch 12/100, 12.35 s, lr 0.0003"
    assert lines[1].split("  ")[-1] == "metrics: training / validation"
    assert all(len(line) <= 80 for line in lines) and len(lines) <= 24
    text = " ".join(out.getvalue().split())
    for name in ("price", "department", "churn"):
        assert f"{name} 1234.5678 1.200e-05 mae 1234.5678 / 1.200e-05" in text
    assert sum(line.endswith("  accuracy 1234.5678 / 1.200e-05") for line in lines) == 4
    assert "total 7.4060 6.2920 without penalty 6.2845" in text


def test_outputs_whose_names_begin_alike_are_told_apart() -> None:
    logs: Logs = {"epoch": 1, "loss": 3.0, "a_loss": 1.0, "a_b_loss": 2.0, "a_mae": 5.0, "a_b_mae": 6.0,
                  "lr": 1.0, "seconds": None}  # fmt: skip
    out = io.StringIO()
    Console(file=out, width=80).print(progress.logs_table(logs, ("a", "a_b"), 1))
    rows = [line.split() for line in out.getvalue().splitlines()[2:]]
    assert rows == [["a", "1.0000", "mae", "5.0000"], ["a_b", "2.0000", "mae", "6.0000"], ["total", "3.0000"]]


def test_parts_of_a_loss_and_loaders_without_a_length_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(progress, "REDRAW_SECONDS", 0.0)

    def parts(pred: torch.Tensor, target: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"near": (pred - target).abs(), "far": (pred - target) ** 2}

    class Stream(torch.utils.data.IterableDataset[Any]):
        def __iter__(self) -> Any:
            x, y = make_data(20)
            yield from zip(x, y["price"], strict=True)

    out = io.StringIO()
    model = ml.HardSharing(ml.MLP(5, [4]), {"price": ml.RegressionHead(4)})
    display = ProgressDisplay(Console(file=out, force_terminal=True, width=80))
    trainer = make_trainer(model, ml.Objective({"price": parts}), callbacks=[display])
    trainer.fit(Stream(), epochs=2, batch_size=5)
    plain = ANSI.sub("", out.getvalue())
    assert re.search(r"price\s+near_loss \d\.\d{4}, far_loss \d\.\d{4}", plain)


def test_a_failed_fit_gives_the_terminal_back(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setattr(progress, "REDRAW_SECONDS", 0.0)

    class Fails(ml.Callback):
        def on_step_end(self, fit: Any) -> None:
            if fit.step == 3:
                raise RuntimeError("my own")

    out = io.StringIO()
    display = ProgressDisplay(Console(file=out, force_terminal=True, width=80))
    with pytest.raises(RuntimeError, match="my own"):
        make_trainer(make_model(), callbacks=[display, Fails()]).fit(make_data(), batch_size=8)
    assert out.getvalue().count("\x1b[?25l") == out.getvalue().count("\x1b[?25h") == 1


def test_progress_goes_to_standard_error_and_can_be_turned_off(capsys: pytest.CaptureFixture[str]) -> None:
    make_trainer(make_model(), progress=True).fit(make_data(), epochs=2)
    found = capsys.readouterr()
    assert found.out == "" and len(found.err.splitlines()) == 2
    make_trainer(make_model(), progress=False).fit(make_data(), epochs=2)
    found = capsys.readouterr()
    assert found.out == found.err == ""


def test_shares_of_the_total_and_of_the_gradient_are_small_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    text, history = shown(True, monkeypatch)
    plain = ANSI.sub("", text)
    table = {line.split()[0]: line for line in plain[plain.rindex("epoch 3/3, ") :].splitlines()[1:] if line.strip()}
    ledger, flow = history.ledger(), history.flows[-1]
    for name in ("price", "kind", "sold"):
        share = ledger[name].share
        assert share is not None
        assert re.findall(r"(\d+) %", table[name]) == [f"{100 * part:.0f}" for part in (share, flow.norm_shares[name])]
    assert f"{100 * ledger.penalty / ledger.total:.0f} %" in table["penalty"] and "█" in table["price"]


def test_names_are_not_markup_numbers_may_be_nan_and_a_narrow_terminal_keeps_its_metrics() -> None:
    names = ("[red]", "price_in_thousands_of_euros")
    logs: Logs = {
        "epoch": 1,
        "loss": 2.0,
        "val_loss": 3.0,
        "val_task_loss": 3.0,
        "lr": 0.1,
        "seconds": 1.0,
        "penalty": 0.5,
    }
    for name in names:
        logs |= {f"{name}_loss": 1.0, f"val_{name}_loss": 1.5, f"{name}_mae": 105.3621, f"val_{name}_mae": 106.0}
    shares = dict.fromkeys((*names, "penalty"), 1 / 3)
    for width in (60, 80):
        out = io.StringIO()
        table = progress.logs_table(logs, names, 9, shares, dict.fromkeys(shares, float("nan")), width)
        Console(file=out, width=width).print(table)
        text = out.getvalue()
        assert all(len(line.rstrip()) <= width for line in text.splitlines())
        assert "[red]" in text and text.count("mae 105.3621 /") == 2
        assert ("share" in text) == (width == 80)
