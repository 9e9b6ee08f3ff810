"""The rules of a track: each names what the track has, and meets a case of its grid. Another would have no effect."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache

from lmmrec_core.data.splitting import REDRAWN
from lmmrec_core.errors import ConfigError, unknown
from lmmrec_core.names import BASELINE, CONTROLS, MODALITY_SETS, MODEL_TITLES, PARADIGMS, SEEDLESS_MODELS, TWICE, WARM
from lmmrec_core.recommenders import RECOMMENDERS
from lmmrec_core.study.cases import Case, all_cases, left_out, reason_not_run
from lmmrec_core.study.declared.searched import CELL
from lmmrec_core.study.search.grids import read_grid
from lmmrec_core.study.track import CellRule, FurtherSplits, LeftOut, NotSearched, SearchedLater, TrackSettings

Asked = Mapping[str, Sequence[str]]  # kind → the names that a rule has of it
_FIELDS = {
    "datasets": "dataset", "models": "model", "encoders": "encoder", "paradigms": "paradigm",
    "modalities": "modalities", "controls": "control", "arms": "arm",
}  # fmt: skip
SEARCHED_BY = "study"  # the grid of searches over a track: the one with an equal budget for all
_SHOWN = 12  # names that a message lists


def check_rule_names(track: TrackSettings, where: str) -> None:
    """Raises ConfigError for a name in a rule that nothing of the track has."""
    for name in track.models:
        if name not in RECOMMENDERS:
            raise unknown("model", name, RECOMMENDERS, f"{where}: models")
    known: dict[str, Collection[str]] = {
        "datasets": track.datasets, "models": track.models, "encoders": ("none", *track.encoders),
        "paradigms": ("none", *PARADIGMS, WARM), "modalities": (*MODALITY_SETS, TWICE),
        "controls": ("none", *CONTROLS), "arms": ("none", *track.arms),
    }  # fmt: skip
    for place, rule in _rules(track):
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


def check_effects(track: TrackSettings, where: str, said: Collection[str]) -> None:
    """Raises ConfigError for a rule, or a name in one, that meets no case of the grid: with what there is near it.

    Only rules of ``said`` are looked at, as ``"left_out"`` or ``"arms.raw"``: those that a file has itself. What it
    inherits was checked where it stands, and may come to nothing by what the file changes.
    """
    grid = all_cases(track, track.seeds[:1])
    run = [case for case in grid if reason_not_run(case, track) is None]
    for place, rule in _rules(track):
        if not {place, place.partition("[")[0]} & set(said):
            continue
        asked = {kind: tuple(getattr(rule, kind)) for kind in _FIELDS if getattr(rule, kind, None) is not None}
        if place.startswith("arms.") and () in asked.values():  # switches off an arm that the file inherits
            continue
        given = {kind: names for kind, names in asked.items() if kind in rule.model_fields_set}
        if isinstance(rule, NotSearched | SearchedLater):
            _check_searched(f"{where}: {place}", given.get("models", ()))
        cells = grid if isinstance(rule, LeftOut) else run
        met = _met(f"{where}: {place}", asked, given, _within(place, cells), _within(place, grid), track)
        if isinstance(rule, LeftOut):
            _check_seeds(f"{where}: {place}", rule, met, track)
        if isinstance(rule, FurtherSplits):
            _check_splits(f"{where}: {place}", rule, met, track)
    for n, cell in enumerate(track.searched if "searched" in said else ()):
        asked = {f"{name}s": (getattr(cell, name),) for name in CELL}
        place = f"searched[{n}]"
        _met(f"{where}: {place}", asked, asked, _within(place, run), _within(place, grid), track)
    for encoder, paradigms in (track.ablate or {}).items():
        asked = {"encoders": (encoder,), "paradigms": paradigms}
        if f"ablate.{encoder}" in said and encoder == BASELINE:
            raise ConfigError(
                f"{where}: ablate.{encoder} has no effect: its modalities are removed and shuffled anyway; remove it"
            )
        if f"ablate.{encoder}" in said and paradigms:
            _met(f"{where}: ablate", asked, asked, _within("ablate", run), _within("ablate", grid), track)


def _rules(track: TrackSettings) -> list[tuple[str, CellRule]]:
    """(place in the file, rule) of all that are about cells of the grid."""
    listed = ("left_out", "further_splits", "not_searched", "searched_later", "kept_models")
    rules = [(f"{kind}[{n}]", rule) for kind in listed for n, rule in enumerate(getattr(track, kind))]
    rules += [(f"arms.{name}", arm) for name, arm in track.arms.items()]
    return rules + ([("warm_start", track.warm_start)] if track.warm_start else [])


def _within(place: str, cases: Iterable[Case]) -> list[Case]:
    """The cases that a rule at this place of a file may be about."""
    kind = place.partition("[")[0].partition(".")[0]
    if kind == "left_out":
        return list(cases)
    own = [case for case in cases if not case.split]
    if kind == "further_splits":
        return own
    own = [case for case in own if case.arm == "none"]
    if kind == "kept_models":
        return [case for case in own if _has_vectors(case.model)]
    if kind == "ablate":
        return [case for case in own if case.encoder not in (BASELINE, "none")]
    whole = [case for case in own if case.control == "none" and case.modalities in ("none", "V&T")]
    if kind == "arms":
        return [case for case in whole if case.encoder != "none"]
    if kind == "warm_start":
        return [case for case in whole if case.paradigm == "ETE"]
    if kind in ("not_searched", "searched_later"):
        whole = [case for case in whole if case.model in _searched_models()]
    return [case for case in whole if case.paradigm != WARM]  # what searches are about


@cache
def _searched_models() -> frozenset[str]:
    """The models of which a search over a track tries settings."""
    return frozenset(read_grid(SEARCHED_BY).models)


def _check_searched(where: str, models: Sequence[str]) -> None:
    """Raises ConfigError for a model that a rule about searches names, and of which nothing is searched."""
    for model in models:
        if model not in _searched_models():
            raise ConfigError(
                f"{where}: grid {SEARCHED_BY!r} lists no settings of model {model!r}, so none are searched and this "
                "has no effect; remove it"
            )


def _has_vectors(model: str) -> bool:
    """Whether there is something to keep of a trained model. Those of ours are not imported for that."""
    return model not in SEEDLESS_MODELS if model in MODEL_TITLES else hasattr(RECOMMENDERS[model], "vectors")


def _met(
    where: str, asked: Asked, given: Asked, cases: Sequence[Case], with_left_out: Sequence[Case], track: TrackSettings
) -> list[Case]:
    """The cases that a rule is about. Raises ConfigError where there are none, or none of a name that it gives."""
    met = _fitting(asked, cases)
    absent = {kind: [n for n in names if n not in _values(kind, met)] for kind, names in given.items()}
    idle = next(((kind, names[0]) for kind, names in absent.items() if names), None)
    if met and idle is None:
        return met
    sought = {**asked, idle[0]: idle[1:]} if met and idle is not None else asked
    if elsewhere := _fitting(sought, with_left_out):
        rule = left_out(elsewhere[0], track)
        why = "" if rule is None else f" ({rule.why})"
        raise ConfigError(f"{where}: the track leaves out {_words(sought)}{why}, so this has no effect; remove it")
    others = {kind: {k: names for k, names in sought.items() if k != kind} for kind in sought}
    near = [
        f"{f'with {_words(rest)}, ' if rest else ''}{kind} are {_listed(_values(kind, _fitting(rest, cases)))}"
        for kind, rest in others.items()
        if _fitting(rest, cases)
    ]
    raise ConfigError(
        f"{where}: no case of the grid has {_words(sought)}, so this has no effect; "
        f"{'; '.join(near) or 'nothing is near'}; correct it or remove it"
    )


def _fitting(asked: Asked, cases: Iterable[Case]) -> list[Case]:
    fields = {_FIELDS[kind]: names for kind, names in asked.items()}
    return [case for case in cases if all(getattr(case, field) in names for field, names in fields.items())]


def _values(kind: str, cases: Iterable[Case]) -> list[str]:
    return list(dict.fromkeys(str(getattr(case, _FIELDS[kind])) for case in cases))


def _words(asked: Asked) -> str:
    """``models ease and encoders clip``."""
    return " and ".join(f"{kind} {_listed(names)}" for kind, names in asked.items()) or "what it is about"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return (", ".join(names[:_SHOWN]) or "(none)") + more


def _check_seeds(where: str, rule: LeftOut, met: Sequence[Case], track: TrackSettings) -> None:
    """Raises ConfigError for a rule that leaves out seeds and finds none to leave out."""
    if not rule.seeds:
        return
    if rule.seeds >= len(track.seeds):
        raise ConfigError(
            f"{where}: seeds = {rule.seeds} leaves none out: the track has {len(track.seeds)}, {list(track.seeds)}; "
            "write a smaller number, or 0 to leave out all"
        )
    if all(case.model in SEEDLESS_MODELS for case in met):
        raise ConfigError(
            f"{where}: {_listed(_values('models', met))} run with one seed anyway, so seeds = {rule.seeds} has no "
            "effect; remove it"
        )


def _check_splits(where: str, rule: FurtherSplits, met: Sequence[Case], track: TrackSettings) -> None:
    """Raises ConfigError for a data set that has no such further split."""
    for name in _values("datasets", met):
        split = track.datasets[name].split
        if split.rule not in REDRAWN:
            raise ConfigError(
                f"{where}: split rule {split.rule!r} of data set {name} draws nothing, so there is but one split; name "
                "the other data sets alone"
            )
        if split.seed in rule.splits:
            raise ConfigError(f"{where}: split {split.seed} is data set {name}'s own; give other seeds")
