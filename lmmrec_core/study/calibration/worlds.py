"""The fresh worlds of the calibration: synthetic catalogues whose truth is known, and the runs that each needs.

A world is a controls data set of the track's own size and settings under another generator seed. The seeds from 5026 on
are used here and nowhere else: no setting of generator, models, training or tests was ever chosen on such a world. The
null worlds 5001 to 5025 were looked at when the test was chosen, so they are in no group.
"""

from dataclasses import dataclass
from typing import Any

from lmmrec_core.data.controls import GENERATOR_VERSION
from lmmrec_core.digests import digest
from lmmrec_core.errors import ConfigError, unknown
from lmmrec_core.names import BASELINE
from lmmrec_core.questions import (
    MODALITY_SPECIFIC,
    PICTURES_ALONE,
    PICTURES_AND_NOISE,
    PICTURES_TWICE,
    SHUFFLED,
    TEXTS_AND_NOISE,
    Pair,
    Variant,
)
from lmmrec_core.study.cases import Case, declared_digest
from lmmrec_core.study.track import DatasetSettings, TrackSettings

KEPT_METRICS = ("recall@20", "ndcg@20")  # kept of every world
WORLDS = {"null": 200, "planted": 20, "power": 20, "capacity": 10}  # of each group, unless told otherwise
CPU_SECONDS = {"null": 45.0, "planted": 90.0, "power": 22.0, "capacity": 240.0}  # of a world, measured on one machine

_MODELS = ("vbpr", "lattice")  # one whose loss reads content at every step, one that reads it through a graph
_CONTENT, _SHUFFLED = MODALITY_SPECIFIC, SHUFFLED.b


@dataclass(frozen=True)
class Group:
    """Worlds of one part that differ by their seed alone: ``first``, and those that follow it."""

    part: str
    kind: str
    first: int
    most: int
    content: float = 1.0  # the planted effect, see ``data.controls.write_controls``
    models: tuple[str, ...] = _MODELS
    variants: tuple[Variant, ...] = (_CONTENT, _SHUFFLED)
    further: tuple[Pair, ...] = ()  # tested beside those that the questions plan, in no family

    @property
    def block(self) -> int:
        """How many worlds learn together how a model varies over seeds: as many as have about ten cells."""
        return -(-_CELLS // len(self.variants))


_CELLS = 10  # of a model on one data set, about as many as the study's tables have
_EFFECTS = (0.0, 0.05, 0.1, 0.2, 0.4)  # of the power curve; the whole effect is that of the planted worlds
GROUPS: tuple[Group, ...] = (
    Group("null", "null", 5026, 900),
    Group(
        "planted", "complementary", 6001, 500,
        variants=(_CONTENT, _SHUFFLED, PICTURES_AND_NOISE.b, TEXTS_AND_NOISE.b),
    ),
    Group("planted", "redundant", 6501, 500, variants=(_CONTENT, _SHUFFLED, PICTURES_AND_NOISE.b, TEXTS_AND_NOISE.b)),
    *(
        Group("power", "complementary", 7001 + 100 * place, 100, content=effect, models=("vbpr",))
        for place, effect in enumerate(_EFFECTS)
    ),
    # of the models that the study compares, the one whose modalities share least: a network and a table for each
    Group(
        "capacity", "null", 8001, 500, models=("mmgcn",), further=(PICTURES_TWICE,),
        variants=(_CONTENT, PICTURES_ALONE.b, PICTURES_TWICE.a, PICTURES_AND_NOISE.b),
    ),
)  # fmt: skip


@dataclass(frozen=True)
class DrawnWorld:
    """One world of a group, and what is trained on it with every seed of the track."""

    group: Group
    seed: int

    @property
    def part(self) -> str:
        return self.group.part

    @property
    def kind(self) -> str:
        return self.group.kind

    @property
    def models(self) -> tuple[str, ...]:
        return self.group.models

    @property
    def name(self) -> str:
        """Unique within the part, and sorts in the order of the seeds."""
        return f"{self.kind}-{self.seed}"

    def dataset(self, track: TrackSettings) -> DatasetSettings:
        """The settings of its data set: those of the track's control of the same kind, under this seed."""
        like = track.dataset(self.kind)
        effect = {"content": self.group.content} if self.group.content < 1 else {}
        return like.model_copy(update={"options": {**like.options, "kind": self.kind, "seed": self.seed, **effect}})

    def track(self, track: TrackSettings) -> TrackSettings:
        """The track with this world as its data set; settings that were searched on the track's own are left out."""
        return track.model_copy(update={"datasets": {self.kind: self.dataset(track)}, "searched": ()})

    def cases(self, model: str, track: TrackSettings) -> list[Case]:
        """The runs of one model, by variant and seed."""
        place = {"track": track.name, "dataset": self.kind, "model": model}
        fields = ("encoder", "paradigm", "modalities", "control")
        return [
            Case.build({**place, **{name: getattr(variant, name) for name in fields}, "seed": seed}, "calibration")
            for variant in self.group.variants
            for seed in track.seeds
        ]

    def declared(self, track: TrackSettings) -> str:
        """Digest of everything that is declared for its runs: tells today's results from yesterday's."""
        here = self.track(track)
        runs = [
            {**case.model_dump(exclude={"track", "arm", "split"}), "declared": declared_digest(here, case.model_dump())}
            for model in self.models
            for case in self.cases(model, here)
        ]
        return digest({"generator": GENERATOR_VERSION, "runs": runs})


def groups_of(part: str) -> list[Group]:
    """The groups of a part. Raises ConfigError for a part without worlds."""
    found = [group for group in GROUPS if group.part == part]
    if not found:
        raise unknown("part with worlds", part, WORLDS)
    return found


def worlds_of(part: str, count: int | None = None) -> list[DrawnWorld]:
    """The worlds of a part, ``count`` of each group. Raises ConfigError for a count that is out of range."""
    count = WORLDS[part] if count is None else count
    groups = groups_of(part)
    most = min(group.most for group in groups)
    if not 1 <= count <= most:
        raise ConfigError(
            f"--worlds {count}: part {part} has 1 to {most} worlds of a group; write --worlds {WORLDS[part]}"
        )
    return [DrawnWorld(group, group.first + number) for group in groups for number in range(count)]


def encoder_cases(track: TrackSettings) -> list[Case]:
    """A case of the encoder that all worlds use, on a data set of the track: for its weights, which worlds share."""
    content: dict[str, Any] = {"encoder": BASELINE, "modalities": "V&T"}
    return [Case.build({"track": track.name, "dataset": "null", "model": "vbpr", **content}, "calibration")]
