"""``lmmrec encode``: features of new items by the encoder that an end-to-end run ended with."""

import argparse
import csv
import io
import sys
from pathlib import Path

import numpy as np

from lmmrec_core.disk import write_file
from lmmrec_core.errors import ConfigError, FeatureError
from lmmrec_core.flow import MODALITIES, Features
from lmmrec_core.study.joint.attach import encode_new
from lmmrec_core.study.own.pairwise import find_results
from lmmrec_core.study.workspace import Workspace


def encode(arguments: argparse.Namespace) -> int:
    """Write the rows of the folder's items."""
    target = Path(arguments.out).expanduser()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ConfigError(f"--out {target}: is there already; name a new folder, nothing is overwritten")
    workspace = Workspace.open("user")
    (result,) = find_results(workspace.store, arguments.run.replace(",", " "))
    progress = sys.stderr.isatty()
    item_ids, features = encode_new(workspace if progress else workspace.quiet(), result, Path(arguments.items))
    write_rows(target, item_ids, features)
    told = ", ".join(f"{m} {matrix.shape[0]} x {matrix.shape[1]}" for m, matrix in features.matrices.items())
    print(f"{target}: {told}, by the encoder of run {result.record['key']}")
    return 0


def write_rows(target: Path, item_ids: tuple[str, ...], features: Features) -> None:
    """``<modality>.npy`` float32 [item, dim] and ``features.csv``: item, and whether its content was there."""
    present = {m: features.present[m] for m in MODALITIES if m in features.matrices}
    for modality in present:
        sink = io.BytesIO()
        np.save(sink, features.matrices[modality], allow_pickle=False)
        write_file(target / f"{modality}.npy", sink.getvalue(), FeatureError)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["item_id", *(f"has_{modality}" for modality in present)])
    for row, item_id in enumerate(item_ids):
        writer.writerow([item_id, *(int(there[row]) for there in present.values())])
    write_file(target / "features.csv", text.getvalue(), FeatureError)
