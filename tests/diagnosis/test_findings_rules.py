"""Each rule finds the fault that is planted in a real training run, with the numbers of that run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from findings_runs import losses_of, make_data, make_model, of_rule, only, overrides, train
from torch import Tensor, nn

import multiloss as ml
from multiloss.core.run_records import RunRecords
from multiloss.diagnosis.findings import findings
from multiloss.diagnosis.rules.results import rank_correlation

NAN = float("nan")


def in_thousands(name: str, factor: float = 30.0) -> tuple[Tensor, dict[str, Tensor]]:
    """Return two regressions, one of which is in larger units."""
    x, targets = only(make_data(), "price", "size")
    return x, targets | {name: factor * targets[name]}


# ---------------------------------------------------------------------------------------------------- gradients


def test_dominance(tmp_path: Path) -> None:
    records = train(tmp_path, in_thousands("size", 14.0))
    (finding,) = of_rule(records, "dominance")
    shares = [100 * flow.norms["size"] / (flow.norms["size"] + flow.norms["price"]) for flow in records.flows]
    median, low, high = np.median(shares), min(shares), max(shares)
    assert finding.outputs == ("size", "price") and finding.confidence == "high"
    assert finding.evidence["share"] == pytest.approx(median / 100) and finding.evidence["steps"] == len(shares) >= 12
    assert f"size makes {median:.0f} % of the gradient" in finding.text
    assert f"median over {len(shares)} watched steps, {low:.0f} % to {high:.0f} %" in finding.text
    assert finding.command == "ml.suggest_weights(model, objective, data)"


def test_dominance_is_not_read_off_loss_values(tmp_path: Path) -> None:
    """A constant makes the loss a thousand times larger and moves nothing."""

    def lifted(pred: Tensor, target: Tensor) -> Tensor:
        return (pred - target).square() + 1000.0

    data = only(make_data(), "price", "size")
    records = train(tmp_path, data, objective=ml.Objective({"price": "mse", "size": lifted}))
    assert records.ledgers[-1]["size"].value > 500 * (records.ledgers[-1]["price"].value or 0.0)  # type: ignore[operator]
    assert of_rule(records, "dominance") == []


def test_dominance_by_the_users_own_weights_is_said_to_be_theirs(tmp_path: Path) -> None:
    data = only(make_data(), "price", "size")
    objective = ml.Objective("mse", loss_weights={"price": 1.0, "size": 0.02})
    (finding,) = of_rule(train(tmp_path, data, objective=objective), "dominance")
    assert finding.outputs[0] == "price" and finding.confidence == "low" and "your weights do it" in finding.text
    bare = finding.evidence["unweighted_ratio"]
    assert isinstance(bare, float) and 0.2 < bare < 5


def test_dominance_of_a_penalty(tmp_path: Path) -> None:
    objective = ml.Objective("mse", penalties=[ml.L2(5.0, on="trunk")])
    records = train(tmp_path, only(make_data(), "price", "size"), objective=objective, lr=1e-3)
    (finding,) = of_rule(records, "dominance")
    assert finding.outputs == () and finding.text.startswith("the penalties make")
    given = "penalties: [{name: l2, coefficient: 5.0, 'on': trunk}]"
    lower = '[{"name": "l2", "coefficient": 0.5, "on": "trunk"}]'
    assert overrides(records, "dominance", given) == [f"penalties={lower}"]


def test_three_watched_steps_are_needed_to_speak_of_dominance(tmp_path: Path) -> None:
    records = train(tmp_path, in_thousands("size"))
    assert of_rule(replace(records, flows=records.flows[:2]), "dominance") == []
    (finding,) = of_rule(replace(records, flows=records.flows[:3]), "dominance")
    assert finding.confidence == "medium" and "over 3 watched steps" in finding.text


class OneFeature(nn.Module):
    """Hands one and the same number to both outputs."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.trunk = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 1))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        z = self.trunk(x).squeeze(-1)
        return {"price": z, "size": z}


