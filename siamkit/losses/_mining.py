"""Mining: selects the pairs and triplets of a batch that a loss compares; and sums over triplets.

All shapes are fixed, and nothing needs memory for `batch³` numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from keras import ops

from siamkit.backend.beyond_keras import is_readable, search_rows, sorts_slowly, value_and_gradients
from siamkit.errors import ComponentError
from siamkit.losses._batch import BatchLoss, Pairs, count_up
from siamkit.metrics.base import Tensor, safe_sqrt, squared_distances, unit

MINING = ("all", "hard", "semihard", "easy_positive", "distance_weighted", "multi_similarity")
"""The values of the parameter `mining`.

- `all`: every pair.
- `hard`: for each anchor its farthest positive and its nearest negative (Hermans et al. 2017).
- `semihard`: triplets whose negative is farther than the positive (Schroff et al. 2015).
- `easy_positive`: for each anchor its nearest positive and the nearest negative beyond it (Xuan et al. 2020).
- `distance_weighted`: every positive, with negatives weighted by 1 / q(d), q being the density of the
  distances of points spread evenly over the unit sphere (Wu et al. 2017). The paper draws one negative by
  these weights; here all negatives count by their weights, which gives the mean over such draws.
- `multi_similarity`: positives farther than the nearest negative and negatives nearer than the farthest
  positive, with a tolerance of 0.1 in either case (Wang et al. 2019).
