"""LATTICE's JSON layout, by hand."""

import json
import sys

import numpy as np
import pytest

from lmmrec_core.data import recognise
from lmmrec_core.data.lattice import read_lattice
from lmmrec_core.errors import DataError
from tests.data.made import link_outside

PARTS = {"train": {"0": [3, 1], "2": [0]}, "val": {"0": [2], "2": []}, "test": {"2": [3]}}


def layout(folder, parts=PARTS, core="5-core"):
    (folder / core).mkdir(parents=True)
    for part, rows in parts.items():
        text = rows if isinstance(rows, str) else json.dumps(rows)
        (folder / core / f"{part}.json").write_text(text)
    return folder


def test_parts_numbers_and_features_by_hand(tmp_path):
    folder = layout(tmp_path / "toy")
    np.save(folder / "image_feat.npy", np.arange(8.0).reshape(4, 2))
    assert recognise(folder) == "lattice"
    catalogue = read_lattice(folder)
    rows = np.column_stack([catalogue.user, catalogue.item, catalogue.label]).tolist()
    assert rows == [[0, 1, 0], [0, 2, 1], [0, 3, 0], [2, 0, 0], [2, 3, 2]]
    assert catalogue.user_ids == ("0", "1", "2") and catalogue.counts["users_without_interactions"] == 1
    assert catalogue.ready_features["visual"].tolist() == [[0, 1], [2, 3], [4, 5], [6, 7]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train": "{"}, r"train\.json: not JSON"),
        ({"train": [[0, 1]]}, r"train\.json: not a mapping of users to items"),
        ({"val": {"ann": [1]}}, r"val\.json: user 'ann' is not a number from 0"),
        ({"val": {"0": [-1]}}, r"the items of user 0 are no list of numbers from 0"),
        ({"val": {"0": [True]}}, r"the items of user 0 are no list of numbers from 0"),
        ({"test": {"0": [3]}}, r"test\.json: user 0 and item 3 are in train\.json too"),
        ({"test": {"0": [99999]}}, r"items up to 99999 in 5 rows; number them from 0"),
        ({part: {} for part in PARTS}, "no interactions; add some"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_place(tmp_path, change, message):
    with pytest.raises(DataError, match=message):
        read_lattice(layout(tmp_path / "toy", {**PARTS, **change}))


def test_one_core_is_read_and_features_must_fit(tmp_path):
    folder = layout(tmp_path / "toy")
    np.save(folder / "text_feat.npy", np.ones((5, 2)))
    with pytest.raises(DataError, match=r"text_feat\.npy: 5 rows for 4 items of 5-core"):
        read_lattice(folder)
    layout(folder, core="10-core")
    with pytest.raises(DataError, match=r"needs one folder N-core .*, saw 10-core, 5-core"):
        read_lattice(folder)


@pytest.mark.skipif(sys.platform == "win32", reason="links")
@pytest.mark.parametrize("name", ["5-core/test.json", "image_feat.npy"])
def test_no_file_outside_the_folder_is_read(tmp_path, name):
    folder = layout(tmp_path / "toy")
    np.save(folder / "image_feat.npy", np.ones((4, 2)))
    link_outside(folder / name, tmp_path / "outside")
    with pytest.raises(DataError, match=f"{name}: a link out of the folder"):
        read_lattice(folder)
