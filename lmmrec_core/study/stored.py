"""What a track keeps beside its runs, and how each kind of file is checked."""

from fnmatch import fnmatchcase
from pathlib import Path

from lmmrec_core.disk import read_sealed
from lmmrec_core.study.own.kept import MODEL, read_kept

_SEALED = ("*/dataset.json", "*/features/*.json", "encoders/*.json", "*/encoders/*.json", "search/*.json")


def check_stored(file: Path, folder: Path) -> bool:
    """Whether ``file``, below the results ``folder`` of a track, is of a kind that carries its own digest.

    Raises ResultError for one that is, and does not match it.
    """
    place = file.relative_to(folder)
    if file.name == MODEL and len(place.parts) == 3:
        read_kept(file)
        return True
    sealed = any(fnmatchcase(place.as_posix(), pattern) and len(place.parts) == pattern.count("/") + 1
                 for pattern in _SEALED)  # fmt: skip
    if sealed:
        read_sealed(file)
    return sealed
