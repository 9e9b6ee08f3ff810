import gzip
import random

import numpy as np
import pytest

from lmmrec_core.data import recognise
from lmmrec_core.data.fingerprint import catalogue_fingerprint
from lmmrec_core.data.folder import FolderSettings, read_folder, write_folder
from lmmrec_core.data.splitting import make_split
from lmmrec_core.errors import ConfigError, DataError
from tests.data.made import INTERACTIONS, ITEMS, pairs_of, parts_of, write_csv


def interactions(folder, *rows, header=("user_id", "item_id")):
    write_csv(folder / "interactions.csv", [list(header), *map(list, rows)])


def items(folder, *rows, header=ITEMS[0]):
    write_csv(folder / "items.csv", [list(header), *map(list, rows)])


def test_content_is_read_and_numbered_by_id(folder):
    catalogue = read_folder(folder)
    assert catalogue.name == "shop"
    assert catalogue.item_ids == ("2", "7", "10")  # by number, not as text; B1 has no interaction
    assert catalogue.user_ids == ("u1", "u10", "u2")
    assert catalogue.texts == (
        "Red Cup. Kitchen",
        "Green Jug! Kiln. Tall.",
        "Blue Cup. Kiln. Kitchen, Cups. Holds tea & more.",
    )
    assert [image.name for image in catalogue.images] == ["2.jpg", "7.jpg", "10.jpg"]
    assert catalogue.user.tolist() == [0, 1, 1, 2, 2]
    assert catalogue.item.tolist() == [1, 1, 2, 0, 2]
    assert catalogue.timestamp.tolist() == [15, 40, 10, 30, 20]
    assert catalogue.label.tolist() == [0, 1, 0, 0, 2]
    assert catalogue.density == pytest.approx(5 / 9)
    assert catalogue.counts["items_dropped_without_interactions"] == 1
    assert catalogue.counts["rows_read"] == 5 and catalogue.counts["items_read"] == 4


def test_order_of_rows_does_not_matter(folder):
    np.save(folder / "visual.npy", np.arange(8.0).reshape(4, 2))
    before = read_folder(folder)
    shuffle = random.Random(3)
    order = [2, 0, 3, 1]
    write_csv(folder / "items.csv", [ITEMS[0], *(ITEMS[1 + i] for i in order)])
    np.save(folder / "visual.npy", np.arange(8.0).reshape(4, 2)[order])
    rows = INTERACTIONS[1:]
    shuffle.shuffle(rows)
    write_csv(folder / "interactions.csv", [INTERACTIONS[0], *rows])
    after = read_folder(folder)
    assert (before.user_ids, before.item_ids, before.texts) == (after.user_ids, after.item_ids, after.texts)
    for name in ("user", "item", "timestamp", "label"):
        np.testing.assert_array_equal(getattr(before, name), getattr(after, name))
    np.testing.assert_array_equal(before.ready_features["visual"], after.ready_features["visual"])
    assert catalogue_fingerprint(before) == catalogue_fingerprint(after)


def test_ready_features_follow_their_items(folder):
    np.save(folder / "textual.npy", np.array([[10.0], [2.0], [7.0], [99.0]]))  # the rows of items.csv
    catalogue = read_folder(folder)
    assert catalogue.ready_features["textual"].ravel().tolist() == [2.0, 7.0, 10.0]
    assert catalogue.ready_features["textual"].dtype == np.float32


def test_min_rating_binarises_and_is_counted(folder):
    catalogue = read_folder(folder, FolderSettings(min_rating=4))
    assert pairs_of(catalogue) == {("u2", "2"), ("u2", "10"), ("u10", "7")}
    assert catalogue.counts["rows_below_min_rating"] == 2
    assert catalogue.counts["users_dropped_without_interactions"] == 1


