"""One file from servers that stall, break off, redirect, refuse, and send other files than they should."""

import hashlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from lmmrec_core.errors import DataError
from lmmrec_core.fetching import download
from lmmrec_core.fetching.client import Gone, Manners, PoliteClient, Unreachable
from lmmrec_core.fetching.download import Download
from lmmrec_core.fetching.sources import SourceFile
from tests.fetching.server import in_turn, page, status, until_closed, whole, zipped

ROOT = Path(__file__).resolve().parents[2]
CONTENT = zipped()
SHA256 = hashlib.sha256(CONTENT).hexdigest()
HALF = len(CONTENT) // 2


def source(*addresses: str, **changes: object) -> SourceFile:
    return SourceFile.build({"name": "reviews", "path": "a/b.gz", "addresses": addresses, "content": "gzip", **changes})


def fetch(tmp_path: Path, client: PoliteClient, *addresses: str, **changes: object) -> Path:
    target = tmp_path / "a" / "b.gz"
    assert (
        Download(source(*addresses, **changes), target, client).run() == hashlib.sha256(target.read_bytes()).hexdigest()
    )
    assert [file.name for file in target.parent.iterdir()] == ["b.gz"]  # nothing half beside it
    return target


def left_over(tmp_path: Path) -> list[str]:
    return sorted(file.name for file in (tmp_path / "a").iterdir())


def test_a_file_comes_whole_and_its_progress_is_told(server, client, tmp_path) -> None:
    server.routes["/f"] = whole(CONTENT)
    told: list[tuple[int, int | None]] = []
    Download(source(server.url("/f")), tmp_path / "a" / "b.gz", client, lambda *moved: told.append(moved)).run()
    assert (tmp_path / "a" / "b.gz").read_bytes() == CONTENT
    assert told[-1] == (len(CONTENT), len(CONTENT)) and told == sorted(told)
    assert server.headers[0][1]["Accept-Encoding"] == "identity"


def test_a_broken_off_answer_is_gone_on_with(server, client, tmp_path) -> None:
    server.routes["/f"] = in_turn(whole(CONTENT, stop_after=HALF), whole(CONTENT))
    assert fetch(tmp_path, client, server.url("/f")).read_bytes() == CONTENT
    assert server.ranges("/f") == [None, f"bytes={HALF}-"]
    assert server.headers[1][1]["If-Range"] == f'"{SHA256[:8]}"'


def test_a_stall_ends_the_connection_and_not_the_fetch(server, client, tmp_path) -> None:
    server.routes["/f"] = in_turn(whole(CONTENT, stop_after=HALF, stall=60.0), whole(CONTENT))
    before = time.monotonic()
    assert fetch(tmp_path, client, server.url("/f")).read_bytes() == CONTENT
    assert time.monotonic() - before < 30.0 and server.ranges("/f")[1] == f"bytes={HALF}-"


