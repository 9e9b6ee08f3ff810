"""The role of a data format: what a member of ``data.SOURCES`` promises. It needs no torch, unlike ``roles.py``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, Self, runtime_checkable

from lmmrec_core import config
from lmmrec_core.errors import ConfigError
from lmmrec_core.flow import Catalogue


class Source(Protocol):
    """A format in which catalogues come. A member is a class of static methods; nobody builds it.

    A member of another package may also have ``example(folder, turned)``: it writes a tiny catalogue of its format
    into an empty folder, with its rows the other way round if ``turned``. The contract tests then run on it.
    """

    name: str
    marks: str  # the files that tell this format, in words: "interactions.csv"; "" if no folder is recognised as it
    Settings: type[config.Settings]  # of what a track file writes under ``options``; each has a default if ``marks``

    def recognises(self, folder: Path, /) -> bool:
        """Whether a folder looks like this format, judged by the names of its files.

        Where the names do not tell two formats apart, the first line of a file may. A recognised folder can be read
        with the default settings. A format that only a track file can name, because its folders look like those of
        another format, recognises none.
        """
        ...

    def read(self, folder: Path, settings: Any, name: str | None = None, /) -> Catalogue:
        """The catalogue in ``folder``, called ``name``; its ``label`` is set if the folder brings its own split.

        The order of the rows does not matter. Raises DataError naming the file or folder, and the cure.
        """
        ...


@runtime_checkable
class DrawnSource(Source, Protocol):
    """A source whose folders are drawn at random, by a seed among its settings, instead of given."""

    def folder_name(self, settings: Any, /) -> str:
        """A name that tells these settings, and this version of the generator, from all others."""
        ...

    def draw(self, settings: Any, folder: Path, /) -> None:
        """Write the catalogue into ``folder``, which is empty; the same bytes for the same name."""
        ...


@runtime_checkable
class ListsAbsent(Protocol):
    """A source that can tell by the names of files alone what a folder lacks; others are only looked for as a whole."""

    def absent(self, folder: Path, settings: Any, /) -> Mapping[str, str]:
        """What cannot be read → the file or folder that it needs and that is not there.

        "catalogue": nothing can be read; "visual", "textual": no pictures, no texts; "ready visual", "ready textual":
        no features that come with the data.
        """
        ...


@runtime_checkable
class TellsNearMisses(Protocol):
    """A source that can tell what a folder of no known format lacks to be one of its own."""

    def nearly(self, folder: Path, /) -> str:
        """What is missing or named otherwise, with the cure, in words; "" for a folder that looks like another's."""
        ...


class NoSettings(config.Settings):
    """The settings of a format that is read in one way only."""

    @classmethod
    def build(cls, values: Mapping[str, Any], where: str = "settings") -> Self:
        """The empty settings. Raises ConfigError for any value."""
        if values:
            raise ConfigError(f"{where}: this format takes no options; remove {', '.join(values)}")
        return cls()
