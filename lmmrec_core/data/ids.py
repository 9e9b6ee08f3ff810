"""Ids of a source → positions, in an order that depends on the ids alone and not on the order of rows."""

from collections.abc import Iterable, Sequence

import numpy as np

from lmmrec_core.flow import IntArray


def natural_key(identifier: str) -> tuple[int, int, str]:
    """Sorts "2" before "10" before "B0": ids of digits as numbers, then all others as text."""
    if identifier.isascii() and identifier.isdigit() and len(identifier) <= 18:
        return (0, int(identifier), identifier)
    return (1, 0, identifier)


def in_order(identifiers: Iterable[str]) -> tuple[str, ...]:
    """The distinct ids in natural order."""
    return tuple(sorted(set(identifiers), key=natural_key))


def positions(identifiers: Sequence[str], known: Sequence[str]) -> IntArray:
    """The position of each id in ``known``, which must hold it."""
    lookup = {identifier: number for number, identifier in enumerate(known)}
    return np.fromiter((lookup[identifier] for identifier in identifiers), dtype=np.int64, count=len(identifiers))


def natural_ranks(identifiers: Sequence[str]) -> IntArray:
    """The rank of each of these distinct ids in natural order: a numbering that no re-indexing changes."""
    order = sorted(range(len(identifiers)), key=lambda number: natural_key(identifiers[number]))
    rank = np.empty(len(identifiers), dtype=np.int64)
    rank[order] = np.arange(len(identifiers))
    return rank