def test_many_short_answers_are_no_failure_as_long_as_bytes_come(server, client, tmp_path) -> None:
    server.routes["/f"] = whole(CONTENT, stop_after=len(CONTENT) // 8)
    assert fetch(tmp_path, client, server.url("/f")).read_bytes() == CONTENT
    assert server.asked["/f"] > client.manners.attempts


def test_a_server_without_ranges_starts_over(server, client, tmp_path) -> None:
    server.routes["/f"] = in_turn(whole(CONTENT, stop_after=HALF), whole(CONTENT, ranges=False))
    assert fetch(tmp_path, client, server.url("/f")).read_bytes() == CONTENT


@pytest.mark.parametrize("etag", ["", 'W/"weak"'])
def test_what_cannot_be_told_apart_is_not_joined(server, client, tmp_path, etag) -> None:
    server.routes["/f"] = in_turn(whole(CONTENT, etag, stop_after=HALF), whole(CONTENT, etag))
    assert fetch(tmp_path, client, server.url("/f")).read_bytes() == CONTENT
    assert server.ranges("/f") == [None, None]


def test_a_file_that_changed_meanwhile_comes_from_its_start(server, client, tmp_path) -> None:
    newer = zipped(3000)
    server.routes["/f"] = in_turn(whole(CONTENT, stop_after=HALF), whole(newer))
    assert fetch(tmp_path, client, server.url("/f")).read_bytes() == newer
    assert server.ranges("/f")[1] == f"bytes={HALF}-"  # asked for the rest, given the whole of another


def test_all_bytes_there_but_the_name_is_no_second_download(server, client, tmp_path) -> None:
    server.routes["/f"] = whole(CONTENT)
    begun = Download(source(server.url("/f")), tmp_path / "a" / "b.gz", client)
    begun.target.parent.mkdir()
    begun._attempt(server.url("/f"))  # and killed before it was named
    assert fetch(tmp_path, client, server.url("/f")).read_bytes() == CONTENT
    assert server.ranges("/f") == [None, f"bytes={len(CONTENT)}-"]


def test_redirects_are_followed_and_circles_are_not(server, client, tmp_path) -> None:
    server.routes["/moved"] = status(302, Location="/f")
    server.routes["/f"] = whole(CONTENT)
    assert fetch(tmp_path, client, server.url("/moved")).read_bytes() == CONTENT
    server.routes["/circle"] = status(302, Location="/circle")
    with pytest.raises(Gone, match="leads nowhere"):
        Download(source(server.url("/circle")), tmp_path / "c.gz", client).run()


def test_the_next_address_is_asked_where_one_has_nothing(server, client, tmp_path) -> None:
    server.routes["/f"] = whole(CONTENT)
    server.routes["/login"] = page()
    assert fetch(tmp_path, client, server.url("/gone"), server.url("/login"), server.url("/f")).is_file()
    assert server.asked["/gone"] == server.asked["/login"] == 1  # what is gone is not asked again and again


@pytest.mark.parametrize(
    ("answer", "changes", "told"),
    [
        (status(404), {}, "status 404 Not Found"),
        (page(), {}, "a web page came in the place of a/b.gz"),
        (until_closed(b"\n <html>no type, no length"), {}, "a web page came"),
        (whole(CONTENT), {"sha256": "0" * 64}, "published is 0000000000000000…"),
        (whole(CONTENT), {"size": 10}, "published are 10"),
        (until_closed(CONTENT), {"size": len(CONTENT) + 1}, "published are"),
        (until_closed(CONTENT[:HALF]), {}, "not a whole gzip file"),
        (until_closed(b""), {}, "empty"),
        (whole(b"plain text"), {}, "not a whole gzip file"),
        (whole(b"x" * 100), {"content": "vectors"}, "not a whole number of records"),
        (whole(b"lower case" + bytes(4 * 4096)), {"content": "vectors"}, "does not begin with an ASIN"),
        (whole(b"text"), {"content": "torch"}, "not a file of weights"),
        (status(204), {}, "brings no file"),
    ],
)
def test_what_is_not_the_file_is_refused_with_the_cure(server, client, tmp_path, answer, changes, told) -> None:
    server.routes["/f"] = answer
    with pytest.raises(Gone) as error:
        Download(source(server.url("/f"), **changes), tmp_path / "a" / "b.gz", client).run()
    assert told in str(error.value) and "--from FOLDER" in str(error.value)
    assert left_over(tmp_path) == []


def test_a_whole_file_of_each_kind_passes(server, client, tmp_path) -> None:
    for name, content in {"vectors": b"B000000001" + bytes(4 * 4096), "torch": b"PK\x03\x04rest"}.items():
        server.routes["/f"] = whole(content)
        assert fetch(tmp_path, client, server.url("/f"), content=name).read_bytes() == content
        (tmp_path / "a" / "b.gz").unlink()


def test_a_pause_that_is_asked_for_is_kept_by_all(server, client, tmp_path) -> None:
    server.routes["/f"] = in_turn(status(429, Retry_After="1"), whole(CONTENT))
    server.routes["/other"] = whole(CONTENT)
    before = time.monotonic()
    fetch(tmp_path, client, server.url("/f"))
    assert time.monotonic() - before >= 1.0
    server.routes["/f"] = status(429, Retry_After="1")
    with PoliteClient(Manners(attempts=1)) as hasty:
        with pytest.raises(Unreachable):
            Download(source(server.url("/f")), tmp_path / "c.gz", hasty).run()
        before = time.monotonic()
        Download(source(server.url("/other")), tmp_path / "d.gz", hasty).run()  # the same host
        assert time.monotonic() - before > 0.8


def test_a_pause_that_is_too_long_ends_the_call_and_not_the_file(server, client, tmp_path) -> None:
    server.routes["/f"] = in_turn(whole(CONTENT, stop_after=HALF), status(503, Retry_After="4000"), whole(CONTENT))
    with pytest.raises(Unreachable, match=r"pause of 4,000 seconds.*\n.*run the same command again"):
        fetch(tmp_path, client, server.url("/f"))
    assert left_over(tmp_path) == ["b.gz.part", "b.gz.part.json"]
    assert fetch(tmp_path, client, server.url("/f")).read_bytes() == CONTENT
    assert server.ranges("/f")[-1] == f"bytes={HALF}-"


def test_a_server_that_never_answers_is_given_up_after_some_attempts(server, client, tmp_path) -> None:
    server.routes["/f"] = status(500)
    with pytest.raises(Unreachable, match="given up after 3 attempts"):
        fetch(tmp_path, client, server.url("/f"))
    assert server.asked["/f"] == 3
    with pytest.raises(Unreachable, match="given up"):
        fetch(tmp_path, client, "http://127.0.0.1:9/closed")


@pytest.mark.parametrize("address", ["ftp://127.0.0.1/f", "http://host:port/", "nothing"])
def test_what_is_no_address_is_said(client, tmp_path, address) -> None:
    with pytest.raises(Gone):
        fetch(tmp_path, client, address)


def test_a_damaged_note_means_from_the_start(server, client, tmp_path) -> None:
    server.routes["/f"] = whole(CONTENT)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.gz.part").write_bytes(b"something")
    (tmp_path / "a" / "b.gz.part.json").write_text("{")
    assert fetch(tmp_path, client, server.url("/f")).read_bytes() == CONTENT


def test_a_disk_without_room_is_said_before_a_byte_comes(server, client, tmp_path, monkeypatch) -> None:
    server.routes["/f"] = whole(CONTENT)
    usage = type("Usage", (), {"free": 10})
    monkeypatch.setattr(download.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(DataError, match=f"needs {len(CONTENT):,} more bytes, the disk has 10"):
        fetch(tmp_path, client, server.url("/f"))


def test_a_killed_fetch_is_gone_on_with_by_the_next(server, client, tmp_path) -> None:
    server.routes["/f"] = in_turn(whole(CONTENT, piece=4096, pause=0.05), whole(CONTENT))
    code = textwrap.dedent(f"""
        from pathlib import Path
        from lmmrec_core.fetching.client import PoliteClient
        from lmmrec_core.fetching.download import Download
        from tests.fetching.test_download import source
        with PoliteClient() as client:
            Download(source({server.url("/f")!r}), Path({str(tmp_path / "a" / "b.gz")!r}), client).run()
    """)
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
    part = tmp_path / "a" / "b.gz.part"
    deadline = time.monotonic() + 60
    while not (part.is_file() and part.stat().st_size > 10_000) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    come = part.stat().st_size
    assert 10_000 < come < len(CONTENT)
    assert fetch(tmp_path, client, server.url("/f")).read_bytes() == CONTENT
    assert server.ranges("/f") == [None, f"bytes={come}-"]
