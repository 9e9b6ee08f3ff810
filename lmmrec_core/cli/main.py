"""``lmmrec``: parse, dispatch, and print errors as one readable line."""

import argparse
import sys
from collections.abc import Sequence

from lmmrec_core import __version__
from lmmrec_core.cli import commands, search
from lmmrec_core.errors import LmmrecError

_EXAMPLES = """\
examples, from the first look to your own data:
  lmmrec data                                     what the tracks hold, and what is prepared
  lmmrec reproduce                                the whole study on the embedded controls
  lmmrec reproduce --rq 2 --seeds 1 2 3 --jobs 2  only what research question 2 needs
  lmmrec reproduce --track movielens --data ../shared/data
  lmmrec run --data my-catalogue --model vbpr     one run on your own catalogue
  lmmrec run --data my-catalogue --model lattice --set n_neighbours=5 --set learning_rate=0.0005 --json
  lmmrec search --dataset complementary --model vbpr  search its settings, 20 trainings, on validation
  lmmrec import-mmrec downloads/baby my-catalogue use a data set in the MMRec layout
  lmmrec export-mmrec my-catalogue to-mmrec       and give yours to that toolbox

`lmmrec COMMAND --help` explains each. Results go to results/, everything that can be made again to .cache/.
"""


def parser() -> argparse.ArgumentParser:
    """The argument parser, with one sub-parser per command."""
    top = argparse.ArgumentParser(
        prog="lmmrec",
        description="Do large multi-modal encoders help recommendation? Run the study or one case, on any catalogue.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"lmmrec {__version__}")
    subs = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _data(subs)
    _features(subs)
    _run(subs)
    _reproduce(subs)
    _catalogue_options(search.add_parser(subs))
    _mmrec(subs)
    return top


def _data(subs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    sub = subs.add_parser(
        "data",
        help="show the data sets of a track, or check a catalogue folder",
        description="Without arguments: every track's data sets with their statistics. With FOLDER: read that "
        "catalogue, apply the k-core and the split, and print what was kept, dropped and missing. Nothing is trained.",
    )
    sub.add_argument(
        "folder", nargs="?", help="a catalogue folder (interactions.csv, items.csv, images/) or an MMRec folder"
    )
    sub.add_argument("--track", help="only this track: controls, movielens, paper")
    sub.add_argument(
        "--data", default="", metavar="FOLDER", help="where the real data sets lie; prepares them to count them"
    )
    _catalogue_options(sub)
    sub.set_defaults(run=commands.data)


def _features(subs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    sub = subs.add_parser(
        "features",
        help="extract item features into the store, and print their cards",
        description="Extracts the features of every data set of a track (or of one catalogue) with the "
        "track's encoders. Features already in the store are checked and not computed again.",
    )
    sub.add_argument("--track", default="controls", help="controls, movielens or paper (default: controls)")
    sub.add_argument("--data", default="", metavar="FOLDER", help="where the real data sets lie")
    sub.add_argument("--catalogue", metavar="FOLDER", help="a catalogue of your own instead of a track")
    sub.add_argument("--encoder", default="baseline", help="which of the track's encoders (default: baseline)")
    _catalogue_options(sub)
    sub.set_defaults(run=commands.features)


def _run(subs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    sub = subs.add_parser(
        "run",
        help="train and evaluate one case",
        description="Trains one recommender on one catalogue, evaluates it on the test part and stores the result "
        "under results/. With --data FOLDER the catalogue is yours: a folder as the data chapter describes, an MMRec "
        "folder, or one that holds ready features. A second call with the same settings returns the stored result.",
    )
    sub.add_argument("--data", required=True, metavar="FOLDER", help="the catalogue folder")
    models = "vbpr, mmgcn, mmgcl, slmrec, lattice, freedom, bm3; popularity, itemknn, ease, bpr, lightgcn"
    sub.add_argument("--model", required=True, help=models)
    sub.add_argument(
        "--encoder",
        default="baseline",
        help="encoder of the content: baseline (the default; ready features win), clip, or a YAML file with an entry "
        "of your own",
    )
    sub.add_argument("--paradigm", default="", help="PT, FT or ETE for an encoder of both modalities (default: PT)")
    sub.add_argument("--modalities", default="V&T", help="V&T, V or T (default: V&T)")
    sub.add_argument(
        "--control", default="none", help="none, shuffled, noise or zero: replace the content (default: none)"
    )
    sub.add_argument("--seed", type=int, default=1, help="seed of initial values, negatives and order (default: 1)")
    sub.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of the model or its training"
    )
    sub.add_argument("--json", action="store_true", help="print the run record as JSON on stdout, progress on stderr")
    sub.add_argument("--quiet", action="store_true", help="no progress bars")
    _catalogue_options(sub)
    sub.set_defaults(run=commands.run)


def _reproduce(subs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    sub = subs.add_parser(
        "reproduce",
        help="run the study, or one research question, on a track",
        description="Runs every case of the grid that is not stored yet, in parallel processes. It can be interrupted "
        "at any time and goes on where it stopped. `make reproduce` calls this and then builds the book.",
    )
    sub.add_argument("--track", default="controls", help="controls, movielens or paper (default: controls)")
    sub.add_argument("--rq", default="", help="number or name of a research question (default: all)")
    sub.add_argument("--seeds", nargs="*", default=[], help="seeds, for instance 1 2 3 (default: the track's)")
    sub.add_argument("--jobs", type=int, default=2, help="processes at a time (default: 2)")
    sub.add_argument("--data", default="", metavar="FOLDER", help="where the real data sets lie")
    sub.add_argument("--dry-run", action="store_true", help="only say what would run and what cannot")
    sub.set_defaults(run=commands.reproduce)


def _mmrec(subs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    into = subs.add_parser(
        "import-mmrec",
        help="MMRec layout → catalogue folder",
        description="Reads NAME.inter, image_feat.npy, text_feat.npy; writes a catalogue folder with the same split.",
    )
    into.add_argument("source", help="folder in the MMRec layout")
    into.add_argument("target", help="new catalogue folder")
    into.set_defaults(run=commands.import_mmrec)
    out = subs.add_parser(
        "export-mmrec",
        help="catalogue folder → MMRec layout",
        description="Writes NAME.inter with the split's labels, the features where there are any, and the id mappings.",
    )
    out.add_argument("source", help="catalogue folder")
    out.add_argument("target", help="new folder in the MMRec layout")
    out.add_argument("--encoder", default="", help="extract features with this encoder first, for instance baseline")
    _catalogue_options(out)
    out.set_defaults(run=commands.export_mmrec)


def _catalogue_options(sub: argparse.ArgumentParser) -> None:
    group = sub.add_argument_group("how a catalogue of your own is read")
    group.add_argument("--interactions", default="interactions.csv", help="the file of interactions in the folder")
    group.add_argument("--min-rating", type=float, help="keep interactions rated at least this (default: all)")
    group.add_argument(
        "--k-core", type=int, default=5, help="least interactions of users and items; 1 keeps all (default: 5)"
    )
    group.add_argument(
        "--split", default="", help="mmrec, lattice, global_time or given (default: given if there is one)"
    )
    group.add_argument("--split-seed", type=int, default=2026, help="seed of a random split (default: 2026)")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; the exit status: 0 done, 1 something failed and said so, 130 interrupted."""
    arguments = parser().parse_args(argv)
    try:
        return int(arguments.run(arguments) or 0)
    except LmmrecError as error:
        print(f"lmmrec {arguments.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            "\ninterrupted: finished results are stored; the same command goes on where this one stopped",
            file=sys.stderr,
        )
        return 130
    except BrokenPipeError:
        return 0
