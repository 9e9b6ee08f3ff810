"""The grid of the study as data: model × encoder × paradigm × data set × modalities × control × seed.

The paper's cases come first (Tables 1, 3, 4, 5); ours beyond it are the ID-only floor, two later models as
anchors, the modality ablation of every model and the content controls. A case that cannot run yet stays in the grid, so
that the tables say *not run*.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from lmmrec_core.config import Settings
from lmmrec_core.errors import ConfigError, unknown
from lmmrec_core.names import (
    CONTROLS,
    FLOOR_MODELS,
    LATER_MODELS,
    LMM_ENCODERS,
    PAPER_MODELS,
    PARADIGMS,
    SEEDLESS_MODELS,
)

QUESTIONS = ("data", "motivation", "rq1", "rq2", "rq3")


class Case(Settings):
    """One cell of the grid. Its fields are the ``case`` of a stored run."""

    track: str
    dataset: str
    model: str
    encoder: Literal["none", "baseline", "clip", "vlmo", "own"] = "none"
    paradigm: Literal["none", "PT", "FT", "ETE"] = "none"
    modalities: Literal["none", "V&T", "V", "T"] = "none"
    control: Literal["none", "shuffled", "noise", "zero"] = "none"
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
        return "-".join([*parts, f"s{self.seed}"])

    def questions(self) -> frozenset[str]:
        """The research questions that read this case."""
        floor = self.model in FLOOR_MODELS
        if floor:
            return frozenset({"motivation", "rq1", "rq2", "rq3"})
        asked = set()
        both = self.modalities == "V&T"
        if self.encoder == "baseline" and self.control == "none":
            asked |= {"motivation"} | ({"rq1", "rq2"} if both else set())
        if self.paradigm == "PT" and both and self.control == "none":
            asked |= {"rq1", "rq2"}
        if self.paradigm in ("FT", "ETE") and both and self.control == "none":
            asked |= {"rq2"}
        if self.control != "none" or not both or self.encoder == "baseline" or self.paradigm == "ETE":
            asked |= {"rq3"}
        return frozenset(asked)


def parse_question(text: str | int | None) -> str | None:
    """``2``, ``"2"``, ``"rq2"``, ``"motivation"`` → the question's name; None or "" → None (all)."""
    if text is None or str(text).strip() == "":
        return None
    name = str(text).strip().lower()
    name = f"rq{name}" if name.isdigit() else name
    if name not in QUESTIONS:
        raise unknown("research question", text, [*QUESTIONS, "1", "2", "3"], "RQ")
    return name


def grid(
    track: str, datasets: Iterable[str], seeds: Sequence[int], ablate: Mapping[str, Sequence[str]] | None = None
) -> tuple[Case, ...]:
    """Every case of the study on a track, runnable or not, in the order of the tables.

    ``ablate``: multi-modal encoder → paradigms under which modalities are removed. Table 5 does so under CLIP-ETE
    only; None does for every encoder and paradigm (question 67).
    """
    chosen = {encoder: PARADIGMS for encoder in LMM_ENCODERS} if ablate is None else ablate
    if len(set(seeds)) != len(seeds) or not seeds:
        raise ConfigError(f"seeds {list(seeds)} must be distinct and at least one; write for instance SEEDS='1 2 3'")
    cases = []
    for dataset in datasets:
        for model in FLOOR_MODELS:
            used = seeds[:1] if model in SEEDLESS_MODELS else seeds
            cases += [Case(track=track, dataset=dataset, model=model, seed=seed) for seed in used]
        for model in (*PAPER_MODELS, *LATER_MODELS):
            for seed in seeds:
                cases += _cases_of_model(track, dataset, model, seed, chosen)
    return tuple(cases)


def _cases_of_model(track: str, dataset: str, model: str, seed: int, ablate: Mapping[str, Sequence[str]]) -> list[Case]:
    cell = {"track": track, "dataset": dataset, "model": model, "seed": seed}
    cases = [Case.build({**cell, "encoder": "baseline", "modalities": m}) for m in ("V&T", "V", "T")]
    cases += [Case.build({**cell, "encoder": "baseline", "modalities": "V&T", "control": c}) for c in CONTROLS]
    for encoder in LMM_ENCODERS if model in PAPER_MODELS else ():
        for paradigm in PARADIGMS:
            sets = ("V&T", "V", "T") if paradigm in ablate.get(encoder, ()) else ("V&T",)
            cases += [Case.build({**cell, "encoder": encoder, "paradigm": paradigm, "modalities": m}) for m in sets]
    return cases
