"""Pages beside the paper's questions: slices and sensitivity, and alignment steered on purpose."""

from pathlib import Path

import pytest

from lmmrec_core.names import TRACKS
from tests.book.executing import execute

ROOT = Path(__file__).resolve().parents[2]
SLICES, DOSE = (ROOT / "notebooks" / f"{name}.ipynb" for name in ("11_slices", "12_alignment_dose"))


@pytest.mark.parametrize("track", TRACKS)
def test_without_runs_every_part_says_so(track: str, glued: dict, empty_study: None) -> None:
    shown = execute(SLICES, track)["shown"]
    assert glued["verdict"] == "not run" and "Not run" in shown["verdict"]
    assert all("not run" in shown[part] for part in ("slices", "lists", "map", "components"))
    assert "as the track is set" in shown["missing"] and shown["side"] == ""
    assert "nan" not in "".join(shown.values()).lower()
    shown = execute(DOSE, track)["shown"]
    assert glued["verdict"] == "not run" and "not run" in shown["dose"] and shown["runs"] == ""
