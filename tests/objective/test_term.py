"""One addend: masking equals selection, whatever the loss, the weights and the reduction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from multiloss.core.errors import ObjectiveError
from multiloss.objective.losses import resolve_loss
from multiloss.objective.missing import Reduction
from multiloss.objective.term import LossTerm

NAN = float("nan")
B = 9


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def classes(high: int, *shape: int) -> Tensor:
    return torch.randint(0, high, shape, generator=torch.Generator().manual_seed(3))


KEEP = torch.tensor([True, False, True, True, False, True, True, False, True])
ONE, THREE, WEIGHT = random(B, seed=1), random(B, 3, seed=2), random(B, seed=4).abs()

NAMED: list[tuple[Any, Tensor, Tensor]] = [
    ("mse", ONE, random(B)), ("mae", ONE, random(B)), ("huber", ONE, random(B)), ("smooth_l1", ONE, random(B)),
    ("log_cosh", ONE, random(B)), ("quantile", ONE, random(B)), ("poisson", ONE, random(B).abs()),
    ({"name": "quantile", "quantiles": [0.1, 0.5, 0.9]}, THREE, random(B)),
    ("gaussian_nll", THREE[:, :2], random(B)), ("binary_cross_entropy", ONE, classes(2, B).double()),
    ("binary_cross_entropy", ONE, classes(2, B)), ("hinge", ONE, classes(2, B).double()),
    ("focal", ONE, classes(2, B).double()), ("focal", THREE, classes(3, B)), ("cross_entropy", THREE, classes(3, B)),
    ({"name": "cross_entropy", "class_weight": [1.0, 2.0, 0.5]}, THREE, classes(3, B)),
    ("cross_entropy", THREE, random(B, 3).softmax(1)), ("ordinal", THREE, classes(4, B)),
    ("cosine", THREE, random(B, 3)), ("mse", THREE, random(B, 3)),
]  # fmt: skip
CUSTOM: list[tuple[Any, Tensor, Tensor]] = [
    (lambda p, y: (p - y).square().mean(), ONE, random(B)),
    (lambda p, y: (p - y).square(), ONE, random(B)),
    (lambda p, y: (p - y).square(), THREE, random(B, 3)),
    (lambda p, y: (p - y).square().sum(1), THREE, random(B, 3)),
    (lambda p, y: torch.nn.functional.cross_entropy(p, y), THREE, classes(3, B)),
    (lambda p, y: {"ce": (p - y).abs(), "kl": p.square().mean()}, ONE, random(B)),
]


def blanked(target: Tensor, keep: Tensor = KEEP) -> Tensor:
    target = target.clone()
    target[~keep] = NAN if target.is_floating_point() else -100
    return target


def reduced(
    spec: Any, pred: Tensor, target: Tensor, weight: Tensor | None = None, reduction: Reduction = "labelled"
) -> tuple[dict[str, Tensor], Tensor | None, list[Any]]:
    leaf = pred.clone().requires_grad_()
    parts = LossTerm("y", resolve_loss(spec), reduction).reduce(leaf, target, weight, None)
    if parts and any(part.value.requires_grad for part in parts):
        sum(part.value for part in parts).backward()  # type: ignore[union-attr]
    return {part.name: part.value.detach() for part in parts}, leaf.grad, parts


@pytest.mark.parametrize(("spec", "pred", "target"), [*NAMED, *CUSTOM])
def test_masking_is_selecting(spec: Any, pred: Tensor, target: Tensor) -> None:
    values, gradient, parts = reduced(spec, pred, blanked(target))
    expected, selected, _ = reduced(spec, pred[KEEP], target[KEEP])
    assert values.keys() == expected.keys() and gradient is not None and selected is not None
    for name, value in values.items():
        torch.testing.assert_close(value, expected[name], rtol=1e-13, atol=0)
    torch.testing.assert_close(gradient[KEEP], selected, rtol=1e-13, atol=1e-15)
    assert torch.equal(gradient[~KEEP], torch.zeros_like(gradient[~KEEP]))
    assert {float(part.denominator) for part in parts} <= {6.0, 18.0}


@pytest.mark.parametrize("bad", [NAN, float("inf")])
@pytest.mark.parametrize(("spec", "pred", "target"), [*NAMED, *CUSTOM])
def test_what_stands_at_a_missing_label_does_not_matter(spec: Any, pred: Tensor, target: Tensor, bad: float) -> None:
    spoilt = pred.clone()
    spoilt[~KEEP] = bad
    values, gradient, _ = reduced(spec, spoilt, blanked(target))
    expected, clean, _ = reduced(spec, pred, blanked(target))
    assert values == expected
    assert gradient is not None and clean is not None and torch.equal(gradient, clean)


@pytest.mark.parametrize("keep", [KEEP, torch.ones(B, dtype=torch.bool)], ids=["some", "all"])
@pytest.mark.parametrize(("spec", "pred", "target"), [*NAMED, *list(CUSTOM[1:4])])
def test_sample_weights(spec: Any, pred: Tensor, target: Tensor, keep: Tensor) -> None:
    loss = resolve_loss(spec)
    rows = loss.elementwise(pred[keep], target[keep])
    rows = rows.flatten(1).mean(1) if rows.dim() > 1 else rows
    summed = (rows * WEIGHT[keep]).sum().item()
    values, gradient, parts = reduced(spec, pred, blanked(target, keep), WEIGHT)
    assert values["y"].item() == pytest.approx(summed / WEIGHT[keep].sum().item(), rel=1e-12)
    whole, _, kept = reduced(spec, pred, blanked(target, keep), WEIGHT, "batch")
    assert whole["y"].item() == pytest.approx(summed / B, rel=1e-12)
    for part, name in ((parts[0], "y"), (kept[0], "y")):
        assert part.name == name and torch.isfinite(part.value)
    ones, flat, _ = reduced(spec, pred, blanked(target, keep), torch.ones(B, dtype=torch.float64))
    plain, gradient, _ = reduced(spec, pred, blanked(target, keep))
    torch.testing.assert_close(ones["y"], plain["y"], rtol=1e-12, atol=0)
    torch.testing.assert_close(flat, gradient, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(("spec", "pred", "target"), [*NAMED, *CUSTOM])
def test_dividing_by_the_batch(spec: Any, pred: Tensor, target: Tensor) -> None:
    labelled, _, _ = reduced(spec, pred, blanked(target))
    batch, _, _ = reduced(spec, pred, blanked(target), reduction="batch")
    for name, value in batch.items():
        assert value.item() == pytest.approx(labelled[name].item() * 6 / 9, rel=1e-12)
    full, _, _ = reduced(spec, pred, target, reduction="batch")
    assert full == reduced(spec, pred, target)[0]


@pytest.mark.parametrize("rule", ["labelled", "batch"])
@pytest.mark.parametrize(("spec", "pred", "target"), [NAMED[0], NAMED[14], CUSTOM[1]])
def test_weights_of_zero(spec: Any, pred: Tensor, target: Tensor, rule: Reduction) -> None:
    """Ten times the difference: eight of nine weights are 0."""
    weight = torch.zeros(B)
    weight[2] = 1.0
    loss = resolve_loss(spec).elementwise(pred, target)[2].item()
    values, gradient, parts = reduced(spec, pred, target, weight, rule)
    assert values["y"].item() == pytest.approx(loss if rule == "labelled" else loss / B, rel=1e-12)
    assert float(parts[0].denominator) == (1.0 if rule == "labelled" else 9.0)
    nothing, gradient, parts = reduced(spec, pred, target, torch.zeros(B), rule)
    assert nothing["y"].item() == 0 and gradient is not None and not gradient.any()


@pytest.mark.parametrize(("spec", "pred", "target"), [*NAMED, *CUSTOM])
def test_no_label_is_no_value(spec: Any, pred: Tensor, target: Tensor) -> None:
    nothing = blanked(target, torch.zeros(B, dtype=torch.bool))
    assert reduced(spec, pred, nothing) == ({}, None, [])
    values, gradient, parts = reduced(spec, pred, nothing, reduction="batch")
    assert gradient is None
    if parts:  # the mean over a batch that holds nothing is 0, and says so
        assert values["y"].item() == 0 and parts[0].labels == 0 and float(parts[0].denominator) >= B
    assert reduced(spec, pred[:0], target[:0])[0] == {}


class Elsewhere(Tensor):
    """A tensor on the CPU that says, when first asked, that it is on an accelerator: there the host counts nothing."""

    asked = False

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        first, Elsewhere.asked = not Elsewhere.asked, True
        return torch.device("cuda" if first else "cpu")


@pytest.mark.parametrize("rule", ["labelled", "batch"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("missing", ["none", "some", "all"])
@pytest.mark.parametrize(("spec", "pred", "target"), NAMED)
def test_an_accelerator_that_counts_for_itself_finds_the_same(
    spec: Any, pred: Tensor, target: Tensor, missing: str, weighted: bool, rule: Reduction
) -> None:
    keep = {"none": torch.ones(B, dtype=torch.bool), "some": KEEP, "all": torch.zeros(B, dtype=torch.bool)}[missing]
    target, weight = blanked(target, keep), WEIGHT if weighted else None
    values, gradient, parts = reduced(spec, pred, target, weight, rule)
    Elsewhere.asked = False
    found, flowed, elsewhere = reduced(spec, pred, target.as_subclass(Elsewhere), weight, rule)
    assert flowed is not None and isinstance(elsewhere[0].labels, Tensor)
    assert int(elsewhere[0].labels) == (parts[0].labels if parts else 0)
    if missing == "all":
        assert found["y"].item() == 0 and not flowed.any()
        assert float(elsewhere[0].denominator) == (0 if rule == "labelled" else float(parts[0].denominator))
        return
    torch.testing.assert_close(found["y"].as_subclass(Tensor), values["y"], rtol=1e-13, atol=0)
    torch.testing.assert_close(flowed.as_subclass(Tensor), gradient, rtol=1e-12, atol=1e-15)
    assert float(elsewhere[0].denominator) == pytest.approx(float(parts[0].denominator))


def test_vectors_with_gaps() -> None:
    target = random(B, 3, seed=5)
    gaps = target.clone()
    gaps[0, 1] = gaps[4] = NAN
    _, gradient, parts = reduced("mse", THREE, gaps)
    mask = ~gaps.isnan()
    assert parts[0].value.item() == pytest.approx((THREE - target)[mask].square().mean().item(), rel=1e-13)
    assert (parts[0].labels, float(parts[0].denominator)) == (23, 23.0)
    assert gradient is not None and torch.equal(gradient == 0, ~mask)
    rows = mask.all(1)
    for spec in ("cosine", lambda p, y: (1 - torch.cosine_similarity(p, y)).mean()):
        value = reduced(spec, THREE, gaps)[2][0]
        assert value.value.item() == pytest.approx(
            (1 - torch.cosine_similarity(THREE[rows], target[rows])).mean().item(), rel=1e-12
        )
        assert float(value.denominator) == 7.0


def test_parts_are_named_after_the_output() -> None:
    values, _, parts = reduced(CUSTOM[-1][0], ONE, blanked(random(B)))
    assert values["y/ce"].item() == pytest.approx((ONE - random(B)).abs()[KEEP].mean().item())
    assert values["y/kl"].item() == pytest.approx(ONE[KEEP].square().mean().item())
    assert [part.labels for part in parts] == [6, 6]


@pytest.mark.parametrize("missing", [False, True])
def test_a_loss_of_ones_own_never_sees_a_row_without_label(missing: bool) -> None:
    seen = []

    def own(pred: Tensor, target: Tensor) -> Tensor:
        seen.append((len(pred), bool(target.isnan().any())))
        return (pred - target).square()

    reduced(own, ONE, blanked(random(B)) if missing else random(B))
    assert seen == [(6 if missing else 9, False)]


WRONG: list[tuple[Callable[..., Any], Tensor | None, str]] = [
    (lambda p, y: 0.5, None, "loss of 'y': expected a tensor or a dict of tensors, found 0.5"),
    (lambda p, y: None, None, "found None"),
    (lambda p, y: {}, None, "found {}"),
    (lambda p, y: {"ce": 1}, None, "loss of 'y/ce': .* found 1"),
    (lambda p, y: (p - y).mean(), WEIGHT, "'y': expected one value per sample, because sample_weight is given"),
    (lambda p, y: (p - y)[:2], WEIGHT, r"weights of shape \(9,\), found \(2,\)"),
    (lambda p, y: p - y, WEIGHT[:, None].expand(B, 3), r"weights of shape \(9, 3\), found \(9,\)"),
]


@pytest.mark.parametrize(("function", "weight", "words"), WRONG)
def test_wrong_functions(function: Callable[..., Any], weight: Tensor | None, words: str) -> None:
    with pytest.raises(ObjectiveError, match=words):
        reduced(function, ONE, random(B), weight)


def test_weights_of_the_values_own_shape() -> None:
    weight = random(B, 3, seed=9).abs()
    target = random(B, 3)
    expected = ((THREE - target).square() * weight).sum().item() / weight.sum().item()
    for spec in ("mse", lambda p, y: (p - y).square()):
        assert reduced(spec, THREE, target, weight)[0]["y"].item() == pytest.approx(expected, rel=1e-12)


def test_a_mapping_of_any_kind_is_parts() -> None:
    class Parts(Mapping[str, Tensor]):
        def __getitem__(self, key: str) -> Tensor:
            return torch.tensor(2.0)

        def __iter__(self) -> Any:
            return iter(["p"])

        def __len__(self) -> int:
            return 1

    assert reduced(lambda p, y: Parts(), ONE, random(B))[0] == {"y/p": torch.tensor(2.0)}
