"""Pictures by their links: each asked once, dead ones listed, what is no picture never kept."""

import csv
import io
from pathlib import Path

import pytest
from PIL import Image

from lmmrec_core.encoders.pictures.reading import read_picture
from lmmrec_core.errors import DataError
from lmmrec_core.fetching import pictures
from lmmrec_core.fetching.client import Manners, PoliteClient, Unreachable
from lmmrec_core.fetching.pictures import PictureFolder
from lmmrec_core.fetching.sources import PictureLinks
from tests.fetching.server import Server, in_turn, page, picture, status, whole

RED = picture()


@pytest.fixture
def shop(server: Server) -> dict[str, str]:
    """Item → link: one picture, one twice, and everything that goes wrong."""
    answers = {
        "red": whole(RED),
        "gone": status(410),
        "page": page(),
        "torn": whole(RED[:200]),
        "png": whole(picture(kind="PNG"), content_type="image/png"),
        "busy": in_turn(status(503), status(503), status(503), whole(RED)),
        "short": in_turn(whole(RED, stop_after=100), whole(RED)),
    }
    for name, answer in answers.items():
        server.routes[f"/{name}"] = answer
    links = {name: server.url(f"/{name}") for name in answers}
    return {
        **links,
        "red-again": links["red"],
        "nobody": server.url("/nobody"),
        "blank": server.url("/no-img-sm.gif"),
        "elsewhere": "http://169.254.0.1/secret",
        "file": "file:///etc/passwd",
        "linkless": "",
    }


def folder(tmp_path: Path, server: Server, **options: object) -> PictureFolder:
    rules = PictureLinks(path="images", hosts=(server.host,), blanks=("/no-img-",))
    return PictureFolder(tmp_path / "Toy" / "images", rules, read_picture, **options)


def stored(tmp_path: Path) -> set[str]:
    return {file.name for file in (tmp_path / "Toy" / "images").iterdir()}


def dead(tmp_path: Path) -> dict[str, str]:
    with (tmp_path / "Toy" / "not_there.csv").open(encoding="utf-8", newline="") as file:
        return {row["item_id"]: row["why"] for row in csv.DictReader(file)}


def test_what_comes_is_kept_and_what_does_not_is_counted_and_listed(server, client, tmp_path, shop) -> None:
    (tmp_path / "Toy" / "images.part").mkdir(parents=True)
    (tmp_path / "Toy" / "images.part" / "red").write_bytes(b"left by a killed process")
    outcome = folder(tmp_path, server).fetch(shop, client)
    assert {file.name for file in (tmp_path / "Toy").iterdir()} == {"images", "not_there.csv"}
    assert stored(tmp_path) == {"red.jpg", "red-again.jpg", "png.jpg", "short.jpg"}
    assert (tmp_path / "Toy" / "images" / "red.jpg").read_bytes() == RED  # byte for byte
    assert (outcome.fetched, outcome.there, outcome.without_link, outcome.postponed) == (4, 0, 1, 1)
    assert dead(tmp_path) == {
        "gone": "status 410 Gone",
        "nobody": "status 404 Not Found",
        "page": "a web page",
        "torn": "no picture that can be decoded",
        "blank": "the shop's sign for no picture",
        "elsewhere": "of a host that is not asked",
        "file": "of a host that is not asked",
    }
    assert sum(outcome.dead.values()) == 7
    assert outcome.told().startswith(
        "4 pictures (4 new); 1 items without a link; dead links: of a host that is not asked 2"
    )
    assert outcome.told().endswith("1 to be asked again")
    assert server.asked["/red"] == 1 and server.asked["/no-img-sm.gif"] == 0


def test_the_next_call_asks_only_what_may_have_changed(server, client, tmp_path, shop) -> None:
    folder(tmp_path, server).fetch(shop, client)
    before = dict(server.asked)
    outcome = folder(tmp_path, server).fetch(shop, client)
    assert {path for path, count in server.asked.items() if count > before.get(path, 0)} == {"/busy"}
    assert (outcome.fetched, outcome.there, outcome.postponed) == (1, 4, 0)
    assert sum(outcome.dead.values()) == 7 and len(dead(tmp_path)) == 7


