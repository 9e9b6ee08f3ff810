import numpy as np
import pytest

from lmmrec_core.data.folder import read_folder
from lmmrec_core.data.movielens import MovieLensSettings, read_movielens
from lmmrec_core.data.splitting import make_split
from lmmrec_core.errors import ConfigError

# the data set's README: users, items, interactions after the 5-core
SIZES = {"dense": (938, 991, 53_938), "sparse_sessions": (3312, 981, 25_083), "sparse_users": (767, 647, 6_219)}


@pytest.mark.shared
@pytest.mark.parametrize("slice_name", SIZES)
def test_sizes_are_those_of_the_readme(shared_data, slice_name):
    catalogue = read_movielens(shared_data / "ml-100k-posters", MovieLensSettings(slice_name=slice_name))
    assert (catalogue.n_users, catalogue.n_items, len(catalogue.user)) == SIZES[slice_name]
    assert all(catalogue.texts) and all(image.is_file() for image in catalogue.images)
    assert catalogue.counts["items_read"] == 1428
    for numbers, n in ((catalogue.user, catalogue.n_users), (catalogue.item, catalogue.n_items)):
        assert np.bincount(numbers, minlength=n).min() >= 5
    split = make_split(catalogue, "mmrec", 1)
    assert len(np.unique(split.test.user)) == catalogue.n_users
    assert len(split.train) + len(split.valid) + len(split.test) == len(catalogue.user)


@pytest.mark.shared
def test_sessions_know_their_person(shared_data):
    catalogue = read_movielens(shared_data / "ml-100k-posters", MovieLensSettings(slice_name="sparse_sessions"))
    assert catalogue.user_group.tolist() == [int(user_id) // 1000 for user_id in catalogue.user_ids]
    pairs = catalogue.user_group[catalogue.user] * catalogue.n_items + catalogue.item
    assert len(np.unique(pairs)) == len(pairs)  # the sessions of one person share no item


@pytest.mark.shared
def test_all_ratings_count_without_a_threshold(shared_data):
    catalogue = read_folder(shared_data / "ml-100k-posters")
    assert (catalogue.n_users, catalogue.n_items, len(catalogue.user)) == (943, 1428, 98_517)
    toy_story = catalogue.item_ids.index("1")
    assert catalogue.texts[toy_story].startswith("Toy Story (1995). Pixar Animation Studios")


@pytest.mark.shared
def test_wrong_posters_are_counted_or_left_out(shared_data):
    everything = read_movielens(shared_data / "ml-100k-posters", MovieLensSettings(slice_name="dense"))
    right = read_movielens(shared_data / "ml-100k-posters", MovieLensSettings(slice_name="dense", posters="right"))
    wrong = {"11", "55", "198", "1201"}
    assert wrong & set(everything.item_ids) and not wrong & set(right.item_ids)
    assert everything.counts["items_wrong_poster"] == right.counts["items_dropped_wrong_poster"]


def test_unknown_slice_is_refused():
    with pytest.raises(ConfigError, match="did you mean 'sparse_users'"):
        MovieLensSettings.build({"slice_name": "sparse_user"})
