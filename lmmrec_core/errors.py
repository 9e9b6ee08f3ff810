"""The five error classes, named by cause, and the "nearest valid name" refusal.

Every message names the thing, the place and the cure. A caller that catches :class:`LmmrecError`
catches everything this package raises on purpose; the command line prints it without a traceback.
"""

import difflib
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Self


class LmmrecError(Exception):
    """Base of all errors raised on purpose.

    Where only the position of a user or an item is known, the message has ``{user}`` or ``{item}`` in its place and
    the position comes by that name; :meth:`with_ids` puts the ids of the source there.
    """

    def __init__(self, message: str = "", **positions: int) -> None:
        self.template, self.positions = message, positions
        named = {kind: f"at position {position} (from 0)" for kind, position in positions.items()}
        super().__init__(message.format(**named) if positions else message)

    def with_ids(self, ids: Mapping[str, Sequence[str]]) -> Self:
        """The same error with the ids of a catalogue's users and items; itself if it names none by position."""
        if not self.positions:
            return self
        names = {kind: repr(ids[kind][position]) for kind, position in self.positions.items()}
        return type(self)(self.template.format(**names))


class ConfigError(LmmrecError):
    """A setting, name or value that the study does not know or does not allow."""


class DataError(LmmrecError):
    """A catalogue, interaction file or split that cannot be used as it is."""


class FeatureError(LmmrecError):
    """Features that are missing, misshapen, not finite or not the ones asked for."""


class TrainingError(LmmrecError):
    """Training that cannot go on: a non-finite loss, a checkpoint of another run."""


class ResultError(LmmrecError):
    """A stored result that is damaged, incomplete or of another schema."""


#: What other toolboxes (RecBole, MMRec) and habit call a setting of ours; a hint names ours.
_ALSO_CALLED = {
    "lr": "learning_rate", "wd": "weight_decay", "l2": "reg_weight", "bs": "batch_size",
    "trainbatchsize": "batch_size", "embsize": "embedding_dim", "embeddingsize": "embedding_dim",
    "latentdim": "embedding_dim", "factors": "embedding_dim", "earlystopping": "patience", "stoppingstep": "patience",
    "evalstep": "evaluate_every", "gpu": "device", "cuda": "device", "finetune": "FT", "pretrained": "PT", "e2e": "ETE",
    "endtoend": "ETE", "finetuned": "FT",
    "patienceepochs": "patience", "ablation": "ablate", "normalize": "normalise_features",
    "normalizefeatures": "normalise_features",
}  # fmt: skip
_LISTED = 60  # names that a message lists; of more, those that are most like the one seen
_TYPO, _ALIKE = 0.8, 0.7  # how like two names are of which one is misspelt, and may be


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The one of ``known`` that ``name`` may be meant for, or None.

    Case, blanks and hyphens are ignored. A misspelt name goes first, then one that is part of another or has it as a
    part (``batch``: ``batch_size``; the shortest), then one that begins alike (``babies``: ``baby``), then one that is
    merely alike. Numbers are the same without leading zeros.
    """
    options: dict[str, str] = {}
    for option in known:
        options.setdefault(_plain(option), option)
    sought = _plain(name)
    if sought in options:
        return options[sought]
    if (ours := _plain(_ALSO_CALLED.get(sought, ""))) in options and ours:
        return options[ours]
    if hits := difflib.get_close_matches(sought, list(options), n=1, cutoff=_TYPO):
        return options[hits[0]]
    if parts := [option for option in options if _is_part(sought, option) or _is_part(option, sought)]:
        return options[min(parts, key=len)]
    if begun := [option for option in options if _begin_alike(sought, option)]:
        return options[min(begun, key=len)]
    hits = difflib.get_close_matches(sought, list(options), n=1, cutoff=_ALIKE)
    return options[hits[0]] if hits else None


def _plain(name: str) -> str:
    plain = re.sub(r"[\W_]", "", name.lower()) or name
    return plain.lstrip("0") or "0" if plain.isdigit() else plain


def _begin_alike(one: str, other: str) -> bool:
    """Whether two names share at least three letters at their beginnings, and half of the longer one."""
    shared = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
    return shared >= 3 and 2 * shared >= max(len(one), len(other))


def _is_part(one: str, other: str) -> bool:
    """Whether a name begins or ends another."""
    return (len(one) > 1 and other.startswith(one)) or (len(one) > 2 and other.endswith(one))


def unknown(kind: str, name: object, known: Iterable[str], where: str = "") -> ConfigError:
    """The error for a name outside a closed set: seen, nearest valid name, all valid names."""
    options = sorted(set(known))
    close = nearest(str(name), options)
    place = f"{where}: " if where else ""
    hint = f"; did you mean {close!r}?" if close else ";"
    listed, more = options, ""
    if len(options) > _LISTED:
        listed = difflib.get_close_matches(str(name), options, n=_LISTED // 4, cutoff=0) or options[: _LISTED // 4]
        more = f" and {len(options) - len(listed)} more"
    return ConfigError(f"{place}unknown {kind} {name!r}{hint} known: {', '.join(listed)}{more}")
