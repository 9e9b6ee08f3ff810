"""Catalogue + encoders → Features: content is encoded batch by batch, and missing content filled by a rule."""

import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib import metadata
from typing import Any, TypeVar

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor
from tqdm import tqdm

from lmmrec_core.digests import digest
from lmmrec_core.encoders.features.content import check_matrix, make_features
from lmmrec_core.encoders.features.missing import check_rule, fill_missing
from lmmrec_core.encoders.features.unread import counts_of
from lmmrec_core.encoders.pictures.byte_store import PictureBytes
from lmmrec_core.encoders.pictures.reading import pixels_of, read_picture
from lmmrec_core.encoders.precision import compare_precisions, sample_of, with_precision
from lmmrec_core.errors import ConfigError, FeatureError, unknown
from lmmrec_core.flow import MODALITIES, BoolArray, Catalogue, Features, Float32Array, IntArray, Modality
from lmmrec_core.names import PRECISIONS, Precision
from lmmrec_core.roles import Encoder
from lmmrec_core.seeds import true_fp32

Made = TypeVar("Made")
_LIBRARIES = ("torch", "timm", "transformers", "tokenizers", "open_clip_torch", "pillow", "numpy", "safetensors")


def feature_spec(
    encoders: Mapping[Modality, Encoder],
    catalogue: Catalogue,
    *,
    catalogue_fingerprint: str,
    missing: str = "mean",
    precision: Precision = "fp32",
) -> dict[str, Any]:
    """Everything that determines the features; its digest is their key in the store.

    Rows of a matrix follow the order of the items, which ``catalogue_fingerprint`` does not see: hence ``order``.
    ``precision`` is the one asked for; fp32, the default, is not written.
    """
    spec = {
        "encoders": {modality: dict(encoders[modality].spec()) for modality in MODALITIES if modality in encoders},
        "items": {
            "fingerprint": catalogue_fingerprint,
            "order": digest(list(catalogue.item_ids)),
            "count": catalogue.n_items,
        },
        "missing": {"rule": missing, "unreadable": "error"},
    }
    return with_precision(spec, precision)


