"""A track: which data sets, encoders, models, settings and seeds a reproduction uses; written as YAML."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from lmmrec_core.config import PlainName, Settings
from lmmrec_core.data import SOURCES
from lmmrec_core.data.splitting import REDRAWN
from lmmrec_core.errors import unknown
from lmmrec_core.names import (
    ENCODER_TITLES,
    MEMBER_TITLES,
    PARADIGMS,
    MissingRule,
    SplitRule,
)
from lmmrec_core.source import DrawnSource
from lmmrec_core.study.declared.searched import SearchedCell
from lmmrec_core.training.joint.settings import with_later_settings

# how a run is done; a GPU draws other orders and negatives from the seed
UNIDENTIFIED = frozenset({"checkpoint_seconds", "device", "threads"})
OF_ENCODER = "end_to_end."  # before the name of a setting of end-to-end training, in an arm or among overrides


class SplitSettings(Settings):
    """How the interactions of a data set are divided."""

    rule: SplitRule = "mmrec"
    seed: int | None = 2026
    spare: int | None = Field(None, description="seed of another split, whose test rows are left out of this one")


class DatasetSettings(Settings):
    """One data set of a track."""

    title: str
    source: str = Field(description="a data format: a name of data.SOURCES")
    path: str = Field("", description="below the data root; empty for generated data")
    options: dict[str, Any] = Field(default_factory=dict, description="settings of the source")
    k_core: int | None = Field(5, ge=1, description="least interactions of users and items; None keeps all")
    split: SplitSettings = SplitSettings()
    note: str = ""

    @property
    def is_drawn(self) -> bool:
        """Whether its catalogue is drawn here instead of given: no folder of data is needed."""
        return isinstance(SOURCES[self.source], DrawnSource)

    @property
    def planted(self) -> str:
        """The kind of control whose answers were planted in it; "" for other data, and if content shows but a part."""
        if self.source != "controls":
            return ""
        made = SOURCES[self.source].Settings.build(self.options, "options of a control").model_dump()
        return str(made["kind"]) if made["content"] == 1 else ""

    @model_validator(mode="after")
    def _nothing_idle(self) -> Self:
        """What is said has an effect; what was left out may have none."""
        if self.path and self.is_drawn:
            raise ValueError(f"path {self.path!r} has no effect: data of source {self.source!r} are drawn; remove it")
        if not self.path and not self.is_drawn:
            raise ValueError(f"source {self.source!r} reads files; give their folder below the data root as path")
        if self.split.rule in REDRAWN and self.split.seed is None:
            raise ValueError(f"split rule {self.split.rule!r} draws at random; give it a seed, or leave seed out")
        if self.split.rule == "given" and self.k_core not in (None, 1):
            raise ValueError(
                f"k_core {self.k_core} would take rows out of the split that the data bring, which stays as it is; "
                "write k_core: null, or another split rule"
            )
        if self.split.rule not in REDRAWN and "seed" in self.split.model_fields_set and self.split.seed is not None:
            raise ValueError(
                f"seed {self.split.seed} has no effect: split rule {self.split.rule!r} draws nothing; remove it"
            )
        return self

    @property
    def collection(self) -> str:
        """What it is a part or a version of: the folder of its data, or its source where it is drawn here."""
        return self.path.partition("/")[0] or self.source

    def declared(self) -> dict[str, Any]:
        """What results depend on."""
        aside: dict[str, Any] = {"title": True, "note": True}
        return self.model_dump(exclude=aside if self.split.spare is not None else {**aside, "split": {"spare"}})

    @field_validator("source")
    @classmethod
    def _known_source(cls, value: str) -> str:
        if value not in SOURCES:
            raise ValueError(str(unknown(SOURCES.kind, value, SOURCES)))
        return value


class EvaluationSettings(Settings):
    """The ranking protocol: seen training items are never ranked."""

    k: int = Field(50, ge=20, le=10_000, description="length of the stored lists")
    mask_valid: bool = Field(False, description="take validation items out of the test ranking")


class CellRule(Settings):
    """A rule about cells of the grid, by names of each kind that it has; a field left out fits all."""

    def fits(self, case: Mapping[str, Any]) -> bool:
        """Whether the rule is about a case."""
        for name in ("dataset", "model", "encoder", "paradigm", "modalities", "control"):
            wanted = getattr(self, name if name == "modalities" else f"{name}s", None)
            if wanted is not None and case[name] not in wanted:
                return False
        return True


class GridCells(CellRule):
    """Cells of the grid, of any kind."""

    datasets: tuple[str, ...] | None = None
    models: tuple[str, ...] | None = None
    encoders: tuple[str, ...] | None = None
    paradigms: tuple[str, ...] | None = None
    modalities: tuple[str, ...] | None = None
    controls: tuple[str, ...] | None = None


class LeftOut(GridCells):
    """Cells of the grid that a track does not run, or runs with its first seeds only."""

    seeds: int = Field(0, ge=0, description="how many of the track's seeds are run")
    why: str = Field(min_length=1, description="shown where a table says that a cell was not run")

    def holds(self, case: Mapping[str, Any], seeds: Sequence[int]) -> bool:
        """Whether the rule leaves a case out; ``seeds`` are the track's."""
        return self.fits(case) and (self.seeds == 0 or case["seed"] in seeds[self.seeds :])


