"""Only what a case reads is needed, and nothing outside the folder is read."""

import json
import re

import pytest
from PIL import Image

from lmmrec_core.cli import main
from tests.cli.shops import QUICK, mmrec, record, told, write_items

ID_ONLY = ("popularity", "itemknn", "ease", "lightgcn")


@pytest.mark.parametrize("model", ID_ONLY)
def test_interactions_alone_are_enough_for_a_model_without_content(shop, capsys, model):
    options = () if model in ID_ONLY[:3] else ("--set", "epochs=1")
    whole = record(capsys, "--data", shop, "--model", model, *options)
    write_items(shop, {i: f"images/{i}.png" if i % 2 else "" for i in range(12)})  # half without a picture
    assert record(capsys, "--data", shop, "--model", model, *options)["metrics"] == whole["metrics"]
    (shop / "items.csv").unlink()
    bare = record(capsys, "--data", shop, "--model", model, *options)
    assert bare["data"]["items"] == 12 and bare["metrics"] == whole["metrics"]


def test_texts_alone_are_enough_for_texts(shop, capsys):
    lines = [f"i{i},Thing {i}" for i in range(12)]
    (shop / "items.csv").write_text("item_id,title\n" + "\n".join(lines) + "\n")
    assert record(capsys, "--data", shop, "--model", "vbpr", "--modalities", "T", *QUICK)["data"]["items"] == 12
    for asked in ((), ("--modalities", "V&T"), ("--modalities", "V")):
        assert "--modalities T" in told(capsys, "run", "--data", shop, "--model", "vbpr", *QUICK, *asked, rc=1)
    assert re.search(r"modalities +T\n", told(capsys, "data", shop))
    shown = told(capsys, "features", "--catalogue", shop)
    assert "'textual': [12, 384]" in shown and "visual" not in shown


def test_pictures_alone_are_enough_for_pictures(shop, capsys):
    lines = [f"i{i},images/{i}.png" for i in range(12)]
    (shop / "items.csv").write_text("item_id,image\n" + "\n".join(lines) + "\n")
    found = record(capsys, "--data", shop, "--model", "vbpr", "--modalities", "V", *QUICK)
    assert set(found["features"]["card"]["modalities"]) == {"visual"} and found["data"]["items"] == 12
    assert "--modalities V" in told(capsys, "run", "--data", shop, "--model", "vbpr", *QUICK, rc=1)


def test_an_encoder_of_both_modalities_reads_texts_alone(shop, tmp_path, capsys):
    (tmp_path / "mine.yaml").write_text("encoder: clip-tiny\nsettings: {model: clip-tiny-32, seed: 4}\n")
    write_items(shop, dict.fromkeys(range(12), ""))
    call = ("--data", shop, "--model", "vbpr", "--encoder", tmp_path / "mine.yaml", *QUICK)
    assert set(record(capsys, *call, "--modalities", "T")["features"]["card"]["modalities"]) == {"textual"}


def test_items_without_a_picture_are_dropped_only_where_pictures_are_read(shop, capsys):
    write_items(shop, {i: f"images/{i}.png" if i < 10 else "" for i in range(12)})
    run = ("--data", shop, "--model", "vbpr", "--k-core", 1, *QUICK)
    assert record(capsys, *run)["data"]["items"] == 10
    assert record(capsys, *run, "--modalities", "T")["data"]["items"] == 12
    assert record(capsys, *run, "--missing-image", "keep")["data"]["items"] == 12
    told(capsys, "export-mmrec", shop, shop / "out", "--k-core", 1)  # which has no place for pictures
    assert len((shop / "out" / "i_id_mapping.csv").read_text().splitlines()) == 1 + 12
    # the other way round: the same items as a run that reads pictures
    assert record(capsys, *run, "--modalities", "T", "--missing-image", "drop")["data"]["items"] == 10
    assert (
        record(capsys, "--data", shop, "--model", "ease", "--k-core", 1, "--missing-image", "drop")["data"]["items"]
        == 10
    )


def test_all_broken_pictures_are_told_at_once_and_can_be_dropped_or_kept(shop, capsys):
    (shop / "images" / "3.png").write_bytes(b"no picture")
    (shop / "images" / "7.png").write_bytes((shop / "images" / "7.png").read_bytes()[:40])
    run = ("run", "--data", shop, "--model", "vbpr", "--k-core", 1, *QUICK)
    for call in (run, ("data", shop)):
        error = told(capsys, *call, rc=1)
        assert "2 pictures cannot be read" in error and "3.png" in error and "7.png" in error
        assert "--unreadable drop" in error and "--unreadable keep" in error
    assert record(capsys, *run[1:], "--unreadable", "drop")["data"]["items"] == 10
    kept = record(capsys, *run[1:], "--unreadable", "keep")
    assert kept["data"]["items"] == 12 and kept["features"]["card"]["modalities"]["visual"]["missing"] == 2
    assert record(capsys, *run[1:], "--modalities", "T")["data"]["items"] == 12  # pictures are not looked at
    (shop / "images" / "3.png").unlink()
    error = told(capsys, *run, rc=1)
    assert "'images/3.png' not found" in error and "--unreadable drop" in error
    assert record(capsys, *run[1:], "--unreadable", "drop")["data"]["items"] == 10


