"""Catalogues with something odd about them: what is asked is done, or refused with the cure; never a traceback."""

import gzip
import json
import re

import numpy as np
import pytest
from PIL import Image

from lmmrec_core.cli import main

QUICK = ("--quiet", "--set", "epochs=1", "--set", "embedding_dim=4")
HEAD = "item_id,title,brand,categories,description,image\n"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("LMMREC_HOME", str(tmp_path / "home"))


@pytest.fixture
def shop(tmp_path):
    """30 users, 12 items, 6 interactions each; texts and pictures, nothing ready."""
    folder = tmp_path / "shop"
    (folder / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows = [(u, int(i)) for u in range(30) for i in sorted(rng.choice(12, 6, replace=False))]
    write_rows(
        folder, "user_id,item_id,rating,timestamp", [f"u{u},i{i},{1 + (u + i) % 5},{u * 100 + i}" for u, i in rows]
    )
    for i in range(12):
        Image.new("RGB", (8, 8), (20 * i, 0, 0)).save(folder / "images" / f"{i}.png")
    write_items(folder, {i: f"images/{i}.png" for i in range(12)})
    return folder


def write_rows(folder, header, rows):
    (folder / "interactions.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")


def rows_of(folder):
    return (folder / "interactions.csv").read_text(encoding="utf-8").splitlines()[1:]


def write_items(folder, images):
    lines = [f"i{i},Thing {i},Maker,Things,A thing,{image}" for i, image in images.items()]
    (folder / "items.csv").write_text(HEAD + "\n".join(lines) + "\n", encoding="utf-8")


def with_split(folder, header):
    """The rows with a part each, under ``header``: of each user's six, four are train."""
    parts = ("train", "train", "train", "train", "valid", "test")
    cells = [line.split(",")[:2] for line in rows_of(folder)]
    write_rows(folder, header, [f"{user},{item},{parts[n % 6]}" for n, (user, item) in enumerate(cells)])


def mmrec(folder, labelled=True, rng_seed=1):
    folder.mkdir()
    rng = np.random.default_rng(rng_seed)
    lines = ["userID\titemID\trating\ttimestamp" + ("\tx_label" if labelled else "")]
    for u in range(20):
        for n, i in enumerate(rng.choice(10, 6, replace=False)):
            lines.append(f"{u}\t{i}\t{1 if n < 2 else 4}.0\t{n}" + (f"\t{max(0, n - 3)}" if labelled else ""))
    (folder / "toy.inter").write_text("\n".join(lines) + "\n")
    for name in ("image_feat", "text_feat"):
        np.save(folder / f"{name}.npy", rng.normal(size=(10, 3)).astype("float32"))
    return folder


def told(capsys, *call, rc=0):
    """What a command says, on stdout if it went well and on stderr if it did not."""
    assert main([str(word) for word in call]) == rc, capsys.readouterr()
    out, err = capsys.readouterr()
    return out if rc == 0 else err


def record(capsys, *call):
    return json.loads(told(capsys, "run", *call, "--json", "--quiet"))


# --- the header is judged once, by the reader -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header",
    [
        '"user_id","item_id","split"',
        "user_id, item_id, split",
        '"user_id", "item_id", "split"',
        "\ufeffuser_id,item_id,split",
    ],
)
def test_a_split_is_used_however_its_header_is_quoted_or_spaced(shop, capsys, header):
    with_split(shop, header)
    found = record(capsys, "--data", shop, "--model", "popularity")["data"]
    assert (found["rule"], found["train"], found["valid"], found["test"]) == ("given", 120, 30, 30)


@pytest.mark.parametrize("column", ["Split", "SPLIT", "x_label", "splits", "spilt", "subset", "fold", "set"])
def test_a_near_miss_of_the_column_of_parts_is_refused(shop, capsys, column):
    with_split(shop, f"user_id,item_id,{column}")
    for command in (("data", shop), ("run", "--data", shop, "--model", "popularity")):
        assert f"column {column!r} is not read; did you mean 'split'?" in told(capsys, *command, rc=1)


@pytest.mark.parametrize(
    ("column", "wanted"), [("Rating", "rating"), ("ratings", "rating"), ("time_stamp", "timestamp")]
)
def test_a_near_miss_of_another_optional_column_is_refused(shop, capsys, column, wanted):
    write_rows(shop, f"user_id,item_id,{column}", [",".join(line.split(",")[:3]) for line in rows_of(shop)])
    assert f"did you mean {wanted!r}?" in told(capsys, "data", shop, rc=1)


def test_columns_of_other_names_do_no_harm(shop, capsys):
    write_rows(
        shop, "user_id,item_id,device,price", [",".join(line.split(",")[:2]) + ",phone,3" for line in rows_of(shop)]
    )
    assert "mmrec" in told(capsys, "data", shop)


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "utf-16-be"])
def test_interactions_in_another_encoding_are_refused_by_every_command(shop, capsys, encoding):
    text = (shop / "interactions.csv").read_text().replace("u0,", "josé,")
    (shop / "interactions.csv").write_bytes(text.encode(encoding))
    for command in (
        ("data", shop), ("run", "--data", shop, "--model", "ease"), ("features", "--catalogue", shop),
        ("search", "--catalogue", shop, "--model", "itemknn"), ("export-mmrec", shop, shop / "out"),
    ):  # fmt: skip
        error = told(capsys, *command, rc=1)
        assert "interactions.csv" in error and "save the file as UTF-8" in error and len(error.splitlines()) == 1


