"""Softmax losses over class proxies, without an angular margin."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from siamkit.losses._batch import check_count, check_positive
from siamkit.losses._proxies import ClassSoftmax
from siamkit.metrics.base import Tensor, unit


@keras.saving.register_keras_serializable("siamkit")
class NormalizedSoftmax(ClassSoftmax):
    """Softmax over the classes, whose proxies are scaled to unit length.

    L = -log( e^{s(x, p_y)/t} / Σⱼ e^{s(x, pⱼ)/t} )

    s is the metric read as a similarity (the similarity itself, or minus the distance), and pⱼ has unit
    length; embeddings are compared as they are. The paper also normalizes the embeddings by layers without a
    learned scale; here that is a task of the encoder. The initial proxies are standard normal.

    Args:
        num_classes: number of classes; labels run from 0 to num_classes - 1.
        temperature: t, above 0.
        learning_rate_multiplier: factor on the learning rate of the proxies.
        label_smoothing: ε, from 0 to below 1: the target of class j is (1 - ε)[j = y] + ε / num_classes.
        chunk_size: how many classes are compared with the batch at once, for the memory of these alone; None
            for all, or few enough if there are more than 8.4 million scores.

    Reference: Zhai, Wu 2019, "Classification is a Strong Baseline for Deep Metric Learning"; PML
    NormalizedSoftmaxLoss.

    Example:
        >>> import keras, numpy as np, siamkit
        >>> loss = siamkit.get_loss("normalized_softmax", metric="cosine", num_classes=2, temperature=1.0)
        >>> value = loss(np.array([0, 1]), np.zeros((2, 4)))        # no direction: both classes are equal
        >>> round(float(keras.ops.convert_to_numpy(value)), 4)      # log 2
        0.6931
    """

    params = ("num_classes", "temperature", "learning_rate_multiplier", "label_smoothing", "chunk_size")
    numbers = ("temperature",)

    def __init__(
        self,
        num_classes: int,
        temperature: float = 0.05,
        learning_rate_multiplier: float = 100.0,
        label_smoothing: float = 0.0,
        chunk_size: int | None = None,
        **kwargs: Any,
    ) -> None:
        check_positive(temperature=temperature)
        super().__init__(
            num_classes,
            learning_rate_multiplier,
            label_smoothing=label_smoothing,
            chunk_size=chunk_size,
            **kwargs,
        )
        self.temperature = temperature

    def logits(self, embeddings: Tensor, proxies: Tensor, own: Tensor) -> Tensor:
        return self.pairwise_similarities(embeddings, unit(proxies)) / self.temperature


@keras.saving.register_keras_serializable("siamkit")
class ProxyNCA(ClassSoftmax):
    """Neighborhood components analysis with a proxy for each class, scaled to unit length.

    L = -log( e^{σ s(x, p_y)} / Σⱼ e^{σ s(x, pⱼ)} )

    s is the metric read as a similarity; the paper's is minus the squared Euclidean distance of unit
    vectors. Only the proxies are scaled: use an encoder that normalizes. As in PML, and unlike in the
    paper, the item's own class is in the denominator, so that the loss is at least 0. PML leaves out items
    whose probability underflows to 0; here they count, with their gradient. The initial proxies are
    standard normal.

    Args:
        num_classes: number of classes; labels run from 0 to num_classes - 1.
        softmax_scale: σ, above 0.
        learning_rate_multiplier: factor on the learning rate of the proxies.
        label_smoothing: ε, from 0 to below 1: the target of class j is (1 - ε)[j = y] + ε / num_classes.
        chunk_size: how many classes are compared with the batch at once, for the memory of these alone; None
            for all, or few enough if there are more than 8.4 million scores.

    Reference: Movshovitz-Attias et al. 2017, "No Fuss Distance Metric Learning using Proxies"; PML
    ProxyNCALoss.

    Example:
        >>> import keras, numpy as np, siamkit
        >>> loss = siamkit.get_loss("proxy_nca", metric="squared_euclidean", num_classes=2)
        >>> value = loss(np.array([0, 1]), np.zeros((2, 4)))        # equally far from both proxies
        >>> round(float(keras.ops.convert_to_numpy(value)), 4)      # log 2
        0.6931
    """

    params = ("num_classes", "softmax_scale", "learning_rate_multiplier", "label_smoothing", "chunk_size")
    numbers = ("softmax_scale",)

    def __init__(
        self,
        num_classes: int,
        softmax_scale: float = 1.0,
        learning_rate_multiplier: float = 100.0,
        label_smoothing: float = 0.0,
        chunk_size: int | None = None,
        **kwargs: Any,
    ) -> None:
        check_positive(softmax_scale=softmax_scale)
        super().__init__(
            num_classes,
            learning_rate_multiplier,
            label_smoothing=label_smoothing,
            chunk_size=chunk_size,
            **kwargs,
        )
        self.softmax_scale = softmax_scale

    def logits(self, embeddings: Tensor, proxies: Tensor, own: Tensor) -> Tensor:
        return self.softmax_scale * self.pairwise_similarities(embeddings, unit(proxies))


@keras.saving.register_keras_serializable("siamkit")
class SoftTriple(ClassSoftmax):
    """SoftTriple loss: a softmax over classes that have several centers each, the nearest counting most.

    L = -log( e^{λ (S_y - δ)} / (e^{λ (S_y - δ)} + Σ_{j≠y} e^{λ Sⱼ}) ),
    Sⱼ = Σₖ qⱼₖ s(x, cⱼₖ),  qⱼ = softmax over k of s(x, cⱼₖ) / γ

    s is the metric read as a similarity; cosine in the paper. As in PML, the paper's penalty on distances
    between the centers of a class is left out. The initial centers are uniform within
    ±1 / √(num_classes · centers_per_class).

    Args:
        num_classes: number of classes; labels run from 0 to num_classes - 1.
        centers_per_class: number of centers per class.
        la: λ, above 0.
        gamma: γ, above 0.
        margin: δ, subtracted from the similarity with the own class.
        learning_rate_multiplier: factor on the learning rate of the centers.
        label_smoothing: ε, from 0 to below 1: the target of class j is (1 - ε)[j = y] + ε / num_classes.
        chunk_size: how many classes are compared with the batch at once, for the memory of these alone; None
            for all, or few enough if there are more than 8.4 million scores.

    Reference: Qian et al. 2019, "SoftTriple Loss: Deep Metric Learning Without Triplet Sampling"; PML
    SoftTripleLoss.

    Example:
        >>> import keras, numpy as np, siamkit
        >>> loss = siamkit.get_loss("soft_triple", metric="cosine", num_classes=2, margin=0.0)
        >>> value = loss(np.array([0, 1]), np.zeros((2, 4)))        # no direction: both classes are equal
        >>> round(float(keras.ops.convert_to_numpy(value)), 4)      # log 2
        0.6931
    """

    params = (
        "num_classes",
        "centers_per_class",
        "la",
        "gamma",
        "margin",
        "learning_rate_multiplier",
        "label_smoothing",
        "chunk_size",
    )

    def __init__(
        self,
        num_classes: int,
        centers_per_class: int = 10,
        la: float = 20.0,
        gamma: float = 0.1,
        margin: float = 0.01,
        learning_rate_multiplier: float = 100.0,
        label_smoothing: float = 0.0,
        chunk_size: int | None = None,
        **kwargs: Any,
    ) -> None:
        check_count(centers_per_class=centers_per_class)
        check_positive(la=la, gamma=gamma)
        self.centers_per_class = int(centers_per_class)
        super().__init__(
            num_classes,
            learning_rate_multiplier,
            self.centers_per_class,
            "uniform",
            label_smoothing=label_smoothing,
            chunk_size=chunk_size,
            **kwargs,
        )
        self.la = la
        self.gamma = gamma
        self.margin = margin

    def logits(self, embeddings: Tensor, proxies: Tensor, own: Tensor) -> Tensor:
        to_centers = self.similarities_by_class(embeddings, proxies)
        # Not ops.softmax, for which TensorFlow transposes the scores.
        nearest = ops.stop_gradient(ops.max(to_centers, axis=1, keepdims=True))
        shares = ops.exp((to_centers - nearest) / self.gamma)
        to_classes = ops.sum(shares * to_centers, axis=1) / ops.sum(shares, axis=1)
        return self.la * (to_classes - self.margin * ops.cast(own, "float32"))
