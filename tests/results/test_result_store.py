"""What is saved comes back bit by bit; what is damaged is named; what is there stays."""

import json
import os
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lmmrec_core.digests import digest
from lmmrec_core.errors import ConfigError, ResultError
from lmmrec_core.results.store import ResultStore, key_of
from tests.results.samples import CASE, find, per_user, record, save


def test_a_run_comes_back_as_it_was(tmp_path: Path) -> None:
    lists = np.arange(20).reshape(5, 4) - 1
    path, store = save(tmp_path, lists=lists), ResultStore(tmp_path)
    assert path == tmp_path / "controls" / "null" / f"vbpr-s1-{key_of(CASE)}"
    assert sorted(file.name for file in path.iterdir()) == ["per_user.parquet", "run.json", "top50.parquet"]
    back = store.load(path)
    pd.testing.assert_frame_equal(back.per_user, per_user(), check_exact=True)
    assert {ranks.dtype for ranks in back.per_user["hit_ranks"]} == {np.dtype(np.int16)}
    assert back.case == CASE and back.mean("coverage@20") == 0.1
    assert back.record["metrics"]["valid"]["recall@20"] == 1 / 3
    assert back.record["settings"] == {"model": {"embedding_dim": 64}, "training": {"learning_rate": 0.001}}
    assert back.record["schema"] == 1 and back.record["features"] is None
    users, kept = store.top_items(store.record(path))  # type: ignore[misc]
    assert users.tolist() == per_user().index.tolist() and (kept == lists).all()
    assert not (path.stat().st_mode & 0o077) ^ 0o055  # readable by others, unlike a temporary folder


def test_all_lists_empty_keep_their_type(tmp_path: Path) -> None:
    frame = per_user(3).assign(hit_ranks=[np.array([], dtype=np.int16)] * 3)
    back = ResultStore(tmp_path).load(save(tmp_path, frame))
    assert [ranks.dtype for ranks in back.per_user["hit_ranks"]] == [np.dtype(np.int16)] * 3


def test_a_stored_run_is_never_overwritten(tmp_path: Path) -> None:
    path = save(tmp_path)
    before = {file.name: (file.read_bytes(), file.stat().st_mtime_ns) for file in path.iterdir()}
    assert save(tmp_path, per_user(seed=9)) == path
    assert {file.name: (file.read_bytes(), file.stat().st_mtime_ns) for file in path.iterdir()} == before


def test_a_run_is_replaced_where_that_is_asked(tmp_path: Path) -> None:
    path, store = save(tmp_path), ResultStore(tmp_path)
    other = per_user(seed=9)
    assert store.save("controls", "null", "vbpr-s1", key_of(CASE), record(), other, replace=True) == path
    pd.testing.assert_frame_equal(store.load(path).per_user, other, check_exact=True)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.skipif(sys.platform == "win32", reason="pipes")
@pytest.mark.parametrize("name", ["run.json", "per_user.parquet"])
def test_a_pipe_in_the_place_of_a_file_is_damage_and_never_opened(tmp_path: Path, name: str) -> None:
    path = save(tmp_path)
    (path / name).unlink()
    os.mkfifo(path / name)
    with pytest.raises(ResultError, match="a pipe or device, not a file"):
        ResultStore(tmp_path).load(path)
    (tmp_path / "controls" / "drawn.records.jsonl").symlink_to("/dev/zero")
    with pytest.raises(ResultError, match="a pipe or device, not a file"):
        ResultStore(tmp_path).find_records(dataset="drawn")


def test_a_damaged_run_is_not_taken_for_a_stored_one(tmp_path: Path) -> None:
    path = save(tmp_path)
    (path / "per_user.parquet").unlink()
    with pytest.raises(ResultError, match="delete the folder"):
        save(tmp_path)


def test_keys_depend_on_content_only() -> None:
    identity = {"model": "vbpr", "settings": {"dim": 64, "rate": 0.1}, "seed": 1}
    shuffled = {"seed": np.int64(1), "settings": {"rate": np.float64(0.1), "dim": 64}, "model": "vbpr"}
    assert key_of(identity) == key_of(shuffled)
    assert len(key_of(identity)) == 16 and int(key_of(identity), 16) >= 0
    assert key_of(identity) != key_of({**identity, "seed": 2}) != key_of({**identity, "seed": "2"})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (float("nan"), r"record\.metrics\.test\.recall@20 is nan"),
        (np.float64("inf"), "is inf"),
        (Path("/somewhere"), "path of this machine"),
        (object(), "type object"),
    ],
)
def test_a_record_holds_plain_finite_values_only(tmp_path: Path, value: object, message: str) -> None:
    wrong = record()
    wrong["metrics"] = {"test": {"recall@20": value}}
    with pytest.raises(ResultError, match=message):
        ResultStore(tmp_path).save("controls", "null", "x", "0" * 16, wrong, per_user())
    assert not list(tmp_path.rglob("*.*"))


