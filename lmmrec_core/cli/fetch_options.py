"""What ``lmmrec fetch`` understands; imports nothing that does the work."""

import argparse

from lmmrec_core.cli.options import add_track, listed_names, whole
from lmmrec_core.home import path_name
from lmmrec_core.names import FETCHED


def add_fetch(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """The command and its options."""
    sub = commands.add_parser(
        "fetch",
        help="fetch the data and weights that a track needs, or take those you have",
        description="Fetches what a track reads from its publishers into the data folder: reviews, metadata, CNN "
        "vectors, pictures, weights. It first says what comes, how large it is, how long it may take and under which "
        "terms. Every file is checked: its size and digest where they are published, and its content. It can be "
        "interrupted at any time, killed too, and goes on where it stopped. Dead links of pictures are listed, and not "
        "asked again. At the end the counts are held beside Table 2. The addresses are those of the publishers' pages; "
        "whether they still answer shows only when they are asked.",
    )
    add_track(sub)
    sub.add_argument("--dataset", nargs="*", default=[], metavar="NAME", help="only these data sets of the track")
    sub.add_argument("--only", nargs="*", default=[], metavar="KIND", help=f"only these: {listed_names(FETCHED)}")
    sub.add_argument(
        "--from", dest="have", default="", type=path_name, metavar="FOLDER",
        help="take files from here first, wherever they lie in it; checked as if they were fetched",
    )  # fmt: skip
    sub.add_argument("--offline", action="store_true", help="ask nobody: only take with --from, check and count")
    sub.add_argument("--dry-run", action="store_true", help="only say what would be fetched")
    sub.add_argument(
        "--longest-side", type=whole, metavar="PIXELS",
        help="shrink larger pictures to this; a picture's shorter side stays at least 224 (default: kept as they come)",
    )  # fmt: skip
    sub.add_argument("--again", action="store_true", help="ask for pictures again whose links were dead")
    sub.add_argument("--connections", type=whole, default=8, help="open at a time (default: 8)")
    sub.add_argument("--per-host", type=whole, default=4, help="open at a time to one host (default: 4)")
    sub.add_argument("--accept-counts", action="store_true", help="accept counts far from the published ones")
    sub.add_argument("--quiet", action="store_true", help="no progress bars")
    sub.set_defaults(action="lmmrec_core.cli.fetch:fetch_data")
