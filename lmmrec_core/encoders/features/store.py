"""Features on disk: one safetensors file per spec, written whole or not at all, refused if its content has changed."""

import hashlib
import json
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes

from lmmrec_core.digests import canonical_json, digest
from lmmrec_core.disk import write_file
from lmmrec_core.encoders.features.cards import feature_card
from lmmrec_core.encoders.features.content import check_matrix, make_features
from lmmrec_core.errors import FeatureError
from lmmrec_core.flow import MODALITIES, BoolArray, Features, Float32Array, Modality


class _Damaged(FeatureError):
    """A stored file that is not what was written."""


class FeatureStore:
    """Files ``<root>/<key>.safetensors``, each with a readable card ``<key>.card.md`` beside it.

    ``key`` is 16 hex digits of the spec's digest; the spec is what determines the features, and nothing else.
    A file holds ``visual`` and ``textual`` float32 [item, dim], ``has_visual`` and ``has_textual`` uint8
    [item], ``item_count`` int64 [1], and in its header the spec, the card and two digests.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        self.damaged: list[Path] = []  # files that were moved aside and computed again

    def key(self, spec: Mapping[str, Any]) -> str:
        """16 hex digits of SHA-256 over the canonical JSON of ``spec``."""
        return digest(spec)

    def path(self, key: str) -> Path:
        return self.root / f"{key}.safetensors"

    def load(self, key: str, spec: Mapping[str, Any]) -> Features | None:
        """The stored features, or None if there are none under ``key``.

        Raises FeatureError naming the file and the cure if its content or its spec is not what was written.
        """
        path = self.path(key)
        if not path.exists():
            return None
        cure = "delete it and compute the features again"
        try:
            metadata, tensors = _read(path)
            stored = json.loads(metadata["spec"])
            card = json.loads(metadata["card"])
            features = _features(tensors, card)
            intact = metadata["digest"] == features.digest and metadata["seal"] == _seal(features, metadata)
        except (SafetensorError, KeyError, ValueError, TypeError, RecursionError, FeatureError) as error:
            raise _Damaged(f"{path}: damaged feature file ({type(error).__name__}: {error}); {cure}") from None
        except OSError as error:
            raise FeatureError(f"{path}: cannot be read ({error.strerror or error}); check its permissions") from None
        if not intact:
            raise _Damaged(f"{path}: damaged feature file (its content has another digest); {cure}")
        if canonical_json(stored) != canonical_json(spec):
            names = _differences(stored, spec)
            raise _Damaged(f"{path}: holds features of another spec (different: {names}); {cure}")
        return features

    def with_digest(self, wanted: str) -> Features | None:
        """The stored features whose content has this digest, whatever made them; None if there are none.

        Raises FeatureError as :meth:`load`.
        """
        for path in sorted(self.root.glob("*.safetensors")):
            with suppress(OSError, SafetensorError, ValueError, KeyError):
                with safe_open(str(path), framework="np") as file:
                    header = dict(file.metadata() or {})
                if header["digest"] == wanted:
                    return self.load(path.stem, json.loads(header["spec"]))
        return None

    def save(self, key: str, features: Features, spec: Mapping[str, Any]) -> Path:
        """Write the features and their card; a reader sees the whole file or none.

        Raises FeatureError naming the folder and the bytes needed if the disk is full, and for a key that is not the
        spec's.
        """
        if key != self.key(spec):
            raise FeatureError(f"key {key} is not the key of this spec, {self.key(spec)}; use FeatureStore.key(spec)")
        metadata = {"spec": canonical_json(spec), "card": canonical_json(features.card), "digest": features.digest}
        metadata["seal"] = _seal(features, metadata)
        tensors: dict[str, np.ndarray] = {"item_count": np.array([_item_count(features)], dtype=np.int64)}
        for modality, matrix in features.matrices.items():
            tensors[modality] = np.ascontiguousarray(matrix, dtype=np.float32)
            tensors[f"has_{modality}"] = features.present[modality].astype(np.uint8)
        path = self.path(key)
        write_file(path, to_bytes(tensors, metadata), FeatureError)
        self._write_card(key, features)
        return path

    def _write_card(self, key: str, features: Features) -> None:
        """Write the card of stored features, unless it is there as it should be."""
        card = json.loads(canonical_json(features.card))  # in the order in which it is read back
        path, text = self.root / f"{key}.card.md", feature_card(key, features.digest, card)
        with suppress(OSError):  # absent, or cannot be read
            if path.read_bytes() == text.encode():
                return
        write_file(path, text, FeatureError)

    def get_or_compute(self, spec: Mapping[str, Any], compute: Callable[[], Features]) -> Features:
        """The stored features of ``spec``, or ``compute()``, stored for the next time.

        A lost card is written again. A damaged file is moved aside (``.damaged``) with a warning that names it, and
        computed again.
        """
        key = self.key(spec)
        try:
            stored = self.load(key, spec)
        except _Damaged as error:
            aside = self.path(key).with_suffix(".damaged")
            with suppress(FileNotFoundError):  # another process has noticed too
                self.path(key).replace(aside)
            self.damaged.append(aside)
            warnings.warn(f"{error} (done: moved to {aside.name}, computing again)", stacklevel=2)
            stored = None
        if stored is not None:
            self._renew_card(key, stored)
            return stored
        self._make_root()  # better to find out before hours of computing than after
        features = compute()
        self.save(key, features, spec)
        return features

    def _renew_card(self, key: str, features: Features) -> None:
        """A card that a kill or damage has cost is written again; where that cannot be, features do without."""
        try:
            self._write_card(key, features)
        except FeatureError as error:
            warnings.warn(f"{error}. Features are used without their card", stacklevel=2)

    def _make_root(self) -> None:
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FeatureError(
                f"{self.root}: the feature folder cannot be made ({error.strerror}); give another folder"
            ) from None


def _read(path: Path) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    with safe_open(str(path), framework="np") as file:
        return dict(file.metadata() or {}), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def _features(tensors: Mapping[str, np.ndarray], card: Mapping[str, Any]) -> Features:
    """The features in these tensors. Raises KeyError, ValueError or FeatureError if they are not a feature file's."""
    count = int(tensors["item_count"][0])
    matrices: dict[Modality, Float32Array] = {}
    present: dict[Modality, BoolArray] = {}
    for modality in MODALITIES:
        if modality not in tensors:
            continue
        matrix, flags = tensors[modality], tensors[f"has_{modality}"]
        if len(matrix) != count or flags.shape != (count,) or flags.max(initial=0) > 1:
            raise ValueError(f"{modality} has {len(matrix)} rows and {len(flags)} flags for {count} items")
        matrices[modality] = check_matrix(matrix, modality, [f"row {row}" for row in range(count)], "stored")
        present[modality] = flags.astype(np.bool_)
    return make_features(matrices, present, card)


def _item_count(features: Features) -> int:
    counts = {len(matrix) for matrix in features.matrices.values()}
    if len(counts) != 1:
        raise FeatureError(f"features with {sorted(counts)} rows cannot be stored; give each modality one row per item")
    return counts.pop()


def _seal(features: Features, metadata: Mapping[str, str]) -> str:
    """Digest over everything in a file: the matrices' own digest covers neither flags nor spec nor card."""
    running = hashlib.sha256()
    for part in (metadata["spec"], metadata["card"], features.digest):
        running.update(f"{len(part)}|{part}|".encode())
    for modality in MODALITIES:
        if modality in features.present:
            running.update(modality.encode() + np.packbits(features.present[modality]).tobytes())
    return running.hexdigest()


def _differences(stored: object, wanted: object, place: str = "") -> str:
    """Dotted names of the fields in which two specs differ, at most three."""
    if isinstance(stored, Mapping) and isinstance(wanted, Mapping):
        names = [
            _differences(stored.get(key), wanted.get(key), f"{place}.{key}" if place else str(key))
            for key in sorted({*stored, *wanted})
            if canonical_json(stored.get(key)) != canonical_json(wanted.get(key))
        ]
        return ", ".join(names[:3])
    return place
