from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmmrec_core.data.filtering import k_core
from lmmrec_core.data.fingerprint import split_fingerprint
from lmmrec_core.data.mmrec import read_mmrec
from lmmrec_core.data.splitting import make_split
from lmmrec_core.errors import ConfigError, DataError
from tests.data.made import catalogue_of, pairs_of, parts_of

# the stated rules: rows of a user → (train, valid, test)
MMREC = {1: (1, 0, 0), 2: (2, 0, 0), 3: (1, 1, 1), 5: (3, 1, 1), 9: (7, 1, 1), 10: (8, 1, 1), 14: (12, 1, 1),
         15: (12, 1, 2), 19: (16, 1, 2), 20: (16, 2, 2), 25: (20, 2, 3), 30: (24, 3, 3)}  # fmt: skip


def sizes_per_user(split, n_users):
    return list(zip(*(np.bincount(split.part(p).user, minlength=n_users).tolist() for p in ("train", "valid", "test")),
                    strict=True))  # fmt: skip


def staircase():
    """One user for each n of the oracle."""
    return catalogue_of([(u, i) for u, n in enumerate(MMREC) for i in range(n)])


@pytest.mark.parametrize("seed", [1, 2])
def test_mmrec_sizes_by_user(seed):
    assert sizes_per_user(make_split(staircase(), "mmrec", seed), len(MMREC)) == list(MMREC.values())


def test_lattice_gives_the_odd_row_to_valid():
    expected = [(train, test, valid) for train, valid, test in MMREC.values()]
    assert sizes_per_user(make_split(staircase(), "lattice", 1), len(MMREC)) == expected


def test_held_out_rows_are_a_random_choice():
    catalogue = catalogue_of([(u, i) for u in range(3000) for i in range(5)])
    split = make_split(catalogue, "mmrec", 5)
    for part in ("valid", "test"):
        share = np.bincount(split.part(part).item, minlength=5) / 3000
        np.testing.assert_allclose(share, 0.2, atol=0.04)  # 5.5 standard errors


def test_seeds_differ_and_repeat():
    catalogue = staircase()
    first, again, other = (make_split(catalogue, "mmrec", seed) for seed in (1, 1, 2))
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert (first.rule, first.seed) == ("mmrec", 1)
    assert first.fingerprint == split_fingerprint(catalogue, first.train, first.valid, first.test)


PAIRS = st.sets(st.tuples(st.integers(0, 12), st.integers(0, 30)), min_size=10, max_size=90)


def enough(pairs):
    users = [u for u, _ in pairs]
    return any(users.count(u) >= 3 for u in users)


@settings(max_examples=60)
@given(PAIRS.filter(enough), st.sampled_from(["mmrec", "lattice"]), st.randoms(use_true_random=False))
def test_every_pair_is_in_one_part_and_order_and_numbers_do_not_matter(pairs, rule, shuffle):
    catalogue = catalogue_of(sorted(pairs), 13, 31)
    split = make_split(catalogue, rule, 7)
    parts = parts_of(catalogue, split)
    assert set(parts) == pairs_of(catalogue)

    users, items, rows = list(range(13)), list(range(31)), sorted(pairs)
    for values in (users, items, rows):
        shuffle.shuffle(values)
    other = catalogue_of(
        [(users.index(u), items.index(i)) for u, i in rows],
        user_ids=tuple(f"u{u}" for u in users),
        item_ids=tuple(f"i{i}" for i in items),
        n_users=13,
        n_items=31,
    )
    resplit = make_split(other, rule, 7)
    assert parts_of(other, resplit) == parts
    assert resplit.fingerprint == split.fingerprint


def test_parts_are_sorted_by_user_then_item():
    catalogue = staircase()
    backwards = replace(catalogue, user=catalogue.user[::-1], item=catalogue.item[::-1])
    for part in ("train", "valid", "test"):
        rows = make_split(backwards, "mmrec", 3).part(part)
        keys = rows.user * catalogue.n_items + rows.item
        assert (np.diff(keys) > 0).all()


def test_global_time_by_hand():
    # ten rows at the seconds 0..9: eight are train, then one valid, one test
    pairs = [(0, 0), (0, 1), (1, 0), (1, 1), (0, 3), (1, 3), (3, 0), (3, 1)]
    catalogue = catalogue_of([*pairs, (3, 3), (0, 2)], timestamp=np.arange(10))
    with pytest.raises(DataError, match="leaves test empty"):  # item 2 is not in train
        make_split(catalogue, "global_time", None)
    catalogue = catalogue_of([*pairs, (3, 3), (2, 0)], timestamp=np.arange(10))
    with pytest.raises(DataError, match="leaves test empty"):  # user 2 is not in train
        make_split(catalogue, "global_time", None)
    pairs = [(0, 0), (0, 1), (1, 0), (2, 2), (1, 2), (0, 3), (2, 1), (2, 0), (2, 3), (1, 1)]
    catalogue = catalogue_of(pairs[::-1], timestamp=np.arange(10)[::-1])
    split = make_split(catalogue, "global_time", None)
    parts = parts_of(catalogue, split)
    assert parts[("u2", "i3")] == "valid" and parts[("u1", "i1")] == "test"
    assert len(split.train) == 8


