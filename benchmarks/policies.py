"""What the approximate policies of end-to-end training save, and how far their gradient is from the exact one.

    python benchmarks/policies.py [--items 512] [--encoder clip-tiny-32] [--json FILE]     # two minutes on one core

A made-up catalogue of as many users as items: four training rows a user, items drawn by a power law, noise for
pictures and random words for texts. The whole encoder is trained with a recommender (reading e2), under every policy
of ``EndToEndSettings.policy``; "top" and "sampled" keep an eighth and a quarter of the items. Vbpr reads the items of
its batch and nothing else; mmgcn and lattice read all items, lattice once an epoch, which is why the policy "bank" is
refused for it. Two runs each. One is timed: the encoder's share of an update, and how many items it encodes, with or
without gradient. In the other the gradient of the encoder's weights is held against the exact one (``agreement``):
the medians of cosine and relative error count. Writes policies.json beside this file.
"""

import argparse
import json
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from clocks import clock, now
from measuring import ENCODERS, SEED, MadeUpItems

from lmmrec_core.errors import ConfigError
from lmmrec_core.recommenders import RECOMMENDERS
from lmmrec_core.results.provenance import provenance
from lmmrec_core.roles import Batch, TrainingData
from lmmrec_core.seeds import numpy_stream, torch_stream
from lmmrec_core.training.joint.e2 import Window
from lmmrec_core.training.joint.hooks import TrainingStep
from lmmrec_core.training.joint.settings import EndToEndSettings
from lmmrec_core.training.optimiser import Optimiser
from lmmrec_core.training.sampling import NegativeSampler

MODELS = ("vbpr", "mmgcn", "lattice")
PER_USER, STEPS, CHUNK = 4, 8, 64  # training rows of a user; batches of an epoch; items encoded at once
MEASURED = 8  # encoder updates that are held against the exact gradient
SKEW = -0.9  # exponent of the popularity of items
EPOCHS = {"lattice": MEASURED}  # one encoder update an epoch, whatever is asked for
ENCODER_RATE, RATE = 1e-3, 1e-2


def made_up(encoder: MadeUpItems, n: int) -> TrainingData:
    """``PER_USER`` distinct items of every user, and the features that the encoder starts with."""
    random, popularity = numpy_stream(SEED, "policies/rows"), (np.arange(n) + 5.0) ** SKEW
    chance = popularity / popularity.sum()
    rows = np.concatenate([random.choice(n, PER_USER, replace=False, p=chance) for _ in range(n)])
    with torch.no_grad():
        features = encoder.rows(torch.arange(n))
    return TrainingData(n, n, torch.arange(n).repeat_interleave(PER_USER), torch.from_numpy(rows), features)


def policies(n: int) -> dict[str, dict[str, Any]]:
    """Name of a row → settings."""
    kept = {"1/8": n // 8, "1/4": n // 4}
    approximate = {
        f"{policy}, {share} of the items": {"policy": policy, "kept_rows": rows}
        for policy in ("top", "sampled")
        for share, rows in kept.items()
    }
    return {"window": {"policy": "window"}, "bank": {"policy": "bank"}, **approximate}


def train(encoder: str, n: int, name: str, policy: dict[str, Any], measured: int) -> dict[str, Any]:
    """The epochs of one run; with ``measured`` windows an epoch held against the exact gradient, it is not timed."""
    items = MadeUpItems(ENCODERS[encoder](), n, "cpu")
    data, member = made_up(items, n), RECOMMENDERS[name]
    free = {"trainable_features": False} if "trainable_features" in member.Settings.model_fields else {}
    model = member(data, member.Settings.build(free), torch_stream(SEED, "policies/init"))
    window = Window(items, EndToEndSettings.build({
        **policy, "updates_per_epoch": "every_step", "chunk": CHUNK, "encoder_learning_rate": ENCODER_RATE,
        "measure_batches": measured,
    }))  # fmt: skip
    window.start(model, SEED)
    start, seconds = window.encoder.encoded, 0.0
    optimiser, stream = Optimiser(model, RATE, 0.0), torch_stream(SEED, "policies/batches")
    sampler, rows = NegativeSampler(data.user, data.item, n), torch.arange(len(data.user))
    for epoch in range(1, EPOCHS.get(name, 2) + 1):
        order = torch.randperm(len(rows), generator=stream)
        user, item = data.user[order], data.item[order]
        negative = sampler.sample(user, stream)
        model.train()
        begin = now("cpu")
        window.begin_epoch(epoch, STEPS)
        seconds += now("cpu") - begin
        model.begin_epoch(epoch, stream)
        for index, part in enumerate(rows.split(len(rows) // STEPS)):
            step = TrainingStep(Batch(user[part], item[part], negative[part], index == 0), index, STEPS, stream)
            begin = now("cpu")
            window.before_batch(step)
            seconds += now("cpu") - begin
            optimiser.step(model.loss(step.batch, stream))
            begin = now("cpu")
            window.after_step(step)
            seconds += now("cpu") - begin
        optimiser.settle()
    found = {"updates": window.optimiser.done}
    if measured:
        agreed = window.notes()["against_exact"]
        return found | {part: [entry[part] for entry in agreed] for part in ("cosine", "relative_error")}
    encoded = window.encoder.encoded - start
    return found | {
        "seconds_per_update": seconds / window.optimiser.done,
        "items_encoded_per_update": encoded / window.optimiser.done,
    }


def measure(encoder: str, n: int, name: str, policy: dict[str, Any]) -> dict[str, Any]:
    """Time, and agreement with the exact gradient (1 and 0 by definition for the policy that is exact)."""
    try:
        report = train(encoder, n, name, policy, measured=0)
    except ConfigError as error:
        return {"refused": str(error)}
    if policy["policy"] == "window":
        return report | {"median_cosine": 1.0, "median_relative_error": 0.0}
    found = train(encoder, n, name, policy, measured=1 if name in EPOCHS else MEASURED // 2)
    cosine, error = found["cosine"], found["relative_error"]
    return report | {
        "median_cosine": median(cosine), "median_relative_error": median(error), "cosine": cosine,
        "relative_error": error,
    }  # fmt: skip


def main(encoder: str, n: int, target: Path) -> None:
    torch.set_num_threads(1)
    report: dict[str, Any] = {
        "settings": {
            "encoder": encoder, "items": n, "users": n, "rows": n * PER_USER, "steps_per_epoch": STEPS, "chunk": CHUNK,
            "encoder_learning_rate": ENCODER_RATE, "learning_rate": RATE, "measured_updates": MEASURED,
        },
        "clock": clock("cpu"),
        "models": {},
    }  # fmt: skip
    for name in MODELS:
        report["models"][name] = found = {}
        for row, policy in policies(n).items():
            found[row] = measure(encoder, n, name, policy)
            shown = {part: value for part, value in found[row].items() if isinstance(value, float)}
            print(f"{name:>8} {row:>26}", {part: round(value, 4) for part, value in shown.items()}, flush=True)
    report["provenance"] = provenance("cpu")
    target.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(f"written: {target.name}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", choices=sorted(ENCODERS), default="clip-tiny-32")
    parser.add_argument("--items", type=int, default=512)
    parser.add_argument("--json", type=Path, default=Path(__file__).with_suffix(".json"))
    given = parser.parse_args()
    if given.items < 8 * PER_USER:
        parser.error(f"items are at least {8 * PER_USER}")
    main(given.encoder, given.items, given.json)
