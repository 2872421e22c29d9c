"""C1: the puzzle, in Keras. Two losses near 0.03 and a total of 9.2: where is the rest?

The weights of two wide layers are penalised with Keras's default, L2(0.01). Keras adds that to the total and prints no
line for it. ExplainLoss does. Run it on any backend: KERAS_BACKEND=jax python examples/keras_puzzle.py
"""

from __future__ import annotations

import keras
import numpy as np

from multiloss.integrations.keras import ExplainLoss

WIDTH, BATCH, STEPS = 840, 32, 264


def main() -> None:
    """Train two epochs and print the equation of each."""
    keras.utils.set_random_seed(0)
    row = keras.Input((64,))
    hidden = keras.layers.Dense(WIDTH, activation="relu", kernel_regularizer=keras.regularizers.L2(0.01), name="h1")(
        row
    )
    hidden = keras.layers.Dense(
        WIDTH, activation="relu", kernel_regularizer=keras.regularizers.L2(0.01), name="h2"
    )(hidden)  # fmt: skip
    outputs = [keras.layers.Dense(1, name=name)(hidden) for name in ("dense_1", "dense_2")]
    model = keras.Model(row, outputs)
    model.compile(optimizer=keras.optimizers.SGD(0.01), loss=["mse", "mse"], loss_weights=[1.0, 1.0])

    rng = np.random.default_rng(0)
    x = rng.normal(size=(BATCH * STEPS, 64)).astype("float32")
    targets = [0.2 * np.sign(x[:, :1]), 0.2 * np.sign(x[:, 1:2])]
    model.fit(x, targets, batch_size=BATCH, epochs=2, verbose=0, callbacks=[ExplainLoss()])


if __name__ == "__main__":
    main()
