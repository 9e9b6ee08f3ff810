"""``lmmrec fetch`` from a server on this machine: whole, resumed after a kill, from a folder, and what it says."""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lmmrec_core.cli import main
from lmmrec_core.study.collection import collect
from lmmrec_core.study.declared.track_file import read_track
from lmmrec_core.study.workspace import Workspace
from tests.fetching.server import Server, running, status, until_closed
from tests.study.collection import toy_release

ROOT = Path(__file__).resolve().parents[2]
PLACE = Path("data") / "amazon" / "Toy"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    """The toy release under its addresses; the working folder is empty but for a track that reads it."""
    with running() as server:
        toy_release.serve(server)
        known = toy_release.publications(server)
        monkeypatch.setattr("lmmrec_core.cli.fetch.read_publications", lambda: known)
        toy_release.write_track(tmp_path)
        monkeypatch.chdir(tmp_path)
        yield server


def fetch(*words: str) -> int:
    return main(["fetch", "--track", "toys.yaml", *([] if "--data" in words else ["--data", "data"]), *words])


def pictures(place: Path = PLACE) -> set[int]:
    return {toy_release.ITEMS.index(file.stem) for file in (place / "images").glob("*.jpg")}


def test_everything_comes_and_is_counted(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    assert fetch() == 0
    told = capsys.readouterr()
    assert "amazon/Toy/image_features_Toy.b  131.2 kB, to come" in told.out  # the server was asked for its size
    assert "Toy release: nowhere; licence: none" in told.out
    assert told.out.index("to come: ") < told.out.index("fetched: amazon/Toy/reviews_Toy_5.json.gz")
    assert "toy: 5 pictures (5 new); 1 items without a link; dead links:" in told.out
    rows = {line.split("  ")[0]: line.split()[-3:] for line in told.out.splitlines()}
    assert rows["all items"] == ["8", "8", "40"] and rows["items with a picture"] == ["8", "5", "25"]
    assert pictures() == set(toy_release.WITH_PICTURE) and told.err == ""


def test_what_was_fetched_is_what_the_track_reads(server: Server) -> None:
    assert fetch("--quiet") == 0
    catalogue = Workspace.open(read_track("toys.yaml"), "data").dataset("toy").catalogue
    assert catalogue.n_items == 5 and all(catalogue.images)


def test_a_second_call_asks_for_nothing(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    assert fetch() == 0
    before = dict(server.asked)
    assert fetch() == 0
    assert dict(server.asked) == before
    assert "to come: 0 bytes" in capsys.readouterr().out


def test_a_dry_run_says_it_all_and_fetches_nothing(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    assert fetch("--dry-run") == 0
    assert "time: about 1 minutes at 10.0 MB and 20 pictures a second (assumed)" in capsys.readouterr().out
    assert not server.asked and not PLACE.exists()


def test_a_part_is_fetched_if_asked_for(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    assert fetch("--only", "reviews", "metadata") == 0
    assert {file.name for file in PLACE.iterdir()} == {"reviews_Toy_5.json.gz", "meta_Toy.json.gz"}
    assert fetch("--only", "pictures", "--longest-side", "300") == 0 and pictures()


def test_what_could_not_be_had_is_said_and_the_rest_comes(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    server.routes["/image_features_Toy.b"] = status(404)
    server.routes["/meta_Toy.json.gz"] = until_closed(b"<html>moved</html>")
    assert fetch() == 1
    told = capsys.readouterr().err
    assert "not there: amazon/Toy/image_features_Toy.b: no address has given it" in told
    assert "a web page came in the place of amazon/Toy/meta_Toy.json.gz" in told
    assert "toy: pictures need the reviews and the metadata" in told and "Traceback" not in told
    assert {file.name for file in PLACE.iterdir()} == {"reviews_Toy_5.json.gz"}


def test_a_folder_that_someone_has_needs_no_network(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fetch() == 0
    shutil.move("data", "mine")
    before = dict(server.asked)
    assert fetch("--from", "mine", "--offline") == 0
    assert dict(server.asked) == before and pictures() == set(toy_release.WITH_PICTURE)
    shutil.rmtree("data")
    features = tmp_path / "mine" / "amazon" / "Toy" / "image_features_Toy.b"
    features.write_bytes(features.read_bytes()[:-7])
    capsys.readouterr()
    assert fetch("--from", "mine", "--offline") == 1
    assert "are not a whole number of records of 16,394 bytes: broken off" in capsys.readouterr().err
    assert not (PLACE / "image_features_Toy.b").exists() and (PLACE / "meta_Toy.json.gz").is_file()


def test_another_release_is_refused_unless_accepted(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    known = toy_release.publications(server)
    known["amazon"] = known["amazon"].model_copy(update={"rows": {"Toy": 41}})
    monkeypatch.setattr("lmmrec_core.cli.fetch.read_publications", lambda: known)
    assert fetch() == 1
    assert "toy: 40 reviews, published are 41: another release, or a part of it" in capsys.readouterr().err
    assert fetch("--accept-counts") == 0


def test_a_disk_that_is_too_small_is_said_before_anything_is_asked(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(collect.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1000}))
    assert fetch() == 1
    assert "bytes are to come, the disk has 1,000" in capsys.readouterr().err and not server.asked


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--longest-side", "100"], "give at least as many"),
        (["--offline", "--again"], "leave one out"),
        (["--connections", "0"], "connections = 0 is not valid"),
        (["--from", "nowhere"], "no such folder"),
        (["--data", ""], "give the folder"),
        (["--data", "toys.yaml"], "cannot be made"),
    ],
)
def test_what_makes_no_sense_is_refused(
    server: Server, words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fetch(*words) == 1
    assert told in capsys.readouterr().err and not server.asked


def test_a_drawn_track_needs_nothing_and_films_are_not_ours_to_fetch(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fetch"]) == 0 and "nothing to fetch" in capsys.readouterr().out
    assert main(["fetch", "--track", "films", "--data", "x"]) == 1
    assert "no addresses are known" in capsys.readouterr().err


def test_open_clip_fetches_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys) -> None:
    asked = []
    monkeypatch.setattr("lmmrec_core.encoders.clip.build.fetch", lambda *call: asked.append(call) or "its cache")
    assert main(["fetch", "--track", "paper", "--data", str(tmp_path / "d"), "--only", "clip"]) == 0
    assert asked == [("ViT-B-16-quickgelu", "openai")]
    assert "into its cache" in capsys.readouterr().out


def _process(server: Server) -> subprocess.Popen[bytes]:
    """The command in a process of its own."""
    code = textwrap.dedent(f"""
        from types import SimpleNamespace
        from lmmrec_core.cli import fetch, main
        from tests.study.collection import toy_release
        served = SimpleNamespace(url=lambda path: {server.url("")!r} + path, host={server.host!r})
        known = toy_release.publications(served)
        fetch.read_publications = lambda: known
        raise SystemExit(main(["fetch", "--track", "toys.yaml", "--data", "data"]))
    """)
    return subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)})


def test_a_killed_command_is_gone_on_with_and_ends_with_the_same_files(server: Server) -> None:
    toy_release.serve(server, piece=2048, pause=0.05)
    killed = _process(server)
    part = PLACE / "image_features_Toy.b.part"
    deadline = time.monotonic() + 60
    while not (part.is_file() and part.stat().st_size > 20_000) and time.monotonic() < deadline:
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    come = part.stat().st_size
    assert fetch() == 0
    assert server.ranges("/image_features_Toy.b") == [None, f"bytes={come}-"]
    assert server.asked["/reviews_Toy_5.json.gz"] == 1
    for name, content in toy_release.files(server).items():
        assert (PLACE / name).read_bytes() == content
    assert pictures() == set(toy_release.WITH_PICTURE)
    left = {file.name for file in PLACE.iterdir()}
    assert left == {*toy_release.files(server), "images", "not_there.csv"}


def test_two_commands_do_not_fill_one_folder(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    toy_release.serve(server, piece=2048, pause=0.05)
    other = _process(server)
    deadline = time.monotonic() + 60
    while not (PLACE / "image_features_Toy.b.part").is_file() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert fetch() == 1
    assert "another lmmrec fetch fills this folder" in capsys.readouterr().err
    assert other.wait() == 0
