"""Made-up catalogues of a published size, and the recommenders that are timed on them."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch

from lmmrec_core.config import Settings
from lmmrec_core.flow import Interactions, Modality, Split
from lmmrec_core.recommenders import RECOMMENDERS
from lmmrec_core.roles import TrainingData
from lmmrec_core.seeds import numpy_stream, torch_stream
from lmmrec_core.study.declared.settings import resolve
from lmmrec_core.study.workspace import Workspace
from lmmrec_core.training.loop import TrainingSettings

_LEAST = 5  # interactions of a user


@dataclass(frozen=True)
class Size:
    """Counts of a catalogue, its interactions by part, and the widths of its features."""

    users: int
    items: int
    train: int
    valid: int
    test: int
    visual: int
    textual: int


BABY = Size(19_445, 7_050, 118_551, 20_559, 21_682, 4096, 384)  # Amazon Baby, 5-core, as MMRec splits it


def _split(users: int, items: int, interactions: int) -> Size:
    """A catalogue of published counts, divided in the proportions of Baby."""
    total = BABY.train + BABY.valid + BABY.test
    valid, test = (round(interactions * part / total) for part in (BABY.valid, BABY.test))
    return Size(users, items, interactions - valid - test, valid, test, BABY.visual, BABY.textual)


#: Amazon 2014, 5-core.
SIZES = {
    "baby": BABY,
    "clothing": _split(39_387, 23_033, 278_677),
    "sports": _split(35_598, 18_357, 296_337),
    "electronics": _split(192_403, 63_001, 1_689_188),
    "toy": Size(60, 40, 300, 60, 40, 12, 6),  # for tests
}


@cache
def made_up(size: Size) -> tuple[TrainingData, Split]:
    """Users have about five interactions or more; items follow a power law; features are random.

    A user's fourth interaction is validated and the fifth tested, then sixth and seventh as far as counts ask for more.
    """
    random, total = numpy_stream(1, "speed"), size.train + size.valid + size.test
    users = np.concatenate([np.repeat(np.arange(size.users), _LEAST), random.integers(0, size.users, 2 * total)])
    popularity = (np.arange(size.items) + 20.0) ** -0.9
    keys = users * size.items + random.choice(size.items, len(users), p=popularity / popularity.sum())
    _, first = np.unique(keys, return_index=True)
    keys = keys[np.sort(first)][:total]
    order = np.argsort(keys // size.items, kind="stable")
    owner = keys[order] // size.items
    place = np.arange(total) - np.searchsorted(owner, owner)  # of each interaction among its user's
    ranked = [order[place == at] for at in range(_LEAST - 2, _LEAST + 2)]
    valid = np.concatenate([ranked[0], ranked[2]])[: size.valid]
    test = np.concatenate([ranked[1], ranked[3]])[: size.test]
    train = np.setdiff1d(np.arange(total), np.concatenate([valid, test]))
    rows = [np.sort(keys[part]) for part in (train, valid, test)]
    parts = [Interactions(part // size.items, part % size.items) for part in rows]
    stream = torch_stream(1, "features")
    widths: dict[Modality, int] = {"visual": size.visual, "textual": size.textual}
    features = {m: torch.randn(size.items, width, generator=stream) for m, width in widths.items()}
    user, item = (torch.from_numpy(column.copy()) for column in (parts[0].user, parts[0].item))
    return TrainingData(size.users, size.items, user, item, features), Split(
        size.users, size.items, *parts, "made up", 1, "speed"
    )


def built(name: str, data: TrainingData, track: str = "user", **changes: Any) -> tuple[Any, TrainingSettings]:
    """A recommender as ``lmmrec run`` makes it, but for ``changes``, on the CPU; and its settings of training.

    ``track``: whose settings it has.
    """
    settings, training = settings_of(name, track, **changes)
    member = RECOMMENDERS[name]
    if not member.uses_features:
        data = TrainingData(data.n_users, data.n_items, data.user, data.item, {})
    return member(data, settings, torch_stream(1, "init")), training


def settings_of(name: str, track: str = "user", **changes: Any) -> tuple[Settings, TrainingSettings]:
    """Those of a track, with ``changes`` to either; a model that is not trained takes none to those of training."""
    own = RECOMMENDERS[name].Settings.model_fields
    taken = changes if hasattr(RECOMMENDERS[name], "loss") else {key: changes[key] for key in changes if key in own}
    return resolve(Workspace.open(track), name, taken)