def test_conflict(tmp_path: Path) -> None:
    """Two outputs are the same number and want opposite ones: their gradients are opposite."""
    x, targets = only(make_data(), "price", "size")
    records = train(tmp_path, (x, targets | {"size": -targets["price"]}), OneFeature())
    (finding,) = of_rule(records, "conflict")
    cosines = [flow.cosines[0][1] for flow in records.flows]
    assert finding.outputs == ("price", "size") and finding.confidence == "high"
    assert finding.evidence["cosine"] == pytest.approx(np.median(cosines)) and np.median(cosines) < -0.5
    negative = sum(cosine < 0 for cosine in cosines)
    assert finding.evidence["negative"] == negative and f"below zero in {negative} of them" in finding.text
    assert finding.command == 'ml.Trainer(..., balancing="pcgrad")' and "No method reliably beats" in finding.advice
    assert overrides(records, "conflict") == ["balancing=pcgrad"]
    assert of_rule(replace(records, flows=records.flows[:3]), "conflict") == []


def test_conflict_needs_seven_of_seven_for_one_pair(tmp_path: Path) -> None:
    x, targets = only(make_data(), "price", "size")
    records = train(tmp_path, (x, targets | {"size": -targets["price"]}), OneFeature())
    opposite = [flow for flow in records.flows if flow.cosines[0][1] < -0.5]
    assert of_rule(replace(records, flows=opposite[:6]), "conflict") == []
    (finding,) = of_rule(replace(records, flows=opposite[:7]), "conflict")
    assert finding.evidence["chance"] == 1 / 2**7


def test_conflict_at_the_end_alone_is_how_training_ends(tmp_path: Path) -> None:
    x, targets = only(make_data(), "price", "size")
    opposite = train(tmp_path / "a", (x, targets | {"size": -targets["price"]}), OneFeature()).flows
    same = train(tmp_path / "b", (x, targets | {"size": targets["price"]}), OneFeature()).flows
    assert of_rule(RunRecords("late", flows=same[:10] + opposite + opposite), "conflict") == []


# ---------------------------------------------------------------------------------------------------- the ledger


def test_penalty_rules_the_monitored_loss(tmp_path: Path) -> None:
    objective = ml.Objective("mse", penalties=[ml.L2(1.0)])
    records = train(tmp_path, only(make_data(), "price", "size"), objective=objective, lr=1e-3)
    (finding,) = of_rule(records, "penalty_rules_monitor")
    row = records.history[-1]
    share = row["val_penalty"] / row["val_loss"]
    assert share > 0.5 and finding.evidence["share"] == pytest.approx(share)
    assert f"{100 * share:.0f} % of val_loss is penalty in epoch 8" in finding.text
    assert finding.command == 'ml.EarlyStopping("val_task_loss")' and finding.confidence == "medium"
    watched = "training: {keep: best, monitor: val_loss, early_stopping: {monitor: val_loss}}"
    (finding,) = of_rule(replace(records, config=watched), "penalty_rules_monitor")
    keys = ("training.monitor", "training.early_stopping.monitor")
    assert overrides(records, "penalty_rules_monitor", watched) == [f"{key}=val_task_loss" for key in keys]
    assert finding.confidence == "high"
    other = "training: {keep: best, monitor: val_task_loss, early_stopping: null}"
    assert of_rule(replace(records, config=other), "penalty_rules_monitor") == []
    without = replace(records, ledgers=records.split("train"))
    (finding,) = of_rule(without, "penalty_rules_monitor")
    assert finding.evidence["monitor"] == "loss" and "hold rows out" in finding.advice


def test_labels_are_starved(tmp_path: Path) -> None:
    x, targets = only(make_data(rows=160), "price", "size")
    targets["price"][5:] = NAN
    records = train(tmp_path, (x, targets), validation=None, batch_size=8)
    (finding,) = of_rule(records, "label_starvation")
    assert finding.outputs == ("price",) and finding.confidence == "high"
    assert finding.evidence["labels_per_step"] == 5 / 20 and finding.evidence["part_of_the_most"] == 5 / 160
    assert "price has 5 labels an epoch, 0.2500 a step; size has 8.0000 a step" in finding.text
    assert finding.command == "trainer.fit(..., batch_size=64)"  # 64 rows hold 2 labels on average
    few = train(tmp_path / "few", (x, targets), validation=None, batch_size=80)
    (finding,) = of_rule(few, "label_starvation")
    assert finding.evidence["labels_per_step"] == 5 / 2 and finding.confidence == "medium"
    assert finding.command == 'ml.Objective(..., reduction="batch")'
    assert overrides(records, "label_starvation") == ["training.batch_size=64"]
    assert overrides(few, "label_starvation") == ["reduction=batch"]


