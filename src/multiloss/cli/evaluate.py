"""`multiloss evaluate`: a trained model measured on a table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def evaluate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    table: Annotated[Path, typer.Argument(metavar="TABLE", help="CSV or Parquet with inputs and outputs.")],
) -> None:
    """Measure a trained model on a table: its ledger, and every metric beside the trivial prediction."""
    from multiloss.cli.records import print_record, print_scores
    from multiloss.cli.show import say
    from multiloss.config.run import load_run
    from multiloss.data.table import read_table

    frame = read_table(table)
    found, scores = load_run(run).evaluate(frame)
    print_record(found.ledger)
    say()
    say(f"{frame.height} rows, beside the trivial prediction (majority and mean of the training rows)")
    print_scores(scores)