def test_compressed_tables_are_read(shop, capsys):
    plain = record(capsys, "--data", shop, "--model", "ease")["metrics"]
    (shop / "interactions.csv.gz").write_bytes(gzip.compress((shop / "interactions.csv").read_bytes()))
    assert "interactions.csv and interactions.csv.gz; keep one" in told(capsys, "data", shop, rc=1)
    (shop / "interactions.csv").unlink()
    assert record(capsys, "--data", shop, "--model", "ease")["metrics"] == plain
    (shop / "interactions.csv.gz").rename(shop / "rows.csv.gz")
    assert record(capsys, "--data", shop, "--model", "ease", "--interactions", "rows.csv.gz")["metrics"] == plain


def test_an_mmrec_folder_comes_without_its_column_of_parts(tmp_path, capsys):
    folder = mmrec(tmp_path / "toy", labelled=False)
    assert record(capsys, "--data", folder, "--model", "ease")["data"]["rule"] == "mmrec"
    (folder / "toy.inter").write_text((folder / "toy.inter").read_text().replace("timestamp", "label", 1))
    assert "did you mean 'x_label'?" in told(capsys, "data", folder, rc=1)


# --- what was asked is done or refused --------------------------------------------------------------------------------


def test_ready_rows_of_one_modality_are_used_and_the_other_is_encoded(shop, capsys):
    np.save(shop / "visual.npy", np.random.default_rng(0).normal(size=(12, 5)).astype("float32"))
    found = record(capsys, "--data", shop, "--model", "vbpr", *QUICK)
    assert found["case"]["modalities"] == "V&T"
    assert {m: entry["dim"] for m, entry in found["features"]["card"]["modalities"].items()} == {"textual": 384}
    assert found["features"]["card"]["ready"] == ["visual"]
    np.save(shop / "visual.npy", np.random.default_rng(9).normal(size=(12, 5)).astype("float32"))
    other = record(capsys, "--data", shop, "--model", "vbpr", *QUICK)
    assert other["features"]["digest"] != found["features"]["digest"]  # the rows were read


def test_min_rating_of_an_mmrec_folder_is_honoured(tmp_path, capsys):
    folder = mmrec(tmp_path / "toy")
    shown = told(capsys, "data", folder, "--min-rating", 2)
    assert re.search(r"rows_below_min_rating +40\n", shown) and "120 read, 80 kept" in shown
    assert "given" in shown


PARITY = {"user": [0, 0, 0, 1], "item": [0, 1, 2, 2], "split": [0, 1, 2, 0]}


def test_an_option_that_the_format_does_not_have_is_refused(tmp_path, capsys):
    np.savez(tmp_path / "interactions.npz", n_users=2, n_items=3, **{k: np.array(v) for k, v in PARITY.items()})
    np.savez(tmp_path / "features.npz", visual=np.ones((3, 2)), text=np.ones((3, 2)))
    for option in (("--min-rating", 4), ("--interactions", "x.csv"), ("--unreadable", "drop")):
        assert f"{option[0]} has no effect" in told(capsys, "data", tmp_path, *option, rc=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--k-core", "-3"), "--k-core -3: give 1 or more"),
        (("--k-core", "0"), "--k-core 0: give 1 or more"),
        (("--split-seed", "-1"), "--split-seed -1"),
        (("--split", "random"), "unknown split rule 'random'"),
        (("--split", "global_time", "--split-seed", "3"), "draws nothing; leave it out"),
        (("--split", "given"), "needs a column of parts"),
        (("--min-rating", "nan"), "min_rating = nan is not valid"),
        (("--interactions", "../rows.csv"), "outside the folder"),
        (("--unreadable", "drop", "--modalities", "T"), "--unreadable has no effect: no pictures are read"),
        (("--seed", "-1"), "--seed -1"),
        (("--set", "device=cuda:99"), "set device=cpu"),
        (("--set", "device=tpu"), "is no device"),
    ],
)
def test_a_value_that_cannot_be_meant_is_refused(shop, capsys, options, message):
    assert message in told(capsys, "run", "--data", shop, "--model", "vbpr", *QUICK, *options, rc=1)


def test_a_core_or_a_seed_beside_a_given_split_is_refused(shop, capsys):
    with_split(shop, "user_id,item_id,split")
    assert "--split mmrec" in told(capsys, "data", shop, "--k-core", 4, rc=1)
    assert "draws nothing" in told(capsys, "data", shop, "--split-seed", 4, rc=1)
    assert "given" in told(capsys, "data", shop, "--k-core", 1)  # asks for what is done anyway
    assert "mmrec, seed 4" in told(capsys, "data", shop, "--split", "mmrec", "--k-core", 4, "--split-seed", 4)


