"""Takes raw files of one of several formats, gives a Catalogue and its Split."""

from collections.abc import Callable

from lmmrec_core.data.amazon import read_amazon
from lmmrec_core.data.folder import read_folder
from lmmrec_core.data.mmrec import read_mmrec
from lmmrec_core.data.movielens import read_movielens
from lmmrec_core.data.parity import read_parity
from lmmrec_core.flow import Catalogue

SOURCES: dict[str, Callable[..., Catalogue]] = {
    "folder": read_folder,
    "mmrec": read_mmrec,
    "parity": read_parity,
    "amazon": read_amazon,
    "movielens": read_movielens,
    "controls": read_folder,  # what controls.write_controls has written
}
