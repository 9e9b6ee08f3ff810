import csv
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lmmrec_core.encoders.fine_tuning.outside import (
    OutsidePairs,
    check_disjoint,
    difference_hash,
    normalise_title,
    outside_pairs,
)
from lmmrec_core.errors import DataError, FeatureError
from tests.encoders.toys import catalogue_of, draw


@pytest.fixture
def both(tmp_path):
    """Three items to pre-train on, four of a catalogue, all different."""
    paths = []
    for number in range(7):
        paths.append(tmp_path / f"{number}.png")
        draw(number).save(paths[-1])
    pairs = OutsidePairs("pretrain", ("x1", "x2", "x3"), tuple(paths[:3]), ("a", "b", "c"))
    return pairs, catalogue_of(["d", "e", "f", "g"], [*paths[3:6], None])


IDS = (("tt1", "tt2", "tt3"), ("tt4", "tt5", "tt6", "tt7"))
TITLES = (("Alien (1979)", "Brazil", ""), ("Casablanca (1942)", "Duel", "", "Fargo"))


def test_disjoint_content_passes_and_says_what_was_compared(both):
    found = check_disjoint(*both, ids=IDS, titles=TITLES)
    assert (found.ids, found.titles, found.pictures) == (True, True, 6)
    assert found.closest_bits is not None and found.closest_bits > 40
    assert check_disjoint(*both, ids=None, titles=TITLES, close=None).closest_bits is None


def test_a_shared_id_is_named(both):
    with pytest.raises(FeatureError, match=r"item 'x2' of pretrain is in toy as 'i3': the same id \(tt7\)"):
        check_disjoint(*both, ids=(("tt1", "tt7", "tt3"), IDS[1]), titles=None)


def test_a_shared_title_is_found_through_years_and_articles(both):
    with pytest.raises(FeatureError, match=r"item 'x3' of pretrain is in toy as 'i0': the same title \(The Casablanca"):
        check_disjoint(*both, ids=None, titles=(("Alien", "Brazil", "The Casablanca! (1943)"), TITLES[1]))


def test_the_same_file_under_another_name_is_found(both):
    pairs, catalogue = both
    pairs.images[1].write_bytes(catalogue.images[2].read_bytes())
    with pytest.raises(FeatureError, match=r"'x2' of pretrain is in toy as 'i2': the same picture file \(1\.png\)"):
        check_disjoint(pairs, catalogue, ids=IDS, titles=None, close=None)


@pytest.mark.parametrize(("scale", "quality"), [(0.6, 40), (1.4, 30), (1.0, 60)])
def test_a_picture_saved_again_at_another_size_is_found(both, scale, quality):
    pairs, catalogue = both
    copy = Image.open(catalogue.images[1]).convert("RGB")
    copy = copy.resize((int(copy.width * scale), int(copy.height * scale)))
    path = pairs.images[0].with_suffix(".jpg")
    copy.save(path, quality=quality)
    pairs = replace(pairs, images=(path, *pairs.images[1:]))
    with pytest.raises(
        FeatureError, match=r"'x1' of pretrain is in toy as 'i1': pictures that look alike \(\d+ of 256"
    ):
        check_disjoint(pairs, catalogue, ids=IDS, titles=None)
    check_disjoint(pairs, catalogue, ids=IDS, titles=None, close=None)  # other bytes


def test_blank_pictures_are_not_alike(both):
    pairs, catalogue = both
    Image.new("RGB", (30, 30), "white").save(pairs.images[0])
    Image.new("RGB", (40, 30), "white").save(catalogue.images[0])
    assert check_disjoint(pairs, catalogue, ids=IDS, titles=None).closest_bits > 40


def test_the_least_distance_is_that_of_a_plain_loop(both):
    pairs, catalogue = both
    ours, theirs = (
        [difference_hash(Image.open(path)) for path in paths if path] for paths in (pairs.images, catalogue.images)
    )
    expected = min(int((a != b).sum()) for a in ours for b in theirs)
    assert check_disjoint(pairs, catalogue, ids=IDS, titles=None).closest_bits == expected


