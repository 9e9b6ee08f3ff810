"""The multi-modal encoders of a track: what its file says about them, and the weights made from that, kept by recipe.

PT: published weights, or weights that we pre-train on items outside every catalogue. FT: those tuned on the pictures
and texts of one catalogue, once for each seed. ETE starts from PT and is trained with a recommender (``study/run.py``).
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from lmmrec_core.config import Settings
from lmmrec_core.data.controls import GENERATOR_VERSION
from lmmrec_core.digests import digest, file_sha256
from lmmrec_core.encoders import ENCODERS
from lmmrec_core.encoders.fine_tuning.holdout import LEAST_SHARE, ample_share
from lmmrec_core.encoders.fine_tuning.settings import FineTuneSettings
from lmmrec_core.errors import ConfigError, unknown
from lmmrec_core.flow import MODALITIES, Modality
from lmmrec_core.names import Precision
from lmmrec_core.roles import LearnsLevels
from lmmrec_core.study.datasets import Dataset, require_below
from lmmrec_core.study.track import TrackSettings, is_multimodal
from lmmrec_core.study.workspace import Workspace
from lmmrec_core.training.joint.settings import EndToEndSettings

RECIPE_VERSION = 1  # raise it with every change of how weights are made from a recipe


class PretrainSettings(Settings):
    """How weights of ours are made, on items that are in no catalogue.

    ``source``: "controls" draws ``items`` items with ``seed``; "folder" reads ``path`` below the data root, after
    showing that none of its items is in a catalogue of the track. ``level_epochs``: so long the towers first learn to
    name the levels of the controls' factors, each those of its own modality. ``how``: "tune" trains with ``tune``;
    "cca" sets the common space of clip-small or vlmo-small in closed form, and trains on from there if ``tune`` is
    given. ``mispaired``: the share of pairs, none of them held out, whose texts change places first, to see what
    alignment is worth; towers that learn levels learn them before.
    """

    source: Literal["controls", "folder"]
    items: int | None = Field(None, ge=20)
    seed: int | None = None
    path: str = ""
    how: Literal["tune", "cca"] = "tune"
    level_epochs: int = Field(0, ge=0)
    mispaired: float = Field(0.0, ge=0, lt=1)
    tune: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _whole(self) -> "PretrainSettings":
        if self.source == "controls" and (self.items is None or self.seed is None):
            raise ValueError("source controls needs items and seed")
        if self.level_epochs and self.source != "controls":
            raise ValueError("level_epochs needs source controls, whose items come with levels")
        idle = "path" if self.source == "controls" else "items"
        if getattr(self, idle):
            raise ValueError(f"{idle} has no effect with source {self.source}; remove it")
        if self.source == "folder" and not self.path:
            raise ValueError("source folder needs path, below the data root")
        return self


class MemberSettings(Settings):
    """An encoder of one modality with settings of its own."""

    encoder: str
    settings: dict[str, Any] = Field(default_factory=dict)


class SeparateSettings(Settings):
    """One entry under ``encoders`` of a track file that names an encoder for each modality.

    ``ready`` takes the features that the catalogue brings. ``outside_items`` and ``seed`` are for encoders that are
    trained from scratch, on so many drawn items.
    """

    visual: str | MemberSettings | None = None
    textual: str | MemberSettings | None = None
    outside_items: int | None = Field(None, ge=20)
    seed: int | None = Field(None, ge=0)

    @model_validator(mode="after")
    def _some(self) -> "SeparateSettings":
        if self.visual is None and self.textual is None:
            raise ValueError("it names no encoder; write visual, textual, or encoder (one for both)")
        return self

    def members(self) -> dict[Modality, MemberSettings | str]:
        """Modality → encoder, without ready features."""
        named: dict[Modality, MemberSettings | str | None] = {"visual": self.visual, "textual": self.textual}
        return {modality: member for modality, member in named.items() if member is not None and member != "ready"}


class MultimodalSettings(Settings):
    """One entry under ``encoders`` of a track file: an encoder of both modalities and how it is trained.

    ``settings`` are those of the encoder's class; a relative path there is below the data root. ``precision`` bf16:
    features are extracted in bfloat16 if a sample agrees with fp32. ``rotated``: the rows of one modality are turned by
    a random orthogonal matrix, which keeps all they say of each other and loses the space shared with the other.
    """

    encoder: str
    settings: dict[str, Any] = Field(default_factory=dict)
    precision: Precision = "fp32"
    rotated: Modality | None = None
    pretrain: PretrainSettings | None = None
    fine_tune: dict[str, Any] = Field(default_factory=dict)
    end_to_end: dict[str, Any] = Field(default_factory=dict)


def read_separate(track: TrackSettings, name: str) -> SeparateSettings:
    """The checked entry ``name``, of encoders for one modality each. Raises ConfigError naming track and setting."""
    return SeparateSettings.build(track.encoder(name), f"track {track.name!r}, encoders, {name}")


def read_entry(track: TrackSettings, name: str) -> MultimodalSettings:
    """The checked entry ``name``. Raises ConfigError naming track, entry and setting."""
    where = f"track {track.name!r}, encoders, {name}"
    entry = MultimodalSettings.build(track.encoder(name), where)
    if entry.encoder not in ENCODERS:
        raise unknown("encoder", entry.encoder, ENCODERS, where)
    if entry.pretrain is not None:
        made = FineTuneSettings.build(entry.pretrain.tune, f"{where}, pretrain, tune")
        if made.part == "lora":
            raise ConfigError(f"{where}, pretrain, tune: part 'lora' adapts weights that are there; write all or heads")
    FineTuneSettings.build(entry.fine_tune, f"{where}, fine_tune")
    if "seed" in entry.fine_tune:
        raise ConfigError(f"{where}, fine_tune: the seed is that of the run; leave it out")
    EndToEndSettings.build(entry.end_to_end, f"{where}, end_to_end")
    return entry


@contextmanager
def naming_entry(track: TrackSettings, name: str, key: str) -> Iterator[None]:
    """A ConfigError inside says in which entry of the track file, and under which of its keys."""
    where = f"track {track.name!r}, encoders, {name}"
    try:
        yield
    except ConfigError as error:
        raise error if where in str(error) else ConfigError(f"{where}, {key}: {error}") from None


def check_entry(track: TrackSettings, name: str) -> None:
    """Raises ConfigError for anything in the entry ``name`` that nobody has, settings of its encoders included."""
    if is_multimodal(track.encoder(name)):
        entry = read_entry(track, name)
        both = MemberSettings(encoder=entry.encoder, settings=entry.settings)
        members: dict[str, MemberSettings | str] = {"encoder": both}
    else:
        members = {modality: member for modality, member in read_separate(track, name).members().items()}
    for place, member in members.items():
        key = member if isinstance(member, str) else member.encoder
        where = f"track {track.name!r}, encoders, {name}"
        if key not in ENCODERS:
            raise unknown("encoder", key, ENCODERS, f"{where}, {place}")
        if place in MODALITIES and place not in (can := _modalities(key)):
            raise ConfigError(f"{where}, {place}: {key} encodes {' and '.join(can)} alone; name another")
        if not isinstance(member, str):
            ENCODERS[key].Settings.build(member.settings, f"{where}, settings of {key}")
    said = track.encoder(name)
    learning = any(
        isinstance(member, str) and isinstance(ENCODERS[member], LearnsLevels) for member in members.values()
    )
    for key in ("outside_items", "seed"):
        if key in said and not is_multimodal(said) and not learning:
            raise ConfigError(
                f"track {track.name!r}, encoders, {name}: {key} has no effect: none of its encoders is trained from "
                "scratch; remove it"
            )


def _modalities(encoder: str) -> tuple[Modality, ...]:
    """What an encoder says that it encodes; all, where only its weights decide."""
    found: Any = getattr(ENCODERS[encoder], "modalities", MODALITIES)
    return tuple(found) if isinstance(found, tuple) else MODALITIES


def end_to_end_settings(
    track: TrackSettings, name: str, overrides: Mapping[str, Any] | None = None
) -> EndToEndSettings:
    """How an encoder is trained with a recommender: the entry's ``end_to_end`` with ``overrides``.

    Raises ConfigError for an entry whose features are rotated, which are not what the encoder gives.
    """
    entry = read_entry(track, name)
    if entry.rotated is not None:
        raise ConfigError(
            f"track {track.name!r}, encoders, {name}: its features are rotated, so paradigm ETE cannot train them; "
            "use PT or FT"
        )
    values = {**entry.end_to_end, **(overrides or {})}
    return EndToEndSettings.build(values, f"track {track.name!r}, encoders, {name}, end_to_end")


@dataclass(frozen=True)
class Recipe:
    """Everything that decides an encoder's weights, as plain values; equal recipes give equal weights."""

    entry: MultimodalSettings
    paradigm: Literal["PT", "FT"]
    values: Mapping[str, Any]

    @property
    def key(self) -> str:
        return digest(self.values)


