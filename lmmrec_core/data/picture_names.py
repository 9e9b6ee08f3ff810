"""What the name of a picture may be meant for, where no file has it."""

from contextlib import suppress
from functools import lru_cache
from pathlib import Path


def meant_picture(cell: str, folder: Path) -> str:
    """The start of a sentence on a picture that is not in a catalogue folder; "" if nothing is near its name.

    Near are names in other letters, without an ending or without their folder, and those with backslashes.
    """
    if "://" in cell:
        return "it is a link, and pictures are read from files; "
    close = _names(folder, _changed(folder), _changed(folder / "images")).get(cell.replace("\\", "/").lower())
    return f"did you mean {close!r}? Else " if close else ""


def _changed(folder: Path) -> int:
    with suppress(OSError):
        return folder.stat().st_mtime_ns
    return 0


@lru_cache(maxsize=1)  # a folder may lack thousands; ``changed`` tells one content of it from another
def _names(folder: Path, *changed: int) -> dict[str, str]:
    """Names in small letters → the files of images/ and of the folder itself that they may be meant for."""
    names: dict[str, str] = {}
    for inner in (folder / "images", folder):
        with suppress(OSError):
            for file in sorted(inner.iterdir()):
                relative = file.relative_to(folder)
                for name in (relative, relative.with_suffix(""), Path(file.name)):
                    names.setdefault(name.as_posix().lower(), relative.as_posix())
    return names
