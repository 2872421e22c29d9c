"""`multiloss predict`: a table in, a table of predictions out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def predict(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    table: Annotated[Path, typer.Argument(metavar="TABLE", help="CSV or Parquet with the input columns.")],
    out: Annotated[Path, typer.Option(metavar="FILE.csv", help="Where to write.")],
    force: Annotated[bool, typer.Option("--force", help="Overwrite FILE.csv.")] = False,
) -> None:
    """Predict every output of a table: <output>, and <output>:<class> for the probability of each class."""
    from multiloss.cli.show import say
    from multiloss.config.run import load_run
    from multiloss.core.errors import ConfigError
    from multiloss.core.run_files import write_whole
    from multiloss.data.table import read_table

    if out.exists() and not out.is_file():
        raise ConfigError(["expected the name of a file, found something else; name another"], f"--out {out}")
    if out.exists() and table.exists() and out.samefile(table):
        raise ConfigError(["expected another file than the table itself; name another"], f"--out {out}")
    if out.exists() and not force:
        raise ConfigError(["the file exists; name another, or overwrite it with --force"], f"--out {out}")
    predictions = load_run(run).predict(read_table(table))
    write_whole(out, predictions.write_csv().encode())
    say(f"{predictions.height} rows, {predictions.width} columns: {out}")
