"""Folders that are nearly of a format, and records that nearly have its keys: told by what they were meant for."""

import gzip
import json

import pytest

from lmmrec_core.data import recognise
from lmmrec_core.data.amazon import AmazonSettings, read_amazon
from lmmrec_core.data.lattice import read_lattice
from lmmrec_core.data.mmrec import read_mmrec
from lmmrec_core.errors import DataError

SPLIT = ("train.json", "val.json", "test.json")


@pytest.mark.parametrize(
    ("inner", "names", "message"),
    [
        ("", ["x.INTER"], r"did you mean x\.INTER as x\.inter\? Give it that name"),
        ("", ["x.interactions"], r"did you mean x\.interactions as x\.inter\?"),
        ("5-core", ["train.json", "valid.json", "test.json"], r"no val\.json in it; did you mean valid\.json\?"),
        ("5-core", ["Train.json", "val.json", "test.json"], r"no train\.json in it; did you mean Train\.json\?"),
        ("5-core", ["train.json", "test.json"], r"no val\.json in it; add it"),
        ("5core", SPLIT, r"5core looks like a split of LATTICE; give it a name as 5-core"),
        ("", ["reviews_Baby.json.gz", "meta_Baby.json.gz"], r"reviews_Baby_5\.json\.gz\? If so, it is the file of all"),
        ("", ["Reviews_Baby_5.json.gz"], r"as reviews_Baby_5\.json\.gz\? If so, give it that name"),
        ("", ["Baby_5.json.gz"], r"as in the Amazon releases of 2018 and 2023"),
        ("", ["interactions.csv.bz2", "items.csv"], r"interactions\.csv\.bz2 is not read as it is; unpack it"),
        ("", ["interactions.parquet"], r"interactions\.parquet is not read as it is"),
        ("", ["items.csv"], r"format; it holds items\.csv"),
        ("", ["ratings.csv"], r"did you mean ratings\.csv as its interactions\?"),
    ],
)
def test_a_folder_is_told_what_it_lacks(tmp_path, inner, names, message):
    for name in names:
        (tmp_path / inner).mkdir(exist_ok=True)
        (tmp_path / inner / name).write_text("{}")
    with pytest.raises(DataError, match=message):
        recognise(tmp_path)


def test_a_user_who_is_twice_in_a_part_is_told(tmp_path):
    (tmp_path / "5-core").mkdir()
    for part, text in {"train": '{"0": [1, 2], "0": [3]}', "val": "{}", "test": '{"0": [0]}'}.items():
        (tmp_path / "5-core" / f"{part}.json").write_text(text)
    with pytest.raises(DataError, match=r"train\.json: not JSON \(key '0' is there twice; put both lists together\)"):
        read_lattice(tmp_path)


def test_an_id_that_is_no_number_is_not_told_to_leave_its_column_out(tmp_path):
    (tmp_path / "x.inter").write_text("userID\titemID\n0\tB1\n0\t1\n")
    with pytest.raises(DataError, match=r"line 2: itemID 'B1' is not a number from 0; renumber them$"):
        read_mmrec(tmp_path)


@pytest.mark.parametrize(
    ("key", "named", "hint"),
    [
        ("reviewerID", "reviewerId", "did you mean 'reviewerId'? Rename it"),
        ("overall", "stars", "add it, or fetch the file again"),
        ("unixReviewTime", "unix_review_time", "did you mean 'unix_review_time'? Rename it"),
    ],
)
def test_a_record_without_a_key_is_told_the_nearest(tmp_path, key, named, hint):
    review = {"reviewerID": "A", "asin": "B1", "overall": 5.0, "unixReviewTime": 1}
    review[named] = review.pop(key)
    for name, record in (("reviews_Toy_5", review), ("meta_Toy", {"asin": "B1"})):
        (tmp_path / f"{name}.json.gz").write_bytes(gzip.compress(json.dumps(record).encode()))
    with pytest.raises(DataError) as told:
        read_amazon(tmp_path, AmazonSettings(category="Toy", missing_image="keep", missing_text="keep"))
    assert f"line 1: no key {key!r}; {hint}" in str(told.value)
