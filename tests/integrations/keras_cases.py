"""Run by `test_keras.py` in a process of its own for each backend: fits real Keras models and prints what came out."""

from __future__ import annotations

import contextlib
import doctest
import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

WIDTH, ROWS, BATCH, HELD = 48, 150, 32, 40  # a short last batch in both sets


def data(rows: int) -> tuple[Any, list[Any]]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, 16)).astype("float32")
    return x, [0.1 * x[:, :1] + 0.5, 0.1 * rng.normal(size=(rows, 1)).astype("float32")]


def puzzle(keras: Any) -> Any:
    """Two heads on two penalised layers, an activity regularizer, and a layer of our own that adds a loss."""

    class Centre(keras.layers.Layer):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            self.add_loss(0.3 * keras.ops.mean(keras.ops.square(x)))
            return x

    keras.utils.set_random_seed(1)
    row = keras.Input((16,))
    h = keras.layers.Dense(WIDTH, activation="relu", kernel_regularizer=keras.regularizers.L2(0.01), name="h1")(row)
    h = Centre(name="centre")(h)
    both = keras.regularizers.L1L2(l1=1e-4, l2=0.01)
    h = keras.layers.Dense(
        WIDTH, activation="relu", kernel_regularizer=both, activity_regularizer=keras.regularizers.L1(1e-3), name="h2"
    )(h)
    outputs = [keras.layers.Dense(1, name=name)(h) for name in ("dense_1", "dense_2")]
    model = keras.Model(row, outputs)
    model.compile(optimizer=keras.optimizers.SGD(0.05), loss=["mse", "mse"], loss_weights=[1.0, 0.2])
    return model


def by_hand(weights: list[Any], x: Any, y: list[Any]) -> dict[str, float]:
    """Every addend of the puzzle's loss on one batch, from its weights in float64."""
    k1, b1, k2, b2, ka, ba, kb, bb = (w.astype("float64") for w in weights)
    h1 = np.maximum(x @ k1 + b1, 0)
    h2 = np.maximum(h1 @ k2 + b2, 0)
    return {
        "dense_1": float(np.mean((h2 @ ka + ba - y[0]) ** 2)),
        "dense_2": 0.2 * float(np.mean((h2 @ kb + bb - y[1]) ** 2)),
        "add_loss/centre": 0.3 * float(np.mean(h1**2)),
        "activity l1(0.001)/h2": 1e-3 * float(np.abs(h2).sum()) / len(x),
        "l2(0.01)/h1/kernel": 0.01 * float((k1**2).sum()),
        "l1(0.0001)+l2(0.01)/h2/kernel": 1e-4 * float(np.abs(k2).sum()) + 0.01 * float((k2**2).sum()),
    }


def mean_of(batches: list[tuple[int, dict[str, float]]]) -> dict[str, float]:
    rows = sum(n for n, _ in batches)
    return {name: sum(n * terms[name] for n, terms in batches) / rows for name in batches[0][1]}


def slices(rows: int) -> list[slice]:
    return [slice(start, min(start + BATCH, rows)) for start in range(0, rows, BATCH)]


def slow_way(keras: Any, epochs: int) -> list[dict[str, float]]:
    """The specification: the puzzle batch by batch, its addends computed by hand before each step."""
    model = puzzle(keras)
    (x, y), (held_x, held_y), means = data(ROWS), data(HELD), []
    for _ in range(epochs):
        batches = []
        for part in slices(ROWS):
            batches.append((part.stop - part.start, by_hand(model.get_weights(), x[part], [t[part] for t in y])))
            model.train_on_batch(x[part], [t[part] for t in y])
        means.append(mean_of(batches))
        last = model.get_weights()
        held = [(p.stop - p.start, by_hand(last, held_x[p], [t[p] for t in held_y])) for p in slices(HELD)]
        means.append(mean_of(held))
    return means


