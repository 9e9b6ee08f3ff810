import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

from lmmrec_core.encoders.fine_tuning.cca import (
    best_scale,
    choose_heads,
    contrastive_loss,
    fit_cca,
    partner_ranks,
    partner_recall,
)
from lmmrec_core.encoders.fine_tuning.holdout import drawn_items
from lmmrec_core.errors import ConfigError, FeatureError
from lmmrec_core.seeds import numpy_stream


def planted(n=400, shared=3, p=12, q=8, noise=0.5, seed=1):
    """Gaussians that share ``shared`` latents."""
    random = numpy_stream(seed, "planted")
    latent = random.standard_normal((n, shared))
    visual = latent @ random.standard_normal((shared, p)) + noise * random.standard_normal((n, p)) + 3.0
    textual = latent @ random.standard_normal((shared, q)) + noise * random.standard_normal((n, q)) - 1.0
    return visual, textual


def test_without_penalty_it_is_textbook_cca():
    """Against the generalised eigenproblem C_vt C_t^-1 C_tv w = s^2 C_v w (Hotelling), up to sign."""
    visual, textual = planted()
    solution = fit_cca(visual, textual, 0.0, 0.0)
    v, t = visual - visual.mean(0), textual - textual.mean(0)
    c_v, c_t, c = v.T @ v / len(v), t.T @ t / len(v), v.T @ t / len(v)
    values, directions = scipy.linalg.eigh(c @ np.linalg.solve(c_t, c.T), c_v)
    order = np.argsort(values)[::-1][:8]
    np.testing.assert_allclose(solution.correlations**2, values[order], atol=1e-10)
    for column in range(8):
        ours, theirs = solution.visual[:, column], directions[:, order[column]]
        ours, theirs = ours / np.linalg.norm(ours), theirs / np.linalg.norm(theirs)
        assert abs(ours @ theirs) == pytest.approx(1, abs=1e-8)
    assert (solution.correlations[:3] > 0.8).all() and (solution.correlations[3:] < 0.3).all()


def test_scores_agree_with_scikit_learn():
    sklearn = pytest.importorskip("sklearn.cross_decomposition", reason="an independent library, not needed otherwise")
    visual, textual = planted()
    solution = fit_cca(visual, textual, 1e-9, 1e-9)
    left, right = sklearn.CCA(n_components=3, scale=False, tol=1e-12, max_iter=5000).fit_transform(visual, textual)
    for column in range(3):
        a = (visual - visual.mean(0)) @ solution.visual[:, column]
        b = (textual - textual.mean(0)) @ solution.textual[:, column]
        assert abs(np.corrcoef(a, left[:, column])[0, 1]) > 0.9999
        assert abs(np.corrcoef(b, right[:, column])[0, 1]) > 0.9999
        assert np.corrcoef(a, b)[0, 1] == pytest.approx(solution.correlations[column], abs=1e-6)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.1, 30), st.floats(0.1, 30))
def test_the_scaled_maps_whiten_and_diagonalise(seed, r_v, r_t):
    visual, textual = planted(n=60, seed=seed)
    solution = fit_cca(visual, textual, r_v, r_t)
    v, t = visual - visual.mean(0), textual - textual.mean(0)
    c_v, c_t = v.T @ v / 60, t.T @ t / 60
    c_v += r_v * c_v.diagonal().mean() * np.eye(12)
    c_t += r_t * c_t.diagonal().mean() * np.eye(8)
    s = np.diag(solution.correlations)
    np.testing.assert_allclose(solution.visual.T @ c_v @ solution.visual, s, atol=1e-8)
    np.testing.assert_allclose(solution.textual.T @ c_t @ solution.textual, s, atol=1e-8)
    np.testing.assert_allclose(solution.visual.T @ (v.T @ t / 60) @ solution.textual, s**2, atol=1e-8)
    assert (solution.correlations <= 1).all()


def test_the_map_with_bias_is_the_centred_map():
    visual, textual = planted()
    solution = fit_cca(visual, textual, 1.0, 1.0)
    heads = solution.heads(3)
    np.testing.assert_allclose(visual @ heads.visual.T + heads.bias, (visual - visual.mean(0)) @ solution.visual[:, :3])
    assert heads.visual.shape == (3, 12) and heads.textual.shape == (3, 8)
    left = heads.similarities(visual, textual)
    np.testing.assert_allclose(left, heads.similarities(visual, 7.0 * textual), atol=1e-12)  # input scale is free
    assert np.isfinite(heads.similarities(visual[:1], np.zeros((1, 8)))).all()


