"""The plan for a table: what each column is used for, as which kind, and why."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast

from multiloss.core.text_table import aligned
from multiloss.core.types import Kind

Role: TypeAlias = Literal["input", "output", "weight", "unused"]

WEIGHT_SUFFIX = "__weight"
"""A column `<output>__weight` holds the sample weights of that output."""


@dataclass(frozen=True)
class ColumnPlan:
    """What one column is used for.

    Args:
        name: The column.
        role: Its use; "weight" is the sample weight of an output.
        kind: For an output one of `multiloss.core.types.KINDS`; for an input "number" or "category"; for a weight
            "number"; else "unused".
        reason: Why, in words, for the printed table.
    """

    name: str
    role: Role
    kind: str
    reason: str


def output_kinds(plans: Iterable[ColumnPlan]) -> dict[str, Kind]:
    """Return the kind of each output, in order.

    Examples:
        >>> output_kinds([ColumnPlan("price", "output", "regression", "given")])
        {'price': 'regression'}
    """
    return {plan.name: cast(Kind, plan.kind) for plan in plans if plan.role == "output"}


def describe_plans(plans: Iterable[ColumnPlan]) -> str:
    """Return the plans as an aligned table: column, role, kind, reason.

    Examples:
        >>> print(describe_plans([ColumnPlan("price", "output", "regression", "given")]))
        column  role    kind        reason
        price   output  regression  given
    """
    return aligned([("column", "role", "kind", "reason"), *((p.name, p.role, p.kind, p.reason) for p in plans)])
