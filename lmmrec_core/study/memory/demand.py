"""How much memory work takes at its peak, estimated before it starts.

What a recommender takes is counted: its weights (``recommenders/weights.py``), each with a gradient, two moments and
the kept copy of the best epoch; its features; what a step and a ranking need beside them. ``counts.json`` says how
often each of those is there; the counts are held against the peaks that the benchmarks measured
(tests/study/memory/test_demand.py). What an encoder takes is read from the cost table, which has the peak of its update
for two numbers of items at once.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from lmmrec_core.config import Settings
from lmmrec_core.encoders.fine_tuning.settings import FineTuneSettings
from lmmrec_core.flow import Modality
from lmmrec_core.recommenders import RECOMMENDERS
from lmmrec_core.recommenders.weights import weights_of
from lmmrec_core.study.preview.costs import RESIZED_BYTES, Size, cost_table
from lmmrec_core.training.joint.settings import EndToEndSettings
from lmmrec_core.training.loop import TrainingSettings

GIB = 2**30
_FILE = Path(__file__).with_name("counts.json")
_FLOAT, _INT = 4, 8  # bytes
_MAPPED = 384
_PROGRAM = 700 * 2**20  # Python, PyTorch and what else is loaded
_CUDA = 600 * 2**20  # what CUDA itself takes on a device
_KEPT = 5  # a parameter, its gradient, Adam's two moments, and the copy of the best epoch; a map has part of another
_TRAINED = 4  # of an encoder, without the copy
_RANKED, _LISTED = 256, 50  # users scored at a time, items of a list
_FORWARD = 1 / 8  # of what an item takes with gradients: one layer at a time, without them
_MARGIN = 1.1
EXTRACTED = {False: 32, True: 256}  # items encoded at a time when features are made: on the CPU, on a GPU


@dataclass(frozen=True)
class Counts:
    """How often something is in memory at the peak of a training; rows are those of all users and items.

    ``rows``: rows of ``embedding_dim``, for a step; ``features``: copies of the features beside the two that every run
    has; ``batch``: feature rows of a batch's positives and negatives; ``edges``: numbers for each interaction;
    ``wide``: rows of all users and items that are as wide as the features, which are mapped first where they are wider
    than 384; ``links``: numbers for each link of an item to its ``k`` nearest of a modality; ``squares``: numbers for
    each pair of items.
    """

    rows: float = 2
    features: float = 0
    batch: float = 0
    edges: float = 0
    wide: float = 0
    links: float = 0
    squares: float = 0


@cache
def memory_counts(model: str) -> Counts:
    """Those of a model; one of another package is taken to be like the largest of ours."""
    known = json.loads(_FILE.read_text(encoding="utf-8"))
    if model in known:
        return Counts(**known[model])
    fields = Counts.__dataclass_fields__
    return Counts(**{name: max(row.get(name, 0) for row in known.values() if "squares" not in row) for name in fields})


@dataclass(frozen=True)
class Demand:
    """Bytes at the peak, by what takes them, in main memory and on the GPU; ``what`` names the work."""

    what: str
    host: Mapping[str, int] = field(default_factory=dict)
    device: Mapping[str, int] = field(default_factory=dict)  # empty where no GPU is used
    cures: tuple[str, ...] = ()

    @property
    def host_bytes(self) -> int:
        return round(_MARGIN * sum(self.host.values()))

    @property
    def device_bytes(self) -> int:
        return round(_MARGIN * sum(self.device.values()))

    def told(self) -> str:
        """For instance "about 2.1 GiB (features 1.2, tables 0.3)"; parts below 0.1 GiB are not named."""
        told = [_in_words(self.host_bytes, self.host, "")]
        if self.device:
            told.append(_in_words(self.device_bytes, self.device, " on the GPU"))
        return ", ".join(told)


def demand_of_run(
    what: str,
    model: str,
    settings: Settings,
    training: TrainingSettings,
    size: Size,
    widths: Mapping[Modality, int],
    joint: EndToEndSettings | None = None,
    encoder: str = "",
) -> Demand:
    """What training and evaluating a recommender takes.

    ``size`` and ``widths`` of its data; under end-to-end training the settings of that, and the encoder's name among
    ``ENCODERS``. An encoder that is not in the cost
    table counts as nothing: it is smaller than those that are.
    """
    counts = memory_counts(model)
    dim, nodes, width = getattr(settings, "embedding_dim", 64), size.users + size.items, sum(widths.values())
    made = weights_of(RECOMMENDERS[model], settings, int(size.users), int(size.items), widths)
    near = min(getattr(settings, "k", 0), size.items) * len(widths)
    content, on_gpu = size.items * width * _FLOAT, training.device.startswith("cuda")
    work = {
        "weights": (_KEPT * made.trained + made.maps + 2 * made.fixed) * _FLOAT,
        "steps": counts.rows * nodes * dim * _FLOAT + counts.batch * 2 * training.batch_size * width * _FLOAT
        + counts.edges * size.rows * _FLOAT + counts.squares * size.items**2 * _FLOAT
        + counts.links * size.items * near * _FLOAT
        + counts.wide * nodes * sum(min(each, _MAPPED) for each in widths.values()) * _FLOAT,
        "features": counts.features * content,
        "ranking": 4 * _RANKED * size.items * _FLOAT,
    }  # fmt: skip
    if getattr(settings, "trains_features", False) and joint is None:
        work["trained copies of the features"] = _KEPT * content
    host: dict[str, float] = {
        "program": _PROGRAM,
        "features": 2 * content,
        "lists": size.users * (2 * _LISTED * _INT + 800) + 6 * size.rows * _INT,
    }
    cures = ["lower embedding_dim", "lower batch_size"]
    if "trained copies of the features" in work:
        cures.insert(0, "set trainable_features=false")
    if joint is not None and joint.reading != "e1":
        of_encoder, pictures = _of_joint(encoder, joint, content, training.device), size.items * RESIZED_BYTES
        work = {**work, **of_encoder}
        host["pictures"] = pictures if of_encoder and "visual" in widths else 0
        cures.insert(0, f"lower end_to_end.chunk (now {joint.chunk})")
    device: dict[str, float] = {}
    if on_gpu:
        device = {"program": _CUDA, **work, "features": work["features"] + content}
    else:
        host = {key: host.get(key, 0) + work.get(key, 0) for key in (*host, *work)}
    return Demand(what, _whole(host), _whole(device), tuple(cures))


def _of_joint(encoder: str, joint: EndToEndSettings, content: float, device: str) -> dict[str, float]:
    """What end-to-end training adds: the features with their gradients, the encoder, and a chunk's activations."""
    found = activations(encoder, joint.precision)
    if found is None:
        return {}
    parameters, per_item = found
    trained = _TRAINED + 1 if joint.reading == "e2" else 2  # and the copy of the best epoch
    return {
        "features and their gradients": 3 * content,
        "encoder": trained * parameters * _FLOAT,
        f"activations of {joint.chunk} items": joint.chunk * per_item,
    }


