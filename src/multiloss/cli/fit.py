"""`multiloss fit`: train, from a configuration, a table or a run that was interrupted."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from multiloss.config.build import Experiment, Result
    from multiloss.config.schema import Config

MAY_CHANGE = ("table", "training.epochs", "training.threads", "training.checkpoint_seconds")


def fit(
    source: Annotated[
        Path, typer.Argument(metavar="CONFIG|TABLE|RUN", help="A YAML file, a CSV or Parquet table, or a run folder.")
    ],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Such as training.lr=0.01 or model.trunk=[64].")
    ] = None,
    outputs: Annotated[str | None, typer.Option(metavar="A,B", help="Columns to predict, for a TABLE.")] = None,
    loss: Annotated[list[str] | None, typer.Option(metavar="A=NAME,...", help="Losses by output.")] = None,
    weights: Annotated[list[str] | None, typer.Option(metavar="A=NUMBER,...", help="Loss weights by output.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training rows.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Rows in a batch.")] = None,
    seed: Annotated[int | None, typer.Option(help="Decides split, start, order and dropout.")] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Run folder; runs/<table>-<n> by default.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run folder RUN.")] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Serve the report while it grows, and print its address.")
    ] = False,
) -> None:
    """Train a model on a table, and write down what its loss was made of."""
    from contextlib import nullcontext

    from multiloss.cli.watch import watching
    from multiloss.config.build import prepare

    changes = _flags(loss, weights, epochs, batch_size, seed) + list(overrides or ())
    config = _config(source, changes, outputs, resume)
    folder = _same_folder(source, out) if resume else free_folder(out, Path(config.table).stem)
    experiment = prepare(config, folder)
    with watching(folder) if watch else nullcontext():
        train(experiment, resume=resume)


def train(experiment: Experiment, resume: bool = False) -> None:
    """Show the columns and the labels, train, and show what came of it.

    Raises:
        RunError: If training was interrupted; says how to go on.
    """
    from dataclasses import replace

    from multiloss.cli.show import print_table, say
    from multiloss.core.errors import RunError

    columns = ["column", "role", "kind", "reason"]
    print_table(columns, [(p.name, p.role, p.kind, p.reason) for p in experiment.plans])
    say()
    say(str(replace(experiment.census, warnings=[])))
    say()
    folder = experiment.files.folder
    result = experiment.fit(resume)
    if result.interrupted:
        raise RunError(f"interrupted: {result.history.stopped}. Go on with: multiloss fit {folder} --resume")
    _print_result(experiment, result)
    say(f"run folder: {folder}")


def _print_result(experiment: Experiment, result: Result) -> None:
    from multiloss.cli.findings import print_findings
    from multiloss.cli.records import print_record, print_scores
    from multiloss.cli.show import say
    from multiloss.diagnosis.findings import findings

    if result.history.stopped:
        say(f"stopped early: {result.history.stopped}")
    say(f"kept: epoch {result.kept} of {len(result.history)} ({result.why})")
    for record in result.ledgers():
        say()
        print_record(record, outside=record.split == "train")
    say()
    rows = experiment.parts[result.part].rows
    instead = "" if result.part == "test" else f"; there are no test rows, so these are the {result.part} rows"
    say(f"{result.part} rows ({rows}), the kept model beside the trivial prediction (majority, mean){instead}")
    print_scores(result.scores)
    say()
    folder = experiment.files.folder
    print_findings(findings(folder), folder)


def free_folder(out: Path | None, stem: str) -> Path:
    """Return the run folder to be.

    Raises:
        ConfigError: If `out` holds a run already.
    """
    from multiloss.config.run_files import holds_run
    from multiloss.core.errors import ConfigError

    if out is None:
        return next(path for n in itertools.count(1) if not (path := Path("runs") / f"{stem}-{n}").exists())
    if out.exists() and not out.is_dir():
        raise ConfigError(["expected a folder, found a file; name another"], f"--out {out}")
    if holds_run(out):
        raise ConfigError(
            [f"already holds a run. Go on with: multiloss fit {out} --resume; or choose another --out"], str(out)
        )
    return out


def _same_folder(source: Path, out: Path | None) -> Path:
    from multiloss.core.errors import ConfigError

    if out is not None and out.resolve() != source.resolve():
        raise ConfigError([f"--resume goes on in {source} itself, found --out {out}; leave it out"], "fit")
    return source


def _config(source: Path, changes: Sequence[str], outputs: str | None, resume: bool) -> Config:
    from multiloss.config.load import absolute, load_config, read_config
    from multiloss.core.errors import ConfigError
    from multiloss.core.run_files import CONFIG, read_run_json

    if source.is_dir():
        read_run_json(source)
        if not resume:
            advice = f"go on with --resume, or train anew with: multiloss fit {source / CONFIG}"
            raise ConfigError([f"expected a configuration or a table, found a run folder; {advice}"], str(source))
        other = [change for change in changes if change.partition("=")[0] not in MAY_CHANGE]
        if other or outputs:
            found = ", ".join([*other, *(["--outputs"] if outputs else [])])
            raise ConfigError([f"a run goes on as it began; only {', '.join(MAY_CHANGE)} may change, found {found}"])
        return load_config(source / CONFIG, changes)
    if resume:
        raise ConfigError([f"--resume expects a run folder, found {source}"], "fit")
    if source.suffix.lower() in (".yaml", ".yml"):
        if outputs is not None:
            raise ConfigError(["--outputs is for a TABLE; a configuration names its own outputs"], str(source))
        return load_config(source, changes)
    names = _names(source, outputs)
    raw: dict[str, Any] = {"table": absolute(str(source), Path.cwd()), "outputs": names}
    return read_config(raw, "command line", changes)


def _names(table: Path, outputs: str | None) -> list[str]:
    from multiloss.config.load import listed_names
    from multiloss.core.errors import ConfigError, nearest

    if outputs is not None:
        return listed_names(outputs)
    from multiloss.data.table import read_table

    columns = read_table(table).columns
    raise ConfigError(
        [f"expected --outputs with the columns to predict, found none. {nearest('', columns)}"], str(table)
    )


def _flags(
    loss: list[str] | None, weights: list[str] | None, epochs: int | None, batch_size: int | None, seed: int | None
) -> list[str]:
    """Return options as overrides."""
    from multiloss.core.errors import ConfigError

    changes, problems = [], []
    for flag, key, given in (("--loss", "loss", loss), ("--weights", "weight", weights)):
        for pair in (part for text in given or () for part in text.split(",")):
            name, found, value = pair.partition("=")
            if not found:
                problems.append(f"{flag}: expected output=value, found {pair!r}")
            changes.append(f"outputs.{name.strip()}.{key}={value.strip()}")
    for key, number in (("epochs", epochs), ("batch_size", batch_size), ("seed", seed)):
        if number is not None:
            changes.append(f"training.{key}={number}")
    if problems:
        raise ConfigError(problems, "command line")
    return changes
