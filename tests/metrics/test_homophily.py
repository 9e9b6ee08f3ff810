"""Homophily and the ceiling of an item graph against values by hand and dense forms."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmmrec_core.errors import FeatureError
from lmmrec_core.metrics import rows
from lmmrec_core.metrics.homophily import ceiling, interaction_homophily
from lmmrec_core.metrics.item_graph import edges_of
from lmmrec_core.metrics.neighbours import nearest_items
from lmmrec_core.metrics.resampling import Estimate
from tests.metrics.spaces import dense_graph, random_rows
from tests.metrics.splits import interactions, random_split

# 0 ⇄ 1, 2 → 0, 2 → 3, 3 → 2
SOURCE, TARGET = np.array([0, 1, 2, 2, 3]), np.array([1, 0, 0, 3, 2])


def values(found):
    return {name: part.value if isinstance(part, Estimate) else part for name, part in found.items()}


def chance(source, target, n, same):
    """Σ_{i≠j} out_i in_j x_ij / Σ_{i≠j} out_i in_j, pair by pair."""
    out, into = np.bincount(source, minlength=n), np.bincount(target, minlength=n)
    pairs = [(i, j) for i in range(n) for j in range(n) if i != j]
    return sum(out[i] * into[j] * same[i, j] for i, j in pairs) / sum(out[i] * into[j] for i, j in pairs)


def test_common_users_by_hand():
    train = interactions([(0, 0), (0, 1), (1, 1), (1, 2), (2, 0), (2, 1)])
    # users: item 0 {0, 2}, item 1 {0, 1, 2}, item 2 {1}, item 3 none
    found = values(interaction_homophily(SOURCE, TARGET, train, 4))
    assert found["common_user"] == pytest.approx(2 / 5)  # 0 → 1 and 1 → 0
    assert found["jaccard"] == pytest.approx((2 / 3 + 2 / 3) / 5)
    share = np.zeros((4, 4))
    share[0, 1] = share[1, 0] = share[1, 2] = share[2, 1] = 1
    assert found["common_user_by_chance"] == pytest.approx(chance(SOURCE, TARGET, 4, share))
    jaccard = np.zeros((4, 4))
    jaccard[0, 1] = jaccard[1, 0] = 2 / 3
    jaccard[1, 2] = jaccard[2, 1] = 1 / 3
    assert found["jaccard_by_chance"] == pytest.approx(chance(SOURCE, TARGET, 4, jaccard))
    assert found["jaccard_lift"] == pytest.approx(found["jaccard"] / found["jaccard_by_chance"])


@given(st.integers(0, 10_000))
@settings(max_examples=15)
def test_everything_equals_the_dense_form(seed):
    split = random_split(np.random.default_rng(seed), 12, 20)
    n = split.n_items
    columns = nearest_items(random_rows(n, 3, seed), 3).columns
    other = nearest_items(random_rows(n, 3, seed + 1), 3).columns
    source, target = edges_of(columns, other)
    links = dense_graph(columns) | dense_graph(other)
    seen = np.zeros((split.n_users, n), dtype=bool)
    seen[split.train.user, split.train.item] = True
    common = (seen.T.astype(int) @ seen.astype(int)) > 0
    found = values(interaction_homophily(source, target, split.train, n))
    assert found["common_user"] == pytest.approx(common[links].mean())
    assert found["common_user_by_chance"] == pytest.approx(chance(source, target, n, common))
    if not len(split.test):
        return
    reach = (seen @ (links | links.T).astype(int) > 0) & ~seen
    top = values(ceiling(source, target, split.train, split.test, split.n_users, n))
    assert top["reachable"] == pytest.approx(reach[split.test.user, split.test.item].mean())
    by_user = reach.sum(axis=1) / np.maximum(1, n - seen.sum(axis=1))
    assert top["reachable_by_chance"] == pytest.approx(by_user[split.test.user].mean())


def test_the_chance_level_is_the_mean_over_permuted_targets():
    columns = nearest_items(random_rows(80, 3), 4).columns
    source, target = edges_of(columns)
    generator, drawn = np.random.default_rng(0), []
    seen = generator.random((20, 80)) < 0.05
    common = (seen.T.astype(int) @ seen.astype(int)) > 0
    found = values(interaction_homophily(source, target, interactions(np.argwhere(seen).tolist()), 80))
    for _ in range(400):
        mixed = generator.permutation(target)
        proper = source != mixed
        drawn.append(common[source, mixed][proper].mean())
    assert found["common_user_by_chance"] == pytest.approx(np.mean(drawn), abs=5 * np.std(drawn) / 20)


def test_planted_homophily_is_found_and_random_content_is_at_chance():
    generator = np.random.default_rng(2)
    group = generator.integers(0, 5, 200)
    content = np.eye(5)[group] + 0.1 * generator.standard_normal((200, 5))
    pairs = [
        (u, int(i)) for u in range(150) for i in generator.choice(np.flatnonzero(group == u % 5), 6, replace=False)
    ]
    train, held_out = interactions(pairs[::2]), interactions(pairs[1::2])
    planted = edges_of(nearest_items(content, 10).columns)
    unrelated = edges_of(nearest_items(random_rows(200, 5), 10).columns)
    for edges, low, high in ((planted, 2.0, 8.0), (unrelated, 0.75, 1.25)):
        found = {
            **values(interaction_homophily(*edges, train, 200)),
            **values(ceiling(*edges, train, held_out, 150, 200)),
        }
        for name in ("common_user_lift", "jaccard_lift", "reachable_lift"):
            assert low < found[name] < high, name


def test_blocks_change_nothing(monkeypatch):
    split = random_split(np.random.default_rng(3))
    edges = edges_of(nearest_items(random_rows(split.n_items, 4), 5).columns)
    calls = (
        lambda: values(interaction_homophily(*edges, split.train, split.n_items)),
        lambda: values(ceiling(*edges, split.train, split.test, split.n_users, split.n_items)),
    )
    whole = [call() for call in calls]
    monkeypatch.setattr(rows, "_BLOCK_ENTRIES", 70 * 9)
    for call, before in zip(calls, whole, strict=True):
        assert call() == pytest.approx(before)


def test_what_is_missing_is_named():
    nothing = interactions([])
    some = interactions([(0, 1)])
    with pytest.raises(FeatureError, match="no training interactions"):
        interaction_homophily(SOURCE, TARGET, nothing, 4)
    with pytest.raises(FeatureError, match=r"training rows name item 9, the graph has 0\.\.3"):
        interaction_homophily(SOURCE, TARGET, interactions([(0, 9)]), 4)
    with pytest.raises(FeatureError, match="without edges"):
        interaction_homophily(SOURCE[:0], TARGET[:0], some, 4)
    with pytest.raises(FeatureError, match="no held-out interactions"):
        ceiling(SOURCE, TARGET, some, nothing, 1, 4)
