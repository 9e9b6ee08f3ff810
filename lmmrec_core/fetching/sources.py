"""What is published where: addresses, sizes, digests and licences, read from ``sources.yaml``."""

from pathlib import Path, PurePosixPath
from typing import Literal

from pydantic import Field, field_validator

from lmmrec_core.config import Settings, read_yaml

_FILE = Path(__file__).with_name("sources.yaml")
SHA256_HEX = "^[0-9a-f]{64}$"


class SourceFile(Settings):
    """One file. Its path, below the data folder, and addresses may have places to fill, see :meth:`filled`."""

    name: str = Field(description="what it is, as `lmmrec fetch --only` takes it")
    path: str
    addresses: tuple[str, ...] = Field(min_length=1, description="asked in this order until one has the file")
    content: Literal["gzip", "vectors", "torch", "any"] = "any"
    size: int | None = Field(None, gt=0, description="bytes; none: not published")
    sha256: str | None = Field(None, pattern=SHA256_HEX, description="none: not published")

    @field_validator("path")
    @classmethod
    def _stays_below(cls, value: str) -> str:
        if value.startswith("/") or ".." in PurePosixPath(value).parts:
            raise ValueError("paths are relative, and stay below the data folder")
        return value

    def filled(self, **places: str) -> "SourceFile":
        """The same with ``{path}``, ``{category}`` and the like filled in; ``{file}`` is the name of its path."""
        path = self.path.format(**places)
        places["file"] = PurePosixPath(path).name
        addresses = tuple(address.format(**places) for address in self.addresses)
        return SourceFile.build({**self.model_dump(), "path": path, "addresses": addresses}, f"source {path}")


class PictureLinks(Settings):
    """How the links of a catalogue are followed."""

    path: str = Field(description="folder of the pictures, below the data folder")
    hosts: tuple[str, ...] = Field(description="who is asked; links to others are not followed")
    blanks: tuple[str, ...] = Field((), description="parts of a link that mean: there is no picture")


class OpenClipWeights(Settings):
    """Published weights by the names that open_clip has for them."""

    model: str
    tag: str


class Publication(Settings):
    """What one publisher offers, and on which terms."""

    title: str
    page: str = Field(description="where it is described")
    licence: str
    files: tuple[SourceFile, ...] = ()
    pictures: PictureLinks | None = None
    rows: dict[str, int] = Field(default_factory=dict, description="category → reviews, as published")
    package: str | None = Field(None, description="an installed package that brings the same files")
    open_clip: OpenClipWeights | None = Field(None, description="for what that library fetches and keeps by itself")


def read_publications(file: Path = _FILE) -> dict[str, Publication]:
    """Everything that is known, by the data format (``amazon``) or the encoder that reads it.

    Raises ConfigError naming the file and the entry.
    """
    return {name: Publication.build(entry, f"{file.name}: {name}") for name, entry in read_yaml(file).items()}
