"""The features of a Ducho folder: which folder of vectors is read, and its files, one vector each."""

from collections import Counter
from collections.abc import Sequence
from difflib import SequenceMatcher
from pathlib import Path

import numpy as np

from lmmrec_core.data.columns import CLOSE, plain, words_of
from lmmrec_core.data.faults import Faults
from lmmrec_core.data.files import as_matrix, is_there, load_arrays
from lmmrec_core.data.ready import is_about
from lmmrec_core.errors import DataError
from lmmrec_core.flow import MODALITIES, Float32Array, Modality

_OF_VECTORS = ("emb", "feat", "vec")  # how words begin that tell of features
_SHOWN = 10  # items that a message names


def roots(folder: Path, modality: Modality) -> list[Path]:
    """The folders of a modality's features: those named after it, and after no other, with the word embeddings."""
    return [inner for inner in _inner(folder) if inner.is_dir() and _named(inner.name) == (modality,)]


def near_root(folder: Path, modality: Modality) -> Path | None:
    """What of a folder is not read and looks meant for a modality's features: visual_embedding/, visual.npy; or None.

    It would be passed over, and the catalogue taken for one without them.
    """
    for inner in _inner(folder):
        words, name = words_of(inner.stem), inner.name.lower()
        if inner.is_dir() and len(_named(inner.name)) == 1:
            continue
        alike = SequenceMatcher(None, plain(inner.name).rstrip("0123456789"), f"{modality}embeddings").ratio()
        of_vectors = any(word.startswith(_OF_VECTORS) for word in words) or _holds_arrays(inner)
        about = is_about(modality, words) or modality in name
        bare = words in ({"embedding"}, {"embeddings"}) and not roots(folder, modality)
        if (about and of_vectors) or alike >= CLOSE or bare:
            return inner
    return None


def refuse_near_root(folder: Path, modality: Modality) -> None:
    """Raises DataError for what :func:`near_root` finds."""
    if (found := near_root(folder, modality)) is not None:
        raise DataError(
            f"{found}: is not read; did you mean {modality}_embeddings? Give it that name, with folders "
            "BACKEND/MODEL/LAYER and a file for each item in it, or take it out of the folder"
        )


def layer_of(path: Path, modality: Modality, wanted: str) -> Path:
    """The folder with the vectors of one layer, which ``wanted`` names unless there is but one.

    A name is BACKEND/MODEL/LAYER, with its folder of features before it where two of them have that layer. Raises
    DataError with the names that there are, and how to choose.
    """
    found = {
        folder.relative_to(path).as_posix(): folder
        for root in roots(path, modality)
        for folder in sorted({file.parent for file in root.rglob("*.npy")})
    }
    if not found:
        told = roots(path, modality)
        raise DataError(
            f"{told[0]}: no .npy files in folders of backend, model and layer; extract the features again"
            if told
            else f"{path}: no folder {modality}_embeddings, and {modality} features {wanted!r} are asked for; leave "
            f"--{modality} out (in a track file: the option {modality})"
        )
    layers = {name: name.partition("/")[2] for name in found}
    often = Counter(layers.values())
    names = {layer if layer and often[layer] == 1 else name: found[name] for name, layer in layers.items()}
    if wanted in (chosen := {**found, **names}):
        return chosen[wanted]
    listed = ", ".join(map(repr, names))
    if wanted:
        raise DataError(f"{path}: no {modality} features {wanted!r}; there are {listed}; name one of them")
    if len(names) > 1:
        raise DataError(
            f"{path}: {modality} features of {len(names)} models or layers: {listed}; choose one, as "
            f"--{modality} {next(iter(names))!r} (in a track file: options: {{{modality}: ...}} of the data set), or "
            "leave only one in the folder"
        )
    return next(iter(names.values()))


def read_vectors(folder: Path, ids: Sequence[str], path: Path, file: str) -> Float32Array:
    """One row per item. Raises DataError with every item without a vector, and every file that holds none.

    ``file`` is that of the interactions, for messages. An array may have further axes of length 1: Ducho writes
    [1, dim]. Several vectors of one item are nobody's to pool here.
    """
    absent = [item_id for item_id in ids if not _is_plain(item_id) or not is_there(folder / f"{item_id}.npy", path)]
    if absent:
        more = "" if len(absent) <= _SHOWN else f" and {len(absent) - _SHOWN} more"
        cut = absent[0].split(".")[0]
        known = cut != absent[0] and _is_plain(cut) and (folder / f"{cut}.npy").is_file()
        hint = f"Ducho names a file by what stands before the first dot: write {cut!r} there, or " if known else ""
        raise DataError(
            f"{folder}: no vector of {len(absent)} of {len(ids)} items in {file}: "
            f"{', '.join(map(repr, absent[:_SHOWN]))}{more}; {hint}extract their features too, or remove their rows"
        )
    faults, rows = Faults(), {}
    for item_id in ids:
        with faults.noted():
            rows[item_id] = _vector(folder / f"{item_id}.npy")
    widths = Counter(len(row) for row in rows.values())
    usual = widths.most_common(1)[0][0] if rows else 0
    for item_id, row in rows.items():
        if len(row) != usual:
            other = next(one for one in rows if len(rows[one]) == usual)
            faults.add(
                f"{folder / f'{item_id}.npy'}: {len(row)} numbers, {other}.npy has {usual}; extract both by one layer"
            )
    faults.refuse()
    return as_matrix(np.stack(list(rows.values())), str(folder), len(ids), f"items of {file}")


def _vector(file: Path) -> Float32Array:
    array = np.asarray(load_arrays(file, archives=False)[""])
    if array.dtype.kind not in "fiu" or array.size == 0 or array.size != max(array.shape, default=0):
        raise DataError(
            f"{file}: shape {array.shape} of {array.dtype}; save one vector of numbers, [1, dim]: where a layer gives "
            "several, for instance their mean"
        )
    with np.errstate(over="ignore"):
        row = np.array(array.reshape(-1), dtype=np.float32)
    if not np.isfinite(row).all():
        raise DataError(f"{file}: NaN or infinity; extract the features of this item again, or remove its rows")
    return row


def _inner(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _named(name: str) -> tuple[Modality, ...]:
    """The modalities in the name of a folder of features; none without the word embeddings."""
    return tuple(m for m in MODALITIES if m in name.lower()) if "embeddings" in name.lower() else ()


def _holds_arrays(inner: Path) -> bool:
    return inner.suffix.lower() == ".npy" or (inner.is_dir() and next(inner.rglob("*.npy"), None) is not None)


def _is_plain(item_id: str) -> bool:
    """Whether an id can name a file of the folder, and of no other."""
    return "/" not in item_id and "\\" not in item_id and item_id not in (".", "..") and "\0" not in item_id
