import gzip
import json
import shutil

import numpy as np
import pytest

from lmmrec_core.data.amazon import AmazonSettings, read_amazon
from lmmrec_core.errors import DataError

KEEP = {"missing_image": "keep", "missing_text": "keep", "missing_feature": "keep"}


@pytest.fixture
def toy(shared_data):
    return shared_data / "amazon-format-samples"


@pytest.fixture
def everything(toy):
    return read_amazon(toy, AmazonSettings(category="Toy", **KEEP))


def text(catalogue, asin):
    return catalogue.texts[catalogue.item_ids.index(asin)]


@pytest.mark.shared
def test_size_and_ids(everything):
    assert (everything.n_users, everything.n_items, len(everything.user)) == (30, 20, 237)
    assert everything.item_ids[0] == "0001234567"  # an ASIN of digits keeps its zeros
    assert not {"B0TOY90001", "B0TOY90002", "B0TOY99999"} & set(everything.item_ids)
    assert everything.counts["metadata_records_unreviewed"] == 2


@pytest.mark.shared
def test_the_repeated_pair_is_one_positive_with_the_earlier_time(everything, toy):
    with gzip.open(toy / "reviews_Toy_5.json.gz", "rt", encoding="utf-8") as lines:
        reviews = [json.loads(line) for line in lines]
    times = [r["unixReviewTime"] for r in reviews if (r["reviewerID"], r["asin"]) == ("ASYNTHU0000016", "B0TOY00003")]
    assert times[1] - times[0] == 40 * 86_400
    edge = (everything.user == everything.user_ids.index("ASYNTHU0000016")) & (
        everything.item == everything.item_ids.index("B0TOY00003")
    )
    assert everything.timestamp[edge].tolist() == [times[0]]
    assert everything.counts["rows_read"] == 238 and everything.counts["rows_merged"] == 1


@pytest.mark.shared
def test_texts_come_from_the_metadata_with_absent_fields_skipped(everything):
    assert text(everything, "B0TOY00018") == ""  # no record
    assert text(everything, "B0TOY00014") == "Toys & Games, Stuffed Animals & Plush, Animals & Figures"  # nothing else
    assert text(everything, "B0TOY00008").startswith("Fernleaf Games. ")  # no title
    assert text(everything, "B0TOY00005").startswith("Harbor at Dawn 500 Piece Puzzle. Toys & Games")  # empty brand
    assert text(everything, "B0TOY00012").startswith("Hedgehog Hand Puppet. Pillow & Paw. Toys & Games. A hedgehog")
    assert text(everything, "B0TOY00002").startswith("Builder's First Bricks. ")
    assert text(everything, "B0TOY00011").startswith("Caf\u00e9 Bear with Apron. ")
    assert 'one "very" muddy pig' in text(everything, "B0TOY00007")
    assert text(everything, "B0TOY00004").endswith('"Clicks" together; it\'s sturdy. Ages 3 & up.')
    # two paths: each name once, in order
    assert "Toys & Games, Building Toys, Building Blocks, Preschool, Pre-Kindergarten Toys" in text(
        everything, "0001234567"
    )
    assert everything.counts["items_without_metadata"] == 1


@pytest.mark.shared
def test_reviews_never_reach_the_texts(everything):
    assert not any("missing from the box" in item_text for item_text in everything.texts)


@pytest.mark.shared
def test_pictures_that_are_absent_or_broken_are_no_pictures(everything, toy):
    without = {asin for asin, image in zip(everything.item_ids, everything.images, strict=True) if image is None}
    assert without == {"B0TOY00013", "B0TOY00007"}  # absent; truncated. Grayscale and CMYK ones are pictures
    assert everything.counts["images_unreadable"] == 1 and everything.counts["items_without_image"] == 2
    dropped = read_amazon(toy, AmazonSettings(category="Toy", missing_text="keep", missing_feature="keep"))
    assert dropped.n_items == 18 and not without & set(dropped.item_ids)
    assert dropped.counts["items_dropped_without_image"] == 2
    # no imUrl in the metadata, yet the picture is there: it is used
    assert "B0TOY00017" in dropped.item_ids