def test_dead_links_are_asked_again_on_request_or_if_they_are_others(server, client, tmp_path, shop) -> None:
    folder(tmp_path, server).fetch(shop, client)
    server.routes["/nobody"] = server.routes["/found"] = whole(RED)
    moved = folder(tmp_path, server).fetch({"gone": server.url("/found")}, client)
    assert moved.fetched == 1 and server.asked["/nobody"] == 1
    again = folder(tmp_path, server, again=True).fetch(shop, client)
    assert "nobody.jpg" in stored(tmp_path) and server.asked["/nobody"] == 2
    assert "nobody" not in dead(tmp_path) and sum(again.dead.values()) == 5


def test_a_line_that_a_kill_broke_off_is_passed_over(server, client, tmp_path, shop) -> None:
    folder(tmp_path, server).fetch(shop, client)
    listed = tmp_path / "Toy" / "not_there.csv"
    listed.write_text(listed.read_text() + '"half","http://half')
    folder(tmp_path, server).fetch({**shop, "late": server.url("/late")}, client)
    assert dead(tmp_path)["late"] == "status 404 Not Found" and "half" not in dead(tmp_path)


def test_items_with_one_link_share_a_file(server, client, tmp_path, shop) -> None:
    folder(tmp_path, server).fetch(shop, client)
    one, other = (tmp_path / "Toy" / "images" / f"{name}.jpg" for name in ("red", "red-again"))
    assert one.samefile(other) or one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize(
    ("size", "expected"),
    [((900, 600), (450, 300)), ((300, 200), (300, 200)), ((2000, 400), (1120, 224)), ((1000, 100), (1000, 100))],
)
def test_large_pictures_are_shrunk_and_never_below_what_encoders_read(server, client, tmp_path, size, expected) -> None:
    server.routes["/p"] = whole(picture(size=size))
    folder(tmp_path, server, longest_side=450).fetch({"p": server.url("/p")}, client)
    with Image.open(tmp_path / "Toy" / "images" / "p.jpg") as kept:
        assert kept.size == expected
        assert max(abs(a - b) for a, b in zip(kept.convert("RGB").getpixel((5, 5)), (200, 10, 10), strict=True)) < 6


def test_pictures_that_someone_has_are_taken_if_they_can_be_decoded(server, tmp_path) -> None:
    good, bad = tmp_path / "a.jpg", tmp_path / "b.jpg"
    good.write_bytes(RED)
    bad.write_bytes(b"no picture")
    assert folder(tmp_path, server).take({"a": good, "b": bad}) == 1
    assert stored(tmp_path) == {"a.jpg"}


def test_a_login_page_for_everything_makes_no_link_dead(server, client, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(pictures, "_GIVE_UP", 5)
    for number in range(30):
        server.routes[f"/{number}"] = page()
    links = {str(number): server.url(f"/{number}") for number in range(30)}
    with pytest.raises(Unreachable, match="5 links in a row gave no picture, the last: a web page"):
        folder(tmp_path, server).fetch(links, client)
    assert dead(tmp_path) == {}


def test_a_host_is_asked_by_few_at_a_time(server, tmp_path) -> None:
    for number in range(24):
        server.routes[f"/{number}"] = whole(RED, pause=0.02)
    links = {str(number): server.url(f"/{number}") for number in range(24)}
    with PoliteClient(Manners(connections=8, per_host=2)) as client:
        assert folder(tmp_path, server).fetch(links, client).fetched == 24
    assert server.most_open == 2


def test_a_huge_file_is_not_read_to_its_end(server, client, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(pictures, "LARGEST", 1 << 16)
    server.routes["/p"] = whole(RED + bytes(1 << 20))
    assert folder(tmp_path, server).fetch({"p": server.url("/p")}, client).dead == {"more than 0 MiB": 1}


def test_a_server_that_drips_is_given_up(server, tmp_path) -> None:
    server.routes["/p"] = whole(RED, piece=10, pause=0.15)
    with PoliteClient(Manners(stall=0.2, attempts=2, first_wait=0.01)) as client:
        assert folder(tmp_path, server).fetch({"p": server.url("/p")}, client).postponed == 1


def test_a_full_disk_is_said(server, client, tmp_path, monkeypatch) -> None:
    server.routes["/p"] = whole(RED)
    monkeypatch.setattr(pictures, "put_in_place", _full)
    with pytest.raises(DataError, match="free space"):
        folder(tmp_path, server).fetch({"p": server.url("/p")}, client)


def _full(raw: Path, place: Path, error: type[DataError]) -> None:
    raise error(f"{place}: could not be written; free space")


def test_the_made_pictures_are_pictures() -> None:
    with Image.open(io.BytesIO(RED)) as made:
        assert made.size == (40, 30)
