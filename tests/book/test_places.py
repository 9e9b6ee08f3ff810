"""Where a notebook has pages: once for each track, for the tracks that it names, or once for none."""

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from lmmrec_core.book.pages import pages, places_of
from lmmrec_core.errors import ConfigError
from lmmrec_core.names import TRACKS


def notebook(parameters: str, **metadata: Any) -> nbformat.NotebookNode:
    cell = new_code_cell(parameters, metadata={"tags": ["parameters"]})
    return new_notebook(cells=[cell], metadata=metadata)


@pytest.mark.parametrize(
    ("parameters", "metadata", "places"),
    [
        ('track: str = "controls"', {}, TRACKS),
        ('track: str = "controls"', {"lmmrec": {"tracks": ["controls"]}}, ("controls",)),
        ("k: int = 1", {}, ("shared",)),
    ],
)
def test_a_notebook_has_a_page_in_each_of_its_places(
    tmp_path: Path, parameters: str, metadata: dict[str, Any], places: tuple[str, ...]
) -> None:
    (tmp_path / "notebooks").mkdir()
    nbformat.write(notebook(parameters, **metadata), tmp_path / "notebooks" / "01_one.ipynb")
    assert [str(page) for page in pages(tmp_path)] == [f"{place}/01_one" for place in places]


def test_a_track_that_nobody_has_is_refused() -> None:
    wrong = notebook('track: str = "controls"', lmmrec={"tracks": ["control"]})
    with pytest.raises(ConfigError, match=r"a\.ipynb: metadata lmmrec\.tracks: unknown track 'control'; did you mean"):
        places_of(wrong, "a.ipynb")
