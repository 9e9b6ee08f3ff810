import numpy as np
import pytest

from lmmrec_core.data.parity import read_parity
from lmmrec_core.data.splitting import make_split
from lmmrec_core.errors import DataError

GOOD = {
    "user": np.array([0, 0, 0, 1], dtype=np.int32),
    "item": np.array([0, 1, 2, 2], dtype=np.int32),
    "split": np.array([0, 1, 2, 0], dtype=np.int8),
    "n_users": np.int32(2),
    "n_items": np.int32(4),
}
FEATURES = {"text": np.ones((4, 3), dtype=np.float16), "visual": np.full((4, 2), 0.1, dtype=np.float16)}


def write(path, interactions=GOOD, features=FEATURES):
    np.savez(path / "interactions.npz", **interactions)
    np.savez(path / "features.npz", **features)
    return path


def test_by_hand(tmp_path):
    catalogue = read_parity(write(tmp_path), "mine")
    assert catalogue.name == "mine" and catalogue.n_users == 2 and catalogue.n_items == 4
    assert catalogue.label.tolist() == [0, 1, 2, 0]
    visual = catalogue.ready_features["visual"]
    assert visual.dtype == np.float32 and visual[0, 0] == np.float32(np.float16(0.1))  # the rounded value
    assert catalogue.ready_features["textual"].shape == (4, 3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"user": np.array([0, 0, 0, 2])}, "user holds 0 to 2, allowed are 0 to 1"),
        ({"split": np.array([0, 1, 2, 3])}, "split holds 0 to 3"),
        ({"item": np.array([0, 1, 2])}, "4, 3 and 4 entries"),
        ({"item": np.array([0, 0, 2, 2])}, "pair appears twice"),
        ({"item": np.array([0.0, 1, 2, 2])}, "item is not a list of whole numbers"),
        ({"n_items": np.array([4])}, "n_items is not one positive whole number"),
        ({"n_users": np.int64(10**12)}, "n_users is 1000000000000, with rows for 1040 at most"),
    ],
)
def test_bad_arrays_are_named(tmp_path, changes, message):
    with pytest.raises(DataError, match=message):
        read_parity(write(tmp_path, {**GOOD, **changes}))


def test_absent_or_bad_files_are_named(tmp_path):
    with pytest.raises(DataError, match=r"interactions.npz: no such file"):
        read_parity(tmp_path)
    write(tmp_path, {k: v for k, v in GOOD.items() if k != "split"})
    with pytest.raises(DataError, match="no array 'split' among"):
        read_parity(tmp_path)
    write(tmp_path, features={**FEATURES, "text": np.full((4, 3), np.inf)})
    with pytest.raises(DataError, match=r"features.npz text row 0"):
        read_parity(tmp_path)
    (tmp_path / "features.npz").write_bytes(b"PK damaged")
    with pytest.raises(DataError, match="not a plain NumPy array file"):
        read_parity(tmp_path)


@pytest.mark.shared
def test_the_real_folder(shared_data):
    catalogue = read_parity(shared_data / "parity-ml100k")
    assert (catalogue.n_users, catalogue.n_items, len(catalogue.user)) == (938, 1000, 54_070)
    assert catalogue.counts["items_without_image"] == 8
    split = make_split(catalogue, "given", None)
    assert (len(split.train), len(split.valid), len(split.test)) == (43_242, 5_414, 5_414)
    assert {m: f.shape for m, f in catalogue.ready_features.items()} == {"visual": (1000, 1024), "textual": (1000, 384)}
