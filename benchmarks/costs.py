"""The cost table of the package, gathered from the records beside this script: no number in it is written by hand.

    python benchmarks/costs.py        writes lmmrec_core/study/preview/costs.json

`lmmrec reproduce --dry-run` reads it. Run it after speed.json, rehearsal.json or official_step.json has changed.
"""

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
TARGET = HERE.parent / "lmmrec_core/study/preview/costs.json"
_BATCH = 2048  # of all trainings that were measured: speed.py, rehearse_recommenders.py


def gather(folder: Path = HERE) -> dict[str, Any]:
    """The table, from the records in ``folder``."""
    speed, rehearsal, official = (_record(folder, name) for name in ("speed", "rehearsal", "official_step"))
    size, catalogue, parts = speed["size"], rehearsal["sizes"]["catalogue"], rehearsal["parts"]
    machine = speed["provenance"]["machine"]
    epochs = [
        {
            "machine": "cpu", "model": model, **_size(size, size["rows"]),
            "epoch_seconds": row.get("epoch_seconds", row["build_seconds"]), "trained": "epoch_seconds" in row,
            "evaluation_seconds": row["evaluation_seconds"], "host_bytes": round(row["peak_memory_mib"] * 2**20),
            "device_bytes": None,
        }
        for model, row in speed["models"].items()
    ] + [
        {
            "machine": "cuda", "model": model, **_size(catalogue, catalogue["train"]),
            "epoch_seconds": row["epoch_seconds"], "trained": True, "evaluation_seconds": row["evaluation_seconds"],
            "host_bytes": row["peak_host_bytes"], "device_bytes": row["peak_device_bytes"],
        }
        for model, row in parts["recommenders"].items()
    ]  # fmt: skip
    updates = []
    for name, row in parts["update"].items():
        encoder, precision, chunk = name.split(", ")
        updates.append(
            {
                "machine": "cuda", "encoder": encoder, "precision": precision,
                "chunk": int(chunk.removeprefix("chunk ")), "seconds_per_item": row["update_seconds_per_item"],
                "forward_seconds_per_item": row["forward_seconds_per_item"], "device_bytes": row["peak_bytes"],
            }
        )  # fmt: skip
    tuning = []
    for name, row in parts["fine_tuning"].items():
        encoder, objectives, precision = name.split(", ")
        tuning.append(
            {
                "machine": "cuda", "encoder": encoder, "objectives": objectives.split("+"), "precision": precision,
                "batch_size": row["pairs"], "micro_batch": row["at_once"],
                "seconds_per_pair": row["step_seconds"] / row["pairs"], "device_bytes": row["peak_bytes"],
            }
        )  # fmt: skip
    return {
        "machines": {
            "cpu": {
                "title": f"{size['threads']} threads of {machine['cpu']}", "from": "benchmarks/speed.json",
                "commit": speed["provenance"]["commit"],
            },
            "cuda": {
                "title": rehearsal["machine"]["gpu"]["name"], "from": "benchmarks/rehearsal.json",
                "commit": rehearsal["machine"]["commit"],
            },
        },
        "train_share": catalogue["train"] / sum(catalogue[part] for part in ("train", "valid", "test")),
        "epochs": epochs,
        "updates": updates,
        "fine_tuning": tuning,
        "updates_per_epoch": {
            name.split(", ")[0]: row["updates_per_epoch"] for name, row in parts["ete"].items()
        },
        "parameters": {name: row["chunks"][0]["parameters"] for name, row in official["encoders"].items()},
    }  # fmt: skip


def _size(size: dict[str, Any], rows: int) -> dict[str, int]:
    return {"users": size["users"], "items": size["items"], "rows": rows, "batch_size": _BATCH}


def _record(folder: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    return found


if __name__ == "__main__":
    TARGET.write_text(json.dumps(gather(), indent=1) + "\n", encoding="utf-8")
