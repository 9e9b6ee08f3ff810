"""RecBole's atomic files, by hand."""

import gzip
import os
import sys

import numpy as np
import pytest

from lmmrec_core.data import recognise
from lmmrec_core.data.recbole import RecBoleSettings, read_recbole
from lmmrec_core.errors import DataError
from tests.data.made import link_outside, pairs_of

INTER = ["user_id:token item_id:token rating:float timestamp:float", "b 10 5 30.0", "a 10 4 20.0", "a 2 1 10.0"]
ITEM = [
    "item_id:token|movie_title:token_seq|class:token_seq|brand:token|price:float|rank:token",
    "10|A cup|Things|Kiln|1|3",
    "2|A jug||Kiln|2|4",
]


def tabs(rows, separator=" "):
    return "\n".join(row.replace(separator, "\t") for row in rows) + "\n"


def atomic(folder, inter=INTER, item=ITEM):
    folder.mkdir()
    (folder / "toy.inter").write_text(tabs(inter))
    if item:
        (folder / "toy.item").write_text(tabs(item, "|"))
    return folder


def test_columns_texts_and_ids_by_hand(tmp_path):
    folder = atomic(tmp_path / "toy")
    assert recognise(folder) == "recbole"
    catalogue = read_recbole(folder)
    assert catalogue.user_ids == ("a", "b") and catalogue.item_ids == ("2", "10")
    assert pairs_of(catalogue) == {("a", "10"), ("a", "2"), ("b", "10")}
    assert catalogue.timestamp.tolist() == [10, 20, 30]  # by user, then item
    # words and the brand, as our folders have them; neither the price nor a rank is content
    assert catalogue.texts == ("A jug. Kiln", "A cup. Things. Kiln")
    assert catalogue.images == (None, None) and catalogue.label is None


def test_ratings_ready_features_and_fields_are_read_as_asked(tmp_path):
    folder = atomic(tmp_path / "toy")
    np.save(folder / "visual.npy", np.array([[1.0, 2.0], [3.0, 4.0]]))  # as the items stand in toy.item: 10, 2
    catalogue = read_recbole(folder, RecBoleSettings(min_rating=4, text_fields=("class",), missing_text="keep"))
    assert pairs_of(catalogue) == {("a", "10"), ("b", "10")} and catalogue.texts == ("Things",)
    assert catalogue.ready_features["visual"].tolist() == [[1, 2]]


def test_files_by_part_are_the_split(tmp_path):
    folder = tmp_path / "toy"
    folder.mkdir()
    for part, row in (("train", "a 1"), ("valid", "a 2"), ("test", "a 3")):
        (folder / f"toy.{part}.inter").write_text(tabs(["user_id:token item_id:token", row]))
    catalogue = read_recbole(folder, RecBoleSettings(content=()))
    assert catalogue.name == "toy" and catalogue.label.tolist() == [0, 1, 2]
    (folder / "toy.test.inter").unlink()
    with pytest.raises(DataError, match=r"NAME\.train\.inter, NAME\.valid\.inter and NAME\.test\.inter, saw"):
        read_recbole(folder)


@pytest.mark.parametrize(
    ("inter", "item", "message"),
    [
        (["user_id:token item:token", "a 1"], None, r"no column 'item_id:token' .* rename 'item:token'"),
        (["user_id:token item_id", "a 1"], None, r"column 'item_id' names no type; write item_id:token"),
        ([INTER[0], "b 10 5 soon"], None, r"toy\.inter line 2: timestamp:float 'soon' is not a number"),
        (["user_id:token item_id:token", "a 99"], ITEM, r"item '99' is not among the 2 items"),
        (["user_id:token item_id:token"], None, "no interactions below the header"),
        (INTER, [ITEM[0], ITEM[1], ITEM[1]], r"toy\.item line 3: item '10' is already in line 2"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_named_with_its_place(tmp_path, inter, item, message):
    with pytest.raises(DataError, match=message):
        read_recbole(atomic(tmp_path / "toy", inter, item))


def test_ratings_are_read_only_when_asked_for(tmp_path):
    folder = atomic(tmp_path / "toy", [INTER[0], "b 10 five 3"], None)
    assert read_recbole(folder, RecBoleSettings(missing_text="keep")).n_users == 1
    with pytest.raises(DataError, match=r"toy\.inter line 2: rating:float 'five' is not a number"):
        read_recbole(folder, RecBoleSettings(min_rating=4, missing_text="keep"))


def test_mmrecs_interactions_are_not_taken_for_them(tmp_path):
    folder = tmp_path / "toy"
    folder.mkdir()
    (folder / "toy.inter").write_text(tabs(["userID itemID x_label", "0 0 0"]))
    assert recognise(folder) == "mmrec"


@pytest.mark.parametrize("column", ["split:token", "phase:token", "fold_id:float"])
def test_a_column_of_parts_is_not_passed_over(tmp_path, column):
    cells = ("train", "valid", "test") if column == "phase:token" else ("0", "1", "2")
    inter = [f"user_id:token item_id:token {column}", f"b 10 {cells[0]}", f"a 10 {cells[1]}", f"a 2 {cells[2]}"]
    with pytest.raises(DataError, match=rf"toy\.inter: column '{column}' seems to name the parts of a split"):
        read_recbole(atomic(tmp_path / "toy", inter))
    inter[0] = "user_id:token item_id:token label:float"
    if column == "split:token":
        read_recbole(atomic(tmp_path / "clicks", inter))  # what such files call a click


@pytest.mark.skipif(sys.platform == "win32", reason="links and pipes")
@pytest.mark.parametrize("name", ["toy.inter", "toy.item", "visual.npy"])
def test_no_file_outside_the_folder_is_read(tmp_path, name):
    folder = atomic(tmp_path / "toy")
    np.save(folder / "visual.npy", np.ones((2, 2)))
    link_outside(folder / name, tmp_path / "outside")
    with pytest.raises(DataError, match=f"{name}: a link out of the folder"):
        read_recbole(folder)
    (folder / name).unlink()
    os.mkfifo(folder / name)  # never opened: it would not begin
    with pytest.raises(DataError, match=f"{name}: a pipe or device"):
        read_recbole(folder)
    assert recognise(folder) == ("mmrec" if name == "toy.inter" else "recbole")


@pytest.mark.parametrize("parts", [("",), (".train", ".valid", ".test")])
def test_compressed_files_are_read_as_the_others(tmp_path, parts):
    folder = tmp_path / "toy"
    folder.mkdir()
    for part, row in zip(parts, ("b 10", "a 10", "a 2"), strict=False):
        rows = [row] if len(parts) > 1 else ["b 10", "a 10", "a 2"]
        (folder / f"toy{part}.inter").write_text(tabs(["user_id:token item_id:token", *rows]))
    (folder / "toy.item").write_text(tabs(["item_id:token title:token_seq", "2 Cup", "10 Mug"]))
    plain = read_recbole(folder)
    for file in list(folder.iterdir()):
        (folder / f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()
    assert recognise(folder) == "recbole"
    packed = read_recbole(folder)
    assert packed.texts == plain.texts == ("Cup", "Mug") and packed.user_ids == plain.user_ids
    assert np.array_equal(packed.item, plain.item) and np.array_equal(packed.label, plain.label)
