"""What ``lmmrec`` understands: its commands, their options and the examples of ``--help``.

Nothing here imports what does the work, so that help comes at once: a command names its function in ``action``, and
``main`` imports it when the command runs. Lists of names come from ``names.py`` and the registries, so a model, encoder
or metric that another package brings is listed too.
"""

import argparse
from typing import TypeAlias

from lmmrec_core import __version__
from lmmrec_core.cli.fetch_options import add_fetch
from lmmrec_core.cli.forms import CHECK_TABLE_FORM
from lmmrec_core.cli.options import (
    CATALOGUE_NAME,
    Parser,
    add_catalogue,
    add_energy,
    add_keep_encoder,
    add_modalities,
    add_reading,
    add_set,
    add_track,
    folder_name,
    listed_names,
    process_count,
    seed_number,
    whole,
)
from lmmrec_core.cli.own_arguments import (
    add_compare,
    add_encode,
    add_export_mmrec,
    add_import_mmrec,
    add_recommend,
    add_run,
)
from lmmrec_core.home import named_path, path_name
from lmmrec_core.names import (
    BASELINE,
    CALIBRATION_PARTS,
    CONTROLS,
    ENGINES,
    GRIDS,
    HELD_OUT,
    MODALITY_SETS,
    PARADIGMS,
    TRACKS,
)
from lmmrec_core.questions import QUESTIONS

_Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

EXAMPLES = """\
examples, from the first look to your own data:
  lmmrec data                                         what the tracks hold, and what is prepared
  lmmrec fetch --track paper --data data --dry-run    what the paper's track needs: from whom, how much
  lmmrec reproduce                                    the whole study on the generated controls
  lmmrec reproduce --rq 2 --seeds 1 2 3 --jobs 2      only what RQ2 needs
  lmmrec reproduce --track films --data ../shared/data
  lmmrec reproduce --track paper --dry-run            what is missing here, where to get it, and the cost
  lmmrec data my-catalogue                            what becomes of your own catalogue, or what is wrong with it
  lmmrec run --data my-catalogue --model vbpr         one run on it
  lmmrec run --data my-catalogue --model lattice --set k=5 --set learning_rate=0.0005 --json
  lmmrec run --data my-catalogue --model vbpr --keep-model
  lmmrec recommend --model KEY --users u1 u2 --k 10   lists from a kept model, with your own ids
  lmmrec encode --run KEY --items FOLDER --out NEW    features of new items by the encoder of an end-to-end run
  lmmrec compare KEY KEY                              two stored results on one split
  lmmrec search --dataset complementary --model vbpr  search its settings on the validation part
  lmmrec search --cells --track controls --dry-run    what a search of every cell would cost
  lmmrec calibrate --dry-run                          how often are the tests right? (hours)
  lmmrec check-table their-table.csv                  can the numbers of another paper come from one ranking?
  lmmrec results status --track films                 how much of a track is measured
  lmmrec results merge --track paper other/results    add the results of another machine, unless they contradict
  lmmrec results crate --track films                  its results with checksums, code and data, to take home
  lmmrec import-mmrec downloads/baby my-catalogue     use a data set in the MMRec layout
  lmmrec export-mmrec my-catalogue to-mmrec           and give yours to that toolbox
  lmmrec book check                                   are the book's notebooks whole, and run as it declares?

`lmmrec COMMAND --help` explains each command. Results go to results/ and everything that can be made again to .cache/,
both below LMMREC_HOME if that is set, else in the repository, else (an installed package) in the current folder.
"""


