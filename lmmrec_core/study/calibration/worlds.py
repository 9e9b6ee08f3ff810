"""The fresh worlds of the calibration: synthetic catalogues whose truth is known, and the runs that each needs.

A world is a controls data set of the track's own size and settings under another generator seed. The seeds from 5001 on
are used here and nowhere else: no setting of generator, models, training or tests was ever chosen on such a world.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lmmrec_core.data.controls import GENERATOR_VERSION
from lmmrec_core.digests import digest
from lmmrec_core.errors import ConfigError
from lmmrec_core.names import BASELINE
from lmmrec_core.questions import (
    MODALITY_SPECIFIC,
    PICTURES_ALONE,
    PICTURES_AND_NOISE,
    SHUFFLED,
    TEXTS_ALONE,
    TEXTS_AND_NOISE,
    Variant,
)
from lmmrec_core.study.cases import Case
from lmmrec_core.study.track import DatasetSettings, TrackSettings, declared_digest

#: Part → seed of its first world. A part may have as many worlds as there are seeds up to the next.
FIRST_SEED = {"null": 5001, "planted": 6001, "power": 7001}
_ROOM = 1000
WORLDS = {"null": 200, "planted": 20, "power": 20}  # of each kind or strength, unless told otherwise
CPU_SECONDS = {"null": 60.0, "planted": 120.0, "power": 30.0}  # of a world, measured on one machine

_CONTENT, _SHUFFLED = MODALITY_SPECIFIC, SHUFFLED.b
_VARIANTS: Mapping[str, tuple[Variant, ...]] = {
    "null": (_CONTENT, _SHUFFLED),
    "complementary": (_CONTENT, _SHUFFLED, PICTURES_AND_NOISE.b, TEXTS_AND_NOISE.b),
    "redundant": (_CONTENT, _SHUFFLED, PICTURES_ALONE.b, TEXTS_ALONE.b),
}
_MODELS = ("vbpr", "lattice")  # one whose loss reads content at every step, one that reads it through a graph


@dataclass(frozen=True)
class DrawnWorld:
    """One world of a part, and what is trained on it with every seed of the track."""

    part: str
    kind: str
    seed: int
    models: tuple[str, ...] = _MODELS
    variants: tuple[Variant, ...] = field(default=_VARIANTS["null"])

    @property
    def name(self) -> str:
        """Unique within the part, and sorts in the order of the worlds."""
        return f"{self.kind}-{self.seed}"

    def dataset(self, track: TrackSettings) -> DatasetSettings:
        """The settings of its data set: those of the track's control of the same kind, under this seed."""
        like = track.dataset(self.kind)
        return like.model_copy(update={"options": {**like.options, "kind": self.kind, "seed": self.seed}})

    def track(self, track: TrackSettings) -> TrackSettings:
        """The track with this world as its data set."""
        return track.model_copy(update={"datasets": {self.kind: self.dataset(track)}})

    def cases(self, model: str, track: TrackSettings) -> list[Case]:
        """The runs of one model, by variant and seed."""
        place = {"track": track.name, "dataset": self.kind, "model": model}
        fields = ("encoder", "paradigm", "modalities", "control")
        return [
            Case.build({**place, **{name: getattr(variant, name) for name in fields}, "seed": seed}, "calibration")
            for variant in self.variants
            for seed in track.seeds
        ]

    def declared(self, track: TrackSettings) -> str:
        """Digest of everything that is declared for its runs: tells today's results from yesterday's."""
        here = self.track(track)
        runs = [
            {**case.model_dump(exclude={"track"}), "declared": declared_digest(here, case.model_dump())}
            for model in self.models
            for case in self.cases(model, here)
        ]
        return digest({"generator": GENERATOR_VERSION, "runs": runs})


def worlds_of(part: str, count: int | None = None) -> list[DrawnWorld]:
    """The worlds of a part in order; ``count`` of each kind. Raises ConfigError for a count that is out of range."""
    count = WORLDS[part] if count is None else count
    if not 1 <= count <= _ROOM // 2:
        raise ConfigError(f"--worlds {count}: write a number from 1 to {_ROOM // 2}, for instance {WORLDS[part]}")
    first = FIRST_SEED[part]
    if part == "null":
        return [DrawnWorld(part, "null", first + number) for number in range(count)]
    raise ConfigError(f"part {part!r} has no worlds")


def encoder_cases(track: TrackSettings) -> list[Case]:
    """A case of the encoder that all worlds use, on a data set of the track: for its weights, which worlds share."""
    content: dict[str, Any] = {"encoder": BASELINE, "modalities": "V&T"}
    return [Case.build({"track": track.name, "dataset": "null", "model": "vbpr", **content}, "calibration")]
