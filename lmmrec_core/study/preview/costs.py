"""What runs will cost, from what was measured: stored runs of the same kind, else the cost table; else nothing.

The table, ``costs.json``, is gathered from the records in ``benchmarks/`` by ``benchmarks/costs.py``: seconds of an
epoch and peak memory of every model at the size of Amazon Baby, and of an update and a fine-tuning step of the official
encoders. A case is trained until its steps are used up in the worst case, so an estimate from the table is a bound:
patience stops most trainings earlier. At another size than Baby's a step is taken to last longer by the ratio of the
interactions or of the users and items, whichever is larger, and never less; such numbers are marked as extrapolated.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from lmmrec_core.errors import ResultError
from lmmrec_core.names import WARM
from lmmrec_core.report.published import printed_count, printed_statistics
from lmmrec_core.results.store import Record
from lmmrec_core.study.cases import Case, reads_fine_tuned
from lmmrec_core.study.datasets import stored_statistics
from lmmrec_core.study.track import TrackSettings, is_multimodal
from lmmrec_core.study.workspace import Workspace

_FILE = Path(__file__).with_name("costs.json")
_SAME = 1.05  # sizes nearer than this are the same
_FLOAT = 4  # bytes
RESIZED_BYTES = 3 * 224 * 224  # of a picture as the official encoders read it


@dataclass(frozen=True)
class Size:
    """How large a data set is; ``rows`` are training rows."""

    users: float
    items: float
    rows: float


@dataclass(frozen=True)
class Cost:
    """What one case costs by one source."""

    seconds: float
    source: str  # what the estimate rests on
    extrapolated: bool = False
    host_bytes: int | None = None
    device_bytes: int | None = None


@dataclass
class Bill:
    """What many cases cost by one source, and the fine-tuning of encoders that they need.

    ``unknown`` counts cases, ``tunings_unknown`` fine-tunings, of which something was not measured: they are in no sum.
    """

    source: str
    cases: int = 0
    extrapolated: int = 0
    unknown: int = 0
    tunings: int = 0
    tunings_unknown: int = 0
    seconds: float = 0.0
    host_bytes: int | None = None  # of the largest
    device_bytes: int | None = None

    def add_case(self, cost: Cost | None) -> None:
        """Take in one case."""
        self.cases += cost is not None
        self.unknown += cost is None
        self._add(cost)

    def add_tuning(self, cost: Cost | None) -> None:
        """Take in the fine-tuning of one encoder."""
        self.tunings += cost is not None
        self.tunings_unknown += cost is None
        self._add(cost)

    def _add(self, cost: Cost | None) -> None:
        if cost is None:
            return
        self.extrapolated += cost.extrapolated
        self.seconds += cost.seconds
        for name in ("host_bytes", "device_bytes"):
            found = [value for value in (getattr(self, name), getattr(cost, name)) if value is not None]
            setattr(self, name, max(found, default=None))


@dataclass(frozen=True)
class CostEstimate:
    """``stored``: cases of whose kind runs are stored. ``machines``: the others, on each machine of the table.

    ``disk``: bytes by what they hold.
    """

    stored: Bill
    machines: tuple[Bill, ...]
    disk: Mapping[str, int] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """The same in plain JSON values."""
        return {"stored": vars(self.stored), "machines": [vars(b) for b in self.machines], "disk_bytes": {**self.disk}}


@cache
def cost_table() -> dict[str, Any]:
    """The table as it is in the package."""
    found: dict[str, Any] = json.loads(_FILE.read_text(encoding="utf-8"))
    return found


def estimate_costs(cases: Sequence[Case], records: Iterable[Record], workspace: Workspace) -> CostEstimate:
    """What it costs to run these cases one after another; ``records`` are stored runs of the track.

    Machines of the table are those that the track may use. Raises ConfigError for settings that nobody has.
    """
    known = _stored_costs(records)
    costs = _Costs(workspace)
    names = ("cpu", "cuda") if workspace.track.device == "auto" else (workspace.track.device.partition(":")[0],)
    stored = Bill("stored runs of the same model, paradigm and data set")
    machines = {name: Bill(_source(name)) for name in names}
    for case in cases:
        if (cost := known.get((case.dataset, case.model, case.paradigm))) is not None:
            stored.add_case(cost)
            continue
        for name, bill in machines.items():
            bill.add_case(costs.of(case, name))
    for name, bill in machines.items():
        for dataset, encoder, _ in _fine_tuned(cases, workspace.track):
            bill.add_tuning(costs.of_fine_tuning(dataset, encoder, name))
    return CostEstimate(stored, tuple(machines.values()), costs.disk(cases))


def _source(machine: str) -> str:
    entry = cost_table()["machines"][machine]
    return f"{entry['title']} ({entry['from']})"


def _stored_costs(records: Iterable[Record]) -> dict[tuple[str, str, str], Cost]:
    """(data set, model, paradigm) → the mean seconds and largest memory of its runs."""
    runs: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
    for record in records:
        key = (str(record.case["dataset"]), str(record.case["model"]), str(record.case["paradigm"]))
        runs.setdefault(key, []).append(record.data["cost"])
    return {
        key: Cost(
            sum(float(cost["seconds"]) for cost in costs) / len(costs),
            f"{len(costs)} stored runs",
            host_bytes=max(int(cost["peak_memory_bytes"]) for cost in costs),
            device_bytes=max(
                (int(c["peak_device_memory_bytes"]) for c in costs if "peak_device_memory_bytes" in c), default=None
            ),
        )
        for key, costs in runs.items()
    }


class _Costs:
    """Costs of the cases of a workspace by the table."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace, self.table = workspace.on_cpu(), cost_table()  # settings are asked for, not a GPU
        self._sizes = known_sizes(workspace)

    def of(self, case: Case, machine: str) -> Cost | None:
        """The most that a case costs there; None if something of it was not measured."""
        from lmmrec_core.study.declared.settings import settings_of

        size = self._sizes.get(case.dataset)
        rows = [row for row in self.table["epochs"] if (row["machine"], row["model"]) == (machine, case.model)]
        if size is None or not rows:
            return None
        (row,) = rows
        larger = max(1.0, size.rows / row["rows"], (size.users + size.items) / (row["users"] + row["items"]))
        ranking = row["evaluation_seconds"] * max(1.0, size.users * size.items / (row["users"] * row["items"]))
        other = not 1 / _SAME < size.rows / row["rows"] < _SAME
        memory = {name: None if other else row[name] for name in ("host_bytes", "device_bytes")}
        if not row["trained"]:
            closed = row["epoch_seconds"] + 2 * ranking
            return None if larger > _SAME else Cost(closed, _source(machine), other, **memory)
        training = settings_of(case, self.workspace).training
        if training.batch_size != row["batch_size"]:
            return None
        pace = training.pace(int(size.rows))
        step = row["epoch_seconds"] / -(-row["rows"] // row["batch_size"]) * larger
        seconds = pace.epochs * pace.n_batches * step + (pace.epochs // pace.evaluate_every + 2) * ranking
        if case.paradigm not in ("ETE", WARM):
            return Cost(seconds, _source(machine), other, **memory)
        encoder = self._update(case, machine)
        if encoder is None:
            return None
        update, per_epoch = encoder
        passes = pace.epochs * min(per_epoch, pace.n_batches) * update["seconds_per_item"] * size.items
        seconds = seconds * (2 if case.paradigm == WARM else 1) + passes
        peaks = [value for value in (memory["device_bytes"], update["device_bytes"]) if value is not None]
        return Cost(seconds, _source(machine), True, memory["host_bytes"], max(peaks, default=None))

    def _update(self, case: Case, machine: str) -> tuple[Mapping[str, Any], int] | None:
        """The measured update of a whole encoder, and how many an epoch has at most."""
        from lmmrec_core.study.weights.recipes import end_to_end_settings, read_entry

        joint = end_to_end_settings(self.workspace.track, case.encoder)
        if joint.reading != "e2" or joint.policy != "window" or joint.epochs_per_update > 1:
            return None
        wanted = (machine, read_entry(self.workspace.track, case.encoder).encoder, joint.precision, joint.chunk)
        for row in self.table["updates"]:
            if (row["machine"], row["encoder"], row["precision"], row["chunk"]) == wanted:
                most = 10**9 if joint.updates_per_epoch == "every_step" else joint.updates_per_epoch
                return row, min(most, self.table["updates_per_epoch"].get(case.model, most))
        return None

    def of_fine_tuning(self, dataset: str, encoder: str, machine: str) -> Cost | None:
        """The most that fine-tuning an encoder once costs there; None if its step was not measured."""
        from lmmrec_core.encoders.fine_tuning.settings import FineTuneSettings
        from lmmrec_core.study.weights.recipes import read_entry

        size, entry = self._sizes.get(dataset), read_entry(self.workspace.track, encoder)
        settings = FineTuneSettings.build(entry.fine_tune, f"encoders, {encoder}, fine_tune")
        wanted = (machine, entry.encoder, list(settings.objectives), settings.precision)
        at_once = (settings.batch_size, settings.micro_batch)
        if size is None or settings.part != "all":
            return None
        for row in self.table["fine_tuning"]:
            measured = (row["machine"], row["encoder"], row["objectives"], row["precision"])
            if measured == wanted and (row["batch_size"], row["micro_batch"]) == at_once:
                seconds = settings.epochs * size.items * row["seconds_per_pair"]
                return Cost(seconds, _source(machine), device_bytes=row["device_bytes"])
        return None

    def disk(self, cases: Sequence[Case]) -> dict[str, int]:
        """Bytes of the weights and resized pictures that these cases leave, of encoders whose size is known.

        Weights are those of ETE, and of FT. Encoders of one network share the pictures of a data set; CLIP crops them
        and VLMo squashes them, so each has its own.
        """
        track, parameters = self.workspace.track, self.table["parameters"]
        found: dict[str, int] = {}
        if pictures := sum(self._pictures(dataset) for dataset, _ in self._read(cases)):
            found["pictures as encoders read them"] = pictures

        def note(what: str, encoder: str) -> None:
            member = track.encoder(encoder).get("encoder") if is_multimodal(track.encoder(encoder)) else None
            if member in parameters:
                found[what] = found.get(what, 0) + parameters[member] * _FLOAT

        for case in cases:
            if case.paradigm in ("ETE", WARM) and self.workspace.keep_encoders is not False:
                note("encoders trained end to end", case.encoder)
        for _, encoder, _ in _fine_tuned(cases, track):
            note("fine-tuned encoders", encoder)
        return found

    def _read(self, cases: Sequence[Case]) -> set[tuple[str, str]]:
        """(data set, network) of the pictures that are kept as bytes; the network is how its members' names begin."""
        track, found = self.workspace.track, set()
        for case in cases:
            entry = track.encoder(case.encoder) if case.encoder != "none" else {}
            if is_multimodal(entry) and entry["encoder"] in self.table["parameters"] and "V" in case.modalities:
                found.add((case.dataset, str(entry["encoder"]).partition("-")[0]))
        return found

    def _pictures(self, dataset: str) -> int:
        """Bytes of the pictures of a data set: each of its items has one at most."""
        size = self._sizes.get(dataset)
        return 0 if size is None else round(size.items * RESIZED_BYTES)


def _fine_tuned(cases: Iterable[Case], track: TrackSettings) -> dict[tuple[str, str, int], None]:
    needy = [case for case in cases if reads_fine_tuned(track, case.model_dump())]
    return dict.fromkeys((case.dataset, case.encoder, case.seed) for case in needy)


def known_sizes(workspace: Workspace) -> dict[str, Size]:
    """Data set → its size as counted here, else as the paper's Table 2 prints it; absent if neither is known."""
    found = {}
    try:
        counted = stored_statistics(workspace.track, workspace.results)
    except ResultError:  # told where the file is read for its content
        counted = stored_statistics(workspace.track, workspace.results / "none")
    for name, settings in workspace.track.datasets.items():
        if name in counted.index:
            users, items, rows = (float(str(counted.loc[name, what])) for what in ("users", "items", "train"))
            found[name] = Size(users, items, rows)
        elif settings.source == "amazon" and name in printed_statistics().columns:
            users, items, interactions = (printed_count(what, name) for what in ("Users", "Items", "Interactions"))
            found[name] = Size(users, items, interactions * cost_table()["train_share"])
    return found
