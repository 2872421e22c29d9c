"""`multiloss demo`: a real table, two outputs of very different scale, a minute."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import polars as pl

EPOCHS = 60


def demo(
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Run folder; runs/demo-<n> by default.")] = None,
) -> None:
    """Train on a table that scikit-learn ships: a wine's cultivar as a class, its proline as a number."""
    import math

    from multiloss.cli.fit import free_folder, train
    from multiloss.cli.show import say
    from multiloss.config.build import prepare
    from multiloss.config.load import read_config
    from multiloss.core.run_files import write_whole

    folder = free_folder(out, "demo")
    frame = wine()
    spread = float(frame["proline"].var(ddof=0))  # type: ignore[arg-type]  # of a column of numbers
    chance = math.log(frame["cultivar"].n_unique())
    say(
        f"Two outputs of one network: proline in its own units would start at a loss of {spread:,.0f}, the cultivar at "
        f"{chance:.1f}, which is {100 * chance / (spread + chance):.4f} % of the total; so proline is standardised "
        "for training."
    )
    say()
    table = folder / "wine.csv"
    write_whole(table, frame.write_csv().encode())
    raw = {
        "table": str(table.resolve()),
        "outputs": {"cultivar": {"metrics": ["accuracy"]}, "proline": {"metrics": ["mae", "r2"]}},
        "model": {"trunk": [64, 64]},
        "training": {"epochs": EPOCHS, "batch_size": 16},
    }
    train(prepare(read_config(raw, "demo"), folder))


def wine() -> pl.DataFrame:
    """Return 178 wines: 12 measured amounts, the amount of proline, and the cultivar (A, B or C).

    Aeberhard, Coomans, de Vel, 1992, https://doi.org/10.24432/C5PC7J.
    """
    import polars as pl

    from multiloss.core.optional import require

    bunch = require("sklearn.datasets", "multiloss demo", "scikit-learn").load_wine()
    columns = {name: bunch.data[:, i] for i, name in enumerate(bunch.feature_names)}
    proline = columns.pop("proline")
    return pl.DataFrame({**columns, "proline": proline, "cultivar": ["ABC"[code] for code in bunch.target]})
