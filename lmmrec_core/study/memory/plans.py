"""What the cases of a track take at their peak: of one that is about to run, and of several at once."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from lmmrec_core.config import Settings
from lmmrec_core.errors import LmmrecError
from lmmrec_core.flow import Modality, Split
from lmmrec_core.names import MODALITY_SETS, TWICE
from lmmrec_core.recommenders import RECOMMENDERS
from lmmrec_core.study.cases import Case
from lmmrec_core.study.declared.settings import settings_of
from lmmrec_core.study.memory.demand import Demand, demand_of_run
from lmmrec_core.study.memory.room import refuse_unfit, room
from lmmrec_core.study.preview.costs import Size, known_sizes
from lmmrec_core.study.track import TrackSettings, is_multimodal
from lmmrec_core.study.workspace import Workspace
from lmmrec_core.training.joint.settings import EndToEndSettings
from lmmrec_core.training.loop import TrainingSettings

#: Length of a feature row, of encoders for which it is known without building them.
WIDTHS = {
    "ready": 4096, "minilm": 384, "lite0": 1280, "clip-b16": 512, "clip-b32": 512, "clip-l14": 768,
    "vlmo-base-plus": 544,
}  # fmt: skip


class _Matrix(Protocol):
    @property
    def shape(self) -> Sequence[int]: ...


Matrices: TypeAlias = Mapping[Modality, _Matrix]


class SettledRun(Protocol):
    """What of a ``run.Plan`` decides how much memory it takes."""

    @property
    def case(self) -> Case: ...

    @property
    def model(self) -> Settings: ...

    @property
    def training(self) -> TrainingSettings: ...

    @property
    def end_to_end(self) -> EndToEndSettings | None: ...


@dataclass(frozen=True)
class _Resolved:
    case: Case
    model: Settings
    training: TrainingSettings
    end_to_end: EndToEndSettings | None


def refuse_plan_that_cannot_fit(todo: SettledRun, split: Split, content: Matrices, track: TrackSettings) -> None:
    """Whatever trains a plan calls this first, with its split and any feature matrices at hand.

    Raises TrainingError as ``room.refuse_unfit``.
    """
    size = Size(split.n_users, split.n_items, len(split.train))
    demand = _demand(todo, size, {modality: matrix.shape[1] for modality, matrix in content.items()}, track)
    refuse_unfit(demand, room(todo.training.device))


def demands_of(plans: Iterable[SettledRun], workspace: Workspace) -> list[Demand]:
    """What plans take before any data is read, with rows of the encoders' published length.

    Plans on data sets whose size is not known are left out. Rows of an encoder of another kind count as nothing: they
    are short.
    """
    sizes, track = known_sizes(workspace), workspace.track
    return [
        _demand(p, sizes[p.case.dataset], expected_widths(track, p.case), track)
        for p in plans
        if p.case.dataset in sizes
    ]


def memory_told(todo: SettledRun, workspace: Workspace) -> str:
    """What a planned run takes and what is free, in words, before its features are made."""
    dataset = workspace.dataset(todo.case.dataset, todo.case.split)
    ready = dataset.catalogue.ready_features
    widths = expected_widths(workspace.track, todo.case) | {
        m: matrix.shape[1] for m, matrix in ready.items() if m in MODALITY_SETS.get(todo.case.modalities, ())
    }
    split = dataset.split
    size = Size(split.n_users, split.n_items, len(split.train))
    demand = _demand(todo, size, widths, workspace.track)
    return f"{demand.told()}; {room(todo.training.device).told()}"


def demands_of_cases(cases: Iterable[Case], workspace: Workspace, device: str) -> list[Demand]:
    """As :func:`demands_of`, for cases that are not planned yet; without those that have a wrong setting."""
    settled = []
    for case in cases:
        try:
            found = settings_of(case, workspace, {"device": device})
        except LmmrecError:  # told where the case is planned
            continue
        settled.append(_Resolved(case, found.model, found.training, found.end_to_end))
    return demands_of(settled, workspace)


def expected_widths(track: TrackSettings, case: Case) -> dict[Modality, int]:
    """Length of the feature rows that a case reads, as far as it is known without building its encoder."""
    if case.encoder == "none":
        return {}
    modalities = MODALITY_SETS["V&T" if case.modalities == TWICE else case.modalities]
    entry = track.encoder(case.encoder)
    members = {m: entry if is_multimodal(entry) else entry.get(m) for m in modalities}
    names = {m: member.get("encoder") if isinstance(member, Mapping) else member for m, member in members.items()}
    return {m: WIDTHS[str(name)] for m, name in names.items() if str(name) in WIDTHS}


def _demand(todo: SettledRun, size: Size, widths: Mapping[Modality, int], track: TrackSettings) -> Demand:
    case, member = todo.case, ""
    if todo.end_to_end is not None:
        member = str(track.encoder(case.encoder).get("encoder"))
    return demand_of_run(
        f"{case.model} on {case.dataset}", case.model, todo.model, todo.training, size,
        widths if RECOMMENDERS[case.model].uses_features else {}, todo.end_to_end, member,
    )  # fmt: skip
