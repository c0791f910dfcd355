"""Softmax losses over class proxies with an angular margin for the item's own class."""

from __future__ import annotations

import math
from functools import reduce
from typing import Any, ClassVar

import keras
from keras import ops

from siamkit.errors import ComponentError
from siamkit.losses._batch import check_count, check_positive
from siamkit.losses._proxies import ClassSoftmax, at_own
from siamkit.metrics.base import Tensor, safe_sqrt


@keras.saving.register_keras_serializable("siamkit")
class CosFace(ClassSoftmax):
    """CosFace: a softmax over class proxies with a margin subtracted from the own class's similarity.

    L = -log( e^{σ (s(x, p_y) - m)} / (e^{σ (s(x, p_y) - m)} + Σ_{j≠y} e^{σ s(x, pⱼ)}) )

    s is the metric read as a similarity (the similarity itself, or minus the distance); cosine in the
    paper. The initial proxies are standard normal.

    Args:
        num_classes: number of classes; labels run from 0 to num_classes - 1.
        margin: m, on the metric's own axis.
        scale: σ, above 0.
        learning_rate_multiplier: factor on the learning rate of the proxies.
        label_smoothing: ε, from 0 to below 1: the target of class j is (1 - ε)[j = y] + ε / num_classes.
        chunk_size: how many classes are compared with the batch at once, for the memory of these alone; None
            for all, or few enough if there are more than 8.4 million scores.

    Reference: Wang et al. 2018, "CosFace: Large Margin Cosine Loss for Deep Face Recognition"; PML
    CosFaceLoss.

    Example:
        >>> import keras, numpy as np, siamkit
        >>> loss = siamkit.get_loss("cosface", metric="cosine", num_classes=2, margin=0.5, scale=2.0)
        >>> value = loss(np.array([0, 1]), np.zeros((2, 4)))        # all cosines 0
        >>> round(float(keras.ops.convert_to_numpy(value)), 4)      # log(1 + e)
        1.3133
    """

    params = ("num_classes", "margin", "scale", "learning_rate_multiplier", "label_smoothing", "chunk_size")
    numbers = ("margin", "scale")

    def __init__(
        self,
        num_classes: int,
        margin: float = 0.35,
        scale: float = 64.0,
        learning_rate_multiplier: float = 100.0,
        label_smoothing: float = 0.0,
        chunk_size: int | None = None,
        **kwargs: Any,
    ) -> None:
        check_positive(scale=scale)
        super().__init__(
            num_classes,
            learning_rate_multiplier,
            label_smoothing=label_smoothing,
            chunk_size=chunk_size,
            **kwargs,
        )
        self.margin = margin
        self.scale = scale

    def logits(self, embeddings: Tensor, proxies: Tensor, own: Tensor) -> Tensor:
        similarities = self.pairwise_similarities(embeddings, proxies)
        return self.scale * (similarities - self.margin * ops.cast(own, "float32"))


@keras.saving.register_keras_serializable("siamkit")
class ArcFace(ClassSoftmax):
    """ArcFace: a softmax over class proxies with a margin added to the own class's angle.

    L = -log( e^{σ ψ(θ_y)} / (e^{σ ψ(θ_y)} + Σ_{j≠y} e^{σ cos θⱼ}) )
    ψ(θ) = cos(θ + m) where θ + m ≤ π, and cos θ - m sin m beyond

    cos θⱼ is the metric, a similarity in [-1, 1]. As in the reference and the authors' code, the second
    branch keeps the loss rising with the angle; the paper does not have it. The initial proxies are standard
    normal.

    Args:
        num_classes: number of classes; labels run from 0 to num_classes - 1.
        margin: m, in degrees, from 0 to below 180.
        scale: σ, above 0.
        learning_rate_multiplier: factor on the learning rate of the proxies.
        label_smoothing: ε, from 0 to below 1: the target of class j is (1 - ε)[j = y] + ε / num_classes.
        chunk_size: how many classes are compared with the batch at once, for the memory of these alone; None
            for all, or few enough if there are more than 8.4 million scores.

    Reference: Deng et al. 2019, "ArcFace: Additive Angular Margin Loss for Deep Face Recognition"; PML
    ArcFaceLoss.

    Example:
        >>> import keras, numpy as np, siamkit
        >>> loss = siamkit.get_loss("arcface", metric="cosine", num_classes=2, margin=30, scale=2.0)
        >>> value = loss(np.array([0, 1]), np.zeros((2, 4)))        # all at 90 degrees; cos 120 = -½
        >>> round(float(keras.ops.convert_to_numpy(value)), 4)      # log(1 + e)
        1.3133
    """

    params: ClassVar[tuple[str, ...]] = (
        "num_classes",
        "margin",
        "scale",
        "learning_rate_multiplier",
        "label_smoothing",
        "chunk_size",
    )

    def __init__(
        self,
        num_classes: int,
        margin: float = 28.6,
        scale: float = 64.0,
        learning_rate_multiplier: float = 100.0,
        label_smoothing: float = 0.0,
        chunk_size: int | None = None,
        **kwargs: Any,
    ) -> None:
        check_positive(scale=scale)
        if not 0 <= margin < 180:
            raise ComponentError(f"margin should be from 0 to below 180 degrees, got {margin!r}")
        super().__init__(
            num_classes,
            learning_rate_multiplier,
            label_smoothing=label_smoothing,
            chunk_size=chunk_size,
            **kwargs,
        )
        self.margin = margin
        self.scale = scale

    def cosines(self, embeddings: Tensor, proxies: Tensor) -> Tensor:
        """Return the cosines with the classes, `(batch, num_classes)`."""
        return self.pairwise_similarities(embeddings, proxies)

    def logits(self, embeddings: Tensor, proxies: Tensor, own: Tensor) -> Tensor:
        cosines = self.cosines(embeddings, proxies)
        cosine = at_own(cosines, own)
        margin = math.radians(self.margin)
        # cos(θ + m) not through arccos, whose gradient is infinite where an embedding is on its proxy.
        sine = safe_sqrt((1.0 - cosine) * (1.0 + cosine))
        added = cosine * math.cos(margin) - sine * math.sin(margin)
        beyond = cosine < -math.cos(margin)  # θ > π - m
        relaxed = ops.where(beyond, cosine - margin * math.sin(margin), added)
        return self.scale * ops.where(own, relaxed, cosines)


