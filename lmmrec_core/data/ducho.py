"""Features as Ducho writes them: one file per item, in folders named after backend, model and layer.

    reviews.tsv                                            user, item [, rating]; tabs, no header
    <name>_embeddings/<backend>/<model>/<layer>/<item>.npy one vector; <name> holds the word visual or textual

The folders are those of sisinflab/Ducho (ducho/internal/father_classes/DatasetFather.py and
ducho/multimodal/textual/TextualDataset.py): the name of a picture up to its first dot, or the id of a text, names the
file, and an array of shape [1, dim] is in it. A model's name may have a slash, and is two folders then. Ducho reads
no interactions to encode items; ``reviews.tsv`` is what its demos write (demos/demo_baby/prepare_dataset.py).
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from lmmrec_core.config import Settings
from lmmrec_core.data.assemble import ContentSettings, Items, Rows, assemble
from lmmrec_core.data.columns import ALSO_CALLED, plain
from lmmrec_core.data.ducho_vectors import layer_of, near_root, read_vectors, refuse_near_root, roots
from lmmrec_core.data.faults import Faults
from lmmrec_core.data.files import finite_number, identifier, is_there, read_text
from lmmrec_core.errors import DataError, nearest
from lmmrec_core.flow import MODALITIES, Catalogue, Modality

_FILE = "reviews.tsv"
_FORM = "one line for each interaction: user, item and, if you like, rating, with tabs"


class DuchoSettings(Settings):
    """How such a folder is read. ``visual`` and ``textual`` are needed where several models or layers were written."""

    min_rating: float | None = Field(
        None, allow_inf_nan=False, description="ratings of at least this are positives; none: every row is"
    )
    content: tuple[Modality, ...] = Field(MODALITIES, description="modalities whose features are read")
    visual: str = Field("", description="whose visual features: backend/model/layer")
    textual: str = Field("", description="whose textual features: backend/model/layer")

    @model_validator(mode="after")
    def _features_are_read(self) -> Self:
        for modality in MODALITIES:
            if getattr(self, modality) and modality not in self.content:
                raise ValueError(f"{modality} names features, and content has no {modality}; leave one of the two out")
        return self


def read_ducho(path: Path, settings: DuchoSettings | None = None, name: str | None = None) -> Catalogue:
    """Read a folder with interactions and the features of their items; the catalogue has neither texts nor pictures.

    Files of items that nobody took are not read. Raises DataError naming the file, the line, what is wrong and the
    cure, for all that cannot be used as it is: an item without a vector, vectors of several lengths, several models,
    folders that look meant for features and are named otherwise.
    """
    path, settings = Path(path), settings or DuchoSettings()
    rows = _read_reviews(path, settings.min_rating is not None)
    items = Items.of_rows(rows)
    faults, features = Faults(), {}
    for modality in MODALITIES:
        wanted = getattr(settings, modality)
        with faults.noted():
            if modality in settings.content:
                refuse_near_root(path, modality)
            if wanted or (modality in settings.content and roots(path, modality)):
                features[modality] = read_vectors(layer_of(path, modality, wanted), items.ids, path, _FILE)
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
        return (folder / _FILE).is_file() and any(roots(folder, modality) for modality in MODALITIES)

    @staticmethod
    def nearly(folder: Path) -> str:
        """As ``source.TellsNearMisses``."""
        found = [place for m in MODALITIES for place in (*roots(folder, m), near_root(folder, m)) if place is not None]
        if not found:
            return ""
        if (folder / _FILE).is_file():
            meant = next(m for m in MODALITIES if near_root(folder, m))
            return f"did you mean {found[0].name} as {meant}_embeddings? Give it that name"
        tables = [file.name for file in sorted(folder.iterdir()) if file.is_file()]
        close = nearest(_FILE, tables)
        hint = f"did you mean {close}? Give it that name, and write" if close else "add it with"
        return f"{found[0].name} looks like features of Ducho, and there is no {_FILE}; {hint} {_FORM}"

    @staticmethod
    def read(folder: Path, settings: DuchoSettings, name: str | None = None) -> Catalogue:
        return read_ducho(folder, settings, name)


def _read_reviews(path: Path, rated: bool) -> Rows:
    """The interactions; ratings only if they are asked for (``rated``)."""
    file = path / _FILE
    if not is_there(file, path):
        raise DataError(f"{file}: no such file; write {_FORM}")
    rows, faults = Rows(str(file), columns=("user_id", "item_id", "rating")), Faults()
    rows.rating = [] if rated else None
    for line, text in enumerate(re.split("\r\n|\n|\r", read_text(file)), start=1):  # other breaks may be in an id
        if not text.strip():
            continue
        place, cells = f"{file} line {line}", [cell.strip() for cell in text.split("\t")]
        with faults.noted():
            if line == 1 and len(cells) > 1 and _is_header(cells):
                raise DataError(f"{place}: names its columns, and this file has no header; remove the line")
            if not 2 <= len(cells) <= 3:
                told = f"{len(cells)} cells" if len(cells) > 1 else "no tab in it"
                raise DataError(f"{place}: {told}; write user, item and, if you like, rating, with tabs between them")
            user_id, item_id = identifier(cells[0], place, "user"), identifier(cells[1], place, "item")
            if len(cells) == 3:
                rating = finite_number(cells[2], place, "rating")
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


def _is_header(cells: Sequence[str]) -> bool:
    """Whether cells are the names of columns of users and items."""
    user, item = plain(cells[0]), plain(cells[1])
    of_user, of_item = ({plain(column), *ALSO_CALLED[column]} for column in ("user_id", "item_id"))
    return user in of_user and item in of_item
