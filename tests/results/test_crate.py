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
    def measure(result: Any, name: str) -> Any:
        raise KeyError(name)

    root = tmp_path / "results"
    path, store = save(root), ResultStore(root, measure)
    pack(store, "controls", "null")
    for file in path.iterdir():
        file.unlink()
    path.rmdir()
    entities = crate(store, tmp_path / "crate")
    (run,) = (entity for entity in entities.values() if entity["@type"] == "CreateAction")
    assert {part["@id"] for part in run["result"]} == {"controls/null.records.jsonl", "controls/null.users.parquet"}


def test_equal_results_give_an_equal_crate(store: ResultStore, tmp_path: Path) -> None:
    assert list(crate(store, tmp_path / "a").items()) == list(crate(store, tmp_path / "b").items())


def test_nothing_is_made_of_nothing_of_damage_or_over_a_folder(store: ResultStore, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no stored results"):
        write_crate(store, "paper", "Paper", "", tmp_path / "crate")
    (tmp_path / "there").mkdir()
    with pytest.raises(ConfigError, match="exists already"):
        write_crate(store, "controls", "Controls", "", tmp_path / "there")
    save(store.root, per_user(seed=3), seed=3)
    (damaged,) = store.root.glob("controls/null/vbpr-s3-*/per_user.parquet")
    damaged.write_bytes(b"no table")
    with pytest.raises(ResultError, match="damaged"):
        write_crate(store, "controls", "Controls", "", tmp_path / "crate")
    assert not (tmp_path / "crate").exists()
