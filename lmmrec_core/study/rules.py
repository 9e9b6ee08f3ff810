"""Names in the rules of a track: one that names nothing would match no cell, in silence."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from lmmrec_core.errors import unknown
from lmmrec_core.names import CONTROLS, MODALITY_SETS, PARADIGMS, TWICE, WARM

if TYPE_CHECKING:
    from lmmrec_core.study.track import TrackSettings


def check_rules(track: "TrackSettings", where: str) -> None:
    """Raises ConfigError, with the nearest name, for a name in a rule of the track that nothing of the track has."""
    known: dict[str, Iterable[str]] = {
        "datasets": track.datasets,
        "models": track.models,
        "encoders": ("none", *track.encoders),
        "paradigms": ("none", *PARADIGMS, WARM),
        "modalities": (*MODALITY_SETS, TWICE),
        "controls": ("none", *CONTROLS),
        "arms": ("none", *track.arms),
    }
    rules = {
        **{f"{kind}[{n}]": rule for kind in ("left_out", "further_splits", "not_searched")
           for n, rule in enumerate(getattr(track, kind))},
        **{f"arms.{name}": rule for name, rule in track.arms.items()},
    }  # fmt: skip
    for place, rule in rules.items():
        for kind, names in known.items():
            for name in getattr(rule, kind, None) or ():
                if name not in names:
                    one = {"modalities": "modality set", "datasets": "data set"}.get(kind, kind.removesuffix("s"))
                    raise unknown(one, name, names, f"{where}: {place}.{kind}")
    for encoder, paradigms in (track.ablate or {}).items():
        if encoder not in track.encoders:
            raise unknown("encoder", encoder, track.encoders, f"{where}: ablate")
        for paradigm in paradigms:
            if paradigm not in track.paradigms(encoder):
                raise unknown("paradigm", paradigm, track.paradigms(encoder), f"{where}: ablate.{encoder}")
