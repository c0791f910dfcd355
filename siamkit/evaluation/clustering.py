"""Do clusters found without labels fall together with the classes?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from siamkit.evaluation.geometry import unit


def clustering_measures(
    embeddings: NDArray[np.float32], ids: NDArray[np.int64], angular: bool, seed: int = 0
) -> dict[str, float]:
    """k-means with as many clusters as there are classes, against the classes.

    - nmi: normalised mutual information, by the arithmetic mean of the entropies;
    - ami: mutual information less what chance gives (Vinh, Epps and Bailey 2010);
    - ari: Rand's index less what chance gives (Hubert and Arabie 1985).

    k-means knows one distance only, Euclid's. Under a metric of angles unit vectors are clustered, whose
    Euclidean distance is one of angles too; under any other the vectors as they are.

    Args:
        embeddings: `(n, dim)`.
        ids: `(n,)`, classes.
        angular: whether the length of a vector means nothing to the metric.
        seed: of the first centres.

    Returns:
        `nmi`, `ami`, `ari`, as scikit-learn has them.
    """
    from sklearn.cluster import KMeans  # late: slow to import
    from sklearn.metrics import (
        adjusted_mutual_info_score,
        adjusted_rand_score,
        normalized_mutual_info_score,
    )

    vectors = unit(embeddings).astype(np.float32) if angular else embeddings
    found = KMeans(len(np.unique(ids)), n_init=1, random_state=seed).fit_predict(vectors)
    return {
        "nmi": float(normalized_mutual_info_score(ids, found)),
        "ami": float(adjusted_mutual_info_score(ids, found)),
        "ari": float(adjusted_rand_score(ids, found)),
    }
