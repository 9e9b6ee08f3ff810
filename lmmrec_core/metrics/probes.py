"""What features are good for, without a recommender's tuning: linear probes on held-out items.

Rows are centred and divided by one number per modality, their typical length, both from the training folds and never
column by column: a rotation of a modality changes no probe, and in a concatenation the wider one does not weigh more.
"""

import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from lmmrec_core.errors import FeatureError
from lmmrec_core.flow import BoolArray, FloatArray, IntArray
from lmmrec_core.metrics.homophily import label_codes
from lmmrec_core.metrics.resampling import Estimate, Measures
from lmmrec_core.metrics.rows import checked_rows, compact
from lmmrec_core.seeds import derive, numpy_stream

FOLDS = 5
PROBE_STRENGTH = 10.0
ALPHAS = tuple(float(a) for a in np.logspace(-4, 5, 19))  # ridge penalties, for rows of length about 1
JOINT = "joint"


def label_probe(
    matrices: Mapping[str, npt.ArrayLike], labels: Sequence[object], *, seed: int = 0, folds: int = FOLDS
) -> Measures:
    """Macro-F1 of a logistic regression from features to a label, on held-out items.

    ``matrices``: one [item, dim] per modality; ``labels``: one per item, None if unknown. Items without a label
    and classes with fewer than ``folds`` items are left out. Per modality its name, ``joint`` for the concatenation,
    ``gain``: joint minus the best single one (complementarity); ``classes`` and ``labelled`` count what was used.
    F1 of a class is 2 TP / (2 TP + FP + FN) over all held-out predictions; the mean is over classes.

    Returns nothing if fewer than two classes are left. Raises FeatureError for rows or labels that do not match.
    """
    blocks = _blocks(matrices)
    n = len(next(iter(blocks.values())))
    codes = label_codes(labels)
    if len(codes) != n:
        raise FeatureError(f"{len(codes)} labels for {n} items; give one for each (None if it is not known)")
    counts = np.bincount(codes[codes >= 0])
    codes = np.where((codes >= 0) & (counts[codes] >= folds), codes, -1) if len(counts) else codes
    items = np.flatnonzero(codes >= 0)
    classes, truth = np.unique(codes[items], return_inverse=True)
    if len(classes) < 2:
        return {}
    fold = _stratified(truth, folds, derive(seed, "label probe"))
    found: Measures = {"classes": len(classes), "labelled": len(items)}
    columns: dict[str, FloatArray] = {}
    for name, chosen in _combinations(blocks):
        predicted = _classify([blocks[m][items] for m in chosen], truth, fold, folds)
        columns[name] = _confusion(truth, predicted, items, n, len(classes))
        found[name] = Estimate(columns[name], _macro_f1)
    if JOINT in columns:
        found["gain"] = _gain(columns)
    return found


def ridge_probe(
    matrices: Mapping[str, npt.ArrayLike], vectors: npt.ArrayLike, *, seed: int = 0, folds: int = FOLDS
) -> Measures:
    """Held-out R² of a ridge regression from features to given item vectors, for instance BPR's without features.

    ``vectors`` [item, dim]: R² = 1 − Σ squared error / Σ squared distance from the training mean, over all
    dimensions together. The penalty is chosen among :data:`ALPHAS` by leave-one-out inside the training folds.
    Per modality its name, ``joint``, and ``unique_<modality>``: joint minus the other modality alone (a negative one
    means that adding the modality cost more by noise than it brought). Measures collaborative signal directly.

    Raises FeatureError when rows do not match, all vectors are equal, or there are fewer items than folds.
    """
    blocks = _blocks(matrices)
    target = checked_rows(vectors, "item vectors")
    n = len(target)
    if n != len(next(iter(blocks.values()))):
        raise FeatureError(f"{n} item vectors for {len(next(iter(blocks.values())))} rows; give one for each item")
    if n < 2 * folds:
        raise FeatureError(f"{n} items are too few for {folds} folds of two; leave the ridge probe out")
    if np.allclose(target, target[0], rtol=0, atol=1e-12 * max(1e-300, float(np.abs(target).max()))):
        raise FeatureError("all item vectors are equal, so there is nothing to predict; give trained ones")
    fold = numpy_stream(seed, "ridge probe").permutation(n) % folds
    errors = {name: _ridge_errors([blocks[m] for m in chosen], target, fold) for name, chosen in _combinations(blocks)}
    around = np.zeros(n)
    for held_out in range(folds):
        test = fold == held_out
        around[test] = ((target[test] - target[~test].mean(axis=0)) ** 2).sum(axis=1)
    found: Measures = {name: Estimate(np.column_stack([error, around]), _r_squared) for name, error in errors.items()}
    if JOINT in errors:
        for name, other in zip(blocks, reversed(list(blocks)), strict=True):
            found[f"unique_{name}"] = Estimate(np.column_stack([errors[JOINT] - errors[other], around]), _drop)
    return found


def _blocks(matrices: Mapping[str, npt.ArrayLike]) -> dict[str, FloatArray]:
    blocks = {name: compact(checked_rows(matrix, name)) for name, matrix in matrices.items()}
    if not 1 <= len(blocks) <= 2 or len({len(block) for block in blocks.values()}) > 1:
        raise FeatureError(
            f"probes of {len(blocks)} modalities with {[len(b) for b in blocks.values()]} rows; "
            "give one or two modalities of the same items"
        )
    return blocks


