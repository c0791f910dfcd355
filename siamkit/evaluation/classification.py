"""How well embeddings separate the classes without training: k-NN votes, few-shot episodes, clusters."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from siamkit.evaluation.distances import CHUNK, Metric, paired_distances, sized, unit
from siamkit.evaluation.scan import DistanceChunk

VOTERS = 5
"""The number of nearest items that vote for a class."""

# Few-shot episodes: classes, examples of each, how many episodes, and at most how many queries of each class.
WAYS = 5
SHOTS = (1, 5)
EPISODES = 600
QUERIES = 15


class KnnVotes:
    """Counts how often the nearest items vote for the class of the query; in a tie the nearer class wins."""

    def __init__(self) -> None:
        self._right = self._queries = 0

    def depth(self, relevant: int, findable: int) -> int:
        return VOTERS

    def add(self, chunk: DistanceChunk) -> None:
        voters = chunk.ids[chunk.order[:, :VOTERS]]
        votes = (voters[:, :, None] == voters[:, None, :]).sum(axis=2)
        winners = votes.argmax(axis=1)  # the first with the most votes is the nearest of them
        right = chunk.hits[np.arange(len(winners)), winners]
        counted = chunk.relevant > 0
        self._right += int(right[counted].sum())
        self._queries += int(counted.sum())

    def measures(self) -> dict[str, float | int]:
        """Return `knn_accuracy`, and its 95 % interval after Wilson (1927)."""
        from scipy.stats import binomtest  # late: slow to import

        interval = binomtest(self._right, self._queries).proportion_ci(0.95, method="wilson")
        return {
            "knn_accuracy": self._right / self._queries,
            "knn_accuracy_low": float(interval.low),
            "knn_accuracy_high": float(interval.high),
        }


def few_shot_measures(
    metric: Metric,
    embeddings: NDArray[np.float32],
    ids: NDArray[np.int64],
    *,
    ways: int = WAYS,
    shots: tuple[int, ...] = SHOTS,
    episodes: int = EPISODES,
    seed: int = 0,
) -> dict[str, float]:
    """Return the accuracy over many small random problems, as few-shot learning usually reports it.

    Each episode draws some classes, some examples of each, whose mean is the prototype of the class, and up
    to 15 other items of each, which are assigned to the nearest prototype (Snell, Swersky and Zemel 2017,
    https://arxiv.org/abs/1703.05175). The interval is mean ± 1.96 standard errors over the episodes: it
    covers other draws from these classes, not other classes.

    Args:
        metric: the metric that compares items with prototypes.
        embeddings: `(n, dim)`.
        ids: `(n,)`, class ids.
        ways: number of classes in each episode.
        shots: numbers of examples of each class; each number gives its own measure.
        episodes: number of episodes.
        seed: seed of the draws.

    Returns:
        `accuracy_<ways>_way_<shots>_shot`, and the same with `_low` and `_high`; nothing if fewer than `ways`
        classes have an item besides the examples.
    """
    order = np.argsort(ids, kind="stable")
    sizes = np.bincount(ids)
    starts = np.cumsum(sizes) - sizes
    measures: dict[str, float] = {}
    for shot in shots:
        usable = np.flatnonzero(sizes > shot)
        if len(usable) < ways:
            continue
        rng = np.random.default_rng((seed, shot))
        items = shot + min(QUERIES, int(sizes[usable].min()) - shot)
        drawn = np.stack(
            [
                np.stack(
                    [
                        order[starts[label] + rng.choice(sizes[label], items, replace=False)]
                        for label in rng.choice(usable, ways, replace=False)
                    ]
                )
                for _ in range(episodes)
            ]
        )  # (episodes, ways, items)
        rates = _accuracies(metric, embeddings, drawn, shot)
        name = f"accuracy_{ways}_way_{shot}_shot"
        mean, half = float(rates.mean()), 1.96 * float(rates.std(ddof=1)) / math.sqrt(episodes)
        measures |= {name: mean, f"{name}_low": max(0.0, mean - half), f"{name}_high": min(1.0, mean + half)}
    return measures


def _accuracies(
    metric: Metric, embeddings: NDArray[np.float32], drawn: NDArray[np.int64], shot: int
) -> NDArray[np.float64]:
    """Return the fraction of right answers in each episode."""
    episodes, ways, items = drawn.shape
    queries = ways * (items - shot)
    most = max(1, CHUNK // (queries * ways * embeddings.shape[1]))
    rates = []
    for start in range(0, episodes, most):
        chunk = drawn[start : start + most]
        prototypes = embeddings[chunk[:, :, :shot]].mean(axis=2)  # (chunk, ways, dim)
        vectors = embeddings[chunk[:, :, shot:]].reshape(len(chunk), queries, 1, -1)
        shape = (len(chunk), queries, ways, embeddings.shape[1])
        distances = paired_distances(
            metric,
            np.broadcast_to(vectors, shape).reshape(-1, shape[-1]),
            np.broadcast_to(prototypes[:, None], shape).reshape(-1, shape[-1]),
        ).reshape(shape[:-1])
        truth = np.repeat(np.arange(ways), items - shot)
        rates.append((distances.argmin(axis=2) == truth).mean(axis=1))
    return np.concatenate(rates)


def clustering_measures(
    embeddings: NDArray[np.float32], ids: NDArray[np.int64], angular: bool, seed: int = 0
) -> dict[str, float]:
    """Compare k-means clusters, as many as there are classes, with the classes.

    - nmi: normalized mutual information, by the arithmetic mean of the entropies;
    - ami: mutual information corrected for chance (Vinh, Epps and Bailey 2010);
    - ari: Rand's index corrected for chance (Hubert and Arabie 1985).

    k-means uses the Euclidean distance only. If the metric compares angles, the vectors are scaled to unit
    length first, so that their Euclidean distance depends on angles only; under any other metric they are
    clustered unchanged.

    Args:
        embeddings: `(n, dim)`.
        ids: `(n,)`, class ids.
        angular: whether the metric ignores the length of a vector.
        seed: seed of the initial centers.

    Returns:
        `nmi`, `ami`, `ari`, as scikit-learn computes them.
    """
    from sklearn.cluster import KMeans  # late: slow to import
    from sklearn.metrics import (
        adjusted_mutual_info_score,
        adjusted_rand_score,
        normalized_mutual_info_score,
    )

    vectors = unit(embeddings).astype(np.float32) if angular else sized(embeddings)
    clusters = KMeans(len(np.unique(ids)), n_init=1, random_state=seed).fit_predict(vectors)
    return {
        "nmi": float(normalized_mutual_info_score(ids, clusters)),
        "ami": float(adjusted_mutual_info_score(ids, clusters)),
        "ari": float(adjusted_rand_score(ids, clusters)),
    }
