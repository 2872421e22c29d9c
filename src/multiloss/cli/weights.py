"""`multiloss weights`: loss weights to begin with, each with its reason."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def weights(
    source: Annotated[Path, typer.Argument(metavar="CONFIG|RUN", help="A YAML file, or the folder of a trained run.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Such as table=PATH or model.trunk=[64].")
    ] = None,
) -> None:
    """Measure the losses on one pass over the training rows, and suggest weights, each with its reason.

    The model of a CONFIG is measured as it begins, that of a RUN as it was kept.
    """
    import tempfile

    from multiloss.cli.show import print_table, say
    from multiloss.config.build import prepare
    from multiloss.config.load import load_config
    from multiloss.config.run_files import restore_model
    from multiloss.core.records import digits
    from multiloss.core.run_files import CONFIG, read_run_json
    from multiloss.training.devices import use_threads
    from multiloss.training.suggest import suggest_weights

    if source.is_dir():
        read_run_json(source)
    config = load_config(source / CONFIG if source.is_dir() else source, overrides or ())
    with tempfile.TemporaryDirectory() as folder:
        experiment = prepare(config, Path(folder) / "run", progress=False)
    trainer, train = experiment.trainer, experiment.parts["train"]
    if source.is_dir():
        restore_model(trainer.model, source)
    with use_threads(1):
        found = suggest_weights(
            trainer.model,
            trainer.objective,
            (train.inputs, train.targets),
            batch_size=config.training.batch_size,
            sample_weight=train.sample_weight or None,
            seed=config.training.seed,
        )
    names = list(trainer.objective.terms)
    present = trainer.objective.loss_weights
    rows = [("now", *(f"{w:g}" if isinstance(w := present[name], int | float) else "schedule" for name in names))]
    for one in found:
        rows.append((one.rule, *(f"{one.weights[name]:g}" if name in one.weights else "-" for name in names)))
        rows.append(("  measured", *(digits(one.measured.get(name)) for name in names)))
    print_table(["weights that equalise", *names], rows, right=names)
    command = " ".join(["multiloss fit", str(source / CONFIG if source.is_dir() else source), *(overrides or ())])
    for one in found:
        say()
        say(f"{one.rule}: {one.reason}")
        say(f"    {command} {one.overrides}")
    for note in found.notes:
        say()
        say(note)
    say()
    say(f"measured with the model as it {'was kept' if source.is_dir() else 'begins'}; a beginning, not an optimum")
