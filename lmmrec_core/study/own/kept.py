"""A trained recommender beside its result: two matrices and all that lists for users need, in one safetensors file.

    user, item             [user, dim], [item, dim]: a score is the dot product of two rows
    seen.user, seen.item   [edge] every interaction of the catalogue, also those that were held out
    seen.part              [edge] 0 train, 1 valid, 2 test, 3 in no part
    ids.user, ids.item     the catalogue's ids, a JSON list as UTF-8 bytes
    map.matrix, map.offset where the model reads content: the vector of a new item from its features
    mean.visual, ...       the mean row of the items with content, for new items without

The header says what run it is, how its features came to be, and carries the digest of it all. No code is in the file,
and none of the model's is needed to use it.
"""

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from lmmrec_core.digests import digest
from lmmrec_core.disk import write_file
from lmmrec_core.encoders.weights import tensors_digest
from lmmrec_core.errors import ConfigError, ResultError
from lmmrec_core.flow import MODALITIES, Catalogue, Features, IntArray, Modality, Split
from lmmrec_core.home import named_path
from lmmrec_core.names import TWICE
from lmmrec_core.recommenders import RECOMMENDERS
from lmmrec_core.results.store import RECORD
from lmmrec_core.roles import MapsContent, Recommender, VectorRecommender
from lmmrec_core.study.cases import Case
from lmmrec_core.study.track import TrackSettings
from lmmrec_core.study.workspace import Workspace

MODEL = "model.safetensors"
_HEADER = "lmmrec"
_SCHEMA = 1
_CURE = "run the case again with --keep-model, which makes another"


@dataclass(frozen=True, eq=False)
class KeptModel:
    """The content of such a file, checked."""

    path: Path
    note: Mapping[str, Any]  # key, case, settings of the content
    tensors: Mapping[str, Tensor]
    user_ids: tuple[str, ...]
    item_ids: tuple[str, ...]

    @property
    def name(self) -> str:
        """What a run file calls it: ``vbpr-0123456789abcdef``."""
        return f"{self.note['case']['model']}-{self.note['key']}"

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """The modalities that the model reads."""
        return tuple(m for m in MODALITIES if m in self.note["content"]["members"])


def check_keepable(model: str) -> None:
    """Raises ConfigError for a recommender that has no vectors to keep."""
    if not hasattr(RECOMMENDERS[model], "vectors"):
        raise ConfigError(
            f"--keep-model: the scores of model {model!r} are no product of two vectors, so there are none to keep; "
            "leave the option out (a recommender of your own has them as recommenders.base.GradientRecommender does)"
        )


def keeps_model(case: Case, track: TrackSettings) -> bool:
    """Whether a track keeps the trained model of a case (``kept_models``): of its first seed, if it has vectors."""
    first = case.arm == "none" and not case.split and case.seed == track.seeds[0]
    asked = first and any(rule.fits(case.model_dump()) for rule in track.kept_models)
    return asked and hasattr(RECOMMENDERS[case.model], "vectors")


def keep_recommender(
    folder: Path, model: Recommender, case: Case, key: str, workspace: Workspace, features: Features | None
) -> None:
    """Write ``folder/model.safetensors``, whole or not at all; ``features`` are those that the run started from.

    Raises ConfigError for a recommender without vectors, ResultError when the file cannot be written.
    """
    if not isinstance(model, VectorRecommender):
        check_keepable(case.model)
        raise ConfigError(f"--keep-model: {type(model).__name__} has no vectors")
    dataset = workspace.dataset(case.dataset, case.split)
    catalogue = dataset.catalogue
    users, items = model.vectors()
    user, item, part = _seen(catalogue, dataset.split)
    tensors = {
        "user": users, "item": items,
        "ids.user": _as_bytes(catalogue.user_ids), "ids.item": _as_bytes(catalogue.item_ids),
        "seen.user": torch.from_numpy(user), "seen.item": torch.from_numpy(item), "seen.part": torch.from_numpy(part),
    }  # fmt: skip
    content: dict[str, Any] = {"members": {}, "no_new_items": _why_no_new_items(model, case)}
    if features is not None:
        content["members"] = {m: _member(features, m) for m in features.matrices}
        content |= {"encoder": case.encoder, "entry": workspace.track.encoder(case.encoder), "paradigm": case.paradigm}
        content["unit_rows"] = bool(getattr(model, "unit_rows", False))
    if features is not None and isinstance(model, MapsContent) and not content["no_new_items"]:
        tensors["map.matrix"], tensors["map.offset"] = model.content_map()
        for modality, matrix in features.matrices.items():
            mean = matrix[features.present[modality]].mean(axis=0, dtype=np.float64)
            tensors[f"mean.{modality}"] = torch.from_numpy(mean.astype(np.float32))
    tensors = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    note = {
        "schema": _SCHEMA, "key": key, "case": case.model_dump(), "content": content,
        "data": {"catalogue": dataset.fingerprint, "split": dataset.split.fingerprint},
        "tensors": tensors_digest(tensors),
    }  # fmt: skip
    note["seal"] = digest(note, 64)
    write_file(folder / MODEL, save(tensors, {_HEADER: json.dumps(note, sort_keys=True, ensure_ascii=False)}))


