"""Takes training interactions and item features; gives a scorer of every item for any user."""

from typing import Any

from lmmrec_core.recommenders.bpr import BPR
from lmmrec_core.recommenders.itemknn import ItemKNN
from lmmrec_core.recommenders.lattice import LATTICE
from lmmrec_core.recommenders.lightgcn import LightGCN
from lmmrec_core.recommenders.mmgcn import MMGCN
from lmmrec_core.recommenders.popularity import Popularity
from lmmrec_core.recommenders.vbpr import VBPR

MEMBERS = (
    Popularity,
    ItemKNN,
    BPR,
    LightGCN,
    VBPR,
    MMGCN,
    LATTICE,
)
RECOMMENDERS: dict[str, Any] = {member.name: member for member in MEMBERS}