"""

TOLERANCE = 0.1  # of multi_similarity
NEAREST, FARTHEST = (
    0.5,
    1.4,
)  # of distance_weighted: nearer negatives count as at 0.5, those beyond 1.4 not at all
LARGE = 3e38


class PairLoss(BatchLoss):
    """A loss over the mined pairs of a batch; a subclass implements `compare_mined`.

    A pair that is part of k mined triplets has the weight k.
    """

    def __init__(self, mining: str = "all", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mining = checked_mining(mining)

    def compare(self, pairs: Pairs) -> Tensor:
        return self.compare_mined(pairs, *self.mined(pairs))

    def mined(self, pairs: Pairs) -> tuple[Tensor, Tensor]:
        """Return the weights of the positive and of the negative pairs, each `(n, m)` float32."""
        if self.mining == "all":
            return _as_float(pairs.positive), _as_float(pairs.negative)
        return mined_pairs(self.mining, ops.stop_gradient(self.distances(pairs)), pairs)

    def compare_mined(self, pairs: Pairs, positive: Tensor, negative: Tensor) -> Tensor:
        """Return the loss over pairs of these weights, each `(n, m)` float32, 0 for a pair left out."""
        raise NotImplementedError


class TripletSumLoss(BatchLoss):
    """A loss that sums over the triplets of a batch; its `most_positives` decides how."""

    def size_of(self, y_true: Tensor | None) -> int | None:
        """Return the most positives of an item, rounded up to two binary digits, so that few numbers differ.

        None if they are not known, or too many to be compared one after the other.
        """
        if y_true is None or not is_readable(y_true):
            return None
        labels = ops.convert_to_numpy(y_true)
        most = int(np.unique(labels, return_counts=True)[1].max(initial=1)) - 1
        unit = 1 << max(0, most.bit_length() - 2)
        return _few(-(-most // unit) * unit, labels.size, labels.size)


def checked_mining(mining: str) -> str:
    """Return the name of the mining rule; raise ComponentError if it does not exist."""
    if mining not in MINING:
        raise ComponentError(f"mining should be one of {', '.join(MINING)}, got {mining!r}")
    return mining


def mines_one_triplet(mining: str) -> bool:
    """Return whether at most one positive and one negative per anchor are mined."""
    return mining in ("hard", "easy_positive")


def mined_pairs(mining: str, distances: Tensor, pairs: Pairs) -> tuple[Tensor, Tensor]:
    """Return weights `(n, m)` of the positive and of the negative pairs; all 0 if nothing is mined.

    Args:
        mining: the mining rule, one of `MINING`.
        distances: `(n, m)`.
        pairs: the pairs to choose from.
    """
    positive, negative = pairs.positive, pairs.negative
    if mining == "semihard":
        both = _counts_in_triplets(_as_float(positive), _as_float(negative))
        ranked = RankedPairs(distances, _as_float(positive), _as_float(negative))
        nearer = ranked.triplets(0.0, or_equal=True)
        return tuple(ops.where(ranked.unknown, b, b - n) for b, n in zip(both, nearer, strict=True))
    if mining == "hard":
        return _where_both(_nearest(-distances, positive), _nearest(distances, negative))
    if mining == "easy_positive":
        nearest = _nearest(distances, positive)
        within = distances <= ops.sum(nearest * distances, axis=1, keepdims=True)
        return _where_both(nearest, _nearest(distances, _without(negative, within)))
    if mining == "multi_similarity":
        nearest = ops.min(ops.where(negative, distances, LARGE), axis=1, keepdims=True)
        farthest = ops.max(ops.where(positive, distances, -LARGE), axis=1, keepdims=True)
        return (
            _as_float(_without(positive, distances + TOLERANCE <= nearest)),
            _as_float(_without(negative, distances - TOLERANCE >= farthest)),
        )
    if mining == "distance_weighted":
        return _counts_in_triplets(_as_float(positive), distance_weights(pairs))
    return _as_float(positive), _as_float(negative)


def mined_products(mining: str, distances: Tensor, pairs: Pairs) -> tuple[Tensor, Tensor]:
    """Return weights of positives and of negatives; their product is the weight of a triplet.

    With `semihard`, only triplets whose negative is farther than the positive count; arguments as above.
    """
    if mining == "semihard":
        return _as_float(pairs.positive), _as_float(pairs.negative)
    if mining == "distance_weighted":
        return _as_float(pairs.positive), distance_weights(pairs)
    return mined_pairs(mining, distances, pairs)


def triplet_weights(mining: str, distances: Tensor, pairs: Pairs) -> tuple[Tensor, Tensor]:
    """Return the number of mined triplets with each positive and with each negative pair; each `(n, m)`."""
    weights = mined_pairs(mining, distances, pairs)
    return weights if mining in ("semihard", "distance_weighted") else _counts_in_triplets(*weights)


class RankedPairs:
    """The pairs of each anchor in ascending order of their distance: counts triplets without listing them.

    Args:
        distances: `(n, m)`, without gradient.
        positive, negative: `(n, m)` float32, the weights of the pairs; a triplet has their product.
    """

    def __init__(self, distances: Tensor, positive: Tensor, negative: Tensor) -> None:
        self.unknown = ops.isnan(distances)  # has no place in the order
        distances = ops.where(self.unknown, float("inf"), distances)
        order = ops.argsort(distances, axis=1)
        self.distances, self.positive, self.negative = distances, positive, negative
        self.ascending = ops.take_along_axis(distances, order, axis=1)
        self.positives_before = _sums_before(ops.take_along_axis(positive, order, axis=1))
        self.negatives_before = _sums_before(ops.take_along_axis(negative, order, axis=1))

    def triplets(self, margin: float, or_equal: bool = False) -> tuple[Tensor, Tensor]:
        """Return the weight of the triplets with each positive and with each negative, both `(n, m)`.

        Args:
            margin: a triplet counts if its negative is nearer than its positive plus this margin.
            or_equal: whether a negative at exactly this distance counts.
        """
        # The positive's distance plus the margin is the number that both searches compare, so that rounding
        # cannot count a triplet for its positive only.
        below = search_rows(self.ascending, self.distances + margin, right=or_equal)
        above = search_rows(self.ascending + margin, self.distances, right=not or_equal)
        positives = self.positives_before[:, -1:] - ops.take_along_axis(self.positives_before, above, axis=1)
        return (
            self.positive * ops.take_along_axis(self.negatives_before, below, axis=1),
            self.negative * positives,
        )


def hinge_over_triplets(
    distances: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float,
    semihard: bool = False,
    most: int | None = None,
) -> Tensor:
    """Return the mean of d(a, p) - d(a, n) + margin over the triplets in which it is above 0; 0 without any.

    Blocks of positives are compared if an anchor has few of them; otherwise the pairs are sorted.

    Args:
        distances: `(n, m)`.
        positive, negative: `(n, m)` float32, the weights of the pairs; a triplet has their product.
        margin: the margin.
        semihard: whether only the triplets count whose negative is farther than the positive.
        most: no row has more positives; None if the host does not know it.
    """

    def by_blocks(distances: Tensor) -> tuple[Tensor, Tensor]:
        def term(weight: Tensor, near: Tensor, far: Tensor, _: None) -> tuple[Tensor, Tensor]:
            inactive = far >= near + margin  # false for NaN, which should reach the loss
            if semihard:
                inactive = ops.logical_or(inactive, far <= near)
            weight = ops.stop_gradient(ops.where(inactive, 0.0, weight * negative[:, None, :]))
            return ops.sum(ops.where(weight > 0, near - far + margin, 0.0) * weight), ops.sum(weight)

        return over_triplets(term, positive, distances, most=most)

    def by_rank(distances: Tensor) -> tuple[Tensor, Tensor]:
        return _ranked_hinge(distances, positive, negative, margin, semihard)

    columns = distances.shape[1]
    if _few(most, *distances.shape) is not None:
        total, count = by_blocks(distances)
    elif not sorts_slowly():
        total, count = by_rank(distances)
    elif columns is not None and columns <= FEW_POSITIVES:
        total, count = by_blocks(distances)
    else:
        frozen = ops.stop_gradient(distances)

        def with_slope(way: Callable[[Tensor], tuple[Tensor, Tensor]]) -> Callable[[], tuple[Tensor, ...]]:
            def of(distances: Tensor, unit: Tensor) -> Tensor:
                total, count = way(distances)
                return total + unit * ops.stop_gradient(count)  # so that its gradient is the count

            def run() -> tuple[Tensor, ...]:
                total, (slope, count) = value_and_gradients(of)(frozen, ops.zeros(()))
                return total, count, slope

            return run

        # The gradient is computed inside: TensorFlow cannot compile that of a loop in a condition.
        largest = ops.max(ops.sum(_as_float(positive > 0), axis=1))
        total, count, slope = ops.cond(largest <= FEW_POSITIVES, with_slope(by_blocks), with_slope(by_rank))
        moved = ops.where(ops.isfinite(frozen), distances - frozen, 0.0)
        total = total + ops.sum(ops.stop_gradient(slope) * moved)  # plus 0, with the gradient
    return total / ops.where(count > 0, count, 1.0)


def _ranked_hinge(
    distances: Tensor, positive: Tensor, negative: Tensor, margin: float, semihard: bool
) -> tuple[Tensor, Tensor]:
    """Return the sum over these triplets, and their number; arguments as above.

    The sum is linear in the distances once the triplets above 0 are counted for each pair.
    """
    frozen = ops.stop_gradient(distances)
    ranked = RankedPairs(frozen, positive, negative)
    pull, push = ranked.triplets(margin)
    if semihard:
        nearer = ranked.triplets(0.0, or_equal=True)
        pull, push = ops.relu(pull - nearer[0]), ops.relu(push - nearer[1])
    count = ops.sum(pull)
    slope = pull - push  # no pair is both
    # NaN should reach the loss; ∞ of a pair that does not count should not.
    unknown = ops.any(ops.logical_and(ranked.unknown, positive + negative > 0))
    total = ops.sum(slope * ops.where(ops.equal(slope, 0.0), 0.0, distances)) + margin * count
    return ops.where(unknown, float("nan"), total), count


FEW_POSITIVES = 64  # of an anchor: for more, XLA's sort on a CPU takes less time than their blocks
BLOCK = 2**18  # numbers that are computed at once; one column of positives at least
MOST_BLOCKS = 4  # of an anchor with few positives
RECORDED = 2**22  # numbers computed without a loop: to record them, torch needs up to 250 bytes for each


def over_triplets(
    term: Callable[..., tuple[Tensor, Tensor]],
    weight: Tensor,
    values: Tensor,
    among: Tensor | None = None,
    tally: Any = 0.0,
    most: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the sum of a term over triplets, and a tally without gradient, a block of positives at a time.

    As many blocks are computed as the anchor with most positives needs. The gradient is computed with each
    block, so that nothing is stored for it.

    Args:
        term: function of the positives' weight `(n, c, 1)`, the values of the positives `(n, c, 1)`, those of
            the anchor's pairs `(n, 1, m)`, and those among the references `(n, c, m)` or None; it returns the
            sum over these triplets, and its tally.
        weight: `(n, m)` float32, the weights of the positives, 0 for a pair that is none.
        values: `(n, m)`, the values of all pairs.
        among: `(m, m)`, the values among the references, if the term uses them.
        tally: zeros of the tally's shape.
        most: no row has more positives. A small number in a small batch needs no loop, which torch cannot
            record.
    """
    n, m = values.shape  # None where TensorFlow does not know it yet
    columns, few = _columns(n, m), _few(most, n, m)
    listed = few if few and few * n * m <= RECORDED else None
    if listed is None and m and columns >= m:
        between = None if among is None else among[None]
        return term(weight[:, :, None], values[:, :, None], values[:, None, :], between)

    def of_block(
        chosen: Tensor, weights: Tensor, values: Tensor, among: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        near = ops.take_along_axis(values, chosen, axis=1)[:, :, None]
        between = None if among is None else ops.take(among, chosen, axis=0)
        return term(weights[:, :, None], near, values[:, None, :], between)

    sources = (values,) if among is None else (values, among)
    frozen = tuple(ops.stop_gradient(source) for source in sources)
    start = (ops.convert_to_tensor(tally, "float32"), *frozen)

    def with_gradients(chosen: Tensor, weights: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the sum over a block, and the tally and its gradients."""

        def value(tally: Tensor, *sources: Tensor) -> Tensor:
            value, counted = of_block(chosen, weights, *sources)
            return value + ops.sum(tally * ops.stop_gradient(counted))  # so that its gradient is the tally

        total, gradients = value_and_gradients(value)(*start)
        return total, gradients

    total = ops.convert_to_tensor(0.0, "float32")
    sums = tuple(map(ops.zeros_like, start))
    if listed is not None:
        _, chosen = ops.top_k(weight, listed)
        weights = ops.take_along_axis(weight, chosen, axis=1)
        if listed <= columns:
            return of_block(chosen, weights, *sources)
        for first in range(0, listed, columns):
            block = slice(first, first + columns)
            value, gradients = with_gradients(chosen[:, block], weights[:, block])
            total, sums = total + value, tuple(s + g for s, g in zip(sums, gradients, strict=True))
    else:
        # The k-th positive of a row is the first column up to which k of them are counted.
        counted_up = ops.cumsum(ops.cast(weight > 0, "int32"), axis=1)
        of_row = counted_up[:, -1:]
        count = ops.max(of_row)
        last = ops.shape(values)[1] - 1

        def body(first: Tensor, total: Tensor, *sums: Tensor) -> tuple[Tensor, ...]:
            block = first + ops.arange(1, columns + 1, dtype="int32")[None, :] + ops.zeros_like(of_row)
            chosen = ops.minimum(ops.cast(search_rows(counted_up, block), "int32"), last)
            weights = ops.where(block <= of_row, ops.take_along_axis(weight, chosen, axis=1), 0.0)
            value, gradients = with_gradients(chosen, weights)
            return (first + columns, total + value, *(s + g for s, g in zip(sums, gradients, strict=True)))

        begin = ops.convert_to_tensor(0, "int32")
        _, total, *sums = ops.while_loop(lambda first, *_: first < count, body, (begin, total, *sums))
    counted, *slopes = sums
    # Plus 0, with the gradient.
    for source, known, slope in zip(sources, frozen, slopes, strict=True):
        moved = ops.where(ops.isfinite(known), source - known, 0.0)
        total = total + ops.sum(slope * moved)
    return total, counted


def _columns(n: int | None, m: int | None) -> int:
    """Return how many positives of each anchor are a block."""
    return max(1, BLOCK // (n * m)) if n and m else 1


def _few(most: int | None, n: int | None, m: int | None) -> int | None:
    """Return how many positives of each anchor are compared without a sort; None if many or unknown."""
    if most is None or m is None or most >= m or most > MOST_BLOCKS * _columns(n, m):
        return None
    return max(1, most)


def distance_weights(pairs: Pairs) -> Tensor:
    """Return the weight of each negative of an anchor, `(n, m)`; rows sum to 1, or 0 if all are too far.

    log q(d) = (dim - 2) log d + (dim - 3)/2 log(1 - d²/4), d between unit vectors.
    """
    squares = squared_distances(unit(pairs.queries), unit(pairs.references))
    distances = ops.maximum(safe_sqrt(squares), NEAREST)
    dim = pairs.queries.shape[-1]
    near = _without(pairs.negative, distances >= FARTHEST)
    inside = ops.where(near, distances, 1.0)
    logits = (2.0 - dim) * ops.log(inside) - (dim - 3.0) / 2.0 * ops.log(1.0 - ops.square(inside) / 4.0)
    top = ops.max(ops.where(near, logits, -LARGE), axis=1, keepdims=True)
    shares = ops.where(near, ops.exp(ops.where(near, logits - top, 0.0)), 0.0)
    total = ops.sum(shares, axis=1, keepdims=True)
    return ops.stop_gradient(shares / ops.where(total > 0, total, 1.0))


def _counts_in_triplets(positive: Tensor, negative: Tensor) -> tuple[Tensor, Tensor]:
    """Return the weights of pairs in the triplets of every mined positive with every mined negative."""
    return (
        positive * ops.sum(negative, axis=1, keepdims=True),
        negative * ops.sum(positive, axis=1, keepdims=True),
    )


def _sums_before(weights: Tensor) -> Tensor:
    """Return the sums of the first 0, 1, … weights of each row, `(n, m)` -> `(n, m + 1)`."""
    return ops.pad(ops.cumsum(weights, axis=1), ((0, 0), (1, 0)))


def _nearest(distances: Tensor, mask: Tensor) -> Tensor:
    """Return 1 at the nearest masked entry of each row, otherwise 0."""
    nearest = ops.cast(ops.argmin(ops.where(mask, distances, LARGE), axis=1), "int32")
    columns = count_up(distances[0]) - 1
    return _as_float(ops.logical_and(nearest[:, None] == columns[None, :], mask))


def _where_both(positive: Tensor, negative: Tensor) -> tuple[Tensor, Tensor]:
    """Return the weights of the rows that have both a positive and a negative."""
    both = ops.sum(positive, axis=1, keepdims=True) * ops.sum(negative, axis=1, keepdims=True)
    return positive * both, negative * both


def _without(mask: Tensor, out: Tensor) -> Tensor:
    """Return the mask without `out`; a comparison with NaN is false, so that NaN stays in."""
    return ops.logical_and(mask, ops.logical_not(out))


def _as_float(mask: Tensor) -> Tensor:
    return ops.cast(mask, "float32")
