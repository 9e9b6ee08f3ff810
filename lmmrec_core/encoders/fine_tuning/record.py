"""What fine-tuning leaves besides the weights: its history, and where the encoder stood before and after."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lmmrec_core.encoders.fine_tuning.evaluation import Standing
from lmmrec_core.encoders.fine_tuning.settings import FineTuneSettings


@dataclass(frozen=True)
class FineTuneEpoch:
    """One epoch of the history."""

    number: int  # from 1
    step: int  # optimiser steps so far
    loss: float  # weighted sum of the objectives, mean over pairs
    losses: Mapping[str, float]  # objective → its mean over pairs, without its weight
    standing: Standing  # after the epoch
    rate: float  # the last step's learning rate as a share of its peak
    seconds: float  # evaluation included

    def plain(self) -> dict[str, Any]:
        """The same in plain JSON values."""
        return {**vars(self), "losses": dict(self.losses), "standing": self.standing.plain()}

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> "FineTuneEpoch":
        """The inverse of :meth:`plain`."""
        return cls(**{**plain, "standing": Standing.of(plain["standing"])})


@dataclass(frozen=True, eq=False)
class FineTuning:
    """How fine-tuning went; afterwards the encoder holds the weights of ``best_epoch``."""

    history: tuple[FineTuneEpoch, ...]
    before: Standing
    after: Standing  # with the weights of the best epoch
    best_epoch: int  # from 1; 0 if no epoch was better than the initial weights
    steps: int  # optimiser steps made
    stopped: str  # "patience" or "epochs"
    seconds: float  # over all sessions if it was resumed
    weights: str  # digest of the module's state, as in feature specs
    settings: FineTuneSettings
    pairs: Mapping[str, Any]  # counts, choice of items, fingerprint
    processes: int = 1  # that tuned together

    def plain(self) -> dict[str, Any]:
        """The same in plain JSON values, for a card or a record."""
        return {
            "history": [epoch.plain() for epoch in self.history],
            "before": self.before.plain(),
            "after": self.after.plain(),
            "best_epoch": self.best_epoch,
            "steps": self.steps,
            "stopped": self.stopped,
            "seconds": self.seconds,
            "weights": self.weights,
            "settings": self.settings.model_dump(mode="json"),
            "pairs": dict(self.pairs),
            "processes": self.processes,
        }
