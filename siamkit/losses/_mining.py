"""Mining: which pairs and triplets of a batch a loss looks at, as dense weights of fixed shape."""

from __future__ import annotations

from typing import Any

from keras import ops

from siamkit.errors import ComponentError
from siamkit.losses._batch import BatchLoss, Pairs, positions
from siamkit.metrics.base import Tensor
from siamkit.metrics.functions import safe_sqrt, squared_distances, unit

MINING = ("all", "hard", "semihard", "easy_positive", "distance_weighted", "multi_similarity")
"""What `mining` may be.

- `all`: every pair.
- `hard`: for each anchor its farthest positive and its nearest negative (Hermans et al. 2017).
- `semihard`: triplets whose negative is farther than the positive (Schroff et al. 2015).
- `easy_positive`: for each anchor its nearest positive and the nearest negative beyond it (Xuan et al. 2020).
- `distance_weighted`: every positive, with negatives weighted by 1 / q(d), q being the density of the
  distances of points spread evenly over the unit sphere (Wu et al. 2017). The paper draws one negative by
  these weights; here all take part by their weights, which is what the draws come to on average.
- `multi_similarity`: positives farther than the nearest negative and negatives nearer than the farthest
  positive, both by a tolerance of 0.1 (Wang et al. 2019).
"""

EPSILON = 0.1  # of multi_similarity
CUTOFF, BEYOND = 0.5, 1.4  # of distance_weighted: nearer ones count as this near, farther ones not at all
FAR = 3e38


class PairLoss(BatchLoss):
    """A loss over the mined pairs of a batch; a subclass implements `of_pairs`.

    A pair that is part of k mined triplets has the weight k.
    """

    def __init__(self, mining: str = "all", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mining = checked(mining)

    def compare(self, pairs: Pairs) -> Tensor:
        if self.mining == "all":
            positive, negative = _numbers(pairs.positive), _numbers(pairs.negative)
        else:
            positive, negative = mined_pairs(self.mining, ops.stop_gradient(self.distances(pairs)), pairs)
        return self.of_pairs(pairs, positive, negative)

    def of_pairs(self, pairs: Pairs, positive: Tensor, negative: Tensor) -> Tensor:
        """The loss over pairs of these weights, each `(n, m)` float32, 0 for a pair left out."""
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "mining": self.mining}


def checked(mining: str) -> str:
    """The kind of mining, if there is one of this name."""
    if mining not in MINING:
        raise ComponentError(f"mining should be one of {', '.join(MINING)}, got {mining!r}")
    return mining


def one_each(mining: str) -> bool:
    """Whether at most one positive and one negative an anchor are mined."""
    return mining in ("hard", "easy_positive")


def mined_pairs(mining: str, distances: Tensor, pairs: Pairs) -> tuple[Tensor, Tensor]:
    """Weights `(n, m)` of the positive and of the negative pairs; all weights 0 where nothing is mined.

    Args:
        mining: one of `MINING`.
        distances: `(n, m)`, low = alike.
        pairs: what may be mined.
    """
    positive, negative = pairs.positive, pairs.negative
    if mining == "semihard":
        triplets = mined_triplets(mining, distances, pairs)
        return ops.sum(triplets, axis=2), ops.sum(triplets, axis=1)
    if mining == "hard":
        return _where_both(_extreme(-distances, positive), _extreme(distances, negative))
    if mining == "easy_positive":
        nearest = _extreme(distances, positive)
        within = distances <= ops.sum(nearest * distances, axis=1, keepdims=True)
        return _where_both(nearest, _extreme(distances, _but(negative, within)))
    if mining == "multi_similarity":
        nearest = ops.min(ops.where(negative, distances, FAR), axis=1, keepdims=True)
        farthest = ops.max(ops.where(positive, distances, -FAR), axis=1, keepdims=True)
        return (
            _numbers(_but(positive, distances + EPSILON <= nearest)),
            _numbers(_but(negative, distances - EPSILON >= farthest)),
        )
    if mining == "distance_weighted":
        return _marginals(_numbers(positive), distance_weights(pairs))
    return _numbers(positive), _numbers(negative)


def mined_triplets(mining: str, distances: Tensor, pairs: Pairs) -> Tensor:
    """Weights `(n, m, m)` of the triplets of an anchor, a positive and a negative; arguments as above."""
    if mining == "semihard":
        both = ops.logical_and(pairs.positive[:, :, None], pairs.negative[:, None, :])
        return _numbers(_but(both, distances[:, None, :] <= distances[:, :, None]))
    if mining == "distance_weighted":
        return _numbers(pairs.positive)[:, :, None] * distance_weights(pairs)[:, None, :]
    positive, negative = mined_pairs(mining, distances, pairs)
    return positive[:, :, None] * negative[:, None, :]


def triplet_weights(mining: str, distances: Tensor, pairs: Pairs) -> tuple[Tensor, Tensor]:
    """In how many mined triplets each positive and each negative pair takes part; each `(n, m)`."""
    weights = mined_pairs(mining, distances, pairs)
    return weights if mining in ("semihard", "distance_weighted") else _marginals(*weights)


def distance_weights(pairs: Pairs) -> Tensor:
    """The share of each negative among an anchor's, `(n, m)`; rows sum to 1, or to 0 without any near enough.

    log q(d) = (dim - 2) log d + (dim - 3)/2 log(1 - d²/4), d between unit vectors.
    """
    squares = squared_distances(unit(pairs.queries), unit(pairs.references))
    distances = ops.maximum(safe_sqrt(squares), CUTOFF)
    dim = pairs.queries.shape[-1]
    near = _but(pairs.negative, distances >= BEYOND)
    inside = ops.where(near, distances, 1.0)
    logits = (2.0 - dim) * ops.log(inside) - (dim - 3.0) / 2.0 * ops.log(1.0 - ops.square(inside) / 4.0)
    top = ops.max(ops.where(near, logits, -FAR), axis=1, keepdims=True)
    shares = ops.where(near, ops.exp(ops.where(near, logits - top, 0.0)), 0.0)
    total = ops.sum(shares, axis=1, keepdims=True)
    return ops.stop_gradient(shares / ops.where(total > 0, total, 1.0))


def _marginals(positive: Tensor, negative: Tensor) -> tuple[Tensor, Tensor]:
    """Weights of pairs within the triplets made of every mined positive with every mined negative."""
    return (
        positive * ops.sum(negative, axis=1, keepdims=True),
        negative * ops.sum(positive, axis=1, keepdims=True),
    )


def _extreme(distances: Tensor, mask: Tensor) -> Tensor:
    """1 at the masked entry of each row that is nearest, 0 elsewhere; nothing but 0 in rows without any."""
    place = ops.argmin(ops.where(mask, distances, FAR), axis=1)
    columns = positions(distances[0]) - 1
    here = ops.cast(place, "int32")[:, None] == columns[None, :]
    return _numbers(ops.logical_and(here, mask))


def _where_both(positive: Tensor, negative: Tensor) -> tuple[Tensor, Tensor]:
    """One positive and one negative, of the rows only that have both."""
    both = ops.sum(positive, axis=1, keepdims=True) * ops.sum(negative, axis=1, keepdims=True)
    return positive * both, negative * both


def _but(mask: Tensor, out: Tensor) -> Tensor:
    """What is in the mask and not `out`; asked this way round, a NaN distance stays in and is noticed."""
    return ops.logical_and(mask, ops.logical_not(out))


def _numbers(mask: Tensor) -> Tensor:
    return ops.cast(mask, "float32")
