"""The trainer: a model, an objective and data in; a trained model, its history and its ledgers out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from multiloss.balancing.base import Balancing
from multiloss.balancing.registry import BalancingSpec, resolve_balancing
from multiloss.core.decode import decode
from multiloss.core.errors import DataError, ObjectiveError
from multiloss.core.records import LedgerRecord
from multiloss.core.types import Kind, Units
from multiloss.data.batch import Source, TensorSource
from multiloss.gradients.select import resolve_engine
from multiloss.nn.base import ModelCaller
from multiloss.nn.groups import parameter_groups
from multiloss.objective.metrics import OutputMetrics
from multiloss.objective.objective import Objective
from multiloss.training import checkpoint
from multiloss.training.callbacks import Callback, ProgressDisplay
from multiloss.training.devices import Devices, Precision, choose_threads, use_threads
from multiloss.training.dry_run import DryRun, dry_run, output_kinds, refuse
from multiloss.training.fit import Fit, OnNonfinite
from multiloss.training.forward import Forward, evaluating
from multiloss.training.history import History, record_logs
from multiloss.training.intake import intake, intake_both
from multiloss.training.optimizer import OptimizerSpec, has_sparse, make_optimizer
from multiloss.training.run_log import RunLog, what_is_trained, write_facts
from multiloss.training.watch import steps_between

logger = logging.getLogger("multiloss")


class Evaluation(dict[str, float | None]):
    """Losses and metrics by key, with the account of the total in `ledger`."""

    ledger: LedgerRecord


class Trainer:
    """Trains a model with several outputs on an objective with several losses.

    Args:
        model: Any module that returns a mapping of outputs, or with `output_names` a tuple, or one tensor.
        objective: The losses, their weights, metrics and penalties.
        balancing: What weighs the losses against each other beside `loss_weights`: a method of
            `multiloss.BALANCING_METHODS`, `{"name": "nash_mtl", "every": 10}`, or one made by yourself.
        engine: What computes the gradient of each loss, where the method compares them: `"auto"`, or one of
            `multiloss.GRADIENT_ENGINES`.
        watch_gradients: When to look which loss moves the shared parameters how much: `"every 100 steps"`, `"never"`,
            or `"auto"`, which costs about 1 % of the time: every 200th step, more rarely with more than two losses.
        optimizer: A name, `{"name": "sgd", "momentum": 0.9}`, a function of the parameter groups, or an optimiser.
        lr: One rate, or rates by part of the model or output (`{"trunk": 1e-4, "priority": 1e-3}`).
        clip: Largest norm of the gradient of all parameters together.
        callbacks: What watches the fit.
        output_names: Names of the outputs, where the model returns a tuple or one tensor.
        device: `"auto"`, `"cpu"` or a torch device.
        precision: `"no"` (float32), `"bf16"` or `"fp16"`.
        trackers: `"tensorboard"`, `"wandb"`, `"mlflow"`.
        threads: Number of threads, or `"auto"`: by the size of the model.
        on_nonfinite: `"raise"` stops at a loss or gradient that is not finite; `"skip"` leaves it out of its step,
            which asks the device in every step.
        out: Run folder for history, ledgers, checkpoint and model; nothing is written without it.
        checkpoint_seconds: Time between two checkpoints; one is written at the end in any case.
        progress: Whether to show progress on standard error.

    Raises:
        ObjectiveError: If an argument is not of its form.
        BalancingError: If the balancing method or the engine is unknown, or an option of it is not of its form.

    Examples:
        >>> import multiloss as ml
        >>> x = torch.linspace(-1, 1, 64)[:, None]
        >>> model = ml.HardSharing(ml.MLP(1, [16]), {"a": ml.RegressionHead(16), "b": ml.BinaryHead(16)})
        >>> trainer = ml.Trainer(
        ...     model, ml.Objective({"a": "mse", "b": "binary_cross_entropy"}), lr=1e-2, progress=False
        ... )
        >>> history = trainer.fit((x, {"a": x[:, 0] ** 2, "b": (x[:, 0] > 0).float()}), epochs=20, batch_size=16)
        >>> history["loss"][-1] < history["loss"][0]
        True
    """

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        *,
        balancing: BalancingSpec | None = None,
        engine: str = "auto",
        watch_gradients: str | None = "auto",
        optimizer: OptimizerSpec = "adam",
        lr: float | Mapping[str, float] = 1e-3,
        clip: float | None = None,
        callbacks: Sequence[Callback] = (),
        output_names: Sequence[str] | None = None,
        device: str | torch.device = "auto",
        precision: Precision = "no",
        trackers: Sequence[str] = (),
        threads: int | str = "auto",
        on_nonfinite: OnNonfinite = "raise",
        out: str | Path | None = None,
        checkpoint_seconds: float = 30.0,
        progress: bool = True,
    ) -> None:
        if on_nonfinite not in ("raise", "skip"):
            raise ObjectiveError(f"on_nonfinite: expected 'raise' or 'skip', found {on_nonfinite!r}")
        if clip is not None and not clip > 0:
            raise ObjectiveError(f"clip: expected a norm > 0, found {clip!r}")
        if threads != "auto" and not (isinstance(threads, int) and threads > 0):
            raise ObjectiveError(f"threads: expected 'auto' or a whole number > 0, found {threads!r}")
        self.balancing: Balancing | None = None if balancing is None else resolve_balancing(balancing)
        resolve_engine(engine)
        self.engine, self.watch_every = engine, steps_between(watch_gradients)
        self.folder = None if out is None else Path(out)
        self.devices = Devices(device, precision, trackers, self.folder)
        self.model, self.objective = model.to(self.devices.device), objective
        self.caller = ModelCaller(self.model, output_names)
        self._forward = Forward(self.model, self.caller, objective, self.devices)
        self.optimizer = make_optimizer(optimizer, parameter_groups(self.model, lr), has_sparse(self.model))
        self.clip, self.callbacks, self.threads = clip, list(callbacks), threads
        self.on_nonfinite: OnNonfinite = on_nonfinite
        self.checkpoint_seconds, self.progress = checkpoint_seconds, progress
        self.history: History | None = None
        self._kinds: dict[str, Kind] = {}
        self._sizes: dict[str, int] = {}
        self._tried: tuple[object, DryRun] | None = None

    # ------------------------------------------------------------------ fit

    def fit(
        self,
        data: Any,
        targets: Any = None,
        *,
        validation: Any = None,
        epochs: int = 1,
        batch_size: int = 32,
        sample_weight: Any = None,
        seed: int = 0,
        resume: bool = False,
    ) -> History:
        """Train, and return the logs of every epoch.

        Fitting again goes on with the same parameters and optimiser.

        Args:
            data: `(inputs, targets)` of arrays, tensors, data frames or mappings of them; a data frame that holds the
                outputs as columns; a Dataset or a DataLoader.
            targets: Targets, where `data` is inputs alone.
            validation: Data held out, or the fraction of `data` to hold out.
            epochs: Passes over the data, those of an interrupted fit included.
            batch_size: Rows in a batch.
            sample_weight: Weights by output, or one array for all.
            seed: Decides the order of the rows, dropout, and the rows held out.
            resume: Go on from the checkpoint of the run folder, with the same numbers as if never stopped.

        Raises:
            ObjectiveError: If one batch shows that data, model and objective do not fit; every mistake is named.
            DataError: If the data cannot be read.
            NonFiniteError: If a loss or a gradient stops being finite.
            RunError: If the run folder cannot be used.
        """
        if epochs < 1:
            raise ObjectiveError(f"epochs: expected at least 1, found {epochs}")
        if resume and self.folder is None:
            raise ObjectiveError("resume: expected a Trainer with a run folder. Give it out=")
        data = data if targets is None else (data, targets)
        train, held = intake_both(
            data, validation, seed, batch_size=batch_size, sample_weight=sample_weight, **self._intake_options()
        )
        found = self._dry_run(train, partial=not isinstance(train, TensorSource))
        number, why = (int(self.threads), "given") if self.threads != "auto" else choose_threads(found.operations)
        run_log = None if self.folder is None else RunLog(self.folder, resume)
        callbacks = [*self.callbacks, ProgressDisplay()] if self.progress else self.callbacks
        with use_threads(number), checkpoint.seeded(seed):
            fit = Fit(
                self._forward,
                self.optimizer,
                metrics=self._metrics,
                callbacks=callbacks,
                train=train,
                validation=held,
                terms=found.terms,
                epochs=epochs,
                seed=seed,
                clip=self.clip,
                on_nonfinite=self.on_nonfinite,
                run_log=run_log,
                checkpoint_seconds=self.checkpoint_seconds,
                balancing=self.balancing,
                engine=self.engine,
                watch_every=self.watch_every,
            )
            self.objective.attach(self.model)
            try:
                for callback in callbacks:
                    callback.on_fit_start(fit)
                if self.folder is not None:
                    facts = {"precision": self.devices.precision, "threads": number, "threads_because": why}
                    facts |= {"batch_size": batch_size, "epochs": epochs}
                    facts |= what_is_trained(self.objective, self.optimizer, self.balancing)
                    write_facts(self.folder, train, seed, self.devices.device, self.model, facts)
                self.devices.start_trackers("multiloss", {"epochs": epochs, "batch_size": batch_size, "seed": seed})
                self.history = fit.run(resume)
            finally:
                self.objective.detach()
                self.devices.stop_trackers()
        return self.history

    def _intake_options(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "outputs": self._outputs(),
            "integer": self.objective.integer_outputs,
            "device": self.devices.device,
            "ignore_index": self.objective.ignore_index,
        }

    def _outputs(self) -> tuple[str, ...]:
        declared = self.caller.output_names or getattr(self.model, "output_names", None) or self.objective.outputs
        return tuple(declared)

    def _dry_run(self, source: Source, partial: bool) -> DryRun:
        """Try one batch, unless one like it was tried before; `partial` where it may lack an output's targets."""
        with checkpoint.seeded(0):  # a loader draws random numbers to begin
            batch = next(source.batches(None), None)
        if batch is None:
            raise DataError("expected at least one batch, found none")
        signature = (partial, *((name, t.shape[1:], t.dtype) for name, t in sorted(batch.targets.items())))
        if self._tried is not None and self._tried[0] == signature:
            return self._tried[1]
        found = dry_run(
            self.model,
            self.objective,
            batch.inputs,
            batch.targets,
            optimizer=self.optimizer,
            sample_weight=batch.sample_weight,
            units=self._units(),
            caller=self.caller,
            partial=partial,
        )
        refuse(found)
        self._kinds, self._sizes, self._tried = found.kinds, found.sizes, (signature, found)
        return found

    def _units(self) -> dict[str, Units]:
        units_of: Callable[[], dict[str, Units]] = getattr(self.model, "units", dict)
        return units_of()

    def _metrics(self) -> OutputMetrics:
        return self.objective.output_metrics(self._kinds, self._sizes, self._units())

    # ------------------------------------------------------------------ evaluate and predict

    def evaluate(
        self, data: Any, targets: Any = None, *, batch_size: int = 1024, sample_weight: Any = None
    ) -> Evaluation:
        """Return the losses and metrics of a set: `loss`, `task_loss`, `<output>_loss`, `<output>_<metric>`.

        The numbers do not depend on the batch size. The account of the total is in `.ledger`.

        Args:
            data: As `fit` takes it.
            targets: Targets, where `data` is inputs alone.
            batch_size: Rows in a batch.
            sample_weight: Weights by output, or one array for all.
        """
        data = data if targets is None else (data, targets)
        source = intake(data, batch_size=batch_size, sample_weight=sample_weight, **self._intake_options())
        with evaluating(self.model):
            self._dry_run(source, partial=True)
        self.objective.attach(self.model)
        try:
            record, metrics = self._forward.evaluate(source, self._metrics())
        finally:
            self.objective.detach()
        result = Evaluation(record_logs(record, metrics))
        result.ledger = record
        return result

    def predict(self, data: Any, *, batch_size: int = 1024, raw: bool = False) -> dict[str, Tensor]:
        """Return predictions by output name, on the CPU.

        Regression and counts are in the user's units, `[n]` or `[n, d]`; yes/no outputs are probabilities; classes are
        probabilities `[n, K]`.

        Args:
            data: Inputs as `fit` takes them; targets beside them are left aside.
            batch_size: Rows in a batch.
            raw: Return the model's own outputs (logits, standardised values) instead.
        """
        source = intake(data, batch_size=batch_size, targets_needed=False, **self._intake_options())
        whole = self._forward.predict(source)
        return {name: (pred if raw else self._decoded(name, pred)).cpu() for name, pred in whole.items()}

    def _decoded(self, name: str, pred: Tensor) -> Tensor:
        if name not in self._kinds:
            kinds, sizes = output_kinds(self.model, self.objective, {name: pred}, {})
            self._kinds |= kinds
            self._sizes |= sizes
        term = self.objective.terms.get(name)
        point = pred if term is None else term.loss.point(pred)
        return decode(self._kinds[name], point, self._units().get(name))
