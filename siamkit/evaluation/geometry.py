"""Geometry: the rank, width and dimension of embeddings, hubness, clusters, and the spread of classes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from siamkit.errors import DataError
from siamkit.evaluation.distances import Euclidean, is_cosine, is_euclidean, sized, unit
from siamkit.evaluation.neighbors import nearest_neighbors
from siamkit.evaluation.scan import Accumulator, Chunk, Histogram, Queries

SAMPLE = 10_000
"""The maximum number of items used for uniformity and intrinsic dimension."""

HUB_DEPTH = 10
"""The number of nearest items within which an item is counted for hubness."""

CHUNK = 1 << 22
"""The number of values converted to float64 at a time."""

MIN_SPREAD = 0.01
"""The spread below which embeddings are one point."""

MIN_RANK = 1.1
"""The effective rank below which embeddings are on a line."""

MIN_DIM_FOR_RANK = 4
"""The number of dimensions from which on a line is a fault: of two or three, a good embedding can use one."""

CLOSER = 128
"""About how many vectors are kept, on average, to which a vector is closer than all centers."""

MOST_CLOSER = 2 * CLOSER
"""How many of them are kept at most, on average."""

DRAWN = 64
"""For how many centers candidates are drawn at a time."""

ITERATIONS, TOLERANCE = 300, 1e-4
"""After how many iterations k-means ends, or below which shift of the centers, divided by the variance."""

ROUNDING = 1e-6  # a smaller spread is rounding of float32


def effective_rank(embeddings: ArrayLike) -> float:
    """Return the effective number of directions: from 1, on a line, to dim, for equal spread in all.

    exp(H(p)), where H is the entropy of p_i = σ_i / Σσ, and σ are the singular values of the embeddings minus
    their mean (Roy & Vetterli 2007, "The effective rank: a measure of effective dimensionality", who do not
    subtract the mean). 0 if all embeddings are one point. k tight clusters have at most k - 1: with few
    classes a low rank alone is not a fault.

    Args:
        embeddings: `(n, dim)`, or `(n, views, dim)`, where each view counts as an item.

    Example:
        >>> from siamkit.evaluation import effective_rank
        >>> effective_rank([[0.0, 0.0], [1.0, 2.0], [2.0, 4.0]])
        1.0
    """
    covariance, square = _moments(embeddings)
    return _rank(covariance, square)


def spread(embeddings: ArrayLike) -> float:
    """Return the relative width, in [0, 1]: √(total variance) / √(mean squared norm).

    0 if all embeddings are one point, 1 if their mean is zero. For unit vectors √(1 - |mean|²).

    Args:
        embeddings: `(n, dim)`, or `(n, views, dim)`.

    Example:
        >>> from siamkit.evaluation import spread
        >>> spread([[1.0, 0.0], [-1.0, 0.0]])
        1.0
    """
    covariance, square = _moments(embeddings)
    return _spread(covariance, square)


def shape_measures(embeddings: ArrayLike) -> dict[str, float]:
    """Return `effective_rank` and `spread`, computed in one pass."""
    covariance, square = _moments(embeddings)
    return {"effective_rank": _rank(covariance, square), "spread": _spread(covariance, square)}


def degenerate(measures: Mapping[str, float], dim: int) -> Literal["point", "line"] | None:
    """Return what embeddings of some dimension have shrunk to, by their `spread` and `effective_rank`."""
    if measures["spread"] < MIN_SPREAD:
        return "point"
    return "line" if measures["effective_rank"] < MIN_RANK and dim >= MIN_DIM_FOR_RANK else None


def geometry_measures(
    embeddings: NDArray[np.float32],
    ids: NDArray[np.int64] | None = None,
    seed: int = 0,
    *,
    cosines: Histogram | None = None,
    nearest: NDArray[np.integer] | None = None,
) -> dict[str, float]:
    r"""Return measures of the geometry of embeddings, by the Euclidean distance for any metric.

    With u = x / |x|:

    - `effective_rank` and `spread`, as the functions of that name;
    - `uniformity`: log of the mean of exp(-2 |u - u'|²) over pairs (Wang and Isola 2020,
      https://arxiv.org/abs/2005.10242); 0 if all are equal, -4 if they fill a sphere of many dimensions;
    - `alignment`: the mean of |u - u'|² over pairs of one class (the same paper);
    - `anisotropy`: the mean of u · u' over pairs (Ethayarajh 2019, https://arxiv.org/abs/1909.00512);
    - `norm_spread`: the standard deviation of |x| divided by its mean;
    - `intrinsic_dimension`: from the ratio of the distances to the first two neighbors, by maximum likelihood
      (Facco et al. 2017, "Estimating the intrinsic dimension of datasets by a minimal neighborhood
      information"); NaN if all items have duplicates;
    - `class_ratio`: the root mean square of |x - x'| over pairs of one class, divided by that over pairs of
      two classes.

    With more than 10,000 items, uniformity and intrinsic dimension are those of 10,000 random ones.

    Args:
        embeddings: `(n, dim)`.
        ids: `(n,)`, class ids; without them alignment and class ratio are omitted.
        seed: seed of the random items.
        cosines: the negated cosines of all pairs, for `uniformity`, if they are known.
        nearest: `(n, 2)`, the nearest two of each item, for `intrinsic_dimension`, if they are known.
    """
    measures = shape_measures(embeddings)
    norms = np.linalg.norm(embeddings.astype(np.float64), axis=1)
    sphere = unit(embeddings).astype(np.float32)
    sample = np.arange(len(embeddings))
    if len(sample) > SAMPLE:
        sample = np.sort(np.random.default_rng(seed).choice(len(sample), SAMPLE, replace=False))
    total = sphere.sum(axis=0, dtype=np.float64)
    pairs = len(sphere) * (len(sphere) - 1)
    squares = float((sphere.astype(np.float64) ** 2).sum())
    measures["anisotropy"] = float((total @ total - squares) / pairs)
    measures["norm_spread"] = float(norms.std() / norms.mean()) if norms.any() else 0.0
    measures["uniformity"] = _uniformity(sphere[sample]) if cosines is None else _uniformity_of(cosines)
    measures["intrinsic_dimension"] = _intrinsic_dimension(embeddings[sample], nearest)
    if ids is not None:
        measures["alignment"] = _squares(sphere, ids)[0]
        inside, between = _squares(embeddings, ids)
        measures["class_ratio"] = float(np.sqrt(inside / between)) if between > 0 else math.nan
    return measures


class Occurrences(Accumulator):
    """Counts how often each item of a gallery is among the nearest of a query."""

    def __init__(self, gallery: int) -> None:
        self._counts = np.zeros(gallery, np.int64)
        self._near: list[NDArray[np.int32]] = []

    def depth(self, relevant: int, findable: int) -> int:
        return HUB_DEPTH

    def add(self, chunk: Chunk) -> None:
        near = chunk.order[:, :HUB_DEPTH]
        self._counts += np.bincount(near.ravel(), minlength=len(self._counts))
        if len(self._counts) <= SAMPLE:
            self._near.append(near.astype(np.int32))

    def nearest_two(self, queries: Queries) -> NDArray[np.integer] | None:
        """Return the two nearest items `(n, 2)` by the Euclidean distance, if they follow from the search."""
        metric, vectors = queries.metric, queries.vectors
        if not queries.within or not self._near or len(vectors) < 3:
            return None
        near = np.concatenate(self._near)
        if is_euclidean(metric, vectors):
            return near[:, :2]
        return _nearest_two(vectors, near) if is_cosine(metric, vectors) else None

    def measures(self) -> dict[str, float]:
        """Return `hubness`, the skewness of the counts (Radovanović, Nanopoulos and Ivanović 2010)."""
        return {"hubness": _skewness(self._counts)}


# ------------------------------------------------------------------ clusters


def clustering_measures(
    embeddings: NDArray[np.float32], ids: NDArray[np.int64], angular: bool, seed: int = 0
) -> dict[str, float]:
    """Compare k-means clusters, as many as there are classes, with the classes.

    - nmi: normalized mutual information, by the arithmetic mean of the entropies;
    - ami: mutual information corrected for chance (Vinh, Epps and Bailey 2010);
    - ari: Rand's index corrected for chance (Hubert and Arabie 1985).

    k-means uses the Euclidean distance only. If the metric compares angles, the vectors are scaled to unit
    length first, so that their Euclidean distance depends on angles only; under any other metric they are
    clustered unchanged. It starts from the centers of `CenterDraws`.

    Args:
        embeddings: `(n, dim)`.
        ids: `(n,)`, class ids.
        angular: whether the metric ignores the length of a vector.
        seed: seed of the initial centers.

    Returns:
        `nmi`, `ami`, `ari`, as scikit-learn computes them.
    """
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score  # late: slow to import

    vectors = unit(embeddings).astype(np.float32) if angular else sized(embeddings)
    vectors -= vectors.mean(axis=0)  # else small distances would vanish in large products
    draws = CenterDraws(vectors, len(np.unique(ids)), np.random.default_rng(seed))
    draws.compare()
    clusters = k_means(vectors, *draws.centers())
    return {
        "nmi": float(normalized_mutual_info_score(ids, clusters)),
        "ami": adjusted_mutual_information(ids, clusters),
        "ari": float(adjusted_rand_score(ids, clusters)),
    }


Some: TypeAlias = "tuple[slice | NDArray[np.integer], NDArray[np.float32]]"
"""Some vectors, and the squared distances of another from them."""


class CenterDraws:
    """Draws the initial centers of clusters by greedy k-means++.

    Each center is the best of 2 + log(count) vectors that are drawn with a probability proportional to their
    squared distance D from the nearest center so far (Arthur and Vassilvitskii 2007, section 5).
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
        squares = np.einsum("nd,nd->n", vectors, vectors)[:, None]
        # |a - b|² = [-2a, |a|², 1] · [b, 1, |b|²].
        self._left = np.concatenate([-2 * vectors, squares, np.ones_like(squares)], axis=1)
        right = np.concatenate([vectors, np.ones_like(squares), squares], axis=1)
        self._right = np.ascontiguousarray(right.T)
        self._centers = [int(rng.integers(len(vectors)))]
        self._nearest = np.maximum(self._left[self._centers[0]] @ self._right, 0)  # D
        self._labels = np.zeros(len(vectors), np.int64)
        self._closer: list[tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]]] = []

        def with_all(drawn: NDArray[np.int64]) -> tuple[NDArray[np.floating], Callable[[int], Some]]:
            distances = self._left[drawn] @ self._right
            gains = np.maximum(self._nearest - distances, 0).sum(axis=1)
            return gains, lambda best: (slice(None), distances[best])

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
        """Compare all vectors with each other."""
        if len(self._centers) == self._count or not self._nearest.any():
            return
        side = math.isqrt(CHUNK)
        memory = np.empty(CHUNK, np.float32)  # used again: new pages take half as long as a product
        for top in range(0, len(self._left), side):
            for left in range(top, len(self._left), side):
                a, b = self._left[top : top + side], self._right[:, left : left + side]
                self.add(top, left, np.matmul(a, b, out=memory[: len(a) * b.shape[1]].reshape(len(a), -1)))

    def add(self, top: int, left: int, squares: NDArray[np.float32]) -> None:
        """Add squared distances `(p, q)` of vectors from `top` on, and those from `left` on; each pair once.

        On the diagonal, where `top` and `left` are equal, each pair comes twice.
        """
        height, width = squares.shape
        flat = np.flatnonzero(squares < self._nearest[left : left + width]).astype(np.int32)
        row, column = np.divmod(flat, width)
        self._closer.append((row + top, column + left, squares.ravel()[flat]))
        if top != left:
            limits = self._nearest[top : top + height, None]
            flat = np.flatnonzero(squares < limits).astype(np.int32)
            row, column = np.divmod(flat, width)
            self._closer.append((column + left, row + top, squares.ravel()[flat]))

    def centers(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the centers `(count,)` among the vectors, and the nearest center `(n,)` of each vector."""
        from scipy.sparse import coo_array  # late: slow to import

        if self._closer:
            center, closer, squares = (np.concatenate(arrays) for arrays in zip(*self._closer, strict=True))
            shape = len(self._left), len(self._left)
            table = coo_array((squares, (center, closer)), shape=shape).tocsr()
            starts, found, values = table.indptr, table.indices, table.data

            def with_closer(drawn: NDArray[np.int64]) -> tuple[NDArray[np.floating], Callable[[int], Some]]:
                rows = list(map(slice, starts[drawn].tolist(), starts[drawn + 1].tolist()))
                before = self._nearest[np.concatenate([found[row] for row in rows])]
                gains = np.maximum(before - np.concatenate([values[row] for row in rows]), 0)
                number = np.repeat(np.arange(len(drawn)), starts[drawn + 1] - starts[drawn])
                total = np.asarray(np.bincount(number, weights=gains, minlength=len(drawn)), np.float64)
                return total, lambda best: (found[rows[best]], values[rows[best]])

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
                and a function that returns, for one of them, vectors and its squared distances from these.
        """
        candidates = 2 + int(math.log(self._count))
        size, nearest, labels = DRAWN * candidates, self._nearest, self._labels
        while len(self._centers) < count and nearest.any():
            weights = np.cumsum(nearest, dtype=np.float64)
            drawn = np.searchsorted(weights, self._rng.random(size) * weights[-1], side="right")
            # Drawn by an older D, each is kept with the probability D / older D, so that it is drawn by D.
            kept_above = self._rng.random(size) * nearest[drawn]
            while len(self._centers) < count:
                rows = np.flatnonzero(kept_above < nearest[drawn])[:candidates]
                if len(rows) < candidates:
                    break
                kept_above[: rows[-1] + 1] = np.inf  # each is drawn once
                gains, near = compared(drawn[rows])
                best = int(gains.argmax())
                some, distances = near(best)
                closer = distances < nearest[some]
                labels[some] = np.where(closer, len(self._centers), labels[some])
                nearest[some] = np.where(closer, np.maximum(distances, 0), nearest[some])
                self._centers.append(int(drawn[rows[best]]))


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


# ------------------------------------------------------------------ parts


def _squares(vectors: NDArray[np.float32], ids: NDArray[np.int64]) -> tuple[float, float]:
    """Return the mean of |x - x'|² over pairs of one class, and over pairs of two; NaN without such pairs.

    Computed from sums: over the pairs of n vectors, each counted twice, the total is 2 (n Σ|x|² - |Σx|²).
    """
    order = np.argsort(ids, kind="stable")
    centered = vectors - vectors.mean(axis=0)  # else small differences would vanish in large sums
    starts = np.flatnonzero(np.diff(ids[order], prepend=-1))
    sums = np.add.reduceat(centered[order].astype(np.float64), starts)
    squares = np.add.reduceat((centered[order].astype(np.float64) ** 2).sum(axis=1), starts)
    counts = np.diff(np.append(starts, len(ids)))
    inside = 2 * float((counts * squares - (sums**2).sum(axis=1)).sum())
    total = 2 * float(len(ids) * squares.sum() - (sums.sum(axis=0) ** 2).sum())
    pairs_inside, pairs = int((counts * (counts - 1)).sum()), len(ids) * (len(ids) - 1)
    return (
        max(inside, 0.0) / pairs_inside if pairs_inside else math.nan,
        max(total - inside, 0.0) / (pairs - pairs_inside) if pairs > pairs_inside else math.nan,
    )


def _uniformity(unit: NDArray[np.float32]) -> float:
    side, total = 512, 0.0
    for top in range(0, len(unit), side):
        block = 4 * unit[top : top + side]
        for left in range(top, len(unit), side):
            values = np.exp(block @ unit[left : left + side].T)  # exp(-2 |u - u'|²) = exp(4 u·u' - 4)
            pairs = float(values.sum(dtype=np.float64))
            # On the diagonal each pair counts twice, and each item with itself.
            itself = float(np.trace(values, dtype=np.float64))
            total += pairs if left > top else (pairs - itself) / 2
    pairs = len(unit) * (len(unit) - 1) // 2
    return float(np.log(total / pairs)) - 4 if pairs else math.nan


def _uniformity_of(cosines: Histogram) -> float:
    centers, alike, unlike = cosines.counts()
    pairs = alike + unlike
    return float(np.log((pairs * np.exp(-4 * centers - 4)).sum() / pairs.sum()))


def _nearest_two(vectors: NDArray[np.float32], near: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return the two nearest of each item by the Euclidean distance, given those `(n, k)` of highest cosine.

    Any other item b has at most the lowest of these cosines, c, so |a - b|² ≥ |a|² + r² - 2 |a| r c for some
    length r between the shortest and the longest. If that is not above the second distance, all are searched.
    """
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
    shortest, longest = float(lengths.min()), float(lengths.max())
    found, proven = np.empty((len(vectors), 2), np.int64), np.zeros(len(vectors), bool)
    size = max(1, CHUNK // near[0].size // vectors.shape[1])
    for start in range(0, len(vectors), size):
        rows = slice(start, start + size)
        wide, items = vectors[rows, None].astype(np.float64), np.sort(near[rows], axis=1)
        products = np.matmul(vectors[items], wide.swapaxes(1, 2))[:, :, 0]
        own = lengths[rows]
        with np.errstate(invalid="ignore", divide="ignore"):  # a zero vector is not proven
            lowest = (products / lengths[items]).min(axis=1) / own
        squares = np.square(vectors[items] - wide).sum(axis=2)
        order = squares.argsort(axis=1, kind="stable")[:, :2]
        found[rows] = np.take_along_axis(items, order, axis=1)
        second = np.take_along_axis(squares, order[:, 1:], axis=1)[:, 0]
        closest = np.clip(own * lowest, shortest, longest)
        bound = own**2 + closest**2 - 2 * own * closest * lowest
        proven[rows] = second < bound - 1e-5 * (own + longest) ** 2  # more than rounding of float32
    rest = np.flatnonzero(~proven)
    if rest.size:
        found[rest], _ = nearest_neighbors(vectors[rest], vectors, Euclidean(), 2, exclude=rest)
    return found


def _intrinsic_dimension(vectors: NDArray[np.float32], nearest: NDArray[np.integer] | None = None) -> float:
    if len(vectors) < 3:
        return math.nan
    metric, itself = Euclidean(), np.arange(len(vectors))
    if nearest is None:
        nearest, _ = nearest_neighbors(vectors, vectors, metric, 2, exclude=itself)
    first, second = (metric(vectors, vectors[nearest[:, rank]]) for rank in range(2))
    distinct = first > 0  # the ratio of a duplicate is undefined
    logs = float(np.log(second[distinct] / first[distinct]).sum())
    return float(distinct.sum() / logs) if logs > 0 else math.nan


def _rank(covariance: NDArray[np.float64], square: float) -> float:
    if _spread(covariance, square) < ROUNDING:
        return 0.0
    singular = np.sqrt(np.clip(np.linalg.eigvalsh(covariance), 0, None))
    shares = singular / singular.sum()
    # A zero becomes up to 1e-8 of the largest value after eigvalsh and the square root: not a direction.
    shares = shares[shares > 1e-7]
    return round(float(np.exp(-(shares * np.log(shares)).sum())), 9)


def _spread(covariance: NDArray[np.float64], square: float) -> float:
    return min(1.0, float(np.sqrt(np.trace(covariance) / square))) if square > 0 else 0.0


def _moments(embeddings: ArrayLike) -> tuple[NDArray[np.float64], float]:
    """Return the covariance and the mean squared norm, computed in float64 for a few rows at a time."""
    array = np.asarray(embeddings)
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise DataError(f"embeddings should be (n, dim) or (n, views, dim), got {array.shape}")
    rows = array.reshape(-1, array.shape[-1])
    if not np.isfinite(rows).all():
        raise DataError("the embeddings contain NaN or infinity")
    size = max(1, CHUNK // rows.shape[1])
    chunks = [slice(start, start + size) for start in range(0, len(rows), size)]
    mean = sum(rows[chunk].sum(axis=0, dtype=np.float64) for chunk in chunks) / len(rows)
    covariance = np.zeros((rows.shape[1], rows.shape[1]))
    for chunk in chunks:
        centered = rows[chunk].astype(np.float64) - mean
        covariance += centered.T @ centered
    covariance /= len(rows)
    return covariance, float(np.trace(covariance) + (np.asarray(mean) ** 2).sum())


def _skewness(counts: NDArray[np.int64]) -> float:
    deviations = counts - counts.mean()
    variance = float((deviations**2).mean())
    return float((deviations**3).mean() / variance**1.5) if variance else 0.0
