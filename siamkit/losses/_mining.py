"""Mining: selects the pairs and triplets of a batch that a loss compares, as dense weights of fixed shape."""

from __future__ import annotations

from typing import Any

from keras import ops

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
        if self.mining == "all":
            positive, negative = _as_float(pairs.positive), _as_float(pairs.negative)
        else:
            positive, negative = mined_pairs(self.mining, ops.stop_gradient(self.distances(pairs)), pairs)
        return self.compare_mined(pairs, positive, negative)

    def compare_mined(self, pairs: Pairs, positive: Tensor, negative: Tensor) -> Tensor:
        """Return the loss over pairs of these weights, each `(n, m)` float32, 0 for a pair left out."""
        raise NotImplementedError


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
        triplets = mined_triplets(mining, distances, pairs)
        return ops.sum(triplets, axis=2), ops.sum(triplets, axis=1)
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


def mined_triplets(mining: str, distances: Tensor, pairs: Pairs) -> Tensor:
    """Return weights `(n, m, m)` of the triplets of anchor, positive, negative; arguments as above."""
    if mining == "semihard":
        both = ops.logical_and(pairs.positive[:, :, None], pairs.negative[:, None, :])
        return _as_float(_without(both, distances[:, None, :] <= distances[:, :, None]))
    if mining == "distance_weighted":
        return _as_float(pairs.positive)[:, :, None] * distance_weights(pairs)[:, None, :]
    positive, negative = mined_pairs(mining, distances, pairs)
    return positive[:, :, None] * negative[:, None, :]


def triplet_weights(mining: str, distances: Tensor, pairs: Pairs) -> tuple[Tensor, Tensor]:
    """Return the number of mined triplets with each positive and with each negative pair; each `(n, m)`."""
    weights = mined_pairs(mining, distances, pairs)
    return weights if mining in ("semihard", "distance_weighted") else _counts_in_triplets(*weights)


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