class FurtherSplits(GridCells):
    """Cells that are run on other splits too, by the rule of their data set; arms are not, unless named."""

    splits: tuple[int, ...] = Field(min_length=1, description="their seeds")
    arms: tuple[str, ...] = ("none",)

    @field_validator("splits")
    @classmethod
    def _are_seeds(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(value)) < len(value) or min(value) < 1:
            raise ValueError("seeds of further splits must be distinct, and at least 1")
        return value


class ArmSettings(CellRule):
    """Cells that are run a second time under other settings, to see what these do."""

    settings: dict[str, Any] = Field(min_length=1, description="of the model, its training or end_to_end.NAME")
    datasets: tuple[str, ...] | None = None
    models: tuple[str, ...] | None = None
    encoders: tuple[str, ...] | None = None
    paradigms: tuple[str, ...] | None = None
    why: str = Field(min_length=1, description="shown under the table of arms")

    def changes_nothing(self, run: Mapping[str, Any]) -> bool:
        """Whether a stored run of the cell has the arm's settings anyway, for instance because a search found them.

        Such an arm is the same run: it is trained once, as the cell, and its row says so.
        """
        had = settings_that_count(run)
        return all(
            key in had and had[key] == (list(value) if isinstance(value, tuple) else value)
            for key, value in _that_count(self.settings).items()
        )


