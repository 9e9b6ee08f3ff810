"""A track read from its YAML file: what it extends laid under it, and every name in its rules looked up."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lmmrec_core.config import read_yaml
from lmmrec_core.errors import ConfigError, unknown
from lmmrec_core.home import named_path
from lmmrec_core.names import TRACKS
from lmmrec_core.study.declared.rules import check_effects, check_rule_names
from lmmrec_core.study.declared.searched import read_searched, without_declared
from lmmrec_core.study.track import TrackSettings
from lmmrec_core.training.pace import laid_over

_FOLDER = Path(__file__).resolve().parents[2] / "tracks"
_OURS = (*TRACKS, "user")
_ENDINGS = (".yaml", ".yml")
_BY_NAME = ("arms", "ablate")  # rules that a file adds to those it inherits, each by its name


def read_track(name: str) -> TrackSettings:
    """A track of ours by name, or the file of a track of your own.

    A file may start from another track by ``extends: NAME``, or ``extends: FILE`` with a path from its own folder. What
    it says of entries by name (``datasets``, ``models``, ``training``, ``arms``, ...) is added to those, anything else
    replaces. Without a ``name`` of its own it keeps the other's, so cases that both have share their results. Searched
    settings are inherited where the file says nothing itself (``searched.without_declared``); ``searched: []`` leaves
    them all out.

    Raises ConfigError naming the file and the setting, or the nearest track; of a file of your own, for each rule that
    would have no effect too.
    """
    return _read(name, Path(), ())


def _read(name: str, beside: Path, extending: tuple[Path, ...]) -> TrackSettings:
    """:func:`read_track`; paths begin at the folder ``beside``, and ``extending`` are the files that start from it."""
    if not name.endswith(_ENDINGS):
        return _read_ours(name, beside)
    path = beside / named_path(name)
    values = read_yaml(path)
    said = {f"{key}.{one}" for key in _BY_NAME if isinstance(values.get(key), dict) for one in values[key]}
    said |= values.keys() - set(_BY_NAME)
    for key in values:
        if key not in (known := ("extends", *TrackSettings.model_fields)):
            raise unknown("setting", key, known, path.name)
    if "extends" in values:
        if path.resolve() in extending:
            raise ConfigError(f"{path}: extends itself, maybe by way of another file; name a track of ours")
        other = values.pop("extends")
        if not isinstance(other, str):
            raise ConfigError(f"{path}: extends = {other!r} is no name; write that of a track, or of a .yaml file")
        base = _read(other, path.parent, (*extending, path.resolve()))
        _check_own_name(values, path, base.name)
        values = _extended(base, values, path)
    else:
        _check_own_name(values, path)
    track = TrackSettings.build(values, where=path.name)
    check_rule_names(track, path.name)
    check_effects(track, path.name, said)
    return track


def _read_ours(name: str, beside: Path) -> TrackSettings:
    path = _FOLDER / f"{name}.yaml"
    if name not in _OURS:  # others in the folder are parts of tracks
        files = [f"{name}{ending}" for ending in _ENDINGS if (beside / f"{name}{ending}").is_file()]
        if files:
            raise ConfigError(f"{name!r} is no track of ours; write {files[0]} if you mean that file")
        raise ConfigError(f"{unknown('track', name, TRACKS)}; or give the name of a .yaml file")
    values = read_yaml(path)
    if "searched" not in values:
        values["searched"] = read_searched(name)
    track = TrackSettings.build(values, where=path.name)
    check_rule_names(track, path.name)
    if track.name != name:
        raise ConfigError(f"{path.name}: name is {track.name!r}; a track is named after its file, write {name!r}")
    return track


def _check_own_name(own: Mapping[str, Any], path: Path, base: str = "") -> None:
    """Raises ConfigError for the name of a track of ours, unless that is the one it extends, ``base``."""
    if own.get("name") in _OURS and own["name"] != base:
        cure = f"it extends {base!r}: leave name out, or" if base else f"write extends: {own['name']}, or"
        raise ConfigError(
            f"{path.name}: name {own['name']!r} is that of another track, whose results these would be taken for; "
            f"{cure} give one of its own"
        )


def _extended(base: TrackSettings, own: Mapping[str, Any], path: Path) -> dict[str, Any]:
    values: dict[str, Any] = base.model_dump(exclude_unset=True)
    values["searched"] = without_declared(base.searched, own)
    for key, value in own.items():
        added = isinstance(values.get(key), dict) and isinstance(value, dict)
        if added and not value:
            raise ConfigError(f"{path.name}: {key}: {{}} adds nothing to that of track {base.name!r}; leave it out")
        laid = laid_over if key == "training" else dict.__or__  # epochs take the place of inherited steps
        values[key] = laid(values[key], value) if added else value
    return values
