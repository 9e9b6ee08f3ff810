"""All alignment diagnostics of one pair of feature matrices, as plain values for a record."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy.typing as npt

from lmmrec_core.errors import ConfigError, FeatureError
from lmmrec_core.flow import FloatArray, IntArray, Interactions
from lmmrec_core.metrics import alignment
from lmmrec_core.metrics.homophily import ceiling, interaction_homophily
from lmmrec_core.metrics.item_graph import (
    cosine_counts,
    edges_of,
    effective_degree,
    lattice_adjacency,
    structure,
    threshold_density,
    union_statistics,
)
from lmmrec_core.metrics.neighbours import Neighbours, adjusted_overlap, cka, nearest_items, overlap, overlap_by_chance
from lmmrec_core.metrics.resampling import RESAMPLES, Estimate, intervals, mean_of
from lmmrec_core.metrics.retrieval import cca_retrieval, retrieval
from lmmrec_core.metrics.rows import checked_rows

VERSION = 1  # raise it when a measure changes: stored diagnostics of another version are computed again
OVERLAP_KS = (5, 10, 20)
UNION = "union"
_Found = dict[str, Any]  # slash-separated name → Estimate or plain value


def diagnose(
    matrices: Mapping[str, npt.ArrayLike],
    *,
    shared_space: bool,
    text_keys: Sequence[Hashable] | None = None,
    image_keys: Sequence[Hashable] | None = None,
    train: Interactions | None = None,
    held_out: Interactions | None = None,
    seed: int = 0,
    bootstrap: int = RESAMPLES,
    k: int = 10,
) -> dict[str, Any]:
    """Nested plain values (JSON): a measure is a number, or ``{"value", "low", "high"}`` with a 95 % interval.

    ``matrices``: one or two modalities, name → [item, dim], rows of the same items. The sections:

    * ``modality/<name>``: uniformity, anisotropy, effective_rank, zero_rows; ``cosine_counts`` of the pairs;
    * ``pair`` (two modalities): overlap@k, adjusted_overlap@k, chance@k for 5, 10, 20 and ``k``; cka;
    * ``shared`` (only with ``shared_space``): align, align_by_chance, gap, gap_share, separability, and
      retrieval over all items. ``text_keys``, ``image_keys``: one key per item, equal for equal content;
    * ``cca`` (two modalities): retrieval after a linear map fitted on 80 % of the items;
    * ``graph/<name>`` and ``graph/union``: see :func:`~.item_graph.structure`, weight_excess (mean weight minus
      mean cosine of all pairs), threshold densities, effective_degree of LATTICE's adjacency; with ``train`` the
      homophily of users, and with ``held_out`` too the ceiling of an item graph.

    Without ``bootstrap`` resamples there are no intervals. Equal input and ``seed`` give equal values.

    Raises ConfigError for a k that the items do not allow, FeatureError for rows or keys that cannot be used,
    such as a modality whose rows are all equal.
    """
    rows = _checked(matrices, k, shared_space)
    names = list(rows)
    graphs = {name: nearest_items(part, _widest(k, len(part))) for name, part in rows.items()}
    found: _Found = {}
    for name, part in rows.items():
        found |= _modality(name, part)
    if len(names) == 2:
        found |= _pair(rows, graphs, k)
        keys = [key for key in (image_keys, text_keys) if key is not None]
        if shared_space:
            found |= _shared(rows, keys, seed)
        if len(rows[names[0]]) >= 10:
            found |= _under("cca", cca_retrieval(rows, keys, seed=seed))
    kept = {name: graph.first(k) for name, graph in graphs.items()}
    for name, graph in kept.items():
        mean_cosine = found[f"modality/{name}/anisotropy"].value
        found |= _under(f"graph/{name}", _graph(graph, mean_cosine))
        found |= _under(f"graph/{name}", threshold_density(found[f"modality/{name}/cosine_counts"]))
        found |= _under(f"graph/{name}", _homophily([graph.columns], train, held_out))
    if len(names) == 2:
        both = [graph.columns for graph in kept.values()]
        found |= _under(f"graph/{UNION}", union_statistics(both))
        found[f"graph/{UNION}/effective_degree"] = effective_degree(lattice_adjacency(list(kept.values())))
        found |= _under(f"graph/{UNION}", _homophily(both, train, held_out))
    return {
        "version": VERSION, "items": len(rows[names[0]]), "k": k, "seed": seed, "bootstrap": bootstrap,
        "dims": {name: part.shape[1] for name, part in rows.items()},
        **_plain(found, seed, bootstrap),
    }  # fmt: skip


def _checked(matrices: Mapping[str, npt.ArrayLike], k: int, shared_space: bool) -> dict[str, FloatArray]:
    if not 1 <= len(matrices) <= 2 or UNION in matrices:
        raise FeatureError(f"modalities {list(matrices)}: give one or two, none of them named {UNION!r}")
    rows = {name: checked_rows(matrix, name) for name, matrix in matrices.items()}
    sizes = {len(part) for part in rows.values()}
    if len(sizes) > 1:
        raise FeatureError(f"modalities with {sorted(sizes)} rows; give the same items in the same order")
    n = sizes.pop()
    if not 1 <= k <= n - 2:
        raise ConfigError(f"k = {k} neighbours among {n} items leave no choice; choose k from 1 to {n - 2}")
    for name, part in rows.items():
        if (part == part[0]).all():
            raise FeatureError(f"{name}: all {n} rows are equal, so there is nothing to diagnose; check the encoder")
    if shared_space and (len(rows) < 2 or len({part.shape[1] for part in rows.values()}) > 1):
        raise FeatureError(
            f"a shared space of dims {[part.shape[1] for part in rows.values()]} does not exist; "
            "give two modalities of equal dim, or shared_space=False"
        )
    return rows


def _widest(k: int, n_items: int) -> int:
    return max(k, *(other for other in (1, *OVERLAP_KS) if other <= n_items - 2))


def _modality(name: str, rows: FloatArray) -> _Found:
    return {
        f"modality/{name}/uniformity": alignment.uniformity(rows),
        f"modality/{name}/anisotropy": alignment.anisotropy(rows),
        f"modality/{name}/effective_rank": alignment.effective_rank(rows),
        f"modality/{name}/zero_rows": int((~rows.any(axis=1)).sum()),
        f"modality/{name}/cosine_counts": cosine_counts(rows).tolist(),
    }


def _pair(rows: Mapping[str, FloatArray], graphs: Mapping[str, Neighbours], k: int) -> _Found:
    (a, b), (near_a, near_b) = rows.values(), (graph.columns for graph in graphs.values())
    found: _Found = {"pair/cka": cka(a, b)}
    for size in sorted({k, *(other for other in OVERLAP_KS if other <= len(a) - 2)}):
        found[f"pair/overlap@{size}"] = overlap(near_a[:, :size], near_b[:, :size])
        found[f"pair/adjusted_overlap@{size}"] = adjusted_overlap(near_a[:, :size], near_b[:, :size])
        found[f"pair/chance@{size}"] = overlap_by_chance(len(a), size)
    return found


def _shared(rows: Mapping[str, FloatArray], keys: Sequence[Sequence[Hashable]], seed: int) -> _Found:
    a, b = rows.values()
    found: _Found = {
        "align": alignment.pair_alignment(a, b),
        "align_by_chance": alignment.pair_alignment_by_chance(a, b),
        "gap": alignment.gap(a, b),
        "gap_share": alignment.gap_share(a, b),
        **retrieval(rows, keys),
    }
    if len(a) >= alignment.FOLDS:
        found["separability"] = alignment.separability(a, b, seed)
    return _under("shared", found)


def _graph(graph: Neighbours, mean_cosine: float) -> _Found:
    found: _Found = dict(structure(graph))
    weight = graph.cosines.mean(axis=1)
    # the mean of all pairs is taken as known: its own error is far smaller than that of the few kept ones
    found["weight_excess"] = mean_of(weight - mean_cosine)
    found["effective_degree"] = effective_degree(lattice_adjacency([graph]))
    return found


def _homophily(graphs: Sequence[IntArray], train: Interactions | None, held_out: Interactions | None) -> _Found:
    source, target = edges_of(*graphs)
    n = len(graphs[0])
    found: _Found = {}
    if train is not None:
        found |= interaction_homophily(source, target, train, n)
    if train is not None and held_out is not None:
        n_users = 1 + int(max(train.user.max(), held_out.user.max()))
        found |= ceiling(source, target, train, held_out, n_users, n)
    return found


def _under(section: str, found: Mapping[str, Any]) -> _Found:
    return {f"{section}/{name}": value for name, value in found.items()}


def _plain(found: _Found, seed: int, bootstrap: int) -> dict[str, Any]:
    """Nested by the parts of the names, estimates with their intervals."""
    estimates = {name: value for name, value in found.items() if isinstance(value, Estimate)}
    measured = intervals(estimates, seed=seed, resamples=bootstrap)
    nested: dict[str, Any] = {}
    for name, value in found.items():
        *sections, last = name.split("/")
        place = nested
        for section in sections:
            place = place.setdefault(section, {})
        place[last] = measured.get(name, value)
    return nested
