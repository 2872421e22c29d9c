"""What every balancing method is: options, a preference, and the reuse of its estimates."""

from __future__ import annotations

import math
from abc import ABC
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from multiloss.balancing.by_loss import StateByLoss
from multiloss.balancing.facts import Facts
from multiloss.core.errors import BalancingError, listed, nearest

Array: TypeAlias = npt.NDArray[np.float64]
Heads: TypeAlias = Literal["plain", "weighted"]
Scale: TypeAlias = Literal["paper", "mean", "sum"]
Want: TypeAlias = Literal["losses_after", "epoch_end", "validation"]
PerLoss: TypeAlias = Mapping[str, float] | Sequence[float]
"""A number for each loss, by name or in the order in which the losses are first seen."""


@dataclass(eq=False, repr=False)
class Balancing(StateByLoss, ABC):
    r"""Base of the three kinds of balancing method.

    A method sees the losses that the user weighted, $w_k L_k$, and answers with a factor for each. It keeps state by
    the loss's name, so that a loss without labels in a batch leaves its own state as it was; all state is in
    `state_dict`. It is a dataclass: its options are its fields.

    Args:
        heads: Whether the factors also scale the gradients of parameters that one loss alone reaches.
        scale: The length of the combined update: `"paper"`; or factors whose absolute values add up to 1 (`"mean"`)
            or to the number of losses (`"sum"`), so that a learning rate tuned for the plain mean or sum stays right.
        every: Steps for which one estimate of the factors is used.
        ema: Smoothing of the factors, $a\,w_{t-1} + (1 - a)\,\hat w_t$ (CR-MOGM, Zhou et al., 2022,
            https://openreview.net/forum?id=ScwfQ7hdwyP); 0 for none.
        preference: Factors by name, or in order; used up to a common factor.

    Attributes:
        note: What the latest step did that is not the method's plain rule.
    """

    name: ClassVar[str]
    facts: ClassVar[Facts]
    wants: ClassVar[frozenset[Want]] = frozenset()
    """What a loop has to bring: losses after the step, the end of an epoch, validation losses."""
    takes_preference: ClassVar[bool] = False
    positive: ClassVar[bool] = False
    """Whether losses have to be above zero."""
    needs: ClassVar[str]
    """What it is given, in a word."""
    sums: ClassVar[bool] = True
    """Whether shared parameters get the sum of this step's gradients times the factors, and nothing else."""
    options_by_name: ClassVar[tuple[str, ...]] = ("preference",)
    """Options that may be mappings by loss."""

    heads: Heads = field(default="weighted", kw_only=True)
    scale: Scale = field(default="paper", kw_only=True)
    every: int = field(default=1, kw_only=True)
    ema: float = field(default=0.0, kw_only=True)
    preference: PerLoss | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        StateByLoss.__init__(self)
        self.note = ""
        self._age: dict[str, int] = {}
        self._checked = False
        problems = self.problems()
        if problems:
            raise BalancingError(listed(problems, self.name))

    def problems(self) -> list[str]:
        """Return what is wrong with the options; a method adds its own to these."""
        found = []
        if self.heads not in ("plain", "weighted"):
            found.append(f"heads: expected 'plain' or 'weighted', found {self.heads!r}")
        if self.scale not in ("paper", "mean", "sum"):
            found.append(f"scale: expected 'paper', 'mean' or 'sum', found {self.scale!r}")
        if type(self.every) is not int or self.every < 1:
            found.append(f"every: expected a whole number of steps >= 1, found {self.every!r}")
        if not is_number(self.ema) or not 0 <= self.ema < 1:
            found.append(f"ema: expected a number from 0 to below 1, found {self.ema!r}")
        if self.preference is not None:
            found += self._preference_problems(self.preference)
        return found

    def _preference_problems(self, preference: PerLoss) -> list[str]:
        if not self.takes_preference:
            return ["preference: this method has no place for one; weigh the losses themselves (loss_weights)"]
        if not isinstance(preference, Mapping | list | tuple):
            return [f"preference: expected factors by name or a list of them, found {preference!r}"]
        return given_problems("preference", preference, low=0)

    # ------------------------------------------------------------------ the losses of this step

    def expect(self, names: Sequence[str]) -> None:
        """Say which losses there will be, and in which order, before the first step; a loop of your own may.

        Options in order then mean this order, not that of first sight, and misspelt names are found.

        Raises:
            BalancingError: If an option names another loss.
        """
        problems = [
            f"{option} for unknown loss {name!r}. {nearest(name, names)}"
            for option in self.options_by_name
            for name in _by_name(getattr(self, option))
            if name not in names
        ]
        if problems:
            raise BalancingError(listed(problems, self.name))
        last: Tensor = self.last  # type: ignore[assignment]
        self.begin([*self.names, *(name for name in names if name not in self.names)], last.device)

    def begin(self, names: Sequence[str], device: torch.device) -> None:
        """Say which losses this step has; their state is what `take` returns."""
        self.note = ""
        super().begin(names, device)

    def given_for(self, option: str, given: PerLoss, default: float) -> list[float]:
        """Return an option's numbers for the losses of this step; `default` where a name is left out.

        Raises:
            BalancingError: If they were given in order and there are more losses than numbers.
        """
        if isinstance(given, Mapping):
            return [float(given.get(name, default)) for name in self.present]
        if len(given) < len(self.names):
            raise BalancingError(
                f"{self.name}: {option}: expected a number for each of {', '.join(self.names)}, found {len(given)}. "
                "Give them by name, or one for each in order"
            )
        return [float(given[row]) for row in self.rows]

    def preferred(self) -> Array:
        """Return the preference of this step's losses, `[m]`, adding up to m; ones where none was given.

        Raises:
            BalancingError: If it was given in order, and there are more losses than entries.
        """
        if self.preference is None:
            return np.ones(len(self.rows))
        given = np.array(self.given_for("preference", self.preference, 1.0))
        return np.asarray(given * (len(given) / given.sum()))

    # ------------------------------------------------------------------ estimates and their reuse

    def due(self, names: Sequence[str]) -> bool:
        """Return whether this step needs a new estimate, not the factors of an earlier one."""
        return self.every == 1 or any(self._age.get(name, self.every) >= self.every for name in names)

    def reused(self, names: Sequence[str], device: torch.device) -> Tensor:
        """Return the factors of the latest estimate, `[m]`, for a step that needs no new one."""
        self.begin(names, device)
        self.note = f"weights of {max(self._age[name] for name in names)} steps ago"
        for name in names:
            self._age[name] += 1
        return self.take("last")

    def _finish(self, weights: Tensor) -> Tensor:
        """Bring an estimate to its scale, smooth it, and keep it where it will be used again."""
        if self.scale != "paper":
            length = weights.abs().sum(-1, keepdim=True)
            factor = (weights.shape[-1] if self.scale == "sum" else 1) / length
            weights = weights * torch.where(length > 0, factor, torch.ones_like(factor))
        if weights.dim() == 1 and (self.every > 1 or self.ema):
            last = self.take("last")
            if self.ema:
                weights = torch.where(last.isnan(), weights, self.ema * last + (1 - self.ema) * weights)
            self.put("last", weights)
            self._age |= dict.fromkeys(self.present, 1)
        return weights

    # ------------------------------------------------------------------ what a loop brings, where `wants` asks for it

    def after_step(self, names: Sequence[str], losses: Tensor) -> None:
        """See the same losses, on the same batch, after the optimiser's step (`"losses_after"`)."""

    def end_epoch(self) -> None:
        """Learn that an epoch has ended (`"epoch_end"`)."""

    def see_validation(self, names: Sequence[str], losses: Tensor) -> None:
        """See losses of a batch that is held out (`"validation"`)."""

    # ------------------------------------------------------------------ what its rule rests on

    def own_factors(self) -> Tensor | None:
        """Return factors `[m]` of this step for parameters that one loss alone reaches, where `heads` is `"plain"`.

        `None`, as nearly always, for ones: such a parameter gets the gradient of its loss as it is.
        """
        return None

    def _check_sign(self, names: Sequence[str], losses: Tensor) -> None:
        """Refuse negative losses where the rule needs it; on an accelerator in the first step only, as asking waits."""
        if self.positive and (losses.device.type == "cpu" or not self._checked):
            self._checked = True
            self.refuse_negative(names, losses.tolist())

    def refuse_negative(self, names: Sequence[str], losses: Sequence[float]) -> None:
        """Raise where a loss is below zero and the method's rule has no meaning for it."""
        for name, value in zip(names, losses, strict=True):
            if value < 0:
                raise BalancingError(
                    f"{self.name}: expected losses of 0 or more, found {value:g} for {name!r}. Its rule takes "
                    "their logarithm or their ratio: choose a method on gradients, or shift the loss"
                )

    # ------------------------------------------------------------------ options and state as plain data

    @classmethod
    def passes(cls) -> str:
        """Return how many backward passes a step takes; m losses."""
        return cls.facts.passes or ("1" if cls.needs == "losses" else "m")

    def options(self) -> dict[str, Any]:
        """Return the name and the options that are not at their default, as `resolve_balancing` reads them."""
        changed = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}
        return {"name": self.name, **changed}

    def extra_repr(self) -> str:
        """Return the options that are not at their default."""
        return ", ".join(f"{key}={value!r}" for key, value in self.options().items() if key != "name")

    @property
    def remembers(self) -> bool:
        """Whether a step depends on earlier ones, so that the method must be made once and kept."""
        return len(self._kept) > 1 or self.generator is not None or self.every > 1 or self.ema > 0

    def get_extra_state(self) -> dict[str, Any]:
        """Return what is no tensor by loss: names, counters and the generator."""
        return {**super().get_extra_state(), "method": self.name, "age": dict(self._age)}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Restore what `get_extra_state` returned."""
        if state["method"] != self.name:
            raise BalancingError(f"expected the state of {self.name}, found that of {state['method']}")
        super().set_extra_state(state)
        self._age = dict(state["age"])


def is_number(value: object) -> bool:
    """Return whether a value is a real number that is not a truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)


def given_problems(option: str, given: PerLoss, low: float = -math.inf) -> list[str]:
    """Return a sentence for each number that is not finite or not above `low`."""
    pairs = given.items() if isinstance(given, Mapping) else enumerate(given)
    wanted = "a finite number" if low == -math.inf else f"a finite number > {low:g}"
    return [
        f"{option} of {key!r}: expected {wanted}, found {value!r}"
        for key, value in pairs
        if not is_number(value) or not low < value < math.inf
    ]


def _by_name(option: object) -> list[str]:
    """Return the names in an option that is a mapping by name, or a list of names."""
    found = list(option) if isinstance(option, Mapping | list | tuple) else []
    return [name for name in found if isinstance(name, str)]
