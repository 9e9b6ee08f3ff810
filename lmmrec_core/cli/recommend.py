"""``lmmrec recommend``: lists for users from a kept model, by the catalogue's own ids."""

import argparse
import csv
import io
import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from lmmrec_core.disk import read_regular, require_new, write_file
from lmmrec_core.errors import ConfigError, DataError
from lmmrec_core.home import named_path
from lmmrec_core.study.own.kept import find_kept, read_kept
from lmmrec_core.study.own.lists import new_items, ranked_lists
from lmmrec_core.study.workspace import Workspace

FORMATS = ("csv", "parquet", "trec")
_LONGEST_LIST = 2**30  # bytes of a file of users: ids of all that a large shop has


def recommend(arguments: argparse.Namespace) -> int:
    """Print or write the lists."""
    target = Path(arguments.out) if arguments.out else None
    if arguments.format == "parquet" and target is None:
        raise ConfigError("--format parquet is no text; name a file with --out")
    if target is not None:
        require_new(target, kind="file")
    workspace = Workspace.open("user")
    kept = read_kept(find_kept(workspace, arguments.model))
    new = None
    if arguments.items:
        new = new_items(kept, Path(arguments.items), workspace if sys.stderr.isatty() else workspace.quiet())
        known = f", {new.known} of the folder are known already" if new.known else ""
        print(f"{len(new.ids)} new items, scored by their content{known}", file=sys.stderr)
    frame = ranked_lists(kept, _users(arguments), arguments.k, arguments.hide, new, arguments.only_new)
    if arguments.format == "parquet":
        sink = io.BytesIO()
        frame.to_parquet(sink, index=False)
        content = sink.getvalue()
    else:
        content = (as_csv(frame) if arguments.format == "csv" else as_trec(frame, kept.name)).encode()
    if target is None:
        sys.stdout.write(content.decode())
        return 0
    write_file(target, content)
    print(f"{target}: {frame['user_id'].nunique()} users, {len(frame)} rows", file=sys.stderr)
    return 0


def _users(arguments: argparse.Namespace) -> list[str] | None:
    """The users asked for: ids, or those in the lines of @FILE; None for all."""
    found: list[str] = []
    for word in arguments.users or ():
        if not word.startswith("@"):
            found.append(word)
            continue
        try:
            content = read_regular(named_path(word[1:]), _LONGEST_LIST + 1)
            if len(content) > _LONGEST_LIST:
                raise ValueError(f"more than {_LONGEST_LIST:,} bytes")
            lines = re.split("\r\n|\n|\r", content.decode("utf-8-sig"))  # other breaks may be in an id
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            raise ConfigError(f"--users {word}: cannot be read ({why}); give a UTF-8 file with one id a line") from None
        found += [line.strip() for line in lines if line.strip()]
    if arguments.users and not found:
        raise ConfigError("--users names nobody; give ids, @FILE with one id a line, or leave it out for all users")
    return found or None


def as_csv(frame: pd.DataFrame) -> str:
    """``user_id,item_id,rank,score`` with a header; scores with the digits that single precision has."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(frame.columns)
    for user, item, rank, score in frame.itertuples(index=False):
        writer.writerow((user, item, rank, f"{score:.9g}"))
    return text.getvalue()


def as_trec(frame: pd.DataFrame, tag: str) -> str:
    """A TREC run: ``user Q0 item rank score tag``. Tools sort it by score and break ties as they like, so equal scores
    are told apart in their last bit of double precision, downwards in our order.

    Raises DataError for an id with blanks, which the format cannot hold.
    """
    for column in ("user_id", "item_id"):
        for value in frame[column].unique():
            if not value or any(letter.isspace() for letter in value):
                raise DataError(f"{column} {value!r} has blanks, which a TREC file cannot hold; use --format csv")
    lines, before, last = [], None, np.inf
    for user, item, rank, score in frame.itertuples(index=False):
        last = float(score) if user != before else min(float(score), float(np.nextafter(last, -np.inf)))
        before = user
        lines.append(f"{user} Q0 {item} {rank} {last!r} {tag}\n")
    return "".join(lines)
