"""The content of a catalogue folder alone."""

import pytest

from lmmrec_core.data.controls import write_outside_items
from lmmrec_core.data.folder import read_content
from lmmrec_core.errors import DataError


def test_items_without_interactions(tmp_path):
    write_outside_items(tmp_path / "items", 2, 5)
    content = read_content(tmp_path / "items", name="outside")
    assert (content.name, content.n_items, content.n_users, len(content.user)) == ("outside", 5, 0, 0)
    assert content.item_ids[0] == "X0001" and all(content.texts) and all(path.is_file() for path in content.images)
    with pytest.raises(DataError, match=r"no such folder; give one with items\.csv"):
        read_content(tmp_path / "nowhere")
