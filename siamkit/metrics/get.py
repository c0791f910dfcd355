"""Metrics by name."""

from __future__ import annotations

from typing import Any

from siamkit.metrics.base import Metric
from siamkit.registry.lookup import get_component


def get_metric(metric: Any, /, **params: Any) -> Metric:
    """Return a metric by name, or the metric itself.

    Args:
        metric: a name, a mapping `{name: parameters}`, or a `siamkit.Metric` (returned as it is).
        **params: its parameters.

    Raises:
        ComponentError: no such metric or parameter, or a value that is not valid.

    Example:
        >>> import siamkit
        >>> siamkit.get_metric("cosine").orientation
        'similarity'
    """
    return get_component("metric", metric, params, Metric)
