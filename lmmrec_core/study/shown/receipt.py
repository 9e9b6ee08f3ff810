"""What stands behind the results of a track: one row per run, and one for each thing that runs were made from.

Digests of files, weights and features are SHA-256; eight digits of them are shown in a row of a run, sixteen where the
digest is what the row is about.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from lmmrec_core.digests import digest
from lmmrec_core.flow import was_trained
from lmmrec_core.names import MEMBER_TITLES, WARM
from lmmrec_core.questions import Variant
from lmmrec_core.report.labels import Labels
from lmmrec_core.report.receipt import NO_ENERGY
from lmmrec_core.results.provenance import code_now, code_state
from lmmrec_core.results.store import CASE, Record
from lmmrec_core.study.cases import Case, identity_of, reason_not_run
from lmmrec_core.study.track import DatasetSettings, TrackSettings
from lmmrec_core.study.weights.records import weights_read

_SHORT, _LONG = 8, 16
#: What becomes of a planned case; each is in one of these.
STATES = ("run", "not trained", "uncommitted", "not run", "left out")
SOURCE_COLUMNS = ("what", "of", "digest", "from", "made by", "runs")


def receipt_rows(counted: Iterable[Record], withheld: Iterable[Record]) -> pd.DataFrame:
    """One row per stored run: case, scores, cost, the digests of all that it was made from, and the code.

    ``best step``: optimiser step of the kept state; ``stopped``: patience, cap, or why else; empty if not recorded.
    ``code``: committed, uncommitted, uncommitted weights (its own code was committed, that of an encoder's weights was
    not) or unknown; ``in tables``: whether tables use the run. ``energy Wh``: an estimate, where it was asked for.
    ``features`` are those that the recommender was given, and under ETE also those that it ended with; ``weights``
    those of the encoder(s).
    """
    return pd.DataFrame([_row(r, "yes") for r in counted] + [_row(r, "no") for r in withheld])


def _row(record: Record, used: str) -> dict[str, Any]:
    data, made = record.data, record.data["provenance"]
    training = data.get("training") or {}
    return {
        **{name: record.case[name] for name in CASE if name != "track"},
        "recall@20": data["metrics"]["test"]["recall@20"],
        "ndcg@20": data["metrics"]["test"]["ndcg@20"],
        "epochs": training.get("epochs", 0),
        "best step": training.get("best_step", ""),
        "steps": training.get("steps", ""),
        "stopped": training.get("stopped", ""),
        "seconds": data["cost"]["seconds"],
        "peak MiB": data["cost"]["peak_memory_bytes"] / 2**20,
        "energy Wh": round(1000 * energy["kwh"], 4) if (energy := data["cost"].get("energy")) else NO_ENERGY,
        "settings": digest(data["settings"], _SHORT),
        "catalogue": data["data"]["catalogue"][:_SHORT],
        "split": data["data"]["split"][:_SHORT],
        "split seed": "" if data["data"].get("seed") is None else data["data"]["seed"],
        "features": _features(data),
        "weights": ", ".join(weights[:_SHORT] for weights in weights_read(data)) or "none",
        "commit": str(made.get("commit"))[:_SHORT] + ("+" if made.get("dirty") else ""),
        "code": "uncommitted weights"
        if code_state(made) == "uncommitted" and not made.get("dirty")
        else code_state(made),
        "in tables": used,
        "torch": made.get("versions", {}).get("torch"),
        "machine": _machine(made.get("machine", {})),
        "key": record.key,
    }


def _machine(machine: Mapping[str, Any]) -> str:
    """The processor, and the device that a run was trained on if it is another."""
    device = str(machine.get("device", ""))
    found = [str(machine.get("cpu", "unknown")), *([device] if device not in ("", "cpu") else [])]
    return ", ".join(found)


def _features(data: Mapping[str, Any]) -> str:
    entry = data["features"]
    if entry is None:
        return "none"
    ends = [entry["digest"], *([entry["trained"]["digest"]] if "trained" in entry else [])]
    return " → ".join(end[:_SHORT] for end in ends)


def source_rows(
    records: Sequence[Record], made: Iterable[Mapping[str, Any]], track: TrackSettings, labels: Labels
) -> pd.DataFrame:
    """One row per distinct catalogue, split, features and weights of these runs; columns :data:`SOURCE_COLUMNS`.

    ``made``: the records of weights that the track made (``study/weights/records.py``). ``made by`` is the state of the
    code that made the weights; other weights came with a package or a file. Features are listed as the encoder gave
    them: those with one modality or a control of the content are made from these.
    """
    rows: dict[tuple[str, str, str], dict[str, Any]] = {}

    def note(what: str, of: str, found: str, source: str, by: str = "") -> None:
        row = rows.setdefault(
            (what, of, found),
            {"what": what, "of": of, "digest": found[:_LONG], "from": source, "made by": by, "runs": 0},
        )
        row["runs"] += 1

    states = {str(record["weights"]): code_state(record["provenance"]) for record in made}
    for record in records:
        data, variant = record.data, Variant.of(record.case)
        dataset = track.dataset(record.case["dataset"])
        note("catalogue", dataset.title, data["data"]["catalogue"], _source_of(dataset))
        seed = "" if data["data"]["seed"] is None else f", seed {data['data']['seed']}"
        note("split", dataset.title, data["data"]["split"], f"rule {data['data']['rule']}{seed}")
        if data["features"] is not None and variant.whole and variant.paradigm not in ("ETE", WARM):
            note(
                "features", f"{dataset.title}, {labels.variant(variant)}", data["features"]["digest"], _made_on(record)
            )
        for weights, card in weights_read(data).items():
            name = MEMBER_TITLES.get(str(card.get("name")), str(card.get("name")))
            by = states.get(weights, "given" if "file_sha256" in card else "not recorded")
            note("weights", f"{name}-{str(card.get('stage', 'pt')).upper()}", weights, str(card.get("source")), by)
    order = ("catalogue", "split", "features", "weights")
    ordered = sorted(rows.values(), key=lambda row: order.index(row["what"]))
    return pd.DataFrame(ordered, columns=list(SOURCE_COLUMNS))


def _source_of(dataset: DatasetSettings) -> str:
    options = ", ".join(f"{name} {value}" for name, value in dataset.options.items())
    return f"{dataset.source}{f', {dataset.path}' if dataset.path else ''}{f' ({options})' if options else ''}"


def _made_on(record: Record) -> str:
    made = record.data["provenance"]
    return f"PyTorch {made.get('versions', {}).get('torch')}, {made.get('machine', {}).get('cpu')}"


def status_counts(
    cases: Iterable[Case], counted: Sequence[Record], withheld: Iterable[Record], track: TrackSettings
) -> dict[str, Any]:
    """How much of these cases is measured, as plain JSON values: counts by data set, hours, and commits.

    ``datasets`` and ``total`` count cases, a model with its content at one seed: ``planned`` is the sum of
    :data:`STATES`. *Not trained* is told in ``Result.trained``, *uncommitted* in ``Results.withheld``; what the track
    leaves out or cannot run is *left out*. ``training hours`` are those of the counted runs on the clock of their
    machine, each run once. ``commit`` and ``dirty`` are of the code now; ``commits``: how many runs each commit made.
    """
    states = {identity_of(r.case): "run" if was_trained(r.data) else "not trained" for r in counted}
    states |= {identity_of(record.case): "uncommitted" for record in withheld}
    counts: dict[str, Counter[str]] = {name: Counter() for name in track.datasets}
    for case in cases:
        missing = "left out" if reason_not_run(case, track) else "not run"
        counts[case.dataset][states.get(tuple(case.model_dump().items()), missing)] += 1
    hours = dict.fromkeys(track.datasets, 0.0)
    commits: Counter[str] = Counter()
    for record in {record.key: record for record in counted}.values():
        hours[record.case["dataset"]] += record.data["cost"].get("seconds", 0.0) / 3600
        commits[str(record.data["provenance"].get("commit"))] += 1
    return {
        "track": track.name,
        **asdict(code_now()),
        "datasets": {name: _counts(found, hours[name]) for name, found in counts.items()},
        "total": _counts(sum(counts.values(), Counter()), sum(hours.values())),
        "commits": dict(commits.most_common()),
    }


def _counts(found: "Counter[str]", hours: float) -> dict[str, Any]:
    states = {state: found[state] for state in STATES}
    return {"planned": found.total(), **states, "training hours": round(hours, 3)}
