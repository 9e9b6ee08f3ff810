"""Takes ranked lists and a split, gives one value per user and metric, and a few values per run (NumPy only)."""

from lmmrec_core.metrics.ranking import average_precision, ndcg, ndcg_of_retrieved, precision, recall

METRICS = {
    "recall": recall,
    "ndcg": ndcg,
    "precision": precision,
    "map": average_precision,
    "ndcg_lattice": ndcg_of_retrieved,
}
