"""One model or two? Trains both, measures both, and says what the held-out rows show."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from multiloss.config.load import load_config
from multiloss.config.run_files import HEADING
from multiloss.config.schema import Config
from multiloss.core.errors import RunError
from multiloss.core.run_files import HISTORY, read_lines, write_whole
from multiloss.report.study import write_study_report
from multiloss.studies.compared import Compared
from multiloss.studies.comparison import CostRatios
from multiloss.studies.costs import Cost, Model, measure_costs
from multiloss.studies.evidence import Held, compare_variants, ended, flow_facts
from multiloss.studies.page import REPORT, study_data
from multiloss.studies.plan import Plan
from multiloss.studies.progress import StudyProgress
from multiloss.studies.runner import DoneRun, read_study, run_plan
from multiloss.studies.statistics import Interval
from multiloss.studies.study_folder import alone_in
from multiloss.studies.table import tidy, write_csv
from multiloss.studies.variants import NARROW, SEPARATE, SHARED, compare_plan
from multiloss.studies.verdict import judge

COSTS, VERDICT, TABLE = "costs.json", "verdict.json", "table.csv"


def compare(
    config: Config | str | Path,
    *,
    out: str | Path,
    seeds: int = 5,
    balancing: Sequence[str] = (),
    losses: Mapping[str, Sequence[str]] | None = None,
    workers: int = 1,
    progress: StudyProgress | None = None,
) -> Compared:
    """Train one shared model and separate ones, with the same rows, budget and seeds, and say what differs.

    What `multiloss.studies.variants.compare_plan` lists is trained into `out`; a comparison that was interrupted goes
    on. The epoch that is kept, and the variant that is recommended, are chosen on the validation rows; the test rows
    are used for the verdict alone. Costs are measured once, in turns, with one thread. `report.html` shows all of it.

    Args:
        config: The shared model, or the path of its YAML file.
        out: The study's folder: new, or of the same comparison.
        seeds: Runs of each variant.
        balancing: Balancing methods to try beside it.
        losses: Other losses to try, by output.
        workers: Processes that train side by side.
        progress: Told how far it is.

    Raises:
        ConfigError, DataError: If the comparison cannot be made so; names all mistakes.
        RunError: If the folder holds something else, or the comparison was interrupted.
    """
    own = config if isinstance(config, Config) else load_config(Path(config))
    plan = compare_plan(own, seeds=seeds, balancing=balancing, losses=losses)
    runs = run_plan(plan, out, workers=workers, progress=progress)
    with alone_in(Path(out)):
        if progress is not None and not (Path(out) / COSTS).exists():
            progress(len(runs), len(runs), ("measuring what the models cost",), None)
        found = conclude(plan, runs, Path(out))
        write_study_report(study_data(found), Path(out) / REPORT)
    return found


def redraw(folder: Path, page: Path, single_file: bool = False) -> Path:
    """Draw the page of a study that is done from its records alone, and return it.

    Raises:
        RunError: If the folder is no study, is damaged, or runs are missing.
    """
    plan, runs = read_study(folder)
    if len(runs) < len(plan.runs):
        raise RunError(
            f"{folder}: expected every run of the study, found {len(runs)} of {len(plan.runs)}. Give multiloss compare "
            "the same configuration and folder again, and it goes on"
        )
    with alone_in(folder):
        return write_study_report(study_data(conclude(plan, runs, folder)), page, single_file)


def conclude(plan: Plan, runs: list[DoneRun], folder: Path) -> Compared:
    """Return what the runs of a comparison come to, and write it beside them."""
    costs = _costs(plan, runs, folder)
    shared, separate = costs[SHARED], costs[SEPARATE]
    held, comparisons = Held(plan, runs, "test"), compare_variants(plan, runs, "test")
    verdict = judge(
        comparisons,
        costs=CostRatios(separate.models, shared.train_ratio.value, shared.row_ratio.value),
        flow=flow_facts(runs),
        ended=ended(runs),
        sizes=held.against(NARROW, [SHARED]).get(SHARED, {}),
        validation=compare_variants(plan, runs, "validation"),
    )
    delta_m = {own: Interval(found.mean, found.low, found.high) for own in comparisons if (found := held.delta_m(own))}
    table = tidy(runs)
    write_csv(table, folder / TABLE)
    write_whole(folder / VERDICT, f"{json.dumps(verdict.to_dict(), indent=1)}\n".encode())
    return Compared(folder, plan, runs, costs, verdict, delta_m, table)


def recommended_config(found: Compared) -> dict[str, str]:
    """Return the configurations that the verdict recommends, by file name: one, or one for each output."""
    own = [run for run in found.plan.runs if run.variant == found.verdict.recommended and run.seed == 0]
    if not own:
        raise RunError(f"expected a recommendation, found none: {found.verdict.why}. Try a lower training.lr")
    asked, written = found.plan.settings["asked"], {}
    for run in own:  # the seed and the threads that the study set are the user's again
        training = run.config.training.model_copy(update={key: asked[key] for key in ("seed", "threads")})
        name = "config.yaml" if len(own) == 1 else f"{run.outputs[0]}.yaml"
        written[name] = HEADING + run.config.model_copy(update={"training": training}).to_yaml()
    return written


def _costs(plan: Plan, runs: list[DoneRun], folder: Path) -> dict[str, Cost]:
    """Measure what variants cost, or read what was measured before."""
    path = folder / COSTS
    if path.exists():
        try:
            held: dict[str, Any] = json.loads(path.read_text())
            if held["plan"] == plan.digest():  # a study that has grown took other epochs, or has more variants
                return {name: Cost.from_dict(cost) for name, cost in held["costs"].items()}
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise RunError(f"{path} is damaged ({error}). Delete it, and costs are measured again") from error
    found = measure_costs({variant: _models(variant, runs) for variant in plan.settings["variants"]})
    held = {"plan": plan.digest(), "costs": {name: cost.to_dict() for name, cost in found.items()}}
    write_whole(path, f"{json.dumps(held, indent=1)}\n".encode())
    return found


def _models(variant: str, runs: list[DoneRun]) -> list[Model]:
    """Return the models of a variant, with the epochs that they took over the seeds; where all diverged, the budget."""
    configs = {run.planned.outputs: run.planned.config for run in runs if run.planned.variant == variant}
    trained = [run for run in runs if run.planned.variant == variant and run.problem is None]

    def epochs(outputs: tuple[str, ...]) -> float:
        found = [len(read_lines(run.folder / HISTORY)) for run in trained if run.planned.outputs == outputs]
        return fmean(found or [configs[outputs].training.epochs])

    return [Model(config, epochs(outputs)) for outputs, config in configs.items()]
