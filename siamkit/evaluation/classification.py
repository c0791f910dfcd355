"""How well embeddings separate the classes: rankings of queries, k-NN votes, few-shot episodes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from siamkit.evaluation.distances import CHUNK, Metric, distance_chunks, paired_distances
from siamkit.evaluation.scan import Accumulator, Chunk, Queries

# ------------------------------------------------------------------ rankings


def query_scores(
    relevant: NDArray[np.bool_], total: NDArray[np.int64], ks: tuple[int, ...]
) -> dict[str, NDArray[np.float64]]:
    r"""Return scores of each query from the top of its ranking, NaN for a query without a relevant item.

    Let R be the number of relevant items in the gallery, rel(i) whether the i-th ranked item is relevant, and
    P(i) the fraction of relevant items among the first i:

    - recall@k: 1 if any of the first k is relevant, else 0;
    - precision@k: P(k);
    - nDCG@k: Σ_{i ≤ k} rel(i) / log₂(i + 1), divided by its value if all relevant items are ranked first
      (Järvelin and Kekäläinen 2002);
    - R-precision: P(R);
    - average precision at R: 1/R · Σ_{i ≤ R} P(i) · rel(i).

    R-precision and MAP@R are those of Musgrave, Belongie and Lim, "A Metric Learning Reality Check",
    ECCV 2020, https://arxiv.org/abs/2003.08505.

    Args:
        relevant: `(n, depth)`, whether each item of the ranking is relevant, nearest first; deep enough
            for the largest R.
        total: `(n,)`, R, the number of relevant items in the gallery.
        ks: the values of k; a k larger than the depth covers the whole ranking.

    Returns:
        Arrays `(n,)` named `recall_at_k`, `precision_at_k`, `ndcg_at_k`, `r_precision` and `map_at_r`.
    """
    ranks = np.arange(1, relevant.shape[1] + 1)
    within = relevant & (ranks <= total[:, None])
    hits = np.cumsum(within, axis=1, dtype=np.int32)  # up to R equal to all hits, and only used there
    precision = hits / ranks
    precision *= within
    divisor = np.where(total > 0, total, np.nan)
    scores = {f"recall_at_{k}": relevant[:, :k].any(axis=1) + 0 * divisor for k in ks}
    scores |= {f"precision_at_{k}": relevant[:, :k].mean(axis=1) + 0 * divisor for k in ks}
    scores |= {f"ndcg_at_{k}": _ndcg(relevant[:, :k], divisor) for k in ks}
    scores["r_precision"] = within.sum(axis=1) / divisor
    scores["map_at_r"] = precision.sum(axis=1) / divisor
    return scores


def whole_scores(
    rows: NDArray[np.int64], ranks: NDArray[np.int64], total: NDArray[np.int64]
) -> dict[str, NDArray[np.float64]]:
    """Return scores of each query from its whole ranking, NaN for a query without a relevant item.

    - mrr: 1 / rank of the first relevant item;
    - map: 1/R · Σ P(i) · rel(i) over all ranks, the average precision of information retrieval.

    Args:
        rows, ranks: the query and the rank, from 1, of each relevant item; in order of the query, then rank.
        total: `(n,)`, R, the number of relevant items in the gallery.

    Returns:
        Arrays `(n,)` named `mrr` and `map`.
    """
    # The j-th relevant item of a query, at rank i, adds j / i: only relevant items are visited.
    starts = np.cumsum(total) - total
    nth = np.arange(1, len(rows) + 1) - starts[rows]
    divisor = np.where(total > 0, total, np.nan)
    average = np.bincount(rows, weights=nth / ranks, minlength=len(total)) / divisor
    first = np.full(len(total), np.nan)
    first[rows[nth == 1]] = 1 / ranks[nth == 1]
    return {"mrr": first, "map": average}


FEW = 32
"""The number of relevant items up to which counting nearer items is quicker than sorting the gallery."""


def relevant_ranks(
    queries: Queries, rows: NDArray[np.int64], distances: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return row and rank of each relevant item, as `whole_scores` takes them, by counting nearer items.

    Args:
        queries: all queries.
        rows: `(q,)`, the indices of a few of them.
        distances: `(q, m)`, their distances to the gallery.
    """
    found_rows, found_ranks = [], []
    itself = None if queries.itself is None else queries.itself[rows]
    for number, (row, near) in enumerate(zip(rows.tolist(), distances, strict=True)):
        relevant = queries.gallery_ids == queries.ids[row]
        if itself is not None:
            relevant[itself[number]] = False
            near = near.copy()
            near[itself[number]] = np.inf
        columns = np.flatnonzero(relevant)
        ranks = [  # ties are in order of index
            1 + np.count_nonzero(near[:column] <= value) + np.count_nonzero(near[column + 1 :] < value)
            for column, value in zip(columns.tolist(), near[columns], strict=True)
        ]
        found_ranks.append(np.sort(ranks))
        found_rows.append(np.full(len(ranks), number))
    return np.concatenate(found_rows), np.concatenate(found_ranks)


