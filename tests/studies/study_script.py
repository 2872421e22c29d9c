"""Runs a study in a process of its own, so that a test may stop it: FOLDER WORKERS; the plan is FOLDER.json."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

from multiloss.core.errors import RunError
from multiloss.studies.plan import Plan
from multiloss.studies.runner import run_plan


def tell(done: int, total: int, running: tuple[str, ...], left: float | None) -> None:
    """Say how far the study is."""
    print(done, total, *running, flush=True)  # noqa: T201


if __name__ == "__main__":
    logging.disable()
    plan = Plan.from_dict(json.loads(Path(f"{sys.argv[1]}.json").read_text()))
    try:
        run_plan(plan, sys.argv[1], workers=int(sys.argv[2]), progress=tell)
    except RunError as error:
        sys.exit(f"RunError: {error}")
