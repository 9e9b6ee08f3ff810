"""A catalogue folder reads its own files and no others, and passes none over in silence."""

import gzip
import json
import os
import sys

import numpy as np
import pytest

from lmmrec_core.data import files
from lmmrec_core.data.files import load_arrays, read_text
from lmmrec_core.errors import DataError
from tests.cli.shops import QUICK, mmrec, told

linked = pytest.mark.skipif(sys.platform == "win32", reason="links and pipes")


def leads_out(folder, name):
    """The file of a folder, moved out, with a link to it in its place."""
    outside = folder.parent / f"outside-{name}"
    (folder / name).rename(outside)
    (folder / name).symlink_to(outside)


@linked
@pytest.mark.parametrize("name", ["interactions.csv", "items.csv", "visual.npy", "interactions.csv.gz"])
def test_no_table_or_matrix_outside_a_folder_is_read(shop, capsys, name):
    np.save(shop / "visual.npy", np.ones((12, 2), dtype=np.float32))
    if name.endswith(".gz"):
        (shop / name).write_bytes(gzip.compress((shop / "interactions.csv").read_bytes()))
        (shop / "interactions.csv").unlink()
    leads_out(shop, name)
    for command in (("data", shop), ("run", "--data", shop, "--model", "vbpr", *QUICK)):
        assert f"{name}: a link out of the folder" in told(capsys, *command, rc=1)
    (shop / name).unlink()
    (shop.parent / f"outside-{name}").rename(shop / f"kept-{name}")
    (shop / name).symlink_to(f"kept-{name}")  # a link that stays inside is fine
    if name != "visual.npy":
        assert "12" in told(capsys, "data", shop)


@linked
@pytest.mark.parametrize("name", ["toy.inter", "image_feat.npy", "u_id_mapping.csv"])
def test_no_file_outside_an_mmrec_folder_is_read(tmp_path, capsys, name):
    folder = mmrec(tmp_path / "toy")
    (folder / "u_id_mapping.csv").write_text("user_id\tuserID\n" + "".join(f"secret{n}\t{n}\n" for n in range(20)))
    leads_out(folder, name)
    error = told(capsys, "data", folder, rc=1)
    assert f"{name}: a link out of the folder" in error and "secret" not in error


@linked
@pytest.mark.parametrize("name", ["reviews_X_5.json", "meta_X.json", "image_features_X.b"])
def test_no_file_outside_an_amazon_folder_is_read(tmp_path, capsys, name):
    folder = tmp_path / "amazon"
    folder.mkdir()
    review = {"reviewerID": "A", "asin": "B00000000X", "overall": 5.0, "unixReviewTime": 1}
    for each in ("reviews_X_5.json", "meta_X.json", "image_features_X.b"):
        (folder / each).write_text(json.dumps(review))
    leads_out(folder, name)
    assert f"{name}: a link out of the folder" in told(capsys, "data", folder, rc=1)


@linked
def test_no_file_outside_a_parity_folder_is_read(tmp_path, capsys):
    (tmp_path / "parity").mkdir()
    for name in ("interactions.npz", "features.npz"):
        np.savez(tmp_path / "parity" / name, user=np.arange(2))
    leads_out(tmp_path / "parity", "interactions.npz")
    assert "interactions.npz: a link out of the folder" in told(capsys, "data", tmp_path / "parity", rc=1)


@linked
@pytest.mark.parametrize("name", ["visual.npy", "interactions.csv"])
@pytest.mark.parametrize("kind", ["folder", "pipe", "dangling", "loop"])
def test_a_name_that_is_there_and_is_no_file_is_a_fault(shop, capsys, name, kind):
    place = shop / name
    place.unlink(missing_ok=True)
    if kind == "folder":
        place.mkdir()
    elif kind == "pipe":
        os.mkfifo(place)
    else:
        place.symlink_to("nowhere.npy" if kind == "dangling" else name)
    words = {"folder": "a folder, not a file", "pipe": "a pipe or device, not a file"}.get(kind, "leads to no file")
    error = told(capsys, "data", shop, rc=1)
    assert f"{name}: " in error and words in error


@pytest.mark.parametrize(
    "name", ["visual.npz", "visual.pt", "VISUAL.npy", "visual_features.npy", "image_feat.npy", "v_feat.npy"]
)
def test_features_under_another_name_are_not_passed_over(shop, capsys, name):
    np.save(shop / "kept.npy", np.ones((12, 2), dtype=np.float32))
    (shop / "kept.npy").rename(shop / name)
    for command in (("data", shop), ("run", "--data", shop, "--model", "vbpr", *QUICK)):
        assert f"{name}: is not read; did you mean visual.npy?" in told(capsys, *command, rc=1)
    told(capsys, "run", "--data", shop, "--model", "popularity", "--quiet")  # reads none, so it misses none


def test_mmrec_features_under_another_name_are_not_passed_over(tmp_path, capsys):
    folder = mmrec(tmp_path / "toy")
    (folder / "image_adj_10_True.pt").write_bytes(b"a toolbox's own")
    told(capsys, "data", folder)
    (folder / "image_feat.npy").rename(folder / "visual.npy")
    assert "visual.npy: is not read; did you mean image_feat.npy?" in told(capsys, "data", folder, rc=1)


def test_a_rating_of_thousands_of_digits_is_refused(tmp_path, capsys):
    for digits in (30, 5000):
        (tmp_path / "reviews_X_5.json").write_text(
            f'{{"reviewerID": "A", "asin": "B00000000X", "overall": {"9" * digits}, "unixReviewTime": 1}}\n'
        )
        (tmp_path / "meta_X.json").write_text("{'asin': 'B00000000X', 'title': 'Cup'}\n")
        error = told(capsys, "data", tmp_path, rc=1)
        assert "reviews_X_5.json line 1" in error and len(error) < 500


def test_a_damaged_compressed_table_is_told_from_a_plain_one(tmp_path):
    content = bytearray(gzip.compress(b"user_id,item_id\n1,2\n"))
    content[-8] ^= 1  # its checksum
    (tmp_path / "a.csv.gz").write_bytes(content)
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(b"user_id,item_id\n1,2\n") + b"more")
    (tmp_path / "c.csv.gz").write_bytes(b"user_id,item_id\n1,2\n")
    for name, words in (("a", "damaged"), ("b", "damaged"), ("c", "not compressed by gzip")):
        with pytest.raises(DataError, match=words):
            read_text(tmp_path / f"{name}.csv.gz")


def test_what_may_not_be_read_is_said_to_be_so(tmp_path, monkeypatch):
    np.save(tmp_path / "visual.npy", np.ones((2, 2)))

    def forbidden(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(files, "_is_archive", forbidden)
    with pytest.raises(DataError, match=r"visual\.npy: cannot be read \(Permission denied\); allow reading it"):
        load_arrays(tmp_path / "visual.npy")
