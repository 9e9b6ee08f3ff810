"""What choosing settings on the test part adds, from searches that measured it (``lmmrec search --measure-leak``)."""

from dataclasses import dataclass
from pathlib import Path

from lmmrec_core.questions import Variant
from lmmrec_core.study.cases import Case
from lmmrec_core.study.search.summary import read_summary, summary_path


@dataclass(frozen=True)
class Leak:
    """Test Recall@20 of the best of the same points: by validation (``honest``), and by the test part itself."""

    honest: float
    leaky: float
    points: int
    record: str  # the file, below results/<track>


def leak_of_cell(results: Path, track: str, dataset: str, model: str, variant: Variant) -> Leak | None:
    """Of a cell that was searched so; None if it was not. Raises ResultError for a damaged record."""
    fields = {"track": track, "dataset": dataset, "model": model, "encoder": variant.encoder}
    fields |= {"paradigm": variant.paradigm, "modalities": variant.modalities}
    path = summary_path(results, Case.build(fields, "searched cell"), "study", measured_test=True)
    if not path.is_file():
        return None
    content = read_summary(path)
    honest, leaky = (float(content["leak"][f"chosen_on_{part}"]["test"]) for part in ("validation", "test"))
    return Leak(honest, leaky, len(content["trials"]), f"{path.parent.name}/{path.name}")
