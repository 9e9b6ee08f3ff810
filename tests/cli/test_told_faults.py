"""Faults of a catalogue: all of them at once, with a cure that fits."""

import numpy as np
import pytest

from tests.cli.shops import rows_of, told, write_items, write_rows


def test_all_faults_are_told_in_one_pass(shop, capsys):
    rows = rows_of(shop)
    rows[2] = "u0,i99,5,1"
    rows[4] = "u0,i5,5,soon"
    rows[6] = "u1,i1,5"
    rows[8] = ",i1,5,3"
    write_rows(shop, "user_id,item_id,rating,timestamp", rows)
    images = {i: f"images/{i}.png" for i in range(12)} | {4: "images/nowhere.png", 5: "../secret.png"}
    write_items(shop, images)
    np.save(shop / "textual.npy", np.ones((3, 2)))
    (shop / "images" / "9.png").write_bytes(b"no picture")
    error = told(capsys, "data", shop, rc=1)
    for words in (
        "interactions.csv line 4: item 'i99' is not among", "line 6: timestamp 'soon' is not a number",
        "line 8: 3 cells", "line 10: user_id is empty", "image 'images/nowhere.png' not found",
        "'../secret.png' is outside the folder", "textual.npy: 3 rows for 12 items", "9.png cannot be read",
    ):  # fmt: skip
        assert words in error, words
    assert "7 faults" in error and "Traceback" not in error


def test_many_faults_of_one_kind_are_counted(shop, capsys):
    write_rows(shop, "user_id,item_id", [f"u{n},gone{n}" for n in range(500)])
    error = told(capsys, "data", shop, rc=1)
    assert "500 faults" in error and "and 490 more like the last" in error and len(error.splitlines()) < 15


@pytest.mark.parametrize(("separator", "words"), [(";", "';'"), ("\t", "tabs"), ("|", "'|'")])
def test_another_separator_is_named(shop, capsys, separator, words):
    for name in ("interactions.csv", "items.csv"):
        (shop / name).write_text((shop / name).read_text().replace(",", separator))
    error = told(capsys, "data", shop, rc=1)
    assert error.count(f"separated by {words}, not by ','") == 2 and "add it" not in error


@pytest.mark.parametrize(
    ("first", "words"),
    [("\n\n", "line 1: blank; remove"), ("# my rows\n", "line 1: a comment; remove"), ("sep=,\n", "for a spreadsheet")],
)
def test_what_stands_in_the_place_of_a_header_is_named(shop, capsys, first, words):
    (shop / "interactions.csv").write_text(first + (shop / "interactions.csv").read_text())
    assert words in told(capsys, "data", shop, rc=1)


def test_a_table_separated_by_blanks_is_told_as_such(tmp_path, shop, capsys):
    (shop / "interactions.csv").write_text((shop / "interactions.csv").read_text().replace(",", " "))
    assert "separated by blanks, not by ','" in told(capsys, "data", shop, rc=1)


def test_a_cell_of_any_length_is_read(shop, capsys):
    text = (shop / "items.csv").read_text().replace("A thing", "word " * 40_000, 1)
    (shop / "items.csv").write_text(text)
    assert "12" in told(capsys, "data", shop)


def test_a_near_miss_of_an_item_or_a_file_is_named(shop, capsys):
    write_rows(shop, "user_id,item_id", ["u1,I1", *(",".join(line.split(",")[:2]) for line in rows_of(shop))])
    (shop / "items.csv").write_text((shop / "items.csv").read_text().replace("i1,", "item-1,", 1))
    error = told(capsys, "data", shop, rc=1)
    assert "item 'i1' is not among" in error
    assert "did you mean interactions.csv?" in told(capsys, "data", shop, "--interactions", "interaction.csv", rc=1)
    assert f"did you mean its folder {shop.name}" in told(capsys, "data", shop.parent, rc=1)
    (shop / "interactions.csv").rename(shop / "Interaction.csv")
    assert "did you mean Interaction.csv" in told(capsys, "data", shop, rc=1)


def test_a_user_with_every_item_is_named_by_the_id_of_the_file(shop, capsys):
    rows = [f"anna,i{i}" for i in range(12)] + [f"bert{n},i{i}" for n in range(4) for i in range(6)]
    write_rows(shop, "user_id,item_id,split", [f"{row},train" for row in rows] + ["bert0,i7,valid", "bert1,i7,test"])
    error = told(capsys, "run", "--data", shop, "--model", "bpr", "--set", "epochs=1", "--quiet", rc=1)
    assert "user 'anna' has all 12 items" in error


@pytest.mark.parametrize(
    ("names", "lines"),
    [
        (("reviews_X_5.json", "meta_X.json"), ('{"user_id": "A", "parent_asin": "B00000000X", "rating": 5.0}', "{}")),
        (
            ("reviews_X_5.json", "meta_X.json"),
            (
                '{"reviewerID": "A", "asin": "B00000000X", "overall": 5.0, "unixReviewTime": 1}',
                '{"asin": "B00000000X", "title": null}',
            ),
        ),
        (("Baby.jsonl", "meta_Baby.jsonl"), ("{}", "{}")),
        (("Baby_5.json", "meta_Baby.json"), ("{}", "{}")),
    ],
)
def test_later_amazon_releases_are_named_as_what_they_are(tmp_path, capsys, names, lines):
    for name, line in zip(names, lines, strict=True):
        (tmp_path / name).write_text(line + "\n")
    error = told(capsys, "data", tmp_path, rc=1)
    assert "2018 and 2023" in error and "catalogue folder" in error and "fetch" not in error


@pytest.mark.shared
@pytest.mark.parametrize(
    ("folder", "rc", "words"),
    [
        ("split_quoted", 0, "given"),
        ("split_x_label", 1, "did you mean 'split'"),
        ("latin1_inter", 1, "save the file as UTF-8"),
        ("long_field", 0, "mmrec"),
        ("semicolon", 1, "separated by ';'"),
        ("nolabel", 0, "mmrec"),
        ("plain_mmrec", 0, "given"),
        ("textonly", 0, "modalities  T"),
    ],
)
def test_the_shared_odd_catalogues(shared_data, capsys, folder, rc, words):
    assert words in told(capsys, "data", shared_data / "odd-catalogues" / folder, rc=rc)


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("images/3.PNG", "did you mean 'images/3.png'?"), ("images/3", "did you mean 'images/3.png'?"),
        ("3.png", "did you mean 'images/3.png'?"), ("images\\3.png", "did you mean 'images/3.png'?"),
        ("https://shop.example/3.png", "it is a link, and pictures are read from files"), ("images/99.png", "; add it"),
    ],
)  # fmt: skip
def test_a_near_miss_of_a_picture_is_named(shop, capsys, cell, words):
    write_items(shop, {i: f"images/{i}.png" for i in range(12)} | {3: cell})
    error = told(capsys, "data", shop, rc=1)
    assert words in error and ("did you mean" in error) == ("did you mean" in words)


def test_a_date_in_the_place_of_seconds_is_told_as_such(shop, capsys):
    write_rows(shop, "user_id,item_id,timestamp", ["u1,i1,2020-01-31"])
    assert "write seconds since 1970" in told(capsys, "data", shop, rc=1)
