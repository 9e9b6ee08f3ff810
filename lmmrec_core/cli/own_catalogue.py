"""A catalogue of the user's own as a data set of the track ``user``, from the options of a command."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from lmmrec_core.cli.naming import catalogue_name
from lmmrec_core.cli.reading import (
    Content,
    check_content,
    dataset_settings,
    options_of,
    ready_modalities,
)
from lmmrec_core.config import read_yaml
from lmmrec_core.data import SOURCES, recognise
from lmmrec_core.data.assemble import NoContentError
from lmmrec_core.disk import readable
from lmmrec_core.errors import unknown
from lmmrec_core.flow import MODALITIES, Catalogue
from lmmrec_core.names import BASELINE
from lmmrec_core.study.datasets import dataset_of, read_catalogue
from lmmrec_core.study.declared.track_file import read_track
from lmmrec_core.study.track import TrackSettings, is_multimodal
from lmmrec_core.study.workspace import Workspace

_PARITY = Path(__file__).resolve().parents[1] / "tracks" / "parity.yaml"  # settings to compare with another toolbox


def user_track(arguments: argparse.Namespace) -> TrackSettings:
    """The ``user`` track, with the encoder of a file if one was named. Raises ConfigError for an unknown encoder."""
    return _with_own_encoder(read_track("user"), getattr(arguments, "encoder", "") or BASELINE)


def user_workspace(arguments: argparse.Namespace, folder: str, content: Content) -> tuple[Workspace, str]:
    """The ``user`` track with one data set, the given folder. Its format is recognised by its files.

    Of the items only ``content`` is read. Raises DataError for a folder that does not exist, has no known format or
    cannot be read, and ConfigError for options that would have no effect.
    """
    track, path = user_track(arguments), Path(folder).resolve()
    named = bool(arguments.interactions) and (path / arguments.interactions).is_file()
    source = "folder" if named else recognise(path)
    options, name = options_of(arguments, source, content), catalogue_name(path, getattr(arguments, "name", None))
    catalogue = read_catalogue(source, path, SOURCES[source].Settings.build(options, folder), name, sys.stderr.isatty())
    check_content(arguments, catalogue, content)
    settings = dataset_settings(
        arguments, path.name if _is_text(path.name) else name, source, options, catalogue.label is not None
    )
    track = _reading(track, encoder_name(getattr(arguments, "encoder", "") or BASELINE), content, catalogue)
    track = track.model_copy(
        update={"datasets": {name: settings}, **(read_yaml(_PARITY) if source == "parity" else {})}
    )
    workspace = replace(Workspace.open(track), data=path.parent)
    workspace.hold(dataset_of(catalogue, settings, name))
    return workspace, name


def whatever_is_there(
    arguments: argparse.Namespace, folder: str, encoded: bool = True
) -> tuple[Workspace, str, Content]:
    """:func:`user_workspace` with all the content that the catalogue has; which that is comes last."""
    encoder = encoder_name(getattr(arguments, "encoder", "") or BASELINE)
    entry = user_track(arguments).encoder(encoder)
    modalities = tuple(m for m in MODALITIES if is_multimodal(entry) or entry.get(m) is not None)
    if _holds_interactions_alone(Path(folder), getattr(arguments, "interactions", "") or "interactions.csv"):
        modalities = ()  # as models without content read it
    while True:
        content = Content(modalities, ready_modalities(user_track(arguments), encoder, modalities), encoded)
        try:
            return *user_workspace(arguments, folder, content), content
        except NoContentError as error:
            if error.modality not in modalities:
                raise
            if error.modality == "visual":  # what was asked of pictures was done: none is left to ask it of
                arguments = argparse.Namespace(**{**vars(arguments), "unreadable": None})
            modalities = tuple(m for m in modalities if m != error.modality)


def _holds_interactions_alone(folder: Path, name: str) -> bool:
    """Whether nothing else is in a folder. Beside other files a missing items.csv is a fault."""
    if not folder.is_dir():
        return False
    with readable(folder):
        return {file.name for file in folder.iterdir()} in ({name}, {f"{name}.gz"})


def _reading(track: TrackSettings, encoder: str, content: Content, catalogue: Catalogue) -> TrackSettings:
    """The track with an encoder of one-modality members cut to what is read, ready features where they are taken."""
    entry = track.encoder(encoder)
    if is_multimodal(entry) or not content.modalities:
        return track
    ready = [m for m in content.ready if m in catalogue.ready_features]
    kept = {key: value for key, value in entry.items() if key not in MODALITIES or key in content.modalities}
    return track.model_copy(update={"encoders": {**track.encoders, encoder: {**kept, **dict.fromkeys(ready, "ready")}}})


def encoder_name(encoder: str) -> str:
    """What the user's track calls an encoder, a file of the user's own among them."""
    return "own" if _is_file(encoder) else encoder


def _is_text(name: str) -> bool:
    """Whether a name is UTF-8, as a setting must be; names of files need not be."""
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


def _is_file(encoder: str) -> bool:
    return encoder.endswith((".yaml", ".yml"))


def _with_own_encoder(track: TrackSettings, asked: str) -> TrackSettings:
    """The track, with the entry of a YAML file as its encoder ``own`` if a file was named."""
    if _is_file(asked):
        track = track.model_copy(update={"encoders": {**track.encoders, "own": read_yaml(Path(asked))}})
        from lmmrec_core.study.weights.recipes import check_entry

        check_entry(track, "own")
        return track
    if asked not in track.encoders:
        raise unknown("encoder", asked, track.encoders, "--encoder (or the name of a .yaml file)")
    return track