def test_repeated_pairs_are_merged_and_the_earliest_time_stays(folder):
    interactions(
        folder,
        ("a", "2", "5", "50"),
        ("a", "2", "1", "20"),
        ("a", "2", "4", "30"),
        ("b", "7", "4", "9"),
        header=("user_id", "item_id", "rating", "timestamp"),
    )
    assert read_folder(folder).timestamp.tolist() == [20, 9]
    only_liked = read_folder(folder, FolderSettings(min_rating=4))  # the row of 20 is no positive
    assert only_liked.timestamp.tolist() == [30, 9]
    assert only_liked.counts["rows_merged"] == 1


def test_missing_picture_policies(folder):
    items(folder, *(row[:5] + ([""] if row[0] == "7" else row[5:]) for row in ITEMS[1:]))
    dropped = read_folder(folder)
    assert dropped.item_ids == ("2", "10")
    assert dropped.user_ids == ("u10", "u2")  # u1 had item 7 only
    assert dropped.counts["items_without_image"] == 1
    assert dropped.counts["items_dropped_without_image"] == 1
    assert dropped.counts["interactions_dropped_without_image"] == 2
    assert dropped.counts["users_dropped_without_image"] == 1
    kept = read_folder(folder, FolderSettings(missing_image="keep"))
    assert kept.item_ids == ("2", "7", "10") and kept.images[1] is None


def test_missing_text_policies(folder):
    items(folder, *(([row[0], "", "<br>", "", "", row[5]] if row[0] == "2" else row) for row in ITEMS[1:]))
    assert read_folder(folder).item_ids == ("7", "10")
    kept = read_folder(folder, FolderSettings(missing_text="keep"))
    assert kept.texts[0] == "" and kept.counts["items_without_text"] == 1


def test_no_picture_at_all_needs_features_or_a_choice(folder):
    items(folder, *([*row[:5], ""] for row in ITEMS[1:]))
    with pytest.raises(DataError, match="missing_image: keep"):
        read_folder(folder)
    np.save(folder / "visual.npy", np.ones((4, 2)))
    assert read_folder(folder).n_items == 3


def test_text_fields_are_chosen_and_must_exist(folder):
    assert read_folder(folder, FolderSettings(text_fields=("title",))).texts[0] == "Red Cup"
    with pytest.raises(DataError, match=r"items.csv line 1: no column 'titel'.*rename 'title'"):
        read_folder(folder, FolderSettings(text_fields=("titel",)))


def test_groups_of_pseudo_users(folder):
    interactions(folder, ("1000", "2"), ("1001", "2"), ("12000", "7"))
    catalogue = read_folder(folder, FolderSettings(group_divisor=1000))
    assert dict(zip(catalogue.user_ids, catalogue.user_group.tolist(), strict=True)) == {
        "1000": 1,
        "1001": 1,
        "12000": 12,
    }
    interactions(folder, ("u1", "2"))
    with pytest.raises(DataError, match="user 'u1' is not a number"):
        read_folder(folder, FolderSettings(group_divisor=1000))


def test_a_byte_order_mark_and_blank_lines_do_no_harm(folder):
    (folder / "interactions.csv").write_text("\ufeffuser_id,item_id\n\nu1, 2\n\n", encoding="utf-8")
    assert pairs_of(read_folder(folder)) == {("u1", "2")}


BAD_INTERACTIONS = [
    ([["user", "item_id"], ["a", "2"]], r"interactions.csv line 1: no column 'user_id'.*'user'"),
    ([["user_id", "item_id", "item_id"], ["a", "2", "2"]], r"line 1: column 'item_id' appears twice"),
    ([["user_id", "item_id"]], r"no interactions below the header"),
    ([["user_id", "item_id"], ["a", "2", "x"]], r"line 2: 3 cells, but the header names 2"),
    ([["user_id", "item_id"], ["a", "2"], ["", "2"]], r"line 3: user_id is empty"),
    ([["user_id", "item_id"], ["a", "2"], ["b", "99"]], r"line 3: item '99' is not among.*add it"),
    (
        [["user_id", "item_id", "timestamp"], ["a", "2", "3.5"]],
        r"line 2: timestamp '3.5' is not a whole number"
        r"; correct it \(times are read whatever the split",
    ),
    ([["user_id", "item_id", "timestamp"], ["a", "2", "1_0"]], r"line 2: timestamp '1_0' is not a number"),
    ([["user_id", "item_id", "timestamp"], ["a", "2", "9" * 20]], r"line 2: timestamp .* does not fit"),
    ([["user_id", "item_id", "split"], ["a", "2", "tset"]], r"line 2: split 'tset' is no part; did you mean 'test'"),
    (
        [["user_id", "item_id", "split"], ["a", "2", "train"], ["b", "2", "test"], ["a", "2", "test"]],
        r"lines 2 and 4: user 'a' and item '2' are in two parts",
    ),
]


