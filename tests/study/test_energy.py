"""Energy: recorded of new runs where it is asked for, without a change of their keys; nothing leaves the machine."""

import socket
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from lmmrec_core.cli import main
from lmmrec_core.errors import ConfigError
from lmmrec_core.report.receipt import receipt_facts
from lmmrec_core.results.store import ResultStore
from lmmrec_core.study import energy
from lmmrec_core.study.energy import energy_told, metered, require_meter, whole_from_here
from lmmrec_core.study.shown.receipt import receipt_rows


class FakeMeter:
    """What codecarbon's tracker is asked for."""

    made: list[dict[str, Any]] = []  # noqa: RUF012
    reading: Any = SimpleNamespace(
        energy_consumed=0.003,
        cpu_energy=0.002,
        ram_energy=0.001,
        gpu_energy=0.0,
        duration=12.5,
        codecarbon_version="3.3.2",
    )

    def __init__(self, **settings: Any) -> None:
        self.made.append(settings)
        self.final_emissions_data = None

    def start(self) -> None:
        self.running = True

    def stop(self) -> None:
        self.running, self.final_emissions_data = False, self.reading


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[FakeMeter]:
    module = ModuleType("codecarbon")
    module.OfflineEmissionsTracker = FakeMeter  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "codecarbon", module)
    monkeypatch.setattr(energy, "find_spec", lambda name: module)
    monkeypatch.setattr(FakeMeter, "made", [])
    return FakeMeter


def test_nothing_is_measured_or_needed_unless_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy, "find_spec", lambda name: None)
    with metered(False) as note:
        pass
    assert note == {} and energy_told({}).startswith("not measured")
    with pytest.raises(ConfigError, match=r"--energy needs codecarbon: .*lmmrec\[energy\].*or leave --energy out"):
        require_meter()


def test_a_reading_is_plain_numbers_and_the_meter_works_offline(fake: type[FakeMeter]) -> None:
    with metered(True) as note:
        assert note == {}
    assert note == {
        "kwh": 0.003, "processor_kwh": 0.002, "memory_kwh": 0.001, "gpu_kwh": 0.0, "seconds": 12.5,
        "tool": "codecarbon 3.3.2", "mode": "process",
    }  # fmt: skip
    (settings,) = fake.made
    assert settings["output_methods"] == [] and settings["tracking_mode"] == "process"
    assert energy_told({"energy": note}) == "3 Wh, an estimate of codecarbon 3.3.2"


def test_no_reading_is_told_and_not_made_up(fake: type[FakeMeter], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake, "reading", None)
    with pytest.warns(UserWarning, match="energy is not recorded: codecarbon gave no reading"), metered(True) as note:
        pass
    assert note == {}


def test_an_error_inside_stops_the_meter_and_goes_on(fake: type[FakeMeter]) -> None:
    with pytest.raises(ValueError, match="mine"), metered(True) as note:
        raise ValueError("mine")
    assert note == {}


def test_a_training_that_goes_on_has_no_energy(tmp_path: Path) -> None:
    assert whole_from_here(tmp_path / "none.pt")
    (tmp_path / "some.pt").touch()
    with pytest.warns(UserWarning, match="goes on from a checkpoint"):
        assert not whole_from_here(tmp_path / "some.pt")
    for phase in ("first", "warm"):  # a warm start has no other file until its second phase
        (tmp_path / f"{phase}0.{phase}.pt").touch()
        with pytest.warns(UserWarning, match="goes on from a checkpoint"):
            assert not whole_from_here(tmp_path / f"{phase}0.pt")


def test_a_run_records_it_under_the_same_key(
    fake: type[FakeMeter], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    shop = tmp_path / "shop"
    shop.mkdir()
    rows = [f"u{user},i{(user * step + step) % 20}" for user in range(40) for step in range(1, 9)]
    (shop / "interactions.csv").write_text("\n".join(["user_id,item_id", *rows, ""]), encoding="utf-8")
    call = ["run", "--data", str(shop), "--model", "popularity", "--quiet"]
    records = {}
    for name, more in {"with": ["--energy"], "without": []}.items():
        monkeypatch.setenv("LMMREC_HOME", str(tmp_path / name))
        assert main([*call, *more]) == 0
        assert ("Wh, an estimate of codecarbon 3.3.2" in capsys.readouterr().out) == (name == "with")
        (records[name],) = ResultStore(tmp_path / name / "results").find_records(model="popularity")
    assert records["with"].key == records["without"].key
    assert records["with"].data["cost"]["energy"]["kwh"] == 0.003 and "energy" not in records["without"].data["cost"]
    listed = receipt_rows(records.values(), [])
    assert listed["energy Wh"].tolist() == [3.0, "not measured"]
    assert receipt_facts(listed)["energy"] == "0.003 kWh, estimated in 1 of 2 runs"
    assert main([*call, "--energy"]) == 0, "stored before, without"
    assert "not measured: the result was stored before" in capsys.readouterr().out


def test_the_real_meter_reads_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("codecarbon", reason="an extra that nothing else needs")
    tried = []

    def refuse(self: socket.socket, address: object) -> None:
        tried.append(address)
        raise OSError("no network in this test")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    with metered(True) as note:
        sum(number * number for number in range(3_000_000))
    assert tried == []
    assert note["kwh"] > 0 and note["kwh"] == pytest.approx(
        note["processor_kwh"] + note["memory_kwh"] + note["gpu_kwh"]
    )
    assert 0 < note["seconds"] < 60 and note["tool"].startswith("codecarbon ")
