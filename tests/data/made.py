"""Small catalogues for tests: rows of a folder, catalogues made in memory, and what is compared of them."""

import csv
from pathlib import Path

import numpy as np

from lmmrec_core.flow import Catalogue

ITEMS = [
    ["item_id", "title", "description", "brand", "categories", "image"],
    ["10", "Blue Cup", "Holds <b>tea</b> &amp; more.", "Kiln", "Kitchen, Cups", "images/10.jpg"],
    ["2", "Red Cup", "", "", "Kitchen", "images/2.jpg"],
    ["7", "Green Jug!", "Tall.", "Kiln", "", "images/7.jpg"],
    ["B1", "Spare", "Nobody took it", "", "", "images/B1.jpg"],
]
INTERACTIONS = [
    ["user_id", "item_id", "rating", "timestamp", "split"],
    ["u2", "2", "5", "30", "train"],
    ["u2", "10", "4", "20", "test"],
    ["u10", "10", "3", "10", "train"],
    ["u10", "7", "5", "40", "valid"],
    ["u1", "7", "2", "15", "train"],
]


def write_csv(path: Path, rows: list[list[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)


def catalogue_of(pairs, n_users=None, n_items=None, **changes) -> Catalogue:
    """A catalogue of (user, item) pairs, without content."""
    user, item = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    n_users = n_users or int(user.max()) + 1
    n_items = n_items or int(item.max()) + 1
    values = {
        "name": "made",
        "user_ids": tuple(f"u{u}" for u in range(n_users)),
        "item_ids": tuple(f"i{i}" for i in range(n_items)),
        "user": user,
        "item": item,
        "texts": tuple(f"text {i}" for i in range(n_items)),
        "images": (None,) * n_items,
    }
    return Catalogue(**{**values, **changes})


def pairs_of(catalogue: Catalogue) -> set[tuple[str, str]]:
    return {(catalogue.user_ids[u], catalogue.item_ids[i]) for u, i in zip(catalogue.user, catalogue.item, strict=True)}


def parts_of(catalogue: Catalogue, split) -> dict[tuple[str, str], str]:
    """Part of each pair, by the source's ids; a pair in two parts fails."""
    parts: dict[tuple[str, str], str] = {}
    for part in ("train", "valid", "test"):
        rows = split.part(part)
        for u, i in zip(rows.user, rows.item, strict=True):
            pair = (catalogue.user_ids[u], catalogue.item_ids[i])
            assert pair not in parts
            parts[pair] = part
    return parts


def link_outside(file: Path, outside: Path) -> None:
    """Move a file to ``outside`` its folder, and leave a link to it in its place."""
    file.rename(outside)
    file.symlink_to(outside)
