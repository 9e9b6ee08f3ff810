"""Digests of a catalogue's content and of a split, both by the ids of the source.

Neither changes if the same data is read with its rows in another order, or if users and items are renumbered.
"""

import hashlib

from lmmrec_core.data.ids import natural_key
from lmmrec_core.digests import bytes_sha256, file_sha256
from lmmrec_core.flow import PARTS, Catalogue, Interactions


def catalogue_fingerprint(catalogue: Catalogue) -> str:
    """SHA-256 over all items, by id, of (id, SHA-256 of the picture's bytes or "none", SHA-256 of the text).

    Features are computed from this content alone; interactions enter :func:`split_fingerprint` instead.
    Raises DataError for a picture that cannot be read.
    """
    running = hashlib.sha256()
    for i in sorted(range(catalogue.n_items), key=lambda i: natural_key(catalogue.item_ids[i])):
        image = catalogue.images[i]
        picture = "none" if image is None else file_sha256(image)
        text = bytes_sha256(catalogue.texts[i].encode())
        running.update(f"{_framed(catalogue.item_ids[i])}{picture}{text}\n".encode())
    return running.hexdigest()


def split_fingerprint(catalogue: Catalogue, train: Interactions, valid: Interactions, test: Interactions) -> str:
    """SHA-256 over the sorted (user id, item id, part) rows of a split of ``catalogue``."""
    users = [_framed(identifier) for identifier in catalogue.user_ids]
    items = [_framed(identifier) for identifier in catalogue.item_ids]
    lines = []
    for part, rows in zip(PARTS, (train, valid, test), strict=True):
        lines += [f"{users[u]}{items[i]}{part}\n" for u, i in zip(rows.user.tolist(), rows.item.tolist(), strict=True)]
    return bytes_sha256("".join(sorted(lines)).encode())


def _framed(identifier: str) -> str:
    """The id with its length in front, so that no two lists of ids join to the same text."""
    return f"{len(identifier)}:{identifier}"
