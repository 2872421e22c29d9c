"""Findings as text: what was found, how sure it is, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from multiloss.cli.show import say

if TYPE_CHECKING:
    from multiloss.diagnosis.findings import Finding


def print_findings(findings: Sequence[Finding]) -> None:
    """Print findings, the most important first; nothing where there is none."""
    if not findings:
        return
    say("findings")
    for number, finding in enumerate(findings, 1):
        say(f"{number}. {finding.rule} ({finding.confidence} confidence): {finding.text}")
        say(f"   {finding.advice}" + (":" if finding.command else ""))
        if finding.command:
            print(f"     {finding.command}", flush=True)
