"""Commands killed at random moments: the same command ends bit-equal, leaves nothing behind, and no worker lives on.

``LMMREC_KILLS`` says how often each command is killed: a few for a check, a hundred for a night, with ``calibrate``.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import yaml

from lmmrec_core.data.controls import ControlSize, write_controls
from lmmrec_core.results.store import ResultStore
from tests.study.conftest import tiny_track

KILLS = int(os.environ.get("LMMREC_KILLS", "3"))
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
_GONE = 90  # seconds that workers have to end after their parent

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600 + 240 * KILLS)]


def write_track(path: Path) -> Path:
    """A track file: recommenders without content, and one with encoders as they come, fine-tuned and end to end."""
    values = tiny_track(name="tiny", ablate={}, arms={}, seeds=(1,), further_splits=()).model_dump(mode="json")
    values["models"] = {name: values["models"].get(name, {}) for name in ("popularity", "bpr", "vbpr")}
    values["encoders"] = {name: values["encoders"][name] for name in ("baseline", "clip")}
    values["training"] |= {"epochs": 12, "batch_size": 128, "checkpoint_seconds": 0}
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


class Command:
    """A command of the package in a home of its own."""

    def __init__(self, root: Path, arguments: list[str]) -> None:
        self.root, self.arguments = root, arguments

    def start(self, home: Path) -> subprocess.Popen[str]:
        environment = {
            **os.environ, "LMMREC_HOME": str(home), "PYTHONPATH": str(self.root), "OMP_NUM_THREADS": "1",
            "LMMREC_ALLOW_UNCOMMITTED": "1",
        }  # fmt: skip
        return subprocess.Popen(
            [sys.executable, "-m", "lmmrec_core.cli", *self.arguments], cwd=self.root, env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    def finish(self, home: Path) -> float:
        """Run to the end; how many seconds that took."""
        began, process = time.monotonic(), self.start(home)
        told, _ = process.communicate(timeout=600)
        assert process.returncode == 0, told
        return time.monotonic() - began

    def kill(self, home: Path, after: float, number: int, whole_group: bool) -> bool:
        """Start, and send a signal after so many seconds; False if the command had ended by then."""
        process = self.start(home)
        try:
            process.communicate(timeout=after)
            return False
        except subprocess.TimeoutExpired:
            pass
        workers = psutil.Process(process.pid).children(recursive=True)  # until it is waited for, its number stays
        if whole_group:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        process.communicate(timeout=_GONE)
        _, alive = psutil.wait_procs(workers, timeout=_GONE)
        assert not alive, f"still there after {signal.Signals(number).name}: {alive}"
        return True


def outcome(home: Path) -> dict[str, object]:
    """All that a study made, without times and machines."""
    found: dict[str, object] = {}
    for record in ResultStore(home / "results").find_records():
        data = record.data
        training = dict(data["training"] or {})
        history = [{k: v for k, v in epoch.items() if k != "seconds"} for epoch in training.pop("history", [])]
        training.pop("seconds", None)
        features = {k: v for k, v in (data["features"] or {}).items() if k != "card"}
        found[f"{record.case['dataset']}/{record.path.name}"] = (
            data["metrics"], data["overall"], data["files"], history, _timeless(training), features
        )  # fmt: skip
    for file in sorted((home / ".cache" / "encoders").glob("*.safetensors")):
        found[file.name] = file.read_bytes()
    for file in sorted((home / "results" / "calibration").glob("*.jsonl")):
        for line in map(json.loads, file.read_text(encoding="utf-8").splitlines()):
            own = {name: value for name, value in line.items() if name not in ("provenance", "cpu_seconds", "digest")}
            found[f"{file.name}/{line['world']}"] = own
    for file in sorted((home / ".cache" / "features").iterdir() if (home / ".cache" / "features").is_dir() else ()):
        found[file.name] = ""  # cards hold times
    return found


def _timeless(value: object) -> object:
    if isinstance(value, dict):
        return {name: _timeless(one) for name, one in value.items() if "seconds" not in name}
    return [_timeless(one) for one in value] if isinstance(value, list) else value


def leftovers(home: Path) -> Iterator[Path]:
    for path in home.rglob("*"):
        if path.name.startswith(".partial-") or path.suffix in (".pt", ".damaged", ".part", ".tmp"):
            yield path


@pytest.fixture(params=["reproduce", "run", *(["calibrate"] if KILLS > 10 else [])])
def command(request, root: Path, tmp_path: Path) -> Command:
    if request.param == "calibrate":
        return Command(root, ["calibrate", "--parts", "null", "--worlds", "2", "--jobs", "2"])
    if request.param == "reproduce":
        track = write_track(tmp_path / "tiny.yaml")
        return Command(root, ["reproduce", "--track", str(track), "--jobs", "2"])
    folder = tmp_path / "shop"
    write_controls("complementary", folder, 11, ControlSize(users=120, items=60))
    settings = [word for pair in ("epochs=150", "batch_size=64", "checkpoint_seconds=0") for word in ("--set", pair)]
    return Command(root, ["run", "--data", str(folder), "--model", "lightgcn", *settings])


def test_killed_at_any_moment_it_ends_as_if_it_had_not_been(command: Command, tmp_path: Path) -> None:
    whole, home, chance = tmp_path / "whole", tmp_path / "home", random.Random(7)
    seconds = command.finish(whole)
    expected = outcome(whole)
    assert expected and not list(leftovers(whole))
    killed = 0
    for _ in range(3 * KILLS):
        if command.kill(home, chance.uniform(0.2, 0.95) * seconds, chance.choice(SIGNALS), chance.random() < 0.5):
            killed += 1
        else:  # all was done: from the beginning again
            check(home, expected)
            shutil.rmtree(home)
        if killed == KILLS:
            break
    assert killed >= min(KILLS, 1)
    command.finish(home)
    check(home, expected)


def check(home: Path, expected: dict[str, object]) -> None:
    found = outcome(home)
    assert found.keys() == expected.keys()
    assert [name for name in expected if found[name] != expected[name]] == []
    assert list(leftovers(home)) == []
