"""Clustering: k-means from centers by greedy k-means++, and how well its clusters match the classes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from siamkit.evaluation.distances import CHUNK, sized, unit
from siamkit.evaluation.scan import Accumulator, Chunk, Queries

CLOSER = 128
"""About how many vectors are kept, on average, to which a vector is closer than all centers."""

MOST_CLOSER = 2 * CLOSER
"""How many of them are kept at most, on average."""

DRAWN = 64
"""For how many centers candidates are drawn at a time."""

LEAST_WIDE = 0.01
"""The variance of unit vectors from which on their cosines, in float32, are precise enough for clusters."""

PRECISE = 2.0**-18
"""From which on a difference of float32 numbers of the size of 1 is not only rounding."""

ITERATIONS, TOLERANCE = 300, 1e-4
"""After how many iterations k-means ends, or below which shift of the centers, divided by the variance."""


class Clusters(Accumulator):
    """k-means clusters, as many as there are classes, and how well they match the classes.

    k-means uses the Euclidean distance only. If the metric compares angles, the vectors are scaled to unit
    length first, so that their Euclidean distance depends on angles only; under any other metric they are
    clustered unchanged. It starts from the centers of `draws`, which compares all pairs: by cosines that the
    search has computed, where these are precise enough.

    Args:
        embeddings: `(n, dim)`.
        ids: `(n,)`, class ids.
        angular: whether the metric ignores the length of a vector.
        cosines: whether the search gives negated cosines.
        seed: seed of the initial centers.
    """

    def __init__(
        self,
        embeddings: NDArray[np.float32],
        ids: NDArray[np.int64],
        angular: bool,
        *,
        cosines: bool = False,
        seed: int = 0,
    ) -> None:
        self._ids = ids
        vectors = unit(embeddings).astype(np.float32) if angular else sized(embeddings)
        no_zero = bool(vectors.any(axis=1).all())
        vectors -= vectors.mean(axis=0)  # else small distances would vanish in large products
        self._vectors = vectors
        self.draws = CenterDraws(vectors, len(np.unique(ids)), np.random.default_rng(seed))
        self.takes_pairs = cosines and no_zero and float(np.square(vectors).sum(axis=1).mean()) > LEAST_WIDE

    def depth(self, relevant: int, findable: int) -> int:
        return 0

    def add(self, chunk: Chunk) -> None:
        pass

    def add_pairs(
        self, queries: Queries, rows: slice, columns: slice, distances: NDArray[np.float32]
    ) -> None:
        self.draws.add(rows.start, columns.start, distances, 1)  # |a - b|² / 2 = 1 - a·b of unit vectors

    def measures(self) -> dict[str, float]:
        """Return the measures, as scikit-learn computes them.

        - nmi: normalized mutual information, by the arithmetic mean of the entropies;
        - ami: mutual information corrected for chance (Vinh, Epps and Bailey 2010);
        - ari: Rand's index corrected for chance (Hubert and Arabie 1985).
        """
        from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score  # late: slow to import

        self.draws.compare()
        clusters = k_means(self._vectors, *self.draws.centers())
        return {
            "nmi": float(normalized_mutual_info_score(self._ids, clusters)),
            "ami": adjusted_mutual_information(self._ids, clusters),
            "ari": float(adjusted_rand_score(self._ids, clusters)),
        }


Some: TypeAlias = tuple[NDArray[np.integer], NDArray[np.float32]]
"""Some vectors, and half the squared distances of another from them."""


class CenterDraws:
    """Draws the initial centers of clusters by greedy k-means++.

    Each center is the best of 2 + log(count) vectors that are drawn with a probability proportional to D,
    half their squared distance from the nearest center so far (Arthur and Vassilvitskii 2007, section 5).
    scikit-learn, which draws in the same way, compares each of them with all vectors: most of the time of
    k-means if there are many clusters. But a center changes D only of the vectors that are closer to it than
    D, and D falls. So when n / `CLOSER` centers are drawn, all vectors are compared with each other, once,
    and for each one those to which it is closer than D are kept: about `CLOSER`. From then on only they are
    looked at. The distribution of the centers is the same.

    Where the first centers are outliers, most vectors are closer than D to most others. Then more centers are
    compared with all vectors, until no more than `MOST_CLOSER` are to be kept for a vector, on average.

    Args:
        vectors: `(n, dim)`, with their mean at zero.
        count: number of centers.
        rng: source of random numbers.
    """

    def __init__(self, vectors: NDArray[np.float32], count: int, rng: np.random.Generator) -> None:
        self._count, self._rng = count, rng
        halves = np.einsum("nd,nd->n", vectors, vectors)[:, None] / 2
        # |a - b|² / 2 = [-a, |a|² / 2, 1] · [b, 1, |b|² / 2].
        self._left = np.concatenate([-vectors, halves, np.ones_like(halves)], axis=1)
        right = np.concatenate([vectors, np.ones_like(halves), halves], axis=1)
        self._right = np.ascontiguousarray(right.T)
        self._centers = [int(rng.integers(len(vectors)))]
        self._nearest = np.maximum(self._left[self._centers[0]] @ self._right, 0)  # D
        self._nearest[self._centers[0]] = 0
        self._labels = np.zeros(len(vectors), np.int64)
        # By the first row and column of their tiles: centers, vectors closer to them than D, and distances.
        self._closer: list[
            tuple[tuple[int, int], NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]]
        ] = []

        every = np.arange(len(vectors))

        def with_all(drawn: NDArray[np.int64]) -> tuple[NDArray[np.floating], Callable[[int], Some]]:
            distances = self._left[drawn] @ self._right
            gains = np.maximum(self._nearest - distances, 0).sum(axis=1)
            return gains, lambda best: (every, distances[best])

        step = math.ceil(len(vectors) / CLOSER)
        self._draw(min(count, step), with_all)
        while len(self._centers) < count and self._nearest.any() and self._mean_closer() > MOST_CLOSER:
            self._draw(min(count, len(self._centers) + step), with_all)

    def _mean_closer(self) -> float:
        """Return to how many vectors a vector is closer than D, on average over every `CLOSER`th one."""
        some, right, nearest = self._left[::CLOSER], self._right, self._nearest
        size = max(1, CHUNK // len(some))
        parts = (slice(start, start + size) for start in range(0, len(nearest), size))
        closer = sum(int(np.count_nonzero(some @ right[:, part] < nearest[part])) for part in parts)
        return closer / len(some)

    def compare(self) -> None:
        """Compare all vectors with each other, unless that is done or no more centers are to be drawn."""
        if self._closer or self._complete:
            return
        side = math.isqrt(CHUNK)
        memory = np.empty(CHUNK, np.float32)  # used again: new pages take half as long as a product
        for top in range(0, len(self._left), side):
            for left in range(top, len(self._left), side):
                a, b = self._left[top : top + side], self._right[:, left : left + side]
                self.add(top, left, np.matmul(a, b, out=memory[: len(a) * b.shape[1]].reshape(len(a), -1)))

    @property
    def _complete(self) -> bool:
        return len(self._centers) == self._count or not self._nearest.any()

    def add(self, top: int, left: int, distances: NDArray[np.float32], more: float = 0) -> None:
        """Add half the squared distances of vectors from `top` on, and those from `left` on; each pair once.

        On the diagonal, where `top` and `left` are equal, each pair comes twice. Several threads may add.

        Args:
            top, left: the first vectors of the rows and of the columns.
            distances: `(p, q)`, half the squared distances minus `more`.
            more: a number.
        """
        if self._complete:
            return
        height, width = distances.shape
        limits = self._nearest - np.float32(more)
        limits[self._nearest <= PRECISE * more] = -np.inf  # else equal vectors seem closer to each other
        for for_rows in (False, True)[: 1 + (top != left)]:
            limit = limits[top : top + height, None] if for_rows else limits[left : left + width]
            below = distances < limit
            if top == left:
                np.fill_diagonal(below, False)  # that a vector is closest to itself is known
            flat = np.flatnonzero(below).astype(np.int32)
            row, column = np.divmod(flat, width)
            pair = row + top, column + left
            center, closer = pair[::-1] if for_rows else pair
            self._closer.append(((top, left), center, closer, distances.ravel()[flat] + np.float32(more)))

    def centers(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the centers `(count,)` among the vectors, and the nearest center `(n,)` of each vector."""
        from scipy.sparse import coo_array  # late: slow to import

        if self._closer:
            # In the order of the tiles, not in that in which threads were ready: sums are rounded.
            _, *parts = zip(*sorted(self._closer, key=lambda part: part[0]), strict=True)
            center, closer, halves = map(np.concatenate, parts)
            table = coo_array((halves, (center, closer)), shape=(len(self._left), len(self._left)))
            table.has_canonical_format = True  # no pair comes twice, so that nothing is sorted
            table = table.tocsr()
            found, values, starts = table.indices, table.data, table.indptr.tolist()

            def with_closer(drawn: NDArray[np.int64]) -> tuple[NDArray[np.floating], Callable[[int], Some]]:
                rows = [slice(starts[row], starts[row + 1]) for row in drawn.tolist()]
                gains = self._nearest.take(np.concatenate([found[row] for row in rows]))
                gains -= np.concatenate([values[row] for row in rows])
                of_row = np.repeat(np.arange(len(rows)), [row.stop - row.start for row in rows])
                sums = np.bincount(of_row, np.maximum(gains, 0, out=gains), minlength=len(rows))
                return self._nearest[drawn] + sums, lambda best: (found[rows[best]], values[rows[best]])

            self._draw(self._count, with_closer)
        # If there are fewer distinct vectors than centers, all are centers already.
        missing = self._count - len(self._centers)
        self._centers += self._rng.integers(len(self._left), size=missing).tolist()
        return np.asarray(self._centers), self._labels

    def _draw(
        self,
        count: int,
        compared: Callable[[NDArray[np.int64]], tuple[NDArray[np.floating], Callable[[int], Some]]],
    ) -> None:
        """Draw centers until there are `count`.

        Args:
            count: number of centers.
            compared: function that returns, for the vectors drawn, by how much each would lower the sum of D,
                and a function that returns, for one of them, vectors and its squared distances from these; it
                may be left out itself.
        """
        candidates = 2 + int(math.log(self._count))
        size, nearest, labels = DRAWN * candidates, self._nearest, self._labels
        while len(self._centers) < count and nearest.any():
            weights = np.cumsum(nearest, dtype=np.float64)
            drawn = np.searchsorted(weights, self._rng.random(size) * weights[-1], side="right")
            # Drawn by an older D, each is kept with the probability D / older D, so that it is drawn by D.
            kept_above = self._rng.random(size) * nearest[drawn]
            while len(self._centers) < count:
                rows = (kept_above < nearest.take(drawn)).nonzero()[0][:candidates]
                if len(rows) < candidates:
                    break
                kept_above[: rows[-1] + 1] = np.inf  # each is drawn once
                gains, near = compared(drawn[rows])
                best = int(gains.argmax())
                center, (some, distances) = int(drawn[rows[best]]), near(best)
                closer = distances < nearest[some]
                some = some[closer]
                nearest[some], labels[some] = np.maximum(distances[closer], 0), len(self._centers)
                nearest[center], labels[center] = 0, len(self._centers)  # distances are rounded: D would stay
                self._centers.append(center)