def _combinations(blocks: Mapping[str, FloatArray]) -> list[tuple[str, tuple[str, ...]]]:
    single: list[tuple[str, tuple[str, ...]]] = [(name, (name,)) for name in blocks]
    return single if len(single) == 1 else [*single, (JOINT, tuple(blocks))]


def _scaled(parts: Sequence[FloatArray], train: BoolArray) -> FloatArray:
    """Side by side; each centred on the training rows and divided so that these have mean squared length 1."""
    columns = []
    for rows in parts:
        centred = rows - rows[train].mean(axis=0)
        spread = float(np.sqrt((centred[train] ** 2).sum(axis=1).mean()))
        columns.append(centred / spread if spread > 0 else np.zeros_like(centred))
    return compact(np.hstack(columns))


def _classify(parts: Sequence[FloatArray], truth: IntArray, fold: IntArray, folds: int) -> IntArray:
    predicted = np.empty(len(truth), dtype=np.int64)
    for held_out in range(folds):
        train = fold != held_out
        rows = _scaled(parts, train)
        predicted[~train] = predict_label(rows[train], truth[train], rows[~train])
    return predicted


def predict_label(rows: FloatArray, truth: IntArray, others: FloatArray, strength: float = PROBE_STRENGTH) -> IntArray:
    """Label of each of ``others`` by a logistic regression fitted on ``rows``, both [item, dim] → int [item].

    ``strength`` is the inverse of the squared penalty for rows of length about 1, so that one value suits every dim.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    length = np.sqrt((rows**2).sum(axis=1).mean()) or 1.0
    with warnings.catch_warnings():
        # if the classes can be told apart perfectly the optimum is far out, but the prediction settled long before
        warnings.simplefilter("ignore", ConvergenceWarning)
        probe = LogisticRegression(C=strength, max_iter=300).fit(rows / length, truth)
    return np.asarray(probe.predict(others / length), dtype=np.int64)


def _stratified(truth: IntArray, folds: int, seed: int) -> IntArray:
    """Fold of each item, every class spread evenly over the folds."""
    generator = np.random.default_rng(seed)
    order = np.lexsort([generator.random(len(truth)), truth])
    fold = np.empty(len(truth), dtype=np.int64)
    fold[order] = np.arange(len(truth)) % folds
    return fold


def _confusion(truth: IntArray, predicted: IntArray, items: IntArray, n_items: int, classes: int) -> FloatArray:
    """Per item: hits, then false alarms plus misses of each class → [item, 2 · classes]."""
    columns = np.zeros((n_items, 2 * classes))
    right = truth == predicted
    columns[items[right], truth[right]] = 1.0
    np.add.at(columns, (items[~right], classes + truth[~right]), 1.0)
    np.add.at(columns, (items[~right], classes + predicted[~right]), 1.0)
    return columns


def _macro_f1(means: FloatArray) -> FloatArray:
    hits, wrong = np.split(means, 2, axis=-1)
    below = 2 * hits + wrong
    return np.divide(2 * hits, below, out=np.zeros_like(below), where=below > 0).mean(axis=-1)


def _gain(columns: Mapping[str, FloatArray]) -> Estimate:
    """Joint minus the single modality that is best over all items (kept fixed while resampling)."""
    scores = {name: float(_macro_f1(part.mean(axis=0))) for name, part in columns.items() if name != JOINT}
    best = max(scores, key=lambda name: scores[name])
    width = columns[JOINT].shape[1]

    def of_means(means: FloatArray) -> FloatArray:
        return _macro_f1(means[..., :width]) - _macro_f1(means[..., width:])

    return Estimate(np.hstack([columns[JOINT], columns[best]]), of_means)


def _ridge_errors(parts: Sequence[FloatArray], target: FloatArray, fold: IntArray) -> FloatArray:
    """Squared error of each held-out item, summed over the dimensions of the target → [item]."""
    errors = np.zeros(len(target))
    for held_out in np.unique(fold):
        train = fold != held_out
        rows, centre = _scaled(parts, train), target[train].mean(axis=0)
        predicted = centre + rows[~train] @ ridge(rows[train], target[train] - centre)
        errors[~train] = ((target[~train] - predicted) ** 2).sum(axis=1)
    return errors


def ridge(rows: FloatArray, target: FloatArray, alphas: Sequence[float] = ALPHAS) -> FloatArray:
    """Coefficients [dim, target dim] of the penalty of ``alphas`` with the least leave-one-out error.

    ``rows`` [item, dim] and ``target`` [item, target dim] are centred. With X'X = V diag(e) V' one decomposition
    serves every penalty: the leave-one-out residual is the residual over 1 − leverage, leverage
    Σ_k (XV)²_ik / (e_k + α) + 1 / n, the last for the mean.
    """
    values, vectors = np.linalg.eigh(rows.T @ rows)
    scores, n = rows @ vectors, len(rows)
    projected = scores.T @ target
    squared = scores**2
    losses, found = [], []
    for alpha in alphas:
        weights = projected / (np.maximum(values, 0.0) + alpha)[:, None]
        leverage = squared @ (1.0 / (np.maximum(values, 0.0) + alpha)) + 1.0 / n
        left_out = (target - scores @ weights) / np.maximum(1.0 - leverage, 1e-12)[:, None]
        losses.append(float((left_out**2).sum()))
        found.append(weights)
    return np.asarray(vectors @ found[int(np.argmin(losses))])


def _r_squared(means: FloatArray) -> FloatArray:
    return 1.0 - means[..., 0] / means[..., 1]


def _drop(means: FloatArray) -> FloatArray:
    return -means[..., 0] / means[..., 1]
