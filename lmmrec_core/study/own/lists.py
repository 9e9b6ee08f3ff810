"""A kept model → recommendations by the catalogue's own ids, also of items that were not there in training."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from lmmrec_core.data.fingerprint import catalogue_fingerprint
from lmmrec_core.errors import ConfigError, DataError, nearest
from lmmrec_core.flow import MODALITIES, Features, Interactions, Split
from lmmrec_core.recommenders.layers import features_normalised
from lmmrec_core.study.datasets import Dataset
from lmmrec_core.study.features import load_features
from lmmrec_core.study.own.kept import KeptModel, members_of
from lmmrec_core.study.own.new_content import new_content
from lmmrec_core.study.workspace import Workspace
from lmmrec_core.training.recommend import best_first

Hide = Literal["all", "train"]
_CHUNK = 256  # users scored at a time


@dataclass(frozen=True, eq=False)
class NewItems:
    """Items without training rows: their ids, and their vectors [item, dim] by content alone."""

    ids: tuple[str, ...]
    vectors: Tensor
    known: int = 0  # items of the same folder that the model knows already


def ranked_lists(
    kept: KeptModel,
    users: Sequence[str] | None = None,
    k: int = 20,
    hide: Hide = "all",
    new: NewItems | None = None,
    only_new: bool = False,
) -> pd.DataFrame:
    """The ``k`` best items of each user: user_id, item_id, rank (from 1), score; users in the order asked.

    ``users`` None takes all of the catalogue. ``hide`` all leaves out whatever a user has interacted with; train leaves
    out training rows alone, as the evaluation does. Equal scores rank by the order of items in the catalogue, new items
    last. A user with fewer than ``k`` candidates gets them all. With ``only_new`` the candidates are the new items.

    Raises ConfigError for a user that the model does not know, and for ``k`` below 1.
    """
    if k < 1:
        raise ConfigError(f"--k {k}: give 1 or more")
    if only_new and new is None:
        raise ConfigError("--only-new needs new items; name their folder with --items")
    chosen = _numbers(kept, users)
    item_ids = [*kept.item_ids, *(new.ids if new else ())]
    items = kept.tensors["item"] if new is None else torch.cat([kept.tensors["item"], new.vectors])
    n_known = len(kept.item_ids)
    indptr, seen = _seen_items(kept, hide)
    rows: list[pd.DataFrame] = []
    for start in range(0, len(chosen), _CHUNK):
        some = chosen[start : start + _CHUNK]
        scores = kept.tensors["user"][torch.from_numpy(some)] @ items.T
        for place, user in enumerate(some):
            scores[place, torch.from_numpy(seen[indptr[user] : indptr[user + 1]])] = -torch.inf
        if only_new:
            scores[:, :n_known] = -torch.inf
        values, best = (found.numpy() for found in best_first(scores, min(k, len(item_ids))))
        row, column = np.nonzero(values > -np.inf)
        rows.append(
            pd.DataFrame(
                {
                    "user_id": [kept.user_ids[user] for user in some[row]],
                    "item_id": [item_ids[item] for item in best[row, column]],
                    "rank": column + 1,
                    "score": values[row, column],
                }
            )
        )
    return pd.concat(rows, ignore_index=True)


def new_items(kept: KeptModel, folder: Path, workspace: Workspace) -> NewItems:
    """The items of a catalogue folder (items.csv, pictures, ready features) that the model does not know.

    They are encoded as those of the run were. What only training gives an item is zero, so its score is what its
    content says; an item without picture or text has the mean row of the run's catalogue. ``workspace`` is the user's.
    Raises ConfigError for a model that cannot, saying why, DataError and FeatureError for content that cannot be used.
    """
    content = kept.note["content"]
    if content["no_new_items"]:
        raise ConfigError(f"--items {folder}: no scores for new items: {content['no_new_items']}")
    ready = [m for m in kept.modalities if content["members"][m] == "ready"]
    with new_content(folder, kept.modalities, ready, workspace.progress) as catalogue:
        if absent := [f"{m}.npy" for m in ready if m not in catalogue.ready_features]:
            raise DataError(
                f"{folder}: {' and '.join(absent)} not there; the model was trained on ready features, so new items "
                "need them too: a row for each line of items.csv, made as those of the run were"
            )
        none = Interactions(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))
        split = Split(0, catalogue.n_items, none, none, none, "given", None, "")
        dataset = Dataset(catalogue.name, catalogue, split, catalogue_fingerprint(catalogue))
        encoders = {**workspace.track.encoders, content["encoder"]: content["entry"]}
        workspace = replace(workspace, track=workspace.track.model_copy(update={"encoders": encoders}))
        features = load_features(workspace, dataset, content["encoder"], content["paradigm"])
    _check_members(kept, features, folder)
    vectors = _mapped(kept, features)
    known = set(kept.item_ids)
    fresh = [number for number, item_id in enumerate(catalogue.item_ids) if item_id not in known]
    if not fresh:
        raise DataError(f"{folder}: the model knows all {catalogue.n_items} items already; name a folder with new ones")
    ids = tuple(catalogue.item_ids[number] for number in fresh)
    return NewItems(ids, vectors[torch.tensor(fresh)], catalogue.n_items - len(fresh))


def _mapped(kept: KeptModel, features: Features) -> Tensor:
    """Vectors [item, dim] of features: ``M f + c``, text first."""
    blocks = []
    for modality in reversed(MODALITIES):
        if modality in kept.modalities:
            rows = torch.from_numpy(features.matrices[modality].copy())
            rows[torch.from_numpy(~features.present[modality])] = kept.tensors[f"mean.{modality}"]
            blocks.append(features_normalised(rows) if kept.note["content"]["unit_rows"] else rows)
    return torch.cat(blocks, dim=1) @ kept.tensors["map.matrix"].T + kept.tensors["map.offset"]


def _check_members(kept: KeptModel, features: Features, folder: Path) -> None:
    """Raises DataError for features that were made otherwise than those of the run."""
    made = members_of(features)
    for modality in kept.modalities:
        wanted, width = kept.note["content"]["members"][modality], len(kept.tensors[f"mean.{modality}"])
        told = {"ready": f"ready features ({modality}.npy)"}
        if made.get(modality) != wanted:
            raise DataError(
                f"{folder}: the model was trained on {told.get(wanted, 'encoded content')} and would read "
                f"{told.get(made.get(modality, ''), 'content that is encoded otherwise')} here; give the same kind"
            )
        if features.matrices[modality].shape[1] != width:
            seen = features.matrices[modality].shape[1]
            raise DataError(
                f"{folder}: {modality} rows of {seen} numbers, the model was trained on {width}; make them as those"
            )


def _numbers(kept: KeptModel, users: Sequence[str] | None) -> np.ndarray:
    if users is None:
        return np.arange(len(kept.user_ids))
    place = {user_id: number for number, user_id in enumerate(kept.user_ids)}
    if unknown := [user_id for user_id in dict.fromkeys(users) if user_id not in place]:
        more = f" and {len(unknown) - 1} more are" if len(unknown) > 1 else " is"
        close = nearest(unknown[0], kept.user_ids[:20_000])
        hint = (
            f"did you mean {close!r}?" if close else f"the ids are those of the data, for instance {kept.user_ids[0]!r}"
        )
        raise ConfigError(
            f"--users {unknown[0]!r}{more} not among the {len(place)} users of the run; {hint} "
            "(the filters of the run may have dropped a user)"
        )
    return np.array([place[user_id] for user_id in dict.fromkeys(users)], dtype=np.int64)


def _seen_items(kept: KeptModel, hide: Hide) -> tuple[np.ndarray, np.ndarray]:
    """CSR form of the items that are not recommended: ``indptr`` [user + 1], items."""
    user, item, part = (kept.tensors[f"seen.{name}"].numpy() for name in ("user", "item", "part"))
    if hide == "train":
        user, item = user[part == 0], item[part == 0]
    order = np.argsort(user, kind="stable")
    indptr = np.concatenate([[0], np.cumsum(np.bincount(user, minlength=len(kept.user_ids)))])
    return indptr, item[order]
