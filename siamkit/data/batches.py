"""Feeds: datasets as batches for Keras, sampled for each supervision."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from siamkit.backend.beyond_keras import DeviceItems
from siamkit.data.augmentation import Recipe, Vary, augmenter
from siamkit.data.dataset import Array, Dataset, Leaf, take
from siamkit.data.preprocessing import Preprocessor
from siamkit.data.preprocessing.text import TextTokenizer
from siamkit.data.splits import rank_in_group
from siamkit.errors import DataError, nearest
from siamkit.registry.compatibility import FEEDS
from siamkit.registry.specs import SUPERVISIONS, Supervision

Rng = np.random.Generator


@dataclass(frozen=True, eq=False)
class EpochPlan:
    """The batches of one epoch.

    Args:
        rows: `(batches, batch, views)` indices of items.
        target: `(batches, batch)`, the `y` of each batch.
        weight: `(batches, batch)`, 0 where a row only fills up its batch; None if no batch is filled up.
    """

    rows: Array
    target: Array
    weight: Array | None = None


Planner = Callable[[Rng], EpochPlan]
"""A function that makes the plan of an epoch from the epoch's random generator."""


class Feed(keras.utils.PyDataset):  # type: ignore[misc, unused-ignore]
    """Batches `(x, y)` or `(x, y, sample_weight)` of one fixed shape, reshuffled in each epoch.

    Batch i of epoch e depends on the seed, e and i alone. Keras itself advances `epoch`, also once before the
    first epoch of a `fit`; so before a fit that continues at `initial_epoch=k`, set `epoch` to k, and
    training continues as if it had never stopped. Fit with `shuffle=False`: otherwise Keras also shuffles the
    order of the batches, with Python's global random generator.

    Args:
        leaves: the prepared views; one of them may serve several views of a batch. The arrays may be
            `siamkit.backend.beyond_keras.DeviceArray`s, whose batches are tensors.
        planner: function that makes the plan of an epoch.
        seed: random seed.
        vary: functions of prepared items and a random generator that change each view of each batch at
            random, in this order: augmentation, `Preprocessor.vary`.

    Attributes:
        epoch: the current epoch, from 0.
        batch_size: the number of rows in a batch.
    """

    def __init__(
        self, leaves: Sequence[Leaf], planner: Planner, seed: int, vary: Sequence[Vary] = ()
    ) -> None:
        super().__init__(workers=1, use_multiprocessing=False)
        self.epoch = 0
        self._leaves, self._planner, self._seed, self._vary = tuple(leaves), planner, seed, tuple(vary)
        self._planned: tuple[int, EpochPlan] | None = None
        self._batches, self.batch_size = self._plan().rows.shape[:2]

    def __len__(self) -> int:
        return int(self._batches)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        if not 0 <= index < len(self):
            raise IndexError(f"batch {index} of {len(self)}")
        plan = self._plan()
        rows = plan.rows[index]
        sources = self._leaves * (rows.shape[1] // len(self._leaves))
        views = tuple(take(leaf, rows[:, view]) for view, leaf in enumerate(sources))
        rng = np.random.default_rng((self._seed, self.epoch, index))
        for vary in self._vary:
            views = tuple(vary(view, rng) for view in views)
        x = views if len(views) > 1 else views[0]
        y = np.array(plan.target[index])
        return (x, y) if plan.weight is None else (x, y, plan.weight[index])

    def on_epoch_end(self) -> None:
        """Advance to the next epoch."""
        self.epoch += 1

    def _plan(self) -> EpochPlan:
        if self._planned is None or self._planned[0] != self.epoch:
            self._planned = self.epoch, self._planner(np.random.default_rng((self._seed, self.epoch)))
        return self._planned[1]


class Rounds(keras.utils.PyDataset):  # type: ignore[misc, unused-ignore]
    """The batches of a feed as one sequence, epoch after epoch, cut into rounds of one length.

    Keras takes a round for an epoch; set `epoch` before a fit that continues, as for `Feed`.

    Args:
        batches: the feed.
        length: the number of batches in a round.

    Attributes:
        epoch: the current round, from 0.
    """

    def __init__(self, batches: Feed, length: int) -> None:
        super().__init__(workers=1, use_multiprocessing=False)
        self.epoch = 0
        self._batches, self._length = batches, length

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        if not 0 <= index < len(self):
            raise IndexError(f"batch {index} of {len(self)}")
        self._batches.epoch, position = divmod(self.epoch * self._length + index, len(self._batches))
        return self._batches[position]

    def on_epoch_end(self) -> None:
        """Advance to the next round."""
        self.epoch += 1


def feed(
    dataset: Dataset,
    supervision: Supervision,
    *,
    batch_size: int,
    seed: int,
    preprocessor: Preprocessor | None = None,
    preprocessed: bool = False,
    items_per_class: int = 4,
    drop_last: bool = False,
    augment: Recipe = None,
    on_device: bool | DeviceItems = False,
) -> Feed:
    """Return the batches of a dataset for a loss of this supervision.

    `y` is int32 class codes (labels), int32 1 and 0 (pairs), float32 scores, or int32 zeros (triplets,
    views). Labelled data are sampled: balanced batches of P classes with K items each, pairs half of which
    are alike, triplets, or two views of one class (the rows of a batch have different classes if there are
    enough). Items without labels make two views each, which augmentation changes. Pairs, scores and triplets
    are used as they are, each once per epoch, and the last batch is filled up with rows of `sample_weight` 0;
    views that do not fill a batch are left out. A dataset smaller
    than one batch makes smaller batches.

    Args:
        dataset: the training items.
        supervision: the supervision that the loss learns from.
        batch_size: the maximum number of rows in a batch; P x K, or the number of pairs (which is even), may
            be slightly smaller.
        seed: random seed.
        preprocessor: preprocessor of the views, applied once, or a function of a view; a preprocessor also
            varies the items of each batch. None if the views already fit the encoder.
        preprocessed: whether the preprocessor has prepared the views already, so that it only varies them.
        items_per_class: K, the number of items per class; larger if there are too few classes to fill a
            batch.
        drop_last: whether to leave out the pairs, scores or triplets that do not fill a batch instead of
            filling it up; for a loss that compares the rows of a batch with one another
            (`Loss.batch_coupled`).
        augment: how each view of each batch is augmented, as for `siamkit.data.augmenter`: a preset (`light`,
            `strong`), the name of an augmentation, or `{name: parameters, …}`; None or `none` for not at all.
        on_device: whether to copy the items to the memory of an accelerator, if they take at most a tenth of
            what is free, and gather batches there: `x` is then made of tensors. Items stay on the host on
            TensorFlow, if batches change them at random, if they are token ids, and if values are not float32
            (in records also int32) or not finite. A `DeviceItems` keeps them for the next feed of the same
            items.

    Raises:
        DataError: if the data cannot feed this supervision, or the augmentation is not for their kind of
            input.
    """
    _check(dataset, supervision, batch_size=batch_size, seed=seed, items_per_class=items_per_class)
    prepare = preprocessor if preprocessor is not None and not preprocessed else None
    leaves = [prepare(view) if prepare is not None else view for view in dataset.views]
    if preprocessor is None and dataset.input in ("text", "tabular"):
        what = "texts" if dataset.input == "text" else "columns of a table"
        raise DataError(f"{what} need a preprocessor, got None")
    if dataset.supervision == "labels":
        planner = _sampled(dataset, supervision, batch_size, items_per_class)
    else:
        planner = _unsampled(dataset, supervision, batch_size, drop_last)
    kind = "text" if isinstance(preprocessor, TextTokenizer) else dataset.input
    augmentation = augmenter(augment, kind, preprocessor if isinstance(preprocessor, Preprocessor) else None)
    if augmentation is not None and not all(map(_is_prepared, leaves)):
        raise DataError(
            "augmentation needs prepared items, in float32 or int32; give the feed a preprocessor"
        )
    varying = [vary for vary in (augmentation, _vary_of(preprocessor)) if vary is not None]
    if dataset.is_unlabelled and not varying:
        raise DataError(
            "two equal views of an item teach nothing; items without labels need augmentation, for example "
            "augment='strong'"
        )
    if on_device and not varying:
        leaves = _on_device(leaves, on_device if isinstance(on_device, DeviceItems) else DeviceItems())
    return Feed(leaves, planner, seed, varying)


def _vary_of(preprocessor: object) -> Vary | None:
    """Return the `vary` of a preprocessor; None if it has none, or that which changes nothing."""
    vary: Vary | None = getattr(preprocessor, "vary", None)
    return None if getattr(vary, "__func__", None) is Preprocessor.vary else vary


def _on_device(leaves: list[Leaf], items: DeviceItems) -> list[Leaf]:
    """Return the views in the device's memory if they can be there; token ids are checked on the host."""
    if not all(_is_prepared(leaf) and (isinstance(leaf, dict) or leaf.dtype != np.int32) for leaf in leaves):
        return leaves
    copies = items.copies(keras.tree.flatten(leaves))
    return leaves if copies is None else keras.tree.pack_sequence_as(leaves, copies)


def _is_prepared(leaf: Leaf) -> bool:
    """Return whether a view can be augmented: its numbers are float32, its codes and token ids int32."""
    arrays = leaf.values() if isinstance(leaf, dict) else [leaf]
    return all(values.dtype in (np.float32, np.int32) for values in arrays)


def _check(dataset: Dataset, supervision: str, **numbers: int) -> None:
    if supervision not in SUPERVISIONS:
        raise DataError(f"unknown supervision {supervision!r}; {nearest(supervision, SUPERVISIONS)}")
    fitting = FEEDS[dataset.supervision]
    if supervision not in fitting:
        raise DataError(
            f"data of {dataset.supervision} cannot feed a loss that learns from {supervision}; "
            f"choose a loss that learns from {' or '.join(fitting)}"
        )
    minimum = {"batch_size": 1, "seed": 0, "items_per_class": 2}
    for name, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < minimum[name]:
            raise DataError(f"{name} should be a whole number from {minimum[name]}, got {value!r}")


# ------------------------------------------------------------------ planners


def _sampled(dataset: Dataset, supervision: str, batch_size: int, k: int) -> Planner:
    """Return the planner for labelled data."""
    classes, n = ClassIndex(dataset.codes, dataset.classes), len(dataset)
    if supervision == "labels":
        return _p_by_k(classes, min(batch_size, n), k)
    if supervision == "pairs":
        half = max(1, min(batch_size, n) // 2)
        return lambda rng: balanced_pairs(classes, n // (2 * half), 2 * half, rng)
    anchors = int((~classes.alone).sum())
    if supervision == "triplets":
        size = min(batch_size, anchors)
        return lambda rng: random_triplets(classes, anchors // size, size, rng)
    usable = int((classes.sizes > 1).sum())
    if batch_size < 2 or usable < 2:
        raise DataError(
            "views need 2 classes with 2 items each and batches of at least 2, got "
            f"{usable} such classes and batch_size {batch_size}"
        )
    size = min(batch_size, anchors // 2)
    p = min(size, usable)
    repeats = size // p
    batches = anchors // (2 * p * repeats)
    return lambda rng: class_views(classes, batches, p, repeats, rng)


def _p_by_k(classes: ClassIndex, size: int, k: int) -> Planner:
    if classes.alone.any():
        name = classes.names[np.argmin(classes.sizes)]
        raise DataError(
            f"class {str(name)!r} has a single item; a class needs at least 2 items for balanced batches. "
            "Give it another item, or leave such classes out: in a study by data: {min_items_per_class: 2}"
        )
    if size < 4:
        raise DataError(f"balanced batches need room for 2 classes with 2 items each, got batch_size {size}")
    p = min(max(size // k, 2), len(classes.names))
    k = size // p
    batches = max(1, len(classes.codes) // (p * k))

    def planner(rng: Rng) -> EpochPlan:
        rows = balanced(classes, batches, p, k, rng).reshape(batches, p * k, 1)
        return EpochPlan(rows, classes.codes[rows[..., 0]])

    return planner


def _unsampled(dataset: Dataset, supervision: str, batch_size: int, drop_last: bool) -> Planner:
    """Return the planner for data that already have the loss's supervision."""
    n, views = len(dataset), 2 if dataset.is_unlabelled else len(dataset.views)
    size = min(batch_size, n)
    target: Array | None = dataset.target
    if target is not None:
        target = target.astype(np.float32 if supervision == "scores" else np.int32)
    if supervision == "views" or drop_last:
        return lambda rng: dropped(target, n, views, size, rng)
    return lambda rng: padded(target, n, views, size, rng)


# ------------------------------------------------------------------ sampling


class ClassIndex:
    """Items by class, for sampling.

    Args:
        codes: `(n,)` the class of each item.
        names: `(classes,)` the classes.

    Raises:
        DataError: if there is only one class, or no class with two items.
    """

    def __init__(self, codes: Array, names: Array) -> None:
        self.codes, self.names = codes, names
        self.sizes = np.bincount(codes, minlength=len(names))
        self.starts = np.cumsum(self.sizes) - self.sizes
        self.order = np.argsort(codes, kind="stable")
        self.position = np.empty_like(self.order)
        self.position[self.order] = np.arange(len(codes))
        if len(names) < 2:
            raise DataError(f"batches need items of at least 2 classes, got only class {str(names[0])!r}")
        self.alone = self.sizes[codes] < 2
        if self.alone.all():
            raise DataError("batches need a class with at least 2 items, every class has a single one")

    def same_class(self, anchors: Array, rng: Rng) -> Array:
        """Return for each anchor another item of its class, drawn uniformly; the class must have two."""
        codes = self.codes[anchors]
        steps = rng.integers(1, self.sizes[codes])
        start = self.starts[codes]
        return self.order[start + (self.position[anchors] - start + steps) % self.sizes[codes]]

    def other_class(self, anchors: Array, rng: Rng) -> Array:
        """Return for each anchor an item of another class, drawn uniformly from all such items."""
        codes = self.codes[anchors]
        drawn = rng.integers(0, len(self.codes) - self.sizes[codes])
        # Step over the anchor's own class.
        return self.order[drawn + np.where(drawn >= self.starts[codes], self.sizes[codes], 0)]


def balanced(classes: ClassIndex, batches: int, p: int, k: int, rng: Rng, minimum_size: int = 1) -> Array:
    """Return batches of k items from each of p classes, as items `(batches, p, k)`.

    Classes come in shuffled rounds, p different ones per batch; the items of a class come in a shuffled
    circle, so that the k items are different if the class has k.

    Args:
        classes: the items.
        batches, p, k: number of batches, of classes per batch and of items per class; p is at most the number
            of classes to draw from.
        rng: random generator.
        minimum_size: minimum number of items of the classes to draw from.
    """
    slots = _rounds(np.flatnonzero(classes.sizes >= minimum_size), batches, p, rng)
    shuffled = np.lexsort((rng.random(len(classes.codes)), classes.codes))
    first = rank_in_group(slots) * k
    circle = (first[:, None] + np.arange(k)) % classes.sizes[slots][:, None]
    return shuffled[classes.starts[slots][:, None] + circle].reshape(batches, p, k)


def _rounds(members: Array, batches: int, p: int, rng: Rng) -> Array:
    """Return `(batches * p,)` members in shuffled rounds, such that each batch of p has p different ones."""
    drawn: list[Array] = []
    filled = 0
    while filled < batches * p:
        turn = rng.permutation(members)
        if filled % p:
            # This round completes the last batch of the previous one: members already in it come last.
            repeated = np.isin(turn, drawn[-1][-(filled % p) :])
            turn = np.concatenate([turn[~repeated], turn[repeated]])
        drawn.append(turn)
        filled += len(turn)
    return np.concatenate(drawn)[: batches * p]


def balanced_pairs(classes: ClassIndex, batches: int, size: int, rng: Rng) -> EpochPlan:
    """Return pairs, half of each batch alike and half not; every item in turn is the anchor of one pair."""
    half = size // 2
    anchors = rng.permutation(len(classes.codes))[: batches * size].reshape(batches, size)
    # An item alone in its class has no item like it: move it to the half that is not alike.
    alone_last = np.argsort(classes.alone[anchors], axis=1, kind="stable")
    anchors = np.take_along_axis(anchors, alone_last, axis=1)
    unusable = np.zeros(anchors.shape, dtype=bool)
    unusable[:, :half] = classes.alone[anchors[:, :half]]
    anchors[unusable] = rng.choice(np.flatnonzero(~classes.alone), unusable.sum())
    partners = np.concatenate(
        [classes.same_class(anchors[:, :half], rng), classes.other_class(anchors[:, half:], rng)], axis=1
    )
    target = np.broadcast_to(np.repeat(np.array([1, 0], dtype=np.int32), half), anchors.shape)
    return EpochPlan(np.stack([anchors, partners], axis=2), target)


def random_triplets(classes: ClassIndex, batches: int, size: int, rng: Rng) -> EpochPlan:
    """Return triplets; each item not alone in its class is an anchor in turn, the rest is drawn uniformly."""
    anchors = rng.permutation(np.flatnonzero(~classes.alone))[: batches * size].reshape(batches, size)
    rows = np.stack([anchors, classes.same_class(anchors, rng), classes.other_class(anchors, rng)], axis=2)
    return EpochPlan(rows, _zeros(anchors))


def class_views(classes: ClassIndex, batches: int, p: int, repeats: int, rng: Rng) -> EpochPlan:
    """Return two items of one class as two views: `repeats` such pairs from each of p classes per batch."""
    rows = balanced(classes, batches, p, 2 * repeats, rng, minimum_size=2)
    rows = rows.reshape(batches, p * repeats, 2)
    return EpochPlan(rows, _zeros(rows[..., 0]))


def padded(target: Array | None, n: int, views: int, size: int, rng: Rng) -> EpochPlan:
    """Return every item once, shuffled; the last batch is filled up with rows of weight 0."""
    batches = -(-n // size)
    rows = np.resize(rng.permutation(n), (batches, size))
    weight = (np.arange(batches * size) < n).astype(np.float32).reshape(batches, size)
    return EpochPlan(_per_view(rows, views), _zeros(rows) if target is None else target[rows], weight)


def dropped(target: Array | None, n: int, views: int, size: int, rng: Rng) -> EpochPlan:
    """Return the items shuffled, each at most once; those that do not fill a batch are left out."""
    batches = n // size
    rows = rng.permutation(n)[: batches * size].reshape(batches, size)
    return EpochPlan(_per_view(rows, views), _zeros(rows) if target is None else target[rows])


def _per_view(rows: Array, views: int) -> Array:
    return np.repeat(rows[..., None], views, axis=2)


def _zeros(rows: Array) -> Array:
    return np.zeros(rows.shape, dtype=np.int32)
