"""What a run is held against: cheap recommenders and the content-free twin, on the same split, with a paired test."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lmmrec_core.errors import LmmrecError
from lmmrec_core.flow import Result
from lmmrec_core.names import CHEAP_MODELS, ID_TWINS
from lmmrec_core.recommenders import RECOMMENDERS, learns
from lmmrec_core.significance.comparison import Comparison, compare_trained
from lmmrec_core.study.cases import Case, reads_content
from lmmrec_core.study.run import is_done, plan, run_case
from lmmrec_core.study.workspace import Workspace
from lmmrec_core.training.loop import TrainingSettings

SHOWN = ("recall@20", "ndcg@20")
NOT_TESTED = "not tested: all test users are one"


@dataclass(frozen=True, eq=False)
class Reference:
    """One model beside a run: its result, or in words why there is none."""

    model: str
    result: Result | None
    why: str = ""

    def compared(self, run: Result, metric: str) -> Comparison | None:
        """The run against it, over users; None without a result, and where one user says all, so nothing is tested."""
        if self.result is None or is_one_person(run):
            return None
        return compare_trained(run.values(metric), self.result.values(metric), run.per_user.get("group"))


def is_one_person(run: Result) -> bool:
    """Whether all test users of a run are one person: no test can tell anything of more."""
    people = run.per_user.get("group")
    return len(run.per_user) < 2 if people is None else people.nunique() < 2


def twin_of(model: str) -> str | None:
    """The nearest recommender without content; None for one that reads none itself."""
    return ID_TWINS.get(model, "lightgcn") if reads_content(model) else None


def runs_beside(
    case: Case, workspace: Workspace, overrides: Mapping[str, Any], train_twin: bool = False
) -> list[Reference]:
    """Popularity and item-kNN, and the twin if its result is stored or ``train_twin`` asks to train it.

    All on the very split of ``case``. The twin is trained as the model is: of ``overrides`` it takes those of training
    and ``embedding_dim``. What fails is told and costs the run nothing.
    """
    found = [_reference(case, model, workspace, {}, True) for model in CHEAP_MODELS if model != case.model]
    if (twin := twin_of(case.model)) is not None:
        shared = {*TrainingSettings.model_fields, "embedding_dim"}
        own = {key: value for key, value in overrides.items() if key in shared}
        found.append(_reference(case, twin, workspace, own, train_twin))
    return found


def _reference(case: Case, model: str, workspace: Workspace, overrides: Mapping[str, Any], make: bool) -> Reference:
    try:
        seed = case.seed if learns(RECOMMENDERS[model]) else 1
        other = Case(track=case.track, dataset=case.dataset, model=model, split=case.split, seed=seed)
        todo = plan(other, workspace, overrides)
        if not make and not is_done(todo, workspace):
            return Reference(model, None, "not trained; --twin trains it too")
        return Reference(model, run_case(todo, workspace))
    except LmmrecError as error:
        return Reference(model, None, str(error))


def below_popularity(run: Result, beside: list[Reference]) -> list[str]:
    """The shown metrics in which the run is below the first of :data:`CHEAP_MODELS`."""
    floor = next((other.result for other in beside if other.model == CHEAP_MODELS[0]), None)
    return [] if floor is None else [metric for metric in SHOWN if run.mean(metric) < floor.mean(metric)]
