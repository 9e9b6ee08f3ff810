"""The side tracks: each starts from a track of the book and keeps its name, so cells that both have are run once.

A reader of the book's track does not see the further cells: they are not in its grid.
"""

from pathlib import Path

from lmmrec_core.study.study import Study

_FOLDER = Path(__file__).parent
#: Kind of side track → track that it starts from → its file.
FURTHER: dict[str, dict[str, Path]] = {
    "dose": {name: _FOLDER / f"dose_{name}.yaml" for name in ("controls", "films")},
    "effects": {name: _FOLDER / f"effects_{name}.yaml" for name in ("films",)},
}


def further_study(kind: str, study: Study) -> Study | None:
    """The side track of a study's track, in the same working folder; None if that has none of this kind."""
    file, space = FURTHER[kind].get(study.track.name), study.workspace
    if file is None:
        return None
    return Study.open(str(file), data=str(space.data) if space.data else None, home=space.results.parent)
