"""Slow, obvious metrics over Python lists and sets: what the vectorised ones are compared with."""

from math import log2


def recall(ranked: list[int], held_out: set[int], k: int) -> float:
    return len([item for item in ranked[:k] if item in held_out]) / len(held_out)


def precision(ranked: list[int], held_out: set[int], k: int) -> float:
    return len([item for item in ranked[:k] if item in held_out]) / k


def dcg(ranked: list[int], held_out: set[int], k: int) -> float:
    return sum(1 / log2(rank + 1) for rank, item in enumerate(ranked[:k], start=1) if item in held_out)


def ndcg(ranked: list[int], held_out: set[int], k: int) -> float:
    best = list(held_out) + [item for item in ranked if item not in held_out]
    return dcg(ranked, held_out, k) / dcg(best, held_out, min(k, len(held_out)))


def ndcg_lattice(ranked: list[int], held_out: set[int], k: int) -> float:
    retrieved = ranked[:20]
    best = sorted(retrieved, key=lambda item: item not in held_out)
    return dcg(retrieved, held_out, k) / (dcg(best, held_out, k) or 1.0)


def average_precision(ranked: list[int], held_out: set[int], k: int) -> float:
    hit_ranks = [r for r, item in enumerate(ranked[:k], start=1) if item in held_out]
    return sum(precision(ranked, held_out, r) for r in hit_ranks) / min(k, len(held_out))


ORACLES = {
    "recall": recall,
    "ndcg": ndcg,
    "precision": precision,
    "map": average_precision,
    "ndcg_lattice": ndcg_lattice,
}
