from __future__ import annotations

import json

import pytest

from multiloss.config.schema import Config, OutputConfig
from multiloss.studies.plan import Plan, PlannedRun


def make_plan(**changed: object) -> Plan:
    outputs = {
        "price": OutputConfig(kind="regression", loss={"name": "huber", "delta": 2.0}, weight=0.5, metrics=["mae"]),
        "kind": OutputConfig(kind="multiclass", classes=["a", "b", "c"]),
    }
    config = Config(table="/data/homes.csv", outputs=outputs, inputs={"size": "number"}, balancing="pcgrad")
    run = PlannedRun("shared/seed-3", "shared", ("price", "kind"), 3, config.model_copy(update=changed))
    return Plan("compare", (run,), {"seeds": 2, "variants": ["shared"], "level": 0.95})


def test_a_plan_survives_json() -> None:
    plan = make_plan()
    read = Plan.from_dict(json.loads(json.dumps(plan.to_dict())))
    assert read == plan
    assert read.digest() == plan.digest()
    assert read.runs[0].config.outputs["price"].loss == {"name": "huber", "delta": 2.0}
    assert read.runs[0].outputs == ("price", "kind")


@pytest.mark.parametrize("changed", [{"table": "/data/flats.csv"}, {"balancing": None}, {"reduction": "batch"}])
def test_the_digest_tells_every_configuration_from_another(changed: dict[str, object]) -> None:
    assert make_plan(**changed).digest() != make_plan().digest()
    assert len(make_plan().digest()) == 16
