"""Takes training interactions and item features; gives a scorer of every item for any user."""

from typing import Any

from lmmrec_core.recommenders.bm3 import BM3
from lmmrec_core.recommenders.bpr import BPR
from lmmrec_core.recommenders.ease import EASE
from lmmrec_core.recommenders.freedom import FREEDOM
from lmmrec_core.recommenders.itemknn import ItemKNN
from lmmrec_core.recommenders.lattice import LATTICE
from lmmrec_core.recommenders.lightgcn import LightGCN
from lmmrec_core.recommenders.mmgcl import MMGCL
from lmmrec_core.recommenders.mmgcn import MMGCN
from lmmrec_core.recommenders.popularity import Popularity
from lmmrec_core.recommenders.slmrec import SLMRec
from lmmrec_core.recommenders.vbpr import VBPR

MEMBERS = (
    Popularity,
    ItemKNN,
    EASE,
    BPR,
    LightGCN,
    VBPR,
    MMGCN,
    MMGCL,
    SLMRec,
    LATTICE,
    FREEDOM,
    BM3,
)
RECOMMENDERS: dict[str, Any] = {member.name: member for member in MEMBERS}
