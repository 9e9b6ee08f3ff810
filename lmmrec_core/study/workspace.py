"""Where things lie: results (small, some kept in git) and the cache (made again at will)."""

import os
from dataclasses import dataclass
from pathlib import Path

from lmmrec_core.errors import ConfigError, DataError


@dataclass(frozen=True)
class Places:
    """Folders of one working copy."""

    results: Path
    cache: Path

    @property
    def catalogues(self) -> Path:
        return self.cache / "catalogues"

    @property
    def features(self) -> Path:
        return self.cache / "features"

    @property
    def encoders(self) -> Path:
        return self.cache / "encoders"

    @property
    def checkpoints(self) -> Path:
        return self.cache / "checkpoints"


def default_places() -> Places:
    """The working copy's folders, or those below ``LMMREC_HOME`` where that is set."""
    home = Path(os.environ.get("LMMREC_HOME") or Path(__file__).resolve().parents[2])
    return Places(results=home / "results", cache=home / ".cache")


def data_root(data: str | Path | None) -> Path | None:
    """The folder the real data sets lie in: as given, its ``data`` folder, or None.

    ``DATA=../shared`` and ``DATA=../shared/data`` mean the same.
    """
    if data is None or str(data).strip() == "":
        return None
    folder = Path(data).expanduser()
    if not folder.is_dir():
        raise DataError(f"DATA={data}: no such folder; give the folder that holds ml-100k-posters or amazon")
    return folder / "data" if (folder / "data").is_dir() and not (folder / "ml-100k-posters").is_dir() else folder


def require_below(root: Path | None, path: str, dataset: str) -> Path:
    """``root/path``, or an error that says what to give."""
    if root is None:
        raise ConfigError(f"dataset {dataset!r} needs real data; give its folder: DATA=FOLDER with {path} inside")
    folder = root / path
    if not folder.is_dir():
        raise DataError(f"dataset {dataset!r}: {folder} not found; DATA={root} must hold {path}")
    return folder