def parser() -> argparse.ArgumentParser:
    """The argument parser, with one sub-parser per command."""
    top: argparse.ArgumentParser = Parser(
        prog="lmmrec",
        description="Do large multi-modal encoders help recommendation? Run the study or one case, on any catalogue.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"lmmrec {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for add in (
        _data,
        add_fetch,
        _features,
        add_run,
        add_recommend,
        add_encode,
        add_compare,
        _reproduce,
        _search,
        _calibrate,
        _check_table,
        _results,
        _book,
        add_import_mmrec,
        add_export_mmrec,
    ):
        add(commands)
    return top


def _data(commands: _Commands) -> None:
    sub = commands.add_parser(
        "data",
        help="show the data sets of a track, or check a catalogue folder",
        description="Without arguments: every track's data sets with their statistics. With FOLDER: read that "
        "catalogue, apply the k-core and the split, and print what was kept, dropped and missing, or all faults of its "
        "files at once. Nothing is trained.",
    )
    sub.add_argument(
        "folder",
        nargs="?",
        type=folder_name,
        help="a catalogue folder (interactions.csv, items.csv, images/) or an MMRec folder",
    )
    sub.add_argument("--track", type=path_name, help=f"only this track: {listed_names(TRACKS)}")
    sub.add_argument(
        "--data", default="", type=path_name, metavar="FOLDER",
        help="the folder of the real data sets; prepares them to count them",
    )  # fmt: skip
    add_reading(sub)
    sub.set_defaults(action="lmmrec_core.cli.commands:data")


def _features(commands: _Commands) -> None:
    sub = commands.add_parser(
        "features",
        help="extract item features into the store, and print their cards",
        description="Extracts the features of every data set of a track (or of one catalogue) with one of the "
        "track's encoders. Features already in the store are checked and not computed again. Weights that they need "
        "are made first; started by torchrun or accelerate launch, several processes make them together, on one GPU "
        "each.",
    )
    add_track(sub)
    sub.add_argument("--dataset", default="", help="only this data set of the track")
    add_catalogue(sub)
    sub.add_argument(
        "--encoder", default="", type=path_name, help=f"an entry of the track's `encoders` (default: {BASELINE})"
    )
    sub.add_argument(
        "--paradigm", default="", help=f"of an encoder of both modalities: {listed_names(PARADIGMS)} (default: PT)"
    )
    sub.add_argument("--seeds", nargs="*", default=[], help="seeds of FT, for instance 1 2 3 (default: the track's)")
    add_reading(sub)
    sub.set_defaults(action="lmmrec_core.cli.commands:features")


def _reproduce(commands: _Commands) -> None:
    sub = commands.add_parser(
        "reproduce",
        help="run the study, or one research question, on a track",
        description="Runs every case of the grid that is not stored yet, in parallel processes. It can be interrupted "
        "at any time and goes on where it stopped. Cases whose data or weights are not there are kept out, and named. "
        "`make reproduce` calls this and then builds the book.",
    )
    add_track(sub)
    sub.add_argument("--rq", default="", help=f"1, 2, 3, or one of {listed_names(QUESTIONS)} (default: all)")
    sub.add_argument("--seeds", nargs="*", default=[], help="seeds, for instance 1 2 3 (default: the track's)")
    only = sub.add_argument_group("only cases of these (several with commas)")
    only.add_argument("--dataset", default="", help="data sets of the track")
    only.add_argument("--model", default="", help="models of the track")
    only.add_argument("--encoder", default="", help="entries of the track's `encoders`, or none")
    only.add_argument("--paradigm", default="", help=f"{listed_names(PARADIGMS)}, none")
    only.add_argument("--modalities", default="", help=f"{listed_names(MODALITY_SETS)} (quote 'V&T' in a shell)")
    only.add_argument("--control", default="", help=f"{listed_names(CONTROLS)}, none")
    only.add_argument("--arm", default="", help="arms of the track (other settings), or none")
    only.add_argument("--split", default="", help="0 (that of the data set), or seeds of the track's further splits")
    only.add_argument("--shard", default="", metavar="I/N", help="each N-th of them from the I-th on, for N machines")
    sub.add_argument(
        "--jobs", type=process_count, default=2, help="processes at a time, over all visible GPUs (default: 2)"
    )
    sub.add_argument(
        "--engine", choices=ENGINES, default=ENGINES[0],
        help="processes of this machine (default), or slurm: as many jobs of a cluster, one GPU each; "
        "local: the same jobs on this machine",
    )  # fmt: skip
    sub.add_argument(
        "--slurm", nargs="*", default=[], metavar="NAME=VALUE",
        help="long options of sbatch, for instance partition=gpu time=12:00:00 mem=64G",
    )  # fmt: skip
    add_keep_encoder(sub)
    add_energy(sub)
    sub.add_argument("--dry-run", action="store_true", help="only say what would run, what is not here, and the cost")
    sub.add_argument("--json", action="store_true", help="print what --dry-run says as JSON on stdout")
    sub.set_defaults(action="lmmrec_core.cli.reproduce:reproduce")


def _search(commands: _Commands) -> None:
    sub = commands.add_parser(
        "search",
        help="search the settings of a model on the validation part",
        description="Trains a model at points of a grid and names the one with the best validation Recall@20. Every "
        "model of the grid `study` gets the same number of trainings; the other grids are published ones. Trials are "
        "not results: nothing of them enters a table. It can be interrupted at any time and goes on where it stopped; "
        "a point is never trained twice. The summary goes to results/TRACK/search/. With --cells: the same for every "
        "data set, model, encoder and paradigm of a track, or those that are named (several with commas), on a split "
        "and with a seed that no reported run uses; --apply writes what was found beside the track.",
    )
    add_track(sub)
    sub.add_argument("--dataset", default="", help="which data set of the track")
    add_catalogue(sub)
    sub.add_argument("--name", default="", help=CATALOGUE_NAME)
    sub.add_argument("--model", default="", help="a model of the grid, for instance vbpr")
    sub.add_argument(
        "--encoder", default="", type=path_name, help=f"an entry of the track's `encoders` (default: {BASELINE})"
    )
    cells = sub.add_argument_group("every cell of a track")
    cells.add_argument("--cells", action="store_true", help="search all cells of the track, or those that are named")
    cells.add_argument("--paradigm", default="", help=f"only cells of these: {listed_names(PARADIGMS)}, none")
    cells.add_argument("--jobs", type=process_count, help="processes at a time (default: 2)")
    cells.add_argument("--dry-run", action="store_true", help="only say how many trainings are left, and their minutes")
    cells.add_argument(
        "--apply", action="store_true", help="write the stored winners beside the track; alone: only that"
    )
    add_modalities(sub)
    sub.add_argument("--grid", default="study", help=f"{listed_names(GRIDS)} (default: study)")
    sub.add_argument("--trials", type=whole, help="trainings (default: the grid's: 8 for study, else every point)")
    sub.add_argument("--seed", type=seed_number, default=0, help="seed of all trials (default: 0, which no track uses)")
    sub.add_argument("--epochs", type=whole, help="at most so many epochs a training (default: the track's or grid's)")
    add_set(sub, "a setting that is kept fixed, not searched")
    sub.add_argument(
        "--measure-leak", action="store_true", help="also measure what choosing by the test score would gain"
    )
    sub.add_argument("--select-on", default="valid", help="valid, or test: only to show the leak, never for a result")
    sub.add_argument("--json", action="store_true", help="print the summary as JSON on stdout, progress on stderr")
    sub.add_argument("--quiet", action="store_true", help="no progress bar")
    add_reading(sub)
    sub.set_defaults(action="lmmrec_core.cli.search:search")


def _calibrate(commands: _Commands) -> None:
    sub = commands.add_parser(
        "calibrate",
        help="measure how often the study's tests are right, where the truth is known",
        description="Trains on fresh synthetic worlds whose truth is known, holds stored runs against themselves, and "
        "writes what the tests said to results/calibration/. It can be interrupted at any time and goes on where it "
        "stopped. summary.json is made anew from whatever is there.",
    )
    sub.add_argument(
        "--parts", nargs="*", choices=CALIBRATION_PARTS, default=[], metavar="PART",
        help=f"{listed_names(CALIBRATION_PARTS)} (default: all)",
    )  # fmt: skip
    sub.add_argument("--worlds", type=whole, help="worlds of each kind (default: as the book's calibration page says)")
    sub.add_argument("--jobs", type=process_count, default=2, help="processes at a time, one thread each (default: 2)")
    sub.add_argument("--dry-run", action="store_true", help="only say what would run, and about how long it takes")
    sub.set_defaults(action="lmmrec_core.cli.calibrate:calibrate")


def _check_table(commands: _Commands) -> None:
    sub = commands.add_parser(
        "check-table",
        help="check another paper's table: what in it cannot be?",
        description="Checks a printed table of recommender results, of any paper: Recall and NDCG that cannot come\n"
        "from one ranking, orders that cannot be, repeated rows, systems that are alike, rows that fell with a\n"
        "star, and baselines far from published figures. Nothing is trained.",
        epilog=CHECK_TABLE_FORM,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    sub.add_argument("file", metavar="FILE.csv", type=path_name, help="the table, in the form below")
    sub.add_argument("--percent", action="store_true", help="the table prints percentages: 3.71 is 0.0371")
    sub.add_argument(
        "--held-out", choices=HELD_OUT,
        help="held-out items of a user: one, few (at most the smaller cutoff), any (default: not said, see below)",
    )  # fmt: skip
    sub.add_argument(
        "--reference", default="", metavar="SYSTEM", help=f"the system that stars compare with (default: {BASELINE})"
    )
    sub.set_defaults(action="lmmrec_core.cli.check_table:check_table")


def _results(commands: _Commands) -> None:
    sub = commands.add_parser(
        "results",
        help="pack stored runs into two files a data set, unpack, count, export or merge them",
        description="Works on the stored runs of a track. Tables read packed runs as they read run folders.",
    )
    sub.set_defaults(action="lmmrec_core.cli.results:results")
    tasks = sub.add_subparsers(dest="task", metavar="TASK", required=True)
    for name, told in (
        ("pack", "write all stored runs of a data set into two files; run folders and runs packed before stay"),
        ("unpack", "write the run folders of packed runs that have none"),
        ("status", "count the cases that are run, not trained, not run; training hours and commits"),
        ("crate", "copy all of a track's results into a new folder that describes itself: an RO-Crate"),
        ("merge", "add the results of other machines; refuses those that contradict each other"),
    ):
        task = tasks.add_parser(name, help=told)
        task.add_argument(
            "--track", default="controls", type=path_name,
            help=f"{listed_names(TRACKS)}, or a .yaml file (default: controls)",
        )  # fmt: skip
        if name == "status":
            task.add_argument("--json", action="store_true", help="print JSON on stdout")
        elif name == "crate":
            task.add_argument("--out", type=folder_name, metavar="FOLDER", help="the new folder (default: TRACK-crate)")
        elif name == "merge":
            task.add_argument(
                "folders", nargs="+", type=folder_name, metavar="FOLDER", help="a folder `results` of another machine"
            )
        else:
            task.add_argument("--dataset", default="", help="only this data set of the track")


def _book(commands: _Commands) -> None:
    sub = commands.add_parser(
        "book",
        help="execute notebooks, and render the book (in the repository)",
        description="Executes notebooks with checked parameters and renders the book from them. A notebook replaces "
        "its older result only when every cell has run.",
    )
    sub.set_defaults(action="lmmrec_core.cli.book:book")
    tasks = sub.add_subparsers(dest="task", metavar="TASK", required=True)
    run = tasks.add_parser("run", help="execute any notebook and write the result where you say")
    run.add_argument("source", type=named_path)
    run.add_argument("target", type=named_path)
    run.add_argument("-p", dest="assignments", metavar="NAME=YAML", action="append", default=[], help="a parameter")
    run.add_argument("-f", dest="file", type=named_path, help="YAML file of parameters")
    run.add_argument("--cwd", type=named_path, help="folder the kernel works in (default: the notebook's)")
    run.add_argument("--timeout", type=whole, help="seconds a single cell may take")
    every = tasks.add_parser("all", help="execute the book's notebooks whose inputs changed")
    every.add_argument("--jobs", type=process_count, default=2, help="notebooks at the same time (default: 2)")
    every.add_argument("--track", action="append", choices=TRACKS, help="only this track (may be repeated)")
    every.add_argument("--force", action="store_true", help="also those whose inputs are unchanged")
    page = tasks.add_parser("page", help="execute one notebook of the book, whatever its state")
    page.add_argument("place", choices=[*TRACKS, "shared"], help="the track, or shared for a page of no track")
    page.add_argument("name", help="for instance 01_motivation")
    check = tasks.add_parser("check", help="are the executed notebooks whole and run as the book declares?")
    check.add_argument("paths", type=named_path, nargs="*", help="only look whether these are whole")
    tasks.add_parser("build", help="render the book unless nothing changed")
