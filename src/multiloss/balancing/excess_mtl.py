"""ExcessMTL: weigh by an estimate of what is left to learn (https://arxiv.org/abs/2402.02009)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor

from multiloss.balancing.base import Heads, is_number
from multiloss.balancing.facts import Facts
from multiloss.balancing.kinds import JacobianAggregator
from multiloss.balancing.memory import remembered


@dataclass(eq=False, repr=False)
class ExcessMTL(JacobianAggregator):
    r"""Raise the weight of the losses that are far from their own optimum, whatever noise that optimum has.

    The excess risk of loss i over its optimum is estimated from its gradient and a diagonal Hessian made of all its
    gradients so far, as Adagrad's:

    $$ S_i \leftarrow S_i + g_i \odot g_i, \qquad e_i = g_i^\top \mathrm{diag}(S_i)^{-1/2} g_i, \qquad
       w_i \leftarrow \frac{w_i \exp(\eta\, e_i / e_i^{(1)})}{\sum_j w_j \exp(\eta\, e_j / e_j^{(1)})}, \qquad
       d = \sum_i w_i g_i $$

    where $e_i^{(1)}$ is the loss's first estimate, so that the result does not change when a loss is multiplied by a
    number. Weights begin at 1/m, and are still equal in the first step.

    Source: He, Zhou, Zhang, Yun, Xu, Zeng, Chilimbi, Zhao, "Robust Multi-Task Learning with Excess Risks", ICML 2024,
    https://arxiv.org/abs/2402.02009, from the paper: the authors' code has no licence. LibMTL has weights that add up
    to m; TorchJD takes the first step's estimate unscaled, and can take the mean over a warm-up in place of the first
    estimate. Both add 1e-7 under the root. eta is LibMTL's. Weights scale the heads too. The memory is one row for
    each loss. The update is a mean by nature; `scale="sum"` multiplies it, and the factors, by m.

    Args:
        eta: Step size of the weights.

    Examples:
        >>> method = ExcessMTL()
        >>> update, weights = method.update(["a", "b"], torch.tensor([[3.0, 0.0], [0.0, 1.0]]), torch.ones(2))
        >>> update, weights
        (tensor([1.5000, 0.5000]), tensor([0.5000, 0.5000], dtype=torch.float64))
    """

    name: ClassVar[str] = "excess_mtl"
    sums: ClassVar[bool] = True
    facts: ClassVar[Facts] = Facts(
        paper="He et al., 2024",
        title="Robust Multi-Task Learning with Excess Risks",
        link="https://arxiv.org/abs/2402.02009",
        when="some outputs have noisy labels: a loss that is high because of noise must not rule",
        avoid="a large trunk with many losses (memory)",
        state="squared gradients, a first estimate and a weight for each loss",
    )
    natural: ClassVar[Literal["mean", "sum"]] = "mean"

    eta: float = 0.01
    heads: Heads = field(default="weighted", kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.keep("squares", 0.0, (0,))
        self.keep("first", 0.0)
        self.keep("logit", 0.0)

    def problems(self) -> list[str]:
        """Return what is wrong with the options."""
        wrong = not is_number(self.eta) or not 0 < self.eta < math.inf
        return super().problems() + ([f"eta: expected a number > 0, found {self.eta!r}"] if wrong else [])

    def aggregate(self, jacobian: Tensor, losses: Tensor, features: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return the weighted sum of the gradients."""
        before = remembered(self, "squares", jacobian)
        if self.note:
            self.keep("first", 0.0)
        squares = before + jacobian**2
        self.put("squares", squares)
        estimate = torch.where(squares > 0, jacobian**2 / squares.sqrt(), torch.zeros_like(squares)).sum(1)
        estimate = estimate.to(losses.dtype)
        first = self.take("first")
        first = torch.where(first > 0, first, estimate)
        self.put("first", first)
        relative = torch.where(first > 0, estimate / first, torch.ones_like(first))
        old = self.take("logit")
        new = old + self.eta * torch.where(relative.isfinite(), relative, torch.zeros_like(relative))
        # the losses of a step share among them what they had together
        self.put("logit", new + old.logsumexp(0) - new.logsumexp(0))
        weights = new.softmax(0)
        return weights.to(jacobian.dtype) @ jacobian, weights
