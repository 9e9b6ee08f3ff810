from lmmrec_core.data import SOURCES
from lmmrec_core.data.folder import read_folder


def test_every_source_is_callable_and_the_controls_are_read_like_any_folder():
    assert set(SOURCES) == {"folder", "mmrec", "parity", "amazon", "movielens", "controls"}
    assert all(callable(reader) for reader in SOURCES.values())
    assert SOURCES["controls"] is read_folder
