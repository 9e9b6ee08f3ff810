"""How encoders were trained, kept beside the results: written whole, read newest first, damage named."""

import json
from pathlib import Path

import pytest

from lmmrec_core.errors import ConfigError, ResultError
from lmmrec_core.results.store import ResultStore
from lmmrec_core.study.study import Study
from lmmrec_core.study.weights import records as encoder_records
from lmmrec_core.study.weights.records import read_encoder_records, write_encoder_record
from lmmrec_core.study.workspace import Workspace
from tests.results.samples import save
from tests.study.conftest import tiny_track

DATASETS = {name: tiny_track().datasets["complementary"].model_dump() for name in ("one", "two")}
TRACK = tiny_track(datasets=DATASETS, warm_start=None)
RECORD = {"tuning": {"steps": 3, "history": [{"number": 1, "loss": 0.5}]}, "parent": "0" * 64, "note": "a test"}
A, B = "a1" * 32, "b2" * 32


@pytest.fixture
def results(tmp_path) -> Path:
    return tmp_path / "results"


@pytest.fixture
def write(results, monkeypatch):
    """Every call is a second later than the one before."""
    seconds = iter(range(10, 60))
    monkeypatch.setattr(encoder_records, "provenance", lambda: {"time": f"2026-01-01T00:00:{next(seconds)}"})

    def call(dataset="one", encoder="clip", stage="FT", weights=A, record=RECORD, seed=None):
        return write_encoder_record(results, TRACK.name, dataset, encoder, stage, weights, record, seed)

    return call


def read(results):
    return read_encoder_records(TRACK, results)


def test_what_is_written_is_read_back(results, write):
    path = write()
    assert path == results / "controls" / "one" / "encoders" / "clip-FT-a1a1a1a1.json"
    (record,) = read(results)
    assert record == json.loads(path.read_text())
    identity = {"schema": 1, "dataset": "one", "encoder": "clip", "stage": "FT", "weights": A}
    assert record == {**identity, **RECORD, "provenance": {"time": "2026-01-01T00:00:10"}, "digest": record["digest"]}


def test_shared_weights_lie_beside_the_data_sets(results, write):
    path = write(dataset=None, stage="PT")
    assert path == results / "controls" / "encoders" / "clip-PT-a1a1a1a1.json"
    assert [record["dataset"] for record in read(results)] == [None]


def test_the_order_is_that_of_the_track(results, write):
    for dataset, encoder, stage in (
        ("two", "clip", "FT"), ("one", "vlmo", "FT"), ("one", "clip", "FT"), (None, "vlmo", "PT"),
        ("one", "clip", "ETE"), ("one", "zoo", "PT"), (None, "clip", "PT"),
    ):  # fmt: skip
        write(dataset, encoder, stage)
    assert [(r["dataset"], r["encoder"], r["stage"]) for r in read(results)] == [
        (None, "clip", "PT"), (None, "vlmo", "PT"), ("one", "clip", "FT"), ("one", "clip", "ETE"),
        ("one", "vlmo", "FT"), ("one", "zoo", "PT"), ("two", "clip", "FT"),
    ]  # fmt: skip


def test_the_newest_of_each_counts(results, write):
    write(weights=B)
    write(weights=A)
    write("two", weights=A)
    assert [(record["dataset"], record["weights"]) for record in read(results)] == [("one", A), ("two", A)]
    write(weights=B, record={"note": "again"})  # in the place of the first
    assert [(record["weights"], record.get("note")) for record in read(results)] == [(B, "again"), (A, "a test")]
    assert len(list((results / "controls" / "one" / "encoders").iterdir())) == 2


def test_seeds_are_records_of_their_own_even_of_equal_weights(results, write):
    """An epoch 0 that is kept leaves the same weights for all seeds."""
    paths = [write(seed=seed) for seed in (10, 2)]
    assert [path.name for path in paths] == ["clip-FT-s10-a1a1a1a1.json", "clip-FT-s2-a1a1a1a1.json"]
    write(weights=B, seed=2)
    assert [(record["seed"], record["weights"]) for record in read(results)] == [(2, B), (10, A)]


def test_nothing_written_gives_nothing_and_other_files_are_left_alone(results, write):
    assert read(results) == []
    folder = write().parent
    (folder / "README.json").write_text("{}")
    (folder / ".partial-clip-FT-a1a1a1a1.json-1").write_text("{")
    (results / "controls" / "three" / "encoders").mkdir(parents=True)
    assert len(read(results)) == 1


def test_the_result_store_does_not_see_them(results, write):
    write()
    write(dataset=None, stage="PT")
    store = ResultStore(results)
    assert store.find_records() == []
    save(results, dataset="one")
    assert len(store.find_records(track="controls")) == 1


def test_a_damaged_file_is_named_with_the_cure(results, write):
    path = write()
    whole = path.read_text()
    for content in (whole.replace('"steps": 3', '"steps": 4'), "{", "[]", "\x00"):
        path.write_text(content)
        with pytest.raises(ResultError, match=r"clip-FT-a1a1a1a1\.json: damaged .*delete it"):
            read(results)
    path.write_text(whole)
    elsewhere = results / "controls" / "two" / "encoders"
    elsewhere.mkdir(parents=True)
    (elsewhere / path.name).write_text(whole)
    with pytest.raises(ResultError, match=r"two.*it is of data set 'one'"):
        read(results)


def test_nothing_half_written_stays(results, write, monkeypatch):
    path = write()
    before = path.read_text()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(ResultError, match=r"could not be written \(No space left"):
        write(record={"note": "more"})
    assert path.read_text() == before and list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"encoder": "../clip"}, "cannot be part of a file name"),
        ({"dataset": "a/b"}, "cannot be part of a file name"),
        ({"stage": "pt"}, "unknown paradigm 'pt'"),
        ({"weights": "untrained"}, "is no digest"),
    ],
)
def test_names_are_checked(write, changes, words):
    with pytest.raises(ConfigError, match=words):
        write(**changes)


def test_a_record_holds_plain_values_and_leaves_identity_alone(write, tmp_path):
    with pytest.raises(ResultError, match="has weights, which are set here"):
        write(record={"weights": B})
    with pytest.raises(ResultError, match=r"record\.tuning\.loss is nan"):
        write(record={"tuning": {"loss": float("nan")}})
    with pytest.raises(ResultError, match="path of this machine"):
        write(record={"note": tmp_path})


def test_the_facade_reads_both_kinds_of_description(results, write):
    write()
    study = Study(Workspace(TRACK, results, results), (1,))
    assert [record["encoder"] for record in study.encoder_records()] == ["clip"]
    assert study.diagnostics().empty and "dataset" in study.diagnostics()
