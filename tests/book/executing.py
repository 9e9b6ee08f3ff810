"""Runs the cells of a notebook in this process, and makes results for it to show."""

import ast
import itertools
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pandas as pd
from nbformat import NotebookNode

from lmmrec_core.flow import Result
from lmmrec_core.names import FLOOR_MODELS


def load(path: Path) -> NotebookNode:
    return nbformat.read(path, as_version=4)


def execute(path: Path, track: str | None, **parameters: Any) -> dict[str, Any]:
    """Run the code cells in this process, the parameters set after their cell; the last expressions are rendered."""
    space: dict[str, Any] = {}
    for cell in load(path).cells:
        if cell.cell_type != "code":
            continue
        tree = ast.parse(cell.source)
        if shows := isinstance(tree.body[-1], ast.Expr):
            tree.body[-1] = ast.parse(f"_last = {ast.unparse(tree.body[-1])}").body[0]
        exec(compile(tree, f"{path.name}:{cell.id}", "exec"), space)  # our own notebooks
        if shows:
            space.setdefault("shown", {})[cell.id] = _rendered(space["_last"])
        if cell.id == "parameters":
            space.update({"track": track} if track else {}, **parameters)
    return space


def _rendered(value: Any) -> str:
    for way in ("_repr_html_", "_repr_markdown_"):
        if hasattr(value, way):
            return str(getattr(value, way)())
    return repr(value)


def synthetic(dataset: str) -> list[Result]:
    """Two models on one data set, with real content best by a margin that users do not blur."""
    rng = np.random.default_rng(0)
    noise = rng.random(40) * 0.01
    cases = [(model, "none", "none", "none") for model in FLOOR_MODELS]
    for model in ("vbpr", "lattice"):
        cases += [(model, "baseline", m, "none") for m in ("V&T", "V", "T")]
        cases += [(model, "baseline", "V&T", c) for c in ("shuffled", "noise", "zero")]
    results = []
    for (model, encoder, modalities, control), seed in itertools.product(cases, (1, 2)):
        level = 0.2 if modalities == "V&T" and control == "none" else 0.1
        values = level + noise + rng.random(40) * 0.01
        metrics = ("recall@10", "recall@20", "ndcg@10", "ndcg@20")
        per_user = pd.DataFrame(dict.fromkeys(metrics, values), index=pd.RangeIndex(40, name="user"))
        case = {"track": "controls", "dataset": dataset, "model": model, "encoder": encoder, "paradigm": "none"}
        case |= {"modalities": modalities, "control": control, "seed": seed}
        record = {
            "key": "0" * 16, "case": case, "training": None, "cost": {"seconds": 1.0},
            "data": {"split": "s", "catalogue": "c"}, "features": None, "settings": {},
        }  # fmt: skip
        results.append(Result(case, per_user, {"coverage@20": 0.5}, record))
    return results
