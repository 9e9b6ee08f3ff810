"""Whether the values of a notebook's parameters mean anything: a name that nobody has would show empty tables."""

import ast
from collections.abc import Mapping
from typing import Any

from lmmrec_core.book.runner import Parameter
from lmmrec_core.errors import ConfigError, unknown
from lmmrec_core.metrics import METRICS
from lmmrec_core.recommenders import RECOMMENDERS
from lmmrec_core.study.declared.track_file import read_track


def check_values(values: Mapping[str, Any], declared: Mapping[str, Parameter], where: str) -> None:
    """Check the values given to a notebook of a track, one with a parameter ``track``; others may mean what they like.

    Raises ConfigError naming the notebook, the parameter and the nearest name that there is.
    """
    if "track" not in declared:
        return
    whole = {name: _default(parameter) for name, parameter in declared.items()} | dict(values)
    for name in ("models", "anchors"):
        for model in values.get(name) or ():
            if not isinstance(model, str) or model not in RECOMMENDERS:
                raise unknown("model", model, RECOMMENDERS, f"{where}: {name}")
    for name in ("models", "metrics"):
        if name in values and not values[name]:
            raise ConfigError(f"{where}: {name} names none; write some, or leave {name} out")
    for given in (*([values["metric"]] if "metric" in values else []), *(values.get("metrics") or ())):
        metric, _, cutoff = str(given).partition("@")
        if metric not in METRICS:
            raise unknown("metric", metric, METRICS, f"{where}: metric")
        if not (cutoff.isascii() and cutoff.isdigit() and len(cutoff) < 10) or int(cutoff) < 1:
            raise ConfigError(f"{where}: metric {given!r} has no cutoff; write for instance {metric}@20")
    if not {"track", "encoder", "paradigm"} & set(values):
        return
    track = read_track(str(whole["track"]))
    if {"encoder", "paradigm"} & set(values) and "encoder" in whole:
        paradigms = track.paradigms(str(whole["encoder"]))
        if "paradigm" in whole and whole["paradigm"] not in paradigms:
            raise ConfigError(
                f"{where}: encoder {whole['encoder']!r} has no paradigm {whole['paradigm']!r} in track {track.name!r}; "
                f"give paradigm too, one of {', '.join(paradigms)}"
            )


def _default(parameter: Parameter) -> Any:
    try:
        return ast.literal_eval(parameter.default)
    except ValueError:
        return None
