"""`multiloss compare`: one model or two, measured on a table of the user's own."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from multiloss.studies.compared import Compared
    from multiloss.studies.progress import StudyProgress


def compare(
    source: Annotated[Path, typer.Argument(metavar="CONFIG", help="A YAML file with two outputs or more.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Such as table=PATH or training.epochs=50.")
    ] = None,
    seeds: Annotated[int, typer.Option(help="Runs of each variant.")] = 5,
    balancing: Annotated[
        str | None, typer.Option(metavar="A,B", help="Balancing methods to try in the shared model.")
    ] = None,
    losses: Annotated[
        list[str] | None, typer.Option(metavar="OUTPUT=A,B", help="Losses to try for an output; may be repeated.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The study's folder; studies/<table>-<n> by default.")
    ] = None,
    workers: Annotated[int, typer.Option(help="Processes that train side by side.")] = 1,
    apply: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write the configuration that the verdict recommends here.")
    ] = None,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Write every measure of every run here too.")] = None,
) -> None:
    """Train one shared model and separate ones with the same rows, budget and seeds, and say what differs."""
    import itertools

    from multiloss.cli.show import say
    from multiloss.config.load import listed_names, load_config
    from multiloss.core.run_files import write_whole
    from multiloss.studies.compare import compare as run_comparison
    from multiloss.studies.compare import recommended_config
    from multiloss.studies.table import write_csv

    config = load_config(source, overrides or ())
    _refuse_written(apply, csv)
    names = (Path("studies") / f"{Path(config.table).stem}-{n}" for n in itertools.count(1))
    folder = out or next(path for path in names if not path.exists())
    with _progress(folder) as tell:
        found = run_comparison(
            config,
            out=folder,
            seeds=seeds,
            balancing=[] if balancing is None else listed_names(balancing),
            losses=_losses(losses or []),
            workers=workers,
            progress=tell,
        )
    _show(found)
    if csv is not None:
        write_csv(found.table, csv)
    if apply is not None:
        for name, text in recommended_config(found).items():
            write_whole(apply / name, text.encode())
            say(f"written: {apply / name}; train it with: multiloss fit {shlex.quote(str(apply / name))}")


def _refuse_written(apply: Path | None, csv: Path | None) -> None:
    """Refuse, before hours of training, to write over what is there."""
    from multiloss.core.errors import ConfigError

    problems = []
    if apply is not None and apply.exists() and not (apply.is_dir() and not any(apply.iterdir())):
        problems.append(f"--apply {apply}: expected a new or an empty folder, found something in it. Name another")
    if csv is not None and csv.exists():
        problems.append(f"--csv {csv}: expected a new file, found one that exists. Name another")
    if problems:
        raise ConfigError(problems, "command line")


def _losses(given: list[str]) -> dict[str, list[str]]:
    from multiloss.config.load import listed_names
    from multiloss.core.errors import ConfigError

    found: dict[str, list[str]] = {}
    for pair in given:
        name, equals, names = pair.rpartition("=")  # the name of an output may hold one
        if not equals or not name.strip():
            raise ConfigError([f"--losses: expected output=loss,loss, found {pair!r}"], "command line")
        found.setdefault(name.strip(), []).extend(listed_names(names))
    return found


def _progress(folder: Path) -> Any:
    """Return a context that shows how many runs are done, which are under way, and the time left."""
    from contextlib import contextmanager

    @contextmanager
    def shown() -> Any:
        if not sys.stderr.isatty():
            yield _announced(folder, _plain())
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        columns = (BarColumn(24), MofNCompleteColumn(), TextColumn("runs"), TextColumn("{task.description}"))
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("", total=None)

            def tell(done: int, total: int, running: tuple[str, ...], left: float | None) -> None:
                bar.update(task, total=total, completed=done, description=_state(running, left))

            yield _announced(folder, tell)

    return shown()


def _announced(folder: Path, tell: StudyProgress) -> StudyProgress:
    """Say where the study is, and how it goes on, before the first progress: not where the input is refused."""
    said = False

    def first(done: int, total: int, running: tuple[str, ...], left: float | None) -> None:
        nonlocal said
        if not said:
            again = shlex.quote(str(folder))
            text = f"study: {folder}; where it is interrupted, the same command with --out {again} goes on"
            print(text, file=sys.stderr, flush=True)
            said = True
        tell(done, total, running, left)

    return first


def _plain() -> StudyProgress:
    """Return what prints a line whenever other runs are under way."""
    before: tuple[str, ...] = ()

    def tell(done: int, total: int, running: tuple[str, ...], left: float | None) -> None:
        nonlocal before
        if running and running != before:
            print(f"{done}/{total} runs  {_state(running, left)}".rstrip(), file=sys.stderr, flush=True)
        before = running

    return tell


def _state(running: tuple[str, ...], left: float | None) -> str:
    """Return what is under way and how long the rest may take.

    Examples:
        >>> _state(("shared/seed-0",), 125.0), _state((), None)
        ('2 min 5 s of training left  shared/seed-0', '')
    """
    parts = []
    if left is not None:
        minutes, seconds = divmod(round(left), 60)
        parts.append(f"{minutes} min {seconds} s of training left" if minutes else f"{seconds} s of training left")
    return "  ".join([*parts, *running[:2]])


def _show(found: Compared) -> None:
    from statistics import fmean

    from multiloss.cli.show import print_table, say
    from multiloss.core.records import tenths
    from multiloss.studies.page import REPORT
    from multiloss.studies.scores import held_out_scores
    from multiloss.studies.sentences import spoken_interval
    from multiloss.studies.variants import SEPARATE

    say(found.verdict.overall)
    say()
    marks = {"better": "better", "worse": "worse", "no difference": "="}
    scores = held_out_scores(found.table)
    means = {key: fmean(own.values()) for key, own in scores.items()}
    rows = [
        (
            own.output,
            own.variant,
            own.metric,
            f"{means[own.output, own.metric, own.variant]:.4g}",
            f"{means[own.output, own.metric, SEPARATE]:.4g}",
            f"{tenths(own.gain.mean)} {own.unit}".rstrip(),
            spoken_interval(own.gain),
            f"{own.adjusted_p:.2g}",
            marks[own.claim],
        )
        for own in found.verdict.outputs
    ]
    interval = f"{100 * found.plan.settings['level']:g} % interval"
    columns = ["output", "variant", "metric", "score", "separate", "gain", interval, "p (Holm)", ""]
    if rows:
        print_table(columns, rows, right=columns[3:8])
    for variant, delta_m in found.delta_m.items():
        mean, *ends = (tenths(100 * value) for value in (delta_m.mean, delta_m.low, delta_m.high))
        say(f"Δm, the mean relative gain of the outputs, {variant}: {mean} % ({' to '.join(ends)})")
    say()
    for sentence in (*(own.sentence for own in found.verdict.outputs), *found.verdict.uncompared):
        say(f"- {sentence}")
    say()
    _show_costs(found)
    say("in brackets: the time or the amount in those of separate; of times, the median of ratios taken in turns")
    say()
    say(found.verdict.advice)
    for run in found.runs:
        if run.problem is not None:
            say(f"{run.planned.name} has no result: {run.problem}")
    for note in found.plan.settings["notes"]:
        say(f"note: {note}")
    say(f"page: {found.folder / REPORT}")


def _show_costs(found: Compared) -> None:
    from multiloss.cli.show import print_table
    from multiloss.report.study_costs import KINDS, amount

    costs = {name: cost.to_dict() for name, cost in found.costs.items()}
    rows = [("models", *(str(cost.models) for cost in found.costs.values()))]
    for kind in KINDS:
        own = [amount(costs, name, kind) for name in costs]
        cells = (one.text if one.ratio["mean"] is None else f"{one.text} ({one.ratio['mean']:.2f})" for one in own)
        rows.append((kind.name.lower(), *cells))
    columns = ["cost (x separate)", *costs]
    print_table(columns, rows, right=columns[1:])
