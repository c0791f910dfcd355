"""siamkit's own components, registered through the same hooks as those of plugins."""

from __future__ import annotations

from siamkit.data.sources import DATASETS
from siamkit.encoders._specs import ENCODERS
from siamkit.losses._specs import LOSSES
from siamkit.metrics._specs import METRICS
from siamkit.registry import specs


@specs.hookimpl
def siamkit_encoders() -> list[specs.EncoderSpec]:
    return ENCODERS


@specs.hookimpl
def siamkit_metrics() -> list[specs.MetricSpec]:
    return METRICS


@specs.hookimpl
def siamkit_losses() -> list[specs.LossSpec]:
    return LOSSES


@specs.hookimpl
def siamkit_datasets() -> list[specs.DatasetSpec]:
    return DATASETS
