"""Options that several commands of ``lmmrec`` share."""

import argparse
from collections.abc import Iterable

from lmmrec_core.names import MODALITY_SETS, SPLIT_RULES, TRACKS

CATALOGUE_NAME = "what your catalogue is called in results/ (default: as its folder)"


def listed_names(names: Iterable[str]) -> str:
    """Names as help prints them."""
    return ", ".join(names)


def add_track(sub: argparse.ArgumentParser) -> None:
    """The track of the study, and its data."""
    sub.add_argument("--track", default="", help=f"{listed_names(TRACKS)}, or a .yaml file (default: controls)")
    sub.add_argument("--data", default="", metavar="FOLDER", help="the folder of the real data sets")


def add_catalogue(sub: argparse.ArgumentParser) -> None:
    """A folder of the user's own."""
    sub.add_argument("--catalogue", metavar="FOLDER", help="a catalogue of your own instead of a track")


def add_modalities(sub: argparse.ArgumentParser) -> None:
    """What of the items is read."""
    sets = [name for name in MODALITY_SETS if name != "none"]
    sub.add_argument("--modalities", default="", help=f"{listed_names(sets)} (default: {sets[0]})")


def add_set(sub: argparse.ArgumentParser, help_text: str) -> None:
    """Settings by name."""
    sub.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help=f"{help_text} (may be repeated)")


def add_reading(sub: argparse.ArgumentParser) -> None:
    """How a catalogue of the user's own is read."""
    group = sub.add_argument_group("how a catalogue of your own is read")
    group.add_argument("--interactions", default="", help="file of interactions in it (default: interactions.csv)")
    group.add_argument("--min-rating", type=float, help="keep interactions rated at least this (default: all)")
    group.add_argument(
        "--k-core",
        type=int,
        help="least interactions of users and items; 1 keeps all (default: 5; none of a given split)",
    )
    group.add_argument("--split", default="", help=f"{listed_names(SPLIT_RULES)} (default: given if the data have one)")
    group.add_argument("--split-seed", type=int, help="seed of a random split (default: 2026)")
    for option, what in (("image", "picture"), ("text", "text")):
        group.add_argument(
            f"--missing-{option}", choices=("drop", "keep"),
            help=f"items without a {what} (default: drop if the run reads {what}s, else keep)",
        )  # fmt: skip
    group.add_argument(
        "--unreadable", choices=("drop", "keep"),
        help="items whose picture is not there or broken: drop them, or keep them without it (default: an error that "
        "lists them all)",
    )  # fmt: skip