@keras.saving.register_keras_serializable("siamkit")
class SubCenterArcFace(ArcFace):
    """Sub-center ArcFace: ArcFace with several proxies per class, of which the nearest counts.

    L = -log( e^{σ ψ(θ_y)} / (e^{σ ψ(θ_y)} + Σ_{j≠y} e^{σ cos θⱼ}) ),  cos θⱼ = maxₖ cos(x, pⱼₖ)

    ψ and the rest are as for ArcFace; noisy items gather around a separate sub-center. The initial
    proxies are standard normal.

    Args:
        num_classes: number of classes; labels run from 0 to num_classes - 1.
        margin: m, in degrees, from 0 to below 180.
        scale: σ, above 0.
        sub_centers: number of proxies per class.
        learning_rate_multiplier: factor on the learning rate of the proxies.
        label_smoothing: ε, from 0 to below 1: the target of class j is (1 - ε)[j = y] + ε / num_classes.
        chunk_size: how many classes are compared with the batch at once, for the memory of these alone; None
            for all, or few enough if there are more than 8.4 million scores.

    Reference: Deng et al. 2020, "Sub-center ArcFace: Boosting Face Recognition by Large-scale Noisy Web
    Faces"; PML SubCenterArcFaceLoss.

    Example:
        >>> import keras, numpy as np, siamkit
        >>> loss = siamkit.get_loss("subcenter_arcface", metric="cosine", num_classes=2, scale=2.0, margin=30)
        >>> value = loss(np.array([0, 1]), np.zeros((2, 4)))        # all at 90 degrees; cos 120 = -½
        >>> round(float(keras.ops.convert_to_numpy(value)), 4)      # log(1 + e)
        1.3133
    """

    params = (
        "num_classes",
        "margin",
        "scale",
        "sub_centers",
        "learning_rate_multiplier",
        "label_smoothing",
        "chunk_size",
    )

    def __init__(
        self,
        num_classes: int,
        margin: float = 28.6,
        scale: float = 64.0,
        sub_centers: int = 3,
        learning_rate_multiplier: float = 100.0,
        label_smoothing: float = 0.0,
        chunk_size: int | None = None,
        **kwargs: Any,
    ) -> None:
        check_count(sub_centers=sub_centers)
        self.sub_centers = int(sub_centers)
        super().__init__(
            num_classes,
            margin,
            scale,
            learning_rate_multiplier,
            label_smoothing,
            chunk_size,
            per_class=self.sub_centers,
            **kwargs,
        )

    def cosines(self, embeddings: Tensor, proxies: Tensor) -> Tensor:
        to_centers = ops.unstack(self.similarities_by_class(embeddings, proxies), axis=1)
        # Not ops.max: its gradient at equal maxima differs by backend.
        return reduce(lambda nearest, other: nearest + ops.relu(other - nearest), to_centers)


