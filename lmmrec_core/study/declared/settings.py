"""The settings of a case: class defaults, then the track, what a search found, the arm, what the caller asks.

No data is read here, so that a wrong setting is refused before anything starts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lmmrec_core.config import Settings
from lmmrec_core.errors import ConfigError, unknown
from lmmrec_core.names import SHUFFLED_ALONE, TWICE, WARM
from lmmrec_core.recommenders import RECOMMENDERS, learns
from lmmrec_core.study.cases import Case
from lmmrec_core.study.declared.searched import searched_settings
from lmmrec_core.study.track import OF_ENCODER
from lmmrec_core.study.weights.recipes import end_to_end_settings
from lmmrec_core.study.workspace import Workspace
from lmmrec_core.training.joint.settings import EndToEndSettings
from lmmrec_core.training.loop import TrainingSettings
from lmmrec_core.training.pace import laid_over


@dataclass(frozen=True)
class CaseSettings:
    """Everything that is set for a case."""

    model: Settings
    training: TrainingSettings
    end_to_end: EndToEndSettings | None = None  # how the encoder is trained too, for paradigm ETE


def settings_of(case: Case, workspace: Workspace, overrides: Mapping[str, Any] | None = None) -> CaseSettings:
    """The settings of a case. ``overrides`` named ``end_to_end.NAME`` go to the training of the encoder.

    Raises ConfigError for a setting that nobody has or a value that is not allowed, for a case whose parts do not go
    together, and for a model under ETE that trains copies of the features and so would not see the encoder's.
    """
    track = workspace.track
    if case.arm not in ("none", *track.arms):
        raise unknown("arm", case.arm, track.arms, f"track {track.name!r}")
    given = laid_over(track.arms[case.arm].settings if case.arm != "none" else {}, overrides or {})
    own = {key.removeprefix(OF_ENCODER): given.pop(key) for key in list(given) if key.startswith(OF_ENCODER)}
    joint: EndToEndSettings | None = None
    if case.paradigm in ("ETE", WARM):
        joint = end_to_end_settings(track, case.encoder, {"start": "warm", **own} if case.paradigm == WARM else own)
        if case.paradigm == WARM and joint.start != "warm":
            raise ConfigError(f"paradigm {WARM} starts warm; leave {OF_ENCODER}start out, or use paradigm ETE")
    elif own:
        raise ConfigError(f"setting {OF_ENCODER}{next(iter(own))} needs paradigm ETE")
    model, training = resolve(workspace, case.model, given, case)
    if joint is not None and getattr(model, "trains_features", False) and joint.arm != "released":
        raise ConfigError(
            f"model {case.model!r} trains copies of the features and would not see those of the encoder; set "
            "trainable_features=false, under PT and FT too if they are to be compared with ETE"
        )
    if RECOMMENDERS[case.model].uses_features:
        _refuse_content(case)
    return CaseSettings(model, training, joint)


def _refuse_content(case: Case) -> None:
    """Raises ConfigError for content, modalities, control and paradigm that do not go together."""
    if case.encoder == "none" or case.modalities == "none":
        raise ConfigError(f"model {case.model!r} needs content; name an encoder and modalities, for instance 'V&T'")
    if case.control in SHUFFLED_ALONE and case.modalities != "V&T":
        raise ConfigError(f"control {case.control!r} moves one modality of two; use modalities 'V&T'")
    if case.modalities == TWICE and case.paradigm in ("ETE", WARM):
        raise ConfigError(f"modalities {TWICE!r} need fixed features, and paradigm ETE trains them; use paradigm PT")
    if case.paradigm in ("ETE", WARM) and not case.control.startswith(("none", "shuffled")):
        raise ConfigError(
            f"control {case.control!r} replaces features, and paradigm ETE makes them anew from content; "
            "use a control of the shuffled kind, or paradigm PT"
        )


def resolve(
    workspace: Workspace, model: str, overrides: Mapping[str, Any] | None = None, case: Case | None = None
) -> tuple[Settings, TrainingSettings]:
    """Settings of a model and its training: class defaults, the track file, what a search found for the cell of
    ``case`` (if given), then ``overrides``.

    An override goes to whichever of the two classes has that name. Raises ConfigError for a model or
    a setting nobody has, with the nearest name, and for settings of training where nothing is trained.
    """
    track = workspace.track
    model_class = RECOMMENDERS[model].Settings
    declared = dict(track.models.get(model, {}))
    if "normalise_features" in model_class.model_fields:
        declared.setdefault("normalise_features", track.normalise_features)
    where = f"track {track.name!r}, model {model!r}"
    trained = {"device": workspace.device, **track.training}
    trained = laid_over(trained, own := declared.pop("training", {}))
    searched = searched_settings(track.searched, case.model_dump()) if case else {}
    trains = learns(RECOMMENDERS[model])
    if not trains:
        _refuse_idle(model, {**own, **searched, **(overrides or {})})
    for given in (searched, overrides or {}):
        of_training = {key: value for key, value in given.items() if key in TrainingSettings.model_fields}
        trained = laid_over(trained, of_training)
        for key, value in given.items():
            if key in of_training:
                continue
            if key not in model_class.model_fields:
                more = TrainingSettings.model_fields if trains else ()
                raise unknown("setting", key, [*model_class.model_fields, *more], f"model {model!r}")
            declared[key] = value
    training = TrainingSettings.build(trained, f"{where}, training")
    if "batch_size" in model_class.model_fields:  # LATTICE divides its regulariser by the configured size
        declared.setdefault("batch_size", training.batch_size)
    return model_class.build(declared, where), training


def _refuse_idle(model: str, settings: Mapping[str, Any]) -> None:
    """Raises ConfigError for a setting of training, where nothing is trained."""
    own = RECOMMENDERS[model].Settings.model_fields
    for name in settings:
        if name in TrainingSettings.model_fields and name not in own:
            raise ConfigError(
                f"setting {name!r} has no effect: model {model!r} is not trained; leave it out; its settings: "
                f"{', '.join(own) or 'none'}"
            )
