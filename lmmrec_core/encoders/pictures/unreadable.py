"""Pictures of a catalogue that cannot be read: found all at once, by the reader that encoders use."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

from lmmrec_core.encoders.pictures.reading import read_picture
from lmmrec_core.errors import FeatureError
from lmmrec_core.flow import Catalogue

_SHOWN = 20  # pictures that a message names
_CURE = (
    "replace them, or leave these items out (--unreadable drop), or keep them without a picture (--unreadable keep); "
    "in a track file, write unreadable: drop or keep among the options"
)


def unreadable_pictures(pictures: Iterable[tuple[str, Path | None]], progress: bool = False) -> dict[str, str]:
    """Item → why its picture cannot be read, for all that cannot. Each picture is decoded and let go again."""
    pairs = [(item_id, path) for item_id, path in pictures if path is not None]
    found: dict[str, str] = {}
    for item_id, path in tqdm(pairs, desc="pictures", unit="picture", disable=not progress):
        try:
            read_picture(path, item_id)
        except FeatureError as error:
            found[item_id] = str(error)
        except (OSError, ValueError) as error:  # a name that no file can have
            found[item_id] = f"item {item_id!r}: its picture has no name that a file can have ({error})"
    return found


class UnreadablePictures(FeatureError):
    """All pictures of a catalogue that cannot be read, told with the cures that a command and a track file have."""

    def __init__(self, faults: list[str], name: str) -> None:
        self.faults, self.name = faults, name
        super().__init__(self.told(_CURE))

    def told(self, cure: str) -> str:
        """One message of all these faults, with another cure."""
        more = [f"and {len(self.faults) - _SHOWN} more"] if len(self.faults) > _SHOWN else []
        number = f"{len(self.faults)} pictures" if len(self.faults) > 1 else "1 picture"
        return "\n  ".join([f"{self.name}: {number} cannot be read; {cure}", *self.faults[:_SHOWN], *more])


@contextmanager
def naming_unreadable(catalogue: Catalogue, progress: bool = False) -> Iterator[None]:
    """A FeatureError inside becomes an UnreadablePictures, if there are any."""
    try:
        yield
    except UnreadablePictures:
        raise
    except FeatureError as error:
        found = unreadable_pictures(zip(catalogue.item_ids, catalogue.images, strict=True), progress)
        if not found:
            raise
        raise UnreadablePictures(list(found.values()), catalogue.name) from error
