"""A workspace: one track in one working folder, with everything that many cases share."""

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from lmmrec_core.disk import remove_abandoned
from lmmrec_core.errors import ConfigError
from lmmrec_core.home import default_home
from lmmrec_core.metrics.again import measured_again
from lmmrec_core.results.store import ResultStore
from lmmrec_core.study.datasets import Dataset, data_root, on_split, read_dataset
from lmmrec_core.study.declared.track_file import read_track
from lmmrec_core.study.track import TrackSettings

GPUS_SEEN = "CUDA_VISIBLE_DEVICES"  # the variable that says which GPUs a process sees


@dataclass(frozen=True, eq=False)
class Workspace:
    """A track, the folders it works in, and its data sets, each read once.

    ``results`` holds small files, some of them kept in git; all of ``cache`` can be made again. A workspace can be sent
    to another process: what it has read stays behind and is read there again.
    """

    track: TrackSettings
    results: Path
    cache: Path
    data: Path | None = None  # the folder of the real data sets
    progress: bool = True  # whether long work shows progress bars
    # whether encoders that were trained end to end stay in the cache: None keeps them, False does not, and True also
    # runs stored cases again whose encoder is not there
    keep_encoders: bool | None = None
    energy: bool = False  # whether the energy of new runs is recorded (``study/energy.py``)
    _datasets: dict[tuple[str, int], Dataset] = field(default_factory=dict, init=False, repr=False)
    _answers: dict[tuple[str, ...], str] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def open(
        cls,
        track: str | TrackSettings,
        data: str | Path | None = None,
        home: Path | None = None,
        progress: bool = True,
    ) -> "Workspace":
        """A track by name, file or value, in ``home`` (default: :func:`default_home`), with real data below ``data``.

        Raises ConfigError for an unknown track, DataError for a data folder that does not exist.
        """
        if not isinstance(track, str | TrackSettings):
            raise ConfigError(f"track = {track!r} is no name; write that of a track, or of a .yaml file")
        settings = read_track(track) if isinstance(track, str) else track
        home = default_home() if home is None else home
        return cls(settings, home / "results", home / ".cache", data_root(data), progress)

    @property
    def catalogues(self) -> Path:
        """Generated catalogues."""
        return self.cache / "catalogues"

    @property
    def features(self) -> Path:
        """Extracted features."""
        return self.cache / "features"

    @property
    def pictures(self) -> Path:
        """Resized pictures of catalogues, as bytes."""
        return self.cache / "pictures"

    @property
    def encoders(self) -> Path:
        """Weights of encoders that we trained."""
        return self.cache / "encoders"

    @property
    def checkpoints(self) -> Path:
        """Trainings under way."""
        return self.cache / "checkpoints"

    @cached_property
    def store(self) -> ResultStore:
        """The stored results, of all tracks."""
        return ResultStore(self.results, measured_again)

    @cached_property
    def device(self) -> str:
        """The track's ``device``; "auto" is the GPU if there is one. Raises ConfigError for a GPU that is absent."""
        wanted = self.track.device
        if wanted == "cpu":
            return "cpu"
        import torch

        if torch.cuda.is_available():
            return "cuda" if wanted == "auto" else wanted
        if wanted != "auto":
            raise ConfigError(f"track {self.track.name!r}: device {wanted!r} is absent; set device: auto or cpu")
        return "cpu"

    def dataset(self, name: str, split: int = 0) -> Dataset:
        """A data set of the track, read once, on its own split or on a further one (``study.cases.Case.split``).

        Raises ConfigError or DataError naming what to give.
        """
        if (name, split) not in self._datasets:
            settings = self.track.dataset(name)
            self._datasets[name, split] = (
                on_split(self.dataset(name), settings, split)
                if split
                else read_dataset(settings, name, self.data, self.catalogues)
            )
        return self._datasets[name, split]

    def hold(self, dataset: Dataset) -> None:
        """Take in a data set that was read already."""
        self._datasets[dataset.name, 0] = dataset

    def once(self, asked: tuple[str, ...], find: Callable[[], str]) -> str:
        """What ``find`` returned when ``asked`` was first asked here: for answers that every case needs."""
        if asked not in self._answers:
            self._answers[asked] = find()
        return self._answers[asked]

    def remove_abandoned(self) -> None:
        """Remove what killed processes left half written, in the cache and beside the results of the track."""
        for folder, depth in ((self.results / self.track.name, 2), (self.cache, 2)):
            remove_abandoned(folder, depth)

    def left_checkpoints(self) -> str:
        """What to say of checkpoints that lie in the cache, "" if there are none.

        Of a training that was interrupted and is asked for no more, because its settings changed, nobody takes up the
        checkpoint; but whether it is asked for again, only the user knows.
        """
        files = [file for folder in (self.checkpoints, self.encoders) for file in folder.glob("*.pt")]
        if not files:
            return ""
        size, folders = 0, sorted({str(file.parent) for file in files})
        for file in files:
            with suppress(OSError):  # just removed by another process
                size += file.stat().st_size
        where = " and ".join(folders)
        return (
            f"{len(files)} checkpoints of trainings that did not end, {size / 2**20:.1f} MiB, are in {where}: the "
            "commands that were interrupted go on from them, unless their settings changed; remove those of no use"
        )

    def quiet(self) -> "Workspace":
        """The same without progress bars; both share what either reads."""
        return self._but(progress=False)

    def keeping_encoders(self, keep: bool | None) -> "Workspace":
        """The same with ``keep_encoders`` as given; both share what either reads."""
        return self._but(keep_encoders=keep)

    def measuring_energy(self, asked: bool) -> "Workspace":
        """The same with ``energy`` as given; both share what either reads."""
        return self._but(energy=asked)

    def on_cpu(self) -> "Workspace":
        """The same without a GPU, to ask for settings where there is none; both share what either reads."""
        return self._but(track=self.track.model_copy(update={"device": "cpu"}))

    def _but(self, **changes: Any) -> "Workspace":
        other = replace(self, **changes)
        other.__dict__.update(_datasets=self._datasets, _answers=self._answers)
        return other

    def __getstate__(self) -> dict[str, Any]:
        return {**{f.name: getattr(self, f.name) for f in fields(self)}, "_datasets": {}, "_answers": {}}


def visible_gpus() -> tuple[str, ...]:
    """The GPUs that this process sees, each as ``CUDA_VISIBLE_DEVICES`` names it: a number, or an id."""
    import torch

    count = torch.cuda.device_count()
    named = os.environ.get(GPUS_SEEN)
    names = map(str, range(count)) if named is None else (name.strip() for name in named.split(","))
    return tuple(names)[:count]


def check_device(device: str) -> None:
    """Raises ConfigError for a device that PyTorch does not have on this machine."""
    import torch

    try:
        kind = torch.device(device)
    except RuntimeError:
        raise ConfigError(f"device = {device!r} is no device; write device=cpu, device=cuda or device=cuda:1") from None
    count = torch.cuda.device_count()
    if kind.type == "cuda" and not (kind.index or 0) < count:
        raise ConfigError(f"device = {device!r}: PyTorch sees {count} GPUs on this machine; set device=cpu")
    if kind.type not in ("cpu", "cuda"):
        raise ConfigError(f"device = {device!r}: trainings run on cpu or cuda; set device=cpu")