def fit_puzzle(keras: Any, folder: Path) -> dict[str, Any]:
    from multiloss.integrations.keras import ExplainLoss

    model, out = puzzle(keras), io.StringIO()
    (x, y), held = data(ROWS), data(HELD)
    before = [metric.name for metric in model.metrics]
    explain = ExplainLoss(out)
    stop = keras.callbacks.EarlyStopping(monitor="val_task_loss", mode="min", patience=5)
    save = keras.callbacks.ModelCheckpoint(
        str(folder / f"{keras.backend.backend()}.weights.h5"), save_weights_only=True
    )
    options = {"batch_size": BATCH, "epochs": 2, "shuffle": False, "verbose": 0, "validation_data": held}
    history = model.fit(x, y, **options, callbacks=[stop, save, explain]).history
    again = model.fit(x, y, epochs=1, verbose=0).history
    evaluated = ExplainLoss(out)
    scores = model.evaluate(x, y, batch_size=BATCH, verbose=0, callbacks=[evaluated])
    fresh = puzzle(keras)
    fresh.load_weights(str(folder / f"{keras.backend.backend()}.weights.h5"))
    return {
        "text": out.getvalue(),
        "ledgers": [record.to_dict() for record in explain.ledgers],
        "history": history,
        "slow": slow_way(keras, 2),
        "stopped_by": stop.best,
        "again": sorted(again),
        "metrics": [before, [metric.name for metric in model.metrics]],
        "own": "compute_loss" in vars(model),
        "evaluated": [record.to_dict() for record in evaluated.ledgers],
        "scores": scores,
        "loaded": len(fresh.get_weights()),
    }


def compiled(keras: Any, model: Any, **options: Any) -> Any:
    optimizer = options.pop("optimizer", keras.optimizers.SGD(0.0))
    model.compile(optimizer=optimizer, run_eagerly=True, **options)  # the puzzle is the one that compiles
    return model


def explained(keras: Any, model: Any, y: Any, *, callbacks: Any = (), **options: Any) -> dict[str, Any]:
    """Fit one epoch on two rows of ones and return the record, the text and Keras's logs."""
    from multiloss.integrations.keras import ExplainLoss

    out = io.StringIO()
    explain = ExplainLoss(out)
    x = np.ones((2, 3), "float32")
    history = model.fit(x, y, verbose=0, callbacks=[*callbacks, explain], **options).history
    ledger = [record.to_dict() for record in explain.ledgers]
    return {"ledger": ledger, "text": out.getvalue(), "logs": {key: values[-1] for key, values in history.items()}}


def ones(keras: Any, *names: str, **options: Any) -> Any:
    """Heads of ones on a row of three: on ones each predicts 3."""
    row = keras.Input((3,))
    heads = [keras.layers.Dense(1, kernel_initializer="ones", name=name, **options)(row) for name in names]
    return keras.Model(row, heads if len(heads) > 1 else heads[0])


def small_cases(keras: Any) -> dict[str, Any]:
    one = np.ones((2, 1), "float32")
    two, by_name, in_order = {"a": "mse", "b": "mae"}, {"a": 0.5, "b": 2.0}, [0.5, 2.0]

    def of_two(**options: Any) -> dict[str, Any]:
        return explained(keras, compiled(keras, ones(keras, "a", "b"), **options), [one, one])

    cases: dict[str, Any] = {
        "dict": of_two(loss=two, loss_weights=by_name),
        "list": of_two(loss=["mse", "mae"], loss_weights=in_order),
        "none": of_two(loss=two),
        "untrained": of_two(loss={"a": "mse", "b": None}),
        "one": explained(keras, compiled(keras, ones(keras, "a"), loss="mse", loss_weights=0.25), one),
    }
    weighted = compiled(keras, ones(keras, "a", "b"), loss=two)
    half = np.array([1.0, 0.0], "float32")
    cases["sample_weight"] = explained(keras, weighted, [one] * 2, sample_weight=[half, np.ones(2, "float32")])
    cases["regularizer_names"] = regularizer_names(keras)
    cases["nested"] = nested(keras)
    cases["decay"] = decay(keras)
    cases["own_loss"] = explained(keras, own_loss(keras), one)
    cases["own_step"] = explained(keras, own_step(keras), one)
    cases["only_add_loss"] = explained(keras, only_add_loss(keras), None)
    cases["evaluated_first"] = evaluated_first(keras)
    cases["interrupted"] = interrupted(keras)
    return cases


