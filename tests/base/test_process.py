"""The peak of a process's memory, on systems that keep it and on others."""

import sys
from pathlib import Path

import psutil
import pytest
import torch

from lmmrec_core import process
from lmmrec_core.errors import TrainingError
from lmmrec_core.process import enough_memory, peak_memory, reset_peak_memory

MIB = 2**20


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can reset the peak")
def test_the_peak_outlives_what_caused_it_until_it_is_reset() -> None:
    reset_peak_memory()
    before = peak_memory()
    block = bytearray(b"x") * (200 * MIB)
    del block
    grown = peak_memory()
    assert grown - before > 150 * MIB
    reset_peak_memory()
    assert peak_memory() < grown - 100 * MIB


def test_without_proc_psutil_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(process, "_STATUS", tmp_path / "none")
    monkeypatch.setattr(process, "_CLEAR", tmp_path / "none" / "clear")
    reset_peak_memory()  # does nothing, and says nothing
    assert peak_memory() == pytest.approx(psutil.Process().memory_info().rss, abs=20 * MIB)


@pytest.mark.parametrize(
    "need", [lambda: torch.empty(2**52), lambda: torch.empty(2**62, 2**62), lambda: bytearray(2**60)]
)
def test_memory_that_does_not_suffice_is_told_with_the_cure(need) -> None:
    with (
        pytest.raises(TrainingError, match=r"vbpr: memory does not suffice \(.*\); lower embedding_dim"),
        enough_memory("vbpr"),
    ):
        need()


def test_other_faults_pass_as_they_are() -> None:
    with pytest.raises(RuntimeError, match="must match"), enough_memory("vbpr"):
        torch.zeros(2) + torch.zeros(3)
