"""``lmmrec search``: search settings, and print what was tried and chosen."""

import argparse
import json

from lmmrec_core.cli import commands
from lmmrec_core.config import parse_assignments
from lmmrec_core.errors import ConfigError
from lmmrec_core.study.workspace import Workspace


def search(arguments: argparse.Namespace) -> int:
    """``lmmrec search``: search, then print the points and the choice."""
    from lmmrec_core.study.search.search import search_settings

    workspace, dataset = _place(arguments)
    fixed = parse_assignments(arguments.set)
    if arguments.epochs is not None:
        fixed["epochs"] = arguments.epochs
    found = search_settings(
        workspace.quiet() if arguments.quiet else workspace, arguments.model, dataset, encoder=arguments.encoder,
        modalities=arguments.modalities, grid=arguments.grid, trials=arguments.trials, seed=arguments.seed,
        select_on=arguments.select_on, measure_leak=arguments.measure_leak, settings=fixed,
    )  # fmt: skip
    if arguments.json:
        print(json.dumps(dict(found.summary), indent=1))
        return 0
    summary = found.summary
    part = "validation" if summary["select_on"] == "valid" else "TEST"
    order = found.trials.sort_values("valid" if summary["select_on"] == "valid" else "test", ascending=False)
    print(order.drop(columns="error" if order["error"].isna().all() else []).to_string(na_rep=""))
    print(
        f"\n{summary['budget']['trials']} of {summary['grid']['distinct']} distinct points of grid "
        f"{summary['grid']['name']}, seed {summary['seed']}, {summary['wall_seconds']:.0f} s in all; best on {part}:"
    )
    print("  " + " ".join(f"--set {name}={json.dumps(value)}" for name, value in found.best.items()))
    if summary["seed_in_study"]:
        print(f"note: the study uses seed {summary['seed']} too; a search with another seed is further from its runs")
    if "leak" in summary:
        leak = summary["leak"]
        honest, leaky = leak["chosen_on_validation"]["test"], leak["chosen_on_test"]["test"]
        print(
            f"test Recall@20: {honest:.4f} chosen on validation, {leaky:.4f} chosen on test; "
            f"choosing on test adds {leak['gap']:.4f}"
        )
    return 0


def _place(arguments: argparse.Namespace) -> tuple[Workspace, str]:
    """The workspace and the name of the data set. Raises ConfigError if none or two are named."""
    if arguments.catalogue:
        if arguments.dataset:
            raise ConfigError("--catalogue and --dataset exclude each other; give one")
        return commands.user_workspace(arguments, arguments.catalogue)
    workspace = Workspace.open(arguments.track, arguments.data)
    if not arguments.dataset:
        raise ConfigError(
            f"--dataset is missing; write one of {', '.join(workspace.track.datasets)}, or --catalogue FOLDER for yours"
        )
    return workspace, str(arguments.dataset)
