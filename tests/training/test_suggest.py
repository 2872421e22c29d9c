"""Suggested weights: what they promise holds when it is measured again, and nothing is changed by asking."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from training_tasks import make_data, make_model, make_objective, same, state

import multiloss as ml


def by_rule(found: list[ml.WeightSuggestion]) -> dict[str, ml.WeightSuggestion]:
    return {one.rule: one for one in found}


def test_one_batch_gradient_norms_are_equal_under_the_suggested_weights() -> None:
    x, targets = make_data()
    model, old = make_model(), {"price": 3.0, "kind": 0.5, "sold": 1.0}
    found = by_rule(ml.suggest_weights(model, make_objective(old), (x, targets), batch_size=len(x)))
    weights = found["gradient norms"].weights
    before = ml.gradient_flow(make_objective(old)(model(x), targets), model).norms
    after = ml.gradient_flow(make_objective(weights)(model(x), targets), model).norms
    mean = sum(before.values()) / 3
    for name, norm in after.items():
        assert norm == pytest.approx(mean, rel=6e-3)  # weights have three digits
        assert found["gradient norms"].measured[name] == pytest.approx(before[name] / old[name], rel=1e-5)


def test_loss_scales_make_contributions_equal_and_keep_the_total() -> None:
    x, targets = make_data(missing=0.3)
    old = {"price": 3.0, "kind": 0.5, "sold": 1.0}
    model = make_model()
    found = by_rule(ml.suggest_weights(model, make_objective(old), (x, targets), batch_size=7))
    record = ml.Trainer(make_model(), make_objective(old), progress=False, device="cpu").evaluate((x, targets)).ledger
    new = found["loss scales"].weights
    parts = [new[name] * (record[name].value or 0.0) for name in old]
    assert parts == pytest.approx([record.total / 3] * 3, rel=6e-3)


def test_label_counts_make_every_label_count_the_same() -> None:
    x, targets = make_data()
    targets["price"][5:] = torch.nan  # 5 of 53
    found = by_rule(ml.suggest_weights(make_model(), make_objective(), (x, targets)))["label counts"]
    assert found.measured == {"price": 5.0, "kind": 53.0, "sold": 53.0}
    per_label = [found.weights[name] / count for name, count in found.measured.items()]
    assert per_label == pytest.approx([3 / 111] * 3, rel=6e-3)
    assert "labels: price 5, kind 53, sold 53" in found.reason


def test_gradient_norms_are_the_root_mean_square_over_batches_with_labels() -> None:
    x, targets = make_data(rows=40)
    targets["price"][:] = torch.nan
    targets["price"][[3, 17]] = 1.0
    model = make_model()
    found = by_rule(ml.suggest_weights(model, make_objective(), (x, targets), batch_size=1))["gradient norms"]
    squares = []
    for row in (3, 17):
        own = {name: target[row : row + 1] for name, target in targets.items()}
        flow = ml.gradient_flow(make_objective()(model(x[row : row + 1]), own), model)
        squares.append(flow.norms["price"] ** 2)
    assert found.measured["price"] == pytest.approx((sum(squares) / 2) ** 0.5, rel=1e-5)


def test_nothing_is_changed_by_asking() -> None:
    model = make_model(dropout=0.4, norm="batch").eval()
    before, random = state(model), torch.get_rng_state()
    ml.suggest_weights(model, make_objective(penalty=0.1), make_data(), batch_size=16)
    assert same(before, state(model)) and not model.training
    assert torch.equal(random, torch.get_rng_state())
    assert all(p.grad is None for p in model.parameters())


def test_a_line_to_paste() -> None:
    one = ml.WeightSuggestion("loss scales", {"price": 0.5, "kind": 12.0}, {}, "")
    assert one.line == "loss_weights={'price': 0.5, 'kind': 12}"
    assert one.overrides == "outputs.price.weight=0.5 outputs.kind.weight=12"
    objective = eval(f"ml.Objective({{'price': 'mse', 'kind': 'mse'}}, {one.line})", {"ml": ml})
    assert dict(objective.loss_weights) == {"price": 0.5, "kind": 12}


def test_what_cannot_be_suggested_is_said() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(5, 1), nn.Linear(5, 1)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"a": self.a(x)[:, 0], "b": self.b(x)[:, 0]}

    x, targets = make_data()
    found = ml.suggest_weights(
        Two(), ml.Objective({"a": "mse", "b": "mse"}), (x, {"a": targets["price"], "b": x[:, 1]})
    )
    assert [one.rule for one in found] == ["loss scales"]
    assert any("no two losses share a parameter" in note for note in found.notes)
    assert "label counts: every output has the same number of labels" in str(found)


def test_a_present_weight_of_zero_or_a_schedule_counts_as_one() -> None:
    x, targets = make_data()
    plain = by_rule(ml.suggest_weights(make_model(), make_objective(), (x, targets)))
    for weight in (0.0, ml.ramp(0, 0.5, epochs=5)):
        objective = make_objective({"price": 1.0, "kind": weight, "sold": 1.0})
        found = by_rule(ml.suggest_weights(make_model(), objective, (x, targets)))
        assert {rule: one.weights for rule, one in found.items()} == {r: one.weights for r, one in plain.items()}
        assert min(found["gradient norms"].weights.values()) > 0


def test_one_output_with_labels_says_so() -> None:
    x, targets = make_data()
    targets = {
        **targets,
        "kind": torch.full_like(targets["kind"], -100),
        "sold": torch.full_like(targets["sold"], torch.nan),
    }
    found = ml.suggest_weights(make_model(), make_objective(), (x, targets))
    assert found == [] and "gradient norms: only price has labels" in found.notes


def test_data_without_labels_is_an_error() -> None:
    x, targets = make_data(rows=8)
    targets = {
        "price": torch.full((8,), torch.nan),
        "kind": torch.full((8,), -100),
        "sold": torch.full((8,), torch.nan),
    }
    with pytest.raises(ml.DataError, match="found none"):
        ml.suggest_weights(make_model(), make_objective(), (x, targets))
