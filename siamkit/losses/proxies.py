"""Losses with weights: one proxy, a learned embedding, for each class."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from siamkit.errors import ComponentError
from siamkit.losses.base import Loss, masked_mean
from siamkit.losses.batch import labelled, log_sum_exp
from siamkit.metrics.base import Tensor


@keras.saving.register_keras_serializable("siamkit")
class Proxies(keras.layers.Layer):
    """A learned embedding for each class; called with the embeddings, it gives `(num_classes, dim)`.

    Args:
        num_classes: how many.
        learning_rate_multiplier: how many times the model's step its own is. Proxies see few gradients
            and want about 100.
    """

    def __init__(self, num_classes: int, learning_rate_multiplier: float = 100.0, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.num_classes = num_classes
        self.learning_rate_multiplier = learning_rate_multiplier

    def build(self, input_shape: tuple[int, ...]) -> None:
        # PML's Kaiming initialisation over (num_classes, dim): std = √(2 / num_classes).
        self.proxies = self.add_weight(
            name="proxies",
            shape=(self.num_classes, input_shape[-1]),
            initializer=keras.initializers.VarianceScaling(2.0, "fan_in", "untruncated_normal"),
        )

    def call(self, embeddings: Tensor) -> Tensor:
        return ops.convert_to_tensor(self.proxies)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "learning_rate_multiplier": self.learning_rate_multiplier,
        }


@keras.saving.register_keras_serializable("siamkit")
class ProxyAnchor(Loss):
    """Proxy-Anchor loss: each class proxy is an anchor against all embeddings of the batch.

    L = mean over proxies with positives of log(1 + Σₓ₊ e^{-α(s(x,p) - δ)})
      + mean over all proxies of            log(1 + Σₓ₋ e^{α(s(x,p) + δ)})

    s is the metric turned so that high means alike (the similarity itself, or minus the distance).

    Args:
        num_classes: how many proxies; labels run from 0 to num_classes - 1.
        margin: δ.
        alpha: α, above 0.
        learning_rate_multiplier: of the proxies.

    Reference: Kim et al. 2020, "Proxy Anchor Loss for Deep Metric Learning"; PML ProxyAnchorLoss.

    Example:
        >>> import numpy as np, siamkit
        >>> loss = siamkit.get_loss("proxy_anchor", metric="cosine", num_classes=3)
        >>> loss(np.array([0, 2]), np.eye(2, 8)).shape == ()
        True
    """

    def __init__(
        self,
        num_classes: int,
        margin: float = 0.1,
        alpha: float = 32.0,
        learning_rate_multiplier: float = 100.0,
        **kwargs: Any,
    ) -> None:
        if not alpha > 0:
            raise ComponentError(f"alpha should be above 0, got {alpha!r}")
        if not num_classes >= 1:
            raise ComponentError(f"num_classes should be at least 1, got {num_classes!r}")
        super().__init__(**kwargs)
        self.margin = margin
        self.alpha = alpha
        self.head = Proxies(num_classes, learning_rate_multiplier)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        assert self.metric is not None
        assert isinstance(self.head, Proxies)
        labels, embeddings = labelled(y_true, y_pred, "proxy_anchor")
        similarities = -self.metric.sign * self.metric.matrix(embeddings, self.head(embeddings))
        # `(batch, num_classes)`
        positive = labels[:, None] == ops.arange(self.head.num_classes, dtype="int32")[None, :]
        pull = log_sum_exp(-self.alpha * (similarities - self.margin), positive, axis=0, plus_one=True)
        push = log_sum_exp(
            self.alpha * (similarities + self.margin), ops.logical_not(positive), axis=0, plus_one=True
        )
        present = ops.cast(ops.any(positive, axis=0), "float32")
        return masked_mean(pull, present) + ops.mean(push)

    def get_config(self) -> dict[str, Any]:
        assert isinstance(self.head, Proxies)
        return {
            **super().get_config(),
            "num_classes": self.head.num_classes,
            "margin": self.margin,
            "alpha": self.alpha,
            "learning_rate_multiplier": self.head.learning_rate_multiplier,
        }
