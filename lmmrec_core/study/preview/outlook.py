"""What a run of some cases would do: which are stored, can run now, wait, or are left out; and at what cost."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from lmmrec_core.errors import ConfigError
from lmmrec_core.study.cases import Case, identity_of, left_out, reason_not_run
from lmmrec_core.study.preview.costs import CostEstimate, estimate_costs
from lmmrec_core.study.preview.needs import Missing, sort_by_need
from lmmrec_core.study.study import Study
from lmmrec_core.study.workspace import Workspace


@dataclass(frozen=True)
class Outlook:
    """What is known of each planned case; it is counted in one of the fields, ``needs`` apart."""

    planned: int
    stored: tuple[Case, ...]  # have a result that counts
    ready: tuple[Case, ...]
    waiting: tuple[Case, ...]  # lack something
    needs: dict[Missing, tuple[Case, ...]]  # each thing → the cases without a result that need it
    left_out: dict[str, int]  # why the track does not run cases → how many
    impossible: dict[str, int]  # what a case of the grid has not got in this version → how many
    faults: dict[str, tuple[Case, ...]] = field(default_factory=dict)  # a wrong setting → the cases that have it

    def plain(self) -> dict[str, Any]:
        """The same in plain JSON values; cases are counted."""
        return {
            "planned": self.planned, "stored": len(self.stored), "can run now": len(self.ready),
            "wait": len(self.waiting), "left out": sum(self.left_out.values()),
            "cannot yet": sum(self.impossible.values()),
            "needs": [
                {"what": need.what, "get": need.get, "fetched by the run": need.fetched, "cases": len(cases)}
                for need, cases in self.needs.items()
            ],
            "reasons": {**self.left_out, **self.impossible},
            "wrong settings": {fault: len(cases) for fault, cases in self.faults.items()},
        }  # fmt: skip


def outlook(study: Study, cases: Sequence[Case]) -> Outlook:
    """Sort cases of a study's grid. Nothing large is read, and nothing is computed.

    Raises ConfigError for options that the format of a data set does not have.
    """
    counted, _ = study.sorted_records()
    done = {identity_of(record.case) for record in counted}
    stored, todo = [], []
    omitted: Counter[str] = Counter()
    impossible: Counter[str] = Counter()
    for case in cases:
        if tuple(case.model_dump().items()) in done:
            stored.append(case)
        elif (reason := reason_not_run(case, study.track)) is None:
            todo.append(case)
        else:
            (impossible if left_out(case, study.track) is None else omitted)[reason] += 1
    faults = _faults(todo, study.workspace)
    wrong = {case for cases in faults.values() for case in cases}
    todo = [case for case in todo if case not in wrong]
    ready, needs = sort_by_need(todo, study.workspace)
    at_hand = set(ready)
    return Outlook(
        len(cases), tuple(stored), tuple(ready), tuple(case for case in todo if case not in at_hand),
        {need: tuple(mine) for need, mine in needs.items()}, dict(omitted), dict(impossible), faults,
    )  # fmt: skip


def _faults(cases: Sequence[Case], workspace: Workspace) -> dict[str, tuple[Case, ...]]:
    """What is wrong with the settings of cases → those cases. Seeds and splits share theirs."""
    if not cases:
        return {}
    from lmmrec_core.study.declared.settings import settings_of

    on_cpu = workspace.on_cpu()  # a GPU may be elsewhere
    alike: dict[Case, list[Case]] = {}
    for case in cases:
        alike.setdefault(case.model_copy(update={"seed": 0, "split": 0}), []).append(case)
    found: dict[str, tuple[Case, ...]] = {}
    for members in alike.values():
        try:
            settings_of(members[0], on_cpu)
        except ConfigError as error:
            found[str(error)] = (*found.get(str(error), ()), *members)
    return found


def cost_of(study: Study, seen: Outlook) -> CostEstimate:
    """What the cases without a result cost, those that wait included. Raises as :func:`~.costs.estimate_costs`."""
    return estimate_costs([*seen.ready, *seen.waiting], study.sorted_records()[0], study.workspace)
