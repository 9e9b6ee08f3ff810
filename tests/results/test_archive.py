"""Packed runs come back as they were; what is damaged is named and not used; packing adds and repeats exactly."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lmmrec_core.errors import ConfigError, ResultError
from lmmrec_core.flow import Result
from lmmrec_core.metrics.again import measured_again
from lmmrec_core.metrics.evaluate import evaluate_lists
from lmmrec_core.results.archive import rows_digest
from lmmrec_core.results.packing import pack, packable, unpack
from lmmrec_core.results.store import ResultStore, key_of
from tests.metrics.splits import random_lists, random_split
from tests.results.samples import CASE, find, per_user, record

TRACK, DATASET = "controls", "null"


def save(store: ResultStore, draw: int = 0, **case: Any) -> Path:
    """A run with metrics that follow from its hits, as every real run has."""
    rng = np.random.default_rng(draw)
    split = random_split(rng)
    frame, overall = evaluate_lists(random_lists(split, rng), np.arange(split.n_users), split, "test")
    described = record(**case)
    described["overall"] = overall
    described["metrics"] = {"test": {name: float(frame[name].mean()) for name in frame if "@" in name}}
    slug = f"{described['case']['model']}-s{described['case']['seed']}"
    return store.save(TRACK, DATASET, slug, key_of(described["case"]), described, frame)


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    opened = ResultStore(tmp_path, measured_again)
    for seed in (1, 2, 3):
        save(opened, draw=seed, seed=seed)
    return opened


def files(store: ResultStore) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((store.root / TRACK).iterdir()) if path.is_file()}


def drop_folders(store: ResultStore) -> None:
    for folder in store.folders(TRACK, DATASET):
        shutil.rmtree(folder)


def same(some: list[Result], others: list[Result]) -> None:
    assert [r.record for r in some] == [r.record for r in others] and len(some) > 0
    for one, other in zip(some, others, strict=True):
        pd.testing.assert_frame_equal(one.per_user, other.per_user, check_exact=True)
        assert (one.case, one.overall) == (other.case, other.overall)
        kinds = [[each.dtype for each in r.per_user["hit_items"]] for r in (one, other)]
        assert kinds[0] == kinds[1]


def test_packed_runs_are_read_like_their_folders(store: ResultStore) -> None:
    before, paths = find(store), [r.path for r in store.find_records()]
    packed = pack(store, TRACK, DATASET)
    assert (packed.runs, packed.added) == (3, 3) and list(files(store)) == ["null.records.jsonl", "null.users.parquet"]
    assert packed.size == sum(map(len, files(store).values()))
    drop_folders(store)
    same(find(store), before)
    assert [r.path for r in store.find_records()] == paths and all(map(store.holds, paths))
    assert [r.case["seed"] for r in store.find_records(seed=[1, 3], dataset=DATASET)] == [1, 3]
    assert store.find_records(dataset="other") == [] == store.find_records(track="films")
    assert store.top_items(store.find_records()[0]) is None


def test_metrics_that_follow_from_the_hits_are_not_kept(store: ResultStore) -> None:
    pack(store, TRACK, DATASET)
    kept = pd.read_parquet(store.root / TRACK / f"{DATASET}.users.parquet")
    assert not [name for name in kept.columns if "@" in name]
    assert set(kept["key"]) == {r.key for r in store.find_records()}
    drop_folders(store)
    with pytest.raises(ResultError, match="open the store with `measure`"):
        find(ResultStore(store.root))
    assert len(ResultStore(store.root).find_records()) == 3


def test_a_metric_that_does_not_follow_from_the_hits_is_kept(tmp_path: Path) -> None:
    store = ResultStore(tmp_path, measured_again)
    frame = per_user()  # its metrics are random numbers
    store.save(TRACK, DATASET, "vbpr-s1", key_of(CASE), record(), frame)
    pack(store, TRACK, DATASET)
    drop_folders(store)
    pd.testing.assert_frame_equal(find(store)[0].per_user, frame, check_exact=True)


def test_unpacking_gives_the_same_bytes(store: ResultStore) -> None:
    before = {file: file.read_bytes() for folder in store.folders(TRACK, DATASET) for file in folder.iterdir()}
    pack(store, TRACK, DATASET)
    assert unpack(store, TRACK, DATASET) == []
    drop_folders(store)
    assert len(unpack(store, TRACK, DATASET)) == 3
    assert {file: file.read_bytes() for folder in store.folders(TRACK, DATASET) for file in folder.iterdir()} == before


def test_the_same_runs_give_the_same_bytes(store: ResultStore) -> None:
    pack(store, TRACK, DATASET)
    first = files(store)
    assert pack(store, TRACK, DATASET).added == 0 and files(store) == first
    drop_folders(store)
    assert pack(store, TRACK, DATASET).added == 0 and files(store) == first


@pytest.mark.parametrize(
    "history", [None, [], [{"number": 1}, {"number": 2, "loss": 0.1}], [{"a": 1, "b": 2}, {"b": 1, "a": 2}], [{}, {}]]
)
def test_any_history_comes_back(tmp_path: Path, history: list[dict[str, float]] | None) -> None:
    store = ResultStore(tmp_path, measured_again)
    described = record()
    described["training"] = {"epochs": 2, "history": history, "stopped": "cap"}
    path = store.save(TRACK, DATASET, "vbpr-s1", key_of(CASE), described, per_user())
    content = (path / "run.json").read_bytes()
    pack(store, TRACK, DATASET)
    drop_folders(store)
    unpack(store, TRACK, DATASET)
    assert (path / "run.json").read_bytes() == content


def test_two_packs_add_up(store: ResultStore, tmp_path: Path) -> None:
    pack(store, TRACK, DATASET)
    drop_folders(store)
    save(store, draw=4, seed=4)
    packed = pack(store, TRACK, DATASET)
    assert (packed.runs, packed.added) == (4, 1)
    whole = ResultStore(tmp_path / "whole", measured_again)
    for seed in (4, 2, 3, 1):
        save(whole, draw=seed, seed=seed)
    pack(whole, TRACK, DATASET)
    assert files(whole) == files(store)


def test_runs_with_other_columns_share_an_archive(store: ResultStore) -> None:
    store.save(TRACK, DATASET, "bpr-s1", key_of({**CASE, "model": "bpr"}), record(model="bpr"), per_user())
    before = find(store)
    pack(store, TRACK, DATASET)
    drop_folders(store)
    same(find(store), before)


def test_a_folder_goes_before_the_archive(store: ResultStore) -> None:
    pack(store, TRACK, DATASET)
    path = store.folders(TRACK, DATASET)[0]
    assert len(store.find_records()) == 3 and all(r.archived is None for r in store.find_records())
    (path / "run.json").write_text("{}")
    with pytest.raises(ResultError, match="delete the folder"):
        store.find_records()
    shutil.rmtree(path)
    assert [r.archived is not None for r in store.find_records()].count(True) == 1


def test_saving_does_not_repeat_a_packed_run(store: ResultStore) -> None:
    pack(store, TRACK, DATASET)
    drop_folders(store)
    path = save(store, draw=9, seed=1)
    assert not path.exists() and len(store.load(path).per_user) > 0
    assert store.save(TRACK, DATASET, "vbpr-s1", key_of(CASE), record(), per_user(), replace=True) == path
    pd.testing.assert_frame_equal(store.load(path).per_user, per_user(), check_exact=True)


def test_damaged_runs_are_refused_by_name_and_nothing_is_written(store: ResultStore) -> None:
    one, two, _ = store.folders(TRACK, DATASET)
    (one / "per_user.parquet").write_bytes(b"")
    (two / "run.json").unlink()
    with pytest.raises(ResultError) as problem:
        pack(store, TRACK, DATASET)
    assert one.name in str(problem.value) and two.name in str(problem.value) and files(store) == {}


def test_there_must_be_something_to_pack(tmp_path: Path) -> None:
    store = ResultStore(tmp_path, measured_again)
    assert packable(store, TRACK) == [] == unpack(store, TRACK, DATASET)
    with pytest.raises(ConfigError, match="nothing to pack"):
        pack(store, TRACK, DATASET)


@pytest.fixture
def packed(store: ResultStore) -> tuple[ResultStore, list[Result]]:
    """A store of packed runs, and what they were."""
    before = find(store)
    pack(store, TRACK, DATASET)
    drop_folders(store)
    return store, before


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_flipped_byte_or_a_cut_is_named_or_changes_nothing(
    packed: tuple[ResultStore, list[Result]], data: st.DataObject
) -> None:
    (store, before), sound = packed, files(packed[0])
    name = data.draw(st.sampled_from(sorted(sound)))
    place = data.draw(st.integers(0, len(sound[name]) - 1))
    content = bytearray(sound[name])
    if data.draw(st.booleans()):
        content[place] ^= data.draw(st.integers(1, 255))
    else:
        content = content[:place]
    file = store.root / TRACK / name
    try:
        file.write_bytes(content)
        try:
            found = find(store)
        except ResultError as error:
            assert str(file) in str(error)
            assert any(cure in str(error) for cure in ("restore it from version control", "use a newer version"))
        else:
            same(found, before)
    finally:
        file.write_bytes(sound[name])


def test_a_damaged_archive_is_warned_about_and_left_out(store: ResultStore) -> None:
    pack(store, TRACK, DATASET)
    drop_folders(store)
    file = store.root / TRACK / f"{DATASET}.records.jsonl"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(lines[:-1]))
    with pytest.warns(UserWarning, match=r"do not match the SHA-256 in its header .*restore it"):
        assert store.find_records(on_damage="warn") == []
    with pytest.raises(ResultError, match="restore it"):
        pack(store, TRACK, DATASET)
    save(store, draw=5, seed=5)
    with pytest.warns(UserWarning, match="restore it"):
        assert [r.case["seed"] for r in store.find_records(on_damage="warn")] == [5]


def test_rows_of_another_pack_are_not_used(store: ResultStore, tmp_path: Path) -> None:
    """The keys are the same, the hits are not."""
    other = ResultStore(tmp_path / "other", measured_again)
    for seed in (1, 2, 3):
        save(other, draw=seed + 10, seed=seed)
    for each in (store, other):
        pack(each, TRACK, DATASET)
        drop_folders(each)
    users = f"{DATASET}.users.parquet"
    (store.root / TRACK / users).write_bytes((other.root / TRACK / users).read_bytes())
    for found in store.find_records():
        with pytest.raises(ResultError, match=f"{found.path.name} do not match their digest"):
            store.load_record(found)


def test_a_record_is_held_against_what_its_hits_say(store: ResultStore) -> None:
    """Somebody's metric under a name of ours would give other numbers than the record tells."""
    pack(store, TRACK, DATASET)
    drop_folders(store)
    other = ResultStore(store.root, lambda result, name: measured_again(result, name) * 1.001)
    with pytest.raises(ResultError, match=r"recall@10 of the run .* by its kept hits"):
        find(other)


