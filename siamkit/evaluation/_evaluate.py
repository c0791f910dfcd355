"""One function for whatever is evaluated."""

from __future__ import annotations

from collections.abc import Iterable

from numpy.typing import ArrayLike

from siamkit.errors import DataError
from siamkit.evaluation import _checks, _distances
from siamkit.evaluation._labels import evaluate_labels
from siamkit.evaluation._result import Evaluation, Measures
from siamkit.evaluation.measures import GROUPS, Group
from siamkit.evaluation.pairs import binary, evaluate_pairs, evaluate_scores


def evaluate(
    embeddings: ArrayLike,
    labels: ArrayLike,
    metric: str | _distances.Metric = "cosine",
    *,
    ks: Iterable[int] = (1, 5, 10),
    gallery: tuple[ArrayLike, ArrayLike] | None = None,
    groups: Iterable[Group] = GROUPS,
    threshold: float | None = None,
) -> Measures:
    """The figures of embeddings, by their shape: of labelled items, of pairs, or of graded pairs.

    Args:
        embeddings: `(n, dim)` with a class for each item, or `(n, 2, dim)` with a target for each pair;
            pairs whose targets are all 0 or 1 are alike or not, all others are graded (call
            `evaluate_scores` for grades that are just 0 and 1).
        labels: `(n,)`.
        metric: a name, or a metric.
        ks: the k of recall@k, for labelled items.
        gallery: embeddings and labels of other items to search, for labelled items.
        groups: what is computed; all that the data have unless some are named, such as
            `("retrieval", "verification")`, which take a third of the time.
        threshold: what false accepts and rejects are counted at, instead of the best one.

    Returns:
        Those of `evaluate_labels`, `evaluate_pairs` or `evaluate_scores`.

    Example:
        >>> import siamkit
        >>> embeddings = [[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]]
        >>> measures = siamkit.evaluate(embeddings, ["a", "a", "b", "b"])
        >>> measures["map_at_r"], measures["roc_auc"]
        (1.0, 1.0)
    """
    return examine(
        embeddings, labels, metric, ks=ks, gallery=gallery, groups=groups, threshold=threshold
    ).measures


def examine(
    embeddings: ArrayLike,
    labels: ArrayLike,
    metric: str | _distances.Metric = "cosine",
    *,
    ks: Iterable[int] = (1, 5, 10),
    gallery: tuple[ArrayLike, ArrayLike] | None = None,
    groups: Iterable[Group] = GROUPS,
    threshold: float | None = None,
) -> Evaluation:
    """As `evaluate`, with each query's scores and the ROC curve."""
    array = _checks.as_array(embeddings)
    if array.ndim != 3:
        return evaluate_labels(
            array, labels, metric, ks=ks, gallery=gallery, groups=groups, threshold=threshold
        )
    if gallery is not None:
        raise DataError(f"a gallery goes with embeddings (items, dim), got {array.shape}")
    if binary(_checks.as_array(labels, name="labels")):
        return evaluate_pairs(array, labels, metric, groups=groups, threshold=threshold)
    return evaluate_scores(array, labels, metric, groups=groups)
