"""Items of a folder that no run has seen, to be encoded as a run did it; all faults of the folder are told at once."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lmmrec_core.data.folder import FolderSettings, named_pictures, read_content
from lmmrec_core.encoders.pictures.unreadable import UnreadablePictures, naming_unreadable, unreadable_pictures
from lmmrec_core.errors import DataError
from lmmrec_core.flow import Catalogue, Modality

_CURE = "replace them, or leave the `image` cells of these items empty"


@contextmanager
def new_content(
    folder: Path, content: Sequence[Modality], ready: Sequence[Modality], progress: bool
) -> Iterator[Catalogue]:
    """The items of a catalogue folder, without users or interactions; ``content`` and ``ready`` as its settings.

    Raises DataError with all faults of its files, pictures that are not there or cannot be read among them, whether
    they show when it is read or in the block.
    """
    asked = {"content": list(content), "ready": list(ready), "unreadable": "keep"}
    settings = FolderSettings.build(asked, str(folder))
    faults: list[str] = []
    try:
        catalogue = read_content(folder, settings)
        pictures = list(zip(catalogue.item_ids, catalogue.images, strict=True))
    except DataError as error:
        faults.append(str(error))
        pictures = list(named_pictures(folder, settings)) if folder.is_dir() else []
    if faults or not all(path is None or _is_there(path) for _, path in pictures):
        broken = unreadable_pictures(pictures, progress)
        faults += [UnreadablePictures(list(broken.values()), folder.name).told(_CURE)] if broken else []
        raise DataError("\n".join(faults))
    try:
        with naming_unreadable(catalogue, progress):
            yield catalogue
    except UnreadablePictures as error:
        raise DataError(error.told(_CURE)) from None


def _is_there(picture: Path) -> bool:
    try:
        return picture.is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False
