"""Files of ready features: the one that is read, and those that look meant for it."""

from pathlib import Path

from lmmrec_core.data.columns import words_of
from lmmrec_core.data.files import is_there
from lmmrec_core.errors import DataError
from lmmrec_core.flow import Modality

_KINDS = (".npy", ".npz", ".pt", ".pth", ".safetensors", ".h5", ".hdf5", ".pkl", ".pickle", ".parquet", ".npy.gz")
_WORDS: dict[Modality, frozenset[str]] = {
    "visual": frozenset({"visual", "image", "images", "img", "vision", "picture", "pictures"}),
    "textual": frozenset({"textual", "text", "texts", "txt"}),
}
_SHORT: dict[Modality, str] = {"visual": "v", "textual": "t"}  # as in v_feat.npy
_MADE_OF_THEM = frozenset({"adj", "graph", "knn"})  # files that toolboxes keep beside features


def has_ready(folder: Path, name: str, modality: Modality) -> bool:
    """Whether a folder has the file ``name`` of ready features.

    Raises DataError as :func:`~lmmrec_core.data.files.is_there`, and if another file looks meant for it: such a file
    would be passed over, and other content read in its place.
    """
    if is_there(folder / name, folder):
        return True
    for file in sorted(folder.iterdir()):
        if kind := next((kind for kind in _KINDS if file.name.lower().endswith(kind)), None):
            words = words_of(file.name[: -len(kind)])
            if not is_about(modality, words) or words & _MADE_OF_THEM:
                continue
            raise DataError(
                f"{file}: is not read; did you mean {name}? Save one matrix under that name with numpy.save, or take "
                "this file out of the folder"
            )
    return False


def is_about(modality: Modality, words: set[str]) -> bool:
    """Whether the words of a name tell of features of a modality."""
    short = _SHORT[modality] in words and any(word.startswith("feat") for word in words)
    return short or bool(words & _WORDS[modality])
