"""The 2014 Amazon release: 5-core reviews, metadata, the distributed 4096-d features, downloaded pictures.

    reviews_<category>_5.json.gz   one JSON object a line (also without .gz)
    meta_<category>.json.gz        one Python dict literal a line: read by a literal parser, never evaluated
    image_features_<category>.b    optional: records of a 10-byte ASIN and 4096 little-endian float32
    images/<asin>.jpg              optional: pictures as downloaded

Every rating is a positive, whatever its height. Repeated pairs are merged, and the earliest time stays.
An item's text comes from its metadata alone, never from reviews; without metadata it has none. A picture that cannot
be decoded counts as missing, as does a feature record of zeros. What is not read (``.content``) need not be there.
"""

import ast
import json
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from lmmrec_core.data.assemble import ContentSettings, Items, Rows, assemble
from lmmrec_core.data.faults import Faults
from lmmrec_core.data.files import is_inside, is_there, read_text
from lmmrec_core.data.filtering import keep_items
from lmmrec_core.data.texts import compose
from lmmrec_core.errors import DataError
from lmmrec_core.flow import Catalogue, Float32Array
from lmmrec_core.picture_files import UnreadablePicture, open_picture

_FEATURE_DIM = 4096
_RECORD = np.dtype([("asin", "S10"), ("vector", "<f4", (_FEATURE_DIM,))])
_ASIN = re.compile(rb"[0-9A-Z]{10}")
# a name of a file and nothing else: no record may name a picture outside the folder
_PLAIN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_LATER = "the releases of 2018 and 2023, of which we read none: write it as a catalogue folder, see the book"
_FIRST_KEY = re.compile(r"\{'asin': '([^'\\]*)'")


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
    rows = _read_reviews(_json_file(path, f"reviews_{category}_5.json"), faults)
    asins = sorted(set(rows.item_id))
    counts: dict[str, int] = {}
    texts: list[str] = [""] * len(asins)
    images: list[Path | None] = [None] * len(asins)
    features_file = path / f"image_features_{category}.b"
    recorded = settings.takes_ready("visual") and is_there(features_file, path)
    if "textual" in settings.content:
        with faults.noted():
            metadata, counts = _read_metadata(_json_file(path, f"meta_{category}.json"), set(asins), faults)
            texts = [compose(_field(metadata.get(asin, {}), field) for field in settings.text_fields) for asin in asins]
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
    asins = sorted(set(_read_reviews(_json_file(path, f"reviews_{category}_5.json"), faults).item_id))
    metadata, _ = _read_metadata(_json_file(path, f"meta_{category}.json"), set(asins), faults)
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


def _json_file(path: Path, name: str) -> Path:
    """The plain file if it is there, else the compressed one."""
    plain, packed = path / name, path / f"{name}.gz"
    if is_there(plain, path):
        return plain
    is_there(packed, path)
    return packed


def _read_reviews(file: Path, faults: Faults) -> Rows:
    rows = Rows(str(file), rating=(ratings := []), timestamp=(times := []))
    for line, text in _lines(file):
        try:
            user, item, rating, time = _review(text, f"{file} line {line}")
        except DataError as error:
            faults.add(str(error))
            continue
        rows.line.append(line)
        rows.user_id.append(user)
        rows.item_id.append(item)
        ratings.append(rating)
        times.append(time)
    if not rows.line:
        faults.refuse()
    return rows


def _review(text: str, place: str) -> tuple[str, str, float, int]:
    try:
        review = json.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: no JSON, or a number of thousands of digits
        raise DataError(f"{place}: not a JSON object ({error}); fetch the file again") from None
    if not isinstance(review, dict):
        raise DataError(f"{place}: not a JSON object; fetch the file again")
    if "reviewerID" not in review and "parent_asin" in review:
        raise DataError(f"{place}: has parent_asin, as in {_LATER}")
    return (
        _id(review, "reviewerID", place),
        _asin(review, place),
        float(_numeric(review, "overall", place)),
        _seconds(review, place),
    )


def _asin(record: dict[str, object], place: str) -> str:
    asin = _id(record, "asin", place)
    if not _PLAIN_ID.fullmatch(asin):
        raise DataError(f"{place}: asin {asin!r} is no ASIN, which has letters and digits alone; correct the record")
    return asin


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    for line, text in enumerate(read_text(file).split("\n"), start=1):
        if text.strip():
            yield line, text


def _id(record: dict[str, object], key: str, place: str) -> str:
    value = record.get(key)
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{place}: {key} is {value!r}, not text; write ids as text, those of digits too")
    return value.strip()


def _numeric(record: dict[str, object], key: str, place: str) -> float:
    value = record.get(key)
    if isinstance(value, int) and not abs(value) < 2**63:  # may have more digits than can be printed
        raise DataError(f"{place}: {key} is a number of {value.bit_length()} bits; correct the record")
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 2**63:
        raise DataError(f"{place}: {key} is {value!r}, not a number; correct the record")
    return value


def _seconds(review: dict[str, object], place: str) -> int:
    value = _numeric(review, "unixReviewTime", place)
    if value != int(value):
        raise DataError(f"{place}: unixReviewTime is {value!r}, not in whole seconds; correct the record")
    return int(value)


def _read_metadata(file: Path, wanted: set[str], faults: Faults) -> tuple[dict[str, dict[str, object]], dict[str, int]]:
    """Records of the reviewed items by ASIN (of repeated records the first), and what was counted.

    The full files hold many times more items than were reviewed. Their lines start with the ASIN, so the lines of
    other items are passed over unparsed.
    """
    records: dict[str, dict[str, object]] = {}
    unreviewed = repeated = 0
    for line, text in _lines(file):
        first = _FIRST_KEY.match(text)
        if first and first[1] not in wanted:
            unreviewed += 1
            continue
        place = f"{file} line {line}"
        try:
            record = _literal(text, place)
            asin = _asin(record, place)
        except DataError as error:
            faults.add(str(error))
            continue
        if asin not in wanted:
            unreviewed += 1
        elif asin in records:
            repeated += 1
        else:
            records[asin] = record
    return records, {
        "metadata_records_unreviewed": unreviewed,
        "metadata_records_repeated": repeated,
        "items_without_metadata": len(wanted) - len(records),
    }


def _literal(text: str, place: str) -> dict[str, object]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # stray backslashes in descriptions
            record = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
        if _is_json(text):
            raise DataError(f"{place}: JSON, not a Python dict literal, as in {_LATER}") from None
        raise DataError(f"{place}: not a Python dict literal ({error}); fetch the file again") from None
    if not isinstance(record, dict):
        raise DataError(f"{place}: not a Python dict literal; fetch the file again")
    return record


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _field(record: dict[str, object], field: str) -> str:
    """A field as text: of category paths their distinct names in order, of an absent field ""."""
    value = record.get(field)
    if isinstance(value, (list, tuple)):
        names = [name for path in value for name in (path if isinstance(path, (list, tuple)) else [path])]
        return ", ".join(dict.fromkeys(str(name) for name in names))
    return "" if value is None else str(value)


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
