"""How fast and how large: the records of the benchmarks as tables and a figure. No number is written here.

``growth.json`` has every recommender at growing sizes, ``speed.json`` at one size with two threads, ``rehearsal.json``
the official encoders and an epoch of each recommender on a GPU, ``official_step.json`` the encoders on a CPU,
``toolbox.json`` another code's seconds beside ours. Each is what the script of its name writes; the last was noted.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from lmmrec_core.errors import ConfigError
from lmmrec_core.home import checkout
from lmmrec_core.names import MODEL_TITLES
from lmmrec_core.report.figures import BLUE, GREY, ORANGE, WIDTH, closed, nothing_drawn, theme
from lmmrec_core.report.html import Sentence, ShownTable, listing_or_words
from lmmrec_core.report.labels import dataset_name, model_name

_GIB = 2**30
_STRAIGHT = 1.1  # a slope up to here is called growth in proportion
_NOT_MEASURED = "Not measured yet: `python benchmarks/growth.py`."
_RECORDS = ("growth", "speed", "rehearsal", "official_step", "toolbox")
_COLOURS = (BLUE, ORANGE, GREY, "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "black")


@dataclass(frozen=True, eq=False)
class SpeedPage:
    """The records, by the name of their file without its ending; an absent one is empty."""

    records: Mapping[str, Mapping[str, Any]]

    @classmethod
    def open(cls, folder: Path | None = None) -> "SpeedPage":
        """Those in ``folder`` (default: ``benchmarks`` of the repository). Raises ConfigError where there is none."""
        root = checkout()
        folder = folder or (root / "benchmarks" if root else None)
        if folder is None or not folder.is_dir():
            raise ConfigError("the records of the benchmarks are in the repository only; open this page there")
        files = {name: folder / f"{name}.json" for name in _RECORDS}
        return cls(
            {
                name: json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
                for name, path in files.items()
            }
        )

    # --- the same code at growing sizes

    def sizes(self) -> ShownTable | Sentence:
        """The made-up catalogues."""
        rows = [
            {
                "size of": dataset_title(name), "users": size["users"], "items": size["items"],
                "interactions": size["train"] + size["valid"] + size["test"], "training rows": size["train"],
            }
            for name, size in self.records["growth"].get("sizes", {}).items()
        ]  # fmt: skip
        return listing_or_words(pd.DataFrame(rows), "speed-sizes", _NOT_MEASURED, digits=0)

    def seconds(self) -> ShownTable | Sentence:
        """Seconds of an epoch and of an evaluation, by model and size."""
        frame = self._by_size(
            {
                "epoch": lambda e: _seconds(e.get("epoch_seconds"), e.get("whole_epoch", True)),
                "evaluation": lambda e: _seconds(
                    e.get("evaluation_seconds"), e.get("users_ranked") == e.get("users_to_rank")
                ),
            }
        )
        return listing_or_words(frame, "speed-seconds", _NOT_MEASURED)

    def memory(self) -> ShownTable | Sentence:
        """Peak of main memory in GiB, by model and size."""
        frame = self._by_size({"": lambda e: f"{e['peak_bytes'] / _GIB:.2f}" if "peak_bytes" in e else ""})
        return listing_or_words(frame, "speed-memory", _NOT_MEASURED)

    def refusals(self) -> str:
        """What a model does not take, in its own words; one Markdown list, or nothing."""
        told = [
            f"- {model_name(model)} at the size of {dataset_title(size)}: {entry['refused']}"
            for size, entries in self._measured().items()
            for model, entry in entries.items()
            if "refused" in entry
        ]
        return "\n".join(told)

    def in_words(self) -> str:
        """How the growth was measured, and whether it is in proportion."""
        measured = [e for entries in self._measured().values() for e in entries.values() if "peak_bytes" in e]
        if not measured:
            return _NOT_MEASURED
        machines = {e["provenance"]["machine"]["cpu"] for e in measured}
        clocks = {e["clock"] for e in measured}
        broken = sum(not e.get("whole_epoch", True) for e in measured)
        largest = max(measured, key=lambda e: e["peak_bytes"])["peak_bytes"]
        drawn = [
            f"{model_name(m)} at the size of {dataset_title(size)}"
            for size, entries in self._measured().items()
            for m, e in entries.items()
            if e.get("neighbours", "searched") != "searched"
        ]
        slopes = self.slopes()
        steep = [model_name(str(m)) for m, s in slopes["epoch"].items() if s > _STRAIGHT]
        told = (
            f"From `benchmarks/growth.json`: {' and '.join(sorted(machines))}, {' and '.join(sorted(clocks))}. "
            f"{broken} of {len(measured)} epochs were broken off, and their seconds worked out from the batches that "
            f"were done (marked ~). The largest peak is {largest / _GIB:.1f} GiB."
        )
        if drawn:
            told += (
                f" For {' and '.join(drawn)}, item graphs were searched in their first blocks only, and the other "
                "neighbours drawn: that changes no size, and leaves out a comparison of all items with each other."
            )
        if len(slopes):
            told += (
                f" Seconds of an epoch grow in proportion to the interactions (slope at most {_STRAIGHT}) in "
                f"{len(slopes) - len(steep)} of {len(slopes)} models"
                + (f"; not in {', '.join(steep)}." if steep else ".")
            )
        return told

    def slopes(self) -> pd.DataFrame:
        """Per model, exponents between the smallest and the largest size: of the seconds of an epoch in the
        interactions, of those of an evaluation in users times items, and of peak memory in the interactions.

        Columns epoch, evaluation, memory; only models measured at both.
        """
        sizes, measured = self.records["growth"].get("sizes", {}), self._measured()
        whole = {name: s["train"] + s["valid"] + s["test"] for name, s in sizes.items() if measured.get(name)}
        if len(whole) < 2:
            return pd.DataFrame(columns=["epoch", "evaluation", "memory"])
        small, large = min(whole, key=lambda n: whole[n]), max(whole, key=lambda n: whole[n])
        pairs = {name: sizes[name]["users"] * sizes[name]["items"] for name in (small, large)}
        rows = {}
        for model in measured[small]:
            one, two = measured[small][model], measured[large].get(model, {})
            if "epoch_seconds" in one and "epoch_seconds" in two:
                rows[model] = {
                    "epoch": _slope(one["epoch_seconds"], two["epoch_seconds"], whole[small], whole[large]),
                    "evaluation": _slope(
                        one["evaluation_seconds"], two["evaluation_seconds"], pairs[small], pairs[large]
                    ),
                    "memory": _slope(one["peak_bytes"], two["peak_bytes"], whole[small], whole[large]),
                }
        return pd.DataFrame.from_dict(rows, orient="index", columns=["epoch", "evaluation", "memory"])

    def growth(self) -> ShownTable | Sentence:
        """The slopes as a table."""
        frame = self.slopes()
        shown = pd.DataFrame(
            {"model": [model_name(str(m)) for m in frame.index], "epoch, in the interactions": frame["epoch"].tolist(),
             "evaluation, in users × items": frame["evaluation"].tolist(),
             "peak memory, in the interactions": frame["memory"].tolist()}
        )  # fmt: skip
        return listing_or_words(shown, "speed-growth", "Two sizes are not measured yet.", digits=2)

    def growth_figure(self) -> Figure:
        """Seconds of an epoch over interactions, both axes logarithmic, one line a model."""
        sizes, measured = self.records["growth"].get("sizes", {}), self._measured()
        lines: dict[str, list[tuple[int, float]]] = {}
        for name, entries in measured.items():
            interactions = sizes[name]["train"] + sizes[name]["valid"] + sizes[name]["test"]
            for model, entry in entries.items():
                if "epoch_seconds" in entry:
                    lines.setdefault(model, []).append((interactions, entry["epoch_seconds"]))
        lines = {model: sorted(points) for model, points in lines.items() if len(points) > 1}
        if not lines:
            return nothing_drawn()
        with theme():
            figure, axes = plt.subplots(figsize=(WIDTH, 5.2), layout="constrained")
            for number, (model, points) in enumerate(lines.items()):
                x, y = zip(*points, strict=True)
                axes.plot(
                    x, y, marker="o", label=model_name(model), color=_COLOURS[number % len(_COLOURS)],
                    linestyle="-" if number < len(_COLOURS) else "--",
                )  # fmt: skip
            start = min(points[0] for points in lines.values())
            end = max(points[-1][0] for points in lines.values())
            axes.plot(
                (start[0], end), (start[1], start[1] * end / start[0]), color=GREY, linestyle=":", label="in proportion"
            )
            axes.set(xscale="log", yscale="log", xlabel="interactions", ylabel="seconds of an epoch")
            axes.legend(frameon=False, fontsize=9, ncols=2)
            return closed(figure)

    # --- at the size of Amazon Baby: threads, a GPU, another code

    def at_baby(self) -> ShownTable | Sentence:
        """Every recommender at the size of Baby: two CPU threads, and a GPU."""
        cpu, gpu = self.records["speed"].get("models", {}), self._part("recommenders")
        rows = [
            {
                "model": title,
                "CPU, s per epoch": _seconds(cpu.get(name, {}).get("epoch_seconds")),
                "CPU, s per evaluation": _seconds(cpu.get(name, {}).get("evaluation_seconds")),
                "CPU, GiB": _gib(cpu.get(name, {}).get("peak_memory_mib", 0) * 2**20),
                "GPU, s per epoch": _seconds(gpu.get(name, {}).get("epoch_seconds")),
                "GPU, s per evaluation": _seconds(gpu.get(name, {}).get("evaluation_seconds")),
                "GPU, GiB": _gib(gpu.get(name, {}).get("peak_device_bytes") or 0),
            }
            for name, title in MODEL_TITLES.items()
            if name in cpu or name in gpu
        ]
        return listing_or_words(pd.DataFrame(rows), "speed-baby", _NOT_MEASURED)

    def machines(self) -> str:
        """On what, and by which commit, in one Markdown sentence."""
        told = []
        if speed := self.records["speed"]:
            made = speed["provenance"]
            told.append(
                f"CPU: {speed['size']['threads']} threads of {made['machine']['cpu']}, `benchmarks/speed.json`, commit "
                f"{made['commit'][:7]}"
            )
        if rehearsal := self.records["rehearsal"]:
            made = rehearsal["machine"]
            told.append(f"GPU: {made['gpu']['name']}, `benchmarks/rehearsal.json`, commit {made['commit'][:7]}")
        return "; ".join(told) + "." if told else _NOT_MEASURED

    def beside_the_toolbox(self) -> ShownTable | Sentence:
        """Seconds of ours and of the toolbox, and how often ours fit into its."""
        rows = [
            {
                "model": model_name(name), "ours, s per epoch": _seconds(row["epoch"]),
                "toolbox, s per epoch": _seconds(row["toolbox_epoch"]),
                "epoch, times": _times(row["toolbox_epoch"] / row["epoch"]),
                "ours, s per evaluation": _seconds(row["evaluation"]),
                "toolbox, s per evaluation": _seconds(row["toolbox_evaluation"]),
                "evaluation, times": _times(row["toolbox_evaluation"] / row["evaluation"]),
            }
            for name, row in self.records["toolbox"].get("models", {}).items()
        ]  # fmt: skip
        return listing_or_words(pd.DataFrame(rows), "speed-toolbox", _NOT_MEASURED)

    def toolbox_conditions(self) -> str:
        """Under which conditions, and the goals that are not reached, from the numbers."""
        record = self.records["toolbox"]
        if not record:
            return _NOT_MEASURED
        ratios = {m: (r["toolbox_epoch"] / r["epoch"], r["toolbox_evaluation"] / r["evaluation"])
                  for m, r in record["models"].items()}  # fmt: skip
        slow = [model_name(m) for m, (epoch, _) in ratios.items() if epoch < 5]
        late = [model_name(m) for m, (_, evaluation) in ratios.items() if evaluation < 20]
        return (
            f"Conditions: {'; '.join(record['conditions'])} (`benchmarks/toolbox.json`). The goal of five times per "
            f"epoch is missed by {', '.join(slow) or 'none'}; that of twenty times per evaluation by "
            f"{', '.join(late) or 'none'}."
        )

    # --- the official encoders

    def encoders(self) -> ShownTable | Sentence:
        """An exact end-to-end update of the official encoders, random weights, on a GPU and on one CPU thread."""
        rows = []
        for name, entry in self._part("update").items():
            encoder, precision, chunk = name.split(", ")
            rows.append(
                {
                    "encoder": encoder, "on": "GPU", "precision": precision, "items at once": chunk.split()[-1],
                    "ms per item": _seconds(1000 * entry["update_seconds_per_item"]),
                    "peak, GiB": _gib(entry["peak_bytes"]),
                }
            )  # fmt: skip
        for encoder, record in self.records["official_step"].get("encoders", {}).items():
            for entry in record["chunks"]:
                rows.append(
                    {
                        "encoder": encoder, "on": "CPU", "precision": self.records["official_step"]["precision"],
                        "items at once": str(entry["chunk"]), "ms per item": _seconds(1000 * entry["seconds_per_item"]),
                        "peak, GiB": _gib(entry["activation_bytes"] + entry["weights_gradients_moments_bytes"]),
                    }
                )  # fmt: skip
        return listing_or_words(pd.DataFrame(rows), "speed-encoders", _NOT_MEASURED)

    def updates(self) -> ShownTable | Sentence:
        """One update over a whole catalogue, worked out from the seconds per item: never run at that size."""
        rows = []
        for name, entry in self._part("update").items():
            found = {dataset_title(d): e["update_seconds"] for d, e in entry["extrapolated"].items()}
            rows.append({"update, s": name, **{title: _seconds(value) for title, value in found.items()}})
        return listing_or_words(pd.DataFrame(rows), "speed-updates", _NOT_MEASURED)

    def _measured(self) -> dict[str, dict[str, dict[str, Any]]]:
        models = self.records["growth"].get("models", {})
        order = {name: place for place, name in enumerate(MODEL_TITLES)}
        return {
            size: dict(sorted(models[size].items(), key=lambda m: order.get(m[0], len(order))))
            for size in self.records["growth"].get("sizes", {})
            if models.get(size)
        }

    def _by_size(self, columns: Mapping[str, Any]) -> pd.DataFrame:
        measured = self._measured()
        models = dict.fromkeys(model for entries in measured.values() for model in entries)
        rows = []
        for model in models:
            row = {"model": model_name(model)}
            for size, entries in measured.items():
                for what, shown in columns.items():
                    head = ", ".join(part for part in (dataset_title(size), what) if part)
                    row[head] = shown(entries[model]) if model in entries else ""
            rows.append(row)
        return pd.DataFrame(rows)

    def _part(self, name: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.records["rehearsal"].get("parts", {}).get(name, {})
        return {key: entry for key, entry in found.items() if "failed" not in entry}


def dataset_title(name: str) -> str:
    """Title of a data set by whose size a catalogue was made."""
    return "Electronics" if name == "electronics" else dataset_name(name).removeprefix("Amazon ")


def _slope(low: float, high: float, small: float, large: float) -> float:
    return math.log(high / low) / math.log(large / small)


def _seconds(value: float | None, whole: bool = True) -> str:
    if value is None:
        return ""
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return ("" if whole else "~") + f"{value:.{digits}f}"


def _gib(size: float) -> str:
    return f"{size / _GIB:.2f}" if size else ""


def _times(ratio: float) -> str:
    return f"{ratio:.1f}"
