"""What several tests of studies build on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.workflow.studies.laid import lay


@pytest.fixture(scope="module")
def laid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of what studies need, of tiny models."""
    return lay(tmp_path_factory.mktemp("laid"))
