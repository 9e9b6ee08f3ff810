"""The five error classes, named by cause, and the "nearest valid name" refusal.

Every message names the thing, the place and the cure. A caller that catches :class:`LmmrecError`
catches everything this package raises on purpose; the command line prints it without a traceback.
"""

import difflib
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


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The closest of ``known`` to ``name`` (case ignored), or None when nothing is close."""
    options = {option.lower(): option for option in known}
    hits = difflib.get_close_matches(name.lower(), list(options), n=1, cutoff=0.5)
    return options[hits[0]] if hits else None


def unknown(kind: str, name: object, known: Iterable[str], where: str = "") -> ConfigError:
    """The error for a name outside a closed set: seen, nearest valid name, all valid names."""
    options = sorted(known)
    close = nearest(str(name), options)
    place = f"{where}: " if where else ""
    hint = f"; did you mean {close!r}?" if close else ";"
    return ConfigError(f"{place}unknown {kind} {name!r}{hint} known: {', '.join(options)}")
