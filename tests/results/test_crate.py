"""A crate of results: what RO-Crate 1.1 asks for is there, checksums are right, every reference leads somewhere."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lmmrec_core.errors import ConfigError, ResultError
from lmmrec_core.results.crate import METADATA, write_crate
from lmmrec_core.results.packing import pack
from lmmrec_core.results.store import ResultStore
from tests.results.samples import find, per_user, save


def references(value: Any) -> Iterator[str]:
    """Every id that an entity names beside its own."""
    if isinstance(value, dict):
        if set(value) == {"@id"}:
            yield value["@id"]
        else:
            for name, inner in value.items():
                if name != "@id":
                    yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def crate(store: ResultStore, target: Path) -> dict[str, dict[str, Any]]:
    """Entities by id."""
    write_crate(store, "controls", "Controls", "Synthetic catalogues.", target)
    read = json.loads((target / METADATA).read_text(encoding="utf-8"))
    assert read["@context"][0] == "https://w3id.org/ro/crate/1.1/context"
    entities = {entity["@id"]: entity for entity in read["@graph"]}
    assert len(entities) == len(read["@graph"])
    return entities


def no_metric(result: Any, name: str) -> Any:
    raise KeyError(name)


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    root = tmp_path / "results"
    save(root, lists=np.arange(20).reshape(5, 4), seed=1)
    save(root, seed=2)
    save(root, track="films", dataset="ml")
    (root / "controls" / "null" / ".partial-x").mkdir()
    (root / "controls" / "null" / ".partial-x" / "run.json").write_text("{}")
    return ResultStore(root)


def test_it_has_what_the_specification_requires(store: ResultStore, tmp_path: Path) -> None:
    entities = crate(store, tmp_path / "crate")
    descriptor, root = entities[METADATA], entities["./"]
    assert descriptor["@type"] == "CreativeWork" and descriptor["about"] == {"@id": "./"}
    assert descriptor["conformsTo"] == {"@id": "https://w3id.org/ro/crate/1.1"}
    assert root["@type"] == "Dataset" and all(
        root[name] for name in ("name", "description", "license", "datePublished")
    )
    assert all("@type" in entity and not entity["@id"].startswith("/") for entity in entities.values())
    outside = ("https://w3id.org/ro/crate/1.1",)
    for entity in entities.values():
        assert {name for name in references(entity)} <= {*entities, *outside}, entity["@id"]


def test_every_file_is_listed_with_its_sum_and_nothing_else_is_there(store: ResultStore, tmp_path: Path) -> None:
    entities, target = crate(store, tmp_path / "crate"), tmp_path / "crate"
    listed = {part["@id"] for part in entities["./"]["hasPart"]}
    there = {file.relative_to(target).as_posix() for file in target.rglob("*") if file.is_file()} - {METADATA}
    assert listed == there == {name for name, entity in entities.items() if entity["@type"] == "File"}
    assert len(there) == 5 and all(name.startswith("controls/null/vbpr-s") for name in there)
    for name in there:
        content = (target / name).read_bytes()
        assert entities[name]["sha256"] == hashlib.sha256(content).hexdigest()
        assert entities[name]["contentSize"] == str(len(content))


def test_a_crate_can_be_read_as_results(store: ResultStore, tmp_path: Path) -> None:
    crate(store, tmp_path / "crate")
    kept, copied = find(store, track="controls"), find(ResultStore(tmp_path / "crate"))
    assert [run.case for run in copied] == [run.case for run in kept] and len(kept) == 2


def test_a_run_names_its_code_its_data_and_its_files(store: ResultStore, tmp_path: Path) -> None:
    entities = crate(store, tmp_path / "crate")
    runs = [entity for entity in entities.values() if entity["@type"] == "CreateAction"]
    assert sorted(len(run["result"]) for run in runs) == [2, 3]
    for run in runs:
        assert run["endTime"] == "2026-01-01T00:00:00+00:00" and "model vbpr" in run["description"]
        code = entities[run["instrument"]["@id"]]
        assert code["name"] == "lmmrec" and "commit unknown" in code["softwareVersion"]
        assert [entities[thing["@id"]]["identifier"] for thing in run["object"]] == ["c" * 16, "s" * 16]
        assert all(part["@id"].startswith(f"controls/null/{run['name']}/") for part in run["result"])


def test_packed_runs_name_the_archive_of_their_data_set(tmp_path: Path) -> None:
    root = tmp_path / "results"
    path, store = save(root), ResultStore(root, no_metric)
    pack(store, "controls", "null")
    for file in path.iterdir():
        file.unlink()
    path.rmdir()
    entities = crate(store, tmp_path / "crate")
    (run,) = (entity for entity in entities.values() if entity["@type"] == "CreateAction")
    assert {part["@id"] for part in run["result"]} == {"controls/null.records.jsonl", "controls/null.users.parquet"}


def test_equal_results_give_an_equal_crate(store: ResultStore, tmp_path: Path) -> None:
    assert list(crate(store, tmp_path / "a").items()) == list(crate(store, tmp_path / "b").items())


def made(store: ResultStore, target: Path) -> None:
    write_crate(store, "controls", "Controls", "", target)


def flip(file: Path) -> None:
    """Change a bit of a file."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def test_nothing_is_made_of_nothing_or_over_what_is_there(store: ResultStore, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no stored results"):
        write_crate(store, "paper", "Paper", "", tmp_path / "crate")
    (store.root / "paper").mkdir()
    with pytest.raises(ConfigError, match="no stored results"):
        write_crate(store, "paper", "Paper", "", tmp_path / "crate")
    there = tmp_path / "there"
    there.mkdir()
    (there / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match="exists already, and is not empty"):
        made(store, there)
    with pytest.raises(ConfigError, match="as a file"):
        made(store, there / "mine.txt")
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    with pytest.raises(ConfigError, match="as a link"):
        made(store, tmp_path / "link")
    assert (there / "mine.txt").read_text() == "mine" and sorted(there.iterdir()) == [there / "mine.txt"]
    (there / "mine.txt").unlink()
    made(store, there)  # an empty folder is as good as none


