"""What a checkpoint holds: everything that decides the next number of a fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from multiloss.training import checkpoint

if TYPE_CHECKING:
    from multiloss.training.fit import Fit


def fit_state(fit: Fit) -> dict[str, Any]:
    """Return the state of a fit between two steps, as tensors and plain values."""
    scaler = fit.devices.scaler
    return {
        "model": dict(fit.model.state_dict()),
        "optimizer": fit.optimizer.state_dict(),
        "scaler": scaler.state_dict() if scaler is not None else {},
        "callbacks": [[type(c).__name__, c.state_dict()] for c in fit.callbacks],
        "loss_weights": {k: v for k, v in fit.objective.loss_weights.items() if isinstance(v, float)},
        "ledger": fit.ledger.state_dict(),
        "metrics": fit.metrics.state_dict(),
        "random": checkpoint.random_state(),
        "epoch_start_random": fit.epoch_start_random,
        "skipped": fit.skipped,
        "clipped": fit.clipped,
        "progress": [fit.epoch, fit.step, fit.step_in_epoch, fit.seconds],
        "seed": fit.seed,
        "said_penalty": fit.said_penalty,
        "stopped": fit.stopped,
    }


def restore_fit(fit: Fit, state: dict[str, Any]) -> None:
    """Bring a new fit to the state in which an earlier one was saved."""
    checkpoint.load_model(fit.model, state["model"], "the checkpoint")
    fit.optimizer.load_state_dict(state["optimizer"])
    if fit.devices.scaler is not None and state["scaler"]:
        fit.devices.scaler.load_state_dict(state["scaler"])
    saved = list(state["callbacks"])
    for callback in fit.callbacks:
        match = next((i for i, (name, _) in enumerate(saved) if name == type(callback).__name__), None)
        if match is not None:
            callback.load_state_dict(saved.pop(match)[1])
    fit.objective.loss_weights.update(state["loss_weights"])
    fit.ledger.load_state_dict(state["ledger"])
    fit.metrics.load_state_dict(state["metrics"])
    checkpoint.set_random_state(state["random"])
    fit.epoch_start_random, fit.skipped = state["epoch_start_random"], state["skipped"]
    fit.clipped = state["clipped"].to(fit.devices.device)
    fit.epoch, fit.step, fit.step_in_epoch, fit.seconds = state["progress"]
    fit.seed, fit.said_penalty, fit.stopped = state["seed"], state["said_penalty"], state["stopped"]
    if fit.run_log is not None:
        fit.history = fit.run_log.rewind(fit.epoch)
