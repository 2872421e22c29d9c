"""What a Keras model says about its penalties, and about what is in no loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from multiloss.core.optional import require
from multiloss.integrations.equation import SINGLE

_keras: Any = require("keras", "multiloss.integrations.keras", "multiloss[keras]")


def regularizer_name(regularizer: Any) -> str:
    """Return `l2(0.01)`, `l1(0.1)+l2(0.01)`, `OrthogonalRegularizer(factor=0.01, mode=rows)`, or a function's name."""
    kind = type(regularizer)
    if not kind.__module__.startswith("keras."):
        return str(getattr(regularizer, "__name__", kind.__name__))
    options = regularizer.get_config()
    if set(options) <= {"l1", "l2"}:
        return "+".join(f"{name}({float(value):g})" for name, value in options.items() if value) or "l2(0)"
    return f"{kind.__name__}({', '.join(f'{name}={value}' for name, value in options.items())})"


def penalty_name(source: Any, pieces: int) -> str:
    """Return `l2(0.01)/h2/kernel` of a variable; `add_loss/h2`, `activity l1(0.01)/h2` of a layer that added pieces."""
    if source is None:
        return "add_loss"
    if not pieces:
        return f"{regularizer_name(source.regularizer)}/{source.path}"
    path = source.path or source.name
    if source.activity_regularizer is None:
        return f"add_loss/{path}"
    name = f"activity {regularizer_name(source.activity_regularizer)}"
    # Keras's own layers add nothing else; one of the user's may, and one sum holds both.
    alone = pieces == 1 or type(source).__module__.startswith("keras.")
    return f"{name}/{path}" if alone else f"{name} and add_loss/{path}"


def outside_lines(model: Any, trained: Sequence[str]) -> list[str]:
    """Say what moved the parameters, or did not, without being in the loss."""
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    name, decay = type(optimizer).__name__, getattr(optimizer, "weight_decay", None)
    lines = [f"weight_decay {decay:g} of {name} (decoupled): moves parameters, is in no loss"] if decay else []
    for limit in ("clipnorm", "global_clipnorm", "clipvalue"):
        value = getattr(optimizer, limit, None)
        lines += [f"gradient clipping: {limit} {value:g} of {name}"] if value else []
    frozen = [v for v in model.non_trainable_weights if getattr(v, "regularizer", None) is not None]
    lines += [f"{regularizer_name(v.regularizer)} on {v.path}: frozen, in no loss" for v in frozen]
    outputs = getattr(model, "output_names", None) or []
    if set(trained) & set(outputs):
        lines += [f"no loss for {output}: predicted, not trained" for output in outputs if output not in trained]
    return lines


def unnamed(model: Any, step: str) -> str:
    """Say what can be in the loss without a name."""
    own = [name for name in ("compute_loss", step) if getattr(type(model), name) is not getattr(_keras.Model, name)]
    if own:
        return f"{type(model).__name__} has its own {' and '.join(own)}, which can add what no layer declares"
    return "not known"


def epsilon() -> float:
    """Return the relative precision of the floats that Keras adds up."""
    return {"float64": 2.0**-52, "bfloat16": 2.0**-7, "float16": 2.0**-10}.get(str(_keras.config.floatx()), SINGLE)