def settings_that_count(run: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a stored run, from its record, that decide what comes out, by their names in an arm.

    Those of end-to-end training begin with :data:`OF_ENCODER`; what is newer than the record stands as the run had it.
    """
    found = {**run["settings"]["training"], **run["settings"]["model"]}
    if joint := ((run["training"] or {}).get("features") or {}).get("settings"):
        found |= {f"{OF_ENCODER}{name}": value for name, value in with_later_settings(joint).items()}
    return _that_count(found)


def _that_count(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name.removeprefix(OF_ENCODER) not in UNIDENTIFIED}


class WarmStartSettings(CellRule):
    """Which end-to-end cells, with both modalities, are run a second time from a recommender trained under PT."""

    datasets: tuple[str, ...]
    models: tuple[str, ...]
    encoders: tuple[str, ...]


class NotSearched(CellRule):
    """Cells that are not searched but set as those of their model and encoder under PT."""

    datasets: tuple[str, ...] | None = None
    models: tuple[str, ...] | None = None
    encoders: tuple[str, ...] | None = None
    paradigms: tuple[Literal["FT", "ETE"], ...] = ("FT", "ETE")
    why: str = Field(min_length=1, description="shown where the searched settings are listed")


class SearchedLater(CellRule):
    """Cells that do not hold up the searched settings of the others, and are not run before they are searched too."""

    datasets: tuple[str, ...] | None = None
    models: tuple[str, ...] | None = None
    encoders: tuple[str, ...] | None = None
    why: str = Field(min_length=1, description="shown where the searched settings are listed")


class TrackSettings(Settings):
    """All of a track. ``models`` maps a model to its settings; ``encoders`` an encoder to its members.

    Its grid holds every model and every encoder that is named here, see ``study/cases.py``.
    """

    name: PlainName
    title: str
    description: str
    where: str = Field(description="where this track can be run, in words")
    datasets: dict[PlainName, DatasetSettings]
    encoders: dict[PlainName, dict[str, Any]]
    missing: MissingRule = "mean"
    normalise_features: bool = Field(True, description="feature rows of unit length in every model that can do so")
    models: dict[PlainName, dict[str, Any]]
    training: dict[str, Any] = Field(default_factory=dict)
    evaluation: EvaluationSettings = EvaluationSettings()
    seeds: tuple[int, ...]
    device: str = Field("cpu", pattern=r"^(cpu|auto|cuda(:\d+)?)$", description="auto: the GPU if there is one")
    ablate: dict[str, tuple[str, ...]] | None = Field(
        None, description="multi-modal encoder → paradigms under which modalities are removed or shuffled; None: all"
    )
    left_out: tuple[LeftOut, ...] = Field((), description="cells of the grid that are not run, and why")
    further_splits: tuple[FurtherSplits, ...] = ()
    warm_start: WarmStartSettings | None = None
    kept_models: tuple[GridCells, ...] = ()  # cells whose model stays beside the result of the first seed
    arms: dict[PlainName, ArmSettings] = Field(default_factory=dict, description="cells under other settings, by name")
    searched: tuple[SearchedCell, ...] = Field((), description="settings that a search found, by cell")
    not_searched: tuple[NotSearched, ...] = Field((), description="cells too dear to search, and why")
    searched_later: tuple[SearchedLater, ...] = Field((), description="cells that wait for their search, and why")

    @field_validator("seeds")
    @classmethod
    def _are_seeds(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not value or len(set(value)) < len(value) or min(value) < 0:
            raise ValueError(
                "seeds must be distinct whole numbers from 0, and at least one; write for instance [1, 2, 3]"
            )
        return value

    @field_validator("models")
    @classmethod
    def _training_by_name(cls, value: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        for name, settings in value.items():
            if not isinstance(own := settings.get("training", {}), dict):
                raise ValueError(f"training of {name!r} is {own!r}; write settings by name, as training: {{steps: 30}}")
        return value

    @field_validator("encoders")
    @classmethod
    def _encoder_is_named(cls, value: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        if "none" in value:
            raise ValueError("'none' stands for models without content; give the encoder another name")
        return value

    @field_validator("arms")
    @classmethod
    def _arm_is_named(cls, value: dict[str, ArmSettings]) -> dict[str, ArmSettings]:
        if "none" in value:
            raise ValueError("arm 'none' is the cell itself; give the arm another name")
        return value

    @field_validator("warm_start")
    @classmethod
    def _known_names(cls, value: WarmStartSettings | None, info: ValidationInfo) -> WarmStartSettings | None:
        for kind in WarmStartSettings.model_fields if value else ():
            for name in getattr(value, kind):
                if name not in info.data.get(kind, [name]):
                    raise ValueError(str(unknown(kind.removesuffix("s"), name, info.data[kind])))
        return value

    def starts_warm(self, dataset: str, model: str, encoder: str) -> bool:
        """Whether a cell of the grid is among those of ``warm_start``."""
        cell = {"dataset": dataset, "model": model, "encoder": encoder}
        return self.warm_start is not None and self.warm_start.fits(cell)

    def splits_beyond(self, case: Mapping[str, Any]) -> tuple[int, ...]:
        """The seeds of the further splits on which a case is run too, in the order of the file."""
        found = [rule.splits for rule in self.further_splits if rule.fits(case) and case["arm"] in rule.arms]
        return tuple(dict.fromkeys(split for splits in found for split in splits))

    @property
    def is_drawn(self) -> bool:
        """Whether all its catalogues are drawn here, and so are small."""
        return all(dataset.is_drawn for dataset in self.datasets.values())

    def dataset(self, name: str) -> DatasetSettings:
        """The settings of a data set; ConfigError with the nearest name when there is none."""
        if name not in self.datasets:
            raise unknown("dataset", name, self.datasets, f"track {self.name!r}")
        return self.datasets[name]

    def encoder(self, name: str) -> dict[str, Any]:
        """The entry of an encoder; ConfigError with the nearest name when there is none."""
        if name not in self.encoders:
            raise unknown("encoder", name, self.encoders, f"track {self.name!r}")
        return dict(self.encoders[name])

    @property
    def encoder_titles(self) -> dict[str, str]:
        """Encoder → what tables call it: by its member, so only the paper's networks, with weights of others, bear the
        paper's names; by its key if it is the baseline, whose encoders are several, or of another package."""
        titles = {}
        for key, entry in self.encoders.items():
            member = str(entry.get("encoder", key))
            title = MEMBER_TITLES.get(member, member)
            made_here = "pretrain" in entry and title in ENCODER_TITLES.values()
            titles[key] = key if key not in ENCODER_TITLES else member if made_here else title
        return titles

    def paradigms(self, encoder: str) -> tuple[str, ...]:
        """The paradigms an encoder can be used under: :data:`~lmmrec_core.names.PARADIGMS`, or ``("none",)``.

        One encoder of both modalities has weights to train; an entry with one for each, as the baseline's, has none.
        Rotated features are nobody's to train end to end. Raises ConfigError as :meth:`encoder`.
        """
        entry = self.encoder(encoder)
        if not is_multimodal(entry):
            return ("none",)
        return PARADIGMS if entry.get("rotated") is None else tuple(name for name in PARADIGMS if name != "ETE")


def is_multimodal(entry: Mapping[str, Any]) -> bool:
    """Whether an entry under ``encoders`` is one encoder of both modalities; others name one encoder for each."""
    return "encoder" in entry
