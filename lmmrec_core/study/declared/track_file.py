"""A track read from its YAML file: what it extends laid under it, and every name in its rules looked up."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from lmmrec_core.config import read_yaml
from lmmrec_core.errors import ConfigError, unknown
from lmmrec_core.names import CONTROLS, MODALITY_SETS, PARADIGMS, TRACKS, TWICE, WARM
from lmmrec_core.study.declared.searched import CELL, read_searched, without_declared
from lmmrec_core.study.track import TrackSettings

_FOLDER = Path(__file__).resolve().parents[2] / "tracks"


def read_track(name: str) -> TrackSettings:
    """A track of ours by name, or the file of a track of your own.

    A file may start from another track by ``extends: NAME``: what it says under ``datasets``, ``encoders``, ``models``,
    ``training`` and ``evaluation`` is added entry by entry, anything else replaces. Without a ``name`` of its own it
    keeps the other's, so cases that both have share their results. Searched settings are inherited where the file
    says nothing itself (``searched.without_declared``); ``searched: []`` leaves them all out.

    Raises ConfigError naming the file and the setting, or the nearest track.
    """
    return _read(name, ())


def _read(name: str, extending: tuple[Path, ...]) -> TrackSettings:
    """:func:`read_track`; ``extending`` are the files that start from this one."""
    own = name.endswith((".yaml", ".yml"))
    path = Path(name).expanduser() if own else _FOLDER / f"{name}.yaml"
    if not own and not path.is_file():
        raise ConfigError(f"{unknown('track', name, TRACKS)}; or give the name of a .yaml file")
    values = read_yaml(path)
    if not own and "searched" not in values:
        values["searched"] = read_searched(name)
    if own and "extends" in values:
        if path.resolve() in extending:
            raise ConfigError(f"{path}: extends itself, maybe by way of another file; name a track of ours")
        values = _extended(_read(str(values.pop("extends")), (*extending, path.resolve())), values, path)
    track = TrackSettings.build(values, where=path.name)
    _check_rules(track, path.name)
    if not own and track.name != name:
        raise ConfigError(f"{path.name}: name is {track.name!r}; a track is named after its file, write {name!r}")
    return track


def _extended(base: TrackSettings, own: Mapping[str, Any], path: Path) -> dict[str, Any]:
    values: dict[str, Any] = base.model_dump()
    values["searched"] = without_declared(base.searched, own)
    for key, value in own.items():
        if key not in values:
            raise unknown("setting", key, values, path.name)
        both = isinstance(values[key], dict) and isinstance(value, dict)
        values[key] = {**values[key], **value} if both else value
    return values


def _check_rules(track: TrackSettings, where: str) -> None:
    """Raises ConfigError for a name in a rule that nothing of the track has: it would match no cell, in silence."""
    known: dict[str, Collection[str]] = {
        "datasets": track.datasets, "models": track.models, "encoders": ("none", *track.encoders),
        "paradigms": ("none", *PARADIGMS, WARM), "modalities": (*MODALITY_SETS, TWICE),
        "controls": ("none", *CONTROLS), "arms": ("none", *track.arms),
    }  # fmt: skip
    listed = ("left_out", "further_splits", "not_searched", "kept_models")
    rules = [(f"{kind}[{n}]", rule) for kind in listed for n, rule in enumerate(getattr(track, kind))]
    for place, rule in [*rules, *((f"arms.{name}", arm) for name, arm in track.arms.items())]:
        for kind, names in known.items():
            for name in getattr(rule, kind, None) or ():
                if name not in names:
                    one = {"modalities": "modality set", "datasets": "data set"}.get(kind, kind.removesuffix("s"))
                    raise unknown(one, name, names, f"{where}: {place}.{kind}")
    for n, cell in enumerate(track.searched):
        for one in CELL:
            if getattr(cell, one) not in known[f"{one}s"]:
                raise unknown(one, getattr(cell, one), known[f"{one}s"], f"{where}: searched[{n}]")
        if cell.place in {other.place for other in track.searched[:n]}:
            raise ConfigError(f"{where}: searched[{n}]: {' '.join(cell.place)} is there already; keep one of the two")
    for encoder, paradigms in (track.ablate or {}).items():
        if encoder not in track.encoders:
            raise unknown("encoder", encoder, track.encoders, f"{where}: ablate")
        for paradigm in paradigms:
            if paradigm not in track.paradigms(encoder):
                raise unknown("paradigm", paradigm, track.paradigms(encoder), f"{where}: ablate.{encoder}")
