"""The dry run on an empty laptop, cases by name, and shards that fill one folder."""

import json
import os
import subprocess

import pytest
import yaml

from lmmrec_core.cli import main
from lmmrec_core.cli.arguments import parser
from lmmrec_core.encoders.clip import build
from lmmrec_core.results.store import ResultStore
from lmmrec_core.study.preview import needs


@pytest.fixture
def laptop(monkeypatch):
    """All packages, no data, no GPU, nothing fetched."""
    monkeypatch.setattr(build, "is_fetched", lambda model, tag: False)
    monkeypatch.setattr(needs, "find_spec", lambda package: object())


def told(capsys, *arguments, rc=0):
    assert main(["reproduce", *map(str, arguments)]) == rc
    seen = capsys.readouterr()
    return seen.out if rc == 0 else seen.err


def test_the_dry_run_on_an_empty_laptop_tells_the_truth(laptop, capsys):
    out = told(capsys, "--track", "paper", "--dry-run")
    first = out.splitlines()[0]
    assert " 0 are stored, 0 can run now, " in first and "0 cannot yet" in first
    for category in ("Sports_and_Outdoors", "Clothing_Shoes_and_Jewelry", "Baby"):
        assert f"need folder DATA/amazon/{category} of data set" in out
    assert "make data TRACK=paper" in out and "DATA=FOLDER" in out and "vlmo_base_plus_patch16_224.pt" in out
    assert "will be fetched; open_clip fetches them" in out
    assert "as measured on NVIDIA H200 (benchmarks/rehearsal.json)" in out and "at most" in out
    assert "as measured on 2 threads of AMD EPYC (benchmarks/speed.json)" in out
    assert "no estimate for" in out and "GiB of encoders trained end to end" in out


def test_the_dry_run_as_json_adds_up(laptop, capsys):
    found = json.loads(told(capsys, "--track", "paper", "--dry-run", "--json"))
    states = ("stored", "can run now", "wait", "left out", "cannot yet")
    assert found["planned"] == sum(found[state] for state in states) == found["wait"]
    folders = [need for need in found["needs"] if need["what"].startswith("folder DATA/amazon/")]
    assert sum(need["cases"] for need in folders) == found["planned"]
    for bill in found["estimate"]["machines"]:
        assert bill["cases"] + bill["unknown"] == found["planned"] and bill["seconds"] > 0
    part = json.loads(
        told(capsys, "--track", "paper", "--dry-run", "--json", "--dataset", "baby", "--model", "bpr,ease")
    )
    assert part["planned"] == 4 and [need["cases"] for need in part["needs"]] == [4]


def test_a_run_without_anything_it_needs_is_refused_by_name(laptop, capsys):
    error = told(capsys, "--track", "paper", "--model", "bpr", rc=1)
    assert "need folder DATA/amazon/Baby of data set baby" in error and "nothing can run" in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--model", "vbpt"), "track 'controls': unknown model 'vbpt'; did you mean 'vbpr'"),
        (("--dataset", "complementary,nul"), "unknown dataset 'nul'; did you mean 'null'"),
        (("--modalities", "VT"), "did you mean 'V&T'"),
        (("--model", "bpr", "--paradigm", "PT"), "no case has model bpr, paradigm PT"),
        (("--shard", "5/4"), "no part 5 of 4"),
        (("--shard", "first"), "is not I/N"),
        (("--model", "bpr", "--keep-encoder"), "--keep-encoder has no effect: none of these cases trains an encoder"),
        (("--json",), "--json prints what --dry-run says"),
    ],
)
def test_what_cannot_be_meant_is_refused(capsys, arguments, message):
    assert message in told(capsys, *arguments, rc=1)


TINY = {
    "name": "tiny", "title": "Tiny", "description": "A track of a test.", "where": "anywhere", "seeds": [1, 2, 3],
    "datasets": {
        "null": {"title": "Null", "source": "controls",
                 "options": {"kind": "null", "seed": 5, "users": 60, "items": 40}},
        "gone": {"title": "Gone", "source": "folder", "path": "gone"},
    },
    "encoders": {}, "models": {"popularity": {}, "bpr": {}},
    "training": {"epochs": 2, "batch_size": 512},
}  # fmt: skip


def test_shards_of_a_track_fill_one_folder_and_an_absent_data_set_costs_its_own_cases(tmp_path, capsys):
    track = tmp_path / "tiny.yaml"
    track.write_text(yaml.safe_dump(TINY))
    call = ("--track", track, "--jobs", 1)
    counts = []
    for number in (1, 2):
        out = told(capsys, *call, "--shard", f"{number}/2")
        assert "0 were stored before, 2 computed now, 0 failed, 2 still wait" in out
        counts.append(len(ResultStore(tmp_path / "home/results").find_records()))
    assert counts == [2, 4]  # of 8 cases, 4 have data: popularity, and BPR with three seeds
    out = told(capsys, *call, "--dataset", "null")
    assert "4 were stored before, 0 computed now, 0 failed." in out
    again = json.loads(told(capsys, *call, "--dry-run", "--json"))
    assert (again["planned"], again["stored"], again["can run now"], again["wait"]) == (8, 4, 0, 4)
    assert [need["what"] for need in again["needs"]] == ["folder DATA/gone of data set gone"]
    assert "nothing can run" in told(capsys, *call, "--dataset", "gone", rc=1)
    assert "4 were stored before" in told(capsys, *call)