def k_means(
    vectors: NDArray[np.float32], initial: NDArray[np.int64], labels: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the cluster `(n,)` of each vector, by Lloyd's algorithm (1982) as scikit-learn ends it.

    A vector is compared with all centers if its own center moved, else only with those that moved.

    Args:
        vectors: `(n, dim)`, with their mean at zero.
        initial: `(count,)`, the vectors that are the first centers.
        labels: `(n,)`, the nearest center of each vector.
    """
    from scipy.sparse import csr_array  # late: slow to import

    count, labels = len(initial), labels.copy()
    sums, sizes = np.zeros((count, vectors.shape[1])), np.zeros(count, np.int64)

    def add(rows: NDArray[np.int64], sign: int) -> None:
        members = csr_array((np.ones(len(rows)), labels[rows], np.arange(len(rows) + 1)), (len(rows), count))
        sums[:] += sign * (members.T @ vectors[rows])
        sizes[:] += sign * np.bincount(labels[rows], minlength=count)

    add(np.arange(len(vectors)), 1)
    centers = vectors[initial]
    moved, distances = np.ones(count, bool), np.empty(0, np.float32)
    least_shift = TOLERANCE * float(vectors.var(axis=0, dtype=np.float64).mean())
    for iteration in range(ITERATIONS):
        means = np.where(sizes[:, None] > 0, sums / np.maximum(sizes, 1)[:, None], centers)
        means = means.astype(np.float32)
        if iteration:  # before the first, no distances are known
            moved = (means != centers).any(axis=1)
        shift, centers = float(np.square(means - centers).sum(dtype=np.float64)), means
        if not moved.any():
            break
        own = moved[labels]
        if 2 * own.sum() > len(own):
            nearest, distances = _nearest_center(vectors, centers)
        else:
            nearest, whole, others, some = labels.copy(), *map(np.flatnonzero, (own, ~own, moved))
            nearest[whole], distances[whole] = _nearest_center(vectors[whole], centers)
            found, near = _nearest_center(vectors[others], centers[some])
            closer = near < distances[others]
            nearest[others[closer]], distances[others[closer]] = some[found[closer]], near[closer]
        changed = np.flatnonzero(nearest != labels)
        add(changed, -1)
        labels = nearest
        add(changed, 1)
        if not changed.size or shift <= least_shift:
            break
    return labels


def _nearest_center(
    vectors: NDArray[np.float32], centers: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the nearest center `(n,)` of each vector a, and |b|² / 2 - a · b of this center b."""
    halves = np.square(centers).sum(axis=1) / 2
    labels, values = np.empty(len(vectors), np.int64), np.empty(len(vectors), np.float32)
    size = max(1, CHUNK // len(centers))
    for start in range(0, len(vectors), size):
        rows = slice(start, start + size)
        compared = vectors[rows] @ centers.T
        np.subtract(halves, compared, out=compared)
        labels[rows] = compared.argmin(axis=1)
        values[rows] = np.take_along_axis(compared, labels[rows, None], axis=1)[:, 0]
    return labels, values


def adjusted_mutual_information(a: NDArray[np.integer], b: NDArray[np.integer]) -> float:
    """Return the mutual information of two partitions, corrected for chance, as scikit-learn computes it.

    (I - E) / ((H(a) + H(b)) / 2 - E), where E is the mean of I over all partitions with parts of these sizes
    (Vinh, Epps and Bailey 2010). It is 1 if the partitions are equal, and about 0 if they are independent.
    E depends on the sizes alone, so it is computed once for each pair of distinct sizes: scikit-learn takes
    every pair of parts, which is slow for thousands of them.

    Args:
        a, b: `(n,)`, the part of each item, from 0.
    """
    from scipy.special import gammaln  # late: slow to import
    from sklearn.metrics import mutual_info_score

    n = len(a)
    log_factorial = gammaln(np.arange(n + 1) + 1.0)
    parts = [np.bincount(partition) for partition in (a, b)]
    sizes_a, sizes_b = (np.unique(sizes[sizes > 0], return_counts=True) for sizes in parts)
    entropies = [float(-(count * size / n * np.log(size / n)).sum()) for size, count in (sizes_a, sizes_b)]
    expected = 0.0
    for size_a, count_a in zip(*sizes_a, strict=True):
        for size_b, count_b in zip(*sizes_b, strict=True):
            common = np.arange(max(1, size_a + size_b - n), min(size_a, size_b) + 1)
            # The probability that two such parts have so many items in common is hypergeometric.
            logarithm = (
                log_factorial[[size_a, size_b, n - size_a, n - size_b]].sum() - log_factorial[n]
                - log_factorial[common] - log_factorial[size_a - common]
                - log_factorial[size_b - common] - log_factorial[n - size_a - size_b + common]
            )  # fmt: skip
            terms = common / n * np.log(common * (n / size_a) / size_b) * np.exp(logarithm)
            expected += count_a * count_b * float(terms.sum())
    possible = sum(entropies) / 2 - expected
    # Up to rounding it is 0 only if all parts are single items; then the partitions are equal.
    return float((mutual_info_score(a, b) - expected) / possible) if possible > 1e-12 else 1.0
