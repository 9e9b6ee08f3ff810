"""The pictures of a data set as an encoder reads them, decoded once for PT, FT and ETE and kept in the cache."""

from typing import TYPE_CHECKING

from lmmrec_core.digests import digest
from lmmrec_core.study.datasets import Dataset
from lmmrec_core.study.workspace import Workspace

if TYPE_CHECKING:  # needs torch
    from lmmrec_core.encoders.pictures.byte_store import PictureBytes

LEAST_KEPT = 16 * 2**20  # bytes; fewer are decoded in seconds, and not worth a file


def pictures_of(workspace: Workspace, dataset: Dataset, encoder: object) -> "PictureBytes | None":
    """The pictures of all items that have one, by the encoder's rule; None for an encoder without one, or few pictures.

    They lie in a file whose name stands for the rule, the catalogue's content and the order of its items. Encoders
    with one rule share it. Where it cannot be written, a warning says so and they are decoded into memory.
    """
    from lmmrec_core.encoders.pictures.byte_store import picture_bytes
    from lmmrec_core.encoders.pictures.rule import picture_rule

    rule, catalogue = picture_rule(encoder), dataset.catalogue
    count = sum(image is not None for image in catalogue.images)
    if rule is None or 3 * count * rule.size**2 < LEAST_KEPT:
        return None
    key = digest({"rule": rule.resizing(), "catalogue": dataset.fingerprint, "order": digest(list(catalogue.item_ids))})
    return picture_bytes(
        rule, catalogue, path=workspace.pictures / f"{key}.npy", identity=dataset.fingerprint,
        progress=workspace.progress,
    )  # fmt: skip
