"""One pass over all distances, a portion of queries at a time, for whoever counts something in it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from siamkit.evaluation import _distances
from siamkit.evaluation._neighbors import nearest_first


@dataclass(frozen=True)
class DistanceChunk:
    """Some queries, and how they see the gallery.

    Args:
        start: the index of the first query.
        distances: `(q, gallery)`.
        alike: `(q, gallery)`, whether query and item are of one class.
        order: `(q, depth)`, indices of the nearest items, nearest first; a query itself is not among them.
        hits: `(q, depth)`, whether these are of the query's class.
        relevant: `(q,)`, how many there are to be found.
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
        """Distances and `alike` of the pairs i < j, or where there is a gallery of all, in parts."""
        if not self.within:
            yield self.distances, self.alike
            return
        # A triangle, and all to its right.
        stop = self.start + len(self.distances)
        above = np.triu(np.ones((len(self.distances), len(self.distances)), bool), 1)
        yield self.distances[:, self.start : stop][above], self.alike[:, self.start : stop][above]
        yield self.distances[:, stop:], self.alike[:, stop:]


class Tally(Protocol):
    """Something that is counted in the pass."""

    def depth(self, relevant: int, findable: int) -> int:
        """How deep a ranking it needs.

        Args:
            relevant: the most that a query of the portion has to find.
            findable: how many items can be found at all.
        """

    def add(self, portion: DistanceChunk) -> None:
        """Counts a portion; it keeps none of its arrays, nor views of them."""


def scan_distances(
    metric: _distances.Metric,
    queries: NDArray[np.float32],
    ids: NDArray[np.int64],
    gallery: tuple[NDArray[np.float32], NDArray[np.int64]] | None,
    relevant: NDArray[np.int64],
    tallies: Iterable[Tally],
) -> None:
    """Shows every tally each portion once.

    Args:
        metric: compares.
        queries, ids: `(n, dim)` and their classes `(n,)`.
        gallery: items and their classes; None for the queries themselves, each left out by its index.
        relevant: `(n,)`, how many items each query has to find.
        tallies: what is counted.
    """
    pool, pool_ids = (queries, ids) if gallery is None else gallery
    findable = len(pool) - (gallery is None)
    tallies = tuple(tallies)
    for start, distances in _distances.chunks(metric, queries, pool):
        rows = slice(start, start + len(distances))
        alike = ids[rows, None] == pool_ids
        most = int(relevant[rows].max())
        depth = max((tally.depth(most, findable) for tally in tallies), default=1)
        itself = np.arange(len(queries))[rows] if gallery is None else None
        order, _ = nearest_first(distances, min(depth, findable), itself)
        hits = np.take_along_axis(alike, order, axis=1)
        portion = DistanceChunk(
            start, distances, alike, order, hits, relevant[rows], pool_ids, within=gallery is None
        )
        for tally in tallies:
            tally.add(portion)
