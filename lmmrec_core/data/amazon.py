"""The 2014 Amazon release: 5-core reviews, metadata, the distributed 4096-d features, downloaded pictures.

    reviews_<category>_5.json.gz   one JSON object a line (also without .gz)
    meta_<category>.json.gz        one Python dict literal a line: read by a literal parser, never evaluated
    image_features_<category>.b    optional: records of a 10-byte ASIN and 4096 little-endian float32
    images/<asin>.jpg              optional: pictures as downloaded

Every rating is a positive, whatever its height. Repeated pairs are merged, and the earliest time stays.
An item's text comes from its metadata alone, never from reviews; without metadata it has none. A picture that cannot
be decoded counts as missing, as does a feature record of zeros. What is not read (``.content``) need not be there.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from lmmrec_core.data.amazon_records import field_text, read_metadata, read_reviews
from lmmrec_core.data.assemble import ContentSettings, Items, assemble
from lmmrec_core.data.faults import Faults
from lmmrec_core.data.files import is_inside, is_there
from lmmrec_core.data.filtering import keep_items
from lmmrec_core.data.texts import compose
from lmmrec_core.errors import DataError
from lmmrec_core.flow import Catalogue, Float32Array
from lmmrec_core.picture_files import UnreadablePicture, open_picture

_FEATURE_DIM = 4096
_RECORD = np.dtype([("asin", "S10"), ("vector", "<f4", (_FEATURE_DIM,))])
_ASIN = re.compile(rb"[0-9A-Z]{10}")


class AmazonSettings(ContentSettings):
    """How one category is read; the content settings are those of every reader."""

    category: str | None = Field(
        None, description="as in the file names, for instance Baby or Sports_and_Outdoors; none: the only one there is"
    )
    missing_feature: Literal["drop", "keep"] = Field(
        "drop",
        description="items without a record in image_features: dropped, so that every system has the same items, or "
        "kept with a row of NaN, for the encoders' rule for missing content; no effect if there is no such file",
    )


def read_amazon(path: Path, settings: AmazonSettings, name: str | None = None) -> Catalogue:
    """Read one category; what was dropped, merged or missing is in the counts.

    Without a folder ``images``, the feature records stand in for pictures.
    Raises DataError naming the file, the line, what is wrong and the cure.
    """
    path, faults = Path(path), Faults()
    category = settings.category or _only_category(path)
    rows = read_reviews(_json_file(path, f"reviews_{category}_5.json"), faults)
    asins = sorted(set(rows.item_id))
    counts: dict[str, int] = {}
    texts: list[str] = [""] * len(asins)
    images: list[Path | None] = [None] * len(asins)
    features_file = path / f"image_features_{category}.b"
    recorded = settings.takes_ready("visual") and is_there(features_file, path)
    if settings.takes_ready("visual") and not recorded:
        _refuse_misnamed(path, features_file.name, faults)
    if "textual" in settings.content:
        with faults.noted():
            metadata, counts = read_metadata(_json_file(path, f"meta_{category}.json"), set(asins), faults)
            texts = [
                compose(field_text(metadata.get(asin, {}), field) for field in settings.text_fields) for asin in asins
            ]
    if "visual" in settings.content and not (recorded and settings.ready is not None):
        with faults.noted():
            images, counts["images_unreadable"] = _pictures(path / "images", asins, faults)
    items = Items(asins, texts, images)
    if recorded:
        with faults.noted():
            vectors, counts["feature_records_of_zeros"] = _read_features(features_file, asins)
            counts["items_without_feature_record"] = int(np.isnan(vectors[:, 0]).sum())
            items.features = {"visual": vectors}
    faults.refuse()
    catalogue = assemble(name or category, rows, items, settings, counts)
    if items.features and settings.missing_feature == "drop":
        there = np.isfinite(catalogue.ready_features["visual"][:, 0])
        catalogue = keep_items(catalogue, there, "without_feature_record")
    return catalogue


def picture_links(path: Path, category: str) -> dict[str, str]:
    """Reviewed item → the link to its picture (``imUrl``), "" without one; in the order of :func:`read_amazon`.

    Raises DataError naming the file, the line, what is wrong and the cure.
    """
    faults = Faults()
    asins = sorted(set(read_reviews(_json_file(path, f"reviews_{category}_5.json"), faults).item_id))
    metadata, _ = read_metadata(_json_file(path, f"meta_{category}.json"), set(asins), faults)
    faults.refuse()
    links = ((asin, metadata.get(asin, {}).get("imUrl")) for asin in asins)
    return {asin: link.strip() if isinstance(link, str) else "" for asin, link in links}


class AmazonCategory:
    """One category of the 2014 Amazon release as a data format."""

    name = "amazon"
    marks = "reviews_<category>_5.json.gz and meta_<category>.json.gz"
    Settings = AmazonSettings

    @staticmethod
    def recognises(folder: Path) -> bool:
        return bool(_categories(folder))

    @staticmethod
    def nearly(folder: Path) -> str:
        """As ``source.TellsNearMisses``."""
        for file in sorted(folder.iterdir()):
            if found := re.fullmatch(r"reviews_(\w+?)(_5)?\.json(\.gz)?", file.name, re.IGNORECASE):
                wanted = f"reviews_{found[1]}_5.json{(found[3] or '').lower()}"
                of_all = "it is the file of all reviews: fetch that of the 5-core"
                return f"did you mean {file.name} as {wanted}? If so, {'give it that name' if found[2] else of_all}"
        return ""

    @staticmethod
    def read(folder: Path, settings: AmazonSettings, name: str | None = None) -> Catalogue:
        return read_amazon(folder, settings, name)

    @staticmethod
    def absent(folder: Path, settings: AmazonSettings) -> Mapping[str, str]:
        """As ``source.ListsAbsent``: which items there are depends on the features, or else on the pictures."""
        category = settings.category or _only_category(folder)
        reviews, metadata = (
            _json_file(folder, f"{kind}.json") for kind in (f"reviews_{category}_5", f"meta_{category}")
        )
        features, pictures = folder / f"image_features_{category}.b", folder / "images"
        found = {"ready textual": "nothing: texts come without features"}
        if not features.is_file():
            found["ready visual"] = features.name
        if not pictures.is_dir():
            found["visual"] = f"{pictures.name}/<asin>.jpg"
        whole = [reviews, *([metadata] if "textual" in settings.content else [])]
        names = [file.name for file in whole if not file.is_file()]
        if "visual" in settings.content and {"visual", "ready visual"} <= found.keys():
            names.append(f"{features.name} or {found['visual']}")
        return {**found, "catalogue": ", ".join(names)} if names else found


def _categories(folder: Path) -> list[str]:
    """The categories whose reviews are in a folder, sorted."""
    names = {file.name.removesuffix(".gz") for file in folder.glob("reviews_*_5.json*")}
    return sorted(name[len("reviews_") : -len("_5.json")] for name in names if name.endswith("_5.json"))


def _only_category(folder: Path) -> str:
    found = _categories(folder)
    if len(found) != 1:
        seen = ", ".join(found) or "none"
        raise DataError(
            f"{folder}: needs the reviews of one category, saw {seen}; name one as category, or add its files"
        )
    return found[0]


def _refuse_misnamed(path: Path, expected: str, faults: Faults) -> None:
    """Files that look like the feature records of this category under another name, which nobody would read."""
    others = {f"image_features_{category}.b" for category in _categories(path)}
    for file in sorted(path.iterdir()):
        named = file.name.lower().startswith("image_features")
        if named and file.name not in others and ".part" not in file.suffixes:  # a download under way
            faults.add(f"{file}: is not read, features are expected in {expected}; rename it, or move it elsewhere")


def _json_file(path: Path, name: str) -> Path:
    """The plain file if it is there, else the compressed one."""
    plain, packed = path / name, path / f"{name}.gz"
    if is_there(plain, path):
        return plain
    is_there(packed, path)
    return packed


def _pictures(folder: Path, asins: Sequence[str], faults: Faults) -> tuple[list[Path | None], int]:
    """The picture of each item, None if it has none that can be decoded; and how many files cannot be."""
    pictures: list[Path | None] = []
    unreadable = 0
    for asin in asins:
        file = folder / f"{asin}.jpg"
        if not is_inside(file, folder.parent):
            faults.add(f"{file}: a link out of the folder; copy the picture to its place")
            continue
        usable = file.is_file() and _decodes(file)
        unreadable += file.is_file() and not usable
        pictures.append(file if usable else None)
    return pictures, unreadable


def _decodes(file: Path) -> bool:
    try:
        open_picture(file)
    except UnreadablePicture:
        return False
    return True


def _read_features(file: Path, asins: Sequence[str]) -> tuple[Float32Array, int]:
    """Vectors [item, 4096], a row of NaN for an item without a record; and how many records were all zeros."""
    size = file.stat().st_size
    if size == 0 or size % _RECORD.itemsize:
        raise DataError(
            f"{file}: {size} bytes are not a whole number of records of {_RECORD.itemsize} bytes; fetch the file again"
        )
    records = np.memmap(file, dtype=_RECORD, mode="r")
    row_of = {asin: row for row, asin in enumerate(asins)}
    vectors = np.full((len(asins), _FEATURE_DIM), np.nan, dtype=np.float32)
    seen: set[bytes] = set()
    zeros = 0
    for number, asin in enumerate(records["asin"]):
        place = f"{file} record {number} (from 0)"
        if not _ASIN.fullmatch(asin):
            raise DataError(f"{place}: {asin!r} is not an ASIN of 10 capitals and digits; fetch the file again")
        row = row_of.get(asin.decode("ascii"))
        if row is None:
            continue
        if asin in seen:
            raise DataError(f"{place}: item {asin.decode()!r} has a record already; keep one of the two")
        seen.add(asin)
        vector = records[number]["vector"]
        if not np.isfinite(vector).all():
            raise DataError(f"{place}: item {asin.decode()!r} has NaN or infinity; fetch the file again")
        if vector.any():
            vectors[row] = vector
        else:
            zeros += 1
    return vectors, zeros
