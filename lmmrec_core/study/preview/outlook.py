"""What a run of some cases would do: which are stored, can run now, wait, or are left out; and at what cost."""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from lmmrec_core.errors import ConfigError
from lmmrec_core.results.provenance import counts_now
from lmmrec_core.results.store import Record
from lmmrec_core.study.cases import Case, identity_of, left_out, reason_not_run
from lmmrec_core.study.preview.costs import CostEstimate, estimate_costs
from lmmrec_core.study.preview.needs import Missing, sort_by_need
from lmmrec_core.study.study import Study
from lmmrec_core.study.workspace import Workspace


@dataclass(frozen=True)
class Outlook:
    """What is known of each planned case; it is counted in one of the fields, ``needs`` and ``lacking`` apart."""

    planned: int
    stored: tuple[Case, ...]  # have a result that counts
    ready: tuple[Case, ...]
    waiting: tuple[Case, ...]  # lack something
    needs: dict[Missing, tuple[Case, ...]]  # each thing → the cases without a result that need it
    left_out: dict[str, int]  # why the track does not run cases → how many
    impossible: dict[str, int]  # what a case of the grid has not got in this version → how many
    faults: dict[str, tuple[Case, ...]] = field(default_factory=dict)  # a wrong setting → the cases that have it
    lacking: tuple[Case, ...] = ()  # have a result that counts, without the encoder that is asked for

    def plain(self) -> dict[str, Any]:
        """The same in plain JSON values; cases are counted."""
        return {
            "planned": self.planned, "stored": len(self.stored), "can run now": len(self.ready),
            "wait": len(self.waiting), "left out": sum(self.left_out.values()),
            "cannot yet": sum(self.impossible.values()), "lack their encoder": len(self.lacking),
            "needs": [
                {"what": need.what, "get": need.get, "fetched by the run": need.fetched, "cases": len(cases)}
                for need, cases in self.needs.items()
            ],
            "reasons": {**self.left_out, **self.impossible},
            "wrong settings": {fault: len(cases) for fault, cases in self.faults.items()},
        }  # fmt: skip


def outlook(study: Study, cases: Sequence[Case]) -> Outlook:
    """Sort cases of a study's grid. Nothing large is read, and nothing is computed.

    A result without the encoder that the workspace asks for is made again, so its case is none of those stored; code
    whose results would not count leaves it (``study.run.is_done``).

    Raises ConfigError for options that the format of a data set does not have.
    """
    counted, _ = study.sorted_records()
    done = {identity_of(record.case): record for record in counted}
    lacking = _lacking(cases, done, study.workspace)
    again = set(lacking) if counts_now() else set()
    stored, todo = [], []
    omitted: Counter[str] = Counter()
    impossible: Counter[str] = Counter()
    for case in cases:
        if tuple(case.model_dump().items()) in done and case not in again:
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
        {need: tuple(mine) for need, mine in needs.items()}, dict(omitted), dict(impossible), faults, lacking,
    )  # fmt: skip


def _lacking(cases: Sequence[Case], done: Mapping[tuple[Any, ...], Record], workspace: Workspace) -> tuple[Case, ...]:
    """The cases of ``done`` whose encoder is asked for, and not in the cache. A damaged one is told when they run."""
    if not workspace.keep_encoders:
        return ()
    from lmmrec_core.study.declared.settings import settings_of
    from lmmrec_core.study.joint.attach import holds_encoder, why_not_kept

    found, on_cpu = [], workspace.on_cpu()
    for case in cases:
        record = done.get(tuple(case.model_dump().items()))
        if record is None or reason_not_run(case, workspace.track) is not None:
            continue
        kept = why_not_kept(case, settings_of(case, on_cpu).end_to_end, workspace.track) is None
        if kept and not holds_encoder(workspace, record.data):
            found.append(case)
    return tuple(found)


def _faults(cases: Sequence[Case], workspace: Workspace) -> dict[str, tuple[Case, ...]]:
    """What is wrong with the settings of cases → those cases. Seeds and splits share theirs."""
    if not cases:
        return {}
    from lmmrec_core.study.declared.settings import settings_of
    from lmmrec_core.study.weights.recipes import check_entry

    on_cpu = workspace.on_cpu()  # a GPU may be elsewhere
    alike: dict[Case, list[Case]] = {}
    for case in cases:
        alike.setdefault(case.model_copy(update={"seed": 0, "split": 0}), []).append(case)
    found: dict[str, tuple[Case, ...]] = {}
    for members in alike.values():
        try:
            settings_of(members[0], on_cpu)
            if members[0].encoder != "none":
                with suppress(ModuleNotFoundError):  # told as missing
                    check_entry(workspace.track, members[0].encoder)
        except ConfigError as error:
            found[str(error)] = (*found.get(str(error), ()), *members)
    return found


def cost_of(study: Study, seen: Outlook) -> CostEstimate:
    """What the cases without a result cost, those that wait included. Raises as :func:`~.costs.estimate_costs`."""
    return estimate_costs([*seen.ready, *seen.waiting], study.sorted_records()[0], study.workspace)