def recipe_of(workspace: Workspace, name: str, paradigm: str, dataset: Dataset, seed: int | None = None) -> Recipe:
    """The recipe of an encoder's weights before a recommender is trained: for ETE that of PT.

    Only FT depends on the data set and on ``seed``, that of the run: so its cells vary over seeds as the others do.
    Nothing is trained, and nothing is read but files of weights. Raises ConfigError for FT without a seed.
    """
    entry = read_entry(workspace.track, name)
    with naming_entry(workspace.track, name, "settings"):
        own_settings = _without_paths(resolved_settings(entry, workspace.data))
    values: dict[str, Any] = {"version": RECIPE_VERSION, "encoder": entry.encoder, "settings": own_settings}
    if entry.pretrain is not None:
        own: dict[str, Any] = {"generator": GENERATOR_VERSION}
        if entry.pretrain.source == "folder":
            table = require_below(workspace.data, entry.pretrain.path, name) / "items.csv"
            own = {"items": _table_digest(table), "held_out": LEAST_SHARE}  # drawn items need none: more can be drawn
        values["pretrain"] = {**entry.pretrain.model_dump(mode="json", exclude=_unset(entry.pretrain)), **own}
    if paradigm != "FT":
        return Recipe(entry, "PT", values)
    if seed is None:
        raise ConfigError(f"encoder {name!r}, FT: its weights are those of a run's seed; give one")
    declared = FineTuneSettings.build({**entry.fine_tune, "seed": seed}, f"encoders, {name}, fine_tune")
    settings = declared.model_dump(mode="json", exclude={"device", "checkpoint_seconds", "micro_batch"})
    share = ample_share(dataset.catalogue.n_items)
    return Recipe(entry, "FT", {**values, "fine_tune": settings, "held_out": share, "catalogue": dataset.identity})