def extract(
    encoders: Mapping[Modality, Encoder],
    catalogue: Catalogue,
    *,
    catalogue_fingerprint: str = "",
    missing: str = "mean",
    batch_size: int = 32,
    progress: bool = True,
    device: str | torch.device = "cpu",
    precision: Precision = "fp32",
    pictures: PictureBytes | None = None,
) -> Features:
    """Encode every item of a catalogue; rows in the order of ``catalogue.item_ids``.

    ``missing`` is the rule for items without a picture or text, ``"mean"`` or ``"zero"``. A broken picture file is
    refused by name. Memory for decoded pictures is bounded, see :mod:`~lmmrec_core.encoders.pictures.reading`. Results
    are in fp32 (TF32 off); batch size and threads change them by less than 1e-5, relative to their size. With
    ``pictures``, those of the catalogue by the visual encoder's rule, no file is read, and nothing else changes.

    bf16 is compared with fp32 on a sample of each modality first (:func:`~.precision.compare_precisions`). If one
    modality differs too much, all of them are computed in fp32, with a warning. The card records specs, counts, times,
    the precision used with its audit, and the versions of libraries.

    Raises ConfigError for unknown settings, FeatureError for content or vectors that cannot be used.
    """
    _check(encoders, catalogue, missing, batch_size)
    if precision not in PRECISIONS:
        raise unknown("precision", precision, PRECISIONS)
    way = _Way(batch_size, progress, torch.device(device), pictures)
    audit = {} if precision == "fp32" else {m: _audit(encoders[m], m, catalogue, way) for m in encoders}
    failed = [modality for modality, found in audit.items() if not found["passed"]]
    if failed:
        worst = audit[failed[0]]
        warnings.warn(
            f"{catalogue.name}: bf16 changes the {failed[0]} features too much (smallest cosine "
            f"{worst['cosine_min']:.4f}, shared neighbours {worst['overlap@10']:.3f}); computing in fp32",
            stacklevel=2,
        )
    used: Precision = "fp32" if failed else precision
    matrices: dict[Modality, Float32Array] = {}
    present: dict[Modality, BoolArray] = {}
    notes: dict[str, Any] = {}
    spec = feature_spec(
        encoders, catalogue, catalogue_fingerprint=catalogue_fingerprint, missing=missing, precision=precision,
    )  # fmt: skip
    for modality in MODALITIES:
        if modality not in encoders:
            continue
        start = time.perf_counter()
        encoded = _encode(encoders[modality], modality, catalogue, way, used)
        matrices[modality] = fill_missing(encoded.rows, encoded.present, missing, modality, catalogue.item_ids)
        present[modality] = encoded.present
        notes[modality] = {
            "encoder": encoders[modality].name,
            "dim": encoded.rows.shape[1],
            "items": catalogue.n_items,
            "missing": int((~encoded.present).sum()),
            "seconds": round(time.perf_counter() - start, 3),
        }
        if modality == "textual":
            notes[modality] |= counts_of(encoders[modality], catalogue)
    card = {
        "catalogue": catalogue.name,
        "spec": spec,
        "modalities": notes,
        "precision": used,
        "audit": audit,
        "device": _device_name(device),
        "threads": torch.get_num_threads(),
        "batch_size": batch_size,
        "versions": _versions(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    return make_features(matrices, present, card)


@dataclass(frozen=True)
class _Way:
    """How encoding is carried out."""

    batch_size: int
    progress: bool
    device: torch.device
    pictures: PictureBytes | None = None


@dataclass(frozen=True, eq=False)
class _Encoded:
    rows: Float32Array  # [item, dim], zeros where absent
    present: BoolArray  # [item]


def _check(encoders: Mapping[Modality, Encoder], catalogue: Catalogue, missing: str, batch_size: int) -> None:
    if not encoders:
        raise ConfigError("no encoder given; name one for visual, for textual, or both")
    for modality, encoder in encoders.items():
        if modality not in MODALITIES:
            raise unknown("modality", modality, MODALITIES, "encoders")
        if modality not in encoder.modalities:
            able = " and ".join(encoder.modalities)
            raise ConfigError(f"encoder {encoder.name!r} encodes {able}, not {modality}; name another for {modality}")
    check_rule(missing)
    if batch_size < 1:
        raise ConfigError(f"batch_size is {batch_size}; give 1 or more")
    if catalogue.n_items == 0:
        raise FeatureError(f"catalogue {catalogue.name!r} has no items; nothing to encode")


def _encode(
    encoder: Encoder,
    modality: Modality,
    catalogue: Catalogue,
    way: _Way,
    precision: Precision,
    sample: IntArray | None = None,
) -> _Encoded:
    """All items with content, or those of ``sample``."""
    todo = _with_content(catalogue, modality)
    if sample is not None:
        todo = todo[np.isin(todo, sample)]
    device, batch_size = way.device, way.batch_size
    rows = np.zeros((catalogue.n_items, encoder.dim(modality)), dtype=np.float32)
    present = np.zeros(catalogue.n_items, dtype=np.bool_)
    name = f"{catalogue.name}: {modality} by {encoder.name}"
    bar = tqdm(total=len(todo), desc=name, unit="item", disable=not way.progress)
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")
    with bar, _evaluation(encoder, device), torch.inference_mode(), autocast:
        parts = [todo[start : start + batch_size] for start in range(0, len(todo), batch_size)]
        for items, inputs in _inputs(encoder, modality, catalogue, parts, way):
            vectors = encoder.image_vectors(inputs) if isinstance(inputs, Tensor) else encoder.text_vectors(inputs)
            rows[items] = _checked(vectors, encoder, modality, [catalogue.item_ids[i] for i in items])
            present[items] = True
            bar.update(len(items))
    return _Encoded(rows, present)


def _inputs(
    encoder: Encoder, modality: Modality, catalogue: Catalogue, parts: list[IntArray], way: _Way
) -> Iterator[tuple[IntArray, Tensor | dict[str, Tensor]]]:
    """What an encoder takes, part by part; on a GPU the next part is made ready while this one is encoded."""

    def ready(items: IntArray) -> Tensor | dict[str, Tensor]:
        if modality == "textual":
            tokens = encoder.preprocess_texts([catalogue.texts[i] for i in items])
            return {name: value.to(way.device) for name, value in tokens.items()}
        if way.pictures is not None:
            return way.pictures.pixels(items, way.device)
        return pixels_of(encoder.preprocess_images, _pictures_of(items, catalogue)).to(way.device)

    if way.device.type == "cpu":
        yield from ((items, ready(items)) for items in parts)
        return
    yield from made_ahead(ready, parts)


def made_ahead(make: Callable[[IntArray], Made], parts: Sequence[IntArray]) -> Iterator[tuple[IntArray, Made]]:
    """Each part and what ``make`` makes of it, which a thread does for the next part meanwhile."""
    with ThreadPoolExecutor(1) as ahead:
        waiting = deque(ahead.submit(make, items) for items in parts[:1])
        for place, items in enumerate(parts):
            waiting.extend(ahead.submit(make, following) for following in parts[place + 1 : place + 2])
            yield items, waiting.popleft().result()


def _audit(encoder: Encoder, modality: Modality, catalogue: Catalogue, way: _Way) -> dict[str, float | bool]:
    """bf16 against fp32 on a sample of the items with content."""
    sample = sample_of(_with_content(catalogue, modality))
    quiet = replace(way, progress=False)
    exact, lower = (_encode(encoder, modality, catalogue, quiet, p, sample) for p in PRECISIONS)
    kept = exact.present & lower.present
    return compare_precisions(exact.rows[kept], lower.rows[kept])


def _with_content(catalogue: Catalogue, modality: Modality) -> IntArray:
    return _with_picture(catalogue) if modality == "visual" else _with_text(catalogue)


def _with_picture(catalogue: Catalogue) -> IntArray:
    return np.array([i for i, path in enumerate(catalogue.images) if path is not None], dtype=np.int64)


def _with_text(catalogue: Catalogue) -> IntArray:
    """Items with text, longest first: there is little padding, and a batch too large for memory fails at once."""
    items = [i for i, text in enumerate(catalogue.texts) if text.strip()]
    return np.array(sorted(items, key=lambda i: (-len(catalogue.texts[i]), i)), dtype=np.int64)


def _pictures_of(items: IntArray, catalogue: Catalogue) -> Iterator[Image]:
    for i in items.tolist():
        path = catalogue.images[i]
        assert path is not None  # only items with a picture are here
        yield read_picture(path, catalogue.item_ids[i])


def _checked(vectors: Tensor, encoder: Encoder, modality: Modality, item_ids: list[str]) -> Float32Array:
    expected = (len(item_ids), encoder.dim(modality))
    if tuple(vectors.shape) != expected:
        raise FeatureError(
            f"encoder {encoder.name!r} gave {modality} vectors of shape {tuple(vectors.shape)}, expected {expected}; "
            "correct the encoder's dim or its output"
        )
    return check_matrix(vectors.float().cpu().numpy(), modality, item_ids, f"encoder {encoder.name!r}")


@contextmanager
def _evaluation(encoder: Encoder, device: str | torch.device) -> Iterator[None]:
    """The encoder's module on ``device``, in evaluation mode and plain fp32; afterwards as it was before."""
    module = getattr(encoder, "module", None)
    if module is None:
        if torch.device(device).type != "cpu":
            raise FeatureError(f"encoder {encoder.name!r} has no `module` to move to {device}; use device cpu")
        yield
        return
    if torch.device(device).type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"there is no device {str(device)!r} here; use cpu")
    training = [part for part in module.modules() if part.training]
    first = next(module.parameters(), None)
    home = torch.device("cpu") if first is None else first.device
    try:
        module.to(device).eval()
        with true_fp32():
            yield
    finally:
        module.to(home)
        for part in training:
            part.training = True


def _device_name(device: str | torch.device) -> str:
    kind = torch.device(device)
    return torch.cuda.get_device_name(kind) if kind.type == "cuda" else str(kind)


def _versions() -> dict[str, str]:
    versions = {}
    for library in _LIBRARIES:
        try:
            versions[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            continue
    return versions