def test_difference_hash_by_hand():
    ramp = Image.fromarray(np.tile(np.arange(17, dtype=np.uint8) * 10, (16, 1)))
    assert difference_hash(ramp).all()
    assert not difference_hash(ramp.transpose(Image.Transpose.FLIP_LEFT_RIGHT)).any()
    stripes = np.zeros((16, 17), dtype=np.uint8)
    stripes[:, 1::2] = 255
    assert difference_hash(Image.fromarray(stripes)).reshape(16, 16)[0].tolist() == [True, False] * 8


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Léon: The Professional (1994)", "leon - professional, the"),
        ("Dr. Strangelove", "DR STRANGELOVE"),
        ("Bug's Life, A (1998)", "A Bugs Life"),
        ("The The", "the, THE"),
        ("東京物語 (1953)", "東京物語"),
    ],
)
def test_titles_that_are_one(one, other):
    assert normalise_title(one) == normalise_title(other) != ""


def test_titles_that_are_two():
    different = ["Alien", "Aliens", "Alien 3", "1984", "2010", "The", "A"]
    assert len({normalise_title(title) for title in different}) == len(different)


@given(st.text())
def test_normalising_twice_changes_nothing(title):
    once = normalise_title(title)
    assert normalise_title(once) == once


def test_pairs_need_both_sides(both):
    _, catalogue = both
    with pytest.raises(DataError, match="toy: item 'i3' has no picture"):
        outside_pairs(catalogue)
    whole = catalogue_of(["d", "e"], list(catalogue.images[:2]))
    assert outside_pairs(whole).item_ids == ("i0", "i1") and len(outside_pairs(whole)) == 2
    with pytest.raises(DataError, match="item 'i1' has no text"):
        outside_pairs(catalogue_of(["d", "  "], list(catalogue.images[:2])))


def test_what_cannot_be_compared(both):
    with pytest.raises(DataError, match="give ids, titles or both"):
        check_disjoint(*both, ids=None, titles=None)
    with pytest.raises(DataError, match="toy: 3 ids for 4 items"):
        check_disjoint(*both, ids=(IDS[0], IDS[1][:3]), titles=None)
    both[0].images[0].unlink()
    with pytest.raises(FeatureError, match=r"0.png: cannot be read"):
        check_disjoint(*both, ids=IDS, titles=None)


@pytest.mark.shared
def test_the_posters_to_pre_train_on_are_outside_the_catalogue(shared_data):
    """Ids, titles and bytes of all, look-alikes of some: the whole comparison decodes three thousand pictures."""

    def read(folder):
        rows = {}
        for name in ("items.csv", "item_provenance.csv"):
            with (shared_data / folder / name).open(encoding="utf-8", newline="") as file:
                for row in csv.DictReader(file):
                    rows.setdefault(row["item_id"], {}).update(row)
        return [{**row, "image": shared_data / folder / row["image"]} for row in rows.values()]

    ours, theirs = read("pretrain-posters"), read("ml-100k-posters")
    assert {row["item_id"] for row in ours} & {row["item_id"] for row in theirs}  # no common number space
    for left, right, close in ((ours, theirs, None), (ours[:60], theirs[:60], 24)):
        pairs = OutsidePairs(
            "pretrain-posters", *zip(*((r["item_id"], r["image"], r["title"]) for r in left), strict=True)
        )
        catalogue = catalogue_of(*zip(*((r["title"], r["image"], r["item_id"]) for r in right), strict=True))
        both = (left, right)
        found = check_disjoint(
            pairs, catalogue, close=close,
            ids=tuple([row["imdb_id"] for row in rows] for rows in both),
            titles=tuple([row["title"] for row in rows] for rows in both),
        )  # fmt: skip
        assert found.pictures == len(left) + len(right) and (close is None or found.closest_bits > 40)
