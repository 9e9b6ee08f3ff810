"""Alignment diagnostics of a data set's features, computed once and stored beside the results."""

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from lmmrec_core.digests import bytes_sha256
from lmmrec_core.disk import read_sealed, write_sealed
from lmmrec_core.errors import ConfigError, FeatureError
from lmmrec_core.flow import MODALITIES, Catalogue, Features
from lmmrec_core.metrics.diagnose import VERSION, diagnose
from lmmrec_core.metrics.item_graph import share_above
from lmmrec_core.names import BASELINE
from lmmrec_core.results.plain import plain_values
from lmmrec_core.results.provenance import provenance
from lmmrec_core.study.datasets import Dataset
from lmmrec_core.study.track import TrackSettings
from lmmrec_core.study.workspace import Workspace

_FOLDER = "features"  # below results/<track>/<dataset>; no run folder can have this name
SHARED_VECTORS = ("joint", "itc", "itc_vl")  # vectors trained to be compared across modalities
COLUMNS = ("dataset", "encoder", "paradigm", "digest", "time", "items")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+]*")
_SETTINGS = {"k": 10, "seed": 0, "bootstrap": 1000}


def diagnostics_of(
    workspace: Workspace,
    dataset: Dataset,
    features: Features,
    encoder: str,
    *,
    paradigm: str = "none",
) -> dict[str, Any]:
    """The stored diagnostics of these features (:func:`~lmmrec_core.metrics.diagnose.diagnose`), or new ones, stored.

    The file is ``results/<track>/<dataset>/features/<encoder>[-<paradigm>]-<digest8>.json``; it counts only for the
    same content of features and catalogue, split and version of the diagnostics, and is replaced otherwise.
    ``paradigm``: none, PT, FT, or ETE+<recommender>.

    Raises ConfigError for a name that cannot be a file's, FeatureError for features that cannot be diagnosed,
    ResultError for a file that is damaged or cannot be written.
    """
    for what, name in (("encoder", encoder), ("paradigm", paradigm)):
        if not _NAME.fullmatch(name):
            raise ConfigError(f"{what} {name!r} cannot be part of a file name; use letters, digits and . _ +")
    n_items = len(next(iter(features.matrices.values())))
    if n_items != dataset.catalogue.n_items:
        raise FeatureError(
            f"{encoder} features have {n_items} rows, data set {dataset.name!r} has {dataset.catalogue.n_items} "
            "items; pass the features of this data set"
        )
    shared = has_shared_space(features)
    identity = {
        "version": VERSION, "features": features.digest, "catalogue": dataset.fingerprint,
        "split": dataset.split.fingerprint, "shared_space": shared, **_SETTINGS,
        "labels": None, "item_vectors": None,  # no longer measured; stored files of this version say so too
    }  # fmt: skip
    named = encoder if paradigm == "none" else f"{encoder}-{paradigm}"
    path = workspace.results / workspace.track.name / dataset.name / _FOLDER / f"{named}-{features.digest[:8]}.json"
    if path.is_file() and (stored := read_sealed(path))["identity"] == identity:
        return dict(stored["diagnostics"])
    text_keys, image_keys = content_keys(dataset.catalogue)
    found = diagnose(
        {str(name): rows for name, rows in features.matrices.items()},
        shared_space=shared, text_keys=text_keys, image_keys=image_keys,
        train=dataset.split.train, held_out=dataset.split.test, **_SETTINGS,
    )  # fmt: skip
    record = {
        "dataset": dataset.name, "encoder": encoder, "stage": paradigm, "identity": identity,
        "filled": {modality: int((~flags).sum()) for modality, flags in features.present.items()},
        "diagnostics": found, "provenance": provenance(),
    }  # fmt: skip
    write_sealed(path, plain_values(record))
    return dict(read_sealed(path)["diagnostics"])


