"""Findings as text: what was found, how sure it is, and what to do about it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from multiloss.cli.show import say
from multiloss.core.run_files import CONFIG

if TYPE_CHECKING:
    from multiloss.diagnosis.findings import Finding


def print_findings(findings: Sequence[Finding], run: Path) -> None:
    """Print findings of a run folder, the most important first; nothing where there is none."""
    if not findings:
        return
    say("findings")
    for number, finding in enumerate(findings, 1):
        say(f"{number}. {finding.rule} ({finding.confidence} confidence): {finding.text}.")
        say(f"   {finding.advice}" + (":" if finding.command else ""))
        if finding.command:
            config = shlex.quote(str(run / CONFIG))
            print(f"     {finding.command.replace(f' {CONFIG}', f' {config}', 1)}", flush=True)
