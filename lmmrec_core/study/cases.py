"""The grid of the study as data: model × encoder × paradigm × data set × modalities × control × split × seed.

The track file decides which data sets, models and encoders there are. The paper's cases come first (Tables 1, 3, 4, 5);
ours beyond it are the floor that reads no content, two later models, the modality ablation of every model and the
content controls. A case that cannot run stays in the grid, so that the tables say *not run*.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from lmmrec_core.config import Settings
from lmmrec_core.digests import digest
from lmmrec_core.errors import ConfigError
from lmmrec_core.flow import MODALITIES, Modality
from lmmrec_core.names import (
    BASELINE,
    CONTROLS,
    FLOOR_MODELS,
    LATER_MODELS,
    MODALITY_SETS,
    MODEL_TITLES,
    SEEDLESS_MODELS,
    TRACKS,
    TWICE,
    WARM,
    Control,
    Paradigm,
    Twice,
    WarmStart,
)
from lmmrec_core.questions import QUESTIONS, Variant
from lmmrec_core.recommenders import RECOMMENDERS
from lmmrec_core.study.declared.searched import awaits_search, searched_settings
from lmmrec_core.study.track import OF_ENCODER, LeftOut, TrackSettings, is_multimodal

# settings of an encoder's entry → the paradigms that use them; ETE may start from a fine-tuned encoder, too
_PARADIGMS_OF = {"fine_tune": ("FT",), "end_to_end": ("ETE", WARM)}


class Case(Settings):
    """One cell of the grid. Its fields are the ``case`` of a stored run; ``encoder`` is a name of the track's.

    ``split``: 0 for the split of the track's data set, else the seed of a further one by the same rule.
    """

    track: str
    dataset: str
    model: str
    encoder: str = "none"
    paradigm: Literal["none", Paradigm, WarmStart] = "none"
    modalities: Literal["none", "V&T", "V", "T", Twice] = "none"
    control: Literal["none", Control] = "none"
    arm: str = "none"
    split: int = 0
    seed: int = 1

    @property
    def slug(self) -> str:
        """A readable folder name, for instance ``vbpr-baseline-VT-shuffled-s1``."""
        parts = [self.model]
        if self.encoder != "none":
            parts += [self.encoder] + ([self.paradigm] if self.paradigm != "none" else [])
            parts += [self.modalities.replace("&", "")]
        if self.control != "none":
            parts.append(self.control)
        if self.arm != "none":
            parts.append(self.arm)
        if self.split:
            parts.append(f"split{self.split}")
        return "-".join([*parts, f"s{self.seed}"])

    def questions(self) -> frozenset[str]:
        """The research questions that read this case."""
        variant = Variant.of(self.model_dump())
        return frozenset(name for name, question in QUESTIONS.items() if question.reads(variant))


def identity_of(case: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    """What tells the case of a stored run from others; that of an older run has the defaults of later fields."""
    return tuple(Case.build(case, "stored run").model_dump().items())


def all_cases(track: TrackSettings, seeds: Sequence[int]) -> tuple[Case, ...]:
    """Every case of a track, runnable or not, in the order of the tables.

    A model without content runs once per seed (once at all in closed form). A model that reads content runs under the
    baseline's encoders with both modalities, with each alone and with every control. The paper's models and those of
    other packages run under the track's other encoders too, under all their paradigms. Under the paradigms of
    ``track.ablate`` modalities are removed and content is shuffled; the other controls replace features, so they need
    fixed ones (PT). Where ``track.warm_start`` says so, end-to-end training starts warm as well, and cells of
    ``track.arms`` are run a second time under other settings. What is run on further splits (``track.further_splits``)
    comes last of its model. Cells that the track leaves out are here too, see :func:`reason_not_run`.

    Raises ConfigError for seeds that are not distinct.
    """
    if len(set(seeds)) != len(seeds) or not seeds:
        raise ConfigError(f"seeds {list(seeds)} must be distinct and at least one; write for instance SEEDS='1 2 3'")
    cases = []
    for dataset in track.datasets:
        for model in ordered_models(track.models):
            for seed in seeds[:1] if model in SEEDLESS_MODELS else seeds:
                cell = {"track": track.name, "dataset": dataset, "model": model, "seed": seed}
                found = _cases_with_content(cell, track) if reads_content(model) else [Case.build(cell, "grid")]
                cases += found + [
                    case.model_copy(update={"split": split})
                    for case in found
                    for split in track.splits_beyond(case.model_dump())
                ]
    return tuple(cases)


def ordered_models(models: Iterable[str]) -> list[str]:
    """Models in the order of the tables, those of other packages last, as they come."""
    known = list(MODEL_TITLES)
    return sorted(models, key=lambda model: known.index(model) if model in known else len(known))


def reads_content(model: str) -> bool:
    """Whether a model reads item features. A model of ours is not imported for that. Raises ConfigError if unknown."""
    if model in MODEL_TITLES:
        return model not in FLOOR_MODELS
    return bool(RECOMMENDERS[model].uses_features)


def _cases_with_content(cell: Mapping[str, Any], track: TrackSettings) -> list[Case]:
    cells: list[dict[str, str]] = []
    for encoder, entry in track.encoders.items():
        if encoder == BASELINE:
            cells += [{"encoder": encoder, "modalities": modalities} for modalities in ("V&T", "V", "T")]
            cells += [{"encoder": encoder, "modalities": "V&T", "control": control} for control in CONTROLS]
        elif cell["model"] not in LATER_MODELS:
            for paradigm in track.paradigms(encoder):
                ablated = is_multimodal(entry) if track.ablate is None else paradigm in track.ablate.get(encoder, ())
                cell_of = {"encoder": encoder, "paradigm": paradigm}
                cells.append({**cell_of, "modalities": "V&T"})
                if ablated:
                    cells += [{**cell_of, "modalities": modality} for modality in ("V", "T")]
                    controls = [c for c in CONTROLS if paradigm == "PT" or c.startswith("shuffled")]
                    cells += [{**cell_of, "modalities": "V&T", "control": control} for control in controls]
            if track.starts_warm(cell["dataset"], cell["model"], encoder):
                cells.append({"encoder": encoder, "paradigm": WARM, "modalities": "V&T"})
    whole = [more for more in cells if more["modalities"] == "V&T" and "control" not in more]
    for name, arm in track.arms.items():
        cells += [{**more, "arm": name} for more in whole if arm.fits({"paradigm": "none", **cell, **more})]
    return [Case.build({**cell, **more}, "grid") for more in cells]


def left_out(case: Case, track: TrackSettings) -> LeftOut | None:
    """The rule by which a track does not run a case; None if it does."""
    return next((rule for rule in track.left_out if rule.holds(case.model_dump(), track.seeds)), None)


def reason_not_run(case: Case, track: TrackSettings) -> str | None:
    """None for a case that can run; else what is missing, in words."""
    if case.model not in RECOMMENDERS:
        return f"recommender {case.model} is not installed"
    if case.model not in track.models:
        return f"track {track.name} declares no settings for {case.model}"
    if (rule := left_out(case, track)) is not None:
        return f"left out by track {track.name}: {rule.why}"
    if case.arm not in ("none", *track.arms):
        return f"track {track.name} declares no arm {case.arm}"
    if case.encoder == "none":
        return None
    if case.encoder not in track.encoders:
        return f"track {track.name} declares no encoder {case.encoder}"
    if ("ETE" if case.paradigm == WARM else case.paradigm) not in track.paradigms(case.encoder):
        return f"encoder {case.encoder} has no paradigm {case.paradigm}: {', '.join(track.paradigms(case.encoder))}"
    if absent := _without_encoder(case, track):
        things = " and ".join({"visual": "pictures", "textual": "texts"}[modality] for modality in absent)
        return f"encoder {case.encoder} of track {track.name} names none for {things}"
    return None


def _without_encoder(case: Case, track: TrackSettings) -> list[Modality]:
    """The modalities that a case reads and for which its encoder names none."""
    entry = track.encoder(case.encoder)
    if is_multimodal(entry):
        return []
    reads = ("visual",) if case.modalities == TWICE else MODALITY_SETS[case.modalities]
    return [modality for modality in MODALITIES if modality in reads and entry.get(modality) is None]


def reason_not_now(case: Case, track: TrackSettings) -> str | None:
    """As :func:`reason_not_run`; also for a case whose settings are searched before it runs."""
    if (reason := reason_not_run(case, track)) is not None:
        return reason
    if awaits_search(track.searched, case.model_dump()):
        if track.name not in TRACKS:
            return "its settings are still to be searched: give them under `searched` in the track's file"
        return f"its settings are still to be searched: lmmrec search --cells --apply --track {track.name}"
    return None


def split_runnable(cases: Iterable[Case], track: TrackSettings) -> tuple[list[Case], list[Case]]:
    """(cases that can run now, cases that cannot)."""
    runnable: list[Case] = []
    others: list[Case] = []
    for case in cases:
        (others if reason_not_now(case, track) else runnable).append(case)
    return runnable, others


def reads_fine_tuned(track: TrackSettings, case: Mapping[str, Any]) -> bool:
    """Whether a case needs the fine-tuned encoder: under FT, or end to end from it (``end_to_end.weights``).

    As the track and its arm declare it; a value that is not allowed is told where the settings are built.
    """
    if case["paradigm"] not in ("ETE", WARM):
        return bool(case["paradigm"] == "FT")
    entry = track.encoders.get(case["encoder"], {}).get("end_to_end")
    weights = entry.get("weights") if isinstance(entry, Mapping) else None
    if (arm := track.arms.get(case.get("arm", "none"))) is not None:
        weights = arm.settings.get(f"{OF_ENCODER}weights", weights)
    return bool(weights == "FT")


def declared_digest(track: TrackSettings, case: Mapping[str, Any]) -> str:
    """What the track file declares for a case: the data set, encoder, model, training and protocol.

    Tells today's results from yesterday's. Settings of a paradigm that the case does not go through do not count.
    """
    dataset = track.datasets.get(case["dataset"])
    entry = track.encoders.get(case["encoder"])
    if entry is not None and is_multimodal(entry):
        unused = {name for name, paradigms in _PARADIGMS_OF.items() if case["paradigm"] not in paradigms}
        unused -= {"fine_tune"} if reads_fine_tuned(track, case) else set()
        entry = {name: value for name, value in entry.items() if name not in unused}
    searched = searched_settings(track.searched, case)
    return digest(
        {
            "dataset": dataset.declared() if dataset else case["dataset"],
            "encoder": entry,
            "missing": track.missing,
            "normalise_features": track.normalise_features,
            "model": track.models.get(case["model"]),
            "training": track.training,
            "evaluation": track.evaluation.model_dump(),
            **({"arm": track.arms[case["arm"]].settings} if case.get("arm", "none") in track.arms else {}),
            **({"searched": searched} if searched else {}),
            **({"split": case["split"]} if case.get("split") else {}),
        }
    )