def has_shared_space(features: Features) -> bool:
    """Whether picture and text rows may be compared with each other: one encoder's vectors, trained to be compared.

    Read from the card's spec: equal weights and the same vector in both modalities, one of :data:`SHARED_VECTORS`.
    Transforms do not count: features with one modality rotated are measured as if shared, to see the loss.
    """
    specs = features.card.get("spec", {}).get("encoders", {})
    if set(specs) != set(MODALITIES) or set(features.matrices) != set(MODALITIES):
        return False
    visual, textual = (specs[modality] for modality in MODALITIES)
    vectors = {spec.get("architecture", {}).get("vector") for spec in (visual, textual)}
    one = len(vectors) == 1 and vectors <= set(SHARED_VECTORS)
    dims = {matrix.shape[1] for matrix in features.matrices.values()}
    return one and visual.get("weights") == textual.get("weights") and len(dims) == 1


def content_keys(catalogue: Catalogue) -> tuple[list[str], list[str | None]]:
    """(per item the SHA-256 of its text, of its picture's bytes): equal if the content is; None without a picture.

    Items without a picture have equal keys as they have equal rows. Raises FeatureError for a picture that is gone.
    """
    texts = [bytes_sha256(text.encode()) for text in catalogue.texts]
    images: list[str | None] = []
    for item_id, path in zip(catalogue.item_ids, catalogue.images, strict=True):
        try:
            images.append(None if path is None else bytes_sha256(path.read_bytes()))
        except OSError as error:
            raise FeatureError(
                f"picture of item {item_id!r}, {path}: cannot be read ({error.strerror}); restore it"
            ) from None
    return texts, images


def read_diagnostics(track: TrackSettings, results: Path) -> pd.DataFrame:
    """One row per stored diagnostics of a track, by data set, encoder, paradigm and time; no rows if there are none.

    Columns: :data:`COLUMNS`, then every measure under its dotted name (``graph.visual.reciprocity``), with ``.low`` and
    ``.high`` where it has an interval; NaN if a measure does not apply. ``graph.<modality>.above_baseline_p99`` is
    the share of pairs whose cosine exceeds the 99th percentile of the newest baseline features of the data set.

    Features of encoders that the track does not have, for instance of a side track of its name, are left out.
    Diagnostics of another version are named in a warning and left out too. Raises ResultError for a damaged file.
    """
    rows = []
    for name in track.datasets:
        records = []
        for path in sorted((results / track.name / name / _FOLDER).glob("[!.]*.json")):
            record = read_sealed(path)
            if record["encoder"] not in track.encoders:
                continue
            if record["identity"]["version"] != VERSION:
                warnings.warn(f"{path}: of another version; run `lmmrec reproduce` to make it again", stacklevel=2)
                continue
            records.append(record)
        records.sort(key=lambda record: (record["encoder"], record["stage"], record["provenance"]["time"]))
        baseline = next((r["diagnostics"] for r in reversed(records) if r["encoder"] == BASELINE), None)
        rows += [_row(record, baseline) for record in records]
    return pd.DataFrame(rows, columns=None if rows else list(COLUMNS))


def _row(record: Mapping[str, Any], baseline: Mapping[str, Any] | None) -> dict[str, Any]:
    found = record["diagnostics"]
    row = {
        "dataset": record["dataset"], "encoder": record["encoder"], "paradigm": record["stage"],
        "digest": record["identity"]["features"], "time": record["provenance"]["time"], "items": found["items"],
    }  # fmt: skip
    for modality, measures in found["modality"].items():
        if baseline is not None and modality in baseline["modality"]:
            limit = baseline["graph"][modality]["cosine_p99"]
            row[f"graph.{modality}.above_baseline_p99"] = share_above(measures["cosine_counts"], limit)
    for section in ("dims", "modality", "pair", "shared", "cca", "graph"):
        row |= _flat(section, found.get(section, {}))
    return row


def _flat(name: str, value: Any) -> dict[str, Any]:
    if isinstance(value, Mapping):
        flat: dict[str, Any] = {}
        for key, inner in value.items():
            flat |= _flat(name if key == "value" else f"{name}.{key}", inner)
        return flat
    return {} if isinstance(value, list) else {name: value}
