"""Takes training interactions and item features; gives a scorer of every item for any user."""

from typing import Any

from lmmrec_core.recommenders.bpr import BPR
from lmmrec_core.recommenders.itemknn import ItemKNN
from lmmrec_core.recommenders.lattice import LATTICE
from lmmrec_core.recommenders.lightgcn import LightGCN
from lmmrec_core.recommenders.popularity import Popularity
from lmmrec_core.recommenders.vbpr import VBPR

RECOMMENDERS: dict[str, Any] = {member.name: member for member in (Popularity, ItemKNN, BPR, LightGCN, VBPR, LATTICE)}
