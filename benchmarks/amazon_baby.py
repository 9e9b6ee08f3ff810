"""Do BPR-MF and LightGCN reach the published figures on Amazon Baby, on the published split?

    python benchmarks/amazon_baby.py DATA [SEED ...]   # DATA holds amazon-baby/baby.inter.gz; default seeds 1 2 3

Writes amazon_baby.json beside this file: every seed, the means, and the difference from MMRec's evaluation page
(one seed, best grid point by test Recall@20, so slightly optimistic).
"""

import json
import sys
from pathlib import Path

import numpy as np

from lmmrec_core.results.provenance import provenance
from lmmrec_core.study.cases import Case
from lmmrec_core.study.declared.track_file import read_track
from lmmrec_core.study.run import plan, run_case
from lmmrec_core.study.track import DatasetSettings
from lmmrec_core.study.workspace import Workspace

PUBLISHED = {  # enoche/MMRec, evaluation/README.md, table of Baby
    "bpr": {"recall@20": 0.0575, "ndcg@20": 0.0249},
    "lightgcn": {"recall@20": 0.0754, "ndcg@20": 0.0328},
}
SETTINGS = {"bpr": {"reg_weight": 0.1}, "lightgcn": {"n_layers": 2, "reg_weight": 1e-3}}
TOOLBOX = {"epochs": 1000, "evaluate_every": 1, "patience": 20}  # enoche/MMRec src/configs/overall.yaml
SEEDS = (1, 2, 3)


def main(data: Path, seeds: tuple[int, ...]) -> None:
    dataset = DatasetSettings(
        title="Amazon Baby", source="mmrec", path="amazon-baby", k_core=None, split={"rule": "given", "seed": None}
    )
    track = read_track("user").model_copy(update={"datasets": {"amazon-baby": dataset}})
    workspace = Workspace.open(track, data)
    split = workspace.dataset("amazon-baby").split
    report: dict[str, object] = {"split": split.fingerprint, "provenance": provenance("cpu")}
    for model, published in PUBLISHED.items():
        rows = []
        for seed in seeds:
            case = Case(track="user", dataset="amazon-baby", model=model, seed=seed)
            overrides = {**SETTINGS[model], **TOOLBOX}
            result = run_case(plan(case, workspace, overrides), workspace)
            rows.append({name: result.mean(name) for name in published} | {"seconds": result.record["cost"]["seconds"]})
        means = {name: float(np.mean([row[name] for row in rows])) for name in published}
        relative = {name: means[name] / published[name] - 1 for name in published}
        report[model] = {
            "settings": SETTINGS[model], "seeds": dict(zip(seeds, rows, strict=True)), "mean": means,
            "published": published, "relative difference": relative,
        }  # fmt: skip
        print(model, {name: f"{means[name]:.4f} ({relative[name]:+.1%})" for name in published})
    target = Path(__file__).with_suffix(".json")
    target.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(f"written: {target.name}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), tuple(int(seed) for seed in sys.argv[2:]) or SEEDS)
