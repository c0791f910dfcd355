"""Losses by name."""

from __future__ import annotations

from typing import Any

import keras

from siamkit.errors import ComponentError
from siamkit.losses.base import Loss
from siamkit.metrics.get import get_metric
from siamkit.registry.lookup import get_component


def get_loss(loss: Any, /, *, metric: Any = None, **params: Any) -> Loss:
    """Return a loss by name, or the loss itself.

    Args:
        loss: a name, a mapping `{name: parameters}`, or a `keras.losses.Loss` (returned unchanged).
        metric: the metric to compare through, a name or an object; leave it out for `Siamese.compile`,
            which binds the loss to the model's metric.
        **params: its parameters, and what it needs to know of the data (`num_classes`, for example).

    Raises:
        ComponentError: no such loss or parameter, a value that is not valid, or a metric that does not fit.

    Example:
        >>> import numpy as np, siamkit
        >>> loss = siamkit.get_loss("multi_similarity", metric="cosine", alpha=2.0)
        >>> tuple(loss(np.array([0, 0, 1]), np.eye(3)).shape)
        ()
    """
    component: Loss = get_component("loss", loss, params, keras.losses.Loss)
    if metric is not None:
        if not isinstance(component, Loss):
            raise ComponentError(
                f"the loss {component!r:.80} is not a siamkit.Loss and compares by itself; leave out metric="
            )
        component.bind(get_metric(metric))
    return component
