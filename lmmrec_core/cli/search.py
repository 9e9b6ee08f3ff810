"""``lmmrec search``: its options, and what it prints."""

import argparse
import json

from lmmrec_core.cli import commands
from lmmrec_core.config import parse_assignments
from lmmrec_core.errors import ConfigError
from lmmrec_core.study.search.grids import GRIDS
from lmmrec_core.study.workspace import Workspace


def add_parser(subs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """The sub-parser; the caller adds how a catalogue is read."""
    sub = subs.add_parser(
        "search",
        aliases=["tune"],
        help="search the settings of a model on the validation part",
        description="Trains a model at points of a grid and names the one with the best validation Recall@20. Every "
        "model of the grid `study` gets the same number of trainings; mmrec, release and paper are the published "
        "grids. Trials are not results: nothing of them enters a table. It can be interrupted at any time and goes on "
        "where it stopped; a point is never trained twice. The summary goes to results/TRACK/search/.",
    )
    sub.add_argument("--track", default="controls", help="controls, movielens or paper (default: controls)")
    sub.add_argument("--dataset", default="", help="which data set of the track")
    sub.add_argument("--data", default="", metavar="FOLDER", help="where the real data sets lie")
    sub.add_argument("--catalogue", metavar="FOLDER", help="a catalogue of your own instead of a track")
    sub.add_argument("--model", required=True, help="a model of the grid, for instance vbpr")
    sub.add_argument("--encoder", default="baseline", help="encoder of the content (default: baseline)")
    sub.add_argument("--modalities", default="V&T", help="V&T, V or T (default: V&T)")
    sub.add_argument("--grid", default="study", help=f"{', '.join(GRIDS)} (default: study)")
    sub.add_argument("--trials", type=int, help="trainings (default: the grid's: 20 for study, else every point)")
    sub.add_argument("--seed", type=int, default=0, help="seed of all trials (default: 0, which no track uses)")
    sub.add_argument("--epochs", type=int, help="at most so many epochs a training (default: the track's or grid's)")
    sub.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="a setting that is kept fixed, not searched"
    )
    sub.add_argument(
        "--measure-leak", action="store_true", help="also measure what choosing by the test score would gain"
    )
    sub.add_argument("--select-on", default="valid", help="valid, or test: only to show the leak, never for a result")
    sub.add_argument("--json", action="store_true", help="print the summary as JSON on stdout, progress on stderr")
    sub.add_argument("--quiet", action="store_true", help="no progress bar")
    sub.set_defaults(run=run)
    return sub


def run(arguments: argparse.Namespace) -> int:
    """``lmmrec search``: search, print the points and the choice."""
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
    """The workspace and the name of the data set. Raises ConfigError if it is not said which."""
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
