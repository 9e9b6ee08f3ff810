"""Options that several commands of ``lmmrec`` share."""

import argparse
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from lmmrec_core.errors import ConfigError, nearest
from lmmrec_core.home import path_name
from lmmrec_core.names import MODALITY_SETS, SPLIT_RULES, TRACKS

CATALOGUE_NAME = "what your catalogue is called in results/ (default: as its folder)"


class Parser(argparse.ArgumentParser):
    """Refuses an option that is given twice, unless all its values count: the last would win without a word.

    Of an option, a command or a choice that there is not, it tells the nearest one that there is.
    """

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.given: set[argparse.Action] = set()
        for name in (None, "store"):  # as argparse calls options of one value
            self.register("action", name, _Once)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As that of argparse."""
        self.given.clear()
        self._check_options([*(sys.argv[1:] if args is None else args)])
        return super().parse_known_args(args, namespace)

    def _check_options(self, words: Sequence[str]) -> None:
        """Ends with an error at an option that there is not; argparse would first miss those that are required."""
        for word in words:
            name = word.partition("=")[0]
            if word == "--" or (self._subparsers is not None and not word.startswith("-")):
                return  # what follows are no options, or those of the command
            known = self._option_string_actions
            if name.startswith("--") and " " not in word and not any(option.startswith(name) for option in known):
                close = nearest(name, [option for option in known if option.startswith("--")])
                self.error(f"unknown option {name}; {f'did you mean {close}?' if close else 'see --help'}")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            if (close := nearest(str(value), map(str, action.choices or ()))) is None:
                raise
            raise argparse.ArgumentError(action, f"{error.message}; did you mean {close!r}?") from None


def _note_given(parser: argparse.ArgumentParser, option: argparse.Action) -> None:
    if isinstance(parser, Parser):
        if option in parser.given:
            raise argparse.ArgumentError(option, "given twice; leave one out")
        parser.given.add(option)


class _Once(argparse._StoreAction):
    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        if option_string is not None:
            _note_given(parser, self)
        super().__call__(parser, namespace, values, option_string)


class _OnceBoolean(argparse.BooleanOptionalAction):
    """As :class:`_Once`, for an option with its opposite, ``--no-NAME``."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        _note_given(parser, self)
        super().__call__(parser, namespace, values, option_string)


def whole(text: str) -> int:
    """The type of an option: a whole number in plain digits."""
    if not re.fullmatch(r"[+-]?[0-9]{1,18}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at most 18 digits")
    return int(text)


def seed_number(text: str) -> int:
    """The type of ``--seed``. Raises ConfigError for a number below 0."""
    if (seed := whole(text)) < 0:
        raise ConfigError(f"--seed {seed}: give a whole number from 0")
    return seed


def seed_numbers(seeds: list[str]) -> list[int]:
    """The values of ``--seeds``, apart or with commas. Raises ConfigError for what is no whole number."""
    words = [word for text in seeds for word in text.replace(",", " ").split()]
    for word in words:
        if not (word.isascii() and word.isdigit() and len(word) <= 18):
            raise ConfigError(f"--seeds {word[:40]!r} is not a whole number; write for instance --seeds 1 2 3")
    return [int(word) for word in words]


def process_count(text: str) -> int:
    """The type of ``--jobs``. Raises ConfigError for less than one process, whether they would run or not."""
    if (jobs := whole(text)) < 1:
        raise ConfigError(f"--jobs {jobs}: at least one process is needed; write --jobs 2")
    return jobs


def folder_name(text: str) -> str:
    """The type of an option that must name a folder. Raises ConfigError for an empty name."""
    if not text.strip():
        raise ConfigError(f"{text!r} names no folder; write its name, or . for the current folder")
    return path_name(text)


def file_name(text: str) -> str:
    """The type of an option that must name a file. Raises ConfigError for an empty name, or that of a folder."""
    if not text.strip() or text.endswith("/"):
        raise ConfigError(f"{text!r} names no file; write its name")
    return path_name(text)


def names_in(text: str, option: str) -> list[str]:
    """The words of an option that takes several, with commas or blanks, each once; none where it was not given.

    Raises ConfigError for commas and blanks alone, which would mean all.
    """
    words = list(dict.fromkeys(text.replace(",", " ").split()))
    if text and not words:
        raise ConfigError(f"{option} {text!r} names nothing; write a name, or leave it out for all")
    return words


def listed_names(names: Iterable[str]) -> str:
    """Names as help prints them."""
    return ", ".join(names)


def add_track(sub: argparse.ArgumentParser) -> None:
    """The track of the study, and its data."""
    sub.add_argument(
        "--track", default="", type=path_name, help=f"{listed_names(TRACKS)}, or a .yaml file (default: controls)"
    )
    sub.add_argument("--data", default="", type=path_name, metavar="FOLDER", help="the folder of the real data sets")


def add_catalogue(sub: argparse.ArgumentParser) -> None:
    """A folder of the user's own."""
    sub.add_argument(
        "--catalogue", type=folder_name, metavar="FOLDER", help="a catalogue of your own instead of a track"
    )


def add_modalities(sub: argparse.ArgumentParser) -> None:
    """What of the items is read."""
    sets = [name for name in MODALITY_SETS if name != "none"]
    sub.add_argument("--modalities", default="", help=f"{listed_names(sets)} (default: {sets[0]})")


def add_set(sub: argparse.ArgumentParser, help_text: str) -> None:
    """Settings by name."""
    sub.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help=f"{help_text} (may be repeated)")


def add_energy(sub: argparse.ArgumentParser) -> None:
    """Whether the energy of new runs is recorded."""
    sub.add_argument(
        "--energy", action="store_true",
        help="record an estimate of the energy of new runs, by codecarbon (the extra `energy`); it changes no key",
    )  # fmt: skip


def add_keep_encoder(sub: argparse.ArgumentParser) -> None:
    """Whether the encoder of an end-to-end run stays."""
    sub.add_argument(
        "--keep-encoder", action=_OnceBoolean,
        help="keep the encoder that paradigm ETE trained in .cache/encoders, for lmmrec encode; it is kept unless you "
        "say no, which saves its disk",
    )  # fmt: skip


def _rating(text: str) -> float:
    if "_" in text:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number")
    return float(text)


def add_reading(sub: argparse.ArgumentParser) -> None:
    """How a catalogue of the user's own is read."""
    group = sub.add_argument_group("how a catalogue of your own is read")
    group.add_argument("--interactions", default="", help="file of interactions in it (default: interactions.csv)")
    group.add_argument("--min-rating", type=_rating, help="keep interactions rated at least this (default: all)")
    group.add_argument(
        "--k-core",
        type=whole,
        help="least interactions of users and items; 1 keeps all (default: 5; none of a given split)",
    )
    group.add_argument(
        "--split", default="",
        help=f"{listed_names(SPLIT_RULES)} (default: given if the data have one, else mmrec: a fifth of "
        "each user's items, and at least two, are held out)",
    )  # fmt: skip
    group.add_argument("--split-seed", type=whole, help="seed of a random split (default: 2026)")
    for modality in ("visual", "textual"):
        group.add_argument(
            f"--{modality}", default="", metavar="LAYER",
            help=f"whose {modality} features of a Ducho folder: BACKEND/MODEL/LAYER (default: the only ones)",
        )  # fmt: skip
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