def test_nothing_of_a_broken_items_table_matters_to_ids(shop, capsys):
    (shop / "items.csv").write_bytes(b"\xff\xfe broken")
    assert record(capsys, "--data", shop, "--model", "ease")["data"]["items"] == 12


def test_a_picture_outside_the_folder_is_never_read(shop, tmp_path, capsys):
    Image.new("RGB", (8, 8)).save(tmp_path / "secret.png")
    (shop / "images" / "3.png").unlink()
    (shop / "images" / "3.png").symlink_to(tmp_path / "secret.png")
    for options in ((), ("--unreadable", "drop"), ("--unreadable", "keep")):
        error = told(capsys, "run", "--data", shop, "--model", "vbpr", *QUICK, *options, rc=1)
        assert "'images/3.png' is outside the folder" in error
    (shop / "images" / "3.png").unlink()
    (shop / "images" / "3.png").symlink_to("4.png")  # a link that stays inside is fine
    (tmp_path / "door").symlink_to(shop)
    assert "12" in told(capsys, "data", tmp_path / "door")


@pytest.mark.parametrize("asin", ["../../secret", "/tmp/secret", "a/b", "..", "a\u0000b"])
def test_an_asin_that_is_a_path_is_refused(tmp_path, capsys, asin):
    folder = tmp_path / "amazon" / "deep"
    (folder / "images").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "amazon" / "secret.jpg")
    review = {"reviewerID": "A", "asin": asin, "overall": 5.0, "unixReviewTime": 1}
    (folder / "reviews_X_5.json").write_text(json.dumps(review) + "\n")
    (folder / "meta_X.json").write_text(repr({"asin": asin, "title": "Cup"}) + "\n")
    assert "is no ASIN" in told(capsys, "data", folder, rc=1)


def test_a_link_among_amazon_pictures_is_refused(tmp_path, capsys):
    (tmp_path / "a" / "images").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "secret.jpg")
    (tmp_path / "a" / "images" / "B00000000X.jpg").symlink_to(tmp_path / "secret.jpg")
    review = {"reviewerID": "A", "asin": "B00000000X", "overall": 5.0, "unixReviewTime": 1}
    (tmp_path / "a" / "reviews_X_5.json").write_text(json.dumps(review) + "\n")
    (tmp_path / "a" / "meta_X.json").write_text(repr({"asin": "B00000000X", "title": "Cup"}) + "\n")
    assert "a link out of the folder" in told(capsys, "data", tmp_path / "a", rc=1)


def test_what_is_dropped_on_the_way_to_another_layout_is_told(shop, tmp_path, capsys):
    write_items(shop, {i: f"images/{i}.png" if i < 10 else "" for i in range(12)})
    for call in (("features", "--catalogue", shop), ("export-mmrec", shop, tmp_path / "out", "--encoder", "baseline")):
        assert main([*map(str, call), "--k-core", "1"]) == 0
        error = capsys.readouterr().err
        assert "rows 180 read, " in error and "2 items without image" in error


def test_persons_that_an_import_cannot_keep_are_told(tmp_path, capsys):
    folder = mmrec(tmp_path / "toy")
    lines = [f"u{n}\t{n}\t{n // 2}" for n in range(20)]
    (folder / "u_id_mapping.csv").write_text("\n".join(["user_id\tuserID\tgroup", *lines]) + "\n")
    assert main(["import-mmrec", str(folder), str(tmp_path / "new")]) == 0
    assert "persons behind users (column 'group') have no place" in capsys.readouterr().err


def test_the_cure_for_broken_pictures_is_not_refused_where_all_are_broken(shop, capsys):
    for i in range(12):
        (shop / "images" / f"{i}.png").write_bytes(b"no picture")
    assert "--unreadable keep" in told(capsys, "data", shop, rc=1)
    assert re.search(r"modalities +T\n", told(capsys, "data", shop, "--unreadable", "keep"))
    error = told(capsys, "run", "--data", shop, "--model", "vbpr", *QUICK, "--unreadable", "keep", rc=1)
    assert "none of its 12 pictures can be read" in error and "--modalities T" in error
