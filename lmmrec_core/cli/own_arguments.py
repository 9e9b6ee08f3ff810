"""The commands for a catalogue of the user's own, as ``lmmrec`` understands them: run, recommend, compare, MMRec's."""

import argparse
from typing import TypeAlias

from lmmrec_core.cli.options import (
    CATALOGUE_NAME,
    add_energy,
    add_keep_encoder,
    add_modalities,
    add_reading,
    add_set,
    file_name,
    folder_name,
    listed_names,
    seed_number,
    whole,
)
from lmmrec_core.encoders import ENCODERS
from lmmrec_core.home import path_name
from lmmrec_core.metrics import METRICS
from lmmrec_core.names import BASELINE, CONTROLS, FLOOR_MODELS, PARADIGMS
from lmmrec_core.recommenders import RECOMMENDERS

_Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_run(commands: _Commands) -> None:
    """``lmmrec run``."""
    sub = commands.add_parser(
        "run",
        help="train and evaluate one case",
        description="Trains one recommender on one catalogue, evaluates it on the test part and stores the result "
        "under results/. The catalogue is yours: a folder as book/chapters/own_catalogue.md describes, in any of the "
        "formats listed there. A second call with the same settings returns the stored result. Popularity and "
        "item-kNN are computed beside it, on the same split, with a paired test. lmmrec compare --metrics measures "
        f"more than is printed, at any cut-off, on stored runs: {listed_names(METRICS)}.",
    )
    sub.add_argument("--data", required=True, type=folder_name, metavar="FOLDER", help="the catalogue folder")
    floor = [name for name in RECOMMENDERS if name in FLOOR_MODELS]
    others = [name for name in RECOMMENDERS if name not in FLOOR_MODELS]
    sub.add_argument("--model", required=True, help=f"{listed_names(others)}; without content: {listed_names(floor)}")
    sub.add_argument(
        "--encoder",
        default="",
        type=path_name,
        help=f"what makes the features: an encoder of tracks/user.yaml (default: {BASELINE}; ready features of the "
        f"catalogue go before it), or a YAML file with an entry of your own, made from: {listed_names(ENCODERS)}",
    )
    sub.add_argument(
        "--paradigm", default="", help=f"{listed_names(PARADIGMS)}, for one encoder of both modalities (default: PT)"
    )
    add_modalities(sub)
    sub.add_argument(
        "--control", default="", help=f"replace the content: {listed_names(CONTROLS)} (default: none, keep it)"
    )
    sub.add_argument("--name", default="", help=CATALOGUE_NAME)
    sub.add_argument(
        "--seed", type=seed_number, default=1, help="seed of initial values, negatives and order (default: 1)"
    )
    add_set(
        sub, "a setting of the model or of its training, for instance reg_weight=0.1; an unknown one is refused with a "
        "list of those there are",
    )  # fmt: skip
    sub.add_argument(
        "--tune", type=whole, metavar="N",
        help="first train N times at other settings, and take those with the best validation score; the defaults are "
        "tried first (the grid `study` of lmmrec search)",
    )  # fmt: skip
    sub.add_argument(
        "--twin", action="store_true",
        help="also train the nearest model without content: bpr for vbpr, else lightgcn; a stored one is shown anyway",
    )  # fmt: skip
    sub.add_argument(
        "--keep-model", action="store_true", help="keep the trained model beside the result, for lmmrec recommend"
    )
    add_keep_encoder(sub)
    add_energy(sub)
    sub.add_argument("--json", action="store_true", help="print the run record as JSON on stdout, progress on stderr")
    sub.add_argument("--quiet", action="store_true", help="no progress bars")
    add_reading(sub)
    sub.set_defaults(action="lmmrec_core.cli.run:run")


