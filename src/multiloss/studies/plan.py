"""The plan of a study: which runs it trains, each with a configuration that stands alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from multiloss.config.schema import Config


@dataclass(frozen=True)
class PlannedRun:
    """One run of a study.

    Args:
        name: Its folder below `<study>/runs`: `shared/seed-0`, `separate/price/seed-0`.
        variant: What it is a run of: `shared`, `separate`, `separate-narrow`, `pcgrad`, `price=huber`, ...
        outputs: The outputs that it trains.
        seed: Decides start, order and dropout; the split is the same for all runs of a study.
        config: Complete, so that `multiloss fit` of it gives the same numbers.
    """

    name: str
    variant: str
    outputs: tuple[str, ...]
    seed: int
    config: Config

    def to_dict(self) -> dict[str, Any]:
        """Return the run as plain values."""
        own = {"name": self.name, "variant": self.variant, "outputs": list(self.outputs), "seed": self.seed}
        return {**own, "config": self.config.model_dump()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> PlannedRun:
        """Return the run that `to_dict` wrote."""
        config = Config.model_validate(data["config"])
        return cls(data["name"], data["variant"], tuple(data["outputs"]), data["seed"], config)


@dataclass(frozen=True)
class Plan:
    """What a study trains.

    Args:
        kind: What the study asks: `compare`.
        runs: Every run, those of one variant together.
        settings: Plain values that made the plan, for reports.

    Examples:
        >>> config = Config(table="homes.csv", outputs={"price": {}})
        >>> plan = Plan("compare", (PlannedRun("shared/seed-0", "shared", ("price",), 0, config),), {"seeds": 1})
        >>> Plan.from_dict(plan.to_dict()) == plan, Plan("compare", plan.runs, {"seeds": 2}).digest() == plan.digest()
        (True, False)
    """

    kind: str
    runs: tuple[PlannedRun, ...]
    settings: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as plain values."""
        return {"kind": self.kind, "settings": self.settings, "runs": [run.to_dict() for run in self.runs]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Plan:
        """Return the plan that `to_dict` wrote."""
        return cls(data["kind"], tuple(PlannedRun.from_dict(run) for run in data["runs"]), dict(data["settings"]))

    def digest(self) -> str:
        """Return what tells this plan from another: 16 hexadecimal digits."""
        text = json.dumps(self.to_dict(), sort_keys=True, allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()[:16]
