"""The trunk that separate models may have, so that all together are as large as one shared model."""

from __future__ import annotations

import bisect
from collections.abc import Sequence

from multiloss.config.parts import build_model
from multiloss.config.schema import Config
from multiloss.data.schema import TableSchema

MOST = 1.02
"""Together, narrowed models have at most this many times the parameters of the shared one."""


def parameters(config: Config, schema: TableSchema) -> int:
    """Return the number of parameters of a configuration's model."""
    return sum(parameter.numel() for parameter in build_model(config, schema).parameters())


def with_trunk(config: Config, widths: Sequence[int]) -> Config:
    """Return the configuration with other widths of its trunk."""
    return config.model_copy(update={"model": config.model.model_copy(update={"trunk": list(widths)})})


def narrow_trunk(
    trunk: Sequence[int], separate: Sequence[tuple[Config, TableSchema]], target: int
) -> tuple[list[int], int] | None:
    """Return the widths that bring separate models, together, closest to a number of parameters.

    Every layer is scaled by one factor; then single layers are widened by one as long as that comes closer.

    Args:
        trunk: Widths of the shared trunk.
        separate: Configuration and schema of each separate model.
        target: Parameters of the shared model.

    Returns:
        The widths, and the parameters of all separate models together, never more than `MOST * target`; `None` where
        no trunk is that narrow, or there is none to narrow.
    """

    def count(widths: Sequence[int]) -> int:
        return sum(parameters(with_trunk(config, widths), schema) for config, schema in separate)

    # the factors at which some layer gains a unit; between two of them the widths stay
    factors = sorted({(unit, width) for width in trunk for unit in range(1, width + 1)}, key=lambda f: f[0] / f[1])
    scaled = [[max(1, width * unit // of) for width in trunk] for unit, of in factors]
    if not scaled or count(scaled[0]) > MOST * target:
        return None
    best = scaled[max(0, bisect.bisect_right(scaled, target, key=count) - 1)]
    total = count(best)
    while True:
        wider = [[w + (i == layer) for i, w in enumerate(best)] for layer in range(len(trunk))]
        fitting = [(abs(found - target), found, own) for own in wider if (found := count(own)) <= MOST * target]
        if not fitting or min(fitting)[0] >= abs(total - target):
            return best, total
        _, total, best = min(fitting)
