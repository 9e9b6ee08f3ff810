"""Takes training interactions and item features; gives a scorer of every item for any user."""

from typing import TYPE_CHECKING

from lmmrec_core.registry import Registry

if TYPE_CHECKING:  # torch takes seconds to import; listing the names must not wait for it
    from lmmrec_core.roles import RecommenderClass

_HERE = "lmmrec_core.recommenders"
#: Every recommender by name, in the order of the tables; see ``roles.RecommenderClass`` for what a member promises.
RECOMMENDERS: Registry["RecommenderClass"] = Registry(
    "model",
    "lmmrec.recommenders",
    {
        "popularity": f"{_HERE}.popularity:Popularity",
        "itemknn": f"{_HERE}.itemknn:ItemKNN",
        "ease": f"{_HERE}.ease:EASE",
        "bpr": f"{_HERE}.bpr:BPR",
        "lightgcn": f"{_HERE}.lightgcn:LightGCN",
        "vbpr": f"{_HERE}.vbpr:VBPR",
        "mmgcn": f"{_HERE}.mmgcn:MMGCN",
        "mmgcl": f"{_HERE}.mmgcl:MMGCL",
        "slmrec": f"{_HERE}.slmrec:SLMRec",
        "lattice": f"{_HERE}.lattice:LATTICE",
        "freedom": f"{_HERE}.freedom:FREEDOM",
        "bm3": f"{_HERE}.bm3:BM3",
    },
)


def learns(member: object) -> bool:
    """Whether a recommender is trained in steps (``roles.TrainableRecommender``); of others every seed is one run."""
    return hasattr(member, "loss")
