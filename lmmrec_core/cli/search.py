"""``lmmrec search``: search settings, and print what was tried and chosen."""

import argparse
import json
import sys

from lmmrec_core.cli.options import names_in
from lmmrec_core.cli.own_catalogue import encoder_name, user_track, user_workspace
from lmmrec_core.cli.reading import OF_CONTENT, OF_READING, asked_modalities, content_asked, refuse, refuse_data
from lmmrec_core.config import parse_assignments
from lmmrec_core.errors import ConfigError
from lmmrec_core.names import BASELINE
from lmmrec_core.study.cases import reads_content
from lmmrec_core.study.workspace import Workspace


def search(arguments: argparse.Namespace) -> int:
    """``lmmrec search``: search, then print the points and the choice."""
    if arguments.cells or arguments.dry_run or arguments.apply:
        return _search_cells(arguments)
    if not arguments.model:
        raise ConfigError("--model is missing; write for instance --model vbpr, or --cells for all cells of the track")
    if arguments.paradigm:
        raise ConfigError("--paradigm chooses among the cells of a track; add --cells")
    if arguments.jobs is not None:
        raise ConfigError("--jobs is for the search of all cells; one model is searched by one process")
    from lmmrec_core.study.search.search import search_settings

    if not reads_content(arguments.model):
        refuse(arguments, OF_CONTENT, f"has no effect: model {arguments.model!r} reads no content; leave it out")
    workspace, dataset = _place(arguments)
    fixed = parse_assignments(arguments.set)
    if arguments.epochs is not None:
        if twice := [name for name in ("epochs", "steps") if name in fixed]:
            raise ConfigError(f"--epochs and --set {twice[0]} say how long a training is; leave one out")
        fixed["epochs"] = arguments.epochs
    found = search_settings(
        workspace.quiet() if arguments.quiet else workspace, arguments.model, dataset,
        encoder=encoder_name(arguments.encoder or BASELINE), modalities=asked_modalities(arguments),
        grid=arguments.grid, trials=arguments.trials, seed=arguments.seed, select_on=arguments.select_on,
        measure_leak=arguments.measure_leak, settings=fixed,
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
        refuse(arguments, ("track", "data"), "has no effect with --catalogue; leave it out")
        content = content_asked(arguments, user_track(arguments), encoder_name(arguments.encoder or BASELINE))
        return user_workspace(arguments, arguments.catalogue, content)
    refuse(arguments, ("name", *OF_READING), "is for a catalogue of your own; name it with --catalogue")
    workspace = Workspace.open(arguments.track or "controls", arguments.data)
    refuse_data(arguments, workspace.track)
    if not arguments.dataset:
        raise ConfigError(
            f"--dataset is missing; write one of {', '.join(workspace.track.datasets)}, or --catalogue FOLDER for yours"
        )
    return workspace, str(arguments.dataset)


_SINGLE: dict[str, object] = {
    "catalogue": None,
    "name": "",
    "trials": None,
    "epochs": None,
    "set": [],
    "measure_leak": False,
    "select_on": "valid",
    "modalities": "",
    "seed": 0,
    "json": False,
}


_FIELDS = ("dataset", "model", "encoder", "paradigm")


def _check_apply(arguments: argparse.Namespace) -> None:
    """Raises ConfigError for what ``--apply`` cannot do, or would not heed."""
    if arguments.track.endswith((".yaml", ".yml")):
        raise ConfigError(
            f"--apply writes beside a track of ours, and {arguments.track} is a file of your own; put the settings "
            "under `searched` in it"
        )
    if not arguments.cells:
        what = "--apply alone writes what is stored of all cells"
        refuse(arguments, _FIELDS, f"has no effect: {what}; leave it out, or add --cells")
        refuse(arguments, ["jobs", "dry_run"], f"has no effect: {what}, and trains nothing; leave it out")


def _search_cells(arguments: argparse.Namespace) -> int:
    """``lmmrec search --cells``, ``--dry-run`` and ``--apply``: the cells of a track."""
    from lmmrec_core.study.search.apply import apply_search
    from lmmrec_core.study.search.cells import cells_of, select
    from lmmrec_core.study.search.grids import read_grid
    from lmmrec_core.study.search.listing import estimate

    for name, usual in _SINGLE.items():
        if getattr(arguments, name) != usual:
            raise ConfigError(
                f"--{name.replace('_', '-')} is for the search of one model; all cells are searched alike"
            )
    refuse(arguments, OF_READING, "is for a catalogue of your own, and these are cells of a track; leave it out")
    if arguments.apply:
        _check_apply(arguments)
    workspace = Workspace.open(arguments.track or "controls", arguments.data)
    refuse_data(arguments, workspace.track)
    workspace = workspace.quiet() if arguments.quiet else workspace
    grid = read_grid(arguments.grid)
    wanted = {name: names_in(getattr(arguments, name), f"--{name}") for name in _FIELDS}
    cells = select(cells_of(workspace.track, grid), **wanted)
    if arguments.dry_run:
        left = estimate(cells, workspace.results)
        print(left.to_string(index=False, float_format="{:.1f}".format, na_rep="unknown"))
        known, unknown_ones = left["minutes"].sum(), int(left["minutes"].isna().sum())
        more = f", and {unknown_ones} cells whose time is not known" if unknown_ones else ""
        print(
            f"\n{left['trainings'].sum()} trainings left in {len(cells)} cells of {grid.trials} each; "
            f"about {known:.0f} minutes of one process{more}; a point more for each setting that ends at an edge"
        )
        return 0
    failed = 0
    if arguments.cells:
        from lmmrec_core.study.search.whole import search_cells

        outcome = search_cells(workspace, grid, cells, 2 if arguments.jobs is None else arguments.jobs)
        print(f"{outcome.computed} trainings now, {outcome.done_before} before, in {len(cells)} cells")
        for name, why in {cell.name: why for cell, why in outcome.failures}.items():
            print(f"{name}: {why}", file=sys.stderr)
        failed = len(outcome.failures)
    if arguments.apply:
        applied = apply_search(workspace.track, grid, workspace.results)
        edges = sum(bool(cell.edge) for cell in applied.cells)
        print(f"{len(applied.cells)} cells have searched settings now, {edges} of them at the edge of their range")
        for (dataset, model), why in applied.left.items():
            print(f"{dataset}, {model}: stays as the track says, {why}")
    return 1 if failed else 0
