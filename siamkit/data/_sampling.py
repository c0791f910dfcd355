"""Which items make up the batches of an epoch, for each supervision: NumPy, with no Keras."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from siamkit.data._groups import ranks
from siamkit.errors import DataError

Array = np.ndarray[Any, np.dtype[Any]]
Rng = np.random.Generator


@dataclass(frozen=True, eq=False)
class Plan:
    """One epoch.

    Args:
        rows: `(batches, batch, views)` indices of items.
        target: `(batches, batch)`, the `y` of each batch.
        weight: `(batches, batch)` 0 where a row only fills up its batch; None for feeds without.
    """

    rows: Array
    target: Array
    weight: Array | None = None


class Classes:
    """Items by class, for drawing: the codes `(n,)` of all items, and the items in class order.

    Raises:
        DataError: if there is one class only, or none with two items.
    """

    def __init__(self, codes: Array, names: Array) -> None:
        self.codes, self.names = codes, names
        self.sizes = np.bincount(codes, minlength=len(names))
        self.starts = np.cumsum(self.sizes) - self.sizes
        self.order = np.argsort(codes, kind="stable")
        self.place = np.empty_like(self.order)
        self.place[self.order] = np.arange(len(codes))
        if len(names) < 2:
            raise DataError(f"batches need items of 2 classes at least, got only class {str(names[0])!r}")
        self.alone = self.sizes[codes] < 2
        if self.alone.all():
            raise DataError("batches need a class with 2 items at least, every class has a single one")

    def alike(self, anchors: Array, rng: Rng) -> Array:
        """For each anchor another item of its class, evenly drawn; its class must have two."""
        codes = self.codes[anchors]
        steps = rng.integers(1, self.sizes[codes])
        start = self.starts[codes]
        return self.order[start + (self.place[anchors] - start + steps) % self.sizes[codes]]

    def other(self, anchors: Array, rng: Rng) -> Array:
        """For each anchor an item of another class, evenly drawn from all of them."""
        codes = self.codes[anchors]
        drawn = rng.integers(0, len(self.codes) - self.sizes[codes])
        # Step over the anchor's own class.
        return self.order[drawn + np.where(drawn >= self.starts[codes], self.sizes[codes], 0)]


def balanced(classes: Classes, batches: int, p: int, k: int, rng: Rng, least: int = 1) -> Array:
    """Batches of k items from each of p classes, as items `(batches, p, k)`.

    Classes come in shuffled rounds, p different ones a batch; the items of a class come in a shuffled
    circle, so that k are different wherever the class has k.

    Args:
        classes: the items.
        batches, p, k: the sizes; p at most the number of classes drawn from.
        rng: where the chance comes from.
        least: only classes with so many items are drawn.
    """
    slots = _rounds(np.flatnonzero(classes.sizes >= least), batches, p, rng)
    shuffled = np.lexsort((rng.random(len(classes.codes)), classes.codes))
    first = ranks(slots) * k
    circle = (first[:, None] + np.arange(k)) % classes.sizes[slots][:, None]
    return shuffled[classes.starts[slots][:, None] + circle].reshape(batches, p, k)


def _rounds(members: Array, batches: int, p: int, rng: Rng) -> Array:
    """`(batches * p,)` members in shuffled rounds, such that each batch of p has p different ones."""
    drawn: list[Array] = []
    filled = 0
    while filled < batches * p:
        turn = rng.permutation(members)
        if filled % p:
            # The last batch of the round before goes on: what it has already comes last in this one.
            again = np.isin(turn, drawn[-1][-(filled % p) :])
            turn = np.concatenate([turn[~again], turn[again]])
        drawn.append(turn)
        filled += len(turn)
    return np.concatenate(drawn)[: batches * p]


def balanced_pairs(classes: Classes, batches: int, size: int, rng: Rng) -> Plan:
    """Half of each batch alike, half not; every item in turn is the anchor of one pair."""
    half = size // 2
    anchors = rng.permutation(len(classes.codes))[: batches * size].reshape(batches, size)
    # An item alone in its class has nothing like it: it goes to the half that is not.
    later = np.argsort(classes.alone[anchors], axis=1, kind="stable")
    anchors = np.take_along_axis(anchors, later, axis=1)
    stuck = np.zeros(anchors.shape, dtype=bool)
    stuck[:, :half] = classes.alone[anchors[:, :half]]
    anchors[stuck] = rng.choice(np.flatnonzero(~classes.alone), stuck.sum())
    partners = np.concatenate(
        [classes.alike(anchors[:, :half], rng), classes.other(anchors[:, half:], rng)], axis=1
    )
    target = np.broadcast_to(np.repeat(np.array([1, 0], dtype=np.int32), half), anchors.shape)
    return Plan(np.stack([anchors, partners], axis=2), target)


def random_triplets(classes: Classes, batches: int, size: int, rng: Rng) -> Plan:
    """Every item that has one like it in turn is an anchor; positive and negative are drawn evenly."""
    anchors = rng.permutation(np.flatnonzero(~classes.alone))[: batches * size].reshape(batches, size)
    rows = np.stack([anchors, classes.alike(anchors, rng), classes.other(anchors, rng)], axis=2)
    return Plan(rows, _nothing(anchors))


def class_views(classes: Classes, batches: int, p: int, repeats: int, rng: Rng) -> Plan:
    """Two items of one class as two views: `repeats` such pairs from each of p classes a batch."""
    rows = balanced(classes, batches, p, 2 * repeats, rng, least=2).reshape(batches, p * repeats, 2)
    return Plan(rows, _nothing(rows[..., 0]))


def padded(target: Array | None, n: int, views: int, size: int, rng: Rng) -> Plan:
    """Every item once, shuffled; the last batch is filled up with rows of weight 0."""
    batches = -(-n // size)
    rows = np.resize(rng.permutation(n), (batches, size))
    weight = (np.arange(batches * size) < n).astype(np.float32).reshape(batches, size)
    return Plan(_side_by_side(rows, views), _nothing(rows) if target is None else target[rows], weight)


def dropped(target: Array | None, n: int, views: int, size: int, rng: Rng) -> Plan:
    """Items shuffled, each once at most: what does not fill a batch waits for another epoch."""
    batches = n // size
    rows = rng.permutation(n)[: batches * size].reshape(batches, size)
    return Plan(_side_by_side(rows, views), _nothing(rows) if target is None else target[rows])


def _side_by_side(rows: Array, views: int) -> Array:
    return np.repeat(rows[..., None], views, axis=2)


def _nothing(rows: Array) -> Array:
    return np.zeros(rows.shape, dtype=np.int32)
