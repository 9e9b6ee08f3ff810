"""Features as Ducho writes them: one file per item, in folders named after backend, model and layer.

    reviews.tsv                                            user, item [, rating]; tabs, no header
    <name>_embeddings/<backend>/<model>/<layer>/<item>.npy one vector; <name> holds the word visual or textual

The folders are those of sisinflab/Ducho (ducho/internal/father_classes/DatasetFather.py and
ducho/multimodal/textual/TextualDataset.py): the name of a picture up to its first dot, or the id of a text, names the
file, and an array of shape [1, dim] is in it. A model's name may have a slash, and is two folders then. Ducho reads
no interactions to encode items; ``reviews.tsv`` is what its demos write (demos/demo_baby/prepare_dataset.py).
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import Field

from lmmrec_core.config import Settings
from lmmrec_core.data.assemble import ContentSettings, Items, Rows, assemble
from lmmrec_core.data.faults import Faults
from lmmrec_core.data.files import as_matrix, finite_number, identifier, is_there, load_arrays, read_text
from lmmrec_core.errors import DataError
from lmmrec_core.flow import MODALITIES, Catalogue, Float32Array, Modality

_FILE = "reviews.tsv"


class DuchoSettings(Settings):
    """How such a folder is read. ``visual`` and ``textual`` are needed where several models or layers were written."""

    min_rating: float | None = Field(
        None, allow_inf_nan=False, description="ratings of at least this are positives; none: every row is"
    )
    content: tuple[Modality, ...] = Field(MODALITIES, description="modalities whose features are read")
    visual: str = Field("", description="whose visual features: backend/model/layer")
    textual: str = Field("", description="whose textual features: backend/model/layer")


def read_ducho(path: Path, settings: DuchoSettings | None = None, name: str | None = None) -> Catalogue:
    """Read a folder with interactions and the features of their items; the catalogue has neither texts nor pictures.

    Files of items that nobody took are not read. Raises DataError naming the file, the line, what is wrong and the
    cure, for all that cannot be used as it is: an item without a vector, vectors of several lengths, several models.
    """
    path, settings = Path(path), settings or DuchoSettings()
    rows = _read_reviews(path, settings.min_rating is not None)
    items = Items.of_rows(rows)
    faults, features = Faults(), {}
    for modality in MODALITIES:
        if modality in settings.content and _roots(path, modality):
            with faults.noted():
                folder = _layer(path, modality, getattr(settings, modality))
                features[modality] = _read_vectors(folder, items.ids, path, faults)
    faults.refuse()
    items = Items(items.ids, items.texts, items.images, features)
    kept = ContentSettings(
        min_rating=settings.min_rating, content=settings.content, missing_image="keep", missing_text="keep"
    )
    return assemble(name or path.resolve().name, rows, items, kept, {})


class DuchoFolder:
    """Ducho's folders as a data format."""

    name = "ducho"
    marks = "reviews.tsv and visual_embeddings/ or textual_embeddings/"
    Settings = DuchoSettings

    @staticmethod
    def recognises(folder: Path) -> bool:
        return (folder / _FILE).is_file() and any(_roots(folder, modality) for modality in MODALITIES)

    @staticmethod
    def read(folder: Path, settings: DuchoSettings, name: str | None = None) -> Catalogue:
        return read_ducho(folder, settings, name)


def _read_reviews(path: Path, rated: bool) -> Rows:
    """The interactions; ratings only if they are asked for (``rated``)."""
    file = path / _FILE
    if not is_there(file, path):
        raise DataError(f"{file}: no such file; write one line for each interaction: user, item and rating, with tabs")
    rows, faults = Rows(str(file), columns=("user_id", "item_id", "rating")), Faults()
    rows.rating = [] if rated else None
    for line, text in enumerate(read_text(file).splitlines(), start=1):
        if not text.strip():
            continue
        place, cells = f"{file} line {line}", [cell.strip() for cell in text.split("\t")]
        with faults.noted():
            if not 2 <= len(cells) <= 3:
                raise DataError(f"{place}: {len(cells)} cells; write user, item and, if you like, rating, with tabs")
            user_id, item_id = identifier(cells[0], place, "user"), identifier(cells[1], place, "item")
            if len(cells) == 3:
                try:
                    rating = finite_number(cells[2], place, "rating")
                except DataError as error:
                    told = "; this file has no header: remove the line" if line == 1 else ""
                    raise DataError(f"{error}{told}") from None
            elif rated:
                raise DataError(f"{place}: no rating, and min_rating asks for one; add it or leave min_rating out")
            rows.user_id.append(user_id)
            rows.item_id.append(item_id)
            rows.line.append(line)
            if rows.rating is not None:
                rows.rating.append(rating)
    faults.refuse()
    if not rows.line:
        raise DataError(f"{file}: no interactions; add some")
    return rows


def _roots(folder: Path, modality: Modality) -> list[Path]:
    """The folders of a modality's features."""
    named = (inner for inner in folder.glob("*embeddings*") if inner.is_dir())
    return sorted(inner for inner in named if modality in inner.name.lower())


def _layer(path: Path, modality: Modality, wanted: str) -> Path:
    """The folder with the vectors of one layer. Raises DataError unless there is one, or one of several is named."""
    roots = _roots(path, modality)
    found = {
        folder.relative_to(root).as_posix(): folder
        for root in roots
        for folder in sorted({file.parent for file in root.rglob("*.npy")})
    }
    if not found:
        raise DataError(f"{roots[0]}: no .npy files in folders of backend, model and layer; extract the features again")
    if wanted:
        if wanted not in found:
            raise DataError(
                f"{path}: no {modality} features {wanted!r}; there are {', '.join(found)}; name one of them"
            )
        return found[wanted]
    if len(found) > 1:
        raise DataError(
            f"{path}: {modality} features of {len(found)} models or layers: {', '.join(found)}; keep one of them in "
            f"the folder, or name it as the option {modality} of the track's data set"
        )
    return next(iter(found.values()))


def _read_vectors(folder: Path, ids: Sequence[str], path: Path, faults: Faults) -> Float32Array:
    """One row per item. Raises DataError for all items without a vector, and for one of another length."""
    absent = [item_id for item_id in ids if not _is_plain(item_id) or not is_there(folder / f"{item_id}.npy", path)]
    if absent:
        raise DataError(
            f"{folder}: no vector of {len(absent)} of {len(ids)} items in {_FILE}, for instance {absent[0]!r}; extract "
            "their features too, or remove their rows"
        )
    rows = [np.asarray(load_arrays(folder / f"{item_id}.npy", archives=False)[""]).reshape(-1) for item_id in ids]
    width = len(rows[0])
    for item_id, row in zip(ids, rows, strict=True):
        if len(row) != width:
            faults.add(
                f"{folder / f'{item_id}.npy'}: {len(row)} numbers, {ids[0]}.npy has {width}; extract both by one layer"
            )
    faults.refuse()
    return as_matrix(np.stack(rows), str(folder), len(ids), f"items of {_FILE}")


def _is_plain(item_id: str) -> bool:
    """Whether an id can name a file of the folder, and of no other."""
    return "/" not in item_id and "\\" not in item_id and item_id not in (".", "..") and "\0" not in item_id
