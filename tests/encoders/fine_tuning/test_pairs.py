from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lmmrec_core.encoders.fine_tuning.holdout import ample_share, held_out_pairs
from lmmrec_core.encoders.fine_tuning.pairs import collect_pairs
from lmmrec_core.errors import ConfigError, DataError, FeatureError
from lmmrec_core.flow import Catalogue, Interactions, Split
from tests.encoders.fine_tuning.toys import ToyTowers
from tests.encoders.toys import catalogue_of, draw


def catalogue(folder: Path, n: int = 40, **changes) -> Catalogue:
    """Distinct pictures and texts of one word; item 3 has no picture, item 5 no text."""
    images: list[Path | None] = []
    for number in range(n):
        draw(number, (8, 8)).save(folder / f"{number}.png")
        images.append(folder / f"{number}.png")
    images[3] = None
    texts = [chr(97 + number % 26) * (1 + number // 26 + number % 3) for number in range(n)]
    texts[5] = "  "
    return replace(catalogue_of(texts, images), **changes)


def split_of(items: list[int], n: int) -> Split:
    nothing = Interactions(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))
    train = Interactions(np.zeros(len(items), dtype=np.int64), np.array(items))
    return Split(1, n, train, nothing, nothing, "toy", None, "")


def collect(catalogue: Catalogue, share: float = 0.3, **more):
    return collect_pairs(catalogue, ToyTowers(), share=share, progress=False, **more)


def test_pairs_are_the_items_with_both_in_order(tmp_path):
    source = catalogue(tmp_path)
    pairs = collect(source)
    kept = [i for i in range(40) if i not in (3, 5)]
    assert pairs.item_ids == tuple(f"i{i}" for i in kept) and len(pairs) == 38
    assert pairs.counts["without_picture"] == 1 and pairs.counts["without_text"] == 1 and pairs.counts["pairs"] == 38
    encoder = ToyTowers()
    batch = pairs.batch(np.array([0, 37, 3]))
    expected = encoder.preprocess_images([draw(i, (8, 8)) for i in (0, 39, 4)])
    assert torch.equal(batch.pixels, expected)
    texts = encoder.preprocess_texts([source.texts[i] for i in (0, 39, 4)])
    assert torch.equal(batch.tokens["input_ids"], texts["input_ids"])  # cut to the longest of the three


def test_a_batch_is_a_copy(tmp_path):
    pairs = collect(catalogue(tmp_path))
    before = pairs.pixels.copy()
    pairs.batch(np.array([0, 1])).pixels.zero_()
    assert np.array_equal(pairs.pixels, before)


def test_train_items_are_those_with_a_training_interaction(tmp_path):
    source = catalogue(tmp_path)
    pairs = collect(source, items="train_items", split=split_of([*range(3, 30), 3], 40))
    assert pairs.item_ids == tuple(f"i{i}" for i in range(3, 30) if i not in (3, 5))
    assert pairs.items == "train_items" and pairs.counts["without_training_interaction"] == 13


def test_the_side_of_an_item_depends_on_its_id_alone(tmp_path):
    source = catalogue(tmp_path)
    whole = collect(source)
    part = collect(source, items="train_items", split=split_of(list(range(0, 40, 2)), 40))
    sides = dict(zip(whole.item_ids, whole.held_out.tolist(), strict=True))
    assert [sides[item] for item in part.item_ids] == part.held_out.tolist()
    order = np.random.default_rng(0).permutation(40)
    shuffled = replace(
        source,
        item_ids=tuple(source.item_ids[i] for i in order),
        texts=tuple(source.texts[i] for i in order),
        images=tuple(source.images[i] for i in order),
    )
    other = collect(shuffled)
    assert [sides[item] for item in other.item_ids] == other.held_out.tolist()


def test_the_share_is_near_five_per_cent_by_default():
    ids = [f"B{number:09d}" for number in range(20_000)]
    held = held_out_pairs(ids, np.arange(20_000), np.arange(20_000))
    assert abs(held.mean() - 0.05) < 3 * np.sqrt(0.05 * 0.95 / 20_000)


def test_a_small_catalogue_holds_out_more():
    """A quarter of 400 items, 200 of 1,000, a tenth of 10,000."""
    found = {n: ample_share(n) * n for n in (60, 400, 1_000, 1_682, 10_000)}
    assert found == pytest.approx({60: 15, 400: 100, 1_000: 200, 1_682: 200, 10_000: 1_000})


@given(seed=st.integers(0, 9999), kinds=st.integers(5, 200))
@settings(max_examples=50, deadline=None)
def test_no_content_is_on_both_sides_and_drawn_items_leave_only_for_that(seed, kinds):
    random = np.random.default_rng(seed)
    ids = [f"{seed}/{number}" for number in range(150)]
    alone = held_out_pairs(ids, np.arange(150), np.arange(150), 0.3)
    images, texts = random.integers(0, kinds, (2, 150))
    try:
        held = held_out_pairs(ids, images, texts, 0.3)
    except DataError:
        return  # everything hangs together
    for groups in (images, texts):
        assert not np.isin(groups[held], groups[~held]).any()
    assert not (held & ~alone).any()
    moved = alone & ~held
    assert all(np.isin(images[i], images[~held]) or np.isin(texts[i], texts[~held]) for i in np.flatnonzero(moved))


def test_chains_of_equal_content_move_together():
    ids = [f"x{number}" for number in range(60)]
    alone = held_out_pairs(ids, np.arange(60), np.arange(60), 0.3)
    chain = np.flatnonzero(alone)[:3]
    outside = np.flatnonzero(~alone)[0]
    images, texts = np.arange(60), np.arange(60)
    images[chain[0]] = images[outside]  # drawn 0 shows what training shows, its text is that of drawn 1, and so on
    texts[chain[1]] = texts[chain[0]]
    images[chain[2]] = images[chain[1]]
    held = held_out_pairs(ids, images, texts, 0.3)
    assert not held[chain].any() and held.sum() == alone.sum() - 3


def test_equal_pictures_and_texts_are_found(tmp_path):
    source = catalogue(tmp_path)
    draw(7, (8, 8)).save(tmp_path / "again.bmp")  # the same pixels in another file format
    images, texts = list(source.images), list(source.texts)
    images[20], texts[21] = tmp_path / "again.bmp", texts[8]
    pairs = collect(replace(source, images=tuple(images), texts=tuple(texts)))
    place = {item: row for row, item in enumerate(pairs.item_ids)}
    assert pairs.image_group[place["i20"]] == pairs.image_group[place["i7"]]
    assert pairs.text_group[place["i21"]] == pairs.text_group[place["i8"]]
    assert len(np.unique(pairs.image_group)) == len(pairs) - 1


def test_pixels_over_the_limit_go_to_a_file_that_leaves_nothing(tmp_path):
    source, folder = catalogue(tmp_path), tmp_path / "large"
    folder.mkdir()
    in_memory, mapped = collect(source), collect(source, memory_limit=1000, folder=folder)
    assert isinstance(mapped.pixels, np.memmap) and not isinstance(in_memory.pixels, np.memmap)
    assert np.array_equal(in_memory.pixels, mapped.pixels) and in_memory.fingerprint == mapped.fingerprint
    rows = np.array([5, 2, 30])
    assert torch.equal(in_memory.batch(rows).pixels, mapped.batch(rows).pixels)
    assert list(folder.iterdir()) == []


def test_broken_pictures_are_refused_or_left_out(tmp_path):
    source = catalogue(tmp_path)
    (tmp_path / "9.png").write_bytes(b"no picture")
    with pytest.raises(FeatureError, match="'i9'"):
        collect(source)
    pairs = collect(source, unreadable="missing")
    assert "i9" not in pairs.item_ids and pairs.counts["without_readable_picture"] == 1
    place = pairs.item_ids.index("i10")
    assert torch.equal(pairs.batch(np.array([place])).pixels, ToyTowers().preprocess_images([draw(10, (8, 8))]))


def test_the_fingerprint_follows_the_content(tmp_path):
    source = catalogue(tmp_path)
    first = collect(source).fingerprint
    assert collect(source).fingerprint == first
    assert collect(source, share=0.4).fingerprint != first
    assert collect(replace(source, texts=("other", *source.texts[1:]))).fingerprint != first
    draw(99, (8, 8)).save(tmp_path / "0.png")
    assert collect(source).fingerprint != first


@pytest.mark.parametrize(
    ("more", "error", "message"),
    [
        ({"items": "some"}, ConfigError, "unknown value of items 'some'"),
        ({"items": "train_items"}, ConfigError, "needs the split"),
        ({"items": "train_items", "split": split_of([1], 7)}, DataError, "the split has 7 items"),
        ({"unreadable": "skip"}, ConfigError, "unknown value of unreadable"),
        ({"share": 0.0}, DataError, "both sides need some"),
        ({"share": 1.0}, DataError, "both sides need some"),
        ({"items": "train_items", "split": split_of([3, 5], 40)}, DataError, "no item has both"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path, more, error, message):
    with pytest.raises(error, match=message):
        collect(catalogue(tmp_path), **more)
