"""What a Keras 3 user writes for each task, on the backend that the environment variable `KERAS_BACKEND` names."""

from __future__ import annotations

import keras
import numpy as np
from keras import layers, losses, metrics

from benchmarks.tasks import Arrays, Task


def _energy() -> keras.Model:
    x = keras.Input((8,), name="x")
    features = layers.Dense(128, activation="relu")(layers.Dense(128, activation="relu")(x))
    y1 = layers.Dense(1, name="y1")(features)
    y2 = layers.Dense(1, name="y2")(layers.Dense(64, activation="relu")(features))
    return keras.Model({"x": x}, {"y1": y1, "y2": y2})


def _tickets() -> keras.Model:
    title, body = keras.Input((10,), name="title", dtype="int64"), keras.Input((100,), name="body", dtype="int64")
    tags = keras.Input((12,), name="tags")
    title_features = layers.LSTM(128)(layers.Embedding(10_000, 64)(title))
    body_features = layers.LSTM(32)(layers.Embedding(10_000, 64)(body))
    features = layers.concatenate([title_features, body_features, tags])
    priority = layers.Dense(1, name="priority")(features)
    department = layers.Dense(4, name="department")(features)
    return keras.Model({"title": title, "body": body, "tags": tags}, {"priority": priority, "department": department})


def _conv(x: keras.KerasTensor, filters: int) -> keras.KerasTensor:
    return layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(filters, 3, padding="same")(x)))


def _pool(x: keras.KerasTensor, size: int) -> keras.KerasTensor:
    return layers.Dropout(0.25)(layers.MaxPooling2D(size)(x))


def _dense(x: keras.KerasTensor, hidden: int, classes: int, name: str) -> keras.KerasTensor:
    x = layers.Dense(hidden, activation="relu")(layers.Flatten()(x))
    return layers.Dense(classes, name=name)(layers.Dropout(0.5)(layers.BatchNormalization()(x)))


def _fashion() -> keras.Model:
    image = keras.Input((96, 96, 3), name="image")
    x = _pool(_conv(image, 32), 3)
    x = _pool(_conv(_conv(x, 64), 64), 2)
    x = _pool(_conv(_conv(x, 128), 128), 2)
    category = _dense(x, 256, 4, "category")
    x = _pool(_conv(_pool(_conv(_pool(_conv(image, 16), 3), 32), 2), 32), 2)
    return keras.Model({"image": image}, {"category": category, "color": _dense(x, 128, 3, "color")})


MODELS = {"energy": _energy, "tickets": _tickets, "fashion": _fashion}
LOSSES = {
    "mse": losses.MeanSquaredError,
    "binary_cross_entropy": lambda: losses.BinaryCrossentropy(from_logits=True),
    "cross_entropy": lambda: losses.SparseCategoricalCrossentropy(from_logits=True),
}


def _metric(loss: str, name: str) -> metrics.Metric:
    if name == "rmse":
        return metrics.RootMeanSquaredError(name="rmse")
    if loss == "binary_cross_entropy":
        return metrics.BinaryAccuracy(name="accuracy", threshold=0.0)
    return metrics.SparseCategoricalAccuracy(name="accuracy")


def _optimizer(task: Task) -> keras.optimizers.Optimizer:
    return {
        "sgd": keras.optimizers.SGD,
        "adam": keras.optimizers.Adam,
        "rmsprop": keras.optimizers.RMSprop,
    }[task.optimizer](task.lr)


def _native(arrays: Arrays) -> Arrays:
    """Images as Keras lays them out, channels last; the rest as it is."""
    return {
        name: np.ascontiguousarray(array.transpose(0, 2, 3, 1)) if array.ndim == 4 else array
        for name, array in arrays.items()
    }


class Peer:
    """A compiled Keras model; each call of `fit` goes on from where the last one ended."""

    def __init__(self, task: Task, threads: int) -> None:
        _limit_threads(threads)
        keras.utils.set_random_seed(0)
        self.task, self.model = task, MODELS[task.name]()
        self.model.compile(
            optimizer=_optimizer(task),
            loss={name: LOSSES[output.loss]() for name, output in task.outputs.items()},
            loss_weights={name: output.weight for name, output in task.outputs.items()},
            metrics={name: [_metric(output.loss, output.metric)] for name, output in task.outputs.items()},
        )
        self.inputs = _native(task.inputs)
        self.targets = {name: _column(target) for name, target in task.targets.items()}
        self.validation = None
        if task.validation is not None:
            inputs, targets = task.validation
            self.validation = (_native(inputs), {name: _column(target) for name, target in targets.items()})

    @property
    def version(self) -> str:
        return f"keras {keras.__version__}, {keras.backend.backend()}"

    def fit(self, epochs: int) -> float:
        """Train, and return the loss of the last epoch."""
        history = self.model.fit(
            self.inputs,
            self.targets,
            batch_size=self.task.batch_size,
            epochs=epochs,
            validation_data=self.validation,
            validation_batch_size=self.task.validation_batch,
            verbose=0,
        )
        return float(history.history["loss"][-1])


def _column(target: np.ndarray) -> np.ndarray:
    return target[:, None]


def _limit_threads(threads: int) -> None:
    """Use the backend's own setting; JAX has none at run time and reads the environment that the worker was given."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    elif keras.backend.backend() == "torch":
        import torch

        torch.set_num_threads(threads)
