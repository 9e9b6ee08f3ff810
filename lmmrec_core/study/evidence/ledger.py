"""The ledger of the public code beside this study's own settings: which side each track takes today."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from lmmrec_core.audit.ledger import (
    Difference,
    Ledger,
    Switch,
    differences_frame,
    evidence_frame,
    parts_of,
    read_ledger,
)
from lmmrec_core.config import Settings
from lmmrec_core.errors import unknown
from lmmrec_core.names import PAPER_MODELS, TRACKS
from lmmrec_core.recommenders import RECOMMENDERS
from lmmrec_core.report.html import Sentence, ShownTable, plain_table
from lmmrec_core.study.declared.track_file import read_track
from lmmrec_core.study.further.effects import Effects
from lmmrec_core.study.track import EvaluationSettings, SplitSettings, TrackSettings, is_multimodal
from lmmrec_core.study.weights.recipes import end_to_end_settings
from lmmrec_core.training.joint.settings import EndToEndSettings
from lmmrec_core.training.loop import TrainingSettings
from lmmrec_core.training.pace import PACE_UNITS

PUBLIC, OTHERWISE = "public code", "otherwise"
_SHARED: dict[str, type[Settings]] = {
    "training": TrainingSettings,
    "evaluation": EvaluationSettings,
    "split": SplitSettings,
    "end_to_end": EndToEndSettings,
}


def settings_class(owner: str) -> type[Settings]:
    """Whose settings a switch names: training, evaluation, split, end_to_end, or a recommender.

    Raises ConfigError for another name.
    """
    found: type[Settings] = _SHARED[owner] if owner in _SHARED else RECOMMENDERS[owner].Settings
    return found


def sides_in_tracks(differences: Sequence[Difference], tracks: Sequence[str] = TRACKS) -> dict[str, str]:
    """For every difference with a switch, what the tracks have, by name of the difference.

    For instance ``"all: public code"`` or ``"Controls: otherwise; Paper: public code, otherwise"`` where the models or
    data sets of a track differ. A value that is neither side is shown as it is.
    """
    files = [read_track(name) for name in tracks]
    found = {}
    for difference in differences:
        if difference.switch:
            sides = {track.title: ", ".join(_sides(difference.switch, track)) for track in files}
            same = len(set(sides.values())) == 1
            words = {"all": next(iter(sides.values()))} if same else sides
            found[difference.name] = "; ".join(f"{title}: {side}" for title, side in words.items() if side)
    return found


def _sides(switch: Switch, track: TrackSettings) -> list[str]:
    return list(
        dict.fromkeys(side_of(settings, switch) for owner in switch.of for settings in _used(owner, switch, track))
    )


def _used(owner: str, switch: Switch, track: TrackSettings) -> list[Settings]:
    """The settings of an owner in a track, one for each model, data set or encoder that has its own."""
    where = f"track {track.name!r}, {owner}"
    if owner == "evaluation":
        return [track.evaluation]
    if owner == "split":
        return [dataset.split for dataset in track.datasets.values()]
    if owner == "end_to_end":
        return [end_to_end_settings(track, name) for name, entry in track.encoders.items() if is_multimodal(entry)]
    models = (switch.models or PAPER_MODELS) if owner == "training" else (owner,)
    declared = [dict(track.models[model]) for model in models if model in track.models]
    trained = [entry.pop("training", {}) for entry in declared]
    if owner == "training":
        return [TrainingSettings.build({**track.training, **own}, where) for own in trained]
    cls, rows = settings_class(owner), {"normalise_features": track.normalise_features}
    shared = rows if rows.keys() <= cls.model_fields.keys() else {}
    return [cls.build({**shared, **entry}, where) for entry in declared]


def side_of(settings: Settings, switch: Switch) -> str:
    """Which side of a switch these settings take: ``"public code"``, ``"otherwise"``, or their values.

    A setting of a recommender that is left at None follows its mode, and the reference mode is the public code's.
    """
    mode = getattr(settings, "mode", "")
    if mode and "mode" not in switch.public and all(getattr(settings, name) is None for name in switch.public):
        return PUBLIC if mode == "reference" else OTHERWISE
    for word, side in ((PUBLIC, switch.public), (OTHERWISE, switch.other)):
        if _has(settings, side):
            return word
    return ", ".join(_in_words(settings, name) for name in switch.public)


def _in_words(settings: Settings, name: str) -> str:
    """A setting with its value; one of the pace in the unit that is given (``"patience 1200 steps"``)."""
    value = getattr(settings, name)
    if value is None and name in PACE_UNITS:
        steps = getattr(settings, PACE_UNITS[name])
        return f"{name} {steps} steps" if steps is not None else f"{name} by default"
    return f"{name} {value}"


def _has(settings: Settings, side: dict[str, Any]) -> bool:
    return all(getattr(settings, name) == value for name, value in side.items())


@dataclass(frozen=True)
class LedgerPage:
    """The ledger as its page shows it: all of it, or one ``part``."""

    ledger: Ledger
    part: str | None = None

    @classmethod
    def open(cls, part: str | None = None) -> "LedgerPage":
        """The ledger of this package. Raises ConfigError for a part that it does not have."""
        ledger = read_ledger()
        if part is not None and part not in (parts := parts_of(ledger.differences)):
            raise unknown("part of the ledger", part, parts)
        return cls(ledger, part)

    @cached_property
    def _used(self) -> dict[str, str]:
        return sides_in_tracks(self.ledger.differences)

    @cached_property
    def effects(self) -> Effects:
        """What single choices were measured to do."""
        return Effects.open()

    def _of(self, part: str) -> list[Difference]:
        shown = self.part in (None, part)
        return [difference for difference in self.ledger.differences if shown and difference.part == part]

    def differences(self, part: str) -> ShownTable | Sentence:
        """What differs in a part of the ledger; nothing if another part was asked for."""
        chosen = self._of(part)
        if not chosen:
            return Sentence("")
        return plain_table(differences_frame(chosen, self.effects.in_words), f"differences {part}", prose=True)

    @property
    def names(self) -> list[str]:
        """The differences that the page shows."""
        return [one.name for one in self.ledger.differences if self.part in (None, one.part)]

    def evidence(self, part: str) -> ShownTable | Sentence:
        """Where it was read, what was run, and the settings for it."""
        chosen = self._of(part)
        if not chosen:
            return Sentence("")
        return plain_table(evidence_frame(self.ledger, chosen, self._used), f"evidence {part}", prose=True)

    @property
    def in_words(self) -> str:
        """How many differences there are, how many can be set, and how many effects are measured."""
        all_of_them = self.ledger.differences
        switched = sum(difference.switch is not None for difference in all_of_them)
        measured = sum(difference.name in self.effects.in_words for difference in all_of_them)
        return f"{len(all_of_them)} differences, {switched} with a switch here, {measured} with a measured effect"

    def summary(self) -> str:
        """The parts and their sizes in one Markdown sentence."""
        parts = (f"{name} ({len(self._of(name))})" for name in parts_of(self.ledger.differences) if self._of(name))
        return f"{self.in_words}. Shown here: {'; '.join(parts)}."

    def runs(self) -> str:
        """What each kind of run is, as a Markdown list."""
        return "\n".join(f"- *{kind}*: {words}" for kind, words in self.ledger.runs.items())