def test_global_time_is_a_cut_in_time():
    rng = np.random.default_rng(0)
    pairs = sorted({(int(u), int(i)) for u, i in rng.integers(0, 20, size=(300, 2))})
    times = rng.integers(0, 40, size=len(pairs))  # many equal ones
    catalogue = catalogue_of(pairs, timestamp=times)
    split = make_split(catalogue, "global_time", 9)
    time_of = dict(zip(pairs, times.tolist(), strict=True))
    when = {p: [time_of[pair] for pair in zip(split.part(p).user.tolist(), split.part(p).item.tolist(), strict=True)]
            for p in ("train", "valid", "test")}  # fmt: skip
    assert max(when["train"]) < min(when["valid"]) and max(when["valid"]) < min(when["test"])
    assert split.seed is None
    assert len(when["train"]) >= int(0.8 * len(pairs))


def test_given_keeps_the_labels_and_drops_users_without_train_rows():
    label = np.array([0, 1, 2, 1, 2])
    catalogue = catalogue_of([(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)], label=label)
    split = make_split(catalogue, "given", 4)
    assert parts_of(catalogue, split) == {("u0", "i0"): "train", ("u0", "i1"): "valid", ("u0", "i2"): "test"}
    assert split.seed is None


def test_groups_are_carried():
    catalogue = replace(staircase(), user_group=np.arange(len(MMREC)) // 2)
    assert make_split(catalogue, "mmrec", 1).user_group is catalogue.user_group


def test_what_cannot_be_split_is_named():
    catalogue = catalogue_of([(0, 0), (0, 1), (1, 0)])
    with pytest.raises(ConfigError, match="unknown split rule 'mrec'; did you mean 'mmrec'"):
        make_split(catalogue, "mrec", 1)
    with pytest.raises(ConfigError, match="give it a seed"):
        make_split(catalogue, "mmrec", None)
    with pytest.raises(DataError, match="needs timestamps"):
        make_split(catalogue, "global_time", None)
    with pytest.raises(DataError, match="needs a column of parts"):
        make_split(catalogue, "given", None)
    with pytest.raises(DataError, match="leaves valid empty; only users with 3"):
        make_split(catalogue, "mmrec", 1)
    with pytest.raises(DataError, match="leaves valid empty"):
        make_split(replace(catalogue, timestamp=np.zeros(3, dtype=np.int64)), "global_time", None)
    with pytest.raises(DataError, match="leaves train empty"):
        make_split(replace(catalogue, label=np.full(3, 2)), "given", None)


@pytest.mark.shared
def test_baby_has_the_published_sizes_for_every_seed(shared_data):
    baby = read_mmrec(shared_data / "amazon-baby")
    assert (baby.n_users, baby.n_items, len(baby.user)) == (19_445, 7_050, 160_792)
    given_split = make_split(baby, "given", None)
    fingerprints = {given_split.fingerprint}
    for split in (given_split, make_split(baby, "mmrec", 1), make_split(baby, "mmrec", 2)):
        assert (len(split.train), len(split.valid), len(split.test)) == (118_551, 20_559, 21_682)
        fingerprints.add(split.fingerprint)
    assert len(fingerprints) == 3
    assert sizes_per_user(given_split, 19_445) == sizes_per_user(make_split(baby, "mmrec", 3), 19_445)
    lattice = make_split(baby, "lattice", 1)
    assert (len(lattice.train), len(lattice.valid), len(lattice.test)) == (118_551, 21_682, 20_559)
    assert len(np.setdiff1d(np.arange(7_050), given_split.train.item)) == 3  # items in no training row
    assert len(k_core(baby, 5).user) == 160_792  # it is 5-core already


def test_fingerprint_sees_parts_and_ids():
    catalogue = staircase()
    split = make_split(catalogue, "mmrec", 1)
    swapped = split_fingerprint(catalogue, split.train, split.test, split.valid)
    renamed = split_fingerprint(
        replace(catalogue, user_ids=catalogue.user_ids[::-1]), split.train, split.valid, split.test
    )
    assert len({split.fingerprint, swapped, renamed}) == 3
