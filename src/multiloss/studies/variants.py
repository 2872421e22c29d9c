"""From a configuration to the runs of a comparison: one shared model, separate models, and what else is asked for."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from multiloss.config import checks
from multiloss.config.build import Experiment, prepare
from multiloss.config.load import absolute
from multiloss.config.schema import Config
from multiloss.config.training_rows import trained_outputs
from multiloss.core.errors import ConfigError, DataError, listed
from multiloss.core.labels import labelled
from multiloss.data.plan import WEIGHT_SUFFIX, output_kinds
from multiloss.data.schema import TableSchema
from multiloss.studies.asked import losses_asked, methods_asked, problems_asked, same_loss_problems
from multiloss.studies.narrow import narrow_trunk, parameters, with_trunk
from multiloss.studies.notes import notes_of
from multiloss.studies.plan import Plan, PlannedRun
from multiloss.studies.separate import alone
from multiloss.studies.statistics import LEVEL
from multiloss.studies.trial import trial_problems

FEWEST_LABELS = 2
"""Labelled rows that an output needs in each part, so that its rows have a spread."""

SHARED, SEPARATE, NARROW = "shared", "separate", "separate-narrow"


def compare_plan(
    config: Config,
    *,
    seeds: int = 5,
    balancing: Sequence[str] = (),
    losses: Mapping[str, Sequence[str]] | None = None,
) -> Plan:
    """Return the runs that answer whether one shared model is better than separate ones.

    The variants, each with every seed, all on the same rows and with the configuration's budget (epochs, batch size,
    optimiser, early stopping, what is kept):

    * `shared`: the configuration;
    * `separate`: each trained output alone, with the same trunk, inputs, loss and weight, without balancing; the
      columns of other outputs are no inputs;
    * `separate-narrow`: the same with a trunk so narrow that all of them together have the parameters of the shared
      model; left out where no trunk is;
    * each balancing method by its name, and each further loss as `price=huber`, in the shared model.

    One step of each is tried, so that what cannot be trained is found before anything is. Runs use one thread unless
    the configuration names a number, so that their numbers depend neither on the machine nor on runs beside them.

    Args:
        config: The shared model, with two trained outputs or more. Outputs may be labelled in different rows.
        seeds: Runs of each variant, with the seeds 0, 1, ...
        balancing: Name of a method, or of several, to try in place of the configuration's.
        losses: Name of a loss, or of several, to try by output in place of the configuration's.

    Raises:
        ConfigError: If a name is unknown, a loss does not fit its output, there is one trained output or one seed, or
            no rows are held out; names all of them.
        DataError: If the table cannot be used, or an output lacks labelled rows in a part.
    """
    methods, further = methods_asked(balancing), losses_asked(losses)
    _refuse(problems_asked(config, seeds, methods, further))
    asked = {"balancing": methods, "losses": further, "seed": config.training.seed, "threads": config.training.threads}
    config = config.model_copy(update={"table": absolute(config.table, Path.cwd())}, deep=True)
    with tempfile.TemporaryDirectory() as scratch:
        experiment = prepare(config, scratch, progress=False)
    base, outputs = _same_for_all(experiment), trained_outputs(experiment.config)
    _refuse(same_loss_problems(base, further))
    _refuse_few_rows(experiment, outputs)

    notes = notes_of(experiment, outputs, seeds)
    separate: dict[tuple[str, ...], Config] = {}
    for name in outputs:
        separate[name,], found = alone(base, name, _telling(experiment, name))
        notes += found
    variants: dict[str, dict[tuple[str, ...], Config]] = {SHARED: {tuple(outputs): base}, SEPARATE: separate}
    schemas = {column.name: TableSchema(experiment.schema.inputs, (column,)) for column in experiment.schema.outputs}
    singles = [(single, schemas[name]) for (name,), single in separate.items()]
    counts = {SHARED: parameters(base, experiment.schema), SEPARATE: sum(parameters(*single) for single in singles)}
    trunks = {SHARED: base.model.trunk, SEPARATE: base.model.trunk}
    narrowed = narrow_trunk(base.model.trunk, singles, counts[SHARED])
    if narrowed is None:
        why = "no trunk is so narrow that separate models are as small as the shared one"
        notes.append(f"{NARROW} is left out: {why if base.model.trunk else 'there is no trunk to narrow'}")
    else:
        trunks[NARROW], counts[NARROW] = narrowed
        variants[NARROW] = {names: with_trunk(single, narrowed[0]) for names, single in separate.items()}
    for method in methods:
        variants[method] = {tuple(outputs): base.model_copy(update={"balancing": checks.balancing(method)})}
    for name, loss in ((name, loss) for name, given in further.items() for loss in given):
        variants[f"{name}={loss}"] = {tuple(outputs): _with_loss(base, name, loss)}
    _refuse(trial_problems(variants, experiment.schema, experiment.parts["train"]))
    settings = {
        "seeds": seeds,
        "asked": asked,
        "level": LEVEL,
        "table": base.table,
        "table_digest": _digest(base.table),
        "outputs": {name: base.outputs[name].model_dump(include={"kind", "loss", "metrics"}) for name in outputs},
        "variants": list(variants),
        "rows": {part: table.rows for part, table in experiment.parts.items()},
        "labels": {name: experiment.census.labels[name] for name in outputs},
        "trunk": trunks,
        "parameters": counts,
        "notes": notes,
    }
    return Plan("compare", _runs(variants, seeds), settings)


def _digest(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def _refuse(problems: list[str]) -> None:
    if problems:
        raise ConfigError(problems, "compare")


def _same_for_all(experiment: Experiment) -> Config:
    """Return the complete configuration with what must not differ between runs of other seeds and other outputs."""
    config = experiment.config
    training, split = config.training, config.split
    own = {
        "seed": training.seed if split.seed is None else split.seed,
        "outputs": output_kinds(experiment.plans) if split.outputs is None else split.outputs,
    }
    threads = 1 if training.threads == "auto" else training.threads
    changed = {
        "split": split.model_copy(update=own),
        "training": training.model_copy(update={"threads": threads}),
    }
    return config.model_copy(update=changed)


def _refuse_few_rows(experiment: Experiment, outputs: Sequence[str]) -> None:
    problems = []
    for name in outputs:
        held = experiment.census.labels[name]
        if min(held.values()) < FEWEST_LABELS:
            found = ", ".join(f"{part} {count}" for part, count in held.items())
            problems.append(
                f"output {name!r}: expected {FEWEST_LABELS} labelled rows or more in every part, found {found}. Label "
                "more rows, hold out more, or leave the output out"
            )
        groups = _labelled_groups(experiment, name)
        if min(groups.values(), default=FEWEST_LABELS) < FEWEST_LABELS:
            found = ", ".join(f"{part} {count}" for part, count in groups.items())
            problems.append(
                f"output {name!r}: expected labelled rows of {FEWEST_LABELS} groups or more in every held-out part, "
                f"found {found}. Hold out more groups, or leave the output out"
            )
    if problems:
        raise DataError(listed(problems, "compare"))


def _labelled_groups(experiment: Experiment, name: str) -> dict[str, int]:
    """Return the number of groups with a label of an output, by held-out part; empty where rows have no groups."""
    found: dict[str, int] = {}
    for part in ("validation", "test"):
        if part in experiment.groups:
            target = experiment.parts[part].targets[name]
            present = labelled(target).reshape(len(target), -1).any(1)
            found[part] = len(set(experiment.groups[part][present].tolist()))
    return found


def _telling(experiment: Experiment, name: str) -> list[str]:
    """Return the columns that tell of other outputs: their labels and their sample weights."""
    others = [plan.name for plan in experiment.plans if plan.role == "output" and plan.name != name]
    return others + [
        plan.name for plan in experiment.plans if plan.role == "weight" and plan.name != name + WEIGHT_SUFFIX
    ]


def _with_loss(config: Config, name: str, loss: str) -> Config:
    output = config.outputs[name].model_copy(update={"loss": loss})
    return config.model_copy(update={"outputs": {**config.outputs, name: output}})


def _runs(variants: Mapping[str, Mapping[tuple[str, ...], Config]], seeds: int) -> tuple[PlannedRun, ...]:
    runs = []
    for variant, configs in variants.items():
        for outputs, config in configs.items():
            folder = f"{variant}/{outputs[0]}" if len(outputs) == 1 else variant
            for seed in range(seeds):
                training: dict[str, Any] = {"training": config.training.model_copy(update={"seed": seed})}
                own = config.model_copy(update=training, deep=True)
                runs.append(PlannedRun(f"{folder}/seed-{seed}", variant, outputs, seed, own))
    return tuple(runs)