@pytest.mark.shared
def test_feature_records_absent_or_zero_are_rows_of_nan_or_dropped(everything, toy):
    visual = everything.ready_features["visual"]
    assert visual.shape == (20, 4096)
    absent = {asin for asin, row in zip(everything.item_ids, visual, strict=True) if np.isnan(row).all()}
    assert absent == {"B0TOY00013", "B0TOY00002"}
    assert np.isfinite(visual[[asin not in absent for asin in everything.item_ids]]).all()
    assert everything.counts["feature_records_of_zeros"] == 1
    record = np.fromfile(toy / "image_features_Toy.b", dtype="<f4", offset=10, count=4096)
    np.testing.assert_array_equal(visual[0], record)  # the file's first record is the first item's
    common = read_amazon(toy, AmazonSettings(category="Toy"))
    assert set(everything.item_ids) - set(common.item_ids) == {"B0TOY00002", "B0TOY00007", "B0TOY00013", "B0TOY00018"}
    assert np.isfinite(common.ready_features["visual"]).all()
    assert common.counts["items_dropped_without_feature_record"] == 1


@pytest.mark.shared
def test_ratings_can_be_thresholded(toy):
    liked = read_amazon(toy, AmazonSettings(category="Toy", min_rating=5, **KEEP))
    assert liked.counts["rows_below_min_rating"] == 238 - 95
    assert len(liked.user) == 95


REVIEW = {"reviewerID": "A1", "asin": "0000000001", "overall": 5.0, "unixReviewTime": 1367884800}
META = "{'asin': '0000000001', 'title': 'Cup'}\n"


def write(path, reviews=None, meta=META):
    lines = [json.dumps(REVIEW)] if reviews is None else reviews
    with gzip.open(path / "reviews_X_5.json.gz", "wt", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    (path / "meta_X.json").write_text(meta, encoding="utf-8")  # a plain file is read too
    return path


def read(path, **changes):
    return read_amazon(path, AmazonSettings(category="X", **{**KEEP, **changes}))


def test_small_files_plain_or_compressed(tmp_path):
    catalogue = read(write(tmp_path))
    assert catalogue.name == "X" and catalogue.texts == ("Cup",) and catalogue.timestamp.tolist() == [1367884800]
    with pytest.raises(DataError, match="missing_image: keep"):
        read(tmp_path, missing_image="drop")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{'asin': 'x'}", "line 2: not a JSON object"),
        ("[1]", "line 2: not a JSON object"),
        (json.dumps({**REVIEW, "asin": 1234567}), "line 2: asin is 1234567, not text"),
        (json.dumps({**REVIEW, "reviewerID": ""}), "line 2: reviewerID is ''"),
        (json.dumps({**REVIEW, "overall": "5"}), "line 2: overall is '5', not a number"),
        (json.dumps({**REVIEW, "unixReviewTime": None}), "line 2: unixReviewTime is None"),
        (json.dumps({**REVIEW, "overall": float("nan")}), "line 2: overall is nan"),
    ],
)
def test_bad_reviews_are_named(tmp_path, line, message):
    with pytest.raises(DataError, match=message):
        read(write(tmp_path, [json.dumps(REVIEW), line]))


@pytest.mark.parametrize(
    ("meta", "message"),
    [
        ("{'asin': '0000000001', 'title': __import__('os').getcwd()}\n", "line 1: not a Python dict literal"),
        ("\n['0000000001']\n", "line 2: not a Python dict literal"),
        ("{'asin': '0000000001', 'title': 'Cup\n", "line 1: not a Python dict literal"),
        ("{'title': 'Cup'}\n", "line 1: no key 'asin'"),
    ],
)
def test_bad_metadata_is_named_and_never_evaluated(tmp_path, meta, message):
    with pytest.raises(DataError, match=message):
        read(write(tmp_path, meta=meta))


