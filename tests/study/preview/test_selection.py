"""A part of the grid: cases by name, and shards that divide them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmmrec_core.errors import ConfigError
from lmmrec_core.study.cases import all_cases
from lmmrec_core.study.declared.track_file import read_track
from lmmrec_core.study.preview.selection import Shard, choose

PAPER = all_cases(read_track("paper"), (1, 2, 3))


def test_cases_are_chosen_by_all_fields_together():
    found = choose(PAPER, {"dataset": ["baby"], "model": ["vbpr", "bpr"], "encoder": ["clip"], "paradigm": []}, "grid")
    assert {(c.dataset, c.model, c.encoder) for c in found} == {("baby", "vbpr", "clip")}
    assert {c.paradigm for c in found} == {"PT", "FT", "ETE", "ETE-warm"}
    assert [c for c in PAPER if c in set(found)] == list(found)  # the order of the tables stays
    assert choose(PAPER, {"dataset": [], "model": []}, "grid") == PAPER


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"model": ["vbpt"]}, "unknown model 'vbpt'; did you mean 'vbpr'"),
        ({"dataset": ["babby"]}, "unknown dataset 'babby'; did you mean 'baby'"),
        ({"encoder": ["clipp"]}, "unknown encoder 'clipp'; did you mean 'clip'"),
        ({"paradigm": ["pte"]}, "unknown paradigm"),
        ({"modalities": ["VT"]}, "unknown modalities 'VT'; did you mean 'V&T'"),
        ({"model": ["bpr"], "encoder": ["clip"]}, "no case has model bpr, encoder clip"),
    ],
)
def test_a_name_that_no_case_has_is_refused_with_the_nearest(wanted, message):
    with pytest.raises(ConfigError, match=message):
        choose(PAPER, wanted, "track 'paper'")


@given(st.integers(1, 40), st.integers(0, 100))
def test_shards_are_disjoint_equal_and_together_all(of, length):
    cases = PAPER[:length]
    parts = [Shard.read(f"{number}/{of}").take(cases) for number in range(1, of + 1)]
    assert sorted((c for part in parts for c in part), key=cases.index) == list(cases)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("text", ["", "3", "0/4", "5/4", "1/0", "-1/4", "1/4/2", "a/b", "1 / 4", "٣/٤"])
def test_other_shards_are_refused(text):
    with pytest.raises(ConfigError, match="--shard"):
        Shard.read(text)
