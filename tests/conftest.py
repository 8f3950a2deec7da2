"What the tests share."

from __future__ import annotations

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def recordings() -> list[Path]:
    "Real recordings, where the checkout has them beside it."
    files = sorted((SHARED / "audio").glob("*.*g")) + sorted((SHARED / "audio").glob("*.flac"))
    if not files:
        pytest.skip(f"no recordings in {SHARED / 'audio'}")
    return files
