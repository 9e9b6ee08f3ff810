"""Cards show what they are given and nothing is fetched; words are words and never markup."""

import base64

from bs4 import BeautifulSoup

from lmmrec_core.report.gallery import Card, Gallery


def test_a_gallery_holds_its_pictures_titles_and_notes_in_order() -> None:
    cards = [Card("a", "A jug", b"picture", ("rank 1", "held out: found"), marked=True), Card("b", "A cup", None)]
    page = BeautifulSoup(Gallery((("VBPR", cards), ("none of BPR's", []))).to_html(), "lxml")
    assert [heading.get_text() for heading in page.select("p")] == ["VBPR", "none of BPR's"]
    (listed,) = page.select("ol")
    first, second = listed.select("li")
    assert first.get_text(" ", strip=True) == "A jug rank 1 held out: found" and second.get_text() == "A cup"
    (picture,) = page.select("img")
    assert base64.b64decode(picture["src"].partition("base64,")[2]) == b"picture" and picture["alt"] == "picture of a"
    assert "border-left" in first["style"] and "border-left" not in second["style"]
    assert second.select_one("[role=img]")["aria-label"] == "b has no picture"


def test_texts_of_a_catalogue_are_no_markup() -> None:
    html = Gallery((("<i>x</i>", [Card('"><script>', "<b>bold</b>", b"", ("a < b",))]),)).to_html()
    page = BeautifulSoup(html, "lxml")
    assert not page.select("i, script, b b") and "<b>bold</b>" in page.get_text() and "a < b" in page.get_text()


def test_an_item_without_a_title_is_called_by_its_id() -> None:
    assert "<b>B00</b>" in Card("B00", "", None).html()
