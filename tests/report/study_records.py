"""A study made by hand for the tests of its page: two outputs, two seeds, three variants."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote


def study(price: str = "price", kind: str = "kind") -> dict[str, Any]:
    """Return what `multiloss.studies.page.study_data` does: shared is better on one output, worse on the other."""
    variants = {"shared": [[price, kind]], "separate": [[price], [kind]], "separate-narrow": [[price], [kind]]}
    runs = [
        _run(variant, outputs, seed) for variant, models in variants.items() for outputs in models for seed in (0, 1)
    ]
    return {
        "name": "homes-1",
        "folder": "/studies/homes-1",
        "settings": {
            "seeds": 2,
            "level": 0.95,
            "table": "/data/homes.csv",
            "table_digest": "0123456789abcdef",
            "outputs": {price: {"kind": "regression"}, kind: {"kind": "binary"}},
            "variants": list(variants),
            "rows": {"train": 70, "validation": 15, "test": 15},
            "labels": {name: {"train": 70, "validation": 15, "test": 15} for name in (price, kind)},
            "trunk": {"shared": [32], "separate": [32], "separate-narrow": [20]},
            "parameters": {"shared": 1000, "separate": 1600, "separate-narrow": 1000},
            "notes": ["no training row has labels of both"],
            "asked": {"balancing": [], "losses": {}, "seed": 0, "threads": "auto"},
        },
        "measures": {price: "mae", kind: "accuracy"},
        "verdict": {
            "overall": f"sharing helps {price} by 8.0 % (6.0 to 10.0), makes {kind} worse by 3.0 points (1.0 to 5.0).",
            "outputs": [
                _verdict(price, "shared", "better", f"sharing helps {price} by 8.0 % in mae", (8, 6, 10), "%"),
                _verdict(kind, "shared", "worse", f"{kind} is worse shared: by 3.0 points", (-3, -5, -1), "points"),
                _verdict(price, "separate-narrow", "no difference", "narrowing makes no difference", (1, -1, 3), "%"),
            ],
            "recommended": "shared",
            "uncompared": ["kind is not compared (pcgrad): fewer than two seeds"],
            "why": f"shared is better than separate on {price} and worse on {kind}",
        },
        "costs": {
            "shared": _cost(1, 1000, 0.05, (0.5, 0.45, 0.55)),
            "separate": _cost(2, 1600, 0.1, (1, 1, 1)),
            "separate-narrow": _cost(2, 1000, 0.08, (0.8, 0.7, 0.9)),
        },
        "runs": runs,
        "scores": [
            {"output": output, "measure": measure, "variant": variant, **_mean(values)}
            for output, measure, values in ((price, "mae", [2.0, 2.4]), (kind, "accuracy", [0.8, 0.9]))
            for variant in variants
        ],
        "trivial": {price: {"mae": 8.0}, kind: {"accuracy": 0.5}},
        "delta_m": {"shared": {"mean": 0.02, "low": 0.01, "high": 0.03}},
        "curves": [
            {
                "output": output, "measure": measure, "part": part, "variant": "shared", "epochs": [1, 2],
                "low": [4.0, 3.0], "median": [5.0, 4.0], "high": [6.0, 5.0], "seeds": 2, "fewest": 2,
            }
            for output, measure in ((price, "loss"), (price, "mae"), (kind, "accuracy"))
            for part in ("train", "validation")
        ],
        "method": [["Claim", "where p is below 0.05"]],
        "commands": {"study": "multiloss compare runs/shared/seed-0/config.yaml", "run": "multiloss fit"},
        "config": "table: homes.csv\n",
    }  # fmt: skip


def _run(variant: str, outputs: list[str], seed: int) -> dict[str, Any]:
    name = f"{variant}/seed-{seed}" if len(outputs) > 1 else f"{variant}/{outputs[0]}/seed-{seed}"
    link = quote(f"runs/{name}/report.html")
    return {"name": name, "variant": variant, "outputs": outputs, "seed": seed, "link": link, "problem": None}


def _verdict(
    output: str, variant: str, claim: str, sentence: str, gain: tuple[float, float, float], unit: str
) -> dict[str, Any]:
    found = dict(zip(("mean", "low", "high"), map(float, gain), strict=True))
    return {
        "output": output, "variant": variant, "claim": claim, "sentence": sentence, "gain": found, "unit": unit,
        "metric": "mae" if unit == "%" else "accuracy", "adjusted_p": 0.02,
        "difference": {**found, "p": 0.01, "seeds": 2, "rows": 15},
    }  # fmt: skip


def _cost(models: int, parameters: int, seconds: float, ratio: tuple[float, float, float]) -> dict[str, Any]:
    time = {"value": seconds, "low": seconds, "high": seconds}
    own = dict(zip(("value", "low", "high"), map(float, ratio), strict=True))
    times = {f"{kind}_seconds": time for kind in ("train", "epoch", "row", "batch")}
    ratios = {f"{kind}_ratio": own for kind in ("train", "epoch", "row", "batch")}
    return {
        "models": models,
        "parameters": parameters,
        "multiply_adds": 900.0,
        "row_memory": 9000,
        "batch_memory": 500_000,
        **times,
        **ratios,
    }


def _mean(values: list[float]) -> dict[str, Any]:
    mean = sum(values) / len(values)
    return {"mean": mean, "low": mean - 0.3, "high": mean + 0.3, "seeds": [[i, v] for i, v in enumerate(values)]}
