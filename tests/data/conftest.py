from __future__ import annotations

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture
def shared() -> Path:
    """The folder of real tables beside the repository."""
    if not SHARED.is_dir():
        pytest.skip("the shared tables are not beside this checkout")
    return SHARED
