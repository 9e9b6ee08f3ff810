import os
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from lmmrec_core.data.filtering import keep_items
from lmmrec_core.data.fingerprint import catalogue_fingerprint
from lmmrec_core.data.folder import read_folder
from lmmrec_core.errors import DataError
from tests.data.made import catalogue_of


def test_each_kind_of_content_counts(folder):
    catalogue = read_folder(folder)
    prints = [
        catalogue_fingerprint(catalogue),
        catalogue_fingerprint(replace(catalogue, texts=("other", *catalogue.texts[1:]))),
        catalogue_fingerprint(replace(catalogue, texts=catalogue.texts[::-1])),
        catalogue_fingerprint(replace(catalogue, images=(None, *catalogue.images[1:]))),
        catalogue_fingerprint(replace(catalogue, item_ids=("x", *catalogue.item_ids[1:]))),
        catalogue_fingerprint(
            keep_items(catalogue, np.array([item_id != "7" for item_id in catalogue.item_ids]), "chosen")
        ),
    ]
    Image.new("RGB", (4, 4), (1, 2, 3)).save(catalogue.images[0])
    prints.append(catalogue_fingerprint(catalogue))
    assert len(set(prints)) == len(prints)


def test_place_time_and_interactions_do_not_count(folder, tmp_path):
    catalogue = read_folder(folder)
    before = catalogue_fingerprint(catalogue)
    os.utime(catalogue.images[0], (1, 1))
    moved = folder.rename(tmp_path / "elsewhere")
    elsewhere = read_folder(moved)
    assert catalogue_fingerprint(elsewhere) == before
    assert catalogue_fingerprint(replace(elsewhere, user=elsewhere.user[:1], item=elsewhere.item[:1])) == before


def test_numbering_does_not_count():
    catalogue = catalogue_of([(0, 0), (0, 1), (0, 2)])
    back = replace(catalogue, item_ids=catalogue.item_ids[::-1], texts=catalogue.texts[::-1], item=2 - catalogue.item)
    assert catalogue_fingerprint(back) == catalogue_fingerprint(catalogue)


def test_a_lost_picture_is_named(folder):
    catalogue = read_folder(folder)
    catalogue.images[0].unlink()
    with pytest.raises(DataError, match=r"2.jpg: cannot be read"):
        catalogue_fingerprint(catalogue)
