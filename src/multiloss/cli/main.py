"""The entry point: the commands, and what becomes of their errors."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from multiloss.cli import compare, demo, evaluate, explain, fit, init, methods, predict, report, watch, weights
from multiloss.cli.show import Notes, complain
from multiloss.core.errors import BalancingError, ConfigError, DataError, ModelError, MultilossError, ObjectiveError

BAD_INPUT = (BalancingError, ConfigError, DataError, ObjectiveError, ModelError)
DEBUG = "--debug"

app = typer.Typer(
    help="Train models with several outputs and several losses, and account for every digit of the total loss.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
app.command("fit", short_help="Train on a table.")(fit.fit)
app.command("predict", short_help="Predict every output of a table.")(predict.predict)
app.command("evaluate", short_help="Measure a trained model on a table.")(evaluate.evaluate)
app.command("explain", short_help="Explain the loss of a run, or of any training log.")(explain.explain)
app.command("compare", short_help="One model or two? Train both, and say what differs.")(compare.compare)
app.command("report", short_help="Draw a page of a run, or of several side by side.")(report.report)
app.command("watch", short_help="Show the report of a run while it trains.")(watch.watch)
app.command("methods", short_help="List the balancing methods, or measure their price.")(methods.methods)
app.command("weights", short_help="Suggest loss weights, each with its reason.")(weights.weights)
app.command("init", short_help="Print a commented configuration for a table.")(init.init)
app.command("demo", short_help="Train on a table that scikit-learn ships.")(demo.demo)


def _version(asked: bool) -> None:
    if asked:
        from multiloss import __version__

        print(__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
    debug: Annotated[bool, typer.Option(DEBUG, help="Show a traceback with an error; may stand anywhere.")] = False,
) -> None:
    """Hold the options of every command."""


def run(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command and exit: 0; 1 for a failed run; 2 for bad input.

    Args:
        arguments: Words of the command line, those of the process by default.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = DEBUG in given
    notes, logger = Notes(), logging.getLogger("multiloss")
    logger.addHandler(notes)
    try:
        app([word for word in given if word != DEBUG], prog_name="multiloss")
    except MultilossError as error:
        _report(error, str(error), debug)
        sys.exit(2 if isinstance(error, BAD_INPUT) else 1)
    except Exception as error:  # noqa: BLE001 (the last place that can turn a fault into words)
        _report(error, f"unexpected {type(error).__name__}: {error}. {DEBUG} shows where", debug)
        sys.exit(1)
    finally:
        logger.removeHandler(notes)
    sys.exit(0)


def _report(error: Exception, text: str, debug: bool) -> None:
    if debug:
        traceback.print_exception(error)
    complain(text)