@pytest.mark.parametrize(("rows", "message"), BAD_INTERACTIONS)
def test_bad_interactions_are_named(folder, rows, message):
    write_csv(folder / "interactions.csv", rows)
    with pytest.raises(DataError, match=message):
        read_folder(folder)


@pytest.mark.parametrize("rating", ["good", "nan", "4_5", ""])
def test_ratings_are_read_only_when_asked_for(folder, rating):
    write_csv(folder / "interactions.csv", [["user_id", "item_id", "rating"], ["a", "2", rating], ["b", "7", "5"]])
    assert pairs_of(read_folder(folder)) == {("a", "2"), ("b", "7")}
    with pytest.raises(DataError, match=f"line 2: rating '{rating}' is not a number"):
        read_folder(folder, FolderSettings(min_rating=4))


def test_a_folder_that_may_not_be_read_is_told(folder, monkeypatch):
    def refused(path, *more, **options):
        raise PermissionError(13, "Permission denied", str(path))

    for method in ("is_file", "is_dir", "read_bytes"):
        with monkeypatch.context() as patch:
            patch.setattr("pathlib.Path." + method, refused)
            with pytest.raises(DataError, match=r"shop.*: cannot be read"):
                read_folder(folder)
            if method == "is_dir":
                with pytest.raises(DataError, match=r"cannot be read .*allow reading it"):
                    recognise(folder)


def test_a_folder_of_two_formats_is_refused(folder):
    assert recognise(folder) == "folder"
    (folder / "toy.inter").write_text("userID\titemID\tx_label\n0\t0\t0\n")
    with pytest.raises(DataError, match=r"has the files of folder .* and mmrec .*; keep one of the two"):
        recognise(folder)


def changed(row, **cells):
    return [cells.get(column, cell) for column, cell in zip(ITEMS[0], row, strict=True)]


BAD_ITEMS = [
    ([[*ITEMS[0][:5], "picture"], *ITEMS[1:]], r"items.csv line 1: no column 'image'"),
    ([ITEMS[0]], r"no items below the header"),
    ([ITEMS[0], ITEMS[1], ITEMS[1]], r"line 3: item '10' is already in line 2"),
    ([ITEMS[0], changed(ITEMS[1], item_id=" ")], r"line 2: item_id is empty"),
    (
        [ITEMS[0], ITEMS[1], changed(ITEMS[2], image="images/x.jpg")],
        r"line 3: image 'images/x.jpg' not found.*leave the",
    ),
    ([ITEMS[0], changed(ITEMS[1], image="../10.jpg")], r"line 2: image '../10.jpg' is outside the folder"),
    ([ITEMS[0], changed(ITEMS[1], image="/tmp/10.jpg")], r"line 2: image '/tmp/10.jpg' is outside the folder"),
    ([ITEMS[0], changed(ITEMS[1], image="images")], r"line 2: image 'images' not found"),
]


@pytest.mark.parametrize(("rows", "message"), BAD_ITEMS)
def test_bad_items_are_named(folder, rows, message):
    write_csv(folder / "items.csv", rows)
    with pytest.raises(DataError, match=message):
        read_folder(folder)