def regularizer_names(keras: Any) -> list[str]:
    from multiloss.integrations.keras_facts import regularizer_name

    def slope(x: Any) -> Any:
        return 0.0 * keras.ops.sum(x)

    r = keras.regularizers
    return [regularizer_name(x) for x in (r.L1(1e-5), r.L1L2(0.1, 0.2), r.OrthogonalRegularizer(0.5), slope)]


def nested(keras: Any) -> dict[str, Any]:
    """A model in a model, and one layer frozen: its penalty is in no loss."""
    row = keras.Input((3,))
    deep = keras.layers.Dense(2, kernel_initializer="ones", kernel_regularizer="l2", name="deep")(row)
    still = keras.layers.Dense(2, kernel_initializer="ones", kernel_regularizer="l1", name="still", trainable=False)(
        deep
    )
    inner = keras.Model(row, still, name="inner")
    start = keras.Input((3,))
    model = keras.Model(start, keras.layers.Dense(1, kernel_initializer="zeros", name="a")(inner(start)))
    return explained(keras, compiled(keras, model, loss="mse"), np.ones((2, 1), "float32"))


def decay(keras: Any) -> dict[str, Any]:
    optimizer = keras.optimizers.AdamW(0.0, weight_decay=0.004, clipnorm=1.5)
    model = compiled(keras, ones(keras, "a"), loss="mse", optimizer=optimizer)
    return explained(keras, model, np.ones((2, 1), "float32"))


def own_loss(keras: Any) -> Any:
    class Margin(keras.Model):  # type: ignore[misc]
        def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
            return super().compute_loss(*args, **kwargs) + 0.5

    row = keras.Input((3,))
    head = keras.layers.Dense(1, kernel_initializer="ones", kernel_regularizer="l2", name="a")(row)
    return compiled(keras, Margin(row, head), loss="mse")


def own_step(keras: Any) -> Any:
    class Alone(keras.Model):  # type: ignore[misc]
        def train_step(self, *args: Any) -> Any:
            logs = {"loss": keras.ops.ones(())}
            return (logs, args[0]) if keras.backend.backend() == "jax" else logs

    row = keras.Input((3,))
    return compiled(keras, Alone(row, keras.layers.Dense(1, name="a")(row)), loss="mse")


def only_add_loss(keras: Any) -> Any:
    class Energy(keras.layers.Layer):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            self.add_loss(keras.ops.mean(x))
            self.add_loss(2.0 * keras.ops.mean(x))
            return x

    row = keras.Input((3,))
    hidden = keras.layers.Dense(3, kernel_initializer="ones", name="h")(row)
    return compiled(keras, keras.Model(row, Energy(name="energy")(hidden)))


def evaluated_first(keras: Any) -> dict[str, Any]:
    one = np.ones((2, 1), "float32")

    class Elsewhere(keras.callbacks.Callback):  # type: ignore[misc]
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.model.evaluate(np.zeros((2, 3), "float32"), one, verbose=0)

    model = compiled(keras, ones(keras, "a"), loss="mse")
    return explained(keras, model, one, callbacks=[Elsewhere()])


def interrupted(keras: Any) -> dict[str, Any]:
    one = np.ones((2, 1), "float32")

    class Stop(keras.callbacks.Callback):  # type: ignore[misc]
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            raise KeyboardInterrupt

    model = compiled(keras, ones(keras, "a"), loss="mse")
    with contextlib.suppress(KeyboardInterrupt):
        explained(keras, model, one, callbacks=[Stop()])
    case = explained(keras, model, one)
    return {**case, "own": "compute_loss" in vars(model), "metrics": [metric.name for metric in model.metrics]}


def main() -> None:
    import keras

    import multiloss.integrations.keras as module

    tests = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
    result = {"puzzle": fit_puzzle(keras, Path(sys.argv[1])), "small": small_cases(keras), "doctest": list(tests)}
    Path(sys.argv[1], f"{keras.backend.backend()}.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main()
