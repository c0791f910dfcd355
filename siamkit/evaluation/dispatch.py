"""One function for whatever is evaluated."""

from __future__ import annotations

from collections.abc import Iterable

from numpy.typing import ArrayLike

from siamkit.errors import DataError
from siamkit.evaluation import blocks, checks
from siamkit.evaluation.labelled import evaluate_labels
from siamkit.evaluation.paired import Figures, binary, evaluate_pairs, evaluate_scores


def evaluate(
    embeddings: ArrayLike,
    labels: ArrayLike,
    metric: str | blocks.Metric = "cosine",
    *,
    ks: Iterable[int] = (1, 5, 10),
    gallery: tuple[ArrayLike, ArrayLike] | None = None,
) -> Figures:
    """The figures of embeddings, by their shape: of labelled items, of pairs, or of graded pairs.

    Args:
        embeddings: `(n, dim)` with a class for each item, or `(n, 2, dim)` with a target for each pair;
            pairs whose targets are all 0 or 1 are alike or not, all others are graded (call
            `evaluate_scores` for grades that are just 0 and 1).
        labels: `(n,)`.
        metric: a name, or a metric.
        ks: the k of recall@k, for labelled items.
        gallery: embeddings and labels of other items to search, for labelled items.

    Returns:
        Those of `evaluate_labels`, `evaluate_pairs` or `evaluate_scores`.

    Example:
        >>> import siamkit
        >>> figures = siamkit.evaluate([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]], ["a", "a", "b", "b"])
        >>> figures["map_at_r"], figures["roc_auc"]
        (1.0, 1.0)
    """
    array = checks.as_array(embeddings)
    if array.ndim != 3:
        return evaluate_labels(array, labels, metric, ks=ks, gallery=gallery)
    if gallery is not None:
        raise DataError(f"a gallery goes with embeddings (items, dim), got {array.shape}")
    pairs = binary(checks.as_array(labels, name="labels"))
    return evaluate_pairs(array, labels, metric) if pairs else evaluate_scores(array, labels, metric)
