"""One pass over all distances, a chunk of queries at a time, that feeds several accumulators."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from siamkit.evaluation.distances import Metric, distance_chunks
from siamkit.evaluation.neighbors import nearest_first


@dataclass(frozen=True)
class DistanceChunk:
    """A few queries and their distances to the gallery.

    Args:
        start: the index of the first query.
        distances: `(q, gallery)`.
        alike: `(q, gallery)`, whether query and item have the same class.
        order: `(q, depth)`, indices of the nearest items, nearest first, without the query itself.
        hits: `(q, depth)`, whether these have the class of the query.
        relevant: `(q,)`, how many items of the gallery have the class of the query.
        ids: `(gallery,)`, the classes of the gallery.
        within: whether the queries are the gallery.
    """

    start: int
    distances: NDArray[np.float32]
    alike: NDArray[np.bool_]
    order: NDArray[np.int64]
    hits: NDArray[np.bool_]
    relevant: NDArray[np.int64]
    ids: NDArray[np.int64]
    within: bool

    def pairs(self) -> Iterable[tuple[NDArray[np.float32], NDArray[np.bool_]]]:
        """Yield distances and `alike` of the pairs i < j, or of all pairs if there is a gallery."""
        if not self.within:
            yield self.distances, self.alike
            return
        # A triangle, and everything to its right.
        stop = self.start + len(self.distances)
        above = np.triu(np.ones((len(self.distances), len(self.distances)), bool), 1)
        yield self.distances[:, self.start : stop][above], self.alike[:, self.start : stop][above]
        yield self.distances[:, stop:], self.alike[:, stop:]


class Accumulator(Protocol):
    """What collects results during the pass."""

    def depth(self, relevant: int, findable: int) -> int:
        """Return how many of the nearest items it needs.

        Args:
            relevant: the most items that a query of the chunk has to find.
            findable: how many items can be found.
        """

    def add(self, chunk: DistanceChunk) -> None:
        """Add a chunk; keep none of its arrays, nor views of them."""


def scan_distances(
    metric: Metric,
    queries: NDArray[np.float32],
    ids: NDArray[np.int64],
    gallery: tuple[NDArray[np.float32], NDArray[np.int64]] | None,
    relevant: NDArray[np.int64],
    accumulators: Iterable[Accumulator],
) -> None:
    """Pass each chunk of distances to each accumulator once.

    Args:
        metric: the metric.
        queries, ids: `(n, dim)` and their classes `(n,)`.
        gallery: items and their classes; None for the queries themselves, each excluded by its index.
        relevant: `(n,)`, how many items each query has to find.
        accumulators: what collects results.
    """
    pool, pool_ids = (queries, ids) if gallery is None else gallery
    findable = len(pool) - (gallery is None)
    accumulators = tuple(accumulators)
    for start, distances in distance_chunks(metric, queries, pool):
        rows = slice(start, start + len(distances))
        alike = ids[rows, None] == pool_ids
        most = int(relevant[rows].max())
        depth = max((accumulator.depth(most, findable) for accumulator in accumulators), default=1)
        itself = np.arange(len(queries))[rows] if gallery is None else None
        order, _ = nearest_first(distances, min(depth, findable), itself)
        hits = np.take_along_axis(alike, order, axis=1)
        chunk = DistanceChunk(
            start, distances, alike, order, hits, relevant[rows], pool_ids, within=gallery is None
        )
        for accumulator in accumulators:
            accumulator.add(chunk)