@pytest.mark.parametrize(
    "option", [("--encoder", "clip"), ("--paradigm", "PT"), ("--modalities", "T"), ("--control", "shuffled")]
)
def test_content_options_of_a_model_without_content_are_refused(shop, capsys, option):
    for call in (("run", "--data", shop, "--model", "ease"), ("search", "--catalogue", shop, "--model", "itemknn")):
        if call[0] == "search" and option[0] in ("--paradigm", "--control"):
            continue
        assert f"{option[0]} has no effect: model" in told(capsys, *call, *option, rc=1)


def test_a_setting_of_training_is_refused_where_nothing_is_trained(shop, capsys):
    error = told(capsys, "run", "--data", shop, "--model", "ease", "--set", "epochs=3", rc=1)
    assert "--set epochs has no effect" in error and "its settings: reg" in error
    assert "ease" in told(capsys, "run", "--data", shop, "--model", "ease", "--set", "reg=9")


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("visual: lite0\ntextual: minilm\nprecison: bf16\n", "unknown setting 'precison'"),
        ("visual: {encoder: lite0, settings: {sise: 3}}\ntextual: minilm\n", "unknown setting 'sise'"),
        ("visual: {encoder: lite0, seting: {}}\ntextual: minilm\n", "seting"),
        ("visual: lite1\ntextual: minilm\n", "unknown encoder 'lite1'; did you mean 'lite0'"),
        ("encoder: clip-tiny\nsettings: {modle: clip-tiny-32}\n", "unknown setting 'modle'; did you mean 'model'"),
        ("encoder: clip-tiny\nfine_tune: {epoch: 3}\n", "unknown setting 'epoch'; did you mean 'epochs'"),
        ("textual: minilm\n", "names none for pictures; add `visual:` to it, or use --modalities T"),
    ],
)
def test_an_unknown_key_of_an_encoder_entry_is_refused(shop, tmp_path, capsys, entry, message):
    (tmp_path / "mine.yaml").write_text(entry)
    call = ("run", "--data", shop, "--model", "vbpr", *QUICK, "--encoder", tmp_path / "mine.yaml")
    assert message in told(capsys, *call, rc=1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (("data", "--k-core", "3"), "--k-core is for a catalogue of your own"),
        (("data", "SHOP", "--track", "films"), "--track has no effect"),
        (("features", "--missing-text", "keep"), "--missing-text is for a catalogue of your own"),
        (("features", "--catalogue", "SHOP", "--track", "controls"), "--track has no effect"),
        (("search", "--dataset", "null", "--model", "vbpr", "--min-rating", "3"), "--min-rating is for a catalogue"),
        (("search", "--dataset", "null", "--model", "vbpr", "--jobs", "3"), "--jobs is for the search of all cells"),
        (("search", "--cells", "--seed", "3"), "--seed is for the search of one model"),
    ],
)
def test_options_of_the_other_use_of_a_command_are_refused(shop, capsys, call, message):
    assert message in told(capsys, *(shop if word == "SHOP" else word for word in call), rc=1)


def test_run_says_what_it_used(shop, capsys):
    out = told(capsys, "run", "--data", shop, "--model", "ease", "--min-rating", 2, "--k-core", 3)
    assert "shop, format folder: 30 users, 12 items" in out
    below = sum(line.split(",")[2] == "1" for line in rows_of(shop))
    assert f"180 read, {180 - below} kept" in out and f"{below} rows below min_rating" in out
    assert re.search(r"core +3\n", out) and "mmrec, seed 2026: " in out
    assert "none, ease reads no content" in out and "every seed gives the same lists" in out
    both = capsys
    assert main(["run", "--data", str(shop), "--model", "ease", "--json"]) == 0
    seen = both.readouterr()
    assert json.loads(seen.out)["case"]["model"] == "ease" and "180 read, 180 kept" in seen.err


# --- only what the case reads is needed -------------------------------------------------------------------------------

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


# --- cures that fit ---------------------------------------------------------------------------------------------------


def test_all_faults_are_told_in_one_pass(shop, capsys):
    rows = rows_of(shop)
    rows[2] = "u0,i99,5,1"
    rows[4] = "u0,i5,good,1"
    rows[6] = "u1,i1,5"
    rows[8] = ",i1,5,3"
    write_rows(shop, "user_id,item_id,rating,timestamp", rows)
    images = {i: f"images/{i}.png" for i in range(12)} | {4: "images/nowhere.png", 5: "../secret.png"}
    write_items(shop, images)
    np.save(shop / "textual.npy", np.ones((3, 2)))
    (shop / "images" / "9.png").write_bytes(b"no picture")
    error = told(capsys, "data", shop, rc=1)
    for words in (
        "interactions.csv line 4: item 'i99' is not among", "line 6: rating 'good' is not a number", "line 8: 3 cells",
        "line 10: user_id is empty", "image 'images/nowhere.png' not found", "'../secret.png' is outside the folder",
        "textual.npy: 3 rows for 12 items", "9.png cannot be read",
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


# --- nothing outside the folder ---------------------------------------------------------------------------------------


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


# --- the inputs that once fell short ----------------------------------------------------------------------------------


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
