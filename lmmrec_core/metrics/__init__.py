"""Takes ranked lists and a split, gives one value per user and metric, and a few values per run (NumPy only)."""

from typing import TYPE_CHECKING

from lmmrec_core.registry import Registry

if TYPE_CHECKING:
    from lmmrec_core.roles import Metric

_HERE = "lmmrec_core.metrics.ranking"
#: Every metric by name; see ``roles.Metric`` for what a member promises.
METRICS: Registry["Metric"] = Registry(
    "metric",
    "lmmrec.metrics",
    {
        "recall": f"{_HERE}:recall",
        "ndcg": f"{_HERE}:ndcg",
        "precision": f"{_HERE}:precision",
        "map": f"{_HERE}:average_precision",
        "ndcg_lattice": f"{_HERE}:ndcg_of_retrieved",
    },
)
