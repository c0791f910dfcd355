"""Clustering: whether clusters found without labels agree with the classes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from siamkit.evaluation.geometry import unit


def clustering_measures(
    embeddings: NDArray[np.float32], ids: NDArray[np.int64], angular: bool, seed: int = 0
) -> dict[str, float]:
    """Compare k-means clusters, as many as there are classes, with the classes.

    - nmi: normalized mutual information, by the arithmetic mean of the entropies;
    - ami: mutual information corrected for chance (Vinh, Epps and Bailey 2010);
    - ari: Rand's index corrected for chance (Hubert and Arabie 1985).

    k-means uses the Euclidean distance only. Under a metric of angles unit vectors are clustered, whose
    Euclidean distance depends on angles only; under any other metric the vectors themselves.

    Args:
        embeddings: `(n, dim)`.
        ids: `(n,)`, classes.
        angular: whether the metric ignores the length of a vector.
        seed: of the initial centers.

    Returns:
        `nmi`, `ami`, `ari`, as scikit-learn computes them.
    """
    from sklearn.cluster import KMeans  # late: slow to import
    from sklearn.metrics import (
        adjusted_mutual_info_score,
        adjusted_rand_score,
        normalized_mutual_info_score,
    )

    vectors = unit(embeddings).astype(np.float32) if angular else embeddings
    clusters = KMeans(len(np.unique(ids)), n_init=1, random_state=seed).fit_predict(vectors)
    return {
        "nmi": float(normalized_mutual_info_score(ids, clusters)),
        "ami": float(adjusted_mutual_info_score(ids, clusters)),
        "ari": float(adjusted_rand_score(ids, clusters)),
    }