def _unset(pretrain: PretrainSettings) -> set[str]:
    """Settings that came later: recipes of weights made before do not have them."""
    return set() if pretrain.mispaired else {"mispaired"}


def resolved_settings(entry: MultimodalSettings, data: Path | None) -> dict[str, Any]:
    """The entry's settings with a relative file of weights looked up below the data root.

    Raises ConfigError where it needs the data root and none was given.
    """
    values = dict(entry.settings)
    weights = values.get("weights")
    if weights is not None and not Path(weights).is_absolute():
        if data is None:
            raise ConfigError(f"encoder {entry.encoder!r} reads {weights} below the data folder; give it: DATA=FOLDER")
        values["weights"] = str(data / weights)
    return values


def _without_paths(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with a file or folder replaced by its content's digest: its path says nothing."""
    values = dict(settings)
    if values.get("weights") is not None:
        path = Path(values.pop("weights"))
        if not path.is_file():
            raise ConfigError(f"weights {path} not found; put the file there, or name another in the track file")
        values["weights_sha256"] = file_sha256(path)
    if "model" in values and Path(str(values["model"])).is_dir():
        folder = Path(values.pop("model"))
        files = sorted(file for file in folder.rglob("*") if file.is_file())
        values["model_sha256"] = digest([[str(file.relative_to(folder)), file_sha256(file)] for file in files])
    return values


def _table_digest(path: Path) -> str:
    if not path.is_file():
        raise ConfigError(f"{path} not found; it lists the items to pre-train on")
    return file_sha256(path)
