"""A track: which data sets, encoders, models, settings and seeds a reproduction uses; read from YAML."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from lmmrec_core.config import Settings, read_yaml
from lmmrec_core.errors import ConfigError, unknown
from lmmrec_core.names import TRACKS

FOLDER = Path(__file__).resolve().parents[1] / "tracks"


class SplitSettings(Settings):
    """How the interactions of a data set are divided."""

    rule: Literal["mmrec", "lattice", "global_time", "given"] = "mmrec"
    seed: int | None = 2026


class DatasetSettings(Settings):
    """One data set of a track."""

    title: str
    source: Literal["controls", "folder", "movielens", "mmrec", "parity", "amazon"]
    path: str = Field("", description="below the data root; empty for generated data")
    options: dict[str, Any] = Field(default_factory=dict, description="settings of the source")
    k_core: int | None = Field(5, ge=1, description="least interactions of users and items; None keeps all")
    split: SplitSettings = SplitSettings()
    note: str = ""


class EvaluationSettings(Settings):
    """The ranking protocol (questions 11-14)."""

    k: int = Field(50, ge=20, description="length of the stored lists")
    mask_valid: bool = Field(False, description="take validation items out of the test ranking")


class TrackSettings(Settings):
    """All of a track. ``models`` maps a model to its settings; ``encoders`` an encoder to its members."""

    name: str
    title: str
    description: str
    where: str = Field(description="where this track can be run, in words")
    datasets: dict[str, DatasetSettings]
    encoders: dict[str, dict[str, Any]]
    missing: Literal["mean", "zero"] = "mean"
    models: dict[str, dict[str, Any]]
    training: dict[str, Any] = Field(default_factory=dict)
    evaluation: EvaluationSettings = EvaluationSettings()
    seeds: tuple[int, ...]
    device: str = Field("cpu", pattern=r"^(cpu|auto|cuda(:\d+)?)$", description="auto: the GPU where there is one")
    ablate: dict[str, tuple[str, ...]] | None = Field(
        None, description="multi-modal encoder → paradigms under which modalities are removed; None: all"
    )

    def dataset(self, name: str) -> DatasetSettings:
        """The settings of a data set; ConfigError with the nearest name when there is none."""
        if name not in self.datasets:
            raise unknown("dataset", name, self.datasets, f"track {self.name!r}")
        return self.datasets[name]


def read_track(name: str) -> TrackSettings:
    """Read and check ``tracks/<name>.yaml``. Raises ConfigError naming the file and the setting."""
    path = FOLDER / f"{name}.yaml"
    if not path.is_file():
        raise unknown("track", name, TRACKS)
    track = TrackSettings.build(read_yaml(path), where=path.name)
    if track.name != name:
        raise ConfigError(f"{path.name}: name is {track.name!r}; a track is named after its file, write {name!r}")
    return track
