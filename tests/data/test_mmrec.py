import gzip

import numpy as np
import pytest

from lmmrec_core.data.mmrec import read_mmrec, write_mmrec
from lmmrec_core.data.parity import read_parity
from lmmrec_core.data.splitting import make_split
from lmmrec_core.errors import DataError
from lmmrec_core.flow import Features
from tests.data.made import catalogue_of, pairs_of, parts_of

ROWS = ["userID itemID rating timestamp x_label", "1 0 5.0 30 0", "0 2 4.0 10.0 0", "0 0 1.0 20 1", "1 2 1.0 5 2"]
INTER = "\n".join(ROWS).replace(" ", "\t") + "\n"


def inter(path, text=INTER, name="toy.inter"):
    path.mkdir(exist_ok=True)
    (path / name).write_text(text)
    return path


def same(a, b):
    assert (a.user_ids, a.item_ids) == (b.user_ids, b.item_ids)
    for column in ("label", "timestamp"):
        assert (getattr(a, column) is None) == (getattr(b, column) is None)
    order = [np.lexsort((c.item, c.user)) for c in (a, b)]
    for column in ("user", "item", "label", "timestamp"):
        if getattr(a, column) is not None:
            np.testing.assert_array_equal(getattr(a, column)[order[0]], getattr(b, column)[order[1]])
    assert set(a.ready_features) == set(b.ready_features)
    for modality, matrix in a.ready_features.items():
        np.testing.assert_array_equal(matrix, b.ready_features[modality])


def test_columns_and_features_by_hand(tmp_path):
    folder = inter(tmp_path / "toy")
    np.save(folder / "image_feat.npy", np.arange(6.0).reshape(3, 2))
    catalogue = read_mmrec(folder)
    assert catalogue.name == "toy"
    assert catalogue.user_ids == ("0", "1") and catalogue.item_ids == ("0", "1", "2")  # item 1 is a gap
    columns = (catalogue.user, catalogue.item, catalogue.label, catalogue.timestamp)
    assert np.column_stack(columns).tolist() == [[0, 0, 1, 20], [0, 2, 0, 10], [1, 0, 0, 30], [1, 2, 2, 5]]
    assert catalogue.ready_features["visual"].tolist() == [[0, 1], [2, 3], [4, 5]]
    assert "textual" not in catalogue.ready_features
    assert catalogue.counts["items_without_interactions"] == 1


def test_compressed_and_plain_are_the_same(tmp_path):
    plain = read_mmrec(inter(tmp_path / "plain"))
    (tmp_path / "packed").mkdir()
    (tmp_path / "packed" / "toy.inter.gz").write_bytes(gzip.compress(INTER.encode()))
    same(plain, read_mmrec(tmp_path / "packed"))


def example():
    rng = np.random.default_rng(1)
    pairs = sorted({(int(u), int(i)) for u, i in rng.integers(0, 15, size=(120, 2))})
    rng.shuffle(pairs)
    return catalogue_of(
        pairs,
        15,
        15,
        user_ids=tuple(f"A{u}" for u in range(15)),
        item_ids=tuple(f"00{i}" for i in range(15)),
        timestamp=rng.integers(0, 10**9, size=len(pairs)),
        user_group=np.arange(15) // 4,
        texts=("",) * 15,
    )


def test_round_trip_gives_the_same_catalogue_split_and_features(tmp_path):
    catalogue = example()
    split = make_split(catalogue, "mmrec", 3)
    rng = np.random.default_rng(2)
    matrices = {m: rng.normal(size=(15, d)).astype(np.float32) for m, d in (("visual", 4), ("textual", 3))}
    features = Features(matrices, {m: np.ones(15, dtype=bool) for m in matrices}, {}, "x")
    write_mmrec(catalogue, split, features, tmp_path / "toy")
    assert sorted(file.name for file in (tmp_path / "toy").iterdir()) == [
        "i_id_mapping.csv", "image_feat.npy", "text_feat.npy", "toy.inter", "u_id_mapping.csv"]  # fmt: skip
    again = read_mmrec(tmp_path / "toy")
    assert (again.user_ids, again.item_ids) == (catalogue.user_ids, catalogue.item_ids)
    assert pairs_of(again) == pairs_of(catalogue)
    times = [
        dict(zip(zip(c.user.tolist(), c.item.tolist(), strict=True), c.timestamp.tolist(), strict=True))
        for c in (again, catalogue)
    ]
    assert times[0] == times[1]
    np.testing.assert_array_equal(again.user_group, catalogue.user_group)
    resplit = make_split(again, "given", None)
    assert resplit.fingerprint == split.fingerprint
    assert parts_of(again, resplit) == parts_of(catalogue, split)
    for modality, matrix in matrices.items():
        np.testing.assert_array_equal(again.ready_features[modality], matrix)
    write_mmrec(again, resplit, None, tmp_path / "second" / "toy")
    for file in (tmp_path / "toy").iterdir():
        assert file.read_bytes() == (tmp_path / "second" / "toy" / file.name).read_bytes()


