"""A part of a track's grid: cases by name, and each N-th of them for machines that share the work."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from lmmrec_core.errors import ConfigError, unknown
from lmmrec_core.study.cases import Case

#: Fields of a case that it can be chosen by.
CHOSEN_BY = ("dataset", "model", "encoder", "paradigm", "modalities")


@dataclass(frozen=True)
class Shard:
    """One of ``of`` equal parts of a list of cases; ``number`` counts from 1."""

    number: int = 1
    of: int = 1

    @classmethod
    def read(cls, text: str) -> Self:
        """``I/N``, for instance 2/8. Raises ConfigError for anything else."""
        number, slash, of = text.partition("/")
        if not (slash and all(word.isascii() and word.isdigit() and len(word) <= 6 for word in (number, of))):
            raise ConfigError(f"--shard {text[:40]!r} is not I/N; write for instance --shard 1/8, the first of eight")
        if not 1 <= int(number) <= int(of):
            raise ConfigError(f"--shard {text}: there is no part {number} of {of}; parts are numbered from 1 to {of}")
        return cls(int(number), int(of))

    def take(self, cases: Sequence[Case]) -> tuple[Case, ...]:
        """Each ``of``-th case, from the ``number``-th on: the parts are disjoint, and together they are all.

        They depend on nothing but the list, so they stay the same while results come in.
        """
        return tuple(cases[self.number - 1 :: self.of])


def choose(cases: Sequence[Case], wanted: Mapping[str, Sequence[str]], where: str) -> tuple[Case, ...]:
    """The cases with one of the named values in every field of ``wanted``; an empty list takes all.

    Raises ConfigError for a name that no case has, with the nearest, and if no case has all that is named; ``where``
    says in the message which cases these are.
    """
    if not cases:
        raise ConfigError(f"{where}: it has no cases: no data sets, or no models; add some, or name another track")
    for field, names in wanted.items():
        known = dict.fromkeys(str(getattr(case, field)) for case in cases)
        for name in names:
            if name not in known:
                raise unknown(field, name, known, where)
    found = tuple(case for case in cases if all(not n or getattr(case, field) in n for field, n in wanted.items()))
    if not found:
        asked = ", ".join(f"{field} {' or '.join(names)}" for field, names in wanted.items() if names)
        raise ConfigError(f"{where}: no case has {asked}; leave one of them out (--dry-run shows what there is)")
    return found
