"""Results of two machines become one folder, or are refused and nothing is written."""

import shutil
from pathlib import Path

import pytest

from lmmrec_core.disk import write_sealed
from lmmrec_core.errors import ConfigError, ResultError
from lmmrec_core.metrics.again import measured_again
from lmmrec_core.results.merging import merge
from lmmrec_core.results.packing import pack
from lmmrec_core.results.store import ResultStore, key_of
from lmmrec_core.study.stored import check_stored
from tests.results.samples import find, per_user, record
from tests.results.test_archive import DATASET, TRACK, save


@pytest.fixture
def here(tmp_path: Path) -> ResultStore:
    store = ResultStore(tmp_path / "here", measured_again)
    for seed in (1, 2):
        save(store, draw=seed, seed=seed)
    return store


@pytest.fixture
def there(tmp_path: Path) -> ResultStore:
    """Another machine: seed 2 too, with the same outcome, and seed 3."""
    store = ResultStore(tmp_path / "other" / "results", measured_again)
    for seed in (2, 3):
        save(store, draw=seed, seed=seed)
    write_sealed(store.root / TRACK / "encoders" / "clip-PT-00000000.json", {"name": "clip"}, ResultError)
    return store


def tree(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def seeds(store: ResultStore) -> list[int]:
    return [result.case["seed"] for result in find(store)]


@pytest.mark.parametrize("packed", [False, True])
def test_what_is_new_is_added_and_what_is_the_same_stays(here, there, packed):
    before = tree(here.root)
    if packed:
        pack(there, TRACK, DATASET)
        for folder in there.folders(TRACK, DATASET):
            shutil.rmtree(folder)
    (there.root / TRACK / "note.txt").write_text("mine")
    done = merge(here, TRACK, [there.root.parent], check_stored)  # the folder around `results` will do
    assert (done.added, done.same, done.others, done.kept) == (1, 1, 1, ())
    assert [file.name for file in done.unknown] == ["note.txt"]
    assert seeds(here) == [1, 2, 3]
    after = tree(here.root)
    assert before.items() <= after.items() and f"{TRACK}/encoders/clip-PT-00000000.json" in after
    again = merge(here, TRACK, [there.root], check_stored)
    assert (again.added, again.same, again.others) == (0, 2, 0) and tree(here.root) == after


def test_a_packed_run_here_counts_as_here(here, there):
    pack(here, TRACK, DATASET)
    for folder in here.folders(TRACK, DATASET):
        shutil.rmtree(folder)
    assert merge(here, TRACK, [there.root], check_stored).same == 1 and seeds(here) == [1, 2, 3]


def refused(here: ResultStore, sources: list[Path], words: str, error: type = ResultError) -> None:
    before = tree(here.root)
    with pytest.raises(error, match=words):
        merge(here, TRACK, sources, check_stored)
    assert tree(here.root) == before


def test_another_outcome_of_one_run_is_refused(here, there, tmp_path):
    third = ResultStore(tmp_path / "third", measured_again)
    save(third, draw=7, seed=3)
    refused(here, [there.root, third.root], r"nothing was merged.*\nrun vbpr-s3-.*third.* differ for some user")
    save(third, draw=1, seed=1)
    (changed,) = third.root.glob(f"{TRACK}/*/vbpr-s3-*")
    shutil.rmtree(changed)
    assert merge(here, TRACK, [there.root, third.root], check_stored).same == 2


def other(root: Path, **changes) -> Path:
    """A run of seed 9 made from other data or features."""
    described = {**record(seed=9), **changes}
    ResultStore(root).save(TRACK, DATASET, "vbpr-s9", key_of(described["case"]), described, per_user())
    return root


def test_another_catalogue_or_other_features_are_refused(here, there, tmp_path):
    data = {**record()["data"], "catalogue": "d" * 16}
    refused(here, [other(tmp_path / "a", data=data)], r"catalogue and split of null 0: .*a has others than .*here")
    one, two = ({"digest": name * 16, "card": {}} for name in "ef")
    sources = [other(tmp_path / "b", features=one)]
    described = {**record(seed=9, model="bpr"), "features": two}
    ResultStore(tmp_path / "c").save(TRACK, DATASET, "bpr-s9", key_of(described["case"]), described, per_user())
    refused(
        here, [*sources, tmp_path / "c"], r"features of null baseline none V&T none none 0 9: .*c has others than .*b"
    )


def test_damage_and_folders_without_results_are_refused(here, there, tmp_path):
    refused(here, [tmp_path / "nowhere"], "no results of track 'controls' are there", ConfigError)
    refused(here, [here.root], "the results folder itself", ConfigError)
    (damaged,) = there.root.glob(f"{TRACK}/*/vbpr-s3-*/per_user.parquet")
    damaged.write_bytes(b"none")
    refused(here, [there.root], "these files are damaged")