def read_kept(path: Path) -> KeptModel:
    """The model in a file that :func:`keep_recommender` wrote. Raises ResultError for any other, and a damaged one."""
    try:
        with safe_open(path, framework="pt") as file:
            written = (file.metadata() or {}).get(_HEADER)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a mapping)
        note = json.loads(written or "null")
    except (OSError, SafetensorError, ValueError) as error:
        raise ResultError(f"{path}: no kept model, or a damaged one ({error}); {_CURE}") from None
    if not isinstance(note, dict) or note.get("schema") != _SCHEMA:
        raise ResultError(f"{path}: not a model that this version keeps; {_CURE}")
    seal = digest({name: value for name, value in note.items() if name != "seal"}, 64)
    if note.get("seal") != seal or note["tensors"] != tensors_digest(tensors):
        raise ResultError(f"{path}: damaged (its content does not match its digest); {_CURE}")
    folder = path.absolute().parent.name
    if path.name == MODEL and _is_key(folder[-16:]) and folder[-17:-16] == "-" and folder[-16:] != note["key"]:
        raise ResultError(f"{path}: the model of run {note['key']}, not of the one whose folder it lies in; {_CURE}")
    return KeptModel(path, note, tensors, *(_as_ids(tensors[f"ids.{side}"]) for side in ("user", "item")))


def is_kept(folder: Path) -> bool:
    """Whether the model of a run lies in its folder. A damaged one is none, and told by a warning."""
    if not (folder / MODEL).is_file():
        return False
    try:
        read_kept(folder / MODEL)
    except ResultError as error:
        warnings.warn(str(error), stacklevel=2)
        return False
    return True


def find_kept(workspace: Workspace, asked: str) -> Path:
    """The file of a kept model, named by the key of its run, its run folder or itself.

    Raises ConfigError if there is none, saying how to make one.
    """
    given = named_path(asked)
    if given.is_file():
        return given
    folders = [given] if given.is_dir() else sorted(workspace.results.glob(f"*/*/*-{asked}")) if _is_key(asked) else []
    for folder in folders:
        if (folder / MODEL).is_file():
            return folder / MODEL
    if given.is_dir() and not (given / RECORD).is_file():
        raise ConfigError(f"{given}: no run folder; give that of one run, its key, or the path of its {MODEL}")
    if not folders and _is_key(asked):
        folders = [record.path for record in workspace.store.find_records(key=asked)]  # packed
    if folders:
        raise ConfigError(f"{folders[0]}: the run is stored, but not its model; run it again with --keep-model")
    raise ConfigError(
        f"--model {asked}: neither a run below {workspace.results} nor a file; give the key that `lmmrec run "
        "--keep-model` printed, or the path of its model.safetensors"
    )


def _is_key(text: str) -> bool:
    return len(text) == 16 and all(letter in "0123456789abcdef" for letter in text)


def _why_no_new_items(model: Recommender, case: Case) -> str:
    """Why items that were not there in training have no score; "" if they have one."""
    if not RECOMMENDERS[case.model].uses_features:
        return f"model {case.model!r} reads no content, so nothing is known of an item without interactions"
    if not isinstance(model, MapsContent):
        return (
            f"in model {case.model!r} the vector of an item is no function of its own content alone: it is made with "
            "the vectors of users or other items; train one in which it is, for instance vbpr"
        )
    if case.control != "none" or case.modalities == TWICE:
        return "the content it was trained with was replaced by a control, so no item's own content fits it"
    if case.paradigm not in ("none", "PT"):
        return f"under paradigm {case.paradigm} the encoder was trained with the catalogue; use PT, or the baseline"
    return ""


def _member(features: Features, modality: Modality) -> str:
    """What made the features of a modality: "ready", or the digest of the encoder's spec."""
    card = features.card
    if "spec" not in card or modality in card.get("ready", ()):
        return "ready"
    return digest(card["spec"]["encoders"][modality])


def members_of(features: Features) -> dict[str, str]:
    """Modality → what made its features, to compare with :attr:`KeptModel.note`."""
    return {modality: _member(features, modality) for modality in features.matrices}


def _seen(catalogue: Catalogue, split: Split) -> tuple[IntArray, IntArray, np.ndarray]:
    """Every interaction of the catalogue and the part that it is in, 3 for none."""
    keys = catalogue.user * catalogue.n_items + catalogue.item
    order = np.argsort(keys)
    part = np.full(len(keys), 3, dtype=np.int8)
    for number, rows in enumerate((split.train, split.valid, split.test)):
        place = np.searchsorted(keys, rows.user * catalogue.n_items + rows.item, sorter=order)
        part[order[place]] = number
    return catalogue.user.copy(), catalogue.item.copy(), part


def _as_bytes(ids: tuple[str, ...]) -> Tensor:
    return torch.frombuffer(bytearray(json.dumps(list(ids), ensure_ascii=False).encode()), dtype=torch.uint8)


def _as_ids(content: Tensor) -> tuple[str, ...]:
    return tuple(json.loads(content.numpy().tobytes().decode()))