def test_incomplete_or_contradictory_runs_are_not_saved(tmp_path: Path) -> None:
    store, key = ResultStore(tmp_path), "0" * 16
    without = {name: value for name, value in record().items() if name not in ("cost", "overall")}
    with pytest.raises(ResultError, match="without overall, cost"):
        store.save("controls", "null", "x", key, without, per_user())
    with pytest.raises(ResultError, match=r"data\.split"):
        store.save("controls", "null", "x", key, {**record(), "data": {}}, per_user())
    with pytest.raises(ResultError, match="the case is of controls/null, saved under paper/null"):
        store.save("paper", "null", "x", key, record(), per_user())
    with pytest.raises(ResultError, match="cannot name a folder"):
        store.save("controls", "../null", "x", key, record(), per_user())
    with pytest.raises(ResultError, match="not 16 hex digits"):
        store.save("controls", "null", "x", "KEY", record(), per_user())
    with pytest.raises(ResultError, match=r"recall@20 is not a finite number"):
        store.save("controls", "null", "x", key, record(), per_user().assign(**{"recall@20": np.nan}))
    with pytest.raises(ResultError, match="are not of 5 users"):
        store.save("controls", "null", "x", key, record(), per_user(), np.zeros((4, 50), dtype=np.int64))
    assert store.find_records() == [] and not any(tmp_path.rglob("run.json"))


def test_finding_by_case(tmp_path: Path) -> None:
    for seed in (3, 1, 2):
        save(tmp_path, seed=seed)
    save(tmp_path, model="lattice")
    save(tmp_path, track="films", dataset="ml")
    store = ResultStore(tmp_path)
    assert len(find(store)) == 5
    assert [r.case["seed"] for r in find(store, model="vbpr", track="controls")] == [1, 2, 3]
    assert [r.case["seed"] for r in store.find_records(seed=(2, 3))] == [2, 3]
    assert [r.case["model"] for r in store.find_records(dataset=["null", "other"], seed=1)] == ["lattice", "vbpr"]
    assert find(store, model="bpr") == [] and find(ResultStore(tmp_path / "nowhere")) == []
    key = key_of({**CASE, "seed": 2})
    assert [r.case["seed"] for r in store.find_records(key=key)] == [2] and store.find_records(key="f" * 16) == []
    with pytest.raises(ConfigError, match="did you mean 'model'"):
        store.find_records(modle="vbpr")


def test_other_files_and_unfinished_folders_are_left_alone(tmp_path: Path) -> None:
    save(tmp_path)
    (tmp_path / "controls" / "null" / "dataset.json").write_text("{}")
    (tmp_path / "controls" / "null" / f".partial-vbpr-s9-{'0' * 16}").mkdir()
    (tmp_path / "controls" / "null" / "notes").mkdir()
    (tmp_path / "README.md").write_text("results")
    assert len(find(ResultStore(tmp_path))) == 1


