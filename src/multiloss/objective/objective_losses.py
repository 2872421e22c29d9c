"""What an objective returns for one batch."""

from __future__ import annotations

from multiloss.core.losses import Losses
from multiloss.core.records import LedgerRecord, StepTerm
from multiloss.objective.ledger import Ledger
from multiloss.objective.missing import Reduction


class ObjectiveLosses(Losses):
    """The named losses of one step, with an account of their total."""

    __slots__ = ("reduction",)

    def __init__(
        self,
        terms: tuple[StepTerm, ...],
        absent: tuple[str, ...],
        absent_weights: tuple[float, ...],
        reduction: Reduction,
    ) -> None:
        super().__init__(terms, absent, absent_weights)
        self.reduction = reduction

    def ledger(self) -> LedgerRecord:
        """Return what the total of this step is made of; reads the device."""
        ledger = Ledger(reduction=self.reduction)
        ledger.add(self.record())
        return ledger.epoch()