def activations(encoder: str, precision: str) -> tuple[int, float] | None:
    """(parameters of an encoder, bytes that an item takes while gradients flow); None if it was not measured."""
    table = cost_table()
    rows = sorted(
        (row["chunk"], row["device_bytes"])
        for row in table["updates"]
        if (row["encoder"], row["precision"]) == (encoder, precision)
    )
    if encoder not in table["parameters"] or len(rows) < 2:
        return None
    (few, small), (many, large) = rows[0], rows[-1]
    return int(table["parameters"][encoder]), (large - small) / (many - few)


def demand_of_tuning(what: str, encoder: str, settings: FineTuneSettings) -> Demand | None:
    """What fine-tuning an encoder takes ; None if its step was not measured."""
    table = cost_table()
    rows = [
        row
        for row in table["fine_tuning"]
        if (row["encoder"], row["precision"], row["objectives"])
        == (encoder, settings.precision, list(settings.objectives))
    ]
    if not rows or encoder not in table["parameters"]:
        return None
    (row,) = rows
    weights = _TRAINED * table["parameters"][encoder] * _FLOAT
    at_once = settings.micro_batch or settings.batch_size
    work = {
        "encoder": weights + table["parameters"][encoder] * _FLOAT,
        f"activations of {at_once} pairs": (row["device_bytes"] - weights) * at_once / row["micro_batch"],
    }
    cure = f"lower fine_tune.micro_batch (now {at_once}): the gradient stays the same"
    host: dict[str, float] = {"program": _PROGRAM}
    if settings.device.startswith("cuda"):
        return Demand(what, _whole(host), _whole({"program": _CUDA, **work}), (cure,))
    return Demand(what, _whole({**host, **work}), {}, (cure,))


def demand_of_extraction(what: str, encoders: Collection[str], items: int, width: int, device: str) -> Demand:
    """What making features takes: rows of ``width`` numbers of each item, and the weights of the encoders.

    ``encoders`` are names among ``ENCODERS``; one that is not in the cost table is small, and counts as nothing.
    """
    on_gpu = device.startswith("cuda")
    at_once = EXTRACTED[on_gpu]
    known = [found for name in dict.fromkeys(encoders) if (found := activations(name, "fp32"))]
    work = {
        "encoder": sum(parameters for parameters, _ in known) * _FLOAT,
        f"activations of {at_once} items": at_once * max((each for _, each in known), default=0) * _FORWARD,
    }
    host = {"program": _PROGRAM, "features": 2 * items * width * _FLOAT}
    if on_gpu:
        return Demand(what, _whole(host), _whole({"program": _CUDA, **work}))
    return Demand(what, _whole({**host, **work}))


def _in_words(total: int, parts: Mapping[str, int], place: str) -> str:
    named = [f"{name} {size / GIB:.1f}" for name, size in sorted(parts.items(), key=lambda p: -p[1]) if size > GIB / 10]
    return f"about {total / GIB:.1f} GiB{place}" + (f" ({', '.join(named)})" if named else "")


def _whole(parts: Mapping[str, float]) -> dict[str, int]:
    return {name: round(size) for name, size in parts.items() if size}