def test_rows_are_in_mmrecs_order(tmp_path):
    catalogue = example()
    write_mmrec(catalogue, make_split(catalogue, "mmrec", 3), None, tmp_path / "toy")
    lines = (tmp_path / "toy" / "toy.inter").read_text().splitlines()
    assert lines[0].split("\t") == ["userID", "itemID", "timestamp", "x_label"]
    rows = [tuple(map(int, line.split("\t"))) for line in lines[1:]]
    assert rows == sorted(rows, key=lambda row: (row[0], row[3], row[1]))


def test_nothing_is_overwritten_and_foreign_values_are_refused(tmp_path):
    catalogue = example()
    split = make_split(catalogue, "mmrec", 3)
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match="exists already"):
        write_mmrec(catalogue, split, None, tmp_path / "kept")
    assert [file.name for file in (tmp_path / "kept").iterdir()] == ["mine.txt"]
    with pytest.raises(DataError, match="split this catalogue"):
        write_mmrec(catalogue_of([(0, 0)]), split, None, tmp_path / "new")
    for matrix, message in ((np.ones((3, 2)), "3 rows of visual"), (np.full((15, 1), np.nan), "missing rows")):
        wrong = Features({"visual": matrix.astype(np.float32)}, {}, {}, "x")
        with pytest.raises(DataError, match=message):
            write_mmrec(catalogue, split, wrong, tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty file"),
        ("userID\titemID\n", "no interactions below the header"),
        ("user_id\titemID\n0\t0\n", "line 1: no column 'userID'.*rename 'user_id'"),
        ("userID,itemID\n0,0\n", "line 1: separated by ',', not by tabs"),
        ("userID\titemID\nx\t0\n", "line 2: userID 'x' is not a number"),
        ("userID\titemID\n-1\t0\n", "line 2: userID -1 is not a number from 0"),
        ("userID\titemID\n0\t999999\n", "itemID goes up to 999999 in 1 rows"),
        ("userID\titemID\tx_label\n0\t0\t3\n", "line 2: x_label 3 is no part"),
        ("userID\titemID\tx_label\n0\t0\t1\n0\t0\t2\n", "userID 0 and itemID 0 are in two parts"),
    ],
)
def test_bad_interactions_are_named(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        read_mmrec(inter(tmp_path / "toy", text))


def test_bad_folders_mappings_and_features_are_named(tmp_path):
    with pytest.raises(DataError, match=r"exactly one .inter"):
        read_mmrec(tmp_path)
    folder = inter(tmp_path / "toy")
    np.save(folder / "text_feat.npy", np.ones((2, 2)))
    with pytest.raises(DataError, match=r"text_feat.npy: 2 rows for 3 items of toy.inter"):
        read_mmrec(folder)
    (folder / "text_feat.npy").unlink()
    for text, message in (
        ("asin\titemID\nA\t0\nB\t1\n", "itemID 2 has no row"),
        ("asin\titemID\nA\t0\nB\t0\n", "line 3: itemID 0 appears twice"),
        ("asin\titemID\nA\t0\nA\t1\nC\t2\n", "two numbers have the same asin"),
        ("itemID\n0\n", "one column of the source's ids"),
    ):
        (folder / "i_id_mapping.csv").write_text(text)
        with pytest.raises(DataError, match=message):
            read_mmrec(folder)
    inter(folder, name="second.inter")
    with pytest.raises(DataError, match=r"saw second.inter, toy.inter"):
        read_mmrec(folder)


@pytest.mark.shared
def test_parity_survives_the_round_trip(shared_data, tmp_path):
    parity = read_parity(shared_data / "parity-ml100k")
    split = make_split(parity, "given", None)
    write_mmrec(parity, split, None, tmp_path / "ml100k")
    again = read_mmrec(tmp_path / "ml100k")
    same(parity, again)
    assert make_split(again, "given", None).fingerprint == split.fingerprint