class Rankings(Accumulator):
    """An accumulator of the scores of each query from the top of its ranking.

    Args:
        ks: the values of k of recall@k, precision@k and nDCG@k.
    """

    def __init__(self, ks: tuple[int, ...]) -> None:
        self._ks = tuple(sorted({1, *ks}))
        self._chunks: list[dict[str, NDArray[Any]]] = []

    def depth(self, relevant: int, findable: int) -> int:
        return max(*self._ks, relevant)

    def add(self, chunk: Chunk) -> None:
        # No deeper than R requires, or the cost would be that of the whole ranking.
        hits = chunk.hits[:, : max(*self._ks, int(chunk.relevant.max()))]
        scores: dict[str, NDArray[Any]] = {**query_scores(hits, chunk.relevant, self._ks)}
        # A copy: a view would keep the whole ranking in memory.
        self._chunks.append({**scores, "nearest": chunk.order[:, 0].copy()})

    def by_query(self) -> dict[str, NDArray[Any]]:
        """Return arrays `(n,)` of all queries."""
        return {name: np.concatenate([scores[name] for scores in self._chunks]) for name in self._chunks[0]}


class WholeRankings(Accumulator):
    """An accumulator of the scores of each query from its whole ranking.

    A query whose relevant items are all among the nearest needs no other distances.

    Args:
        queries: number of queries.
    """

    def __init__(self, queries: int) -> None:
        self._scores = {name: np.full(queries, np.nan) for name in ("mrr", "map")}
        self._unfinished = np.zeros(queries, bool)

    def depth(self, relevant: int, findable: int) -> int:
        return findable if relevant > FEW else relevant

    def add(self, chunk: Chunk) -> None:
        complete = chunk.hits.sum(axis=1) == chunk.relevant
        all_rows = np.arange(chunk.rows.start, chunk.rows.stop)
        rows, columns = np.nonzero(chunk.hits[complete])
        self._set(chunk.queries, all_rows[complete], rows, columns + 1)
        if chunk.distances is None:
            self._unfinished[all_rows[~complete]] = True
        elif not complete.all():
            self._count(chunk.queries, all_rows[~complete], chunk.distances[~complete])

    def finish(self, queries: Queries) -> None:
        rows = np.flatnonzero(self._unfinished)
        if rows.size:
            for first, near in distance_chunks(queries.metric, queries.vectors[rows], queries.gallery):
                self._count(queries, rows[first : first + len(near)], near)

    def _count(self, queries: Queries, rows: NDArray[np.int64], distances: NDArray[np.float32]) -> None:
        self._set(queries, rows, *relevant_ranks(queries, rows, distances))

    def _set(
        self, queries: Queries, rows: NDArray[np.int64], found: NDArray[np.int64], ranks: NDArray[np.int64]
    ) -> None:
        for name, scores in whole_scores(found, ranks, queries.relevant[rows]).items():
            self._scores[name][rows] = scores

    def by_query(self) -> dict[str, NDArray[Any]]:
        """Return arrays `(n,)` of all queries."""
        return dict(self._scores)


def class_means(scores: NDArray[np.float64], ids: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the mean score of each class that has a score; `scores` `(n,)` with NaN for a missing score."""
    scored = ~np.isnan(scores)
    count = np.bincount(ids[scored])
    total = np.bincount(ids[scored], weights=scores[scored])
    return total[count > 0] / count[count > 0]


def _ndcg(relevant: NDArray[np.bool_], total: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the nDCG of the first k items, given whether each is relevant `(n, k)`."""
    discount = 1 / np.log2(np.arange(2, relevant.shape[1] + 2))
    best = np.append(0.0, np.cumsum(discount))
    ideal = best[np.minimum(np.nan_to_num(total), relevant.shape[1]).astype(int)]
    return relevant @ discount / np.where(ideal > 0, ideal, np.nan)


# ------------------------------------------------------------------ votes and episodes

VOTERS = 5
"""The number of nearest items that vote for a class."""

# Few-shot episodes: classes, examples of each, how many episodes, and at most how many queries of each class.
WAYS = 5
SHOTS = (1, 5)
EPISODES = 600
QUERIES = 15


class KnnVotes(Accumulator):
    """Counts how often the nearest items vote for the class of the query; in a tie the nearer class wins."""

    def __init__(self) -> None:
        self._right = self._queries = 0

    def depth(self, relevant: int, findable: int) -> int:
        return VOTERS

    def add(self, chunk: Chunk) -> None:
        voters = chunk.queries.gallery_ids[chunk.order[:, :VOTERS]]
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
        chosen = usable[distinct(rng, np.full(episodes, len(usable)), ways)]  # (episodes, ways)
        places = distinct(rng, sizes[chosen.ravel()], items).reshape(episodes, ways, items)
        drawn = order[starts[chosen][:, :, None] + places]
        rates = _accuracies(metric, embeddings, drawn, shot)
        name = f"accuracy_{ways}_way_{shot}_shot"
        mean, half = float(rates.mean()), 1.96 * float(rates.std(ddof=1)) / math.sqrt(episodes)
        measures |= {name: mean, f"{name}_low": max(0.0, mean - half), f"{name}_high": min(1.0, mean + half)}
    return measures


def distinct(rng: np.random.Generator, below: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Draw distinct numbers `(n, count)`, in each row from 0 on and below a limit `(n,)`; all equally often.

    The next number of a row is drawn from as many as are left, and counts those that are drawn already.
    """
    numbers = np.empty((len(below), 0), np.int64)  # in order of their size
    drawn = np.empty((len(below), count), np.int64)
    for nth in range(count):
        number = rng.integers(below - nth)
        for smaller in numbers.T:
            number += number >= smaller
        drawn[:, nth] = number
        numbers = np.sort(np.column_stack([numbers, number]), axis=1)
    return drawn


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