def test_a_crate_is_not_made_among_the_results(store: ResultStore, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(store.root)
    for place in (store.root / "crate", store.root / "controls" / "crate", tmp_path / "link" / "controls" / "x"):
        with pytest.raises(ConfigError, match="where only results may be"):
            made(store, place)
    assert not [entry for entry in store.root.rglob("*crate*")]


@pytest.mark.parametrize("name", ["run.json", "per_user.parquet", "top50.parquet"])
def test_every_file_that_a_record_names_is_held_against_its_digest(
    store: ResultStore, tmp_path: Path, name: str
) -> None:
    (run,) = store.root.glob("controls/null/vbpr-s1-*")
    flip(run / name)
    with pytest.raises(ResultError, match=f"(?s)these files are damaged.*{name}"):
        made(store, tmp_path / "crate")
    assert not (tmp_path / "crate").exists()


def test_all_that_is_damaged_is_listed_at_once(store: ResultStore, tmp_path: Path) -> None:
    save(store.root, per_user(seed=3), seed=3)
    damaged = [
        *store.root.glob("controls/null/vbpr-s3-*/per_user.parquet"),
        *store.root.glob("controls/null/vbpr-s1-*/top50.parquet"),
    ]
    for file in damaged:
        flip(file)
    (store.root / "controls" / "null" / "note.json").write_text("{}")

    def check(file: Path) -> bool:
        raise ResultError(f"{file}: not what it was")

    with pytest.raises(ResultError) as told:
        write_crate(store, "controls", "Controls", "", tmp_path / "crate", check)
    for file in (*damaged, store.root / "controls" / "null" / "note.json"):
        assert str(file) in str(told.value)
    (store.root / "controls" / "null" / "note.json").unlink()
    for file in damaged:
        flip(file)  # back
    made(store, tmp_path / "crate")


@pytest.mark.parametrize("folders", [True, False])
@pytest.mark.parametrize("name", ["null.users.parquet", "null.records.jsonl"])
def test_packed_runs_are_checked_whether_they_have_folders_or_not(tmp_path: Path, folders: bool, name: str) -> None:
    path = save(tmp_path / "results")
    store = ResultStore(tmp_path / "results", no_metric)
    pack(store, "controls", "null")
    if not folders:
        for file in path.iterdir():
            file.unlink()
        path.rmdir()
    made(store, tmp_path / "sound")
    file = store.root / "controls" / name
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 3])
    with pytest.raises(ResultError, match="damaged"):
        made(store, tmp_path / "crate")
    file.unlink()
    with pytest.raises(ResultError, match=r"null\.users\.parquet"):
        made(store, tmp_path / "crate")


def test_what_is_reached_by_links_is_copied_as_it_is_read(store: ResultStore, tmp_path: Path) -> None:
    (run,) = store.root.glob("controls/null/vbpr-s1-*")
    run.rename(tmp_path / run.name)
    run.symlink_to(tmp_path / run.name)
    (other,) = store.root.glob("controls/null/vbpr-s2-*")
    (other / "per_user.parquet").rename(tmp_path / "values")
    (other / "per_user.parquet").symlink_to(tmp_path / "values")
    entities = crate(store, tmp_path / "crate")
    assert sorted(len(e["result"]) for e in entities.values() if e["@type"] == "CreateAction") == [2, 3]
    assert len(find(ResultStore(tmp_path / "crate"))) == 2
    assert not [file for file in (tmp_path / "crate").rglob("*") if file.is_symlink()]
    (store.root / "controls" / "round").symlink_to(store.root / "controls")
    with pytest.raises(ResultError, match="a link to a folder that it lies in"):
        made(store, tmp_path / "again")
    (store.root / "controls" / "round").unlink()
    (store.root / "controls" / "gone").symlink_to(tmp_path / "nothing")
    with pytest.raises(ResultError, match="neither a file nor a folder"):
        made(store, tmp_path / "again")


def test_what_no_run_made_is_copied_and_told_and_is_no_result(store: ResultStore, tmp_path: Path) -> None:
    (run,) = store.root.glob("controls/null/vbpr-s1-*")
    (run / "notes.txt").write_text("mine")
    made = write_crate(store, "controls", "Controls", "", tmp_path / "crate")
    assert made.unknown == (Path("null") / run.name / "notes.txt",) and made.files == 6
    graph = json.loads((tmp_path / "crate" / METADATA).read_text(encoding="utf-8"))["@graph"]
    named = f"controls/null/{run.name}/notes.txt"
    assert {"@id": named} in next(entity for entity in graph if entity["@id"] == "./")["hasPart"]
    assert not any({"@id": named} in entity.get("result", []) for entity in graph)
