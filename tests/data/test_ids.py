from hypothesis import given
from hypothesis import strategies as st

from lmmrec_core.data.ids import in_order, natural_ranks, positions


def test_digits_by_number_then_text():
    assert in_order(["B1", "10", "2", "0010", "A", "2"]) == ("2", "0010", "10", "A", "B1")


def test_ids_of_any_length_are_ordered():
    long = "9" * 5000  # more digits than Python turns into a number
    assert in_order([long, "3", "x"]) == ("3", long, "x")


@given(st.sets(st.text(max_size=5), min_size=1), st.randoms(use_true_random=False))
def test_ranks_are_places_in_order(ids, shuffle):
    listed = sorted(ids)
    shuffle.shuffle(listed)
    assert natural_ranks(listed).tolist() == positions(listed, in_order(ids)).tolist()
