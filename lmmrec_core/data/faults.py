"""What is wrong with the files of a catalogue, gathered while they are read: one reading tells all of it."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Self

from lmmrec_core.errors import DataError

_SHOWN = 10  # faults of one kind that are printed
_PARTICULARS = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|\d+")  # what tells two faults of one kind apart


class FaultyError(DataError):
    """All faults that were found, one a line."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__(listed(faults))
        self.faults = tuple(faults)

    def __reduce__(self) -> tuple[type[Self], tuple[tuple[str, ...]]]:
        """From another process it comes with its faults, not with their listing."""
        return type(self), (self.faults,)


class Faults:
    """Faults in the order found. With ``at_once`` the first one is raised, for readers that gather nothing."""

    def __init__(self, at_once: bool = False) -> None:
        self.at_once = at_once
        self.found: list[str] = []

    def __len__(self) -> int:
        return len(self.found)

    def add(self, fault: str) -> None:
        """Note a fault. Raises DataError if the first one is to be raised."""
        if self.at_once:
            raise DataError(fault)
        self.found.append(fault)

    @contextmanager
    def noted(self) -> Iterator[None]:
        """A DataError inside is noted, each of its faults once, and what is inside ends there."""
        try:
            yield
        except DataError as error:
            known = set(self.found)  # by the very refusal that ended it, if it was one of these faults
            for fault in error.faults if isinstance(error, FaultyError) else (str(error),):
                if fault not in known:
                    self.add(fault)

    def refuse(self) -> None:
        """Raises DataError with all faults, one a line, of each kind the first ten; nothing if there are none."""
        if self.found:
            raise FaultyError(self.found)


def listed(faults: Sequence[str]) -> str:
    """Faults as one text: a single one as it is, several one a line under their number."""
    if len(faults) == 1:
        return faults[0]
    by_kind: dict[str, list[str]] = {}
    for fault in faults:
        by_kind.setdefault(_PARTICULARS.sub("", fault), []).append(fault)
    lines = [f"{len(faults)} faults"]
    for alike in by_kind.values():
        lines += [f"  {fault}" for fault in alike[:_SHOWN]]
        if len(alike) > _SHOWN:
            lines.append(f"  and {len(alike) - _SHOWN} more like the last")
    return "\n".join(lines)
