"""Controls: catalogues with planted answers, written in the ordinary folder format.

Pictures show four factors (``drawing.py``), texts show four factors (``wording.py``), interactions follow
latents (``preferences.py``). The kind says which latents are which:

* complementary: an item is (a, b); the picture shows a, the text shows b, users care for both.
* redundant: an item is c; picture and text both show c, users care for c.
* null: users care for a hidden h; picture and text show other latents, independent of h and of each other.

A folder is a function of (kind, seed, size): the same bytes every time. It also holds the truth, in
``planted.json`` (what must be found) and ``planted.npz`` (tastes, latents, biases), for tests and the book; no reader
of catalogues opens these.
"""

import json
from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Self

import numpy as np
from pydantic import Field, model_validator

from lmmrec_core.config import Settings
from lmmrec_core.data.drawing import VISUAL_FACTORS, draw, write_png
from lmmrec_core.data.folder import FolderSettings, read_folder
from lmmrec_core.data.preferences import (
    FEWEST_PER_ITEM,
    Preferences,
    draw_activity,
    draw_interactions,
    draw_times,
    make_preferences,
)
from lmmrec_core.data.wording import LEVELS, TEXTUAL_FACTORS, draw_entries
from lmmrec_core.data.writing import new_folder, write_table
from lmmrec_core.digests import digest
from lmmrec_core.errors import ConfigError, unknown
from lmmrec_core.flow import Catalogue, FloatArray, IntArray
from lmmrec_core.names import SYNTHETIC, Synthetic
from lmmrec_core.seeds import numpy_stream

GENERATOR_VERSION = 2  # raise it with any change that alters a byte of what is read: all but the words of the answer
KINDS = SYNTHETIC
_N_FACTORS = len(VISUAL_FACTORS)
_ENOUGH_PER_ITEM = 8  # interactions, at least: more than the five that every item must get, so that users have a choice
SHARED_OUTSIDE = 2  # of the outside items' four factors, picture and text tell the first two alike

ANSWERS: dict[str, str] = {
    "complementary": (
        "Picture and text each show another half of what users care for: both together must beat either alone, "
        "and either alone must beat recommenders without content and content shuffled over the items."
    ),
    "redundant": (
        "Picture and text show the same part of what users care for: either alone must beat recommenders without "
        "content, and the second must add less than on complementary data. It may add something: features are noisy, "
        "and two readings of one thing are better than one."
    ),
    "null": (
        "Interactions follow a hidden latent that neither picture nor text shows: real content must do no better "
        "than content shuffled over the items (the same model, the same capacity)."
    ),
}
_REAL, _SHUFFLED, _NONE = ("V&T", "none"), ("V&T", "shuffled"), ("none", "none")
_VISUAL, _TEXTUAL = ("V", "none"), ("T", "none")
_NO_TEXT, _NO_PICTURE = ("V&T", "shuffled-T"), ("V&T", "shuffled-V")
_LESS = "> by less than on complementary"
_EXPECTED: dict[str, tuple[tuple[tuple[str, str], str, tuple[str, str]], ...]] = {
    "complementary": (
        (_REAL, ">", _VISUAL),
        (_REAL, ">", _TEXTUAL),
        (_VISUAL, ">", _NONE),
        (_TEXTUAL, ">", _NONE),
        (_REAL, ">", _SHUFFLED),
    ),
    "redundant": (
        (_REAL, _LESS, _NO_TEXT),
        (_REAL, _LESS, _NO_PICTURE),
        (_VISUAL, "≈", _TEXTUAL),
        (_VISUAL, ">", _NONE),
        (_TEXTUAL, ">", _NONE),
        (_REAL, ">", _SHUFFLED),
    ),
    "null": ((_REAL, "≈", _SHUFFLED),),
}


