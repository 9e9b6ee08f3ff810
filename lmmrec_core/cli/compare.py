"""``lmmrec compare``: two stored results on one split."""

import argparse
import json
from collections.abc import Hashable, Mapping
from typing import Any

from lmmrec_core.cli.options import names_in
from lmmrec_core.cli.run import p_told
from lmmrec_core.flow import Result
from lmmrec_core.names import PAPER_METRICS
from lmmrec_core.study.own.pairwise import compare_results, find_results
from lmmrec_core.study.track import settings_that_count
from lmmrec_core.study.workspace import Workspace


def compare_stored(arguments: argparse.Namespace) -> int:
    """Print, per metric, the difference, its interval, p and whom it serves better."""
    store = Workspace.open("user").store
    a, b = (find_results(store, side) for side in (arguments.a, arguments.b))
    found = compare_results(a, b, names_in(arguments.metrics, "--metrics") or PAPER_METRICS)
    if arguments.json:
        print(json.dumps({"a": _told(a, b), "b": _told(b, a), "metrics": found.to_dict("records")}, indent=1))
        return 0
    print(f"A  {_told(a, b)}\nB  {_told(b, a)}\n{found['n'].iloc[0]} users, the same split")
    for row in found.to_dict("records"):
        print(
            f"{row['metric']:<10} A {row['mean_a']:.4f}  B {row['mean_b']:.4f}  A - B {row['difference']:+.4f} "
            f"[{row['ci_low']:+.4f}, {row['ci_high']:+.4f}]  {p_told(row['p'])}  users gained {_share(row, 'wins')}, "
            f"lost {_share(row, 'losses')}, the same {_share(row, 'ties')}"
        )
    if found["test"].iloc[0] == "users":
        print(
            "p and the 95 % intervals are over users, of these trained models. Whether models of other seeds would "
            "differ is not\ntestable here: give several seeds of both, KEY,KEY KEY,KEY"
        )
    else:
        print("p and the 95 % intervals are over users and over seeds.")
    return 0


def _share(row: Mapping[Hashable, Any], name: str) -> str:
    return f"{row[name] / row['n']:.0%}"


def _told(side: list[Result], other: list[Result]) -> str:
    """What a side is: all that its case says, and the settings in which it differs from the other side."""
    case = side[0].case
    said = [] if case["encoder"] == "none" else [case["encoder"], *_named(case, "paradigm"), case["modalities"]]
    said += [f"control {name}" for name in _named(case, "control")] + [f"arm {name}" for name in _named(case, "arm")]
    said += [f"split {case['split']}"] if case.get("split") else []
    seeds = ", ".join(str(result.case["seed"]) for result in side)
    keys = ", ".join(str(result.record["key"]) for result in side)
    told = f"{case['model']} on {case['dataset']}{''.join(f', {one}' for one in said)}, seed {seeds} ({keys})"
    if case["model"] != other[0].case["model"]:
        return told
    mine, theirs = (settings_that_count(one[0].record) for one in (side, other))
    own = [f"{name}={json.dumps(value)}" for name, value in mine.items() if theirs.get(name, _ABSENT) != value]
    return f"{told}; where they differ: {' '.join(own)}" if own else told


_ABSENT = object()


def _named(case: Mapping[str, Any], field: str) -> list[str]:
    return [str(case[field])] if case.get(field, "none") != "none" else []
