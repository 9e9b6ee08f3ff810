import pickle
from dataclasses import replace

import pytest
import torch

from lmmrec_core.errors import ConfigError, DataError
from lmmrec_core.recommenders import RECOMMENDERS
from lmmrec_core.study.cases import declared_digest
from lmmrec_core.study.datasets import drawn_once
from lmmrec_core.study.declared.settings import resolve
from lmmrec_core.study.declared.track_file import read_track
from lmmrec_core.study.evidence.abstract import AbstractPage
from lmmrec_core.study.study import Study
from lmmrec_core.study.workspace import Workspace, default_home


@pytest.mark.parametrize(("wanted", "gpu", "found"), [
    ("cpu", True, "cpu"), ("auto", True, "cuda"), ("auto", False, "cpu"), ("cuda:1", True, "cuda:1"),
])  # fmt: skip
def test_the_device_of_a_track_reaches_the_training(monkeypatch, wanted, gpu, found):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    track = read_track("paper").model_copy(update={"device": wanted})
    workspace = Workspace.open(track)
    assert workspace.device == found == resolve(workspace, "vbpr")[1].device
    assert resolve(workspace, "vbpr", {"device": "cpu"})[1].device == "cpu"


def test_a_gpu_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"device 'cuda' is absent; set device: auto or cpu"):
        _ = Workspace.open(read_track("paper").model_copy(update={"device": "cuda"})).device


def test_tracks_for_large_machines_use_a_gpu_where_there_is_one():
    assert {name: read_track(name).device for name in ("paper", "user", "controls", "films")} == {
        "paper": "auto", "user": "auto", "controls": "cpu", "films": "cpu"
    }  # fmt: skip


def test_a_data_set_is_read_once_and_not_sent_to_other_processes(workspace, monkeypatch):
    read = []
    monkeypatch.setattr("lmmrec_core.study.workspace.read_dataset", lambda *given: read.append(given) or object())
    assert workspace.dataset("complementary") is workspace.dataset("complementary")
    assert workspace.quiet().dataset("complementary") is workspace.dataset("complementary")
    assert len(read) == 1
    sent = pickle.loads(pickle.dumps(workspace))
    assert sent.track == workspace.track and sent.results == workspace.results
    sent.dataset("complementary")
    assert len(read) == 2


def test_another_track_reads_its_own_data_sets(workspace):
    small = workspace.track.dataset("complementary").model_copy(update={"k_core": 8})
    other = replace(workspace, track=workspace.track.model_copy(update={"datasets": {"complementary": small}}))
    assert workspace.dataset("complementary").split.fingerprint != other.dataset("complementary").split.fingerprint


def test_results_and_cache_are_where_the_user_said(monkeypatch, tmp_path, root):
    monkeypatch.delenv("LMMREC_HOME", raising=False)
    assert default_home() == root  # a checkout
    monkeypatch.setenv("LMMREC_HOME", str(tmp_path / "home"))
    assert Workspace.open("controls").results == tmp_path / "home" / "results"
    assert Workspace.open("controls", home=tmp_path).cache == tmp_path / ".cache"


def test_a_track_of_your_own_extends_another(tmp_path, monkeypatch):
    monkeypatch.setitem(RECOMMENDERS._places, "mymodel", RECOMMENDERS.own["bpr"])  # of another package
    path = tmp_path / "mine.yaml"
    path.write_text("extends: controls\nmodels: {mymodel: {depth: 2}}\nseeds: [4]\n")
    own, base = read_track(str(path)), read_track("controls")
    assert own.name == "controls" and own.seeds == (4,)
    assert own.models == {**base.models, "mymodel": {"depth": 2}} and own.encoders == base.encoders
    case = {"dataset": "null", "model": "vbpr", "encoder": "baseline", "paradigm": "none"}
    assert declared_digest(own, case) == declared_digest(base, case)  # so stored results count for both
    path.write_text("extends: controls\nmodel: {}\n")
    with pytest.raises(ConfigError, match=r"mine\.yaml: unknown setting 'model'; did you mean 'models'"):
        read_track(str(path))


@pytest.mark.parametrize(
    ("seeds", "message"),
    [
        (1, r"seeds = 1 is no list; write for instance seeds = \[1\]"),
        ("12", "seeds = '12' is no list"),
        ({1, 2}, "is no list"),
        ([True], "seed True is not a whole number"),
        ([-1], "seed -1 is not"),
        ([1.0], r"seed 1\.0 is not"),
        ([10**5000], "seed of 16610 bits is not"),
        ([1, 2, 1], r"seeds \[1, 2, 1\] must be distinct"),
    ],
    ids=["number", "text", "set", "truth", "negative", "float", "digits", "twice"],
)
def test_seeds_that_are_none_are_refused(seeds, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        Study.open("controls", seeds=seeds, home=tmp_path)


def test_no_seeds_are_those_of_the_track(tmp_path):
    assert Study.open("controls", seeds=None, home=tmp_path).seeds == read_track("controls").seeds
    with pytest.raises(ConfigError, match=r"seeds = \[\] names no seed"):
        Study.open("controls", seeds=[], home=tmp_path)


def test_a_drawn_folder_that_may_not_be_read_is_told(tmp_path, monkeypatch):
    drawn_once(tmp_path / "drawn", lambda empty: (empty / "a.csv").write_text("1"))

    def refused(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("pathlib.Path.read_bytes", refused)
    with pytest.raises(DataError, match=r"SHA256SUMS: cannot be read \(Permission denied\); allow reading it"):
        drawn_once(tmp_path / "drawn", lambda empty: None)


def test_tracks_that_are_none_or_named_twice_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="track = 3 is no name"):
        Study.open(3, home=tmp_path)
    for tracks in ([], ["controls", "controls"]):
        with pytest.raises(ConfigError, match="name at least one, each once"):
            AbstractPage.open(tracks, home=tmp_path)