def test_partners_never_seen_are_found():
    visual, textual = planted(n=1200, shared=10, p=60, q=40, noise=0.7)
    ids = [f"i{number}" for number in range(1200)]
    out = drawn_items(ids, 0.1)
    heads, record = choose_heads(visual, textual, out, grid=((1.0, 10.0), (1.0,), (4, 10, 99)))
    similarities = heads.similarities(visual[out], textual[out])
    assert partner_recall(similarities, 1) > 0.5  # chance: below 0.01
    assert partner_recall(similarities, 10) == pytest.approx(record["held_out_recall@10"], abs=1e-6)
    assert record["fitted"] + record["held_out"] == 1200
    shuffled, _ = choose_heads(visual, textual[numpy_stream(3, "pairs").permutation(1200)], out)
    assert partner_recall(shuffled.similarities(visual[out], textual[out]), 1) < 0.1


def test_the_choice_is_the_best_of_the_grid_and_repeats():
    visual, textual = planted(n=300, shared=5, p=40, q=30, noise=1.5)
    out = drawn_items([str(number) for number in range(300)], 0.3)
    heads, record = choose_heads(visual, textual, out)
    for r_v in (1.0, 30.0):
        other = fit_cca(visual[~out], textual[~out], r_v, 1.0).heads(30)
        found = partner_recall(other.similarities(visual[out], textual[out]), 10)
        assert found <= record["held_out_recall@10"] + 1e-6
    again, same = choose_heads(visual, textual, out)
    assert same == record and np.array_equal(heads.visual, again.visual) and heads.scale == again.scale
    seen = visual.copy()
    seen[out] += 100  # the fit itself never looks at held-out pairs
    fitted = fit_cca(seen[~out], textual[~out], record["r_v"], record["r_t"]).heads(record["directions"])
    assert np.array_equal(fitted.visual, heads.visual)


def test_the_scale_is_the_least_loss_of_a_grid():
    visual, textual = planted(noise=0.3)
    similarities = fit_cca(visual, textual, 1.0, 1.0).heads(3).similarities(visual[:50], textual[:50])
    best = best_scale(similarities)
    losses = [contrastive_loss(similarities, scale) for scale in np.geomspace(1, 100, 400)]
    assert contrastive_loss(similarities, best) <= min(losses) + 1e-6
    assert best_scale(0.1 * np.eye(20)) > 99.9  # right pairs by a small margin want the sharpest
    assert best_scale(-np.eye(20)) < 1.01
    assert contrastive_loss(np.ones((8, 8)), 13.0) == pytest.approx(np.log(8))


def test_ranks_by_hand_with_ties_against():
    similarities = np.array([[0.9, 0.1, 0.9], [0.2, 0.5, 0.1], [0.3, 0.5, 0.4]])
    by_row, by_column = partner_ranks(similarities)
    assert by_row.tolist() == [2, 1, 2]
    assert by_column.tolist() == [1, 2, 2]
    assert partner_recall(similarities, 1) == pytest.approx((1 / 3 + 1 / 3) / 2)


def test_the_held_out_share_follows_ids_only():
    ids = [f"item {number}" for number in range(5000)]
    out = drawn_items(ids, 0.1)
    assert 0.08 < out.mean() < 0.12
    assert np.array_equal(drawn_items(ids[::-1], 0.1)[::-1], out)
    assert drawn_items(ids, 0.05)[~out].sum() == 0  # a smaller share is a part of the larger


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda v, t: (v[:5], t, 1.0, 1.0), FeatureError, "one row per pair"),
        (lambda v, t: (v[:1], t[:1], 1.0, 1.0), FeatureError, "give at least 2"),
        (lambda v, t: (v * np.nan, t, 1.0, 1.0), FeatureError, "visual features hold NaN"),
        (lambda v, t: (v, t * 0, 1.0, 1.0), FeatureError, "textual features are the same for every pair"),
        (lambda v, t: (v[:6], t[:6], 0.0, 0.0), FeatureError, "visual covariance is singular; raise its penalty"),
        (lambda v, t: (v, t, -1.0, 1.0), ConfigError, "visual penalty is -1.0"),
    ],
)
def test_what_cannot_be_fitted(change, error, message):
    with pytest.raises(error, match=message):
        fit_cca(*change(*planted(n=50)))


def test_too_few_pairs_to_choose_by():
    visual, textual = planted(n=50)
    with pytest.raises(FeatureError, match="held-out pairs of 50"):
        choose_heads(visual, textual, drawn_items([str(number) for number in range(50)], 0.1))
