"""Fixtures of the tests of notebooks."""

from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def glued(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    monkeypatch.setattr("lmmrec_core.report.quote._glue", lambda name, value, display=True: kept.update({name: value}))
    return kept


@pytest.fixture
def empty_study(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LMMREC_HOME", str(tmp_path))
