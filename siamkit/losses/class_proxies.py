"""Losses that classify by class proxies: by a softmax without an angular margin, or by a distance."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from siamkit.losses._inputs import above_0, whole
from siamkit.losses.proxies import ProxyLoss
from siamkit.metrics.base import Tensor
from siamkit.metrics.functions import unit


class ClassSoftmax(ProxyLoss):
    """Cross entropy of each item's class among all; a subclass implements `logits`."""

    def against(self, labels: Tensor, embeddings: Tensor, proxies: Tensor) -> Tensor:
        own = self.own(labels)
        logits = self.logits(embeddings, proxies, own)
        target = ops.sum(ops.where(own, logits, 0.0), axis=1, keepdims=True)
        # log Σ e^(l - l_own), not log Σ e^l less l_own: of two large numbers little would be left.
        return ops.logsumexp(logits - target, axis=1)

    def logits(self, embeddings: Tensor, proxies: Tensor, own: Tensor) -> Tensor:
        """`(batch, num_classes)`.

        Args:
            embeddings: `(batch, dim)`.
            proxies: `(num_classes · per_class, dim)`.
            own: `(batch, num_classes)` bool, each item's class.
        """
        raise NotImplementedError


@keras.saving.register_keras_serializable("siamkit")
class NormalizedSoftmax(ClassSoftmax):
    """Softmax over the classes, whose proxies are scaled to unit length.

    L = -log( e^{s(x, p_y)/t} / Σⱼ e^{s(x, pⱼ)/t} )

    s is the metric turned so that high means alike (the similarity itself, or minus the distance), and
    pⱼ has unit length; embeddings are compared as they are. The paper also normalises them by layers,
    without learned scale: the encoder's affair. The proxies begin standard normal.

    Args:
        num_classes: how many classes; labels run from 0 to num_classes - 1.
        temperature: t, above 0.
        learning_rate_multiplier: of the proxies.

    Reference: Zhai, Wu 2019, "Classification is a Strong Baseline for Deep Metric Learning"; PML
    NormalizedSoftmaxLoss.

    Example:
        >>> import keras, numpy as np, siamkit
        >>> loss = siamkit.get_loss("normalized_softmax", metric="cosine", num_classes=2, temperature=1.0)
        >>> value = loss(np.array([0, 1]), np.zeros((2, 4)))        # no direction: both classes alike
        >>> round(float(keras.ops.convert_to_numpy(value)), 4)      # log 2
        0.6931
    """

    def __init__(
        self,
        num_classes: int,
        temperature: float = 0.05,
        learning_rate_multiplier: float = 100.0,
        **kwargs: Any,
    ) -> None:
        above_0(temperature=temperature)
        super().__init__(num_classes, learning_rate_multiplier, **kwargs)
        self.temperature = temperature

    def logits(self, embeddings: Tensor, proxies: Tensor, own: Tensor) -> Tensor:
        return self.all_similarities(embeddings, unit(proxies)) / self.temperature

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "temperature": self.temperature}


@keras.saving.register_keras_serializable("siamkit")
class ProxyNCA(ClassSoftmax):
    """Neighbourhood components analysis with a proxy for each class, scaled to unit length.

    L = -log( e^{σ s(x, p_y)} / Σⱼ e^{σ s(x, pⱼ)} )

    s is the metric turned so that high means alike; the paper's is minus the squared Euclidean distance
    of unit vectors. Only the proxies are scaled: give it an encoder that normalises. As in PML, and other
    than in the paper, the item's own class is in the denominator, so that the loss is at least 0. PML
    leaves out items whose probability underflows to 0; here they count, with their gradient. The proxies
    begin standard normal.

    Args:
        num_classes: how many classes; labels run from 0 to num_classes - 1.
        softmax_scale: σ, above 0.
        learning_rate_multiplier: of the proxies.

    Reference: Movshovitz-Attias et al. 2017, "No Fuss Distance Metric Learning using Proxies"; PML
    ProxyNCALoss.

    Example:
        >>> import keras, numpy as np, siamkit
        >>> loss = siamkit.get_loss("proxy_nca", metric="squared_euclidean", num_classes=2)
        >>> value = loss(np.array([0, 1]), np.zeros((2, 4)))        # as far from the one as from the other
        >>> round(float(keras.ops.convert_to_numpy(value)), 4)      # log 2
        0.6931
    """

    def __init__(
        self,
        num_classes: int,
        softmax_scale: float = 1.0,
        learning_rate_multiplier: float = 100.0,
        **kwargs: Any,
    ) -> None:
        above_0(softmax_scale=softmax_scale)
        super().__init__(num_classes, learning_rate_multiplier, **kwargs)
        self.softmax_scale = softmax_scale

    def logits(self, embeddings: Tensor, proxies: Tensor, own: Tensor) -> Tensor:
        return self.softmax_scale * self.all_similarities(embeddings, unit(proxies))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "softmax_scale": self.softmax_scale}


@keras.saving.register_keras_serializable("siamkit")
class SoftTriple(ClassSoftmax):
    """SoftTriple loss: a softmax over classes that have several centres each, the nearest counting most.

    L = -log( e^{λ (S_y - δ)} / (e^{λ (S_y - δ)} + Σ_{j≠y} e^{λ Sⱼ}) ),
    Sⱼ = Σₖ qⱼₖ s(x, cⱼₖ),  qⱼ = softmax over k of s(x, cⱼₖ) / γ

    s is the metric turned so that high means alike; cosine in the paper. As in PML without the paper's
    penalty on distances between the centres of a class. The centres begin uniform within
    ±1 / √(num_classes · centers_per_class).

    Args:
        num_classes: how many classes; labels run from 0 to num_classes - 1.
        centers_per_class: centres of a class.
        la: λ, above 0.
        gamma: γ, above 0.
        margin: δ.
        learning_rate_multiplier: of the centres.

    Reference: Qian et al. 2019, "SoftTriple Loss: Deep Metric Learning Without Triplet Sampling"; PML
    SoftTripleLoss.

    Example:
        >>> import keras, numpy as np, siamkit
        >>> loss = siamkit.get_loss("soft_triple", metric="cosine", num_classes=2, margin=0.0)
        >>> value = loss(np.array([0, 1]), np.zeros((2, 4)))        # no direction: both classes alike
        >>> round(float(keras.ops.convert_to_numpy(value)), 4)      # log 2
        0.6931
    """

    def __init__(
        self,
        num_classes: int,
        centers_per_class: int = 10,
        la: float = 20.0,
        gamma: float = 0.1,
        margin: float = 0.01,
        learning_rate_multiplier: float = 100.0,
        **kwargs: Any,
    ) -> None:
        whole(centers_per_class=centers_per_class)
        above_0(la=la, gamma=gamma)
        super().__init__(num_classes, learning_rate_multiplier, int(centers_per_class), "uniform", **kwargs)
        self.la = la
        self.gamma = gamma
        self.margin = margin

    def logits(self, embeddings: Tensor, proxies: Tensor, own: Tensor) -> Tensor:
        shape = (-1, self.head.num_classes, self.head.per_class)
        each = ops.reshape(self.all_similarities(embeddings, proxies), shape)
        likeness = ops.sum(ops.softmax(each / self.gamma, axis=2) * each, axis=2)
        return self.la * (likeness - self.margin * ops.cast(own, "float32"))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "centers_per_class": self.head.per_class,
            "la": self.la,
            "gamma": self.gamma,
            "margin": self.margin,
        }


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
