"""What a checkpoint holds: everything that decides the next number of a fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from multiloss.core.errors import RunError, listed
from multiloss.objective.schedule import Progress
from multiloss.training import checkpoint

if TYPE_CHECKING:
    from multiloss.training.fit import Fit


def fit_state(fit: Fit) -> dict[str, Any]:
    """Return the state of a fit between two steps, as tensors and plain values."""
    scaler, moment = fit.devices.scaler, fit.forward.progress
    return {
        "model": dict(fit.model.state_dict()),
        "optimizer": fit.optimizer.state_dict(),
        "scaler": scaler.state_dict() if scaler is not None else {},
        "callbacks": [[type(c).__name__, c.state_dict()] for c in fit.callbacks],
        "balancing": {} if fit.balancing is None else dict(fit.balancing.state_dict()),
        "loss_weights": {k: v for k, v in fit.objective.loss_weights.items() if isinstance(v, float)},
        "ledger": fit.ledger.state_dict(),
        "metrics": fit.metrics.state_dict(),
        "random": checkpoint.random_state(),
        "epoch_start_random": fit.epoch_start_random,
        "skipped": fit.skipped,
        "clipped": fit.clipped,
        "progress": [fit.epoch, fit.step, fit.step_in_epoch, fit.seconds],
        "moment": [moment.epoch, moment.step, moment.steps_per_epoch],
        "made_by": _made_by(fit),
        "said_penalty": fit.said_penalty,
        "stopped": fit.stopped,
    }


def restore_fit(fit: Fit, state: dict[str, Any]) -> None:
    """Bring a new fit to the state in which an earlier one was saved.

    Raises:
        RunError: If the new fit is another one: other rows, batches, seed, optimiser or model.
    """
    own = _made_by(fit)
    problems = [
        f"{key}: expected {was!r}, found {own[key]!r}"
        for key, was in ({"balancing": None} | state["made_by"]).items()
        if own[key] != was
    ]
    if problems:
        raise RunError(listed(problems, "resume: expected the fit that was interrupted"))
    checkpoint.load_model(fit.model, state["model"], "the checkpoint")
    fit.optimizer.load_state_dict(state["optimizer"])
    if fit.devices.scaler is not None and state["scaler"]:
        fit.devices.scaler.load_state_dict(state["scaler"])
    saved = list(state["callbacks"])
    for callback in fit.callbacks:
        match = next((i for i, (name, _) in enumerate(saved) if name == type(callback).__name__), None)
        if match is not None:
            callback.load_state_dict(saved.pop(match)[1])
    if fit.balancing is not None:
        fit.balancing.load_state_dict(state["balancing"])
    fit.objective.loss_weights.update(state["loss_weights"])
    fit.ledger.load_state_dict(state["ledger"])
    fit.metrics.load_state_dict({name: part.to(fit.devices.device) for name, part in state["metrics"].items()})
    checkpoint.set_random_state(state["random"])
    fit.epoch_start_random, fit.skipped = state["epoch_start_random"], state["skipped"]
    fit.clipped = state["clipped"].to(fit.devices.device)
    fit.epoch, fit.step, fit.step_in_epoch, fit.seconds = state["progress"]
    epoch, step, steps_per_epoch = state["moment"]
    fit.forward.progress = Progress(epoch, step, steps_per_epoch, fit.epochs)
    fit.said_penalty, fit.stopped = state["said_penalty"], state["stopped"]
    if fit.run_log is not None:
        fit.history = fit.run_log.rewind(fit.epoch, fit.step)


def _made_by(fit: Fit) -> dict[str, Any]:
    """What must be the same for a fit to go on with the same numbers."""
    return {
        "seed": fit.seed,
        "rows": fit.train.rows,
        "steps_per_epoch": fit.steps_per_epoch,
        "optimizer": type(fit.optimizer).__name__,
        "balancing": None if fit.balancing is None else [fit.balancing.options(), fit.engine],
        "groups": [len(group["params"]) for group in fit.optimizer.param_groups],
    }