def add_encode(commands: _Commands) -> None:
    """``lmmrec encode``."""
    sub = commands.add_parser(
        "encode",
        help="features of new items by the encoder that an end-to-end run ended with",
        description="Encodes the pictures and texts of a folder (items.csv, images/) with the encoder that a run of "
        "paradigm ETE trained and kept. Writes visual.npy and textual.npy, a row for each line of items.csv, and "
        "features.csv, which says whose content was there: a folder of ready features, if items.csv is beside them.",
    )
    sub.add_argument("--run", required=True, type=path_name, metavar="KEY", help="the key of the run, or its folder")
    sub.add_argument("--items", required=True, type=folder_name, metavar="FOLDER", help="items.csv and their pictures")
    sub.add_argument("--out", required=True, type=folder_name, metavar="FOLDER", help="a new folder")
    sub.set_defaults(action="lmmrec_core.cli.encode:encode")


def add_recommend(commands: _Commands) -> None:
    """``lmmrec recommend``."""
    sub = commands.add_parser(
        "recommend",
        help="lists for users from a kept model",
        description="Ranks items for users with a model that `lmmrec run --keep-model` kept; the catalogue itself is "
        "not read. Users and items bear the catalogue's own ids. With --items it also scores new items by their "
        "content, if the model can.",
    )
    sub.add_argument(
        "--model", required=True, type=path_name, metavar="KEY",
        help="the key of the run, its folder, or the model's file",
    )  # fmt: skip
    sub.add_argument("--users", nargs="+", metavar="ID", help="ids, or @FILE with one a line (default: all)")
    sub.add_argument("--k", type=whole, default=20, help="items a user (default: 20)")
    sub.add_argument(
        "--hide", choices=("all", "train"), default="all",
        help="leave out all items that the user has interacted with, or those of training rows only, as the evaluation "
        "does (default: all)",
    )  # fmt: skip
    sub.add_argument(
        "--items", type=folder_name, metavar="FOLDER", help="a catalogue folder with new items: items.csv, images/"
    )
    sub.add_argument("--only-new", action="store_true", help="recommend the new items alone")
    sub.add_argument("--format", choices=("csv", "parquet", "trec"), default="csv", help="(default: csv)")
    sub.add_argument("--out", type=file_name, metavar="FILE", help="write there, a new file (default: print)")
    sub.set_defaults(action="lmmrec_core.cli.recommend:recommend")


def add_compare(commands: _Commands) -> None:
    """``lmmrec compare``."""
    sub = commands.add_parser(
        "compare",
        help="compare two stored results on one split",
        description="Per metric: the difference A - B with its 95 percent interval, p, and the shares of users that "
        "A serves better, worse and the same. With one run a side the test is over users; with several seeds of both "
        "it is over users and seeds.",
    )
    for side in ("a", "b"):
        sub.add_argument(side, metavar=side.upper(), help="the key of a run or its folder; several seeds with commas")
    sub.add_argument(
        "--metrics", default="recall@10,recall@20,ndcg@10,ndcg@20", help="with commas (default: those of the paper)"
    )
    sub.add_argument("--json", action="store_true", help="print JSON on stdout")
    sub.set_defaults(action="lmmrec_core.cli.compare:compare_stored")


def add_import_mmrec(commands: _Commands) -> None:
    """``lmmrec import-mmrec``."""
    sub = commands.add_parser(
        "import-mmrec",
        help="MMRec layout → catalogue folder",
        description="Reads NAME.inter, image_feat.npy, text_feat.npy; writes a catalogue folder with the same split.",
    )
    _add_folders(sub, "folder in the MMRec layout", "new catalogue folder", "import_mmrec")


def add_export_mmrec(commands: _Commands) -> None:
    """``lmmrec export-mmrec``."""
    sub = commands.add_parser(
        "export-mmrec",
        help="catalogue folder → MMRec layout",
        description="Writes NAME.inter with the split's labels, the features if there are any, and the id mappings.",
    )
    _add_folders(sub, "catalogue folder", "new folder in the MMRec layout", "export_mmrec")
    sub.add_argument(
        "--encoder", default="", type=path_name,
        help=f"extract features with this encoder first, for instance {BASELINE}",
    )  # fmt: skip
    add_reading(sub)


def _add_folders(sub: argparse.ArgumentParser, source: str, target: str, action: str) -> None:
    """What a command that turns one folder into another is given."""
    sub.add_argument("source", type=folder_name, help=source)
    sub.add_argument("target", type=folder_name, help=target)
    sub.set_defaults(action=f"lmmrec_core.cli.commands:{action}")