def test_a_newer_users_file_serves_older_records(store: ResultStore) -> None:
    """What a kill between the two files leaves."""
    before = find(store)
    pack(store, TRACK, DATASET)
    records = store.root / TRACK / f"{DATASET}.records.jsonl"
    older = records.read_bytes()
    save(store, draw=4, seed=4)
    pack(store, TRACK, DATASET)
    drop_folders(store)
    records.write_bytes(older)
    same(find(store), before)


def test_another_format_is_refused(store: ResultStore) -> None:
    pack(store, TRACK, DATASET)
    file = store.root / TRACK / f"{DATASET}.records.jsonl"
    first, rest = file.read_text().split("\n", 1)
    file.write_text(json.dumps({**json.loads(first), "format": 2}) + "\n" + rest)
    drop_folders(store)
    with pytest.raises(ResultError, match="written in format 2, this version reads 1"):
        find(store)


def test_the_digest_of_rows_sees_every_value() -> None:
    frame = per_user()
    hits = frame["hit_items"].tolist()
    moved = [np.array([], dtype=np.int32), *hits[:1], *hits[2:]]
    changed = (
        frame.assign(n_relevant=frame["n_relevant"] + 1),
        frame.assign(n_relevant=frame["n_relevant"].astype(np.int64)),
        frame.assign(hit_items=moved),
        frame.rename(columns={"hit_items": "hits"}),
        frame.set_index(frame.index + 1),
        frame[::-1],
    )
    assert len({rows_digest(each) for each in (frame, *changed)}) == len(changed) + 1
    assert rows_digest(per_user()) == rows_digest(frame)


def test_brackets_without_end_are_damage(packed: tuple[ResultStore, list[Result]]) -> None:
    store, _ = packed
    (file,) = store.root.rglob("*.records.jsonl")
    file.write_text("[" * 100_000)
    with pytest.raises(ResultError, match="damaged: not an archive of records"):
        store.find_records()
