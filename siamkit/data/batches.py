"""Feeds: datasets as Keras takes them, batch by batch, for each supervision."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from siamkit.data.dataset import Array, Dataset, Leaf, take
from siamkit.data.preprocessing.base import Preprocessor
from siamkit.data.splits import ranks
from siamkit.errors import DataError, nearest
from siamkit.registry.compatibility import FEEDS
from siamkit.registry.specs import SUPERVISIONS, Supervision


class Feed(keras.utils.PyDataset):  # type: ignore[misc, unused-ignore]
    """Batches `(x, y)` or `(x, y, sample_weight)` of one fixed shape, shuffled anew each epoch.

    What batch i of epoch e holds depends on the seed, e and i alone. Keras moves `epoch` on by itself,
    also once before the first epoch of a `fit`; so before a fit that goes on at `initial_epoch=k`, set
    `epoch` to k, and it trains on as if it had never stopped. Fit with `shuffle=False`: Keras would
    shuffle the order of the batches too, by Python's global chance.

    Args:
        leaves: the prepared views; one of them may serve several of a batch's.
        plan: makes an epoch from its random generator.
        seed: what chance starts from.

    Attributes:
        epoch: the current one, from 0.
        batch_size: the rows of a batch.
    """

    def __init__(self, leaves: Sequence[Leaf], plan: Planner, seed: int) -> None:
        super().__init__(workers=1, use_multiprocessing=False)
        self.epoch = 0
        self._leaves, self._plan, self._seed = tuple(leaves), plan, seed
        self._planned: tuple[int, Plan] | None = None
        self._batches, self.batch_size = self._current().rows.shape[:2]

    def __len__(self) -> int:
        return int(self._batches)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        if not 0 <= index < len(self):
            raise IndexError(f"batch {index} of {len(self)}")
        plan = self._current()
        rows = plan.rows[index]
        sources = self._leaves * (rows.shape[1] // len(self._leaves))
        views = tuple(take(leaf, rows[:, view]) for view, leaf in enumerate(sources))
        x = views if len(views) > 1 else views[0]
        y = np.array(plan.target[index])
        return (x, y) if plan.weight is None else (x, y, plan.weight[index])

    def on_epoch_end(self) -> None:
        """Go to the next epoch."""
        self.epoch += 1

    def _current(self) -> Plan:
        planned = self._planned
        if planned is None or planned[0] != self.epoch:
            planned = self.epoch, self._plan(np.random.default_rng((self._seed, self.epoch)))
            self._planned = planned
        return planned[1]


def feed(
    dataset: Dataset,
    supervision: Supervision,
    *,
    batch_size: int,
    seed: int,
    preprocessor: Preprocessor | None = None,
    items_per_class: int = 4,
    drop_last: bool = False,
) -> keras.utils.PyDataset:
    """Feed a dataset to a loss of this supervision.

    `y` is int32 class codes, int32 1 and 0, float32 scores, int32 zeros. Labels are sampled:
    balanced batches of P classes with K items each, pairs half alike, triplets, or two views of one
    class, of different classes where there are enough. Pairs, scores and triplets come as they are,
    each once an epoch, the last batch filled up with rows of `sample_weight` 0; of views, what
    fills no batch is left out. Fewer items than one batch make a smaller batch.

    Args:
        dataset: the items, of the training part.
        supervision: what the loss learns from.
        batch_size: the most rows of a batch; P x K, and pairs (an even number), may be a few less.
        seed: what chance starts from.
        preprocessor: prepares the views, once; None where they are fit for the encoder already.
        items_per_class: K; more where there are too few classes to fill a batch.
        drop_last: leave out the pairs, scores or triplets that fill no batch, in place of filling it up;
            for a loss that compares the rows of a batch with one another (`Loss.couples`).

    Raises:
        DataError: if the data cannot feed this supervision.
    """
    _check(dataset, supervision, batch_size=batch_size, seed=seed, items_per_class=items_per_class)
    leaves = [preprocessor(view) if preprocessor else view for view in dataset.views]
    if preprocessor is None and dataset.input in ("text", "tabular"):
        what = "texts" if dataset.input == "text" else "columns of a table"
        raise DataError(f"{what} need a preprocessor to be fed, got none")
    if dataset.supervision == "labels":
        plan = _sampled(dataset, supervision, batch_size, items_per_class)
    else:
        plan = _native(dataset, supervision, batch_size, drop_last)
    return Feed(leaves, plan, seed)


def _sampled(dataset: Dataset, supervision: str, most: int, k: int) -> Planner:
    """The plan of labelled data."""
    classes, n = Classes(dataset.codes, dataset.classes), len(dataset)
    if supervision == "labels":
        return _p_by_k(classes, min(most, n), k)
    if supervision == "pairs":
        half = max(1, min(most, n) // 2)
        return lambda rng: balanced_pairs(classes, n // (2 * half), 2 * half, rng)
    anchors = int((~classes.alone).sum())
    if supervision == "triplets":
        size = min(most, anchors)
        return lambda rng: random_triplets(classes, anchors // size, size, rng)
    several = int((classes.sizes > 1).sum())
    if most < 2 or several < 2:
        raise DataError(
            f"views need 2 classes with 2 items in a batch of 2 at least, got {several} and batch_size {most}"
        )
    size = min(most, anchors // 2)
    p = min(size, several)
    repeats = size // p
    batches = anchors // (2 * p * repeats)
    return lambda rng: class_views(classes, batches, p, repeats, rng)


def _p_by_k(classes: Classes, size: int, k: int) -> Planner:
    if classes.alone.any():
        name = classes.names[np.argmin(classes.sizes)]
        raise DataError(
            f"class {str(name)!r} has a single item; a class needs at least 2 items for balanced batches"
        )
    if size < 4:
        raise DataError(f"balanced batches need room for 2 classes with 2 items each, got batch_size {size}")
    p = min(max(size // k, 2), len(classes.names))
    k = size // p
    batches = max(1, len(classes.codes) // (p * k))

    def plan(rng: np.random.Generator) -> Plan:
        rows = balanced(classes, batches, p, k, rng).reshape(batches, p * k, 1)
        return Plan(rows, classes.codes[rows[..., 0]])

    return plan


def _native(dataset: Dataset, supervision: str, most: int, drop_last: bool) -> Planner:
    """The plan of data that come as the loss wants them."""
    n, views = len(dataset), len(dataset.views)
    size = min(most, n)
    target: Array | None = dataset.target
    if target is not None:
        target = target.astype(np.float32 if supervision == "scores" else np.int32)
    if supervision == "views" or drop_last:
        return lambda rng: dropped(target, n, views, size, rng)
    return lambda rng: padded(target, n, views, size, rng)


def _check(dataset: Dataset, supervision: str, **numbers: int) -> None:
    if supervision not in SUPERVISIONS:
        raise DataError(f"no supervision {supervision!r}; {nearest(supervision, SUPERVISIONS)}")
    fitting = FEEDS[dataset.supervision]
    if supervision not in fitting:
        raise DataError(
            f"data of {dataset.supervision} cannot feed a loss that learns from {supervision}; "
            f"choose a loss that learns from {' or '.join(fitting)}"
        )
    least = {"batch_size": 1, "seed": 0, "items_per_class": 2}
    for name, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least[name]:
            raise DataError(f"{name} should be a whole number from {least[name]}, got {value!r}")


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


Planner = Callable[[np.random.Generator], Plan]
"""From an epoch's random generator to its plan."""


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
