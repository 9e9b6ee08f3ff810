"""Shared fixtures: one thread, shapes checked while tests run, skips of what this machine lacks."""

import os
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")
os.environ.setdefault("LMMREC_ALLOW_UNCOMMITTED", "1")  # code under test is rarely committed

from jaxtyping import install_import_hook

install_import_hook(
    ["lmmrec_core.recommenders", "lmmrec_core.training", "lmmrec_core.encoders.fine_tuning"],
    "beartype.beartype",
)

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]
SHARED_DATA = Path(os.environ.get("LMMREC_SHARED", ROOT.parent / "shared")) / "data"

torch.set_num_threads(1)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    absent = {}
    if not SHARED_DATA.is_dir():
        absent["shared"] = f"needs the real data sets; none at {SHARED_DATA} (set LMMREC_SHARED)"
    if not torch.cuda.is_available():
        absent["gpu"] = "needs a CUDA device; torch finds none"
    for item in items:
        for marker, reason in absent.items():
            if item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """A test that asks for more threads leaves none to the next: sums would differ in their last bits."""
    yield
    if torch.get_num_threads() != 1:
        torch.set_num_threads(1)


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets (only for tests marked ``shared``)."""
    return SHARED_DATA