class ControlSize(Settings):
    """How large and how clear a control is.

    With the defaults an item has about 14 interactions. With 18 (350 items), recommenders without content learn the
    complementary preferences almost as well as from one modality, and the planted order blurs.
    """

    users: int = Field(default=700, ge=20, le=100_000)
    items: int = Field(default=450, ge=20, le=100_000)
    fewest: int = Field(default=6, ge=FEWEST_PER_ITEM)  # interactions of the least active users
    most: int = Field(default=15, le=200)  # and of the most active
    sharpness: float = Field(default=3.0, ge=0.0, le=20.0)  # weight of taste against chance
    skew: float = Field(default=0.6, ge=0.0, le=1.5)  # exponent of the Zipf-like popularity

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.most < self.fewest:
            raise ValueError(f"most = {self.most} is below fewest = {self.fewest}; raise most")
        if self.items < 2 * self.most:
            raise ValueError(f"{self.items} items are too few for users who take {self.most}; give {2 * self.most}")
        if self.users * self.fewest < _ENOUGH_PER_ITEM * self.items:
            needed = -(-_ENOUGH_PER_ITEM * self.items // self.fewest)
            raise ValueError(f"{self.users} users cannot give {self.items} items enough interactions; give {needed}")
        return self


class ControlSettings(ControlSize):
    """One control: what a track file says of it. Equal settings give the same folder, byte for byte."""

    kind: Synthetic
    seed: int
    content: float = Field(default=1.0, ge=0.0, le=1.0)  # share of what users care for that content shows; rest: hidden

    @model_validator(mode="after")
    def _planted(self) -> Self:
        if self.kind == "null" and self.content < 1:
            raise ValueError(f"content = {self.content:g}: null shows nothing that users care for; leave content out")
        return self

    @property
    def size(self) -> ControlSize:
        return ControlSize(**self.model_dump(include=set(ControlSize.model_fields)))


class Controls:
    """The controls as a data format: drawn first, then read as the catalogue folder that they are."""

    name = "controls"
    marks = ""
    Settings = ControlSettings

    @staticmethod
    def recognises(folder: Path) -> bool:
        return False

    @staticmethod
    def folder_name(settings: ControlSettings) -> str:
        size = settings.size.model_dump()
        identity: dict[str, object] = {
            "kind": settings.kind,
            "seed": settings.seed,
            "size": size,
            "version": GENERATOR_VERSION,
        }
        identity |= {"content": settings.content} if settings.content < 1 else {}
        return f"{settings.kind}-{digest(identity, 10)}"

    @staticmethod
    def draw(settings: ControlSettings, folder: Path) -> None:
        write_controls(settings.kind, folder, settings.seed, settings.size, settings.content)

    @staticmethod
    def read(folder: Path, settings: ControlSettings, name: str | None = None) -> Catalogue:
        return read_folder(folder, FolderSettings(), name)


def write_controls(kind: str, folder: Path, seed: int, size: ControlSize | None = None, content: float = 1.0) -> None:
    """Write interactions.csv, items.csv, images/, planted.json and planted.npz into ``folder``.

    ``content`` is the planted effect: the share of what users care for (variance of their utilities, without
    popularity) that picture and text show. The rest follows the hidden latent; with 0 the content says nothing. Ids
    start with the first letter of the kind (``C0001``). Nothing is left behind if it is interrupted.
    Raises ConfigError for an unknown kind, DataError for a folder that holds files or cannot be written.
    """
    if kind not in KINDS:
        raise unknown("control", kind, KINDS)
    size = size or ControlSize()
    latents = {name: _latent(size.items, seed, f"{kind}/{name}") for name in ("a", "b", "c", "hidden")}
    visual, textual, driving = {
        "complementary": ("a", "b", ("a", "b")),
        "redundant": ("c", "c", ("c",)),
        "null": ("a", "b", ("hidden",)),
    }[kind]
    shares: tuple[float, ...] | None = None
    if content < 1:
        driving, shares = (*driving, "hidden"), (*(content / len(driving) for _ in driving), 1 - content)
    preferences = make_preferences(
        np.concatenate([_standardise(latents[name]) for name in driving], axis=1),
        (_N_FACTORS,) * len(driving), size.users, size.sharpness, size.skew, numpy_stream(seed, f"{kind}/preferences"),
        shares,
    )  # fmt: skip
    activity = draw_activity(size.users, size.fewest, size.most, numpy_stream(seed, f"{kind}/activity"))
    user, item = draw_interactions(preferences, activity, numpy_stream(seed, f"{kind}/choices"))
    time = draw_times(user, numpy_stream(seed, f"{kind}/times"))

    item_ids = _ids(kind[0].upper(), size.items)
    user_ids = _ids(f"{kind[0]}u", size.users)
    rows = [[user_ids[u], item_ids[i], int(t)] for t, u, i in sorted(zip(time, user, item, strict=True))]
    with new_folder(folder) as partial:
        write_table(partial / "interactions.csv", ["user_id", "item_id", "timestamp"], rows)
        _write_items(partial, item_ids, latents[visual], latents[textual], seed, kind)
        _write_answer(partial, kind, seed, size, driving, {"visual": visual, "textual": textual}, content)
        _write_truth(partial, preferences, latents[visual], latents[textual], user_ids, item_ids)


def write_outside_items(folder: Path, seed: int, n: int) -> None:
    """Write ``n`` items outside every catalogue: items.csv, images/ and labels.csv into ``folder``.

    Pictures and texts are of the same kinds; ids (``X0001``) and random streams are others. labels.csv has the level
    0..4 of each factor of an item: ``visual_hue`` …, ``textual_mood`` …. The first :data:`SHARED_OUTSIDE` visual and
    textual factors are equal (hue with mood, height with age), the others independent. So picture and text agree in
    part: enough to align encoders on pairs, and nothing from which an encoder of one modality could learn of the other.
    Raises ConfigError for ``n`` below 1, DataError for a folder that holds files or cannot be written.
    """
    if n < 1:
        raise ConfigError(f"outside items: n = {n} is not valid; give at least 1")
    visual = _latent(n, seed, "outside/visual")
    textual = _latent(n, seed, "outside/textual")
    textual[:, :SHARED_OUTSIDE] = visual[:, :SHARED_OUTSIDE]
    ids = _ids("X", n)
    labels = np.concatenate([_levels(visual), _levels(textual)], axis=1)
    names = [f"visual_{name}" for name in VISUAL_FACTORS] + [f"textual_{name}" for name in TEXTUAL_FACTORS]
    with new_folder(folder) as partial:
        _write_items(partial, ids, visual, textual, seed, "outside")
        rows = [[item_id, *map(int, row)] for item_id, row in zip(ids, labels, strict=True)]
        write_table(partial / "labels.csv", ["item_id", *names], rows)


def _latent(count: int, seed: int, name: str) -> FloatArray:
    """Factors [item, 4] in [0, 1), independent of each other, each spread evenly: one value per count-th of [0, 1)."""
    stream = numpy_stream(seed, name)
    places = np.stack([stream.permutation(count) for _ in range(_N_FACTORS)], axis=1)
    return (places + stream.uniform(size=places.shape)) / count


def _standardise(factors: FloatArray) -> FloatArray:
    """Uniform on [0, 1) → mean 0, variance 1."""
    return (factors - 0.5) * np.sqrt(12.0)


def _levels(factors: FloatArray) -> IntArray:
    return np.floor(factors * LEVELS).astype(np.int64)


def _ids(prefix: str, count: int) -> list[str]:
    width = max(4, len(str(count)))
    return [f"{prefix}{number:0{width}d}" for number in range(1, count + 1)]


def _write_items(
    folder: Path, item_ids: Sequence[str], visual: FloatArray, textual: FloatArray, seed: int, space: str
) -> None:
    """items.csv and images/; texts tell the level of a factor, pictures show its value."""
    (folder / "images").mkdir()
    pictures = draw(visual, numpy_stream(seed, f"{space}/drawing"))
    entries = draw_entries(_levels(textual), numpy_stream(seed, f"{space}/wording"))
    rows = []
    for item_id, picture, entry in zip(item_ids, pictures, entries, strict=True):
        write_png(picture, folder / "images" / f"{item_id}.png")
        rows.append([item_id, *astuple(entry), f"images/{item_id}.png"])
    write_table(folder / "items.csv", ["item_id", "title", "description", "brand", "categories", "image"], rows)


def _write_answer(
    folder: Path,
    kind: str,
    seed: int,
    size: ControlSize,
    driving: tuple[str, ...],
    shown: dict[str, str],
    content: float,
) -> None:
    def side(case: tuple[str, str]) -> dict[str, str]:
        return {"modalities": case[0], "control": case[1]}

    answer: dict[str, object] = {
        "kind": kind,
        "seed": seed,
        "generator": GENERATOR_VERSION,
        "size": size.model_dump(),
        "sentence": ANSWERS[kind],
        "factors": {"visual": list(VISUAL_FACTORS), "textual": list(TEXTUAL_FACTORS)},
        "shown": shown,  # the latent that each modality shows
        "preferred": list(driving),  # the latents that drive the interactions
        "expected": [
            {"left": side(left), "relation": relation, "right": side(right)}
            for left, relation, right in _EXPECTED[kind]
        ],
    } | ({"content": content} if content < 1 else {})
    text = json.dumps(answer, indent=2, ensure_ascii=False) + "\n"
    (folder / "planted.json").write_text(text, encoding="utf-8", newline="\n")


def _write_truth(
    folder: Path,
    preferences: Preferences,
    visual: FloatArray,
    textual: FloatArray,
    user_ids: list[str],
    item_ids: list[str],
) -> None:
    """The arrays behind the answer: ``utility = sharpness × taste @ latent.T + bias`` ranks like an oracle."""
    np.savez(
        folder / "planted.npz",
        taste=preferences.taste, latent=preferences.latent, bias=preferences.bias,
        sharpness=np.float64(preferences.sharpness), visual=_standardise(visual), textual=_standardise(textual),
        user_ids=np.array(user_ids), item_ids=np.array(item_ids),
    )  # fmt: skip