def test_the_dry_run_counts_results_without_the_encoder_that_is_asked_for_as_cases_to_run(tmp_path, capsys):
    joint = {"reading": "e3", "part": "heads", "updates_per_epoch": 1}
    entry = {"encoder": "clip-tiny", "settings": {"model": "clip-tiny-32", "seed": 4}, "end_to_end": joint}
    encoders, track = {"mine": entry}, tmp_path / "tiny.yaml"
    of = {"models": {"vbpr": {}}, "encoders": encoders, "ablate": {}, "seeds": [1]}
    track.write_text(yaml.safe_dump({**TINY, **of}))
    call = ("--track", track, "--dataset", "null", "--paradigm", "ETE")
    assert "1 computed now" in told(capsys, *call, "--jobs", 1, "--no-keep-encoder")
    (record,) = ResultStore(tmp_path / "home/results").find_records()
    assert main(["encode", "--run", record.key, "--items", str(tmp_path), "--out", str(tmp_path / "new")]) == 1
    chosen = "--dataset null --model vbpr --encoder mine --paradigm ETE --modalities 'V&T' --seeds 1 --keep-encoder"
    again = f"`lmmrec reproduce --track FILE.yaml {chosen}` (FILE.yaml: that of track tiny)"
    assert again in capsys.readouterr().err
    assert "1 are stored, 0 can run now" in told(capsys, *call, "--dry-run")
    out = told(capsys, *call, "--dry-run", "--keep-encoder")
    assert "0 are stored, 1 can run now" in out
    assert "     1  are stored without their encoder: --keep-encoder trains them again" in out
    found = json.loads(told(capsys, *call, "--dry-run", "--keep-encoder", "--json"))
    assert (found["stored"], found["can run now"], found["lack their encoder"]) == (0, 1, 1)
    assert "1 computed now" in told(capsys, *call, "--jobs", 1, "--keep-encoder")
    assert "1 are stored, 0 can run now" in told(capsys, *call, "--dry-run", "--keep-encoder")


def test_the_jobs_of_an_array_take_all_parts_of_the_track(root, tmp_path):
    """The script as SLURM starts it: with the number of the job in the environment."""
    stub = tmp_path / ".venv/bin/lmmrec"
    stub.parent.mkdir(parents=True)
    stub.write_text('#!/bin/bash\nprintf "%s\\n" "$@"\n')
    stub.chmod(0o755)
    script = root / "book/examples/paper.sbatch"
    environment = {**os.environ, "SLURM_ARRAY_TASK_COUNT": "4", "DATA": "/my data"}
    for number in ("1", "4"):
        done = subprocess.run(
            ["bash", script, "--rq", "3"], cwd=tmp_path, env={**environment, "SLURM_ARRAY_TASK_ID": number},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        read = parser().parse_args(done.stdout.splitlines())
        assert (read.shard, read.track, read.data, read.jobs, read.rq) == (f"{number}/4", "paper", "/my data", 1, "3")
    environment.pop("DATA")
    done = subprocess.run(["bash", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode and "name the folder of the data sets" in done.stderr


@pytest.fixture
def misspelt(tmp_path):
    """Controls, with a setting of VBPR that nobody has, and a number of another kind in MMGCL's training."""

    def write(**changes):
        values = {"extends": "controls", "name": "mine", **changes}
        path = tmp_path / "mine.yaml"
        path.write_text(yaml.safe_dump(values))
        return path

    return write


def test_a_misspelt_setting_is_found_before_anything_runs(misspelt, capsys):
    track = misspelt(models={"vbpr": {"reg_wieght": 0.5}, "mmgcl": {"training": {"learning_rate": -1}}})
    everything = ["--track", str(track), "--seeds", "1"]
    for more in (["--dry-run"], []):
        error = told(capsys, *everything, *more, rc=1)
        assert "'reg_wieght'" in error and "reg_weight" in error and "learning_rate" in error
        assert error.count("cases have a wrong setting") == 2 and "correct the track file" in error
    assert "nothing was started" in error
    found = main(["reproduce", *everything, "--dry-run", "--json"])
    seen = json.loads(capsys.readouterr().out)
    assert found == 1 and len(seen["wrong settings"]) == 2
    assert not told(capsys, *everything, "--dry-run", "--model", "bpr,lattice").count("wrong")


def test_an_option_that_a_data_format_does_not_have_is_found_before_anything_runs(misspelt, capsys):
    options = {"kind": "null", "sead": 3}
    track = misspelt(datasets={"null": {"title": "Null", "source": "controls", "options": options}})
    assert "'sead'" in told(capsys, "--track", str(track), "--dry-run", rc=1)


def test_a_gpu_that_is_elsewhere_is_no_wrong_setting(misspelt, capsys):
    out = told(capsys, "--track", str(misspelt(device="cuda")), "--dry-run", "--model", "bpr", "--seeds", "1")
    assert "wrong setting" not in out and " 3 can run now" in out
