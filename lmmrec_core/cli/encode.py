"""``lmmrec encode``: features of new items by the encoder that an end-to-end run ended with."""

import argparse
import sys
from pathlib import Path

import numpy as np

from lmmrec_core.data.writing import write_table
from lmmrec_core.disk import require_new, whole_folder
from lmmrec_core.errors import ConfigError, FeatureError
from lmmrec_core.flow import MODALITIES, Features
from lmmrec_core.study.joint.attach import encode_new
from lmmrec_core.study.own.pairwise import find_results
from lmmrec_core.study.workspace import Workspace


def encode(arguments: argparse.Namespace) -> int:
    """Write the rows of the folder's items."""
    target = Path(arguments.out)
    require_new(target)
    workspace = Workspace.open("user")
    if "," in arguments.run and not Path(arguments.run).exists():
        raise ConfigError(f"--run {arguments.run}: names several runs; give the one whose encoder shall be used")
    (result,) = find_results(workspace.store, arguments.run)
    progress = sys.stderr.isatty()
    item_ids, features = encode_new(workspace if progress else workspace.quiet(), result, Path(arguments.items))
    write_rows(target, item_ids, features)
    told = ", ".join(f"{m} {matrix.shape[0]} x {matrix.shape[1]}" for m, matrix in features.matrices.items())
    print(f"{target}: {told}, by the encoder of run {result.record['key']}")
    return 0


def write_rows(target: Path, item_ids: tuple[str, ...], features: Features) -> None:
    """A folder with ``<modality>.npy`` float32 [item, dim] and ``features.csv``: item, and whether its content was
    there. It appears whole or not at all.
    """
    present = {m: features.present[m] for m in MODALITIES if m in features.matrices}
    needed = sum(matrix.nbytes for matrix in features.matrices.values())
    with whole_folder(target, FeatureError, needed) as partial:
        for modality in present:
            np.save(partial / f"{modality}.npy", features.matrices[modality], allow_pickle=False)
        write_table(
            partial / "features.csv",
            ["item_id", *(f"has_{modality}" for modality in present)],
            ([item_id, *(int(there[row]) for there in present.values())] for row, item_id in enumerate(item_ids)),
        )
