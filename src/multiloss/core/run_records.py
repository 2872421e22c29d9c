"""Everything that the records of a run say, read once: what findings and reports are made from."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from multiloss.core.errors import RunError
from multiloss.core.flow import GradientFlow
from multiloss.core.records import LedgerRecord
from multiloss.core.run_files import CONFIG, GRADIENTS, HISTORY, LEDGER, read_lines, read_run_json


@dataclass(frozen=True)
class RunRecords:
    """The records of one run, which may still be under way.

    Args:
        name: What to call the run: the name of its folder.
        facts: What `run.json` holds.
        history: The logs of each epoch, as `history.jsonl` holds them.
        ledgers: The account of each epoch and split.
        flows: The gradient flow of the watched steps.
        config: The text of `config.yaml`, where there is one.
    """

    name: str
    facts: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    ledgers: list[LedgerRecord] = field(default_factory=list)
    flows: list[GradientFlow] = field(default_factory=list)
    config: str | None = None

    @classmethod
    def read(cls, folder: str | Path) -> RunRecords:
        """Read a run folder; an unfinished last line of a run under way is left out.

        Raises:
            RunError: If the folder is no run, of another version, or damaged.
        """
        path = Path(folder)
        facts = read_run_json(path)
        try:
            ledgers = [LedgerRecord.from_dict(line) for line in read_lines(path / LEDGER)]
            flows = [GradientFlow.from_dict(line) for line in read_lines(path / GRADIENTS)]
        except (TypeError, KeyError) as error:
            raise RunError(f"{path}: expected the records of a run ({error}). The run folder is damaged") from error
        config = path / CONFIG
        text = config.read_text() if config.is_file() else None
        return cls(path.resolve().name, facts, read_lines(path / HISTORY), ledgers, flows, text)

    def split(self, name: str) -> list[LedgerRecord]:
        """Return the accounts of one split, `train` or `validation`, epoch by epoch."""
        return [record for record in self.ledgers if record.split == name]

    @property
    def outputs(self) -> list[str]:
        """The losses of the total, in order."""
        return list(dict.fromkeys(term.name for record in self.ledgers for term in record if term.kind == "loss"))