# ---------------------------------------------------------------------------------------------------- weights


def louder(pred: Tensor, target: Tensor) -> Tensor:
    return 900 * (pred - target).square()


LOUD: dict[str, Any] = {"price": "mse", "size": louder}


def test_a_weight_ran_to_zero(tmp_path: Path) -> None:
    """uncertainty_soft gives the loss that is lower more weight by a softmax, and ends with one loss alone."""
    records = train(tmp_path, only(make_data(), "price", "size"), balancing="uncertainty_soft", epochs=12)
    (finding,) = of_rule(records, "vanished_weight")
    (name,) = finding.outputs
    term = records.split("train")[-1][name]
    parts = [flow.norm_shares[name] for flow in records.flows[-(len(records.flows) // 4) :]]
    assert finding.evidence["weight"] == term.balancing_weight < 0.01
    assert finding.evidence["part"] == np.median(parts) < 0.05 and finding.confidence == "high"
    assert finding.command == "ml.Trainer(..., balancing=None)"
    assert overrides(records, "vanished_weight") == ["balancing=null"]


def test_a_small_weight_that_equalises_is_right(tmp_path: Path) -> None:
    """log_sum divides each loss by itself: the factor 900 goes, and the loss is heard as much as without it."""
    records = train(tmp_path, only(make_data(), "price", "size"), objective=ml.Objective(LOUD), balancing="log_sum")
    last = records.split("train")[-1]
    assert last["size"].balancing_weight < 0.01 * last["price"].balancing_weight
    assert of_rule(records, "vanished_weight") == []


def test_a_schedule_to_zero_is_a_wish(tmp_path: Path) -> None:
    objective = ml.Objective("mse", loss_weights={"price": ml.piecewise({0: 1.0, 4: 0.0})})
    records = train(tmp_path, only(make_data(), "price", "size"), objective=objective)
    assert records.split("train")[-1]["price"].weight == 0 and findings(records) == []


def test_units_far_apart(tmp_path: Path) -> None:
    records = train(tmp_path, in_thousands("size"))
    (finding,) = of_rule(records, "units_far_apart")
    size, price = (max(records.history[0][f"{part}{name}_loss"] for part in ("", "val_")) for name in ("size", "price"))
    assert finding.evidence["ratio"] == pytest.approx(size / price)
    assert finding.outputs == ("size", "price") and f"{size / price:,.0f} times apart" in finding.text
    assert (
        finding.command
        == f"loss_weights={{'price': {float(f'{1 / price:.1g}'):g}, 'size': {float(f'{1 / size:.1g}'):g}}}"
    )
    assert len(overrides(records, "units_far_apart")) == 2
    weighted = ml.Objective("mse", loss_weights={"size": 1 / 900})
    assert of_rule(train(tmp_path / "w", in_thousands("size"), objective=weighted), "units_far_apart") == []


def test_a_loss_that_is_learned_within_a_long_first_epoch_is_not_in_other_units(tmp_path: Path) -> None:
    x = torch.randn(1000, 6, generator=torch.Generator().manual_seed(0))
    noise = torch.randn(1000, generator=torch.Generator().manual_seed(1))
    data = (x, {"price": torch.zeros(1000), "size": noise})
    records = train(tmp_path, data, epochs=1, batch_size=4, watch_gradients="never")
    first = records.split("train")[0]
    assert first["size"].value > 100 * (first["price"].value or 1.0)  # type: ignore[operator]
    assert of_rule(records, "units_far_apart") == []


# ---------------------------------------------------------------------------------------------------- curves


def dead_head() -> ml.HardSharing:
    """Return a model in which every unit before the output `size` is off and stays off."""
    torch.manual_seed(0)
    heads = {"price": ml.RegressionHead(16), "size": ml.RegressionHead(16, hidden=[4])}
    model = ml.HardSharing(ml.MLP(6, [16]), heads)
    hidden = next(module for module in model.heads["size"].modules() if isinstance(module, nn.Linear))
    nn.init.constant_(hidden.bias, -100.0)
    return model


def test_an_output_that_stopped_learning(tmp_path: Path) -> None:
    records = train(tmp_path, only(make_data(), "price", "size"), dead_head(), validation=None)
    assert all(flow.norms["size"] == 0 for flow in records.flows)
    (finding,) = of_rule(records, "stopped_learning")
    values = [row["size_loss"] for row in records.history]
    assert finding.outputs == ("size",) and finding.confidence == "high"
    assert finding.evidence["ended"] == np.median(values[-2:]) and finding.evidence["gradient_over_loss"] == 0
    assert finding.evidence["first"] == values[0] and finding.evidence["moving"] == "price"
    assert f"was {values[0]:.4f} in the first epoch and ends at {np.median(values[-2:]):.4f}" in finding.text
    assert "no gradient of it reaches the shared layers" in finding.text
    assert finding.command == "ml.Trainer(..., lr={'size': 0.001, 'default': 0.01})"
    assert overrides(records, "stopped_learning") == ['training.lr={"size": 0.001, "default": 0.01}']
    assert of_rule(records, "dominance") == []  # where one loss has no gradient, nothing is to be balanced


def test_an_output_that_no_input_tells(tmp_path: Path) -> None:
    x, targets = only(make_data(rows=800), "price", "size")
    targets["size"] = torch.randn(800, generator=torch.Generator().manual_seed(5))
    records = train(
        tmp_path, (x, targets), make_model("price", "size", width=4), validation=None, epochs=6, batch_size=32
    )
    (finding,) = of_rule(records, "stopped_learning")
    assert finding.outputs == ("size",) and finding.confidence == "medium"
    assert finding.evidence["gradient_over_loss"] > 1e-3  # type: ignore[operator]


def test_an_output_learned_within_its_first_epoch_has_not_stopped(tmp_path: Path) -> None:
    """`size` is flat from the first epoch on, at its noise: after a long first epoch nobody can tell."""
    x = torch.randn(816, 6, generator=torch.Generator().manual_seed(1))
    targets = {"price": 2 * x[:, 5], "size": torch.randn(816, generator=torch.Generator().manual_seed(5))}
    records = train(tmp_path, (x, targets), make_model("price", "size", width=4), validation=None, epochs=6,
                    batch_size=8, lr=1e-3, watch_gradients="never")  # fmt: skip
    fell = {name: 1 - records.history[-1][f"{name}_loss"] / records.history[0][f"{name}_loss"] for name in targets}
    assert fell["size"] < 0.05 and fell["price"] > 0.5 and records.split("train")[0].steps == 102
    assert of_rule(records, "stopped_learning") == []
    early = [replace(record, steps=100) for record in records.ledgers]
    assert len(of_rule(replace(records, ledgers=early), "stopped_learning")) == 1


def test_one_output_over_fits_while_another_still_learns(tmp_path: Path) -> None:
    g = torch.Generator().manual_seed(0)
    x = torch.randn(400, 6, generator=g)
    targets = {"price": torch.randn(400, generator=g), "size": x[:, 0] * x[:, 1]}
    targets["price"][24:300] = NAN  # the rest is held out
    held, rows = ((x[part], {name: target[part] for name, target in targets.items()})
                  for part in (slice(300, None), slice(300)))  # fmt: skip
    records = train(tmp_path, rows, make_model("price", "size", width=64), validation=held, epochs=20, batch_size=32)
    (finding,) = of_rule(records, "overfitting")
    assert finding.outputs == ("price", "size")
    values = [row["val_price_loss"] for row in records.history]
    epoch = finding.evidence["epoch"]
    assert isinstance(epoch, float) and abs(epoch - 1 - int(np.argmin(values))) <= 2
    assert finding.evidence["rise"] > 0.2 and f"since epoch {epoch:.0f}" in finding.text  # type: ignore[operator]
    assert finding.command == f'loss_weights={{"price": ml.piecewise({{0: 1, {epoch:.0f}: 0}})}}'
    weight = f"{{schedule: piecewise, values: {{0: 1, {epoch:.0f}: 0}}}}"
    assert overrides(records, "overfitting") == [f"outputs.price.weight={weight}"]


# ---------------------------------------------------------------------------------------------------- results


def test_an_output_below_chance_on_the_validation_rows(tmp_path: Path) -> None:
    x, targets = only(make_data(rows=96), "price", "size")
    targets["size"] = torch.randn(96, generator=torch.Generator().manual_seed(0))
    objective = ml.Objective("mse", metrics=["r2"])
    records = train(tmp_path, (x, targets), make_model("price", "size", width=64), objective, epochs=20, batch_size=8)
    (finding,) = of_rule(records, "worse_than_trivial")
    last = [row["val_size_r2"] for row in records.history][-6:]
    assert finding.outputs == ("size",) and finding.evidence["r2"] == np.median(last) < 0
    assert f"r2 {np.median(last):.4f}" in finding.text


def scored(**measures: tuple[float, float, bool]) -> RunRecords:
    keys = ("value", "baseline", "better")
    own = {name: dict(zip(keys, score, strict=True)) for name, score in measures.items()}
    return RunRecords("scored", {"test": {"kind": own}, "part_rows": {"test": 50}})


def test_equal_to_the_majority_is_no_fault_of_an_output_with_a_better_loss() -> None:
    assert findings(scored(loss=(0.2, 0.3, True), accuracy=(0.95, 0.95, False))) == []
    (finding,) = findings(scored(loss=(0.2, 0.3, True), accuracy=(0.9, 0.95, False)))
    assert finding.confidence == "medium" and "accuracy 0.9000 (trivial 0.9500)" in finding.text
    (finding,) = findings(scored(loss=(0.4, 0.3, False), accuracy=(0.9, 0.95, False)))
    assert finding.confidence == "high" and "the test rows (50)" in finding.text


def test_a_loss_that_falls_while_its_metric_gets_worse(tmp_path: Path) -> None:
    """The loss asks for three times the target: on the way there the error first falls, then grows."""

    def tripled(pred: Tensor, target: Tensor) -> Tensor:
        return (pred - 3 * target).square()

    data = only(make_data(), "price", "size")
    objective = ml.Objective({"price": tripled, "size": "mse"}, metrics={"price": ["mae"], "size": ["mae"]})
    records = train(tmp_path, data, objective=objective, epochs=24, lr=4e-3)
    (finding,) = of_rule(records, "loss_against_metric")
    assert finding.outputs == ("price",) and "validation loss falls while its mae gets worse" in finding.text
    half = [row["val_price_mae"] for row in records.history][12:]
    assert finding.evidence["metric_before"] == np.median(half[:4])
    assert finding.evidence["metric_after"] == np.median(half[-4:]) > np.median(half[:4])
    assert finding.command == 'ml.BestCheckpoint("val_price_mae")'


def test_over_confidence_is_a_loss_that_rises_while_accuracy_improves(tmp_path: Path) -> None:
    """Held-out rows further out than the training's, some labelled wrong: more are right, the wrong ones cost more."""
    g = torch.Generator().manual_seed(0)
    x, held = torch.randn(128, 6, generator=g), 12 * torch.randn(200, 6, generator=g)
    right = [(rows[:, 0] > 0).float() for rows in (x, held)]
    right[1][:30] = 1 - right[1][:30]
    torch.manual_seed(0)
    model = ml.HardSharing(ml.MLP(6, [16]), {"sold": ml.BinaryHead(16), "price": ml.RegressionHead(16)})
    objective = ml.Objective({"sold": "binary_cross_entropy", "price": "mse"}, metrics={"sold": ["accuracy"]})
    records = train(tmp_path, (x, {"sold": right[0], "price": x[:, 1]}), model, objective,
                    validation=(held, {"sold": right[1], "price": held[:, 1] / 12}), epochs=14, lr=2e-3)  # fmt: skip
    (finding,) = of_rule(records, "loss_against_metric")
    assert "sold's validation loss rises while its accuracy gets better" in finding.text
    assert "over-confident" in finding.advice


def test_rank_correlation_is_that_of_scipy() -> None:
    scipy_stats: Any = pytest.importorskip("scipy.stats")
    draw = np.random.default_rng(0)
    for _ in range(20):
        a, b = draw.integers(0, 6, (2, 12)).astype(float)
        assert rank_correlation(list(a), list(b)) == pytest.approx(scipy_stats.spearmanr(a, b).statistic, abs=1e-9)


# ---------------------------------------------------------------------------------------------------- settings


class Apart(nn.Module):
    """Two networks behind one interface."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.price = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 1))
        self.size = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 1))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"price": self.price(x).squeeze(-1), "size": self.size(x).squeeze(-1)}


def test_two_models_in_one(tmp_path: Path) -> None:
    records = train(tmp_path, only(make_data(), "price", "size"), Apart())
    (finding,) = findings(records)
    count = 6 * 8 + 8 + 8 + 1
    assert finding.rule == "shares_nothing" and finding.outputs == ("price", "size")
    assert (
        finding.text
        == f"price ({count} parameters) and size ({count} parameters) share no parameter: two models in one"
    )


def test_outputs_without_labels_in_a_step_do_not_make_models_of_the_others(tmp_path: Path) -> None:
    x, targets = only(make_data(), "price", "size")
    targets["price"][torch.rand(160, generator=torch.Generator().manual_seed(0)) < 0.9] = NAN
    records = train(tmp_path, (x, targets), batch_size=8)
    assert any(flow.absent for flow in records.flows) and of_rule(records, "shares_nothing") == []


def curves(folder: Path, weight: float, optimizer: str) -> tuple[RunRecords, np.ndarray[Any, Any]]:
    objective = ml.Objective("mse", loss_weights={"price": weight})
    records = train(folder, only(make_data(), "price", "size"), Apart(), objective, optimizer=optimizer)
    return records, np.array([row["price_loss"] for row in records.history])


def test_a_weight_that_does_nothing_under_adam(tmp_path: Path) -> None:
    """And it does nothing: the loss of every epoch is the same with weight 1. Under SGD it is not."""
    records, tenth = curves(tmp_path / "a", 0.1, "adam")
    _, one = curves(tmp_path / "b", 1.0, "adam")
    assert np.allclose(tenth, one, rtol=1e-4)
    (finding,) = of_rule(records, "idle_weight")
    assert finding.outputs == ("price",) and finding.evidence["weight"] == 0.1 and finding.confidence == "high"
    assert finding.text.startswith("the weight 0.1 of price does nothing under Adam")
    other, slow = curves(tmp_path / "c", 0.1, "sgd")
    _, fast = curves(tmp_path / "d", 1.0, "sgd")
    assert not np.allclose(slow, fast, rtol=0.1) and of_rule(other, "idle_weight") == []


def test_a_factor_of_all_weights_does_nothing_under_adam(tmp_path: Path) -> None:
    data = only(make_data(), "price", "size")
    halved = ml.Objective("mse", loss_weights=[0.5, 0.5])
    records = train(tmp_path / "a", data, objective=halved)
    plain = train(tmp_path / "b", data)
    assert [row["size_loss"] for row in records.history] == pytest.approx(
        [row["size_loss"] for row in plain.history], rel=1e-4
    )
    (finding,) = findings(records)
    assert finding.rule == "idle_weight" and finding.outputs == ("price", "size")
    assert finding.command == "loss_weights={'price': 1.0, 'size': 1.0}"
    assert overrides(records, "idle_weight") == ["outputs.price.weight=1", "outputs.size.weight=1"]
    penalised = ml.Objective("mse", loss_weights=[0.5, 0.5], penalties=[ml.L2(1e-4)])
    (finding,) = findings(train(tmp_path / "c", data, objective=penalised))
    assert finding.confidence == "low" and "balance with the penalties" in finding.text
    assert findings(train(tmp_path / "d", data, objective=halved, clip=1.0)) == []
    decayed = {"name": "adam", "weight_decay": 1e-4}
    assert findings(train(tmp_path / "e", data, objective=halved, optimizer=decayed)) == []


def test_losses_of_one_output_are_read_as_its_parts(tmp_path: Path) -> None:
    """A loss that returns two terms: each is a row of its own, and nothing is wrong with either."""

    def parts(pred: Tensor, target: Tensor) -> dict[str, Tensor]:
        return {"square": (pred - target).square(), "absolute": (pred - target).abs()}

    objective = ml.Objective({"price": parts, "size": "mse"}, metrics={"price": ["mae"]})
    records = train(tmp_path, only(make_data(), "price", "size"), objective=objective)
    assert records.outputs == ["price/square", "price/absolute", "size"]
    assert findings(records) == [] and losses_of(make_data())["kind"] == "cross_entropy"
