"""The peak of a process's memory, on systems that keep it and on others."""

import sys
from pathlib import Path

import psutil
import pytest
import torch

from lmmrec_core import process
from lmmrec_core.errors import TrainingError
from lmmrec_core.process import enough_memory, free_memory, peak_memory, reset_peak_memory

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


def test_a_cure_of_its_own_is_told_beside_the_general_ones() -> None:
    with (
        pytest.raises(TrainingError, match=r"ranking: memory .*; filter it, run fewer at a time \(JOBS\), or use a"),
        enough_memory("ranking", "filter it"),
    ):
        bytearray(2**60)


@pytest.fixture
def groups(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """A machine with 8000 bytes free, and control groups that are files of the test."""
    monkeypatch.setattr(process, "_GROUP", tmp_path / "cgroup")
    monkeypatch.setattr(process, "_GROUPS", tmp_path / "fs")
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"available": 8000})())

    def write(lines: str, **files: str) -> int:
        (tmp_path / "cgroup").write_text(lines)
        for name, text in files.items():
            folder, _, file = name.rpartition("/")
            (tmp_path / "fs" / folder).mkdir(parents=True, exist_ok=True)
            (tmp_path / "fs" / folder / file).write_text(text)
        return free_memory()

    return write


def test_without_limits_the_machine_s_free_memory_counts(groups, tmp_path: Path) -> None:
    assert free_memory() == 8000  # no control groups at all
    assert groups("0::/job\n") == 8000
    assert groups("0::/job\n", **{"job/memory.max": "max\n", "job/memory.current": "10\n"}) == 8000


def test_the_tightest_of_the_groups_around_a_job_counts(groups) -> None:
    files = {"a/memory.max": "5000", "a/memory.current": "1000", "a/b/memory.max": "9000", "a/b/memory.current": "500"}
    assert groups("0::/a/b\n", **files) == 4000
    # what only caches files makes room
    assert groups("0::/a/b\n", **files, **{"a/memory.stat": "anon 3\ninactive_file 600\n"}) == 4600
    assert groups("0::/a/b\n", **{**files, "a/memory.current": "6000"}) == 0


def test_the_older_control_groups_are_read_too(groups) -> None:
    files = {"memory/job/memory.limit_in_bytes": "3000", "memory/job/memory.usage_in_bytes": "2500"}
    assert groups("7:cpu:/other\n4:memory:/job\n0::/\n", **files) == 500