def test_repeated_metadata_is_counted_and_the_first_stays(tmp_path):
    catalogue = read(write(tmp_path, meta=META + META.replace("Cup", "Jug") + "{'asin': '0000000002'}\n"))
    assert catalogue.texts == ("Cup",)
    assert catalogue.counts["metadata_records_repeated"] == 1
    assert catalogue.counts["metadata_records_unreviewed"] == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"0" * 16_393, "16393 bytes are not a whole number of records of 16394"),
        (b"", "0 bytes"),
        (b"lowercase!" + bytes(16_384), "record 0 .*is not an ASIN"),
        ((b"0000000001" + bytes(16_384)) * 2, "record 1 .*has a record already"),
        (b"0000000001" + np.full(4096, np.nan, dtype="<f4").tobytes(), "record 0 .*NaN or infinity"),
    ],
)
def test_bad_feature_files_are_named(tmp_path, content, message):
    write(tmp_path)
    (tmp_path / "image_features_X.b").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read(tmp_path)


def test_absent_files_and_categories_are_named(tmp_path):
    with pytest.raises(DataError, match=r"reviews_X_5.json.gz: no such file"):
        read(tmp_path)
    with pytest.raises(DataError, match="the reviews of one category, saw none"):
        read_amazon(tmp_path, AmazonSettings())
    for category in ("Toy", "Baby"):
        (tmp_path / f"reviews_{category}_5.json.gz").touch()
    with pytest.raises(DataError, match="saw Baby, Toy; name one as category"):
        read_amazon(tmp_path, AmazonSettings())


def test_the_only_category_need_not_be_named(tmp_path):
    write(tmp_path)
    named, found = (read_amazon(tmp_path, AmazonSettings(category=name, **KEEP)) for name in ("X", None))
    assert found.name == named.name == "X" and found.item_ids == named.item_ids


@pytest.mark.shared
def test_a_truncated_download_is_named(toy, tmp_path):
    shutil.copyfile(toy / "meta_Toy.json.gz", tmp_path / "meta_Toy.json.gz")
    (tmp_path / "reviews_Toy_5.json.gz").write_bytes((toy / "reviews_Toy_5.json.gz").read_bytes()[:-100])
    with pytest.raises(DataError, match=r"reviews_Toy_5.json.gz: cannot be read"):
        read_amazon(tmp_path, AmazonSettings(category="Toy"))


def test_a_time_in_parts_of_seconds_is_refused(tmp_path):
    review = {"reviewerID": "u", "asin": "B000000001", "overall": 5.0, "unixReviewTime": 0.5}
    (tmp_path / "reviews_Toy_5.json").write_text(json.dumps(review), encoding="utf-8")
    (tmp_path / "meta_Toy.json").write_text("{'asin': 'B000000001'}", encoding="utf-8")
    with pytest.raises(DataError, match=r"line 1: unixReviewTime is 0\.5, not in whole seconds"):
        read_amazon(tmp_path, AmazonSettings(category="Toy"))


def test_features_under_a_name_that_nobody_reads_are_told(tmp_path):
    write(tmp_path)
    (tmp_path / "reviews_Y_5.json").touch()
    for name in ("image_features_Y.b", "image_features_X.b.part", "image_features_X.b.part.json"):  # of others
        (tmp_path / name).touch()
    assert read(tmp_path).n_items == 1
    (tmp_path / "image_features_x.b").touch()
    with pytest.raises(
        DataError, match=r"image_features_x\.b: is not read, .* expected in image_features_X\.b; rename"
    ):
        read(tmp_path)
    assert read(tmp_path, content=("textual",)).n_items == 1
    (tmp_path / "image_features_x.b").rename(tmp_path / "Image_Features_X.b")
    with pytest.raises(DataError, match=r"Image_Features_X\.b: is not read"):
        read(tmp_path)
