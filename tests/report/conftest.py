"""What the tests of reports share."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.stores import StoreMaker


@pytest.fixture
def maker(tmp_path: Path) -> StoreMaker:
    return StoreMaker(tmp_path / "store")