@keras.saving.register_keras_serializable("siamkit")
class SphereFace(ClassSoftmax):
    """SphereFace (A-Softmax): a softmax over class proxies with the own class's angle multiplied.

    L = -log( e^{σ|x| ψ(θ_y)} / (e^{σ|x| ψ(θ_y)} + Σ_{j≠y} e^{σ|x| cos θⱼ}) )
    ψ(θ) = (-1)ᵏ cos(m θ) - 2k  for θ in [kπ/m, (k + 1)π/m]

    cos θⱼ is the metric, a similarity in [-1, 1]; |x| is the embedding's length. With unit embeddings a scale
    of 1 keeps the softmax almost uniform: use a larger scale. As in the reference, the margin is not
    annealed, unlike in the paper. The initial proxies are standard normal.

    Args:
        num_classes: number of classes; labels run from 0 to num_classes - 1.
        margin: m, a whole number of at least 1; 1 means without a margin.
        scale: σ, above 0.
        learning_rate_multiplier: factor on the learning rate of the proxies.
        label_smoothing: ε, from 0 to below 1: the target of class j is (1 - ε)[j = y] + ε / num_classes.
        chunk_size: how many classes are compared with the batch at once, for the memory of these alone; None
            for all, or few enough if there are more than 8.4 million scores.

    Reference: Liu et al. 2017, "SphereFace: Deep Hypersphere Embedding for Face Recognition"; PML
    SphereFaceLoss.

    Example:
        >>> import keras, numpy as np, siamkit
        >>> loss = siamkit.get_loss("sphereface", metric="cosine", num_classes=2)
        >>> value = loss(np.array([0, 1]), np.zeros((2, 4)))        # of length 0: all logits 0
        >>> round(float(keras.ops.convert_to_numpy(value)), 4)      # log 2
        0.6931
    """

    params = ("num_classes", "margin", "scale", "learning_rate_multiplier", "label_smoothing", "chunk_size")

    def __init__(
        self,
        num_classes: int,
        margin: int = 4,
        scale: float = 1.0,
        learning_rate_multiplier: float = 100.0,
        label_smoothing: float = 0.0,
        chunk_size: int | None = None,
        **kwargs: Any,
    ) -> None:
        check_count(margin=margin)
        check_positive(scale=scale)
        super().__init__(
            num_classes,
            learning_rate_multiplier,
            label_smoothing=label_smoothing,
            chunk_size=chunk_size,
            **kwargs,
        )
        self.margin = int(margin)
        self.scale = scale

    def lengths(self, embeddings: Tensor, proxies: Tensor) -> Tensor:
        """Return the factor of the cosines other than the scale; it broadcasts to `(batch, num_classes)`."""
        return length(embeddings)[:, None]

    def logits(self, embeddings: Tensor, proxies: Tensor, own: Tensor) -> Tensor:
        cosines = self.pairwise_similarities(embeddings, proxies)
        with_margin = ops.where(own, _multiplied(at_own(cosines, own), self.margin), cosines)
        return self.scale * self.lengths(embeddings, proxies) * with_margin


@keras.saving.register_keras_serializable("siamkit")
class LargeMarginSoftmax(SphereFace):
    """Large-margin softmax (L-Softmax): SphereFace with logits also multiplied by the proxies' lengths.

    L = -log( e^{σ|x||p_y| ψ(θ_y)} / (e^{σ|x||p_y| ψ(θ_y)} + Σ_{j≠y} e^{σ|x||pⱼ| cos θⱼ}) )
    ψ(θ) = (-1)ᵏ cos(m θ) - 2k  for θ in [kπ/m, (k + 1)π/m]

    cos θⱼ is the metric, a similarity in [-1, 1]; |x| and |pⱼ| are the lengths of embedding and proxy. As in
    the reference, the margin is not annealed, unlike in the paper. The initial proxies are standard normal.

    Args:
        num_classes: number of classes; labels run from 0 to num_classes - 1.
        margin: m, a whole number of at least 1; 1 means without a margin.
        scale: σ, above 0.
        learning_rate_multiplier: factor on the learning rate of the proxies.
        label_smoothing: ε, from 0 to below 1: the target of class j is (1 - ε)[j = y] + ε / num_classes.
        chunk_size: how many classes are compared with the batch at once, for the memory of these alone; None
            for all, or few enough if there are more than 8.4 million scores.

    Reference: Liu et al. 2016, "Large-Margin Softmax Loss for Convolutional Neural Networks"; PML
    LargeMarginSoftmaxLoss.

    Example:
        >>> import keras, numpy as np, siamkit
        >>> loss = siamkit.get_loss("large_margin_softmax", metric="cosine", num_classes=2)
        >>> value = loss(np.array([0, 1]), np.zeros((2, 4)))        # of length 0: all logits 0
        >>> round(float(keras.ops.convert_to_numpy(value)), 4)      # log 2
        0.6931
    """

    def lengths(self, embeddings: Tensor, proxies: Tensor) -> Tensor:
        return length(embeddings)[:, None] * length(proxies)[None, :]


def length(x: Tensor) -> Tensor:
    """Return the length of each vector, with gradient 0 where it is 0."""
    return safe_sqrt(ops.sum(ops.square(x), axis=-1))


def _multiplied(cosine: Tensor, times: int) -> Tensor:
    """Return ψ(θ) = (-1)ᵏ cos(m θ) - 2k for cos θ: the cosine of m times the angle, which falls up to π."""
    # cos(m θ) is Chebyshev's polynomial of cos θ: Tₘ₊₁ = 2 cos θ Tₘ - Tₘ₋₁. No arccos, no infinite gradient.
    previous, current = ops.ones_like(cosine), cosine
    for _ in range(times - 1):
        previous, current = current, 2.0 * cosine * current - previous
    # k counts the multiples of π/m that the angle has reached; it has no gradient.
    sign, offset = ops.ones_like(cosine), ops.zeros_like(cosine)
    for k in range(1, times):
        reached = cosine <= math.cos(k * math.pi / times)
        sign, offset = ops.where(reached, -sign, sign), ops.where(reached, offset + 2.0, offset)
    return sign * current - offset