def test_line_numbers_count_line_breaks_inside_cells(folder):
    rows = [ITEMS[0], changed(ITEMS[1], description="two\nlines"), changed(ITEMS[2], image="gone.jpg")]
    write_csv(folder / "items.csv", rows)
    with pytest.raises(DataError, match=r"line 4: image 'gone.jpg'"):
        read_folder(folder)


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.full((4, 2), np.nan), r"visual.npy row 0 .*NaN or infinity, as have 3 other rows"),
        (np.full((4, 2), 1e300), r"row 0 \(from 0\): a number beyond float32, as have 3"),
        (np.ones((3, 2)), r"visual.npy: 3 rows for 4 items of items.csv"),
        (np.ones(4), r"shape \(4,\) of float64; save a matrix"),
        (np.ones((4, 0)), r"shape \(4, 0\)"),
        (np.array([["a"]] * 4), r"of <U1; save a matrix of numbers"),
    ],
)
def test_bad_features_are_named(folder, matrix, message):
    np.save(folder / "visual.npy", matrix)
    with pytest.raises(DataError, match=message):
        read_folder(folder)


def test_pickled_features_are_refused(folder):
    np.save(folder / "visual.npy", np.array([{"a": 1}] * 4), allow_pickle=True)
    with pytest.raises(DataError, match="not a plain NumPy array file"):
        read_folder(folder)


def test_bad_files_are_named(folder, tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        read_folder(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"other.csv: no such file"):
        read_folder(folder, FolderSettings(interactions="other.csv"))
    (folder / "interactions.csv").write_bytes(b"")
    with pytest.raises(DataError, match="empty file"):
        read_folder(folder)
    (folder / "interactions.csv").write_bytes(b"user_id,item_id\na,2\n\xff,2\n")
    with pytest.raises(DataError, match="line 3: not UTF-8"):
        read_folder(folder)
    (folder / "interactions.csv").write_text('user_id,item_id\na,2\n"b,2\n')
    with pytest.raises(DataError, match="line 3: not a table row"):
        read_folder(folder)
    (folder / "interactions.csv.gz").write_bytes(gzip.compress(b"user_id,item_id\na,2\n")[:-4])
    with pytest.raises(DataError, match=r"cannot be read"):
        read_folder(folder, FolderSettings(interactions="interactions.csv.gz"))


def test_min_rating_without_ratings_or_reach(folder):
    with pytest.raises(DataError, match=r"reaches min_rating = 6"):
        read_folder(folder, FolderSettings(min_rating=6))
    interactions(folder, ("a", "2"))
    with pytest.raises(DataError, match="needs a column 'rating'"):
        read_folder(folder, FolderSettings(min_rating=4))


def test_settings_are_checked():
    with pytest.raises(ConfigError, match="min_rating"):
        FolderSettings.build({"min_ratings": 4})
    with pytest.raises(ConfigError, match="group_divisor"):
        FolderSettings.build({"group_divisor": 0})


def test_written_and_read_again_it_is_the_same(folder, tmp_path):
    np.save(folder / "visual.npy", np.random.default_rng(0).normal(size=(4, 3)))
    catalogue = read_folder(folder)
    write_folder(catalogue, tmp_path / "copy")
    again = read_folder(tmp_path / "copy")
    assert pairs_of(again) == pairs_of(catalogue)
    assert again.texts == catalogue.texts and again.item_ids == catalogue.item_ids
    assert catalogue_fingerprint(again) == catalogue_fingerprint(catalogue)
    assert parts_of(again, make_split(again, "given", None)) == parts_of(
        catalogue, make_split(catalogue, "given", None)
    )
    np.testing.assert_array_equal(again.timestamp, catalogue.timestamp)
    np.testing.assert_array_equal(again.ready_features["visual"], catalogue.ready_features["visual"])


def test_writing_never_touches_what_is_there(folder, tmp_path):
    catalogue = read_folder(folder)
    before = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    with pytest.raises(DataError, match="exists already"):
        write_folder(catalogue, folder)
    assert before == {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_a_failed_write_leaves_nothing(folder, tmp_path):
    catalogue = read_folder(folder)
    (folder / "images" / "7.jpg").unlink()
    with pytest.raises(DataError, match="could not be written"):
        write_folder(catalogue, tmp_path / "copy")
    assert [path.name for path in tmp_path.iterdir()] == ["shop"]
