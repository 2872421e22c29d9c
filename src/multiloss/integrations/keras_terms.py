"""Every addend of a Keras model's loss, summed up where the loss is computed: inside the compiled step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable
from typing import Any

from multiloss.core.optional import require
from multiloss.integrations.equation import Addend
from multiloss.integrations.keras_facts import penalty_name

_keras: Any = require("keras", "multiloss.integrations.keras", "multiloss[keras]")
_ops: Any = _keras.ops
_Metric: Any = _keras.metrics.Metric
_HEAD = 3  # rows, batches, what the outputs added


class TaskLoss(_Metric):  # type: ignore[misc]
    """Sums of addends over batches, weighted with their rows as Keras weights the loss.

    A metric, because that is what every backend carries through its compiled step.
    """

    def __init__(self, room: int, in_logs: bool) -> None:
        wide = _keras.config.floatx() == "float64"
        super().__init__(name="task_loss", dtype="float64" if wide else "float32")
        self.room, self.in_logs = room, in_logs
        self.sums = self.add_variable((_HEAD + room,), "zeros", self.dtype, name="sums")

    def update_state(self, values: list[Any], rows: Any) -> None:
        """Add one batch: what the outputs added, and the addends by their places."""
        rows = _ops.cast(rows, self.dtype)
        addends = _ops.stack([_ops.sum(_ops.cast(value, self.dtype)) for value in values])
        spare = _ops.zeros((1 + self.room - len(values),), self.dtype)
        batch = _ops.concatenate([_ops.stack([rows, _ops.ones_like(rows)]), addends * rows, spare])
        self.sums.assign(self.sums + _ops.stop_gradient(batch))

    def result(self) -> dict[str, Any]:
        """Return `task_loss`, what the outputs added; nothing where the logs shall stay as they are."""
        return {"task_loss": _ops.divide_no_nan(self.sums[2], self.sums[0])} if self.in_logs else {}

    def means(self) -> tuple[list[float], int, int]:
        """Return the mean of each place, the rows and the batches behind them."""
        rows, steps, _, *sums = (float(value) for value in _ops.convert_to_numpy(self.sums))
        return [value / rows for value in sums] if rows else [], int(rows), int(steps)


class Terms:
    """Stands before a model's `compute_loss` and notes every addend; `remove` leaves the model as it was.

    Keras has no public place that knows an addend's name and value at once. Of what is private, this uses the list of
    compiled losses, the lists of a layer's own losses and of the model's metrics.

    Args:
        model: A compiled model.
        in_logs: Whether `task_loss` joins the logs.
    """

    def __init__(self, model: Any, in_logs: bool) -> None:
        earlier = getattr(model.compute_loss, "__self__", None)
        if isinstance(earlier, Terms):  # left by a fit that was interrupted
            earlier.remove()
        self.model, self.inner, self.compiled = model, model.compute_loss, model._compile_loss
        self.losses: list[Any] = []
        self.noted: dict[int, Any] = {}
        self.places: dict[Hashable, int] = {}
        self.sources: dict[Hashable, tuple[Any, int]] = {}
        """Where an addend comes from: a layer and how many pieces it added, or a variable. Named outside the step."""
        outputs = self._tap()
        # Backends trace the step at different times; the metric's size has to stand before, what is in it need not.
        self.metric = TaskLoss(2 * outputs + 4 * len(model._flatten_layers()) + 16, in_logs and outputs > 0)
        model._metrics.append(self.metric)
        model.compute_loss = self.compute_loss
        self._compile_anew()

    def remove(self) -> None:
        """Leave the model as it was."""
        del self.model.compute_loss
        self.model._metrics.remove(self.metric)
        if self.compiled is not None:
            vars(self.compiled).pop("build", None)
        if self.losses:
            self.compiled._flat_losses = self.losses
        self._compile_anew()

    def _compile_anew(self) -> None:
        """Forget compiled steps: they hold the addends that they were traced with."""
        self.model.make_train_function(force=True)
        self.model.make_test_function(force=True)

    def _tap(self) -> int:
        """Note what each output's loss returns, now or as soon as it is built. Return how many there may be."""
        if self.compiled is None:
            return 0
        if self.compiled.built:
            # Keras's own list of (path in the outputs, loss, weight or None, name of the output)
            self.losses = list(self.compiled._flat_losses)
            taps = [loss._replace(loss=self._noting(i, loss.loss)) for i, loss in enumerate(self.losses)]
            self.compiled._flat_losses = taps
            return len(taps)
        build = self.compiled.build

        def build_and_tap(y_true: Any, y_pred: Any) -> None:
            build(y_true, y_pred)
            self._tap()

        self.compiled.build = build_and_tap
        return len(_keras.tree.flatten([self.compiled._user_loss, getattr(self.model, "outputs", None)]))

    def _noting(self, place: int, loss: Callable[..., Any]) -> Callable[..., Any]:
        def noting(*args: Any) -> Any:
            self.noted[place] = value = loss(*args)
            return value

        return noting

    def compute_loss(self, x: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Return what the model's own `compute_loss` returns, and note what it was made of."""
        self.noted.clear()
        total = self.inner(x, *args, **kwargs)
        zero = _ops.zeros((), self.metric.dtype)
        values, task = self._values(), zero
        for place, value in self.noted.items():
            weight = self.losses[place][2]
            values[place, "added"] = value if weight is None else value * weight
            values[place, "value"] = value
            task += values[place, "added"]
        self.noted.clear()
        for key in values:
            if len(self.places) < self.metric.room:
                self.places.setdefault(key, len(self.places))
        leaf = next((leaf for leaf in _keras.tree.flatten(x) if leaf is not None), None)
        rows = 1.0 if leaf is None else _ops.shape(leaf)[0]
        self.metric.update_state([task, *(values.get(key, zero) for key in self.places)], rows)
        return total

    def _values(self) -> dict[Hashable, Any]:
        """Return what each layer added and each regularizer, in Keras's order: the regularizers come last."""
        trained = [v for v in self.model.trainable_weights if getattr(v, "regularizer", None) is not None]
        losses = list(self.model.losses)
        first = len(losses) - len(trained)
        rest = {id(loss): loss for loss in losses[:first]}
        values: dict[Hashable, Any] = {}
        for layer in self.model._flatten_layers():
            own = [rest.pop(key) for key in _added_by(layer) if key in rest]
            if own:
                values[id(layer)] = sum(_ops.sum(loss) for loss in own)
                self.sources[id(layer)] = layer, len(own)
        if rest:
            values["rest"] = sum(_ops.sum(loss) for loss in rest.values())
            self.sources["rest"] = None, len(rest)
        for variable, loss in zip(trained, losses[first:], strict=True):
            values[id(variable)] = loss
            self.sources[id(variable)] = variable, 0
        return values

    def read(self) -> tuple[list[Addend], int]:
        """Return the addends of the batches so far and the number of batches; neither, where there were none."""
        means, rows, steps = self.metric.means()
        if not steps:
            return [], 0
        addends = []
        for i, (_, _, weight, name) in enumerate(self.losses):
            if (i, "added") in self.places:
                added, value = means[self.places[i, "added"]], means[self.places[i, "value"]]
                addends.append(Addend(name, "loss", value, _weight(weight, added, value), added, rows))
        for key, (source, pieces) in self.sources.items():
            if key in self.places:
                value = means[self.places[key]]
                addends.append(Addend(penalty_name(source, pieces), "penalty", value, 1.0, value))
        seen: Counter[str] = Counter()
        for i, addend in enumerate(addends):
            seen[addend.name] += 1
            if seen[addend.name] > 1:  # two losses of one output, two layers of one path
                addends[i] = addend._replace(name=f"{addend.name} ({seen[addend.name]})")
        return addends, steps


def _added_by(layer: Any) -> list[int]:
    """Return the ids of what the layer added in this call. Under jax it lives in the step's scope, not on the layer."""
    return list(layer._loss_ids) if _keras.backend.backend() == "jax" else [id(loss) for loss in layer._losses]


def _weight(weight: Any, added: float, value: float) -> float:
    """Return the weight as it was given; the mean weight where it is a variable, which may have moved."""
    if weight is None or isinstance(weight, int | float):
        return 1.0 if weight is None else float(weight)
    return added / value if value else 0.0
