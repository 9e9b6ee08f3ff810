"""What does not fit is refused, with what to do: alone, and several at once."""

from types import SimpleNamespace

import pytest
import torch

from lmmrec_core.errors import ConfigError, TrainingError
from lmmrec_core.study.memory import room as rooms
from lmmrec_core.study.memory.demand import Demand
from lmmrec_core.study.memory.room import ANYWAY, Room, peak_device_memory, refuse_at_once, refuse_unfit, room

GIB = 2**30


def demand(host: float, device: float = 0) -> Demand:
    """So many GiB, margin included."""
    parts = {"device": {"tables": int(device * GIB / 1.1)}} if device else {}
    return Demand("vbpr on baby", {"tables": int(host * GIB / 1.1)}, cures=("lower batch_size",), **parts)


def test_what_fits_passes_and_what_does_not_is_told_with_the_cures(monkeypatch):
    refuse_unfit(demand(2), Room(3 * GIB))
    with pytest.raises(
        TrainingError, match=r"vbpr on baby: it needs about 4\.0 GiB \(tables 3\.6\), and 3\.0 GiB of"
    ) as told:
        refuse_unfit(demand(4), Room(3 * GIB))
    assert "lower batch_size; or run fewer at a time (JOBS); or use a larger machine" in str(told.value)
    monkeypatch.setenv(ANYWAY, "1")
    refuse_unfit(demand(4), Room(3 * GIB))


def test_a_gpu_has_a_room_of_its_own():
    refuse_unfit(demand(1, 20), Room(2 * GIB, 24 * GIB, 1))
    with pytest.raises(TrainingError, match=r"20\.0 GiB on the GPU .* 16\.0 GiB of memory on the GPU are free"):
        refuse_unfit(demand(1, 20), Room(2 * GIB, 16 * GIB, 1))


def test_several_at_once_are_refused_with_the_number_that_fits():
    runs = [demand(size) for size in (1, 4, 3, 2)]
    refuse_at_once(runs, 2, Room(7 * GIB + 9))
    with pytest.raises(
        ConfigError, match=r"JOBS=3: the largest runs need about 9\.0 GiB .*7\.5 GiB are free.*JOBS=2 fits"
    ):
        refuse_at_once(runs, 3, Room(int(7.5 * GIB)))
    refuse_at_once([*runs, demand(50)], 2, Room(7 * GIB + 9))  # the one that never fits is refused when it comes


def test_processes_share_gpus_in_turn():
    runs = [demand(1, 10) for _ in range(4)]
    refuse_at_once(runs, 4, Room(9 * GIB, 21 * GIB, 2))
    with pytest.raises(ConfigError, match=r"20\.0 GiB of memory on one GPU at once, and 15\.0 .*JOBS=2 fits"):
        refuse_at_once(runs, 4, Room(9 * GIB, 15 * GIB, 2))


def test_the_room_is_what_is_free_now(monkeypatch):
    monkeypatch.setattr(rooms, "free_memory", lambda: 5 * GIB)
    assert room("cpu") == Room(5 * GIB) and room("cpu").told() == "5.0 GiB are free"
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda number: ((3 - number) * GIB, 8 * GIB))
    assert room("cuda") == Room(5 * GIB, 2 * GIB, 2)
    assert room("cuda:0").device == 3 * GIB
    assert room("cuda:7") == Room(5 * GIB, None, 0)  # absent: told where the run starts
    assert room("cuda").told() == "5.0 GiB are free, 2.0 GiB on the GPU"


def test_the_peak_of_a_gpu_is_recorded_where_there_is_one(monkeypatch):
    assert peak_device_memory("cpu") == {}
    monkeypatch.setattr(torch, "cuda", SimpleNamespace(max_memory_allocated=lambda device: 7))
    assert peak_device_memory("cuda:1") == {"peak_device_memory_bytes": 7}
