"""``lmmrec features`` in several processes of a launcher, and every other command there."""

import os
import subprocess
import sys

import pytest
import yaml

from lmmrec_core.cli import main
from lmmrec_core.study.weights.records import read_encoder_records
from lmmrec_core.study.workspace import Workspace

TUNE = {"epochs": 1, "batch_size": 16, "part": "heads"}
TRACK = {
    "name": "tiny", "title": "Tiny", "description": "A track of a test.", "where": "anywhere", "seeds": [1, 2],
    "device": "cpu", "datasets": {"null": {"title": "Null", "source": "controls",
                                           "options": {"kind": "null", "seed": 5, "users": 60, "items": 40}}},
    "encoders": {"mine": {"encoder": "clip-tiny", "settings": {"model": "clip-tiny-32", "seed": 4}, "fine_tune": TUNE},
                 "baseline": {"visual": "ready", "textual": "ready"}},
    "models": {"bpr": {}},
}  # fmt: skip


@pytest.fixture
def track(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(TRACK))
    return path


@pytest.mark.slow
def test_two_processes_tune_and_one_speaks_and_writes(track, tmp_path, root, capsys, monkeypatch):
    monkeypatch.setenv("LMMREC_HOME", str(tmp_path / "home"))
    call = ["features", "--track", str(track), "--encoder", "mine", "--paradigm", "FT", "--seeds", "1"]
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*launch, "-m", "lmmrec_core.cli", *call], env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("digest") == done.stdout.count("seed") == 1
    workspace = Workspace.open(str(track))
    (record,) = [r for r in read_encoder_records(workspace.track, workspace.results) if r["stage"] == "FT"]
    assert record["tuning"]["processes"] == 2
    assert main(call) == 0
    assert capsys.readouterr().out == done.stdout, "made before, so the same features are found"


def test_what_is_not_tuned_needs_no_processes(track, monkeypatch, capsys):
    assert main(["features", "--track", str(track), "--seeds", "1"]) == 1
    assert "--seeds has no effect without --paradigm FT" in capsys.readouterr().err
    assert main(["features", "--track", str(track), "--encoder", "mine", "--paradigm", "FTE"]) == 1
    assert "unknown paradigm 'FTE'" in capsys.readouterr().err
    assert main(["features", "--track", str(track), "--dataset", "nul"]) == 1
    assert "unknown data set 'nul'; did you mean 'null'" in capsys.readouterr().err
    for name, value in {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost"}.items():
        monkeypatch.setenv(name, value)
    assert main(["reproduce", "--track", str(track)]) == 1
    assert "does not work in several processes of one launcher; only `lmmrec features` does" in capsys.readouterr().err
