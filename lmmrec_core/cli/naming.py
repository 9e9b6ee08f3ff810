"""What a catalogue of the user's own is called in ``results/``: a name that any file system, and any shell, takes."""

import os
import re
import sys
import unicodedata
from pathlib import Path

from lmmrec_core.digests import bytes_sha256
from lmmrec_core.errors import ConfigError
from lmmrec_core.names import LONGEST_NAME, PLAIN_NAME

_KEPT = 50  # characters of a name that is made: a path must not be too long


def catalogue_name(folder: Path, asked: str | None = "") -> str:
    """The name that was asked for, or the folder's, or, if that has blanks or other letters, one made of it.

    A made name ends in eight digits of a digest, so that two folders of other letters have two names; unless ``asked``
    is None, which says that nothing is stored, it is told on stderr. Raises ConfigError for an ``asked`` that is not
    plain.
    """
    if asked:
        if not is_plain(asked):
            raise ConfigError(f"--name {asked!r} cannot name a folder; write for instance --name {plain_name(asked)}")
        return asked
    if is_plain(folder.name):
        return folder.name
    made = plain_name(folder.name)
    if asked is not None:
        print(f"{folder.name!r} is called {made} in results/; --name gives it another name", file=sys.stderr)
    return made


def is_plain(name: str) -> bool:
    """Whether a name has only letters, digits and . _ + -, begins with one of the first two, and is not too long."""
    return re.fullmatch(PLAIN_NAME, name) is not None and len(name) <= LONGEST_NAME


def plain_name(name: str) -> str:
    """A plain name made of any: "my shop" → "my-shop-DIGEST"; of no such letters, "catalogue-DIGEST"."""
    letters = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    kept = re.sub(r"[^A-Za-z0-9._+]+", "-", letters).strip("-._+")[:_KEPT].rstrip("-._+") or "catalogue"
    return f"{kept}-{bytes_sha256(os.fsencode(unicodedata.normalize('NFC', name)))[:8]}"
