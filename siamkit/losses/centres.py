"""Losses that draw each item to the proxy of its class, without a softmax."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from siamkit.losses.proxies import ProxyLoss
from siamkit.metrics.base import Tensor


@keras.saving.register_keras_serializable("siamkit")
class Center(ProxyLoss):
    """Center loss: half the distance of each item to the centre of its class.

    L = ½ d(x, c_y)

    d is the metric read as a distance (1 - s for cosine); with `squared_euclidean` it is the paper's loss,
    but for the mean over the batch in place of the sum (as in the authors' code). The centres are weights
    moved by the optimizer; the paper moves each of them a share α of the way to the mean of its items in
    the batch, (c + Σ x) / (1 + n), without the optimizer. They begin uniform within ±√(3 / dim), of length
    about 1, as in the authors' code. All on one point costs nothing: add it to a loss that spreads the
    classes, `{"weighted_sum": {"first": "normalized_softmax", "second": "center"}}` say.

    Args:
        num_classes: how many classes; labels run from 0 to num_classes - 1.
        learning_rate_multiplier: of the centres.

    Reference: Wen et al. 2016, "A Discriminative Feature Learning Approach for Deep Face Recognition".

    Example:
        >>> import keras, numpy as np, siamkit
        >>> loss = siamkit.get_loss("center", metric="cosine", num_classes=2)
        >>> float(keras.ops.convert_to_numpy(loss(np.array([0, 1]), np.zeros((2, 4)))))      # d = 1 - 0
        0.5
    """

    def __init__(self, num_classes: int, learning_rate_multiplier: float = 100.0, **kwargs: Any) -> None:
        super().__init__(num_classes, learning_rate_multiplier, start="xavier", **kwargs)

    def against(self, labels: Tensor, embeddings: Tensor, proxies: Tensor) -> Tensor:
        # One row each, in place of the matrix of all items with all centres.
        centres = ops.take(proxies, ops.clip(labels, 0, self.head.num_classes - 1), axis=0)
        return self.row_distances(embeddings, centres) / 2.0


@keras.saving.register_keras_serializable("siamkit")
class P2SGrad(ProxyLoss):
    """P2SGrad: squared errors of the cosines, 1 wanted with the own class's proxy and 0 with all others.

    L = mean over j of (cos θⱼ - [j = y])²

    cos θⱼ is the metric, a similarity in [-1, 1]; there is nothing to tune. The paper gives gradients
    alone, and these are theirs up to a factor. The reference scales its proxies to unit length before
    each step and takes their gradient as if this were not so; here, as in the paper, the gradient is at
    right angles to the proxy, and its length is left alone. The proxies begin with coordinates uniform
    in [-1, 1], scaled to unit length.

    Args:
        num_classes: how many classes; labels run from 0 to num_classes - 1.
        learning_rate_multiplier: of the proxies.

    Reference: Zhang et al. 2019, "P2SGrad: Refined Gradients for Optimizing Deep Face Models"; PML
    P2SGradLoss.

    Example:
        >>> import keras, numpy as np, siamkit
        >>> loss = siamkit.get_loss("p2s_grad", metric="cosine", num_classes=2)
        >>> float(keras.ops.convert_to_numpy(loss(np.array([0, 1]), np.zeros((2, 4)))))  # (1² + 0²) / 2
        0.5
    """

    def __init__(self, num_classes: int, learning_rate_multiplier: float = 100.0, **kwargs: Any) -> None:
        super().__init__(num_classes, learning_rate_multiplier, start="sphere", **kwargs)

    def against(self, labels: Tensor, embeddings: Tensor, proxies: Tensor) -> Tensor:
        wanted = ops.cast(self.own(labels), "float32")
        return ops.mean(ops.square(self.all_similarities(embeddings, proxies) - wanted), axis=1)