def corrupt(path: Path, how: str) -> Path:
    """Damage one file of a run folder; gives the file an error should name."""
    run, table = path / "run.json", path / "per_user.parquet"
    content = json.loads(run.read_text())
    match how:
        case "no run.json":
            run.unlink()
        case "empty run.json":
            run.write_text("")
        case "half a run.json":
            run.write_bytes(run.read_bytes()[:100])
        case "binary run.json":
            run.write_bytes(b"\xff\xfe\x00")
        case "a list":
            run.write_text("[1, 2]")
        case "an edited metric":
            content["metrics"]["test"]["recall@20"] = 0.9
            run.write_text(json.dumps(content))
        case "a renamed folder":
            moved = path.with_name(path.name[:-16] + "f" * 16)
            path.rename(moved)
            return moved / "run.json"
        case "half a table":
            table.write_bytes(table.read_bytes()[: table.stat().st_size // 2])
            return table
        case "a flipped bit":
            flipped = bytearray(table.read_bytes())
            flipped[len(flipped) // 2] ^= 1
            table.write_bytes(flipped)
            return table
        case "no table":
            table.unlink()
            return table
    return run


@pytest.mark.parametrize(
    "how",
    ["no run.json", "empty run.json", "half a run.json", "binary run.json", "a list", "an edited metric",
     "a renamed folder", "half a table", "a flipped bit", "no table"],
)  # fmt: skip
def test_damage_is_named_with_file_and_cure_and_leaves_the_rest_usable(tmp_path: Path, how: str) -> None:
    file = corrupt(save(tmp_path, seed=1), how)
    save(tmp_path, seed=2)
    store = ResultStore(tmp_path)
    with pytest.raises(ResultError) as refused:
        find(store)
    assert str(file) in str(refused.value)
    assert f"delete the folder {file.parent.name} and run again" in str(refused.value)
    if file.name == "run.json":
        with pytest.warns(UserWarning, match="damaged") as caught:
            usable = store.find_records(on_damage="warn")
        assert len(caught) == 1
    else:
        usable = store.find_records(seed=2)
    assert [store.load_record(kept).case["seed"] for kept in usable] == [2]


def test_a_bad_table_behind_a_good_digest_is_still_refused(tmp_path: Path) -> None:
    """Bytes and digest agree, but it is no table: pyarrow's error does not reach the reader."""
    path = save(tmp_path)
    content = json.loads((path / "run.json").read_text())
    (path / "per_user.parquet").write_bytes(b"no table")
    import hashlib

    content["files"]["per_user.parquet"] = hashlib.sha256(b"no table").hexdigest()
    content["digest"] = digest({name: value for name, value in content.items() if name != "digest"})
    (path / "run.json").write_text(json.dumps(content))
    with pytest.raises(ResultError, match="not readable as a table"):
        ResultStore(tmp_path).load(path)


def test_another_schema_is_refused_with_both_numbers(tmp_path: Path) -> None:
    path = save(tmp_path)
    content = json.loads((path / "run.json").read_text())
    (path / "run.json").write_text(json.dumps({**content, "schema": 99}))
    with pytest.raises(ResultError, match="schema 99, this version reads 1"):
        ResultStore(tmp_path).load(path)


def test_ranked_lists_may_be_absent_but_not_wrong(tmp_path: Path) -> None:
    path, store = save(tmp_path, lists=np.zeros((5, 3), dtype=np.int64)), ResultStore(tmp_path)
    (path / "top50.parquet").write_bytes(b"x")
    with pytest.raises(ResultError, match=r"top50\.parquet"):
        store.top_items(store.record(path))
    (path / "top50.parquet").unlink()  # as after cloning: they are not in git
    assert store.top_items(store.record(path)) is None
    assert len(store.load(path).per_user) == 5


def test_hundreds_of_records_are_read_within_a_second(tmp_path: Path) -> None:
    template = save(tmp_path)
    content = json.loads((template / "run.json").read_text())
    for seed in range(2, 302):
        key = f"{seed:016x}"
        folder = template.with_name(f"vbpr-s{seed}-{key}")
        folder.mkdir()
        copy = {**content, "key": key, "case": {**CASE, "seed": seed}}
        copy["digest"] = digest({name: value for name, value in copy.items() if name != "digest"})
        (folder / "run.json").write_text(json.dumps(copy))
    best = float("inf")
    for _ in range(3):  # the best of three: the machine may be busy
        start = time.perf_counter()
        assert len(ResultStore(tmp_path).find_records(track="controls")) == 301
        best = min(best, time.perf_counter() - start)
    assert best < 1.0


def test_reading_gives_no_warning(tmp_path: Path) -> None:
    save(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(ResultStore(tmp_path).find_records(on_damage="warn")) == len(find(ResultStore(tmp_path))) == 1


def test_a_folder_that_may_not_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path)

    def refused(where: object, *more: object) -> None:
        raise PermissionError(13, "Permission denied", str(where))

    monkeypatch.setattr("os.scandir", refused)
    with pytest.raises(ResultError, match=r"cannot be read \(Permission denied\); allow reading it"):
        find(ResultStore(tmp_path))
    monkeypatch.setattr("pathlib.Path.is_dir", refused)
    for read in (ResultStore(tmp_path).holds, ResultStore(tmp_path).load):
        with pytest.raises(ResultError, match=r"cannot be read \(Permission denied\); allow reading it"):
            read(path)


def test_brackets_without_end_are_damage(tmp_path: Path) -> None:
    path = save(tmp_path)
    (path / "run.json").write_text("[" * 100_000)
    with pytest.raises(ResultError, match=r"run\.json: damaged: not valid JSON.*delete the folder"):
        ResultStore(tmp_path).record(path)
